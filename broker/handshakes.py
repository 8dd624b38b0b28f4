"""Whose handshake said much: libzmq keeps what it is told there, up to 64 KiB, for as long as the
connection stands, and nobody hears of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from .connections import Connection
from .kernel import received_by, unread

MOST_AT_FIRST = 12 * 1024
"""Bytes that may have come beside the first message: those of a handshake, and what libzmq reads at
once.  Whoever says HELLO waits for an answer; who does not wait is looked at again."""

MOST = 4 * 1024
"""Bytes that may lie there at one of the looks then, when all that was whole was taken out: a
handshake stays, and what came of a message does not."""

A_MOMENT, MOMENTS = 0.25, 1
"""Seconds between two such looks, and how many there are after the first.  In a second thousands
may come, and tell 64 KiB each."""


class Handshakes:
    """Those of connections that spoke lately.

    *overhead*: bytes by which each frame is longer on the way than in the open."""

    def __init__(self, overhead: int) -> None:
        self._overhead = overhead
        self._suspects: deque[tuple[float, Connection, int]] = deque()
        """When to look at each, and how many looks are left."""

    def meet(self, connection: Connection, size: int, now: float) -> None:
        """The first message of *connection* came, of so many bytes.  *now*: seconds of a monotonic
        clock."""
        before = (received_by(connection.fd) or 0) - size
        if before > MOST_AT_FIRST and before - unread(connection.fd) > MOST_AT_FIRST:
            self._suspects.append((now, connection, MOMENTS))

    def long(self, drained: float) -> Iterator[Connection]:
        """Connections that said too much in it; each is told once.  *drained*: when all that was
        whole had last been taken out."""
        # What nobody took out yet is no handshake.
        while self._suspects and self._suspects[0][0] < drained:
            _, one, looks = self._suspects.popleft()
            received = received_by(one.fd) if one.stands else None
            if received is None:
                continue
            rest = received - unread(one.fd) - one.taken - self._overhead * one.frames
            if rest <= MOST:
                continue
            if looks:
                self._suspects.append((drained + A_MOMENT, one, looks - 1))
            else:
                yield one
