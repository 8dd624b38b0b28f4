"""A log's numbering, and what was appended to it in this turn."""

from __future__ import annotations

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
    """Numbers events and collects those of the current turn."""

    __slots__ = ("_pending", "_time", "epoch", "head", "key")

    def __init__(self, key: str, epoch: bytes, head: int = 0) -> None:
        self.key = key
        self.epoch = epoch
        self.head = head
        """The position of the newest committed event."""
        self._pending: list[bytes] = []
        self._time = 0

    def append(self, event: bytes, time: int) -> bool:
        """Adds a packed event; True if it is the first of this turn."""
        self._pending.append(event)
        self._time = time
        return len(self._pending) == 1

    def take(self) -> list[Row]:
        """The events of this turn as rows for the journal, numbered; the log is clean again.

        A row stays within FRAME_TARGET, or holds a single event, so that each can travel as
        one batch.
        """
        rows: list[Row] = []
        start = size = 0
        pending, self._pending = self._pending, []
        for index, event in enumerate(pending):
            if size and size + len(event) > FRAME_TARGET:
                rows.append(self._row(pending[start:index]))
                start, size = index, 0
            size += len(event)
        if pending:
            rows.append(self._row(pending[start:]))
        return rows

    def _row(self, events: list[bytes]) -> Row:
        row = Row(self.key, self.head, self.head + 1, len(events), self._time, b"".join(events))
        self.head = row.last
        return row
