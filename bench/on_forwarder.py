"""The same loads on the forwarder, which acknowledges nothing and repeats nothing."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Sequence

from . import zmtp
from .forwarder import TOPIC
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
from .prepared import TEXT, for_forwarder, forwarded
from .processes import Server
from .sessions import Sender
from .streams import ByteReader

# A ROUTER ignores a second connection of the same identity while the first is being taken
# down: every run has readers of new names, as long as those of the broker's.
_identities = map("r{:06}".format, itertools.count())
_PROBE = TEXT.encode()
_MARK = b"y" * len(_PROBE)


class _Reader(ByteReader):
    """Hears, before it counts, whether the way to it is open."""

    def __init__(self, sock: socket.socket, message: bytes) -> None:
        super().__init__(sock, len(message))
        self._last = b""

    def hear(self) -> bool:
        """Receives without counting; False if nothing came."""
        try:
            got = self.sock.recv(zmtp.BUFFER)
        except TimeoutError:
            return False
        self._last = (self._last + got)[-len(_MARK) :]
        return bool(got)

    def heard(self, text: bytes) -> bool:
        """Whether the last message that was not counted says *text*."""
        return self._last.endswith(text)


def direct_run(server: Server, messages: int, pairs: int = len(READERS)) -> Run:
    """*messages* from each of *pairs* senders to its reader."""
    names = list(itertools.islice(_identities, pairs))
    loads = [for_forwarder(name, messages) for name in names]
    identities = [name.encode() for name in names]
    with (
        connections(server.broker, b"DEALER", identities) as inboxes,
        connections(server.broker, b"DEALER", [b""] * pairs) as sending,
    ):
        readers = [_Reader(inbox.sock, zmtp.frame(_PROBE)) for inbox in inboxes]
        senders = [Sender(inbox.sock, load) for inbox, load in zip(sending, loads, strict=True)]
        for sender, reader, to in zip(senders, readers, identities, strict=True):
            _probe(sender.sock, to, [reader])
        return direct(server, senders, readers)


def broadcast_run(server: Server, messages: int, fan: int, speakers: int = len(SENDERS)) -> Run:
    """*messages* from each of *speakers* senders to *fan* subscribers."""
    load = for_forwarder("", messages)
    with (
        connections(server.broker, b"DEALER", [b""] * speakers) as sending,
        connections(server.pub, b"SUB", [b""] * fan) as inboxes,
    ):
        readers = [_Reader(inbox.sock, forwarded(TOPIC, _PROBE)) for inbox in inboxes]
        senders = [Sender(inbox.sock, load) for inbox in sending]
        for reader in readers:
            reader.sock.sendall(zmtp.subscribe(TOPIC))
        _probe(senders[0].sock, TOPIC, readers)
        return broadcast(server, senders, readers, ())


def _probe(sender: socket.socket, to: bytes, readers: Sequence[_Reader]) -> None:
    """Sends until every reader has heard, then waits until nothing more is under way."""
    deadline = time.monotonic() + PATIENCE
    deaf = list(readers)
    for reader in readers:
        reader.sock.settimeout(0.05)
    while deaf:
        if time.monotonic() > deadline:
            raise Stuck("the forwarder does not reach every reader")
        sender.sendall(forwarded(to, _PROBE))
        deaf = [reader for reader in deaf if not reader.hear()]
    sender.sendall(forwarded(to, _MARK))
    for reader in readers:
        reader.sock.settimeout(PATIENCE)
        while not reader.heard(_MARK):
            reader.hear()


def latency_run(server: Server, messages: int) -> Latency:
    """One message at a time: seconds until it is delivered."""
    name = next(_identities)
    load = for_forwarder(name, messages)
    with (
        connections(server.broker, b"DEALER", [name.encode()]) as inboxes,
        connections(server.broker, b"DEALER", [b""]) as sending,
    ):
        reader = _Reader(inboxes[0].sock, zmtp.frame(_PROBE))
        sender = Sender(sending[0].sock, load)
        _probe(sender.sock, name.encode(), [reader])
        return one_by_one(sender, reader)
