"""A log's numbering, and what was appended to it in this turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..wire.batch import Way, pack_texts
from ..wire.limits import FRAME_TARGET
from ..wire.shape import make

Run = tuple[bytes, int]
"""Packed events, and how many they are.  The same bytes go into each log that they belong in."""


def runs_of(way: Way, texts: Sequence[str]) -> list[Run]:
    """Events of *texts* that go one *way*: runs within FRAME_TARGET, or of a single event."""
    count = len(texts)
    # At the least, for what is packed in vain costs as much as what is not.
    size = len("".join(texts)) + count if count > 1 else 0
    if size <= FRAME_TARGET:
        body = pack_texts(way, texts)
        size = len(body)
        if size <= FRAME_TARGET or count == 1:
            return [(body, count)]
    runs: list[Run] = []
    each = -(-count // -(-size // FRAME_TARGET))
    for first in range(0, count, each):
        # Where their lengths differ, a part may be too long yet.
        runs += runs_of(way, texts[first : first + each])
    return runs


class Row(NamedTuple):
    """Consecutive events of one log, as they are stored, pushed and replayed."""

    log: str
    """The key of the log in the journal."""
    prev: int
    first: int
    events: int
    """How many."""
    time: int
    """The time of the newest event, in milliseconds since 1970."""
    body: bytes
    """The packed events."""

    @property
    def last(self) -> int:
        return self.first + self.events - 1


class Log:
    """Numbers events, and holds those of the current turn."""

    __slots__ = ("epoch", "head", "key", "pending")

    def __init__(self, key: str, epoch: bytes, head: int = 0) -> None:
        self.key = key
        """Its name in the journal; never used again for another life of the log."""
        self.epoch = epoch
        self.head = head
        """The position of the newest committed event."""
        self.pending: list[Run] = []
        """The events of this turn, to be appended to."""

    def take(self, time: int) -> list[Row]:
        """The events of this turn as rows for the journal, numbered; none is pending then.

        A row stays within FRAME_TARGET, or holds a single event, so that each can travel as
        one batch.
        """
        pending, self.pending = self.pending, []
        if len(pending) == 1:
            ((body, count),) = pending
            return [self._row(body, count, time)]
        rows: list[Row] = []
        bodies: list[bytes] = []
        size = events = 0
        for body, count in pending:
            if bodies and size + len(body) > FRAME_TARGET:
                rows.append(self._row(b"".join(bodies), events, time))
                bodies, size, events = [], 0, 0
            bodies.append(body)
            size += len(body)
            events += count
        if bodies:
            rows.append(self._row(b"".join(bodies), events, time))
        return rows

    def _row(self, body: bytes, events: int, time: int) -> Row:
        head = self.head
        self.head += events
        return make(Row, (self.key, head, head + 1, events, time, body))
