"""Direct messages over ZeroMQ's own sockets, to a plain and to a secure broker.

The load of ``load`` speaks no CURVE; this one costs more than the broker that it loads, so only
the broker's CPU is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from chatbroker.client.access import find_access
from chatbroker.client.address import parse_address
from chatbroker.client.link import present_keys
from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.messages import DIRECT_LOG, Ack, Batch, Bye, Farewell, Ping, Send

from .load import MOST_SECONDS, READERS, SENDERS, Stuck
from .prepared import TEXT
from .processes import Cpu, Server
from .sessions import WINDOW, hello

A_FRAME = 100
PING_EVERY = 40
"""Batches after which a reader gives a sign of life."""


class Peer:
    """A DEALER with a session."""

    def __init__(self, sock: zmq.Socket[bytes], name: str, follow: str = "") -> None:
        self.sock = sock
        self.count = 0
        """Commands acknowledged, or messages read."""
        self.sent = 0
        self.left = False
        self._batches = 0
        self._encode = Encoder().encode
        self._decode = Decoder(FROM_BROKER).decode
        sock.send(self._encode(hello(name, follow)))
        self._take(self._wait())

    def _wait(self) -> bytes:
        if not self.sock.poll(5000):
            raise TimeoutError("no WELCOME came")
        return self.sock.recv()

    def advance(self, to: str, messages: int) -> None:
        """Sends on, until the window is full or *messages* are sent."""
        while self.sent < min(messages, self.count + WINDOW):
            texts = (TEXT,) * A_FRAME
            self.sock.send(self._encode(Send(self.sent + 1, to, texts)))
            self.sent += A_FRAME

    def leave(self) -> None:
        """Frees the name for the next run."""
        self.sock.send(self._encode(Bye()))
        while not self.left and self.sock.poll(2000):
            self._take(self.sock.recv())

    def read(self) -> None:
        """Takes what is waiting."""
        try:
            while True:
                self._take(self.sock.recv(zmq.NOBLOCK))
        except zmq.Again:
            return

    def _take(self, frame: bytes) -> None:
        for message in self._decode(frame):
            if isinstance(message, Ack):
                self.count = message.upto
            elif isinstance(message, Batch):
                self.count += len(message.events)
                self._batches += 1
                if self._batches % PING_EVERY == 0:
                    self.sock.send(self._encode(Ping(1, 0, 0, ())))
            elif isinstance(message, Farewell):
                self.left = True


@contextmanager
def _peers(server: Server) -> Iterator[tuple[list[Peer], list[Peer]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    access = find_access(parse_address(server.broker), None)

    def peer(name: str, follow: str = "") -> Peer:
        sock = context.socket(zmq.DEALER)
        present_keys(sock, access)
        sock.connect(server.broker)
        return Peer(sock, name, follow)

    try:
        readers = [peer(name, DIRECT_LOG) for name in READERS]
        senders = [peer(name) for name in SENDERS]
        yield senders, readers
        for one in (*senders, *readers):
            one.leave()
    finally:
        context.destroy(linger=0)


def direct_run(server: Server, messages: int) -> tuple[int, Cpu]:
    """Has about *messages* messages sent, acknowledged and read; how many, and the broker's CPU."""
    each = max(messages // len(SENDERS) // A_FRAME, 1) * A_FRAME
    with _peers(server) as (senders, readers):
        poller = zmq.Poller()
        for one in (*senders, *readers):
            poller.register(one.sock, zmq.POLLIN)
        peers = {one.sock: one for one in (*senders, *readers)}
        cpu = server.cpu()
        until = time.monotonic() + MOST_SECONDS
        while any(one.count < each for one in (*senders, *readers)):
            for sender, to in zip(senders, READERS, strict=True):
                sender.advance(to, each)
            for sock, _ in poller.poll(300):
                peers[sock].read()
            if time.monotonic() > until:
                raise Stuck(f"counted: {[one.count for one in (*senders, *readers)]}")
        return each * len(senders), server.cpu().since(cpu)
