"""Where a journal on disk finds what was said: in its tables, and then in the tail, which they have
not taken in yet: *tail*, the rows of the log there.  Both raise sqlite3.Error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from sqlite3 import Connection

from . import logs
from .database import HINT, POSITIONS
from .journal import MOST_ROWS, Page
from .log import Row
from .retention import KeptLog
from .tail import TailRow, intact

MOST_TOLD = 100
"""Damaged rows that are named in the broker's log."""


class Damage:
    """Tells of rows that are not what was stored."""

    def __init__(self) -> None:
        self._told: set[tuple[str, int]] = set()

    def tell(self, row: Row) -> None:
        """Says that *row* is left out, once."""
        which = row.log, row.first
        if which not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(which)
            words = f"it is not what was stored, and is left out; {HINT}"
            logs.log.error("journal damaged log=%s from=%d to=%d: %s", *which, row.last, words)


def page_after(
    db: Connection,
    tail: Sequence[TailRow],
    log: KeptLog,
    after: int,
    budget: int,
    damaged: Callable[[Row], None],
) -> Page:
    """What `Journal.fetch` gives of *log*; *damaged* is told of each row that is left out."""
    missed_upto = log.lost if log.lost > after else 0
    rows: list[Row] = []
    # A reader may ask for what is after any number, also for one that no id has room for.
    at = begin = min(max(after, log.lost), log.head)
    for seen, (prev, first, events, time, body, whole) in enumerate(
        _rows_after(db, tail, log, begin)
    ):
        row = Row(log.key, prev, first, events, time, body)
        whole = whole and first == prev + 1
        if seen == MOST_ROWS or (rows and (not whole or prev != at or len(body) > budget)):
            if not rows:
                missed_upto = first - 1
            break
        # Up to the first row that is as it was stored all is lost, as if retention had taken it;
        # and no more, whatever those before it say of how many they hold.
        if not whole:
            at = min(row.last, log.head)
            damaged(row)
            continue
        if not rows and prev > begin:
            missed_upto = prev
            if prev > at:
                damaged(Row(log.key, at, at + 1, prev - at, 0, b""))
        rows.append(row)
        budget -= len(body)
        at = row.last
    else:
        if not rows and begin < log.head:
            missed_upto = log.head
            if at < log.head:
                damaged(Row(log.key, at, at + 1, log.head - at, 0, b""))
    return Page(missed_upto, missed_upto - after if missed_upto else 0, rows)


def _rows_after(
    db: Connection, tail: Sequence[TailRow], log: KeptLog, after: int
) -> Iterator[tuple[int, int, int, int, bytes, bool]]:
    """The rows of *log* with events after *after*, in order: prev, first, events, time, body, and
    whether that is what was stored."""
    base = log.id << POSITIONS
    if not tail or tail[0].prev > after:
        # Also the row that begins at or before the first wanted event.
        found = db.execute(
            "SELECT max(id) FROM rows WHERE id BETWEEN ? AND ?", (base, base | after + 1)
        ).fetchone()
        lines = db.execute(
            "SELECT rows.id, prev, events, time, data, crc FROM rows JOIN bodies ON "
            "bodies.id = rows.body WHERE rows.id BETWEEN ? AND ? ORDER BY rows.id",
            (found[0] or base, base | (1 << POSITIONS) - 1),
        )
        for id, prev, events, time, data, crc in lines:
            first = id - base
            # A bit of SQLite's own may be another, and a number be a text.
            if not (type(prev) is type(events) is int):
                yield first - 1, first, 1, 0, b"", False
            elif first + events - 1 > after:
                whole = type(data) is bytes and intact(data, events, crc)
                yield prev, first, events, time, data if whole else b"", whole
    for row in tail:
        if row.first + row.events - 1 > after:
            yield row.prev, row.first, row.events, row.time, row.data, True


def position_at(db: Connection, tail: Sequence[TailRow], log: KeptLog, time: int) -> int:
    """The position before the first row of *log* with an event at or after *time*."""
    end = tail[0].prev if tail else log.head
    base = log.id << POSITIONS
    # Times never fall within a log, so positions can be halved by them: the event at *low*
    # is too early, the one at *high* is not, or is past the end.
    low, high = log.lost, end + 1
    while low + 1 < high:
        middle = (low + high) // 2
        found = db.execute(
            "SELECT id, time FROM rows WHERE id BETWEEN ? AND ? AND typeof(time) = 'integer' "
            "ORDER BY id DESC LIMIT 1",
            (base | low + 1, base | middle),
        ).fetchone()
        # There is none if the middle is within the row of *low*, or if what should be there is not.
        if found is None or found[1] < time:
            low = middle
        else:
            high = found[0] - base
    if high <= end:
        return high - 1
    return next((row.prev for row in tail if row.time >= time), log.head)
