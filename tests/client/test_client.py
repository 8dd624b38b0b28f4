"""The public class, against real brokers; and against one that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from chatbroker.client import (
    Broadcast,
    Client,
    ClientError,
    Direct,
    Identity,
    Joined,
    Left,
    Missed,
    NameRefused,
    Offline,
    Online,
    OutcomeUnknown,
    ProtocolError,
    Refused,
    Since,
    Unreachable,
    UsageError,
)
from chatbroker.client import client as client_module
from chatbroker.client import inbox as inbox_module
from chatbroker.client.history import History
from chatbroker.client.outbox import Outcome
from chatbroker.client.pipeline import Receipt
from chatbroker.testing.brokers import BrokerProcess
from chatbroker.wire.messages import Echo, Error, Farewell, Hello
from chatbroker.wire.messages import Refused as HelloRefused

WITHIN = 15.0
"""Seconds; more than anything here takes on a busy machine."""


@pytest.fixture(scope="module")
def house():
    """A broker that the tests of this module share; each cleans up its clients."""
    with BrokerProcess("--grace", "0.2") as broker:
        yield broker


@pytest.fixture
def connect(house):
    """Clients of the house, closed after the test."""
    made = []

    def client(name=None, **options):
        made.append(Client(name, house.address, **options))
        return made[-1]

    yield client
    for client_ in made:
        client_.close()


def messages(client, count, within=WITHIN):
    """The next messages, without who comes and goes."""
    found = []
    for event in client.events(within):
        if isinstance(event, Broadcast | Direct):
            found.append(event)
            if len(found) == count:
                break
    return found


def texts(client, count):
    return [event.text for event in messages(client, count)]


def nothing_more(client):
    assert client.sync(WITHIN)
    return not messages(client, 1, within=0)


def goes_offline(client):
    assert any(isinstance(event, Offline) for event in client.events(WITHIN))


def comes_back(client):
    assert any(isinstance(event, Online) and event.again for event in client.events(WITHIN))


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
    monkeypatch.setattr(client_module, "MOST_EVENTS", 100)
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


# --- names and credentials ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "two words", "-dash", "x" * 33, "ünï"])
def test_what_is_no_name_is_refused_before_connecting(name):
    with pytest.raises(NameRefused, match="not a valid name") as caught:
        Client(name, "tcp://127.0.0.1:1")
    assert caught.value.code == "bad_name"


@pytest.mark.parametrize("address", ["127.0.0.1:5555", "tcp://host:0", "ipc:///tmp/x"])
def test_what_is_no_address_is_misuse(address):
    with pytest.raises(UsageError):
        Client("alice", address)


def test_a_second_alice_is_refused_and_the_first_is_not_disturbed(connect):
    alice = connect("alice")
    with pytest.raises(NameRefused, match="name 'alice' is taken on tcp://") as caught:
        connect("alice")
    assert caught.value.code == "name_taken"
    alice.send("alice", "still here")
    assert texts(alice, 1) == ["still here"]


def test_a_name_is_free_as_soon_as_its_client_is_closed(connect):
    for _ in range(3):
        connect("alice").close()


def read(client):
    """The position in the mailbox up to which the broker is told that the user has read."""
    return [cursor.position for cursor in client._core.inbox.cursors() if cursor.log == "direct"]


@pytest.mark.parametrize(
    "come_back",
    [
        lambda bob: bob.receive(0),
        lambda bob: bob.wait_until(lambda: True),
        lambda bob: bob.close(),
    ],
    ids=["receive", "wait_until", "close"],
)
def test_mail_is_read_when_the_program_comes_back_after_it_took_it(connect, come_back):
    """Who is killed in between has not shown it."""
    bob = connect("bob", presence=False)
    connect("alice").send("bob", "hi")
    while not isinstance(bob.receive(WITHIN), Direct):
        pass
    assert read(bob) == []
    come_back(bob)
    assert read(bob) == [1]


def test_one_credential_is_one_user_in_several_clients(connect):
    first = connect("alice", exclusive=False)
    second = connect("alice", exclusive=False, credential=first.credential)
    bob = connect("bob")
    bob.send("alice", "to both")
    assert [texts(client, 1) for client in (first, second)] == [["to both"]] * 2
    assert [user.name for user in bob.users()] == ["alice", "bob"]
    first.close()
    bob.send("alice", "to one")
    assert texts(second, 1) == ["to one"]


def test_an_exclusive_client_is_the_only_one_of_its_user(connect):
    first = connect("alice")
    with pytest.raises(NameRefused, match="already joined") as caught:
        connect("alice", credential=first.credential)
    assert caught.value.code == "already_joined"


def test_a_sender_attaches_to_a_user_who_is_on(connect):
    alice = connect("alice")
    sender = connect("alice", hear=False, credential=alice.credential)
    sender.echo("by the way")
    sender.send("alice", "hi")
    assert "hi" in texts(alice, 2)
    assert sender.waiting_events == 1  # Online; a sender hears nothing.


# --- brokers that go, stop and come back --------------------------------------------------


@pytest.fixture
def restart(chatbroker, chatbrokers):
    """Kills the broker and starts another at the same ports."""

    def again():
        chatbroker.kill()
        return chatbrokers.start(port=chatbroker.port, pub_port=chatbroker.pub_port)

    return again


def test_a_broker_that_comes_back_at_the_same_ports_is_found_again(chatbroker, restart):
    alice, bob = chatbroker.client("alice"), chatbroker.client("bob")
    assert bob.wait_listening()
    alice.echo("before")
    assert texts(bob, 1) == ["before"]
    chatbroker.kill()
    goes_offline(bob)
    goes_offline(alice)
    restart()
    alice.echo("after", timeout=WITHIN)
    alice.wait_until(lambda: alice.listening, WITHIN)
    seen = []
    for event in bob.events(WITHIN):
        seen.append(event)
        if isinstance(event, Broadcast):
            break
    assert seen[-1].text == "after"
    assert Missed("echo", None) in seen
    alice.send("bob", "and directly", timeout=WITHIN)
    assert "and directly" in texts(bob, 1)
    assert bob.sync(WITHIN)
    assert nothing_more(bob)


def test_what_was_said_while_the_broker_was_away_reaches_the_next_one_once(chatbroker, restart):
    alice = chatbroker.client("alice")
    chatbroker.kill()
    goes_offline(alice)
    pipeline = alice.pipeline()
    receipts = [pipeline.echo(str(number)) for number in range(100)]
    restart()
    pipeline.flush(WITHIN)
    assert {receipt.outcome for receipt in receipts} == {Outcome.ACCEPTED}
    assert texts(alice, 100) == [str(number) for number in range(100)]
    assert nothing_more(alice)


def test_nobody_there_is_unreachable():
    with pytest.raises(Unreachable, match="is it running"):
        Client("alice", "tcp://127.0.0.1:1", timeout=0.1)


def test_a_message_that_was_never_sent_is_withdrawn(chatbroker, restart):
    alice = chatbroker.client("alice")
    chatbroker.kill()
    goes_offline(alice)
    with pytest.raises(Unreachable, match="nothing was sent"):
        alice.echo("withdrawn", timeout=0.1)
    restart()
    comes_back(alice)
    alice.echo("said", timeout=WITHIN)
    assert texts(alice, 1) == ["said"]
    assert nothing_more(alice)


def test_a_message_that_a_stopped_broker_may_have_is_unknown_and_arrives_once(chatbroker):
    alice = chatbroker.client("alice")
    chatbroker.signal(signal.SIGSTOP)
    with pytest.raises(OutcomeUnknown, match="may be stored or not"):
        alice.send("alice", "perhaps", timeout=0.1)
    chatbroker.signal(signal.SIGCONT)
    assert texts(alice, 1) == ["perhaps"]
    assert nothing_more(alice)


@pytest.mark.usefixtures("short_goodbyes")
def test_a_question_to_a_stopped_broker_is_given_up_for_good(chatbroker):
    """A program that asks every second must not gather questions while nobody answers."""
    alice = chatbroker.client("alice")
    chatbroker.signal(signal.SIGSTOP)
    for _ in range(3):
        with pytest.raises(ClientError):
            alice.users(timeout=0.01)
    assert len(alice._core._queries) == 0


def test_it_gives_up_when_the_broker_stays_away(chatbroker):
    alice = chatbroker.client("alice", reconnect=0.1)
    chatbroker.kill()
    with pytest.raises(Unreachable):
        for _ in alice.events():
            pass
    with pytest.raises(Unreachable):
        alice.wait_until(lambda: False)


def test_it_gives_up_with_an_unknown_outcome_if_something_was_sent(chatbroker):
    alice = chatbroker.client("alice", reconnect=0.1)
    chatbroker.signal(signal.SIGSTOP)
    receipt = alice.pipeline().echo("perhaps")
    alice.wait_until(lambda: alice._core.outbox.uncertain, WITHIN)
    chatbroker.kill()
    with pytest.raises(OutcomeUnknown):
        receipt.wait()
    with pytest.raises(OutcomeUnknown):
        for _ in alice.events():
            pass


@pytest.mark.parametrize("reconnect", [0, 1e-6])
def test_who_does_not_want_to_reconnect_still_connects(house, reconnect):
    """``reconnect`` is about a broker that is gone; how long to wait for one is ``timeout``."""
    with Client("alice", house.address, reconnect=reconnect) as alice:
        assert alice.name == "alice"


# --- limits -------------------------------------------------------------------------------


def test_many_messages_wait_for_the_rate_and_arrive_once_and_in_order(chatbrokers):
    broker = chatbrokers.start("--limit", "messages=500/50")
    wanted = [str(number) for number in range(300)]
    with (
        broker.client("alice") as alice,
        broker.client("alice", credential=alice.credential, exclusive=False) as window,
    ):
        with alice.pipeline() as one, window.pipeline() as other:
            for number in wanted:
                one.send("alice", f"one {number}")
                other.send("alice", f"other {number}")
        heard = texts(alice, 600)
    for which in ("one", "other"):
        assert [text for text in heard if text.startswith(which)] == [
            f"{which} {number}" for number in wanted
        ]


@pytest.mark.usefixtures("short_goodbyes")
def test_a_message_that_is_held_back_for_too_long_is_not_said_to_be_unsent(puppets):
    def script(puppet, identity, message):
        puppet.welcomes(identity, message)
        if isinstance(message, Echo):
            puppet.tells(identity, Error("slow_down", "too fast", message.cseq, 60_000))

    with (
        Client("alice", puppets(script).address, timeout=WITHIN) as alice,
        pytest.raises(OutcomeUnknown),
    ):
        alice.echo("hi", timeout=0.2)


@pytest.mark.usefixtures("short_goodbyes")
def test_a_client_that_is_put_off_for_too_long_says_why(puppets):
    def script(puppet, identity, message):
        if isinstance(message, Hello):
            puppet.tells(identity, HelloRefused("slow_down", "too many new sessions", 10))

    puppet = puppets(script)
    with pytest.raises(Unreachable, match=f"too many new sessions on {puppet.address}"):
        Client("alice", puppet.address, timeout=0.5)
    assert len([message for message in puppet.heard if isinstance(message, Hello)]) > 1


def test_a_client_that_is_put_off_comes_in_by_itself(puppets):
    def script(puppet, identity, message):
        if len(puppet.heard) < 3 and isinstance(message, Hello):
            puppet.tells(identity, HelloRefused("slow_down", "too many new sessions", 1))
        else:
            puppet.welcomes(identity, message)

    with Client("alice", puppets(script).address, timeout=WITHIN) as alice:
        assert alice.name == "alice"


def test_a_text_is_as_long_as_the_broker_lets_it(chatbrokers):
    broker = chatbrokers.start("--limit", "text=10")
    with broker.client("alice") as alice:
        assert alice.max_text == 10
        with pytest.raises(Refused, match="too long: 11 bytes, and 10 are allowed"):
            alice.echo("x" * 11)
        alice.echo("x" * 10)
        assert texts(alice, 1) == ["x" * 10]


def test_catching_up_goes_on_by_itself_when_it_is_slowed(chatbrokers):
    broker = chatbrokers.start("--limit", "history=200kB/20kB")
    with broker.client("alice", hear=False) as alice, alice.pipeline() as pipe:
        for number in range(60):
            pipe.echo(f"{number} ".ljust(1000))
    with broker.client("bob", since=Since.all()) as bob:
        assert [text.strip() for text in texts(bob, 60)] == [str(number) for number in range(60)]
    with broker.client("carol", hear=False) as carol:
        found = [event.text.strip() for event in History(carol).walk("echo", 0)]
        assert found == [str(number) for number in range(60)]


# --- brokers that misbehave ---------------------------------------------------------------


def test_a_session_that_the_broker_ends_says_why(puppets):
    def script(puppet, identity, message):
        puppet.welcomes(identity, message)
        if isinstance(message, Echo):
            puppet.tells(identity, Farewell("replaced", "the session goes on elsewhere"))

    with Client("alice", puppets(script).address) as alice:
        with pytest.raises((ProtocolError, OutcomeUnknown)):
            alice.echo("hi", timeout=WITHIN)
        with pytest.raises(ProtocolError, match="goes on elsewhere"):
            list(alice.events(WITHIN))
        with pytest.raises(ProtocolError, match="goes on elsewhere"):
            alice.echo("again")


def test_a_broker_of_another_version_is_a_protocol_error(puppets):
    def script(puppet, identity, message):
        puppet.tells(identity, Error("version", "upgrade your client", 0))

    with pytest.raises(ProtocolError, match="upgrade your client"):
        Client("alice", puppets(script).address, timeout=WITHIN)


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"hello", b"\x91\xcc\xc8"])
def test_garbage_from_the_broker_is_a_protocol_error(puppets, garbage):
    def script(puppet, identity, message):
        puppet.tells(identity, garbage)

    with pytest.raises(ProtocolError):
        Client("alice", puppets(script).address, timeout=WITHIN)


@pytest.mark.usefixtures("short_goodbyes")
def test_a_broker_that_never_answers_is_unreachable(puppets):
    puppet = puppets(lambda *_: None)
    with pytest.raises(Unreachable):
        Client("alice", puppet.address, timeout=0.2)
    assert puppet.heard.of(Hello)


@pytest.mark.usefixtures("short_goodbyes")
def test_an_earlier_session_that_was_forgotten_is_owned_up_to(puppets):
    """The broker forgot the session while messages were under way: they may be stored."""

    def script(puppet, identity, message):
        if isinstance(message, Hello):
            puppet.welcomes(identity, message, born=message.attempt)
        elif isinstance(message, Echo) and puppet.hellos == 1:
            puppet.tells(identity, Error("no_session", "say HELLO first", 0))

    with (
        Client("alice", puppets(script).address, hear=False) as alice,
        pytest.raises(OutcomeUnknown),
    ):
        alice.echo("perhaps", timeout=WITHIN)


def test_a_bug_in_the_background_reaches_the_program(connect, monkeypatch):
    alice = connect("alice", presence=False)
    assert alice.receive(WITHIN) == Online("alice", False)

    def breaks(longest):
        raise RuntimeError("a bug")

    monkeypatch.setattr(alice._link, "step", breaks)
    alice._link.wake()
    with pytest.raises(ClientError, match="a bug"):
        alice.receive(WITHIN)
    with pytest.raises(ClientError, match="a bug"):
        alice.echo("hi")


# --- the end ------------------------------------------------------------------------------


def test_a_closed_client_says_so_to_whoever_uses_it(connect):
    alice = connect("alice")
    receipt = Receipt(alice, None, "hi")
    pipeline = alice.pipeline()
    alice.close()
    assert alice.closed
    for use in (
        lambda: alice.echo("hi"),
        lambda: alice.send("bob", "hi"),
        lambda: alice.users(),
        lambda: alice.sync(),
        lambda: pipeline.echo("hi"),
        lambda: alice.wait_until(lambda: False),
        lambda: receipt.wait(),
    ):
        with pytest.raises(UsageError, match="closed"):
            use()


def test_what_came_before_the_end_can_still_be_taken(connect):
    alice = connect("alice", presence=False)
    alice.send("alice", "hi")
    assert alice.sync()
    alice.close()
    assert [type(event) for event in alice.receive_many(0)] == [Online, Direct]
    with pytest.raises(UsageError, match="closed"):
        alice.receive()


def test_closing_twice_and_from_several_threads_is_closing(connect, in_thread):
    alice = connect("alice")
    for thread in [in_thread(alice.close) for _ in range(4)]:
        thread.result()
    alice.close()


def test_closing_ends_a_wait_in_another_thread(connect, in_thread):
    alice = connect("alice", presence=False)
    assert alice.receive(WITHIN) == Online("alice", False)
    waiting = in_thread(alice.receive)
    alice.close()
    with pytest.raises(UsageError, match="closed"):
        waiting.result()


@pytest.mark.usefixtures("short_goodbyes")
def test_closing_resolves_what_is_under_way(chatbroker):
    alice = chatbroker.client("alice")
    chatbroker.signal(signal.SIGSTOP)
    receipt = alice.pipeline().echo("perhaps")
    alice.wait_until(lambda: alice._core.outbox.uncertain, WITHIN)
    alice.close()
    assert receipt.outcome is Outcome.UNKNOWN


def test_leaving_the_block_closes(house):
    with Client("alice", house.address) as alice:
        assert not alice.closed
    assert alice.closed


def leftovers():
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def test_closed_clients_leave_nothing_behind(house):
    Client("alice", house.address).close()
    before = leftovers()
    for _ in range(10):
        Client("alice", house.address).close()
    assert leftovers() == before


def test_refused_clients_leave_nothing_behind(connect, house):
    connect("alice")
    with pytest.raises(NameRefused):
        Client("alice", house.address)
    before = leftovers()
    for _ in range(5):
        with pytest.raises(NameRefused):
            Client("alice", house.address)
        with pytest.raises(Unreachable):
            Client("bob", "tcp://127.0.0.1:1", timeout=0.01)
    assert leftovers() == before


@pytest.mark.parametrize("address", ["tcp://[...]:5", "tcp://*:5"])
def test_an_address_that_zeromq_refuses_leaves_nothing_behind(address):
    """In a process of its own: what is left behind may hang whoever collects it."""
    program = """
import gc, sys
from chatbroker.client import Client, ClientError
try:
    Client("alice", sys.argv[1])
except ClientError:
    pass
gc.collect()
"""
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", program, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- identities ---------------------------------------------------------------------------


@pytest.fixture
def alice_at():
    """Alice's identity at a broker; the lock is given back after the test."""
    made = []

    def make(broker):
        made.append(Identity.of(broker.address, "alice"))
        return made[-1]

    yield make
    for identity in made:
        identity.unlock()


def test_an_identity_is_one_user_however_many_clients(chatbroker, alice_at):
    identity = alice_at(chatbroker)
    with (
        chatbroker.client("alice", identity=identity, exclusive=False) as one,
        chatbroker.client("Alice", identity=alice_at(chatbroker), exclusive=False) as other,
    ):
        assert one.credential == other.credential == identity.credential
        with pytest.raises(NameRefused):
            chatbroker.client("alice")


def test_an_identity_is_of_one_name_at_one_broker(chatbroker, alice_at):
    identity = alice_at(chatbroker)
    for name, options in (("bob", {}), (None, {}), ("alice", {"credential": b"c" * 16})):
        with pytest.raises(UsageError):
            chatbroker.client(name, identity=identity, **options)
    with pytest.raises(UsageError):
        Client("alice", "tcp://127.0.0.1:1", identity=identity, timeout=0)


def test_a_locked_identity_remembers_who_joined(chatbroker, alice_at):
    first, attached = alice_at(chatbroker), alice_at(chatbroker)
    assert first.lock()
    with chatbroker.client("alice", identity=first) as client:
        session = client._core._session
        assert (client._core._claim, client._core._replaces) == (True, b"")
        chatbroker.client("alice", identity=attached, exclusive=False)
        assert alice_at(chatbroker).previous == session
    first.unlock()
    assert attached.lock()
    with chatbroker.client("alice", identity=attached) as client:
        assert client._core._replaces == session


def test_who_never_joined_is_not_remembered(puppets, alice_at):
    def refuses(puppet, identity, message):
        if isinstance(message, Hello):
            puppet.tells(identity, HelloRefused("already_joined", "'alice' is already joined"))

    puppet = puppets(refuses)
    before = alice_at(puppet)
    assert before.lock()
    before.remember(b"session-of-alice")
    before.unlock()
    identity = alice_at(puppet)
    assert identity.lock()
    with pytest.raises(NameRefused):
        Client("alice", puppet.address, identity=identity)
    puppet.close()
    with pytest.raises(Unreachable):
        Client("alice", puppet.address, identity=identity, timeout=0.05)
    assert alice_at(puppet).previous == b"session-of-alice"
