"""The public class, against real brokers: what is said and heard."""

from __future__ import annotations

import contextlib
import threading

import pytest

from chatbroker.client import (
    Broadcast,
    Direct,
    Joined,
    Left,
    Online,
    Refused,
    Since,
    UsageError,
)
from chatbroker.client import inbox as inbox_module
from chatbroker.client.commands import Outcome
from hearing import WITHIN, messages, nothing_more, texts

# --- talking ------------------------------------------------------------------------------


def test_a_message_reaches_its_recipient_and_its_sender(connect):
    alice, bob = connect("alice"), connect("bob")
    alice.send("bob", "hi")
    (at_bob,), (at_alice,) = messages(bob, 1), messages(alice, 1)
    assert at_bob[2:] == at_alice[2:] == ("alice", "bob", "hi")
    assert type(at_bob) is Direct


def test_a_name_is_the_same_in_any_case(connect):
    bob = connect("BOB")
    assert bob.name == "bob"
    bob.send("Bob", "to myself")
    assert texts(bob, 1) == ["to myself"]
    assert nothing_more(bob)


def test_a_broadcast_reaches_everyone_and_observers(connect):
    alice, bob, observer = connect("alice"), connect("bob"), connect()
    for client in (alice, bob, observer):
        assert client.wait_listening()
    alice.echo("hello")
    assert [messages(client, 1)[0].text for client in (alice, bob, observer)] == ["hello"] * 3


def test_what_two_others_say_to_each_other_is_not_heard(connect):
    alice, bob, carol, observer = connect("alice"), connect("bob"), connect("carol"), connect()
    alice.send("bob", "secret")
    assert texts(bob, 1) == ["secret"]
    assert nothing_more(carol)
    assert nothing_more(observer)


@pytest.mark.parametrize("text", ["", " ", "\x00\x1b[31m\r\n", "日本語 🏳️‍🌈", "x" * 16_384])
def test_any_text_within_the_limit_arrives_as_it_is(connect, text):
    alice = connect("alice")
    alice.send("alice", text)
    assert messages(alice, 1)[0].text == text


def test_order_is_kept(connect):
    alice, bob = connect("alice"), connect("bob")
    with alice.pipeline() as pipeline:
        for number in range(500):
            pipeline.send("bob", str(number))
    assert texts(bob, 500) == [str(number) for number in range(500)]


def test_positions_grow(connect):
    alice = connect("alice")
    for text in "abc":
        alice.send("alice", text)
    seqs = [event.seq for event in messages(alice, 3)]
    assert seqs == sorted(set(seqs))


def test_who_is_on_is_sorted_and_leaves_out_senders_and_observers(connect):
    connect("carol"), connect("alice"), connect("sender", hear=False)
    observer = connect()
    assert [user.name for user in observer.users()] == ["alice", "carol"]


def test_coming_and_going_is_told(connect):
    alice = connect("alice")
    assert alice.wait_listening()
    bob = connect("bob")
    seen = [next(e for e in alice.events(WITHIN) if isinstance(e, Joined))]
    bob.close()
    seen.append(next(e for e in alice.events(WITHIN) if isinstance(e, Left)))
    assert [event.user for event in seen] == ["bob", "bob"]


def test_what_was_said_before_can_be_asked_for(connect):
    alice = connect("alice")
    alice.echo("before")
    late = connect(since=Since.all())
    assert late.sync()
    assert messages(late, 100_000, within=0)[-1].text == "before"
    assert nothing_more(connect())


def test_reading_goes_on_after_a_position(connect):
    alice = connect("alice")
    assert alice.wait_listening()
    for text in ("one", "two"):
        alice.echo(text)
    one = next(event for event in messages(alice, 2) if event.text == "one")
    assert texts(connect(since=Since.after(one.seq)), 1) == ["two"]


# --- receiving ----------------------------------------------------------------------------


def test_receive_gives_nothing_when_nothing_comes(connect):
    client = connect("alice", presence=False)
    assert client.receive(0) == Online("alice", False)
    assert client.receive(0) is None
    assert client.receive_many(0.01) == []
    assert list(client.events(0)) == []


def test_receive_many_takes_no_more_than_asked(connect):
    alice = connect("alice", presence=False)
    with alice.pipeline() as pipeline:
        for number in range(10):
            pipeline.send("alice", str(number))
    assert alice.sync()
    assert alice.waiting_events == 11
    # Who looks at some takes none.
    assert [event.text for event in alice.waiting(1, 4)] == ["0", "1", "2"]
    assert alice.waiting(10, 99)[-1].text == "9"
    assert alice.waiting(11, 12) == []
    assert len(alice.receive_many(0, 4)) == 4
    assert len(alice.receive_many(0)) == 7
    assert alice.waiting_events == 0


@pytest.mark.parametrize("seconds", [1e10, 1e300, float("inf")])
def test_a_timeout_longer_than_the_system_can_count_is_no_error(connect, in_thread, seconds):
    alice = connect("alice", presence=False)
    assert alice.receive(WITHIN) == Online("alice", False)
    waiting = in_thread(lambda: alice.receive(seconds))
    alice.send("alice", "hi", timeout=seconds)
    assert waiting.result().text == "hi"


def test_sync_waits_for_what_was_said_before_it(connect):
    alice, bob = connect("alice"), connect("bob")
    for number in range(20):
        alice.send("bob", f"direct {number}")
        alice.echo(f"broadcast {number}")
        assert bob.sync()
        assert len([e for e in bob.receive_many(0) if isinstance(e, Broadcast | Direct)]) == 2


def test_a_full_queue_stops_reading_and_loses_nothing(connect, monkeypatch):
    monkeypatch.setattr(inbox_module, "MOST_EVENTS", 100)
    monkeypatch.setattr(inbox_module, "IN_A_FRAME", 0)
    alice, bob = connect("alice"), connect("bob")
    said = [str(number) for number in range(3000)]
    with alice.pipeline() as pipeline:
        for text in said:
            pipeline.send("bob", text)
    assert not bob.sync()  # There is no room for all that was said.
    assert bob.waiting_events < 3000
    assert texts(bob, 3000) == said


def test_several_threads_that_receive_get_every_event_once(connect, in_thread):
    reader, alice = connect(), connect("alice")
    assert reader.wait_listening()

    def takes():
        taken = []
        for event in reader.events():
            if isinstance(event, Broadcast):
                if event.text == "stop":
                    break
                taken.append(event.text)
        return taken

    takers = [in_thread(takes) for _ in range(3)]
    said = [str(number) for number in range(300)]
    with alice.pipeline() as pipeline:
        for text in said:
            pipeline.echo(text)
    for _ in takers:
        alice.echo("stop")
    taken = [taker.result() for taker in takers]
    assert sorted([text for part in taken for text in part], key=int) == said
    assert all(part == sorted(part, key=int) for part in taken)


def test_receive_without_a_timeout_gives_an_event_although_another_thread_was_first(
    connect, in_thread
):
    """Two threads are told of one event: the one that is late goes on waiting."""
    reader = connect("reader", presence=False)
    assert reader.receive(WITHIN) == Online("reader", False)
    wait, both = reader._await, threading.Barrier(2)
    first_time = threading.local()

    def wait_for_each_other(*args, **options):
        ready = wait(*args, **options)
        if not hasattr(first_time, "over"):
            first_time.over = True
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(1.0)
        return ready

    reader._await = wait_for_each_other
    takers = [in_thread(reader.receive) for _ in range(2)]
    alice = connect("alice", hear=False)
    alice.send("reader", "one")
    alice.send("reader", "two")
    assert {getattr(taker.result(), "text", None) for taker in takers} == {"one", "two"}


def test_wait_until_looks_again_when_notified(connect, in_thread):
    alice = connect("alice")
    said = []
    waiting = in_thread(lambda: alice.wait_until(lambda: bool(said), WITHIN))
    said.append("now")
    alice.notify()
    assert waiting.result() is True
    assert alice.wait_until(lambda: False, 0) is False


# --- sending ------------------------------------------------------------------------------


def test_nobody_of_that_name(connect):
    with pytest.raises(Refused, match="no such user: nobody") as caught:
        connect("alice").send("nobody", "hi")
    assert caught.value.code == "no_such_user"


@pytest.mark.parametrize("name", ["", "no spaces", "x" * 33, "ünïcode"])
def test_what_is_no_name_is_no_user(connect, name):
    with pytest.raises(Refused, match="no such user") as caught:
        connect("alice").send(name, "hi")
    assert caught.value.code == "no_such_user"


@pytest.mark.parametrize("text", ["x" * 16_385, "ä" * 8193, "lone \ud800"])
def test_what_cannot_be_sent_is_refused_before_it_is(connect, text):
    alice = connect("alice")
    with pytest.raises(Refused):
        alice.echo(text)
    alice.send("alice", "still here")
    assert "still here" in texts(alice, 1)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda client: client.send("alice", b"bytes"),
        lambda client: client.echo(b"bytes"),
        lambda client: client.send(b"alice", "hi"),
        lambda client: client.send("alice", None),
    ],
    ids=["bytes", "bytes to all", "bytes as a name", "no text"],
)
def test_a_mistake_of_the_program_is_its_own_and_costs_no_session(connect, mistake):
    alice = connect("alice")
    with pytest.raises((UsageError, TypeError)):
        mistake(alice)
    alice.send("alice", "still here")
    assert texts(alice, 1) == ["still here"]


def test_of_many_texts_all_are_sent_or_none(connect):
    alice, carol = connect("alice"), connect("carol", hear=False)
    with carol.pipeline() as pipeline:
        with pytest.raises(Refused, match="too long"):
            pipeline.echo_many(["never", "x" * (carol.max_text + 1)])
        with pytest.raises(UsageError, match="a text is a str, not int"):
            pipeline.echo_many(["never", 1])
        receipts = pipeline.echo_many([str(number) for number in range(3000)])
    assert {receipt.outcome for receipt in receipts} == {Outcome.ACCEPTED}
    assert texts(alice, 3000) == [str(number) for number in range(3000)]


def test_an_observer_has_nothing_to_send_as(connect):
    observer = connect()
    assert (observer.name, observer.credential) == ("", b"")
    for say in (observer.echo, observer.pipeline().echo):
        with pytest.raises(UsageError, match="observer"):
            say("hi")


def test_several_threads_may_send(connect, in_thread):
    alice, bob = connect("alice"), connect("bob")

    def says(who):
        for number in range(100):
            alice.send("bob", f"{who} {number}")

    for thread in [in_thread(lambda who=who: says(who)) for who in range(4)]:
        thread.result()
    heard = texts(bob, 400)
    for who in range(4):
        assert [text for text in heard if text.startswith(f"{who} ")] == [
            f"{who} {number}" for number in range(100)
        ]
    assert nothing_more(bob)


def test_several_threads_may_ask_and_send_at_once(connect, in_thread):
    alice = connect("alice")

    def asks():
        return [[user.name for user in alice.users()] for _ in range(50)]

    def says():
        with alice.pipeline() as pipeline:
            for number in range(300):
                pipeline.send("alice", str(number))

    threads = [in_thread(asks), in_thread(says), in_thread(asks)]
    results = [thread.result() for thread in threads]
    assert results[0] == results[2] == [["alice"]] * 50
    assert texts(alice, 300) == [str(number) for number in range(300)]
