"""A log's numbering, and what was appended to it in this turn."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

from ..wire.limits import FRAME_TARGET


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
        self.pending: list[bytes] = []
        """The packed events of this turn, to be appended to."""

    def take(self, time: int) -> list[Row]:
        """The events of this turn as rows for the journal, numbered; none is pending then.

        A row stays within FRAME_TARGET, or holds a single event, so that each can travel as
        one batch.
        """
        pending, self.pending = self.pending, []
        if not pending:
            return []
        # Most turns fit; of the others, lengths are summed in C: in a turn of thousands, a
        # loop would cost as much as all the rest of committing.
        body = b"".join(pending)
        if len(body) <= FRAME_TARGET:
            row = Row(self.key, self.head, self.head + 1, len(pending), time, body)
            self.head = row.last
            return [row]
        ends = list(accumulate(map(len, pending)))
        rows: list[Row] = []
        start = 0
        while start < len(pending):
            before = ends[start - 1] if start else 0
            stop = max(bisect_right(ends, before + FRAME_TARGET, lo=start), start + 1)
            events = pending[start:stop]
            row = Row(self.key, self.head, self.head + 1, len(events), time, b"".join(events))
            self.head = row.last
            rows.append(row)
            start = stop
        return rows
