"""Loads a broker or a forwarder from one process, and measures until all is delivered."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, Protocol

from . import zmtp
from .processes import Cpu
from .readers import Observer, Reader
from .sessions import Sender
from .streams import Replying

SENDERS = [f"sender{number}" for number in range(8)]
"""One session may have some 1000 messages under way; several keep a broker busy."""

READERS = [f"reader{number}" for number in range(8)]
"""Each hears one of the senders."""

MANY_SENDERS = [f"sender{number:02}" for number in range(50)]
MANY_READERS = [f"reader{number:02}" for number in range(50)]
"""As many as there may be in a team, so that a turn of the broker has many mailboxes."""

MOST_SECONDS = 30.0
"""After which a run that should have lasted one or two is given up."""

QUIET = 0.3
"""Seconds of silence after which readers ask for what they miss."""

PATIENCE = 5.0
"""Seconds that setting up a run may take."""


CROWD, PAUSE = 100, 0.0005
"""So many readers are read from so many seconds after they were last: to read each piece as it
comes takes as much of the machine as the server that sent it."""

AFTERWARDS = 0.02
"""Seconds for which readers listen on when they have everything: nothing may come twice."""


class Server(Protocol):
    """What is loaded, as far as it matters here."""

    def cpu(self) -> Cpu:
        """What it has used so far."""


class Run(NamedTuple):
    """What one run took.  Times are seconds."""

    messages: int
    deliveries: int
    seconds: float
    cpu: Cpu
    """Of the server."""
    load_cpu: float
    """Of this process."""
    fetches: int
    """How often a reader had to ask for what a push did not bring."""

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return self.deliveries / self.seconds


class Latency(NamedTuple):
    """Seconds of each message of a run."""

    delivered: list[float]
    acknowledged: list[float]


class Stuck(RuntimeError):
    """A run did not end: messages are missing."""


def _pump(
    senders: Sequence[Sender],
    readers: Sequence[Reader],
    observers: Sequence[Observer],
    settled: Callable[[], Sequence[int]],
) -> float:
    """Sends everything and reads until all is *settled*; the seconds that took."""
    with select.epoll() as epoll:
        receive: dict[int, Callable[[], None]] = {}
        listeners: list[Reader | Observer] = [*readers, *observers]
        everyone: list[Sender | Reader | Observer] = [*senders, *listeners]
        for one in everyone:
            one.sock.setblocking(False)
            receive[one.sock.fileno()] = one.read
            epoll.register(one.sock, select.EPOLLIN)
        start = time.perf_counter()
        next_ping = start + 1.0
        while True:
            waiting = False
            for sender, done in zip(senders, settled(), strict=True):
                was_full = sender.full
                sender.advance(done)
                if sender.full is not was_full:
                    writable = select.EPOLLOUT if sender.full else 0
                    epoll.modify(sender.sock, select.EPOLLIN | writable)
                if done < sender.messages:
                    waiting = True
            if not waiting:
                return time.perf_counter() - start
            events = epoll.poll(QUIET)
            for number, event in events:
                if event != select.EPOLLOUT:
                    receive[number]()
            if len(readers) >= CROWD:
                time.sleep(PAUSE)
            now = time.perf_counter()
            if not events:
                for reader in readers:
                    reader.miss()
            if now > next_ping:
                next_ping = now + 1.0
                for listener in listeners:
                    listener.ping()
            if now > start + MOST_SECONDS:
                raise Stuck(f"counted by the readers: {sorted([r.counted for r in readers])}")


def _listen_on(readers: Sequence[Reader]) -> None:
    """Counts what comes although everything is there."""
    with select.epoll() as epoll:
        waiting = {reader.sock.fileno(): reader for reader in readers}
        for number in waiting:
            epoll.register(number, select.EPOLLIN)
        deadline = time.monotonic() + AFTERWARDS
        while (left := deadline - time.monotonic()) > 0:
            for number, _ in epoll.poll(left):
                waiting[number].read()


def _run(
    server: Server,
    senders: Sequence[Sender],
    readers: Sequence[Reader],
    observers: Sequence[Observer],
    settled: Callable[[], Sequence[int]],
) -> Run:
    cpu, load_cpu = server.cpu(), time.process_time()
    seconds = _pump(senders, readers, observers, settled)
    used, load_used = server.cpu().since(cpu), time.process_time() - load_cpu
    _listen_on(readers)
    return Run(
        messages=sum([sender.messages for sender in senders]),
        deliveries=sum([reader.counted for reader in readers]),
        seconds=seconds,
        cpu=used,
        load_cpu=load_used,
        fetches=sum([reader.fetches for reader in readers])
        + sum([observer.fetches for observer in observers]),
    )


def direct(server: Server, senders: Sequence[Sender], readers: Sequence[Reader]) -> Run:
    """Each sender has a reader of its own."""

    def settled() -> list[int]:
        pairs = zip(senders, readers, strict=True)
        return [min(sender.acked, reader.counted) for sender, reader in pairs]

    run = _run(server, senders, readers, (), settled)
    if [sender.messages for sender in senders] != [reader.counted for reader in readers]:
        raise Stuck("a reader counted more than its sender sent")
    return run


class _Slowest:
    """What each of many readers has at least.

    Nobody's count falls: while the one that was the slowest has not got on, neither has the least.
    So a thousand of them are not compared each time that one has received something.
    """

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = readers
        self._slowest = readers[0]
        self._least = -1

    def counted(self) -> int:
        if self._slowest.counted != self._least:
            self._slowest = min(self._readers, key=lambda reader: reader.counted)
            self._least = self._slowest.counted
        return self._least


def broadcast(
    server: Server,
    senders: Sequence[Sender],
    readers: Sequence[Reader],
    observers: Sequence[Observer],
) -> Run:
    """Every reader hears every sender.  The slowest reader holds the senders up."""

    slowest = _Slowest(readers)

    def settled() -> list[int]:
        share = slowest.counted() // len(senders)
        return [min(sender.acked, share) for sender in senders]

    run = _run(server, senders, readers, observers, settled)
    if run.deliveries != run.messages * len(readers):
        raise Stuck("a reader counted more than the senders sent")
    return run


def one_by_one(sender: Sender, reader: Reader) -> Latency:
    """Each message when the one before it has come; over sockets that block."""
    clock = time.perf_counter
    delivered, acknowledged = [], []
    replying = reader if isinstance(reader, Replying) else None
    take = replying.take if replying else reader.read
    for number in range(1, sender.messages + 1):
        start = clock()
        sender.step(number)
        while reader.counted < number:
            take()
        delivered.append(clock() - start)
        # It was there already: what a reader says to it is no part of its way.
        if replying:
            replying.reply()
        while sender.acked < number:
            sender.read()
        acknowledged.append(clock() - start)
    return Latency(delivered, acknowledged)


@contextmanager
def connections(
    endpoint: str, socket_type: bytes, identities: Sequence[bytes]
) -> Iterator[list[zmtp.Inbox]]:
    """A connection for each of *identities*, which may be empty; closed at the end."""
    with ExitStack() as stack:
        inboxes = []
        for identity in identities:
            inboxes.append(zmtp.connect(endpoint, socket_type, identity))
            stack.callback(inboxes[-1].sock.close)
        yield inboxes
