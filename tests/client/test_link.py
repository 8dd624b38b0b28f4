"""The sockets of a client, against a broker that does as it is told."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from functools import partial

import pytest
import zmq
from stepping import joins, steps
from tickets import one

from chatbroker.client import link as link_module
from chatbroker.client.access import Access
from chatbroker.client.commands import Commands, Outcome
from chatbroker.client.core import ClientCore, Phase
from chatbroker.client.events import Joined, Offline, Online
from chatbroker.client.link import (
    DEALER_OPTIONS,
    MOST_FAILURES,
    OPTIONS,
    SUB_OPTIONS,
    Link,
    fresh_secret,
    public_key,
    why_refused,
)
from chatbroker.wire.codec import Encoder
from chatbroker.wire.limits import MAX_FRAME, MAX_INT
from chatbroker.wire.messages import (
    Ack,
    Bye,
    Echo,
    Farewell,
    Hello,
    Ping,
    Presence,
)
from serving import needs_ipv6


def full(links, puppets):
    """A broker that reads no more until it is let, and a link that is to say more to it than the
    connection takes: the puppet, the link, and what lets it read."""
    reads = threading.Event()

    def script(puppet, identity, message):
        puppet.welcomes(identity, message)
        if isinstance(message, Echo):
            reads.wait(30)

    puppet = puppets(script)
    link = links(puppet.port)
    joins(link)
    for number in range(1000):
        link.core.submit(Commands(None, [f"{number:016000}"]))
    steps(link, lambda: link._unsent)
    return puppet, link, reads


# --- settings -----------------------------------------------------------------------------


def test_the_dealer_is_set_as_reliability_needs(links, puppets):
    dealer = links(puppets().port)._dealer
    for option, value in (OPTIONS | DEALER_OPTIONS).items():
        assert dealer.getsockopt(option) == value
    assert dealer.getsockopt(zmq.IMMEDIATE) == 1
    assert dealer.getsockopt(zmq.ROUTING_ID) == b""
    assert dealer.getsockopt(zmq.MAXMSGSIZE) == MAX_FRAME
    assert (dealer.getsockopt(zmq.HEARTBEAT_IVL), dealer.getsockopt(zmq.HEARTBEAT_TIMEOUT)) == (
        60_000,
        15_000,
    )


@pytest.mark.parametrize("heartbeat", [2**31, 2**53, MAX_INT])
def test_whatever_heartbeat_a_broker_wants_it_can_be_left(links, puppets, heartbeat):
    puppet = puppets(lambda p, *hello: p.welcomes(*hello, heartbeat=heartbeat, lease=heartbeat))
    link = links(puppet.port)
    joins(link)
    steps(link, lambda: link._sub is not None)
    assert link._sub.getsockopt(zmq.HEARTBEAT_IVL) == 86_400_000
    link.close()


def test_a_socket_that_cannot_be_set_keeps_nobody_from_leaving(links, puppets, monkeypatch):
    monkeypatch.setitem(SUB_OPTIONS, zmq.RCVHWM, 2**31)
    link = links(puppets(lambda p, *hello: p.welcomes(*hello)).port)
    with pytest.raises(OverflowError):
        joins(link)
    link.close()  # It returns.


def test_reconnecting_is_spread_so_that_clients_make_no_herd(links, puppets, monkeypatch):
    monkeypatch.undo()  # As it is outside of these tests.
    port = puppets().port
    intervals = {links(port)._dealer.getsockopt(zmq.RECONNECT_IVL) for _ in range(12)}
    assert len(intervals) > 1
    assert all(200 <= interval <= 1000 for interval in intervals)
    assert links(port)._dealer.getsockopt(zmq.RECONNECT_IVL_MAX) == 0


def test_the_sub_is_made_when_welcome_says_where(links, puppets):
    link = links(puppets().port)
    assert link._sub is None
    joins(link)
    for option, value in (OPTIONS | SUB_OPTIONS).items():
        assert link._sub.getsockopt(option) == value
    assert link._sub.getsockopt(zmq.HEARTBEAT_IVL) == 15_000


def test_the_sub_is_kept_up_as_rarely_as_the_broker_wants_pings(links, puppets):
    told = {"heartbeat": 60_000, "lease": 180_000}
    link = links(puppets(lambda p, *hello: p.welcomes(*hello, **told)).port)
    joins(link)
    assert link._sub.getsockopt(zmq.HEARTBEAT_IVL) == 60_000


def test_each_connection_learns_anew_what_unix_time_is(links, puppets):
    link = links(puppets().port)
    link.core.heartbeat.phase = 0.0
    joins(link)
    ahead = time.time() - time.monotonic()
    assert link.core.heartbeat.phase == pytest.approx(ahead, abs=60)


def test_a_sub_for_which_there_is_no_descriptor_is_made_later(links, puppets, monkeypatch):
    link = links(puppets().port)
    make, tried = link._socket, []

    def short(kind, options):
        tried.append(kind)
        if len(tried) < 3:
            raise zmq.ZMQError(errno.EMFILE)
        return make(kind, options)

    monkeypatch.setattr(link, "_socket", short)
    steps(link, lambda: link.core.listening)
    assert tried == [zmq.SUB] * 3


def test_a_port_of_broadcasts_that_was_left_in_vain_is_come_back_to(links, puppets, monkeypatch):
    puppet = puppets()
    link = links(puppet.port)
    steps(link, lambda: link.core.listening)

    def short(kind, options):
        raise zmq.ZMQError(errno.EMFILE)

    with monkeypatch.context() as patch:
        patch.setattr(link, "_socket", short)
        link.core.pub_port = puppet.pub_port + 1
        link.step(0)
    assert link._sub is None
    link.core.pub_port = puppet.pub_port
    link.step(0)
    assert link._sub is not None


def test_who_hears_no_broadcasts_makes_no_sub(links, puppets):
    link = links(puppets().port, logs=("direct",))
    joins(link)
    assert link._sub is None
    assert link.core.listening


# --- coming, talking, going ---------------------------------------------------------------


def test_it_says_hello_and_is_welcomed(links, puppets):
    puppet = puppets()
    link = links(puppet.port)
    joins(link)
    assert [hello.name for hello in puppet.heard.of(Hello)] == ["alice"]


@needs_ipv6
def test_a_broker_is_reached_by_an_address_of_ipv6(links):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.IPV6, 1)
        link = links(router.bind_to_random_port("tcp://[::1]"), host="::1")
        steps(link, lambda: router.poll(0))


def test_it_is_greeted_and_then_hears_what_is_published(links, puppets):
    puppet = puppets()
    link = links(puppet.port, _presence=True)
    steps(link, lambda: link.core.listening)
    frame = Encoder().encode(Presence(True, "bob", 1))
    steps(
        link,
        lambda: Joined(1, "bob") in link.core.inbox.events,
        again=lambda: puppet.pub.send_multipart([b"presence\0", frame]),
    )


def test_a_topic_alone_or_of_somebody_else_is_passed_over(links, puppets):
    puppet = puppets()
    link = links(puppet.port, _presence=True)
    steps(link, lambda: link.core.listening)
    frame = Encoder().encode(Presence(True, "bob", 1))

    def say():
        puppet.pub.send(b"presence\0")
        puppet.pub.send_multipart([b"presence\0", frame, b"of a later version"])

    steps(link, lambda: Joined(1, "bob") in link.core.inbox.events, again=say)
    assert link.core.phase is Phase.READY


def test_commands_go_out_and_are_resolved(links, puppets):
    def script(puppet, identity, message):
        puppet.welcomes(identity, message)
        if isinstance(message, Echo):
            last = message.cseq + len(message.texts) - 1
            puppet.tells(identity, Ack(message.cseq - 1, last, ()))

    link = links(puppets(script).port)
    joins(link)
    tickets = [one(None, "x" * 1000) for _ in range(500)]
    for ticket in tickets:
        link.core.submit(ticket.commands)
    steps(link, lambda: all(ticket.done for ticket in tickets))
    assert {ticket.outcome for ticket in tickets} == {Outcome.ACCEPTED}


def test_nothing_is_sent_before_a_connection_stands(links):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as free:
        port = free.bind_to_random_port("tcp://127.0.0.1")
    link = links(port)
    ticket = one(None, "hi")
    link.core.submit(ticket.commands)
    for _ in range(5):
        link.step(0.01)
    assert link.core.phase is Phase.OFFLINE
    assert link.core.outbox.withdraw(ticket)


def test_a_connection_that_is_cut_is_noticed_and_made_anew(links, puppets):
    puppet = puppets()
    link = links(puppet.port)
    joins(link)
    puppet.close()
    steps(link, lambda: link.core.phase is Phase.OFFLINE)
    again = puppets(port=puppet.port)
    joins(link)
    assert [type(event) for event in link.core.inbox.events] == [Online, Offline, Online]
    assert [hello.attempt for hello in again.heard.of(Hello)] == [2]


def test_when_the_connection_is_lost_nothing_is_known_to_be_there(links, puppets, monkeypatch):
    """Not only when the next attempt has failed: some do not wait for that."""
    monkeypatch.setattr(link_module, "RECONNECT_AFTER", (60_000, 60_000))
    puppet = puppets()
    link = links(puppet.port)
    joins(link)
    assert link.there
    puppet.close()
    steps(link, lambda: link.core.phase is Phase.OFFLINE)
    assert not link.there


def test_who_cuts_each_connection_at_its_beginning_is_there(links, monkeypatch):
    seen = []
    take = Link._take_change

    def noted(link, event, *more):
        take(link, event, *more)
        seen.append((event, link.there))

    monkeypatch.setattr(Link, "_take_change", noted)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def cut():
            with contextlib.suppress(BlockingIOError):
                server.accept()[0].close()

        link = links(server.getsockname()[1])
        steps(link, lambda: (zmq.EVENT_DISCONNECTED, True) in seen, again=cut)
    assert (zmq.EVENT_DISCONNECTED, False) not in seen


def test_where_broadcasts_come_from_may_change(links, puppets):
    puppet = puppets()
    link = links(puppet.port, _presence=True)
    steps(link, lambda: link.core.listening)
    puppet.close()
    steps(link, lambda: link.core.phase is Phase.OFFLINE)
    again = puppets(port=puppet.port)
    assert again.pub_port != puppet.pub_port
    joins(link)
    frame = Encoder().encode(Presence(True, "bob", 1))

    def heard():
        again.pub.send_multipart([b"presence\0", frame])
        return Joined(1, "bob") in link.core.inbox.events

    steps(link, heard)


def test_a_broker_that_does_not_read_holds_up_nothing_but_itself(links, puppets):
    """Then its connection is full; what waits is sent when there is room, once, in order."""
    puppet, link, reads = full(links, puppets)
    waiting = len(link._unsent)
    for _ in range(5):
        link.step(0.001)  # Returns although nothing can be sent.
    assert 0 < len(link._unsent) <= waiting
    reads.set()

    def heard():
        return [int(text[-4:]) for echo in puppet.heard.of(Echo) for text in echo.texts]

    steps(link, lambda: len(heard()) == 1000)
    assert heard() == list(range(1000))


def test_what_waited_for_a_connection_is_not_sent_over_the_next(links, puppets):
    """It would come before HELLO."""

    def script(puppet, identity, message):
        puppet.welcomes(identity, message)
        if isinstance(message, Echo):
            puppet._over.wait(15)  # Reads no more.

    puppet = puppets(script)
    link = links(puppet.port)
    joins(link)
    for number in range(1000):
        link.core.submit(Commands(None, [f"{number:016000}"]))
    steps(link, lambda: link._unsent)
    puppet.close()
    steps(link, lambda: link.core.phase is Phase.OFFLINE)
    again = puppets(port=puppet.port)
    steps(link, lambda: again.heard.of(Echo))
    assert type(again.heard[0]) is Hello


def test_a_full_connection_makes_nobody_busy(links, puppets, monkeypatch):
    """A PING is overdue and cannot be sent: whoever asks again and again when it is due spins."""
    _, link, reads = full(links, puppets)
    link.core._pings._next = 0.0
    waits = []
    poll = link._poller.poll
    monkeypatch.setattr(link._poller, "poll", lambda wait: waits.append(wait) or poll(wait))
    for _ in range(5):
        link.step(0.02)
    assert all(wait > 0 for wait in waits)
    reads.set()


def test_many_frames_at_once_are_all_taken(links, puppets):
    def script(puppet, identity, message):
        puppet.welcomes(identity, message)
        if isinstance(message, Echo):
            for number in range(900):  # Below the high-water mark: none is dropped.
                puppet.tells(identity, Presence(True, f"user{number}", number))

    link = links(puppets(script).port, _presence=True)
    joins(link)
    link.core.submit(Commands(None, ["go"]))
    steps(link, lambda: sum(isinstance(event, Joined) for event in link.core.inbox.events) == 900)


def test_all_that_a_connection_brought_is_taken_before_its_end(links, puppets, until, monkeypatch):
    """Else it would be taken for what the next one brings."""
    # Where it is set, libzmq itself drops what was not taken yet, mostly before a step can see it.
    monkeypatch.setitem(DEALER_OPTIONS, zmq.IMMEDIATE, 0)

    def script(puppet, identity, message):
        puppet.welcomes(identity, message)
        if isinstance(message, Echo):
            puppet._router.setsockopt(zmq.LINGER, 15_000)
            for number in range(900):
                puppet.tells(identity, Presence(True, f"user{number}", number))

    puppet = puppets(script)
    link = links(puppet.port, _presence=True)
    joins(link)
    link.core.submit(Commands(None, ["go"]))
    link.step(0.0)
    until(lambda: puppet.heard.of(Echo))
    puppet.close()
    until(lambda: link._monitor.poll(0))
    link.step(0.0)
    assert link.core.phase is Phase.OFFLINE
    assert sum(isinstance(event, Joined) for event in link.core.inbox.events) == 900


def test_garbage_ends_the_session_and_not_the_thread(links, puppets):
    link = links(puppets(lambda p, identity, message: p.tells(identity, b"\xc1")).port)
    steps(link, lambda: link.core.phase is Phase.OVER)
    link.step(0.001)


def test_several_parts_end_the_session_and_not_the_thread(links, puppets):
    parts = [Encoder().encode(Presence(True, "bob", 1)), b""]
    script = lambda p, identity, message: p._router.send_multipart([identity, *parts])  # noqa: E731
    link = links(puppets(script).port)
    steps(link, lambda: link.core.phase is Phase.OVER)
    assert "not the protocol" in link.core.refusal.words


def test_one_handshake_that_breaks_off_is_not_yet_another_brokers():
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.CURVE_SERVER, 1)
        router.setsockopt(zmq.CURVE_SECRETKEY, fresh_secret())
        port = router.bind_to_random_port("tcp://127.0.0.1")
        access = Access("127.0.0.1", port, public_key(fresh_secret()), fresh_secret())
        broken_off = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        words = [why_refused(broken_off, 0, n, access) for n in range(1, MOST_FAILURES + 1)]
    assert words == [""] * (MOST_FAILURES - 1) + [access.wrong_key]


def test_handshakes_that_break_off_are_counted_anew_after_one_that_did_not(
    links, puppets, monkeypatch
):
    counted = []

    def why(event, value, failures, access):
        counted.append(failures)
        return ""

    monkeypatch.setattr(link_module, "why_refused", why)
    port, link = 0, None
    for _ in range(2):
        puppet = puppets(port=port)
        port = puppet.port
        link = link or links(port)
        joins(link)
        puppet.close()
        counted.clear()
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.setblocking(False)

            def cut(listener=listener):
                with contextlib.suppress(BlockingIOError):
                    listener.accept()[0].close()

            steps(link, lambda: counted, again=cut)
        assert counted[0] == 1


def test_whether_something_is_there_is_known_without_a_word_of_it(links):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        link = links(silent.getsockname()[1])
        assert not link.there
        steps(link, lambda: link.there)
        assert link.core.phase is Phase.OFFLINE
    steps(link, lambda: not link.there)  # It is closed, and so is the connection.


# --- waking -------------------------------------------------------------------------------


@pytest.fixture
def calm(links, puppets):
    """A link that is in, and to which nothing happens."""
    hour = 3_600_000
    puppet = puppets(lambda p, *hello: p.welcomes(*hello, heartbeat=hour, lease=3 * hour))
    link = links(puppet.port, logs=())
    joins(link)
    return link


def test_a_step_that_waits_can_be_woken_by_another_thread(calm, in_thread):
    waiting = in_thread(lambda: calm.step(1000.0))
    calm.wake()
    waiting.result()


def test_a_wake_before_the_step_is_not_lost(calm, in_thread):
    for _ in range(100_000):
        calm.wake()  # More than fit; none of them waits.
    in_thread(lambda: calm.step(1000.0)).result()


def test_waking_a_closed_link_is_harmless(links, puppets):
    link = links(puppets().port)
    link.close()
    link.wake()


# --- the end ------------------------------------------------------------------------------


def test_leaving_says_goodbye_and_is_told_so(links, puppets):
    def script(puppet, identity, message):
        puppet.welcomes(identity, message)
        if isinstance(message, Bye):
            puppet.tells(identity, Farewell("left", "goodbye"))

    link = links(puppets(script).port)
    joins(link)
    link.core.leave()
    steps(link, lambda: link.core.phase is Phase.OVER)


def test_a_goodbye_leaves_although_nobody_waits_for_the_answer(links, puppets, until):
    puppet = puppets()
    link = links(puppet.port)
    joins(link)
    link.core.leave()
    link.step(0.0)
    link.close()
    until(lambda: puppet.heard.of(Bye))


def test_who_has_not_said_goodbye_waits_for_nothing(links, puppets, in_thread, monkeypatch):
    """Not even for a broker that does not read, however much it was to be told."""
    monkeypatch.setitem(DEALER_OPTIONS, zmq.LINGER, -1)
    _, link, reads = full(links, puppets)
    closing = in_thread(link.close)
    try:
        closing.result()
    finally:
        reads.set()


def test_a_context_of_somebody_else_is_left_alone(puppets):
    with zmq.Context() as context:
        core = ClientCore("alice", b"session-of-alice", [])
        find = partial(Access, "127.0.0.1", puppets().port)
        Link(core, find, threading.Lock(), context).close()
        assert not context.closed


def test_pings_go_on_while_nothing_else_happens(links, puppets):
    puppet = puppets(lambda p, identity, message: p.welcomes(identity, message, heartbeat=20))
    link = links(puppet.port)
    steps(link, lambda: len(puppet.heard.of(Ping)) >= 8)


def test_a_turn_takes_no_more_frames_than_bounded():
    with zmq.Context() as context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as two:
        one.bind("inproc://frames")
        two.connect("inproc://frames")
        for _ in range(link_module.MOST_FRAMES + 10):
            two.send(b"frame")
        assert len(link_module._drain(one)) == link_module.MOST_FRAMES
        assert len(link_module._drain(one)) == 10
        assert link_module._drain(one) == []
