"""Thousands of clients at little cost: each has a session and a subscription, and PINGs; and each
of its connections has heartbeats, as often as those of `chatbroker.client`.

As a program, ``python -m bench.crowd BROKER PUB PREFIX COUNT``, it is some of them, and does what
it is told by lines: ``join``, ``subscribe``, ``deaf``, ``hear POSITION``, ``quiet``, ``ping``.
"""

from __future__ import annotations

import resource
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from heapq import heappop, heappush
from random import random

import zmq

from chatbroker.client.heartbeat import Heartbeat
from chatbroker.client.link import DEALER_OPTIONS, LEAST_HEARTBEAT
from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.messages import (
    DIRECT_LOG,
    ECHO_LOG,
    GREETING_TOPIC,
    Cursor,
    Follow,
    Kind,
    Ping,
    Pong,
    Start,
    Welcome,
    topic_of,
)

from . import zmtp
from .aside import Aside, beside
from .counting import Tally, is_batch, sizes_of, span
from .processes import Server
from .sessions import Unexpected, hello

SPEAKER = "speaker0"
"""Who says all that a crowd hears: all whole events are of one size."""

PROCESSES = 2
"""That a crowd is spread over: each may have so many descriptors only."""

UNDER_WAY = 200
"""Connections of one process that are being made at the same time: fewer than a listener has
room for, and than a broker lets be silent."""

HEARTBEAT = zmtp.heartbeat()
DEALER_HEARTBEAT = DEALER_OPTIONS[zmq.HEARTBEAT_IVL] / 1000
"""Seconds between two."""

PHASE = time.time() - time.monotonic()
"""Clients PING in the same moments as others."""

NEWS = 0x95
"""How a PONG begins that tells another heartbeat: an array of five."""

FOLLOWS = (
    Follow(ECHO_LOG, b"", Start.NOW, 0),
    Follow(DIRECT_LOG, b"", Start.NOW, 0),
)


class Crowd:
    """Clients in processes of their own."""

    def __init__(self, asides: Sequence[Aside]) -> None:
        self._asides = asides

    def ask(self, line: str) -> list[str]:
        """Has all processes do something at the same time; returns when all have."""
        for aside in self._asides:
            aside.tell(line)
        return [aside.answer() for aside in self._asides]

    def deaf(self) -> int:
        """How many subscribers have heard nothing yet."""
        return sum(map(int, self.ask("deaf")))


@contextmanager
def crowd(server: Server, clients: int, prefix: str = "c") -> Iterator[Crowd]:
    """*clients* that have yet to join *server*."""
    shares = [clients // PROCESSES] * (PROCESSES - 1)
    shares.insert(0, clients - sum(shares))
    with ExitStack() as stack:
        asides = []
        for number, share in enumerate(shares):
            arguments = (server.broker, server.pub, f"{prefix}{number}-", str(share))
            asides.append(stack.enter_context(beside("crowd", *arguments)))
        yield Crowd(asides)


# --- in a process of its own --------------------------------------------------------------


class _Connection:
    """A socket that does not block, and the part of a frame that it has received."""

    __slots__ = ("_first", "_greeted", "_rest", "sock")

    def __init__(self, endpoint: str, socket_type: bytes, first: bytes) -> None:
        """*first*: what it says when the handshake has ended."""
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), 5.0)
        self.sock.sendall(zmtp.opening(socket_type))
        self.sock.setblocking(False)
        self._first = first
        self._greeted = False
        self._rest = b""

    def frames(self) -> Iterator[bytes]:
        """The whole frames that have come; commands, of which none matters, left out."""
        read = self.sock.recv(zmtp.BUFFER)
        if not read:
            raise ConnectionError("the broker closed the connection")
        buffer, at = self._rest + read, 0
        if not self._greeted:
            if len(buffer) < zmtp.GREETING_SIZE:
                self._rest = buffer
                return
            self._greeted, at = True, zmtp.GREETING_SIZE
        while len(buffer) - at >= 2:
            begin = at + (9 if buffer[at] & zmtp.LONG else 2)
            size = int.from_bytes(buffer[at + 1 : begin], "big")
            if len(buffer) < begin + size:
                break
            if not buffer[at] & zmtp.COMMAND:
                yield buffer[begin : begin + size]
            elif self._first:
                # READY.  libzmq takes what comes before its own for a part of the handshake.
                self.sock.send(self._first)
                self._first = b""
            at = begin + size
        self._rest = buffer[at:]


class _Member(_Connection):
    """A DEALER with a session."""

    __slots__ = ("_clients", "_cursors", "_ping", "due", "heartbeat", "share", "welcomed")

    def __init__(self, clients: _Clients, name: str, share: float) -> None:
        """*share*: of a heartbeat, after which it PINGs first."""
        said = hello(name)._replace(follows=FOLLOWS)
        super().__init__(clients.broker, b"DEALER", zmtp.frame(clients.encode(said)))
        self._clients = clients
        self._cursors: tuple[Cursor, ...] = ()
        self._ping = b""
        self.share = share
        self.heartbeat = Heartbeat()
        self.heartbeat.phase = PHASE
        self.welcomed = 0.0
        """Seconds between two PINGs, as WELCOME told."""
        self.due = 0.0
        """When it is to PING next."""

    def read(self) -> None:
        for frame in self.frames():
            if not self._ping:
                (welcome,) = self._clients.decode(frame)
                if not isinstance(welcome, Welcome):
                    raise Unexpected(f"not a WELCOME: {welcome}")
                found = [Cursor(one.log, one.epoch, one.start) for one in welcome.readings]
                self._cursors = tuple(found)
                self._go_by(welcome.heartbeat, welcome.lease, 0)
                self.welcomed = self.heartbeat.every
                self._clients.welcomed(self)
                continue
            # [kind, …]; anything else would mean that its session has not lasted.
            if frame[1] != Kind.PONG:
                raise Unexpected(f"not a PONG: {frame!r}")
            if frame[0] == NEWS:
                *_, pong = self._clients.decode(frame)  # It may have PINGed twice in one turn.
                assert isinstance(pong, Pong)  # So its kind says.
                self._go_by(pong.heartbeat, pong.lease, pong.heartbeat)
            self._clients.answered(self)

    def _go_by(self, heartbeat: int, lease: int, told: int) -> None:
        """PINGs so often from now on, as if it had joined long ago; see `Heartbeat.go_by`."""
        self.heartbeat.go_by(heartbeat, lease, told)
        over = self.heartbeat.every * (1 - self.share)
        self.due = self.heartbeat.after(time.monotonic() - over)
        self._ping = zmtp.frame(self._clients.encode(Ping(1, 0, 0, self._cursors, told)))

    def ping(self) -> None:
        """Gives a sign of life, as a client that has heard nothing new."""
        self.sock.send(self._ping)


class _Subscriber(_Connection):
    """A SUB that hears what is said to everyone."""

    __slots__ = ("_clients", "_greeted_by_pub", "tally")

    def __init__(self, clients: _Clients) -> None:
        topics = (topic_of(ECHO_LOG), GREETING_TOPIC)
        super().__init__(clients.pub, b"SUB", b"".join(map(zmtp.subscribe, topics)))
        self._clients = clients
        self._greeted_by_pub = False
        self.tally: Tally | None = None
        """None until its subscription has taken effect, and it has heard something."""

    def read(self) -> None:
        for frame in self.frames():
            at = 0
            while is_batch(frame, at):
                batch = span(frame, at, self._clients.sizes)
                if self.tally is None:
                    self.tally = Tally(batch.prev)
                if not self.tally.add(batch):
                    raise Unexpected(f"a subscriber missed something before {batch}")
                at = batch.stop
            if at:
                self._clients.heard(self)
            elif not self._greeted_by_pub:
                self._greeted_by_pub = True
                self._clients.greeted(self)


class _Clients:
    """What this process is told to do, and the state of it."""

    def __init__(self, broker: str, pub: str, prefix: str, count: int) -> None:
        self.broker, self.pub = broker, pub
        self.encode = Encoder().encode
        self.decode = Decoder(FROM_BROKER).decode
        self.sizes = sizes_of(SPEAKER, "")
        self._prefix = prefix
        self._count = count
        self._epoll = select.epoll()
        self._all: dict[int, _Member | _Subscriber] = {}
        self._to_open: deque[Callable[[], _Member | _Subscriber]] = deque()
        self._under_way = 0
        self._members: list[_Member] = []
        self._subscribers: list[_Subscriber] = []
        self._greeted = 0
        self._answer_at: Callable[[], bool] | None = None
        """When what was told last is done."""
        self._upto = 0
        self._behind: set[_Subscriber] = set()
        self._asked: set[_Member] = set()
        """Who was told to PING and has had no answer."""
        self._pinging = True
        self._next: list[tuple[float, int]] = []
        """When each member PINGs next, as a heap; some later than that."""
        self._beats: list[tuple[float, int, float, socket.socket]] = []
        """The next heartbeats, as a heap: when, a number, seconds between two, and over what."""

    # --- what connections tell ------------------------------------------------------------

    def welcomed(self, member: _Member) -> None:
        heappush(self._next, (member.due, len(self._members)))
        self._beat_over(member.sock, DEALER_HEARTBEAT)
        self._members.append(member)
        self._under_way -= 1

    def answered(self, member: _Member) -> None:
        self._asked.discard(member)

    def greeted(self, subscriber: _Subscriber) -> None:
        self._under_way -= 1
        told = self._members[self._greeted].welcomed
        self._greeted += 1
        self._beat_over(subscriber.sock, max(told, LEAST_HEARTBEAT))

    def heard(self, subscriber: _Subscriber) -> None:
        assert subscriber.tally is not None  # It has heard something.
        if subscriber.tally.cursor >= self._upto:
            self._behind.discard(subscriber)

    # --- what it is told ------------------------------------------------------------------

    def _obey(self, line: str) -> None:
        word, *arguments = line.split()
        if word == "join":
            members = [(f"{self._prefix}{n}", (n + 1) / self._count) for n in range(self._count)]
            self._to_open.extend([partial(_Member, self, *member) for member in members])
            self._answer_at = lambda: len(self._members) == self._count
        elif word == "subscribe":
            self._to_open.extend([partial(_Subscriber, self)] * self._count)
            self._answer_at = lambda: len(self._subscribers) == self._count and not self._under_way
        elif word == "hear":
            self._upto = int(arguments[0])
            for one in self._subscribers:
                if one.tally is None or one.tally.cursor < self._upto:
                    self._behind.add(one)
            self._answer_at = lambda: not self._behind
        elif word == "deaf":
            print(sum([one.tally is None for one in self._subscribers]), flush=True)
        elif word == "ping":
            # Their leases may have run while they were quiet.
            for member in self._members:
                member.ping()
            self._pinging = True
            self._asked = set(self._members)
            self._answer_at = lambda: not self._asked
        else:
            assert word == "quiet"
            self._pinging = False
            print(word, flush=True)

    def serve(self) -> None:
        """Goes on until its input ends."""
        self._epoll.register(sys.stdin, select.EPOLLIN)
        while True:
            self._open()
            if self._answer_at is not None and self._answer_at():
                self._answer_at = None
                print("done", flush=True)
            for number, _ in self._epoll.poll(self._ping()):
                if number in self._all:
                    self._all[number].read()
                elif not (line := sys.stdin.buffer.readline()):
                    return
                else:
                    self._obey(line.decode())

    def _open(self) -> None:
        while self._to_open and self._under_way < UNDER_WAY:
            made = self._to_open.popleft()()
            if isinstance(made, _Subscriber):
                self._subscribers.append(made)
            self._under_way += 1
            self._all[made.sock.fileno()] = made
            self._epoll.register(made.sock, select.EPOLLIN)

    def _ping(self) -> float | None:
        """Has those PING who are due, one after the other; seconds until the next is."""
        if not self._members or not self._pinging:
            return None
        now = time.monotonic()
        while self._next[0][0] <= now:
            _, number = heappop(self._next)
            member = self._members[number]
            if member.due <= now:  # Else it was told a longer heartbeat meanwhile.
                member.ping()
                member.due = member.heartbeat.after(now)
            heappush(self._next, (member.due, number))
        while self._beats[0][0] <= now:
            _, number, every, sock = heappop(self._beats)
            sock.send(HEARTBEAT)
            heappush(self._beats, (now + every, number, every, sock))
        return min(self._next[0][0], self._beats[0][0]) - now

    def _beat_over(self, sock: socket.socket, every: float) -> None:
        # Not all in the same moment.
        first = time.monotonic() + every * random()
        heappush(self._beats, (first, len(self._beats), every, sock))


def main(broker: str, pub: str, prefix: str, count: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _Clients(broker, pub, prefix, int(count)).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
