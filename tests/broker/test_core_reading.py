"""What reaches a reader: pushes, and everything that a push did not bring."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.broker.answers import TRY_AGAIN
from chatbroker.broker.effects import Note
from chatbroker.broker.fault import OVER
from chatbroker.broker.journal import JournalError
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.wire.batch import event_head
from chatbroker.wire.limits import FRAME_TARGET, MAX_FETCH, PUSH_WINDOW
from chatbroker.wire.messages import (
    Ack,
    Batch,
    Cursor,
    Error,
    Fetch,
    Fetched,
    Follow,
    Info,
    Missed,
    Ping,
    Pong,
    Start,
    Users,
)


@pytest.fixture
def alice(world):
    return world.joins("alice")


@pytest.fixture
def bob(world, alice):
    return world.joins("bob")


def start(peer, log: str) -> int:
    """After which position *peer* was told to read *log*."""
    return {reading.log: reading.start for reading in peer.welcome.readings}[log]


def read_all(peer, log: str, after: int = 0, budget: int = MAX_FETCH) -> list[str]:
    """Fetches until the head, and checks that the chain of batches has no hole."""
    texts: list[str] = []
    while True:
        heard = peer.fetches(log, after, budget)
        for batch in heard.of(Batch):
            assert batch.prev <= after < batch.first + len(batch.events)
            texts += [event.text for event in batch.events[after - batch.prev :]]
            after = batch.first + len(batch.events) - 1
        if after >= heard.of(Fetched)[0].head:
            return texts


# --- where one begins ---------------------------------------------------------------------


def joins_at(world, name: str, log: str, how: Start, value: int = 0, epoch: bytes = b"", **more):
    return world.joins(name, follows=(Follow(log, epoch, how, value),), **more)


def test_who_starts_now_begins_at_the_head(world, alice):
    alice.says(alice.echo("one"), alice.echo("two"))
    carol = joins_at(world, "carol", "echo", Start.NOW)
    assert start(carol, "echo") == carol.welcome.readings[0].head == 2


def test_who_starts_after_a_position_begins_there(world, alice):
    alice.says(alice.echo("one"), alice.echo("two"), alice.echo("three"))
    for epoch in (b"", alice.epoch("echo")):
        for value, begins in ((0, 0), (2, 2), (3, 3), (99, 3)):
            observer = joins_at(world, "", "echo", Start.AFTER, value, epoch)
            assert start(observer, "echo") == begins
    assert read_all(observer, "echo", 1) == ["two", "three"]


def test_who_read_another_life_of_the_log_begins_at_its_beginning(world, alice):
    alice.says(alice.echo("one"), alice.echo("two"))
    observer = joins_at(world, "", "echo", Start.AFTER, 1, b"long ago")
    assert start(observer, "echo") == 0


def test_who_asks_for_the_last_minute_begins_at_its_first_event(world, alice):
    for text in ("old", "older than a minute", "new", "newer"):
        alice.echoes(text)
        world.passes(25.0, alive=[alice])
    observer = joins_at(world, "", "echo", Start.AGE, 60_000)
    assert start(observer, "echo") == 2
    assert read_all(observer, "echo", 2) == ["new", "newer"]
    assert start(joins_at(world, "", "echo", Start.AGE, 2**63 - 1), "echo") == 0
    assert start(joins_at(world, "", "echo", Start.AGE, 0), "echo") == 4


def test_who_starts_at_the_unread_begins_after_what_was_confirmed(world, alice, bob):
    for text in ("one", "two", "three"):
        bob.sends("alice", text)
    alice.pings(read=2)
    second = joins_at(world, "alice", "direct", Start.UNREAD, credential=alice.welcome.credential)
    assert start(second, "direct") == 2
    assert read_all(second, "direct", 2) == ["three"]


def test_what_was_confirmed_outlives_the_session(world, alice, bob):
    for text in ("one", "two", "three"):
        bob.sends("alice", text)
    alice.pings(read=1)
    world.passes(16.0, alive=[bob])
    second = joins_at(world, "alice", "direct", Start.UNREAD, credential=alice.welcome.credential)
    assert start(second, "direct") == 1


def test_nothing_falls_between_the_welcome_and_the_first_push(world, alice, bob):
    """Who joins in the turn of a message hears it, by a push that adjoins the start."""
    bob.sends("alice", "before")
    second = world.connects()
    bob.posts(bob.send("alice", "in the same turn"))
    second.posts(second.hello("alice", credential=alice.welcome.credential))
    bob.posts(bob.send("alice", "and after"))
    world.turn()
    heard = second.hears()
    (batch,) = heard.of(Batch)
    assert start(second, "direct") == batch.prev == 1
    assert heard.texts == ["in the same turn", "and after"]


# --- heads --------------------------------------------------------------------------------


def test_a_pong_tells_how_far_the_logs_are(world, alice, bob):
    bob.says(bob.echo("one"), bob.send("alice", "two"), bob.send("alice", "three"))
    assert alice.pings(ref=7).of(Pong) == [
        Pong(
            7,
            (Cursor("echo", alice.epoch("echo"), 1), Cursor("direct", alice.epoch("direct"), 2)),
        )
    ]


def test_a_pong_never_tells_of_what_is_not_stored_yet(world, alice, bob):
    bob.posts(bob.echo("one"), bob.send("alice", "two"))
    heard = alice.says(alice.echo("three"), Ping(1, 1, 0, ()))
    assert [head.position for head in heard.of(Pong)[0].heads] == [0, 0]
    assert [head.position for head in alice.pings().of(Pong)[0].heads] == [2, 1]


# --- fetching -----------------------------------------------------------------------------


def test_a_fetch_gives_what_was_said_as_it_was_pushed(world, alice, bob):
    pushed = []
    for text in ("one", "two"):
        bob.sends("alice", text)
        pushed += alice.hears().of(Batch)
    heard = alice.fetches("direct", ref=7)
    assert heard[-1] == Fetched(7, "direct", alice.epoch("direct"), 2)
    assert [e for b in heard.of(Batch) for e in b.events] == [e for b in pushed for e in b.events]


def test_a_fetch_of_an_empty_log_ends_at_once(alice):
    assert alice.fetches("direct") == [Fetched(1, "direct", alice.epoch("direct"), 0)]


def test_a_fetch_at_the_head_or_past_it_brings_nothing(alice):
    alice.echoes("one")
    for after in (1, 2, 2**63 - 1):
        assert alice.fetches("echo", after) == [Fetched(1, "echo", alice.epoch("echo"), 1)]


def test_a_fetch_sees_what_is_stored_and_the_push_brings_the_rest(world, alice, bob):
    bob.sends("alice", "stored")
    alice.hears()
    bob.posts(bob.send("alice", "of this turn"))
    heard = alice.fetches("direct")
    assert heard.texts == ["stored", "of this turn"]
    assert heard.of(Fetched)[0].head == 1
    assert [batch.prev for batch in heard.of(Batch)] == [0, 1]


def test_a_long_log_is_read_budget_by_budget(world, alice):
    texts = [f"{number}:" + "x" * 2000 for number in range(200)]
    for begin in range(0, 200, 20):
        alice.says(*[alice.echo(text) for text in texts[begin : begin + 20]])
    observer = world.joins("")
    for budget in (0, 1, 30_000, 2**62):
        assert read_all(observer, "echo", budget=budget) == texts
    assert read_all(observer, "echo", after=137) == texts[137:]
    for frame in fetched_frames(world, observer):
        assert len(frame) <= FRAME_TARGET + 2100
    assert len(b"".join(fetched_frames(world, observer))) <= MAX_FETCH + FRAME_TARGET


def fetched_frames(world, peer) -> list[bytes]:
    peer.posts(Fetch(1, "echo", peer.epoch("echo"), 0, 2**62))
    world.turn()
    frames, peer.frames = peer.frames, []
    return frames


def test_both_logs_may_be_fetched_in_one_turn(world, alice):
    # Events that fill a frame each, and so a fetch to the last byte.
    public = "x" * (FRAME_TARGET - len(event_head(world.wall, "alice", "")) - 3)
    private = "x" * (FRAME_TARGET - len(event_head(world.wall, "alice", "alice")) - 3)
    for _ in range(MAX_FETCH // FRAME_TARGET):
        alice.says(alice.echo(public), alice.send("alice", private))
    heard = alice.says(
        Fetch(1, "echo", alice.epoch("echo"), 0, MAX_FETCH),
        Fetch(2, "direct", alice.epoch("direct"), 0, MAX_FETCH),
        Ping(3, alice.cseq, alice.cseq, ()),
    )
    assert len(heard.texts) == 2 * MAX_FETCH // FRAME_TARGET
    assert [fetched.ref for fetched in heard.of(Fetched)] == [1, 2]
    assert heard.of(Pong)


@pytest.mark.parametrize("log", ["dev", "@bob", "", "@alice"])
def test_a_log_that_is_not_there_cannot_be_fetched(alice, bob, log):
    (error,) = alice.says(Fetch(7, log, alice.epoch("direct"), 0, 1000))
    assert type(error) is Error
    assert (error.code, error.ref) == ("no_such_log", 7)


def test_another_life_of_a_log_cannot_be_fetched(alice, bob):
    assert alice.says(Fetch(7, "echo", b"long ago", 0, 1000)).codes == ["no_such_log"]
    assert alice.says(Fetch(7, "direct", bob.epoch("direct"), 0, 1000)).codes == ["no_such_log"]


def test_an_observer_cannot_fetch_a_mailbox(world, alice):
    observer = world.joins("")
    fetch = Fetch(1, "direct", alice.epoch("direct"), 0, 1000)
    assert observer.says(fetch).codes == ["no_such_log"]


# --- what is no longer kept ---------------------------------------------------------------


@pytest.fixture
def forgetful(world_with):
    """A world whose journal keeps five events."""
    return world_with(MemoryJournal(events=5))


def test_who_comes_too_late_is_told_how_much_was_missed(forgetful):
    alice = forgetful.joins("alice")
    for number in range(1, 9):
        alice.echoes(str(number))
    missed, batch, fetched = alice.fetches("echo")
    epoch = alice.epoch("echo")
    assert missed == Missed("echo", epoch, 0, 3, 3)
    assert (batch.prev, [event.text for event in batch.events]) == (3, ["4", "5", "6", "7", "8"])
    assert fetched == Fetched(1, "echo", epoch, 8)
    assert alice.fetches("echo", after=2)[0] == Missed("echo", epoch, 2, 3, 1)
    assert alice.fetches("echo", after=3).of(Missed) == []


def test_a_mailbox_of_which_nothing_is_kept_tells_what_was_missed(forgetful):
    alice = forgetful.joins("alice")
    alice.says(*[alice.send("alice", "more than may be kept") for _ in range(6)])
    epoch = alice.epoch("direct")
    assert alice.fetches("direct") == [
        Missed("direct", epoch, 0, 6, 6),
        Fetched(1, "direct", epoch, 6),
    ]
    alice.sends("alice", "news")
    heard = alice.fetches("direct", after=6)
    assert heard.of(Missed) == []
    assert heard.texts == ["news"]


def test_unread_mail_is_there_after_much_public_chatter(forgetful):
    alice, bob = forgetful.joins("alice"), forgetful.joins("bob")
    bob.sends("alice", "call me")
    for number in range(20):
        bob.echoes(f"chatter {number}")
    heard = alice.fetches("direct")
    assert heard.of(Missed) == []
    assert heard.texts == ["call me"]


def test_missed_and_read_together_are_all_there_was(forgetful):
    alice = forgetful.joins("alice")
    for count in (1, 2, 3, 1, 2):
        alice.says(*[alice.echo("x") for _ in range(count)])
    for after in range(10):
        heard = alice.fetches("echo", after)
        lost = sum(missed.lost for missed in heard.of(Missed))
        new = [
            position
            for batch in heard.of(Batch)
            for position in range(batch.first, batch.first + len(batch.events))
            if position > after
        ]
        assert lost + len(new) == 9 - after


# --- the push window ----------------------------------------------------------------------


def fill_window(alice, bob) -> int:
    """Bob writes to Alice until nothing more is pushed to her; how many messages that took."""
    sent = 0
    while True:
        alice.hears()
        bob.says(*[bob.send("alice", "x" * 15_000) for _ in range(4)])
        sent += 4
        if not alice.frames:
            return sent


def test_who_gives_no_sign_of_reading_is_pushed_no_more_than_the_window(alice, bob):
    sent = fill_window(alice, bob)
    assert PUSH_WINDOW <= sent * 15_000 < PUSH_WINDOW + 10 * 15_000
    bob.sends("alice", "nor anything short")
    assert alice.hears() == []


def test_a_ping_opens_the_window_and_a_fetch_brings_what_was_held_back(alice, bob):
    sent = fill_window(alice, bob)
    (pong,) = alice.pings().of(Pong)
    assert {head.log: head.position for head in pong.heads}["direct"] == sent
    bob.sends("alice", "pushed again")
    (batch,) = alice.hears()
    assert batch.prev == sent
    assert len(read_all(alice, "direct")) == sent + 1


def test_a_fetch_opens_the_window_as_well(alice, bob):
    sent = fill_window(alice, bob)
    alice.fetches("direct", after=sent)
    bob.sends("alice", "pushed again")
    assert alice.hears().texts == ["pushed again"]


def test_coming_back_opens_the_window(world, alice, bob):
    fill_window(alice, bob)
    world.loses(alice)
    again = world.returns(alice)
    bob.sends("alice", "pushed again")
    assert again.hears().texts == ["pushed again"]


def test_one_session_that_does_not_read_does_not_cost_the_other_a_push(world, alice, bob):
    second = world.joins("alice", credential=alice.welcome.credential)
    for _ in range(PUSH_WINDOW // 15_000 + 10):
        bob.sends("alice", "x" * 15_000)
        second.pings()
    second.hears()
    bob.sends("alice", "only for who reads")
    assert second.hears().texts == ["only for who reads"]
    assert "only for who reads" not in alice.hears().texts


def test_to_speak_is_no_sign_of_reading(alice, bob):
    fill_window(alice, bob)
    assert alice.echoes("one").of(Ack) == [Ack(0, 1, ())]
    bob.sends("alice", "not pushed")
    assert alice.hears() == []


# --- who gets no pushes -------------------------------------------------------------------


def test_who_does_not_follow_the_mailbox_is_pushed_nothing(world, alice):
    sender = world.joins("alice", credential=alice.welcome.credential, follows=())
    heard = sender.sends("alice", "from a script")
    assert heard == [Ack(0, 1, ())]
    assert alice.hears().texts == ["from a script"]


def test_who_is_not_there_is_pushed_nothing(world, alice, bob):
    world.loses(alice)
    bob.sends("alice", "hello")
    assert alice.identity not in [getattr(effect, "identity", b"") for effect in world.effects]


# --- a push is a hint ---------------------------------------------------------------------


@given(
    st.lists(st.sampled_from(["say", "say much", "lose", "return", "read", "lapse"]), max_size=25)
)
def test_whatever_pushes_are_lost_a_reader_ends_up_with_everything_in_order(world_with, steps):
    world = world_with()
    reader, writer = world.joins("alice"), world.joins("bob")
    said: list[str] = []
    read: list[str] = []
    there = True

    def hear(heard) -> None:
        for batch in heard.of(Batch):
            assert batch.prev <= batch.first - 1
            if batch.log == "direct" and batch.prev <= len(read):
                read.extend(event.text for event in batch.events[len(read) - batch.prev :])

    for step in [*steps, "return", "read"]:
        match step:
            case "say" | "say much":
                texts = [f"{len(said) + n}" for n in range(1 if step == "say" else 5)]
                if not writer.says(*[writer.send("alice", text) for text in texts]).codes:
                    said += texts
            case "lose":
                world.loses(reader)
                reader.hears()
                there = False
            case "lapse":
                world.passes(20.0, alive=[writer])
                reader.hears()
                there = False
            case "return":
                reader = world.returns(reader)
                there = True
            case "read" if there:
                hear(reader.hears())
                hear(reader.fetches("direct", after=len(read)))
    assert read == said


# --- what cannot be read ------------------------------------------------------------------


class Unreadable(MemoryJournal):
    """One of which what was said earlier cannot be read while it *fails*."""

    fails = ""

    def fetch(self, log, after, budget):
        if self.fails:
            raise JournalError(self.fails)
        return super().fetch(log, after, budget)

    def position_at(self, log, time):
        if self.fails:
            raise JournalError(self.fails)
        return super().position_at(log, time)


def noted(world, what):
    return [e.fields for e in world.effects if type(e) is Note and e.what == what]


def test_what_cannot_be_read_is_asked_for_later_and_nobody_else_is_the_worse_for_it(world_with):
    world = world_with(Unreadable())
    alice, bob = world.joins("alice"), world.joins("bob")
    alice.echoes("one")
    world.broker._journal.fails = "the file is damaged"
    (refused,) = bob.fetches("echo", 0)
    assert (refused.code, refused.wait) == ("fetch_later", round(1000 * TRY_AGAIN))
    assert noted(world, "cannot_read") == [{"because": "the file is damaged"}]
    assert alice.sends("bob", "two").of(Ack) == [Ack(1, 2, ())]
    assert [event.text for batch in bob.hears().of(Batch) for event in batch.events] == ["two"]
    world.broker._journal.fails = ""
    assert read_all(bob, "echo") == ["one"]


def test_who_begins_to_read_at_a_time_that_cannot_be_found_begins_at_the_beginning(world_with):
    world = world_with(Unreadable())
    alice = world.joins("alice")
    alice.echoes("one")
    world.broker._journal.fails = "the file is damaged"
    observer = joins_at(world, "", "echo", Start.AGE, 0)
    assert noted(world, "cannot_read") == [{"because": "the file is damaged"}]
    assert start(observer, "echo") == 0
    assert alice.echoes("two").of(Ack)


def test_an_operator_is_told_now_and_then_what_cannot_be_read(world_with):
    world = world_with(Unreadable())
    bob = world.joins("bob")
    told = []
    for why, seconds in (("one", 0), ("one", OVER), ("one", 1), ("other", 0), ("other", 0)):
        world.passes(seconds, alive=[bob])
        world.broker._journal.fails = why
        bob.fetches("echo", 0)
        told += noted(world, "cannot_read")
    assert [fields["because"] for fields in told] == ["one", "one", "other"]


def test_whoever_is_left_out_gets_no_answer_and_does_not_cost_one(world, monkeypatch):
    """Nothing would be sent: much waits for all clients, and this one does not read."""
    alice, bob = world.joins("alice"), world.joins("bob")
    alice.says(alice.echo("one"))
    world.broker.leave_out(lambda identity: identity == alice.identity)
    fetched = []
    fetch = world.journal.fetch
    monkeypatch.setattr(
        world.journal, "fetch", lambda *asked: fetched.append(asked) or fetch(*asked)
    )
    asks = (Fetch(1, "echo", b"", 0, 1000), Info(2, ""))
    assert alice.says(*asks) == []
    assert fetched == []
    assert [type(answer) for answer in bob.says(*asks)] == [Batch, Fetched, Users]
