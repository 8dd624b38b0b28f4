"""What the broker's core counts, and when."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from journals import FullJournal

from chatbroker.broker import intake, subscribers, watch
from chatbroker.broker.counts import BATCHES, CUT_OFF, Counts, Histogram
from chatbroker.wire.limits import MAX_TEXT
from chatbroker.wire.messages import Hello, Send

EDGES = (intake, subscribers, watch)


def test_every_reason_to_cut_somebody_off_has_a_label():
    said = r'[._](?:cut|charge)\((?:caller|known|connection|subscriber|fd, seen), "([^"]+)"'
    given = [re.findall(said, Path(module.__file__).read_text()) for module in EDGES]
    assert {reason for reasons in given for reason in reasons} == {*CUT_OFF}


def test_connections_that_are_cut_off_are_counted_by_reason():
    counts = Counts()
    counts.cut("nothing was said", 3)
    counts.cut("for a reason of tomorrow's", 1)
    assert {reason: n for reason, n in counts.cut_off.items() if n} == {"silent": 3, "other": 1}
    assert set(counts.cut_off) == {*CUT_OFF.values(), "other"}


def test_a_histogram_counts_a_bound_with_what_is_below_it():
    histogram = Histogram((1, 10))
    for value in (0, 1, 1.5, 10, 11, 1000):
        histogram.add(value)
    assert histogram.counted == [2, 2, 2]
    assert histogram.total == 1023.5


def test_bounds_ascend():
    assert list(BATCHES) == sorted(set(BATCHES))


def test_messages_of_one_turn_are_one_batch_and_a_direct_one_counts_once(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    counts = world.broker.counts
    assert counts.batches.total == 0
    alice.posts(alice.send("bob", "one"), alice.send("bob", "two"), alice.echo("three"))
    bob.posts(bob.echo("four"))
    world.turn()
    assert counts.batches.total == 4
    assert sum(counts.batches.counted) == 1
    alice.echoes("five")
    assert counts.batches.total == 5
    assert sum(counts.batches.counted) == 2


def test_a_turn_in_which_nothing_is_said_is_no_batch(world):
    alice = world.joins("alice")
    alice.pings()
    world.turn()
    assert sum(world.broker.counts.batches.counted) == 0


def test_a_command_that_is_repeated_counts_once(world):
    alice = world.joins("alice")
    said = alice.echo("hi")
    alice.says(said)
    alice.says(said)
    assert world.broker.counts.batches.total == 1


def test_what_is_refused_is_counted_by_its_code_and_is_no_message(world):
    alice = world.joins("alice")
    alice.sends("nobody", "hi")
    alice.cseq += 3
    alice.says(Send(alice.cseq - 2, "alice", ("x" * (MAX_TEXT + 1), "short", "x" * (MAX_TEXT + 1))))
    counts = world.broker.counts
    assert counts.batches.total == 1
    assert counts.refused == {"no_such_user": 1, "too_long": 2}


def test_who_is_not_let_in_is_counted(world):
    world.joins("alice")
    stranger = world.connects()
    stranger.posts(stranger.hello("alice"))
    for _ in range(3):
        world.turn()  # The holder of the name is probed before.
    assert stranger.hears().codes == ["name_taken"]
    stranger.joins("not a name")
    stranger.says(Hello(99, "bob", b"s" * 16, b"", 1, False, False, b"", ()))
    assert world.broker.counts.refused == {"name_taken": 1, "bad_name": 1, "version": 1}


def test_frames_out_of_protocol_are_counted(world):
    peer = world.connects()
    peer.says(b"\xc1")
    peer.says(Send(1, "bob", ("hi",)))
    assert world.broker.counts.refused == {"bad_frame": 1, "no_session": 1}


def test_messages_count_when_they_are_stored(world_with):
    world = world_with(FullJournal())
    alice = world.joins("alice")
    world.journal.full = True
    alice.echoes("waits")
    world.turn()
    assert world.broker.held_because == "this disk is full"
    assert world.broker.counts.batches.total == 0
    world.journal.full = False
    world.turn()
    assert world.broker.held_because == ""
    assert world.broker.counts.batches.total == 1


def test_a_census_counts_sessions_by_state_and_users(world_with):
    world = world_with(grace=1.0, lease=2.0, forget=100.0)
    assert world.broker.census() == (0, 0, 0, 0, 0, 0)
    alice, bob = world.joins("alice", claim=True), world.joins("bob")
    sender = world.joins("carol", follows=())
    assert world.broker.census() == (3, 0, 0, 2, 3, 1)
    world.loses(alice)
    assert world.broker.census() == (2, 1, 0, 2, 3, 1)
    world.passes(1.5, alive=(bob, sender))
    # Her session is worth keeping, as mail may come to it.
    assert world.broker.census() == (2, 0, 1, 1, 3, 1)


@pytest.mark.parametrize("code", ["rate_limited", "no_such_user"])
def test_codes_need_not_be_known_beforehand(code):
    counts = Counts()
    counts.refuse(code)
    counts.refuse(code, 2)
    assert counts.refused[code] == 3
