"""Conversations: what people see of the broker, of each other, and of trouble."""

from __future__ import annotations

import pytest

from chatbroker.client.commands import Outcome
from chatbroker.client.core import Phase
from chatbroker.client.events import Joined, Left, Missed, Offline, Online
from chatbroker.client.starts import Since
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import FRAME_TARGET
from chatbroker.wire.messages import ECHO_LOG, Kind
from world import Peer, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alice(world: World) -> Peer:
    return world.join("alice", presence=True)


@pytest.fixture
def bob(world: World, alice: Peer) -> Peer:
    return world.join("bob")


def users(world: World, peer: Peer) -> list[str]:
    query = peer.core.ask_users()
    world.settle()
    assert query.done
    return [user.name for user in query.users]


def outcomes(peer: Peer) -> list[Outcome]:
    return [said.outcome for said in peer.said]


# --- talking --------------------------------------------------------------------------------


def test_two_people_talk_and_an_observer_hears_what_is_public(world, alice, bob):
    eve = world.observe()
    alice.echo("hello all")
    world.settle()
    bob.send("alice", "hi, alone?")
    world.settle()
    alice.send("bob", "no")
    world.settle()
    private = ["bob > alice: hi, alone?", "alice > bob: no"]
    assert alice.heard == bob.heard == ["alice: hello all", *private]
    assert eve.heard == ["alice: hello all"]


def test_a_sender_sees_what_it_said(world, alice):
    alice.echo("to all")
    world.settle()
    assert alice.heard == ["alice: to all"]


def test_what_one_sends_to_oneself_comes_once(world, alice):
    alice.send("alice", "milk, eggs")
    world.settle()
    assert alice.heard == ["alice > alice: milk, eggs"]


def test_all_windows_of_a_user_see_the_same(world, alice, bob):
    window = world.join("alice", credential=alice.core.credential, exclusive=False)
    window.send("bob", "from the window")
    world.settle()
    bob.send("alice", "to both")
    world.settle()
    assert window.heard == alice.heard == ["alice > bob: from the window", "bob > alice: to both"]


def test_a_message_to_nobody_is_refused_and_those_around_it_are_not(world, alice, bob):
    said = [alice.send(to, "hi") for to in ("bob", "nobody", "bob")]
    world.settle()
    assert outcomes(alice) == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]
    assert said[1].code == Code.NO_SUCH_USER
    assert bob.heard == ["alice > bob: hi"] * 2


def test_a_sender_that_does_not_listen_is_not_announced(world, alice):
    script = world.start("cron", hear=False)
    said = script.send("alice", "the backup is done")
    world.settle()
    assert said.outcome is Outcome.ACCEPTED
    assert alice.heard == ["cron > alice: the backup is done"]
    assert alice.told(Joined) == []
    assert users(world, alice) == ["alice"]


# --- names ----------------------------------------------------------------------------------


def test_second_alice_is_refused(world, alice):
    other = world.start("alice")
    world.settle()
    assert other.core.phase is Phase.OVER
    assert other.core.refusal.code == Code.NAME_TAKEN
    assert alice.core.phase is Phase.READY
    assert alice.told(Offline) == []


def test_alice_is_refused_a_second_terminal_and_may_share_the_first(world, alice):
    second = world.start("alice", credential=alice.core.credential)
    world.settle()
    assert second.core.refusal.code == Code.ALREADY_JOINED
    world.join("alice", credential=alice.core.credential, exclusive=False)
    assert users(world, alice) == ["alice"]


def test_after_a_kill_the_name_is_free_when_the_grace_is_over(world, alice, bob):
    alice.kill()
    other = world.start("alice")
    world.run(world.settings.grace - 0.5)
    assert other.core.phase is Phase.GREETING
    world.run(1.0)
    assert other.core.phase is Phase.READY
    bob.send("alice", "are you the new one?")
    world.settle()
    assert other.heard == ["bob > alice: are you the new one?"]


def test_whoever_was_killed_comes_back_at_once_and_reads_on(world, alice, bob):
    credential = alice.core.credential
    alice.kill()
    bob.send("alice", "did you read this?")
    world.settle()
    again = world.start("alice", credential=credential)
    world.run(0.5)
    assert again.core.phase is Phase.READY
    world.settle()
    assert again.heard == ["bob > alice: did you read this?"]


def test_a_new_owner_of_a_name_reads_nothing_of_the_former(world, alice, bob):
    bob.send("alice", "for you alone")
    world.settle()
    alice.leave()
    world.settle()
    other = world.join("alice", since_direct=Since.all())
    bob.send("alice", "hello, new one")
    world.settle()
    assert other.heard == ["bob > alice: hello, new one"]


def test_leaving_frees_the_name_at_once(world, alice, bob):
    bob.leave()
    world.run(0.1)
    assert [event.user for event in alice.told(Left)] == ["bob"]
    assert users(world, alice) == ["alice"]
    other = world.start("bob")
    world.run(0.1)
    assert other.core.phase is Phase.READY


def test_whoever_vanishes_without_a_word_is_missed_when_the_lease_is_over(world, alice, bob):
    bob.cut(broker_hears=False, hears_after=1e6)
    world.run(world.settings.lease - 3.0)
    assert alice.told(Left) == []
    world.run(6.0)
    assert [event.user for event in alice.told(Left)] == ["bob"]


# --- frames and connections that are lost -----------------------------------------------------


def test_a_reconnect_in_the_middle_of_sending_loses_and_doubles_nothing(world, alice, bob):
    for n in range(6000):
        alice.echo(f"{n}")
    world.run(0.004)
    assert 0 < len(alice.core.outbox) < 6000
    alice.cut()
    world.settle()
    assert alice.told(Online)[-1].again
    assert outcomes(alice) == [Outcome.ACCEPTED] * 6000
    assert bob.heard == alice.heard == [f"alice: {n}" for n in range(6000)]


def test_a_lost_acknowledgement_is_asked_for(world, alice, bob):
    alice.lose(Kind.ACK)
    said = alice.send("nobody", "anyone?")
    world.run(1.0)
    assert not said.done
    world.run(world.settings.heartbeat)
    assert said.outcome is Outcome.REFUSED


def test_after_a_lost_acknowledgement_no_refusal_is_taken_for_a_success(world, alice, bob):
    alice.lose(Kind.ACK)
    alice.send("nobody", "anyone?")
    world.run(0.1)
    alice.send("bob", "hi")
    world.settle()
    assert outcomes(alice) == [Outcome.REFUSED, Outcome.ACCEPTED]


def test_a_lost_command_is_sent_again_before_those_after_it(world, alice, bob):
    alice.lose(Kind.ECHO)
    alice.echo("one")
    world.run(0.1)
    alice.echo("two")
    world.settle()
    assert bob.heard == ["alice: one", "alice: two"]


def test_a_lost_tail_is_noticed_at_the_next_heartbeat(world, alice, bob):
    bob.lose(Kind.BATCH)
    alice.echo("the last word")
    world.run(world.settings.heartbeat + 0.5)
    assert bob.heard == ["alice: the last word"]


def test_a_hole_is_noticed_at_once_and_filled_in_order(world, alice, bob):
    bob.lose(Kind.BATCH)
    for text in ("one", "two"):
        alice.echo(text)
        world.run(0.1)
    assert bob.heard == ["alice: one", "alice: two"]


def test_a_slow_joiner_misses_nothing(world, alice):
    bob = world.start("bob")
    bob.joining_slowly = 0.5
    world.run(0.1)
    assert bob.core.listening
    alice.echo("welcome, bob")
    world.run(1.5)
    assert bob.heard == ["alice: welcome, bob"]


def test_a_lost_welcome_is_asked_for_again(world, alice):
    bob = world.start("bob")
    bob.lose(Kind.WELCOME)
    world.settle()
    assert bob.core.phase is Phase.READY


def test_broadcasts_are_read_on_where_their_connection_was_cut(world, alice, bob):
    bob.cut_broadcasts()
    alice.echo("said to deaf ears")
    world.settle()
    assert bob.heard == ["alice: said to deaf ears"]


def test_whoever_does_not_read_catches_up_when_they_do(world, alice, bob, monkeypatch):
    monkeypatch.setattr("chatbroker.client.inbox.IN_A_FRAME", 1000)
    bob.taking = False
    for n in range(30_000):
        alice.echo(f"{n}")
    world.settle()
    assert outcomes(alice) == [Outcome.ACCEPTED] * 30_000
    assert len(bob.core.inbox.events) < 23_000
    bob.taking = True
    world.settle()
    assert bob.heard == [f"alice: {n}" for n in range(30_000)]


def test_a_hole_that_closes_late_does_not_flood_whoever_does_not_read(
    world, alice, bob, monkeypatch
):
    monkeypatch.setattr("chatbroker.client.inbox.MOST_EVENTS", 500)
    monkeypatch.setattr("chatbroker.client.inbox.IN_A_FRAME", 100)
    bob.taking = False
    bob.lose(Kind.BATCH, Kind.FETCH)
    for _ in range(100):
        for _ in range(50):
            alice.echo("blah")
        world.run(0.01)
    world.run(5.0)
    # The limits, and one frame of such small messages, of five bytes each.
    assert 500 <= len(bob.core.inbox.events) < 600 + FRAME_TARGET // 5
    bob.taking = True
    world.settle()
    assert bob.heard == ["alice: blah"] * 5000


# --- a lid that closes ------------------------------------------------------------------------


def test_a_suspended_laptop_resumes_with_nothing_lost(world, alice, bob):
    alice.send("bob", "one")
    world.settle()
    bob.freeze()
    alice.send("bob", "two")
    alice.echo("three")
    world.run(world.settings.lease * 4)
    said = alice.send("bob", "where are you?")
    world.settle()
    assert said.outcome is Outcome.REFUSED
    bob.echo("said in the moment when the lid closed")
    bob.thaw()
    world.settle()
    assert bob.core.phase is Phase.READY
    assert bob.heard == [
        "alice > bob: one",
        "alice > bob: two",
        "alice: three",
        "bob: said in the moment when the lid closed",
    ]
    assert outcomes(bob) == [Outcome.ACCEPTED]


def test_a_suspended_laptop_to_which_nobody_spoke_has_missed_nothing(world, alice, bob):
    bob.freeze()
    world.run(world.settings.lease * 4)
    bob.thaw()
    world.settle()
    assert bob.core.phase is Phase.READY
    assert bob.told(Missed) == []


def test_a_first_message_into_a_dead_connection_is_sent_again_after_the_lease(world, alice, bob):
    bob.cut(broker_hears=False, hears_after=world.settings.lease * 2)
    said = bob.echo("is this on?")
    world.settle(120)
    assert said.outcome is Outcome.ACCEPTED
    assert alice.heard == bob.heard == ["bob: is this on?"]


def test_a_name_that_was_taken_meanwhile_is_not_given_back(world, alice, bob):
    bob.freeze()
    bob.echo("never sent, for all that bob knows")
    world.run(world.settings.lease * 4)
    other = world.join("bob")
    bob.thaw()
    world.settle()
    assert bob.core.phase is Phase.OVER
    assert bob.core.refusal.code == Code.NAME_TAKEN
    assert outcomes(bob) == [Outcome.UNKNOWN]
    assert other.core.phase is Phase.READY


def test_nobody_is_missed_because_the_broker_itself_was_stopped(world, alice, bob):
    world.stall(world.settings.lease * 4)
    world.settle(world.settings.lease * 5)
    assert alice.told(Left) == []
    assert alice.told(Offline) == bob.told(Offline) == []


# --- what is gone for good --------------------------------------------------------------------


def test_a_restarted_broker_is_told_and_what_it_did_not_acknowledge_is_sent_again(
    world, alice, bob
):
    alice.echo("before")
    world.settle()
    alice.lose(Kind.ACK)
    said = alice.echo("in between")
    world.run(0.1)
    world.restart(down=1.0)
    assert not said.done
    world.settle()
    assert said.outcome is Outcome.ACCEPTED
    assert bob.heard == [
        "alice: before",
        "alice: in between",
        "(missed ? of echo)",
        "(missed ? of direct)",
        "alice: in between",
    ]


def test_whoever_loses_the_welcome_of_a_restarted_broker_is_not_stuck(world, alice, bob):
    alice.echo("before")
    world.settle()
    alice.lose(Kind.WELCOME)
    world.restart()
    alice.echo("after")
    world.settle()
    assert outcomes(alice) == [Outcome.ACCEPTED] * 2
    assert bob.heard[-1] == "alice: after"


def test_what_was_said_in_a_former_life_of_the_broker_is_not_called_unsent(world, alice, bob):
    alice.lose(Kind.ACK)
    said = alice.echo("heard, and never acknowledged")
    world.run(0.1)
    assert bob.heard == ["alice: heard, and never acknowledged"]
    world.restart()
    while alice.conn is None or not len(alice.conn.down):
        world.run(0.001)
    # The new broker's WELCOME is the last thing that comes; then alice gives up.
    alice.cut(lossless=True)
    world.restart(down=60.0)
    world.run(0.01)
    assert alice.told(Online)[-1].again
    assert not alice.core.outbox.withdraw(said)
    alice.leave()
    world.run(1.0)
    assert said.outcome is Outcome.UNKNOWN


def test_a_clean_stop_is_told(world, alice):
    world.restart(clean=True, down=1.0)
    world.run(0.5)
    assert [event.why for event in alice.told(Offline)] == ["the broker is shutting down"]
    world.settle()
    assert alice.told(Online)[-1].again


def test_history_that_is_no_longer_kept_is_announced_with_its_count():
    world = World(events=20)
    alice, bob = world.join("alice"), world.join("bob")
    alice.echo("0")
    world.settle()
    bob.freeze()
    for n in range(1, 101):
        alice.echo(f"{n}")
        world.run(0.01)
    bob.sub.pipe.cut(0)
    bob.thaw()
    world.settle()
    assert bob.heard == [
        "alice: 0",
        "(missed 80 of echo)",
        *[f"alice: {n}" for n in range(81, 101)],
    ]
    assert bob.told(Missed) == [Missed(ECHO_LOG, 80)]


def test_a_session_that_was_forgotten_says_that_nobody_can_tell():
    world = World(forget=20.0)
    alice, bob = world.join("alice"), world.join("bob")
    alice.echo("known")
    world.settle()
    alice.lose(Kind.ACK)
    alice.echo("perhaps")
    world.run(0.1)
    alice.freeze()
    world.run(60.0)
    alice.thaw()
    world.settle()
    assert outcomes(alice) == [Outcome.ACCEPTED, Outcome.UNKNOWN]
    assert bob.heard == ["alice: known", "alice: perhaps"]
    alice.echo("again")
    world.settle()
    assert bob.heard[2:] == ["alice: again"]
