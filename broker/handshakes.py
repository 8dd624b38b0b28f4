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

A_MOMENT = 0.25
"""Seconds between two looks at one of whom more lies there: what came of a message that is not
whole does not stay.  In a second thousands may come, and tell 64 KiB each."""

HEARTBEATS = 64
"""Bytes of ZMTP's heartbeats that may come meanwhile."""


class Handshakes:
    """Those of connections that spoke lately.

    *overhead*: bytes by which each frame is longer on the way than in the open."""

    def __init__(self, overhead: int) -> None:
        self._overhead = overhead
        self._newcomers: deque[tuple[float, Connection]] = deque()
        self._again: deque[tuple[float, Connection, int]] = deque()
        """When each came; and when to look at it again, and what lay there."""

    def meet(self, connection: Connection, now: float) -> None:
        """The first message of *connection* came.  *now*: seconds of a monotonic clock."""
        self._newcomers.append((now, connection))

    def long(self, drained: float) -> Iterator[Connection]:
        """Connections that said too much in it; each is told once.  *drained*: when all that was
        whole had last been taken out."""
        # What nobody took out yet is no handshake.
        while self._newcomers and self._newcomers[0][0] < drained:
            _, one = self._newcomers.popleft()
            if (rest := self._rest(one)) > MOST:
                self._again.append((drained + A_MOMENT, one, rest))
        while self._again and self._again[0][0] < drained:
            _, one, before = self._again.popleft()
            if (rest := self._rest(one)) > MOST and abs(rest - before) <= HEARTBEATS:
                yield one

    def _rest(self, one: Connection) -> int:
        """Bytes that came and are no message that was taken out; 0 if it is gone."""
        received = received_by(one.fd) if one.stands else None
        if received is None:
            return 0
        return received - unread(one.fd) - one.taken - self._overhead * one.frames
