"""The public class, against brokers that go, stop, come back or misbehave, and at its limits."""

from __future__ import annotations

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
    Missed,
    NameRefused,
    Online,
    OutcomeUnknown,
    ProtocolError,
    Refused,
    Since,
    Unreachable,
    UsageError,
)
from chatbroker.client import client as client_module
from chatbroker.client.commands import Commands, Outcome
from chatbroker.client.history import History
from chatbroker.client.pipeline import Receipt
from chatbroker.wire.messages import Echo, Error, Farewell, Hello
from chatbroker.wire.messages import Refused as HelloRefused
from hearing import WITHIN, comes_back, goes_offline, nothing_more, texts

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


def test_who_waits_for_an_outcome_while_another_thread_closes_hears_what_became_of_it(
    chatbroker, in_thread, until
):
    """Not that a closed client was used: it was not closed when it was asked to send."""
    alice = chatbroker.client("alice", reconnect=60)
    chatbroker.signal(signal.SIGSTOP)
    sending = in_thread(lambda: alice.echo("perhaps", timeout=WITHIN))
    pipeline = alice.pipeline()
    pipeline.echo("perhaps too")
    flushing = in_thread(pipeline.flush)
    until(lambda: alice._core.outbox._ever_sent == 2 and len(alice._changes._waiting) == 2)
    alice.close()
    for waiting in (sending, flushing):
        with pytest.raises(OutcomeUnknown):
            waiting.result()
    chatbroker.signal(signal.SIGCONT)


def test_a_timeout_that_is_none_is_found_before_anything_is_sent(house):
    with Client("alice", house.address) as alice:
        with pytest.raises(TypeError):
            alice.echo("never", timeout="5")
        alice.echo("said")
        assert texts(alice, 1) == ["said"]
        assert nothing_more(alice)


@pytest.mark.usefixtures("short_goodbyes")
def test_a_message_for_which_there_is_no_room_is_not_sent_and_soon_said_to_be(
    chatbroker, monkeypatch
):
    monkeypatch.setattr(client_module, "MOST_PENDING", 3)
    alice = chatbroker.client("alice", reconnect=60)
    chatbroker.signal(signal.SIGSTOP)
    pipeline = alice.pipeline()
    for _ in range(3):
        pipeline.echo("perhaps")
    alice.wait_until(lambda: alice._core.outbox.uncertain, WITHIN)
    with pytest.raises(Unreachable):
        alice.echo("never", timeout=0.1)
    with pytest.raises(Unreachable):
        alice.users(timeout=0.1)
    chatbroker.signal(signal.SIGCONT)
    assert texts(alice, 3) == ["perhaps"] * 3
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


@pytest.mark.usefixtures("short_goodbyes")
def test_who_waits_for_room_hears_of_what_was_sent_before(chatbroker, monkeypatch):
    """That the broker is gone says that all that was sent is stored; here some may not be."""
    monkeypatch.setattr(client_module, "MOST_PENDING", 3)
    alice = chatbroker.client("alice", hear=False, reconnect=0.1)
    chatbroker.signal(signal.SIGSTOP)
    pipeline = alice.pipeline()
    for _ in range(3):
        pipeline.echo("perhaps")
    alice.wait_until(lambda: alice._core.outbox.uncertain, WITHIN)
    chatbroker.kill()
    with pytest.raises(OutcomeUnknown):
        pipeline.echo("never")


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
    receipt = Receipt(alice, Commands(None, ("hi",)))
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
