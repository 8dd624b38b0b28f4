"""A ZMTP 3.0 client over a plain TCP socket: enough to load a broker at little cost.

libzmq's own sockets cost a load generator as much as the broker that it is to measure.
Here the bytes of thousands of messages go out in one ``send``, and what comes in is cut
into frames where it lies.  https://rfc.zeromq.org/spec/23/, mechanism NULL.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

MORE, LONG, COMMAND = 1, 2, 4

_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
GREETING_SIZE = len(_GREETING)
_long = struct.Struct(">Q")

BUFFER = 256 * 1024
"""Bytes taken from the kernel at once.  More than any frame of the protocol."""


class HandshakeError(ConnectionError):
    """The peer does not speak ZMTP 3 with the mechanism NULL."""


class Frame(NamedTuple):
    """A frame in an `Inbox`: ``buffer[start:stop]``."""

    flags: int
    start: int
    stop: int


def frame(body: bytes, flags: int = 0) -> bytes:
    """*body* as it travels."""
    if len(body) < 256:
        return bytes((flags, len(body))) + body
    return bytes((flags | LONG,)) + _long.pack(len(body)) + body


def ready(socket_type: bytes, identity: bytes = b"") -> bytes:
    """The READY command, with which both sides end the handshake."""
    body = b"\x05READY"
    for name, value in ((b"Socket-Type", socket_type), (b"Identity", identity)):
        body += bytes((len(name),)) + name + len(value).to_bytes(4, "big") + value
    return frame(body, COMMAND)


def opening(socket_type: bytes, identity: bytes = b"") -> bytes:
    """All that a client says until the handshake has ended: it need not wait for the answer."""
    return _GREETING + ready(socket_type, identity)


def heartbeat() -> bytes:
    """A heartbeat of ZMTP 3.1, as libzmq sends it: https://rfc.zeromq.org/spec/37/."""
    return frame(b"\x04PING\0\0", COMMAND)


class Cutter:
    """Cuts what is put into it into frames.  ``buffer`` is good until more is put."""

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER)
        self._view = memoryview(self.buffer)
        self._start = self._stop = 0

    @property
    def waiting(self) -> int:
        """Bytes that are in no frame that was given yet."""
        return self._stop - self._start

    def put(self, said: bytes | bytearray | memoryview) -> None:
        """Takes some more bytes.  With those that wait they are BUFFER at most."""
        stop = self._clear()
        self._view[stop : stop + len(said)] = said
        self._stop = stop + len(said)

    def _clear(self) -> int:
        """Makes room; where that begins."""
        start, stop = self._start, self._stop
        if start:
            self.buffer[: stop - start] = self.buffer[start:stop]
            self._start, stop = 0, stop - start
            self._stop = stop
        return stop

    def frames(self) -> Iterator[Frame]:
        """The whole frames that are waiting; commands, of which none matter, left out."""
        buffer, stop = self.buffer, self._stop
        at = self._start
        while stop - at >= 2:
            flags = buffer[at]
            if flags & LONG:
                if stop - at < 9:
                    break
                begin = at + 9
                end: int = begin + _long.unpack_from(buffer, at + 1)[0]
            else:
                begin = at + 2
                end = begin + buffer[at + 1]
            if end > stop:
                if end - at > BUFFER:
                    raise ConnectionError(f"a frame of {end - begin} bytes")
                break
            at = self._start = end
            if not flags & COMMAND:
                yield Frame(flags, begin, end)


class Inbox(Cutter):
    """Cuts what a socket receives into frames.  ``buffer`` is good until the next `fill`."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.sock = sock

    def fill(self) -> int:
        """Receives once; how many bytes.  0 if none came in the time that the socket has.

        Raises ConnectionError at the end of the stream.
        """
        stop = self._clear()
        try:
            size = self.sock.recv_into(self._view[stop:])
        except (BlockingIOError, TimeoutError):
            return 0
        if not size:
            raise ConnectionError("the peer closed the connection")
        self._stop = stop + size
        return size

    def take(self, size: int) -> bytes:
        """Exactly *size* bytes, waited for; for the handshake."""
        while self._stop - self._start < size:
            if not self.fill():
                raise TimeoutError("the peer is silent")
        taken = bytes(self.buffer[self._start : self._start + size])
        self._start += size
        return taken


def connect(
    endpoint: str, socket_type: bytes, identity: bytes = b"", timeout: float = 5.0
) -> Inbox:
    """A connection after its handshake.  Its socket blocks, for *timeout* seconds at most.

    Raises OSError, of which HandshakeError and TimeoutError are kinds.
    """
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), timeout)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        inbox = Inbox(sock)
        shake_hands(inbox, socket_type, identity)
    except BaseException:
        sock.close()
        raise
    return inbox


def shake_hands(inbox: Inbox, socket_type: bytes, identity: bytes = b"") -> None:
    """The handshake, over a socket that blocks."""
    inbox.sock.sendall(opening(socket_type, identity))
    theirs = inbox.take(GREETING_SIZE)
    if theirs[0] != 0xFF or theirs[10] < 3 or theirs[12:32].rstrip(b"\0") != b"NULL":
        raise HandshakeError("the peer does not speak ZMTP 3 with the mechanism NULL")
    flags, size = inbox.take(2)
    body = inbox.take(size)
    if flags != COMMAND or not body.startswith(b"\x05READY"):
        raise HandshakeError("the peer refused the handshake")


def subscribe(topic: bytes) -> bytes:
    """The message with which a SUB asks for *topic*."""
    return frame(b"\x01" + topic)
