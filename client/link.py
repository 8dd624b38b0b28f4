"""The edge of a client: a DEALER, a SUB and their connections.  Only here zmq is imported.

A ``Link`` is driven by one thread that calls `step` again and again.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import time
from contextlib import AbstractContextManager

import zmq

from ..wire.limits import MAX_FRAME
from ..wire.messages import GREETING_TOPIC
from .core import ClientCore, Phase
from .errors import Unreachable

MOST_FRAMES = 256
"""Frames taken from one socket before the other has its turn."""

# Heartbeats are the client's side of the bargain: the broker sets none (a broker that stalls
# must not lose healthy clients), so a connection that died without a word shows here.
HEARTBEAT_OPTIONS: dict[int, int] = {
    zmq.HEARTBEAT_IVL: 5_000,
    zmq.HEARTBEAT_TIMEOUT: 15_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.MAXMSGSIZE: MAX_FRAME,
}
DEALER_OPTIONS: dict[int, int] = {
    # Without a connection nothing is queued: what waited in a queue would reach the
    # connection's successor before its HELLO.  The outbox keeps what is to be sent.
    zmq.IMMEDIATE: 1,
    zmq.SNDHWM: 64,
    zmq.RCVHWM: 1000,
    zmq.LINGER: 500,
}
SUB_OPTIONS: dict[int, int] = {zmq.RCVHWM: 5000, zmq.LINGER: 0}

MONITORED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class Link:
    """The sockets of one client core."""

    def __init__(
        self,
        core: ClientCore,
        host: str,
        port: int,
        lock: AbstractContextManager[object],
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self._core = core
        self._host = f"[{host}]" if ":" in host else host
        self._lock = lock
        """Held while the core is used, and never while waiting or sending."""
        self._own_context = context is None
        self._context = context or zmq.Context()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._poller = zmq.Poller()
        self._poller.register(self._wake_reader, zmq.POLLIN)
        self._sub: zmq.Socket[bytes] | None = None
        self._sub_port: int | None = None
        self._unsent: list[bytes] = []
        self._dealer = self._socket(zmq.DEALER, DEALER_OPTIONS)
        self._monitor: zmq.Socket[bytes] = self._dealer.get_monitor_socket(MONITORED)
        self._poller.register(self._dealer, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            self._connect(self._dealer, port)
        except Unreachable:
            self.close()
            raise

    def _socket(self, kind: int, options: dict[int, int]) -> zmq.Socket[bytes]:
        sock: zmq.Socket[bytes] = self._context.socket(kind)
        for option, value in (HEARTBEAT_OPTIONS | options).items():
            sock.setsockopt(option, value)
        if self._host.startswith("["):
            sock.setsockopt(zmq.IPV6, 1)
        # Fixed, it would make a herd of all clients when a broker comes back; libzmq adds up
        # to as much again at random, so the wait is 0.2 to 2 s.  RECONNECT_IVL_MAX would
        # remove that, so it is not set.
        sock.setsockopt(zmq.RECONNECT_IVL, random.randint(200, 1000))
        return sock

    def _connect(self, sock: zmq.Socket[bytes], port: int | None) -> None:
        try:
            sock.connect(f"tcp://{self._host}:{port}")
        except zmq.ZMQError as error:
            raise Unreachable(f"cannot connect to {self._host}:{port}: {error}") from None

    def wake(self) -> None:
        """Ends a `step` that waits.  May be called from any thread."""
        try:
            self._wake_writer.send(b"\0")
        except OSError:
            # Full of earlier calls, which wake it just as well; or closed, and nobody waits.
            return

    def step(self, longest: float) -> None:
        """Waits up to *longest* seconds for something to do, and does it."""
        pause = longest
        # While the connection takes no more, nothing new is asked of the core: what is overdue
        # there would have this spin.
        if not self._unsent:
            with self._lock:
                pause = min(self._core.pause(time.monotonic()), longest)
        ready = dict(self._poller.poll(int(pause * 1000) + 1 if pause > 0 else 0))
        if self._wake_reader.fileno() in ready:
            self._wake_reader.recv(4096)
        changes = _drain(self._monitor) if self._monitor in ready else []
        # All frames before a change of connection: what the old one brought still counts, and
        # must not be taken for the new one's.
        most = sys.maxsize if changes else MOST_FRAMES
        frames = _drain(self._dealer, most) if self._dealer in ready or changes else []
        published = _drain(self._sub) if self._sub is not None and self._sub in ready else []
        now = time.monotonic()
        with self._lock:
            core = self._core
            for (frame,) in frames:
                core.received(frame, now)
            for topic, *rest in published:
                if rest:
                    core.published(rest[0], now)
                elif topic == GREETING_TOPIC:
                    core.greeted(now)
            for change in changes:
                if struct.unpack("=HI", change[0])[0] == zmq.EVENT_DISCONNECTED:
                    core.disconnected()
                else:
                    core.connected(now)
                self._unsent.clear()
        self._follow_pub()
        self._send(now)

    def _send(self, now: float) -> None:
        """Sends what is due until the connection takes no more."""
        send = self._dealer.send
        while True:
            if not self._unsent:
                with self._lock:
                    self._unsent = self._core.outgoing(now)
                if not self._unsent:
                    self._poller.modify(self._dealer, zmq.POLLIN)
                    return
            try:
                while self._unsent:
                    send(self._unsent[0], zmq.NOBLOCK)
                    del self._unsent[0]
            except zmq.Again:
                self._poller.modify(self._dealer, zmq.POLLIN | zmq.POLLOUT)
                return

    def _follow_pub(self) -> None:
        """Subscribes where WELCOME says."""
        port = self._core.pub_port
        if port == self._sub_port or not self._core.topics:
            return
        self._close_sub()
        self._sub = self._socket(zmq.SUB, SUB_OPTIONS)
        for topic in (GREETING_TOPIC, *self._core.topics):
            self._sub.setsockopt(zmq.SUBSCRIBE, topic)
        self._connect(self._sub, port)
        self._sub_port = port
        self._poller.register(self._sub, zmq.POLLIN)

    def _close_sub(self) -> None:
        if self._sub is not None:
            self._poller.unregister(self._sub)
            self._sub.close()
            self._sub = None

    def close(self) -> None:
        """Closes the sockets; a last frame gets LINGER to leave."""
        self._close_sub()
        self._dealer.disable_monitor()
        self._monitor.close(linger=0)
        # Only a BYE is worth waiting for, and only if there is somebody to take it.
        self._dealer.close(linger=None if self._core.phase is Phase.LEAVING else 0)
        self._wake_reader.close()
        self._wake_writer.close()
        if self._own_context:
            self._context.term()


def _drain(sock: zmq.Socket[bytes], most: int = MOST_FRAMES) -> list[list[bytes]]:
    """What is waiting on *sock*, as lists of parts, up to *most* of them."""
    messages: list[list[bytes]] = []
    receive = sock.recv_multipart
    try:
        while len(messages) < most:
            messages.append(receive(zmq.NOBLOCK))
    except zmq.Again:
        return messages
    return messages
