"""A log's numbering, and what was appended to it in this turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..wire.batch import Packed
from ..wire.limits import FRAME_TARGET
from ..wire.shape import make


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


def joined(pending: list[Packed]) -> list[Packed]:
    """What was appended in one turn, as the bodies of rows: each within FRAME_TARGET, or of a
    single event, so that it can travel as one batch."""
    found: list[Packed] = []
    bodies: list[bytes] = []
    size = events = 0
    for body, count in pending:
        if bodies and size + len(body) > FRAME_TARGET:
            found.append((b"".join(bodies), events))
            bodies, size, events = [], 0, 0
        bodies.append(body)
        size += len(body)
        events += count
    if bodies:
        found.append((b"".join(bodies), events))
    return found


class Log:
    """Numbers events, and holds those of the current turn."""

    __slots__ = ("epoch", "head", "key", "pending")

    def __init__(self, key: str, epoch: bytes, head: int = 0) -> None:
        self.key = key
        """Its name in the journal; never used again for another life of the log."""
        self.epoch = epoch
        self.head = head
        """The position of the newest committed event."""
        self.pending: list[Packed] = []
        """The events of this turn, to be appended to."""

    def take(self, time: int, join: Callable[[list[Packed]], list[Packed]] = joined) -> list[Row]:
        """The events of this turn as rows for the journal, numbered; none is pending then.

        *join*: `joined`, or what does the same."""
        pending, self.pending = self.pending, []
        rows: list[Row] = []
        for body, events in join(pending):
            head = self.head
            self.head += events
            rows.append(make(Row, (self.key, head, head + 1, events, time, body)))
        return rows
