"""Where a journal on disk finds what was said: in its tables, and then in the tail, which they have
not taken in yet: *tail*, the rows of the log there.  Both raise sqlite3.Error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sqlite3 import Connection

from .database import POSITIONS
from .retention import KeptLog
from .tail import TailRow


def rows_after(
    db: Connection, tail: Sequence[TailRow], log: KeptLog, after: int
) -> Iterator[tuple[int, int, int, int, bytes]]:
    """The rows of *log* with events after *after*, in order: prev, first, events, time, body."""
    base = log.id << POSITIONS
    if not tail or tail[0].prev > after:
        # Also the row that begins at or before the first wanted event.
        found = db.execute(
            "SELECT max(id) FROM rows WHERE id BETWEEN ? AND ?", (base, base | after + 1)
        ).fetchone()
        lines = db.execute(
            "SELECT rows.id, prev, events, time, data FROM rows JOIN bodies ON "
            "bodies.id = rows.body WHERE rows.id BETWEEN ? AND ? ORDER BY rows.id",
            (found[0] or base, base | (1 << POSITIONS) - 1),
        )
        for id, prev, events, time, data in lines:
            first = id - base
            if first + events - 1 > after:
                yield prev, first, events, time, data
    for row in tail:
        if row.first + row.events - 1 > after:
            yield row.prev, row.first, row.events, row.time, row.data


def position_at(db: Connection, tail: Sequence[TailRow], log: KeptLog, time: int) -> int:
    """The position before the first row of *log* with an event at or after *time*."""
    end = tail[0].prev if tail else log.head
    base = log.id << POSITIONS
    # Times never fall within a log, so positions can be halved by them: the event at *low*
    # is too early, the one at *high* is not, or is past the end.
    low, high = log.lost, end + 1
    while low + 1 < high:
        first, events, when = db.execute(
            "SELECT id, events, time FROM rows WHERE id <= ? ORDER BY id DESC LIMIT 1",
            (base | (low + high) // 2,),
        ).fetchone()
        if when < time:
            low = first - base + events - 1
        else:
            high = first - base
    if high <= end:
        return high - 1
    return next((row.prev for row in tail if row.time >= time), log.head)
