"""Whose handshake said much: libzmq keeps what it is told there, up to 64 KiB, for as long as the
connection stands, and nobody hears of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from .connections import Connection
from .kernel import received_by, unread

MOST = 4 * 1024
"""Bytes that a handshake may have."""

A_MOMENT = 1.0
"""Seconds after the first message of a connection, when that is looked at, and once more: what came
of a message that is not whole does not stay."""

HEARTBEATS = 64
"""Bytes of ZMTP's heartbeats that may come between these two looks."""


class Handshakes:
    """Those of connections that spoke lately.

    *overhead*: bytes by which each frame is longer on the way than in the open."""

    def __init__(self, overhead: int) -> None:
        self._overhead = overhead
        self._newcomers: deque[tuple[float, Connection, int]] = deque()
        """When to look at each, and what lay there at the last look."""

    def meet(self, connection: Connection, now: float) -> None:
        """The first message of *connection* came.  *now*: seconds of a monotonic clock."""
        self._newcomers.append((now + A_MOMENT, connection, 0))

    def long(self, drained: float) -> Iterator[Connection]:
        """Connections that said too much in it; each is told once.  *drained*: when all that was
        whole had last been taken out."""
        # What nobody took out yet is no handshake.
        while self._newcomers and self._newcomers[0][0] < drained:
            due, one, before = self._newcomers.popleft()
            received = received_by(one.fd) if one.stands else None
            if received is None:
                continue
            rest = received - unread(one.fd) - one.taken - self._overhead * one.frames
            if rest <= MOST:
                continue
            if not before:
                self._newcomers.append((due + A_MOMENT, one, rest))
            elif abs(rest - before) <= HEARTBEATS:
                yield one
