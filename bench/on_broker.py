"""The loads on the broker: sessions say HELLO, everything is acknowledged and counted."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from chatbroker.wire.messages import DIRECT_LOG, ECHO_LOG, Echo, topic_of

from . import zmtp
from .counting import sizes_of
from .load import (
    PATIENCE,
    READERS,
    SENDERS,
    Latency,
    Run,
    Stuck,
    broadcast,
    connections,
    direct,
    one_by_one,
)
from .prepared import TEXT, for_broker
from .processes import Server
from .readers import MailboxReader, Observer
from .sessions import Acknowledged, Session
from .subscribers import Stream, Subscriber

PROBER = "prober0"
"""As long as the senders' names: all whole events of a run are of one size."""

PROBE_EVERY = 10
"""Milliseconds of silence after which it says something again."""


@contextmanager
def sessions(server: Server, names: Sequence[str], follow: str = "") -> Iterator[list[Session]]:
    """A session for each of *names*; they leave at the end."""
    with ExitStack() as stack:
        opened = []
        for name in names:
            opened.append(Session(server.broker, name, follow))
            stack.callback(opened[-1].close)
        yield opened


def direct_run(
    server: Server,
    messages: int,
    a_frame: int,
    senders_names: Sequence[str] = SENDERS,
    readers_names: Sequence[str] = READERS,
) -> Run:
    """*messages* from each sender to its reader."""
    loads = [for_broker(name, messages // a_frame, a_frame) for name in readers_names]
    sizes = sizes_of(senders_names[0], readers_names[0])
    with (
        sessions(server, readers_names, DIRECT_LOG) as reading,
        sessions(server, senders_names) as sending,
    ):
        readers = [MailboxReader(session, sizes) for session in reading]
        senders = [Acknowledged(*pair) for pair in zip(sending, loads, strict=True)]
        return direct(server, senders, readers)


def broadcast_run(
    server: Server, messages: int, a_frame: int, fan: int, speakers: int = len(SENDERS)
) -> Run:
    """*messages* from each of *speakers* senders to *fan* subscribers."""
    load = for_broker("", messages // a_frame, a_frame)
    with (
        sessions(server, [""], ECHO_LOG) as observing,
        sessions(server, [PROBER]) as probing,
        sessions(server, SENDERS[:speakers]) as sending,
        connections(server.pub, b"SUB", [b""] * fan) as inboxes,
    ):
        observer = Observer(observing[0], sizes_of(SENDERS[0], ""))
        readers = [Subscriber(inbox, observer) for inbox in inboxes]
        _probe(probing[0], readers, observer)
        senders = [Acknowledged(session, load) for session in sending]
        return broadcast(server, senders, readers, [observer])


def _probe(prober: Session, readers: Sequence[Subscriber], observer: Observer) -> None:
    """Subscribes, and says something until every reader has heard it over its own socket."""
    said = 0
    deadline = time.monotonic() + PATIENCE
    poll = select.poll()
    observer.sock.settimeout(0.05)
    poll.register(observer.sock, select.POLLIN)
    hearing: dict[int, Observer | Subscriber] = {observer.sock.fileno(): observer}
    for reader in readers:
        reader.sock.settimeout(0.05)
        reader.sock.sendall(zmtp.subscribe(topic_of(ECHO_LOG)))
        poll.register(reader.sock, select.POLLIN)
        hearing[reader.sock.fileno()] = reader
    while not all(reader.heard and reader.counted == said for reader in readers):
        if time.monotonic() > deadline:
            raise Stuck("not every subscription took effect")
        came = poll.poll(PROBE_EVERY)
        for number, _ in came:
            hearing[number].read()
        if not came and not all(reader.heard for reader in readers):
            said += 1
            prober.say(Echo(said, (TEXT,)))
    # Of one that counts what was fetched for it, what it missed may have come since.
    for reader in readers:
        reader.sock.setblocking(False)
        reader.read()
    # From here on they hear the same.
    stream = Stream(readers[0].cursor, observer.sizes)
    for reader in readers:
        reader.join(stream)


def latency_run(server: Server, messages: int) -> Latency:
    """One message at a time: seconds until it is delivered, and until it is acknowledged."""
    load = for_broker(READERS[0], messages, 1)
    sizes = sizes_of(SENDERS[0], READERS[0])
    with (
        sessions(server, READERS[:1], DIRECT_LOG) as reading,
        sessions(server, SENDERS[:1]) as sending,
    ):
        reader = MailboxReader(reading[0], sizes)
        sender = Acknowledged(sending[0], load)
        return one_by_one(sender, reader)
