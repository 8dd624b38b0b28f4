"""What attacks are made of: connections by hand (``bench.zmtp``), as nobody makes them who means
well."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import zmtp
from chatbroker.wire.codec import Encoder

from .stage import MIB, Stage

encode = Encoder().encode

MOST_BYTES = 10_000 * MIB
MOST_SECONDS = 20.0
"""What an attack of the plain size may take at most."""


@contextmanager
def crowd() -> Iterator[list[socket.socket]]:
    """Sockets that are closed in the end."""
    sockets: list[socket.socket] = []
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def dial(endpoint: str) -> socket.socket:
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), MOST_SECONDS)


def peer(
    endpoint: str, kind: bytes = b"DEALER", identity: bytes = b"", seconds: float = MOST_SECONDS
) -> socket.socket:
    """A connection after its handshake."""
    return zmtp.connect(endpoint, kind, identity, seconds).sock


def pour(
    sockets: list[socket.socket], data: bytes, most: int, seconds: float = MOST_SECONDS
) -> int:
    """Sends *data* over and over by all of *sockets* in turn until each is cut off, *most* bytes
    went, or *seconds* are over.  Returns how many bytes went."""
    sent, left = 0, list(sockets)
    offsets = dict.fromkeys(sockets, 0)
    for sock in sockets:
        sock.setblocking(False)
    until = time.monotonic() + seconds
    while left and sent < most and time.monotonic() < until:
        for sock in list(left):
            try:
                done = sock.send(memoryview(data)[offsets[sock] :])
            except BlockingIOError:
                done = 0
            except OSError:
                done = -1
            if done < 0 or (done == 0 and is_cut(sock)):
                left.remove(sock)
                continue
            sent += done
            offsets[sock] = (offsets[sock] + done) % len(data)
    return sent


def is_cut(sock: socket.socket) -> bool:
    """Whether the broker has ended it.  Nothing is taken out of it: nobody reads answers."""
    events = select.poll()
    events.register(sock, select.POLLRDHUP)
    return bool(events.poll(0))


def is_answered(sock: socket.socket) -> bool:
    """Whether something came back after the handshake."""
    events = select.poll()
    events.register(sock, select.POLLIN)
    return bool(events.poll(0))


def all_cut(stage: Stage, sockets: list[socket.socket]) -> None:
    stage.eventually(lambda: all(is_cut(sock) for sock in sockets), "connections stand")
