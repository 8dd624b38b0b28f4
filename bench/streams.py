"""Counts what comes over a plain TCP stream: by its bytes, or by its lines.

Who sends over such a stream can lose a message, but says none again.  So the number is what has to
be right in the end, and where every message is as long as the other, bytes are the number.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod

BUFFER = 256 * 1024
"""Bytes taken from the kernel at once, where they are looked at."""

_nowhere = bytearray(1024 * 1024)


class Counter(ABC):
    """Counts what its socket receives."""

    fetches = 0
    """There is nowhere to ask for what is missing."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._before = 0

    @property
    @abstractmethod
    def total(self) -> int:
        """Whole messages since the beginning."""

    @property
    def counted(self) -> int:
        """Whole messages in this run."""
        return self.total - self._before

    def restart(self) -> None:
        """Begins a run."""
        self._before = self.total

    @abstractmethod
    def read(self) -> None:
        """Receives once and counts.  Raises ConnectionError at the end of the stream."""

    def ping(self) -> None:  # noqa: B027
        """Nobody asks for a sign of life."""

    def miss(self) -> None:  # noqa: B027
        """What is missing does not come again: the run fails when its time is over."""

    def receive(self) -> bytes:
        """What has come, or nothing yet."""
        try:
            got = self.sock.recv(BUFFER)
        except BlockingIOError:
            return b""
        if not got:
            raise ConnectionError("the peer closed the connection")
        return got


class Replying(Counter):
    """A counter that says something to what it gets: that it has it, or that it wants more."""

    def read(self) -> None:
        self.take()
        self.reply()

    @abstractmethod
    def take(self) -> None:
        """Receives once and counts, and leaves what is to be said to `reply`."""

    @abstractmethod
    def reply(self) -> None:
        """Says what there is to say to what was taken."""


class ByteReader(Counter):
    """Counts messages of *size* bytes each, which the kernel need not copy."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        super().__init__(sock)
        self._size = size
        self._bytes = 0

    @property
    def total(self) -> int:
        return self._bytes // self._size

    def read(self) -> None:
        try:
            size = self.sock.recv_into(_nowhere, len(_nowhere), socket.MSG_TRUNC)
        except BlockingIOError:
            return
        if not size:
            raise ConnectionError("the peer closed the connection")
        self._bytes += size


class LineReader(Counter):
    """Counts messages of some *lines* each, however long they are."""

    def __init__(self, sock: socket.socket, lines: int = 1) -> None:
        super().__init__(sock)
        self._a_message = lines
        self._lines = 0

    @property
    def total(self) -> int:
        return self._lines // self._a_message

    def read(self) -> None:
        self._lines += self.receive().count(b"\n")
