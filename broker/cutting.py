"""What retention does to the tables: the oldest rows of a log go, then their bodies, and the pages
after them.

Rows go log by log, as they lie; bodies in the order of commits, as they lie: what neighbours said
in the same turns is in the same pages.  In between they are loose: the table of that name tells how
many rows still have a body, whatever it says itself.

All this works within the journal's transaction; of the journal's memory it knows nothing, as what
it did may not be stored in the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

from .database import POSITIONS
from .retention import KeptLog, Task, work
from .tail import TailRow

ROW_COST = 64
"""Bytes that a row is reckoned to take beside its body."""

UPDATE_LOG = "UPDATE logs SET head=?, lost=?, size=?, oldest=?, newest=?, dropped=? WHERE id=?"
"""By `KeptLog.values`."""

OF_A_LOG = 64
"""Small rows of one log at a time, in a step that is about several: these go on side by side, so
that what is loose is all that was said in some turns."""

FREE = 256
"""Pages that nothing uses and that are left in the file, or a tenth of it: they will be used."""

STEP = 16
"""Pages that are given back at a time, in some 2 ms; of 11,000 that takes 2 s in all, and one by
one took 26 s."""


class Cut(NamedTuple):
    """What a step of retention takes of one log."""

    log: KeptLog
    rows: list[tuple[int, int, int]]
    """Of those that go: id, body, and how many rows have that if none is gone."""
    work: int
    lost: int
    size: int
    """Of what stays, as `KeptLog` has it: with what is in no table yet."""
    oldest: int
    done: bool
    """Whether no more of it is to go."""
    waits: bool
    """Whether more is to go that is in no table yet."""

    @property
    def ends(self) -> bool:
        """Whether the log goes too."""
        return self.done and bool(self.log.dropped)


def cut_oldest(
    db: sqlite3.Connection,
    tasks: Sequence[Task],
    room: int,
    over: int,
    tail: dict[KeptLog, list[TailRow]],
) -> list[Cut]:
    """Deletes the oldest rows of some logs, as *tasks* tell, as much `work` as there is *room* for
    in all; their bodies are loose then.

    *over*: by how many bytes all logs are too large.  *tail*: the rows that are in no table yet;
    lines of logs tell what the tables hold, and change by what goes."""
    cuts: list[Cut] = []
    for number, task in enumerate(tasks, 1):
        share = room if number == len(tasks) else min(room, OF_A_LOG)
        cut = _look(db, task, share, over, tail.get(task.log, ()))
        cuts.append(cut)
        over -= 0 if task.log.dropped else task.log.size - cut.size
        # A log of which nothing goes is work too.
        room -= max(cut.work, 1)
        if room <= 0:
            break
    rows = [row for cut in cuts for row in cut.rows]
    db.executemany("DELETE FROM rows WHERE id=?", [(id,) for id, _, _ in rows])
    db.executemany(_LOOSEN, sorted([(body, refs - 1) for _, body, refs in rows]))
    shorter = [cut for cut in cuts if cut.rows and not cut.ends]
    lines = [(cut.lost, cut.log.size - cut.size, cut.oldest, cut.log.id) for cut in shorter]
    db.executemany("UPDATE logs SET lost=?, size=size-?, oldest=? WHERE id=?", lines)
    db.executemany("DELETE FROM logs WHERE id=?", [(cut.log.id,) for cut in cuts if cut.ends])
    return cuts


def _look(db: sqlite3.Connection, task: Task, room: int, over: int, tail: Sequence[TailRow]) -> Cut:
    """What is to go of a log, as much as there is *room* for."""
    log, before, above = task
    base = log.id << POSITIONS
    rows = db.execute(
        "SELECT rows.id, events, time, body, refs, length(data) FROM rows JOIN bodies ON "
        "bodies.id = rows.body WHERE rows.id BETWEEN ? AND ? ORDER BY rows.id",
        (base, base | (1 << POSITIONS) - 1),
    )
    going: list[tuple[int, int, int]] = []
    left, lost, done = log.size, log.lost, 0
    enough = max(above, log.size - over)
    # Closed, lest it hold its place in the table while rows go.
    with closing(rows):
        for id, events, when, body, refs, size in rows:
            full = done >= room
            if full or not (when < before or left > enough):
                return Cut(log, going, done, lost, left, when, not full, False)
            going.append((id, body, refs))
            left -= ROW_COST + size
            done += work(ROW_COST + size)
            lost = id - base + events - 1
    # The tables have no more of it.
    oldest = tail[0].time if tail else log.newest
    waits = bool(tail) and (oldest < before or left > enough)
    return Cut(log, going, done, lost, left, oldest, not waits, waits)


_LOOSEN = "INSERT INTO loose VALUES(?, ?) ON CONFLICT DO UPDATE SET left = left - 1"


def collect(db: sqlite3.Connection, room: int, all: bool = False) -> bool:
    """Deletes the first of the bodies that no row has, as much `work` as there is *room* for;
    whether there are more.

    *all*: then those that some row has are loose no more, and say themselves how many.  Else they
    wait until no row has them: SQLite writes a body anew to change its number."""
    more, room = _collect(db, room, "WHERE left = 0")
    if all and not more:
        more, _ = _collect(db, room, "")
    return more


def _collect(db: sqlite3.Connection, room: int, which: str) -> tuple[bool, int]:
    """Whether there are more, and the room that is left."""
    bodies: list[tuple[int, int]] = []
    loose = db.execute(
        f"SELECT body, left, length(data) FROM loose JOIN bodies ON id = body {which} ORDER BY body"
    )
    more = False
    with closing(loose):
        for id, left, size in loose:
            more = room <= 0
            if more:
                break
            bodies.append((id, left))
            room -= work(size)
    ids = [(id,) for id, _ in bodies]
    db.executemany("DELETE FROM bodies WHERE id=?", [(id,) for id, left in bodies if not left])
    fewer = [(left, id) for id, left in bodies if left]
    db.executemany("UPDATE bodies SET refs=? WHERE id=?", fewer)
    db.executemany("DELETE FROM loose WHERE body=?", ids)
    return more, room


def loose(db: sqlite3.Connection) -> int:
    """How many bodies are."""
    count: int = db.execute("SELECT count(*) FROM loose").fetchone()[0]
    return count


def check_loose(db: sqlite3.Connection) -> None:
    """Raises ValueError for what cannot be loose."""
    wrong = db.execute(
        "SELECT 1 FROM loose LEFT JOIN bodies ON id = body "
        "WHERE refs IS NULL OR left NOT BETWEEN 0 AND refs - 1"
    ).fetchone()
    if wrong is not None:
        raise ValueError("it is damaged")


def give_back(db: sqlite3.Connection) -> bool:
    """Gives some of the pages that nothing uses back to the system; whether there are more."""
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    if free < FREE or free < pages // 10:
        return False
    # Not execute: it takes one step of a statement without columns, which is one page.
    db.executescript(f"PRAGMA incremental_vacuum({STEP})")
    return True
