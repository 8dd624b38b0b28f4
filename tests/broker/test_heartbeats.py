"""How often clients PING, and how long they may be silent."""

from __future__ import annotations

import pytest

from chatbroker.broker.heartbeats import MEASURE_EVERY, Heartbeats
from chatbroker.broker.session import Session
from chatbroker.broker.user import Settings
from chatbroker.wire.messages import Info, Ping, Pong, Users

USUAL, LEASE = 5000, 15_000


@pytest.fixture
def few(world_with):
    """A broker at which the heartbeat grows from 5 sessions on: it is a second for each."""
    return world_with(pings=1.0)


def told(peer, heartbeat=0):
    """What a PONG tells *peer*, who goes by *heartbeat* (0: that of WELCOME)."""
    (pong,) = peer.says(Ping(1, 0, 0, (), heartbeat)).of(Pong)
    return pong.heartbeat, pong.lease


def is_on(world, name, asking):
    (users,) = asking.says(Info(1, "")).of(Users)
    return name in [user.name for user in users.users]


# --- how much it is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "heartbeat", "lease"),
    [
        (0, 5000, 15_000),
        (250, 5000, 15_000),
        (375, 7500, 22_500),
        (4500, 90_000, 270_000),
        (9000, 180_000, 540_000),
        (100_000, 180_000, 540_000),
    ],
)
def test_it_grows_with_the_sessions_from_some_on_and_not_without_end(live, heartbeat, lease):
    assert Heartbeats(Settings(1)).wanted(live) == (heartbeat, lease)


def test_one_that_is_set_is_never_shortened():
    heartbeats = Heartbeats(Settings(1, heartbeat=200.0, lease=400.0))
    assert [heartbeats.wanted(live) for live in (1, 50_000)] == [(200_000, 400_000)] * 2


def test_the_lease_grows_with_it():
    heartbeats = Heartbeats(Settings(1, heartbeat=2.0, lease=9.0, pings=1.0))
    assert heartbeats.wanted(4) == (4000, 18_000)


# --- who is told --------------------------------------------------------------------------


def test_few_are_told_the_usual_one_and_nothing_more(few):
    peers = few.crowd(5)
    assert {(p.welcome.heartbeat, p.welcome.lease) for p in peers} == {(USUAL, LEASE)}
    assert told(peers[0]) == (0, 0)


def test_welcome_tells_what_holds_with_the_newcomer(few):
    few.crowd(9)
    welcome = few.joins("alice").welcome
    assert (welcome.heartbeat, welcome.lease) == (10_000, 30_000)


def test_who_came_when_there_were_few_is_told_by_a_pong_and_once(few):
    alice = few.joins("alice")
    few.crowd(9)
    assert told(alice) == (10_000, 30_000)
    assert told(alice, 10_000) == (0, 0)


def test_who_did_not_hear_it_is_told_again(few):
    alice = few.joins("alice")
    few.crowd(9)
    assert [told(alice) for _ in range(3)] == [(10_000, 30_000)] * 3
    assert told(alice, 10_000) == (0, 0)


def test_a_little_more_or_less_is_not_worth_telling(few):
    guests = few.crowd(9)
    alice = few.joins("alice")  # Told 10 s.
    for number in range(20):
        more = [few.joins(f"more{number}-{n}") for n in range(2)]
        assert told(alice) == (0, 0)
        few.loses(*more, *guests[:2])
        assert told(alice) == (0, 0)
        guests[:2] = [few.joins(f"guest{number}-{n}") for n in range(2)]


def test_by_more_than_a_quarter_it_is(few):
    few.crowd(9)
    alice = few.joins("alice")
    few.joins("bob")
    few.joins("carol")
    assert told(alice) == (0, 0)  # 12 s would be a fifth more.
    few.joins("dave")
    assert told(alice) == (13_000, 39_000)


def test_when_there_are_few_again_it_is_exactly_the_usual_one(few):
    crowd = few.crowd(6)
    alice = few.joins("alice")
    assert alice.welcome.heartbeat == 7000
    few.loses(*crowd[:1])
    assert told(alice) == (0, 0)
    few.loses(*crowd[1:2])
    assert told(alice) == (USUAL, LEASE)
    assert told(alice, USUAL) == (0, 0)
    # And a session more does not make it another.
    few.joins("bob")
    assert told(alice, USUAL) == (0, 0)


def test_to_the_usual_one_also_who_is_but_a_little_beyond_it_comes_back(few):
    crowd = few.crowd(5)
    alice = few.joins("alice")
    assert alice.welcome.heartbeat == 6000
    few.loses(crowd[0])
    assert told(alice) == (USUAL, LEASE)
    assert told(alice, USUAL) == (0, 0)


def test_those_who_stay_come_back_to_it_as_others_leave(few):
    crowd = few.crowd(29)
    alice = few.joins("alice")
    heard, going_by = [], 0
    while crowd:
        few.loses(crowd.pop())
        heartbeat, _ = told(alice, going_by)
        if heartbeat:
            heard.append(heartbeat)
            going_by = heartbeat
    assert heard == sorted(heard, reverse=True)
    assert heard[-1] == USUAL
    assert len(heard) < 10


def test_what_a_pong_that_nobody_asked_for_tells_is_the_heads_alone(few):
    alice = few.joins("alice")
    few.crowd(9)
    few.broker.remind()
    few.turn()
    (pong,) = alice.hears().of(Pong)
    assert (pong.ref, pong.heartbeat, pong.lease) == (0, 0, 0)


# --- whose lease is how long --------------------------------------------------------------


def test_who_was_told_a_longer_one_has_the_longer_lease_at_once(few):
    alice = few.joins("alice")
    bob, *_ = few.crowd(9)
    told(alice)
    few.passes(29.0, alive=[bob])
    assert is_on(few, "alice", bob)
    few.passes(2.0, alive=[bob])
    assert not is_on(few, "alice", bob)


def test_who_was_told_nothing_has_the_lease_of_before(few):
    few.joins("alice")
    bob, *_ = few.crowd(9)
    few.passes(16.0, alive=[bob])
    assert not is_on(few, "alice", bob)


def test_who_is_told_a_shorter_one_keeps_the_lease_until_it_is_heard(few):
    crowd = few.crowd(29)
    alice = few.joins("alice")  # Told 30 s, and a lease of 90 s.
    few.loses(*crowd[1:])
    bob = crowd[0]
    for _ in range(3):  # Each PONG is lost, and each PING may be 30 s late.
        assert told(alice) == (USUAL, LEASE)
        few.passes(80.0, alive=[bob])
        assert is_on(few, "alice", bob)
    assert told(alice, USUAL) == (0, 0)
    few.passes(14.0, alive=[bob])
    assert is_on(few, "alice", bob)
    few.passes(2.0, alive=[bob])
    assert not is_on(few, "alice", bob)


def test_a_longer_one_that_is_on_its_way_counts_although_it_is_taken_back(few):
    alice = few.joins("alice")
    bob, *others = few.crowd(29)
    assert told(alice) == (30_000, 90_000)
    few.loses(*others[:14])
    # She has not heard it yet when she says this; then she does, and the next is lost.
    assert told(alice) == (16_000, 48_000)
    few.passes(80.0, alive=[bob, *others[14:]])
    assert is_on(few, "alice", bob)


def test_a_client_that_heeds_no_pong_keeps_its_heartbeat_and_lease(few):
    crowd = few.crowd(29)
    alice = few.joins("alice")
    few.loses(*crowd[1:])
    few.turn()
    for _ in range(20):  # By 30 s, as WELCOME told.
        assert told(alice) == (USUAL, LEASE)
        few.passes(30.0, alive=crowd[:1])
    assert is_on(few, "alice", crowd[0])


def test_a_client_gets_no_lease_that_it_was_not_told(few):
    alice = few.joins("alice")
    bob = few.joins("bob")
    assert told(alice, 2**63 - 1) == (USUAL, LEASE)
    few.passes(16.0, alive=[bob])
    assert not is_on(few, "alice", bob)


def test_the_answer_to_a_hello_that_comes_twice_is_the_same(few):
    alice = few.joins("alice")
    few.crowd(9)
    (again,) = alice.joins(attempt=alice.attempt)
    assert (again.heartbeat, again.lease) == (USUAL, LEASE)
    assert told(alice) == (10_000, 30_000)


def test_who_comes_back_is_told_what_holds_then(few):
    crowd = few.crowd(29)
    alice = few.joins("alice")
    few.loses(alice, *crowd[1:])
    again = few.returns(alice)
    assert (again.resumed, again.welcome.heartbeat) == (True, USUAL)
    few.passes(16.0, alive=crowd[:1])
    assert not is_on(few, "alice", crowd[0])


# --- the longest of them ------------------------------------------------------------------


def test_the_longest_lease_is_known_while_it_is_somebodys(few):
    assert few.broker.longest_lease == 15.0
    crowd = few.crowd(29)
    alice = few.joins("alice")
    assert few.broker.longest_lease == 90.0
    few.loses(*crowd)
    few.passes(MEASURE_EVERY + 1.0, alive=[alice])
    assert few.broker.longest_lease == 90.0  # She may not have heard of another.
    told(alice, USUAL)
    few.passes(MEASURE_EVERY + 1.0)
    assert few.broker.longest_lease == 15.0


def test_it_is_looked_for_now_and_then_as_all_sessions_are_looked_at():
    heartbeats, looked = Heartbeats(Settings(1)), []

    def sessions(clock):
        looked.append(clock)
        yield from ()

    often = [part * MEASURE_EVERY for part in (0.5, 1.0, 1.5, 1.9, 2.0, 7.0, 7.5)]
    for clock in often:
        heartbeats.measure(sessions(clock), clock)
    assert looked == [often[1], often[4], often[5]]


def test_the_longest_that_is_found_is_anybodys_and_no_shorter_than_the_usual_one():
    heartbeats, (one, other) = Heartbeats(Settings(1)), (Session(bytes([n]), None) for n in (1, 2))
    one.lease, other.lease = 20.0, 90.0
    for number, sessions, longest in ((1, [one, other], 90.0), (2, [one], 20.0), (3, [], 15.0)):
        heartbeats.measure(sessions, number * MEASURE_EVERY)
        assert heartbeats.longest == longest
