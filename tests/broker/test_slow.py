"""What waits for those who do not read is bounded for all of them together."""

from __future__ import annotations

import os
import sys
import time

import pytest
from intakes import ALICE

from chatbroker.broker import slow as module
from chatbroker.broker.connections import Connection, Connections
from chatbroker.broker.kernel import confirmed_by
from chatbroker.broker.origin import Origin
from chatbroker.broker.slow import (
    AT_A_TIME,
    ECHO_TOPIC,
    ENOUGH,
    LEAST,
    MOST_UNREAD,
    ROUND,
    Slow,
)
from chatbroker.broker.sockets import FRAMES_FOR_A_SUBSCRIBER
from chatbroker.wire.limits import CURVE_OVERHEAD
from chatbroker.wire.messages import Ack, Send
from serving import WITHIN

HERE, THERE = "192.0.2.1", "192.0.2.2"
FRAME = 2**14
MOST_FOR_A_SUBSCRIBER = FRAMES_FOR_A_SUBSCRIBER * FRAME
MIB = 2**20


class Kernel:
    """Peers that confirm what the test says they do."""

    def __init__(self, monkeypatch, secure=False):
        self.confirmed = {}
        self.waits = set()
        self.asked = []
        self.connections = Connections()
        self.slow = Slow(self.connections, secure)
        self.open = []
        monkeypatch.setattr(module, "confirmed_by", self._told)

    def _told(self, fd):
        self.asked.append(fd)
        return self.confirmed[fd], fd in self.waits

    def _met(self, address):
        fd = os.open(os.devnull, os.O_RDONLY)
        self.open.append(fd)
        self.confirmed[fd] = 0
        return Connection(fd, Origin(address), "")

    def client(self, address=HERE):
        one = self._met(address)
        self.connections.meet(b"%d" % one.fd, one)
        return one

    def subscriber(self, address=HERE):
        one = self._met(address)
        self.connections.subscribers[one.fd] = one
        self.slow.joined(one)
        return one

    def gives(self, one, size):
        """In frames of FRAME, as they are on the way."""
        for _ in range(size // FRAME):
            self.slow.gave(b"%d" % one.fd, FRAME - 9 - self.slow._box)

    def publishes(self, size):
        for _ in range(size // FRAME):
            self.slow.publishes(ECHO_TOPIC, FRAME)

    def reads(self, one, size):
        self.confirmed[one.fd] += size

    def looks(self):
        self.slow.look()
        return list(self.slow.look_at_subscribers())

    def behind(self, clients):
        """Those who get nothing now."""
        if self.slow.room >= 0:
            return []
        return [one for one in clients if self.slow.leaves_out(b"%d" % one.fd)]

    def close(self):
        for fd in self.open:
            os.close(fd)


@pytest.fixture
def kernel(monkeypatch):
    kernel = Kernel(monkeypatch)
    yield kernel
    kernel.close()


def test_while_little_waits_for_all_everybody_gets_more(kernel):
    clients = [kernel.client() for _ in range(MOST_UNREAD // (4 * MIB))]
    for one in clients:
        kernel.gives(one, 4 * MIB)
    for _ in range(2):
        assert kernel.behind(clients) == []
        kernel.looks()
    kernel.gives(clients[0], FRAME)
    assert kernel.behind(clients) == clients


def test_when_much_does_who_reads_gets_more_all_the_same(kernel):
    slow, reader = kernel.client(), kernel.client()
    kernel.gives(slow, MOST_UNREAD + MIB)
    kernel.looks()
    for _ in range(50):
        assert kernel.behind([slow, reader]) == [slow]
        kernel.gives(reader, LEAST)
        assert not kernel.slow.leaves_out(b"%d" % reader.fd)
        kernel.gives(reader, FRAME)
        assert kernel.behind([slow, reader]) == [slow, reader]
        kernel.reads(reader, LEAST + FRAME)
    kernel.reads(slow, 2 * MIB)
    kernel.looks()
    assert kernel.behind([slow, reader]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads TCP_INFO")
def test_who_has_gone_hears_nothing(scene):
    """Also while there is room: it would be answered until all that it asked was taken out."""
    slow = Slow(scene.connections, False)
    ours, theirs = scene.connects()
    scene.says(ours)
    name = b"%d" % ours.fileno()
    assert not slow.hears_nothing(name)
    theirs.close()
    until = time.monotonic() + WITHIN
    while not slow.hears_nothing(name):
        assert time.monotonic() < until
    assert not slow.hears_nothing(b"unknown")


def test_for_whom_too_much_waits_hears_nothing_either(kernel):
    slow, reader = kernel.client(), kernel.client()
    kernel.gives(slow, MOST_UNREAD + MIB)
    assert kernel.slow.hears_nothing(b"%d" % slow.fd)
    assert not kernel.slow.hears_nothing(b"%d" % reader.fd)


def test_between_two_looks_no_more_is_given_either(kernel):
    """In a turn that answers thousands."""
    clients = [kernel.client() for _ in range(100)]
    given = 0
    for _ in range(100):
        for one in clients:
            if not kernel.behind([one]):
                kernel.gives(one, FRAME * 4)
                given += FRAME * 4
    assert given <= MOST_UNREAD + len(clients) * (LEAST + FRAME * 4)


def test_who_reads_is_never_behind_however_much_it_is(kernel):
    clients = [kernel.client() for _ in range(50)]
    for _ in range(20):
        for one in clients:
            kernel.gives(one, 2 * MIB)
            kernel.reads(one, 2 * MIB)
        assert kernel.behind(clients) == []
        kernel.looks()
        assert kernel.slow.room == MOST_UNREAD


def test_nobody_is_asked_for_whom_little_waits(kernel):
    one = kernel.client()
    kernel.gives(one, ENOUGH)
    kernel.looks()
    assert kernel.asked == []
    kernel.gives(one, FRAME)
    kernel.looks()
    assert kernel.asked == [one.fd]
    kernel.reads(one, ENOUGH)
    for _ in range(3):
        kernel.looks()
        assert kernel.asked == [one.fd] * 2
        kernel.gives(one, FRAME)


def test_with_thousands_less_is_enough(kernel, monkeypatch):
    monkeypatch.setattr(module, "MOST_UNREAD", 10 * MIB)
    clients = [kernel.client() for _ in range(100)]
    kernel.looks()
    for one in clients:
        kernel.gives(one, 2 * LEAST)
    kernel.looks()
    assert kernel.behind(clients) == clients


def test_all_are_asked_in_turn(kernel):
    clients = [kernel.client() for _ in range(AT_A_TIME + 10)]
    for one in clients:
        kernel.gives(one, ENOUGH + FRAME)
    kernel.looks()
    assert len(kernel.asked) == AT_A_TIME
    kernel.looks()
    assert {one.fd for one in clients} == set(kernel.asked)


def test_what_was_confirmed_and_not_counted_is_no_credit(kernel):
    """The handshake, and heartbeats."""
    one = kernel.client()
    kernel.gives(one, 2 * MIB)
    kernel.reads(one, 3 * MIB)
    kernel.looks()
    kernel.gives(one, 2 * MIB)
    kernel.looks()
    assert kernel.slow.room == MOST_UNREAD - 2 * MIB


def test_one_that_is_gone_counts_no_more(kernel):
    one = kernel.client()
    kernel.gives(one, MOST_UNREAD + MIB)
    one.inode = 1
    kernel.looks()
    assert kernel.slow.room == MOST_UNREAD
    kernel.slow.gave(b"unknown", 100)
    assert not kernel.slow.leaves_out(b"unknown")
    kernel.gives(kernel.client(), MOST_UNREAD + MIB)
    assert not kernel.slow.leaves_out(b"unknown")


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("size", [1, 200, 255, 256, 16_000])
def test_a_frame_is_counted_as_it_is_on_the_way(monkeypatch, size, secure):
    kernel = Kernel(monkeypatch, secure)
    one = kernel.client()
    kernel.slow.gave(b"%d" % one.fd, size)
    body = size + (CURVE_OVERHEAD if secure else 0)
    assert one.given == body + (2 if body < 256 else 9)
    kernel.close()


# --- subscribers --------------------------------------------------------------------------


def test_subscribers_who_read_nothing_together_keep_the_same(kernel):
    behind = [kernel.subscriber() for _ in range(50)]
    kernel.waits.update(one.fd for one in behind)
    for _ in range(20):
        kernel.publishes(ROUND)
        assert kernel.looks() == []


def spread(kernel, number, address=HERE):
    """Subscribers who read nothing, each of whom keeps other words than the others."""
    behind = []
    for at in range(number):
        behind.append(kernel.subscriber(address.format(at)))
        kernel.waits.add(behind[-1].fd)
        kernel.publishes(MOST_FOR_A_SUBSCRIBER)
    return behind


def test_those_who_keep_different_words_go_when_it_is_too_much(kernel):
    some = MOST_UNREAD // MOST_FOR_A_SUBSCRIBER
    behind = spread(kernel, some)
    assert kernel.looks() == []
    behind += spread(kernel, 2)
    # The farthest behind.
    assert kernel.looks() == behind[:2]


@pytest.mark.parametrize(("size", "gone"), [(10_000, 0), (60_000, 5)])
def test_what_one_of_them_keeps_is_as_many_frames_however_large_they_are(kernel, size, gone):
    behind = []
    for _ in range(6):
        behind.append(kernel.subscriber())
        kernel.waits.add(behind[-1].fd)
        for _ in range(3777):
            kernel.slow.publishes(ECHO_TOPIC, size)
    assert kernel.looks() == behind[:gone]


def test_what_others_subscribed_to_is_none_of_the_frames_that_are_kept(kernel):
    """Those who hear but what is said have as many frames of that, whatever is between them."""
    behind = []
    for _ in range(4):
        behind.append(kernel.subscriber())
        kernel.waits.add(behind[-1].fd)
        for _ in range(1000):
            kernel.slow.publishes(ECHO_TOPIC, 45_000)
            for _ in range(9):
                kernel.slow.publishes(b"presence\0", 20)
    assert kernel.looks() == behind[:2]


def test_what_nobody_waits_for_is_not_remembered(kernel):
    for _ in range(20):
        kernel.publishes(ROUND)
        kernel.looks()
    assert len(kernel.slow._marks) < 10


def test_what_was_not_published_yet_is_kept_for_nobody(kernel):
    """Who is at the end of it keeps little, and no whole pipe."""
    spread(kernel, MOST_UNREAD // MOST_FOR_A_SUBSCRIBER)
    kernel.waits.add(kernel.subscriber().fd)
    kernel.publishes(FRAME)
    assert kernel.looks() == []


def test_who_has_read_everything_keeps_nothing(kernel):
    behind = spread(kernel, 2 * MOST_UNREAD // MOST_FOR_A_SUBSCRIBER)
    kernel.waits.clear()
    assert kernel.looks() == []
    kernel.waits.update(one.fd for one in behind)
    kernel.publishes(ROUND)
    assert kernel.looks() == []


def test_a_subscriber_that_is_gone_keeps_nothing(kernel):
    behind = spread(kernel, 2 * MOST_UNREAD // MOST_FOR_A_SUBSCRIBER)
    for one in behind:
        one.inode = 1  # Another has its descriptor.
    asked = len(kernel.asked)
    kernel.publishes(ROUND)
    assert kernel.looks() == []
    assert len(kernel.asked) == asked


def test_who_reads_as_it_comes_is_where_it_has_read_to(kernel):
    reader = kernel.subscriber()
    kernel.waits.add(reader.fd)
    for _ in range(30):
        kernel.publishes(ROUND)
        kernel.reads(reader, ROUND)
        assert kernel.looks() == []
        assert reader.given == kernel.slow.published


def test_who_stops_reading_is_where_it_stopped(kernel):
    reader = kernel.subscriber()
    kernel.waits.add(reader.fd)
    for part in (ROUND, ROUND // 2, 0, ROUND // 4):
        kernel.publishes(ROUND)
        kernel.reads(reader, part)
        kernel.looks()
        assert reader.given == kernel.confirmed[reader.fd]


def test_who_confirms_more_than_was_counted_is_not_ahead(kernel):
    """Topics and heads of frames are not counted."""
    reader = kernel.subscriber()
    kernel.waits.add(reader.fd)
    kernel.publishes(ROUND)
    kernel.reads(reader, 2 * ROUND)
    kernel.looks()
    assert reader.given == kernel.slow.published


@pytest.mark.parametrize("address", [HERE, "2001:db8::{}"], ids=["an address", "a network"])
def test_those_of_the_address_that_keeps_most_go_first(kernel, address):
    """Which need not be that with most of them: these are as far as the first of the others."""
    for _ in range(30):
        kernel.waits.add(kernel.subscriber(THERE).fd)
    behind = spread(kernel, MOST_UNREAD // MOST_FOR_A_SUBSCRIBER + 3, address)
    assert kernel.looks() == behind[:4]


def test_thousands_of_subscribers_are_asked_in_parts(kernel, monkeypatch):
    monkeypatch.setattr(module, "AT_A_TIME", 10)
    for _ in range(35):
        kernel.subscriber()
    kernel.publishes(ROUND)
    counts = []
    for _ in range(6):
        kernel.looks()
        counts.append(len(kernel.asked))
    assert counts == [10, 20, 30, 35, 35, 35]


def test_all_of_them_are_asked_however_much_is_published_meanwhile(kernel, monkeypatch):
    monkeypatch.setattr(module, "AT_A_TIME", 10)
    subscribers = [kernel.subscriber() for _ in range(35)]
    for _ in range(4):
        kernel.publishes(ROUND)
        kernel.looks()
    assert kernel.asked == [one.fd for one in subscribers]


# --- for real -----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads TCP_INFO")
@pytest.mark.parametrize("secure", [False, True])
def test_what_is_counted_is_what_the_kernel_counts(running, peers, secure):
    server = running(secure=secure, memory=True)
    options = {}
    if secure:
        server._core._members.admit("alice", ALICE.public, 0)
        options |= {"CURVE_SERVERKEY": server._secure.keys.public}
        options |= {"CURVE_PUBLICKEY": ALICE.public, "CURVE_SECRETKEY": ALICE.secret}
    peer = peers(server, **options)
    peer.joins("alice")
    until = time.monotonic() + WITHIN
    # For a moment it is taken out, to see whether it stands.
    while not (met := [*server._intake._connections.callers.values()]):
        assert time.monotonic() < until
    (one,) = met

    def uncounted():
        """Bytes that were sent and not counted."""
        confirmed, _ = confirmed_by(one.fd)
        return confirmed - one.given

    def settles(at):
        """Whoever hears a frame may do so before it is counted."""
        until = time.monotonic() + WITHIN
        while uncounted() != at:
            assert time.monotonic() < until

    handshake, same = uncounted(), 0
    while same < 10:  # The last of it is confirmed some 40 ms later.
        time.sleep(0.02)
        before, handshake = handshake, uncounted()
        same = same + 1 if before == handshake else 0
    assert handshake > 0
    given = one.given
    for number, size in enumerate((1, 100, 190, 230, 250, 300, 3000, 16_000) * 10, 1):
        peer.says(Send(number, "alice", ("x" * size,)))
        peer.hears(Ack)
        if size == 16_000:
            settles(handshake)
    assert one.given - given > 10 * 16_000
