"""What retention does to the tables: the oldest rows of a log go, and their pages after them.

It is told what is to go, and works within the journal's transaction; of the journal's memory
it knows nothing, as what it did may not be stored in the end.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from .database import POSITIONS
from .retention import KeptLog, Wanted

ROW_COST = 64
"""Bytes that a row is reckoned to take beside its body."""

UPDATE_LOG = "UPDATE logs SET head=?, lost=?, size=?, oldest=?, newest=?, dropped=? WHERE id=?"
"""By `KeptLog.values`."""

FREE = 256
"""Pages that nothing uses and that are left in the file, or a tenth of it: they will be used."""

STEP = 16
"""Pages that are given back at a time, in some 2 ms; of 11,000 that takes 2 s in all, and one by
one took 26 s."""


class Cut(NamedTuple):
    """What a step of retention left of one log."""

    log: KeptLog
    rows: int
    """How many went."""
    lost: int
    size: int
    oldest: int
    ends: bool
    """Whether nothing is left, nor the log itself."""
    done: bool
    """Whether no more of it is to go."""


def cut_oldest(db: sqlite3.Connection, log: KeptLog, wanted: Wanted, room: int) -> Cut:
    """Deletes the oldest rows of *log*, those that are *wanted* and *room* at most."""
    base = log.id << POSITIONS
    lines = db.execute(
        "SELECT rows.id, events, time, body, length(data) FROM rows JOIN bodies ON "
        "bodies.id = rows.body WHERE rows.id BETWEEN ? AND ? ORDER BY rows.id LIMIT ?",
        (base, base | (1 << POSITIONS) - 1, room + 1),
    ).fetchall()
    going = []
    left = log.size
    lost = log.lost
    for id, events, when, body, size in lines[:room]:
        if not wanted(when, left):
            break
        going.append((id, body))
        left -= ROW_COST + size
        lost = id - base + events - 1
    stays = lines[len(going)] if len(lines) > len(going) else None
    _delete(db, going)
    ends = stays is None and bool(log.dropped)
    if ends:
        db.execute("DELETE FROM logs WHERE id=?", (log.id,))
        return Cut(log, len(going), lost, 0, 0, True, True)
    after = KeptLog(*log.line())
    after.lost, after.size = lost, left if stays else 0
    after.oldest = stays[2] if stays else log.newest
    db.execute(UPDATE_LOG, after.values())
    return Cut(log, len(going), lost, after.size, after.oldest, False, len(going) < room)


def _delete(db: sqlite3.Connection, rows: list[tuple[int, int]]) -> None:
    db.executemany("DELETE FROM rows WHERE id=?", [(id,) for id, _ in rows])
    bodies = [(body,) for _, body in rows]
    db.executemany("UPDATE bodies SET refs = refs - 1 WHERE id=?", bodies)
    db.executemany("DELETE FROM bodies WHERE id=? AND refs <= 0", bodies)


def give_back(db: sqlite3.Connection) -> bool:
    """Gives some of the pages that nothing uses back to the system; whether there are more."""
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    if free < FREE or free < pages // 10:
        return False
    # Not execute: it takes one step of a statement without columns, which is one page.
    db.executescript(f"PRAGMA incremental_vacuum({STEP})")
    return True
