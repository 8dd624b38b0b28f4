"""The thread that publishes: what it is given, what it hears, and what becomes of it when it is
busy with subscribers."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import deque
from types import SimpleNamespace

import pytest
import zmq

from bench import zmtp
from chatbroker.broker import publisher as publisher_module
from chatbroker.broker.publisher import LATE, MOST_GIVEN, MOST_HEARD, REMIND_EVERY, Publisher
from chatbroker.broker.sockets import bind_pub
from chatbroker.wire.messages import GREETING_TOPIC

WITHIN = 15.0

SLEEPS = {"told": True, "asleep": True, "close": lambda: None}
"""A thread of ZeroMQ's that has nothing to do."""


@pytest.fixture
def told():
    """Whether the loop was told that there is something to take."""
    return threading.Event()


@pytest.fixture
def idle(context, told):
    """One that was not started."""
    pub = bind_pub(context, "127.0.0.1", 0, None)
    publisher = Publisher(context, pub, told.set, SimpleNamespace(**SLEEPS))
    yield publisher
    assert publisher.close()


@pytest.fixture
def publisher(idle):
    idle.start()
    return idle


@pytest.fixture
def takes(idle, told):
    """Takes so many messages of subscribers, each time when it is told that there are some."""

    def take(count):
        taken = []
        while len(taken) < count:
            assert told.wait(WITHIN)
            told.clear()
            taken += idle.take()
        return taken

    return take


@pytest.fixture
def subscribe(context, publisher, takes):
    """A subscriber, whose topics have been taken."""
    made = []

    def make(*topics):
        sub = context.socket(zmq.SUB)
        made.append(sub)
        for topic in (GREETING_TOPIC, *topics):
            sub.subscribe(topic)
        sub.connect(publisher.endpoint)
        taken = takes(1 + len(topics))
        assert {part.bytes for part in taken} == {b"\1" + t for t in (GREETING_TOPIC, *topics)}
        assert sub.recv() == GREETING_TOPIC
        return sub

    yield make
    for sub in made:
        sub.close(linger=0)


def test_what_it_is_given_is_published_in_order(publisher, subscribe):
    sub = subscribe(b"echo\0")
    for number in range(100):
        publisher.send(b"echo\0", b"%d" % number)
        publisher.send(b"other\0", b"not for this one")
    assert [sub.recv_multipart() for _ in range(100)] == [
        [b"echo\0", b"%d" % number] for number in range(100)
    ]


def test_it_tells_by_which_connection_a_subscription_came(publisher, context, takes):
    with context.socket(zmq.SUB) as sub:
        sub.subscribe(b"echo\0")
        sub.connect(publisher.endpoint)
        (part,) = takes(1)
        assert part.get("Peer-Address") == "127.0.0.1"
        assert part.get(zmq.SRCFD) > 2


def test_of_a_topic_that_was_given_up_nothing_is_said(publisher, subscribe, takes):
    sub = subscribe(b"echo\0")
    sub.unsubscribe(b"echo\0")
    sub.subscribe(b"last\0")
    assert [part.bytes for part in takes(1)] == [b"\1last\0"]


def test_a_message_whose_last_part_libzmq_keeps_to_itself_is_told_and_the_thread_goes_on(
    publisher, subscribe, takes
):
    """It tells of no topic that is given up while another has it."""
    subscribe(b"echo\0")
    with zmtp.connect(publisher.endpoint, b"SUB").sock as other:
        other.sendall(zmtp.subscribe(b"echo\0"))
        takes(1)
        other.sendall(zmtp.frame(b"hello", zmtp.MORE) + zmtp.frame(b"\0echo\0"))
        (part,) = takes(1)
        assert (part.bytes, part.more) == (b"hello", True)
        other.sendall(zmtp.subscribe(b"last\0"))
        assert [part.bytes for part in takes(1)] == [b"\1last\0"]


def test_what_is_not_taken_waits(publisher, context, takes):
    more = MOST_HEARD + 100
    with context.socket(zmq.XSUB) as sub:
        sub.connect(publisher.endpoint)
        for number in range(more):
            sub.send(b"\1%d" % number)
        assert [part.bytes for part in takes(more)] == [b"\1%d" % n for n in range(more)]


def test_what_is_heard_while_others_are_taken_is_told_too(idle, context, takes):
    """The loop looks only when it is told that there is something."""

    class Busy(deque):
        """The thread hears one more in the middle of `take`."""

        heard = False

        def popleft(self):
            if not self.heard:
                self.heard = True
                hear()
            return super().popleft()

    def hear():
        assert idle._pub.poll(WITHIN * 1000)
        idle._hear()

    with context.socket(zmq.XSUB) as sub:
        sub.connect(idle.endpoint)
        sub.send(b"\1a")
        idle._heard = Busy()
        hear()
        sub.send(b"\1b")
        assert [part.bytes for part in takes(2)] == [b"\1a", b"\1b"]


def test_who_waits_to_be_taken_was_not_heard(publisher, context, told):
    with context.socket(zmq.SUB) as sub:
        sub.subscribe(b"echo\0")
        sub.connect(publisher.endpoint)
        assert told.wait(WITHIN)
        came = time.monotonic()
        until = came + WITHIN
        while publisher._emptied <= came:  # The thread goes on: libzmq has nothing left.
            assert time.monotonic() < until
            time.sleep(0.001)
        assert publisher.heard < came
        assert len(publisher.take()) == 1
        assert publisher.heard > came


def test_who_comes_while_it_publishes_was_not_heard(idle, context, monkeypatch):
    published = []
    monkeypatch.setattr(idle, "_publish", lambda: published.append(time.monotonic()))
    poller = zmq.Poller()
    poller.register(idle._inner, zmq.POLLIN)
    poller.register(idle._pub, zmq.POLLIN)
    idle.send(b"echo\0", b"frame")
    idle._turn(poller)
    assert idle.heard < published[0]


def test_what_finds_no_room_is_refused_at_once(idle):
    assert not all(idle.send(b"echo\0", b"frame") for _ in range(3 * MOST_GIVEN))
    idle.start()
    until = time.monotonic() + WITHIN
    while not idle.send(b"echo\0", b"frame"):
        assert time.monotonic() < until
        time.sleep(0.001)


def test_what_was_given_is_sent_when_it_is_published_and_the_thread_of_zeromq_sleeps(idle):
    assert idle.sent
    assert idle.send(b"echo\0", b"frame")
    assert not idle.sent
    idle.start()
    until = time.monotonic() + WITHIN
    while not idle.sent:
        assert time.monotonic() < until
        time.sleep(0.001)
    idle._io_thread.asleep = False
    assert not idle.sent
    assert idle.tells
    idle._io_thread.told = False
    assert not idle.tells


def test_who_waits_is_to_be_told_now_and_then(idle):
    now = time.monotonic() + LATE + 1
    assert not idle.late(now)  # Nothing waits.
    idle.send(b"echo\0", b"frame")
    assert not idle.late(now - LATE - 1)
    assert idle.late(now)
    assert not idle.late(now + REMIND_EVERY / 2)
    assert idle.late(now + REMIND_EVERY)


@pytest.mark.skipif(sys.platform != "linux", reason="filters are the kernel's")
def test_while_it_is_busy_newcomers_wait(idle):
    host, port = idle.endpoint.removeprefix("tcp://").split(":")
    idle.look(time.monotonic() + LATE + 1)
    with pytest.raises(TimeoutError), socket.create_connection((host, int(port)), 0.05):
        pass
    idle.start()
    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        idle.look(time.monotonic())
        try:
            socket.create_connection((host, int(port)), 0.05).close()
            return
        except TimeoutError:
            continue
    pytest.fail("nobody came in")


def test_in_the_end_all_is_published(publisher, subscribe):
    sub = subscribe(b"echo\0")
    for number in range(MOST_GIVEN):
        publisher.send(b"echo\0", b"%d" % number)
    assert publisher.close()
    assert [sub.recv_multipart()[1] for _ in range(MOST_GIVEN)] == [
        b"%d" % number for number in range(MOST_GIVEN)
    ]


def test_one_that_is_busy_is_left_behind(publisher, monkeypatch):
    busy, over = threading.Event(), threading.Event()
    turn = publisher._turn

    def stuck(poller):
        busy.set()
        over.wait(WITHIN)
        turn(poller)

    monkeypatch.setattr(publisher, "_turn", stuck)
    monkeypatch.setattr(publisher_module, "END_WITHIN", 0.01)
    assert busy.wait(WITHIN)
    assert not publisher.close()
    monkeypatch.setattr(publisher_module, "END_WITHIN", WITHIN)
    over.set()
    assert publisher.close()
    assert publisher.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_that_it_died_is_no_secret(idle, monkeypatch, told):
    def turn(poller):
        raise OSError("out of luck")

    monkeypatch.setattr(idle, "_turn", turn)
    idle.start()
    assert told.wait(WITHIN)
    with pytest.raises(RuntimeError, match="has died"):
        idle.take()
