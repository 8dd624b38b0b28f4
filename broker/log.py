"""A log's numbering, and what was appended to it in this turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ..wire.batch import Packed, encode_batch
from ..wire.limits import FRAME_TARGET
from ..wire.messages import ECHO_LOG, topic_of
from ..wire.shape import make
from .former import Former

ECHO_TOPIC = topic_of(ECHO_LOG)
"""Of what is said to everyone."""


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


def joined(runs: list[Packed]) -> Packed:
    """*runs* as one."""
    return b"".join([body for body, _ in runs]), sum([events for _, events in runs])


class Log:
    """Numbers events, and holds those of the current turn."""

    __slots__ = ("epoch", "former", "head", "key", "pending")

    def __init__(self, key: str, epoch: bytes, head: int = 0, former: Former | None = None) -> None:
        self.key = key
        """Its name in the journal; never used again for another life of the log."""
        self.epoch = epoch
        self.head = head
        """The position of the newest committed event."""
        self.former = former
        """The life before, if its data went back."""
        self.pending: list[Packed] = []
        """The events of this turn, to be appended to."""

    def reached(self, epoch: bytes, position: int) -> int:
        """How far into this log somebody is who got to *position* of *epoch*; empty for this one.

        Of the life before, as far as this one is the same: whoever has seen more has seen all of
        that, and nothing of what came since.  Of any other life: not at all."""
        if epoch in (b"", self.epoch):
            return min(position, self.head)
        former = self.former
        return min(position, former.head) if former and epoch == former.epoch else 0

    def take(self, time: int, join: Callable[[list[Packed]], Packed] = joined) -> list[Row]:
        """The events of this turn as rows for the journal, numbered; none is pending then.

        A row stays within FRAME_TARGET, or holds a single event, so that each can travel as one
        batch.  *join*: `joined`, or what does the same."""
        pending, self.pending = self.pending, []
        if len(pending) == 1:  # At a third of the cost, and so it is in a turn of one message.
            return [self._row(*pending[0], time)]
        rows: list[Row] = []
        runs: list[Packed] = []
        size = 0
        for run in pending:
            if runs and size + len(run[0]) > FRAME_TARGET:
                rows.append(self._row(*join(runs), time))
                runs, size = [], 0
            runs.append(run)
            size += len(run[0])
        if runs:
            rows.append(self._row(*join(runs), time))
        return rows

    def _row(self, body: bytes, events: int, time: int) -> Row:
        head = self.head
        self.head += events
        return make(Row, (self.key, head, head + 1, events, time, body))


def pack_batches(name: str, log: Log, rows: Sequence[Row]) -> Iterable[bytes]:
    """BATCH messages of *rows*, which adjoin each other: about FRAME_TARGET bytes each."""
    if len(rows) == 1:
        _, prev, first, events, _, body = rows[0]
        return (encode_batch(name, log.epoch, prev, first, events, body),)
    return _pack_runs(name, log, rows)


def _pack_runs(name: str, log: Log, rows: Sequence[Row]) -> Iterator[bytes]:
    run: list[Row] = []
    size = 0
    for row in rows:
        if run and size + len(row.body) > FRAME_TARGET:
            yield _pack_run(name, log, run)
            run, size = [], 0
        run.append(row)
        size += len(row.body)
    if run:
        yield _pack_run(name, log, run)


def _pack_run(name: str, log: Log, run: list[Row]) -> bytes:
    body = run[0].body if len(run) == 1 else b"".join([row.body for row in run])
    events = sum([row.events for row in run])
    return encode_batch(name, log.epoch, run[0].prev, run[0].first, events, body)
