"""How the tables take in the tail: in parts, lest everybody waits for all of it.

A part is the rows of some logs, all that there are by then, and the lines of these logs, which
tell up to where their rows are in the tables: whoever takes up the records of turns leaves out
those rows.  With the last part comes what else changed, and the records go.  Those of turns that
came meanwhile stay, and say nothing of users and sessions that is not so.
"""

from __future__ import annotations

import sqlite3

from .cutting import UPDATE_LOG
from .database import POSITIONS
from .journal import SessionRecord
from .retention import KeptLog, Retention
from .tail import Tail, insert_bodies

A_PART = 600
"""Rows in a part, at most, or those of one log.  Of so many it takes three milliseconds, as a busy
turn does, where 2000 take twelve; and it is a commit, with its fsync.  A conversation of two, one
message in each turn, is one part: so one message of 250 waits for it and not two."""


class Fold:
    """Has the tables take in *tail*, in parts of *a_part* rows: what it holds when each is written,
    and at least all of the turns before *turn*, whose records go with the last."""

    def __init__(self, tail: Tail, retention: Retention, turn: int, a_part: float) -> None:
        self._tail = tail
        self._retention = retention
        self.turn = turn
        self._turns, self._records = tail.turns, tail.records
        # In the order of their numbers, which is that of the table of rows; the last comes first.
        self._left = sorted(tail.rows, key=lambda log: log.id, reverse=True)
        self._a_part = a_part
        self._part: list[KeptLog] = []

    def write(self, db: sqlite3.Connection) -> None:
        """Writes the next part, within a transaction."""
        self._part = self._next_part()
        self._write_rows(db)
        if self._is_last:
            self._write_changes(db)

    def stored(self) -> bool:
        """The part is stored, and need not be kept in memory; whether it was the last."""
        is_last = self._is_last
        for log in [*self._part, *(self._going() if is_last else ())]:
            self._retention.changed.pop(log, None)
        self._tail.drop_rows(self._part)
        del self._left[len(self._left) - len(self._part) :]
        if is_last:
            self._tail.drop_changes(self._turns, self._records)
        return is_last

    @property
    def pages(self) -> int:
        """About how many were written for the part."""
        return 2 * len(self._part)

    @property
    def _is_last(self) -> bool:
        return len(self._part) == len(self._left)

    def _next_part(self) -> list[KeptLog]:
        part: list[KeptLog] = []
        room = self._a_part
        for log in reversed(self._left):
            room -= len(self._tail.rows[log])
            if part and room < 0:
                break
            part.append(log)
        return part

    def _going(self) -> list[KeptLog]:
        """Logs that changed and of which no rows came: those that are to go."""
        return [log for log in self._retention.changed if log not in self._tail.rows]

    def _write_rows(self, db: sqlite3.Connection) -> None:
        tail = self._tail
        rows = [
            (log.id << POSITIONS | row.first, row.prev, row.events, row.time, row.body)
            for log in self._part
            for row in tail.rows[log]
        ]
        # A body may be one log's of this part and another's of a later one.
        bodies = {row[-1]: tail.bodies[row[-1]] for row in rows if row[-1] in tail.bodies}
        insert_bodies(db, bodies.values())
        db.executemany("INSERT INTO rows VALUES(?, ?, ?, ?, ?)", rows)
        db.executemany(UPDATE_LOG, [log.values() for log in self._part])

    def _write_changes(self, db: sqlite3.Connection) -> None:
        many, tail = db.executemany, self._tail
        gone = [(name,) for name in tail.gone]
        over = [(id,) for id, session in tail.sessions.items() if session is None]
        many("DELETE FROM sessions WHERE user=?", gone)
        many("DELETE FROM sessions WHERE id=?", over)
        many("DELETE FROM users WHERE name=?", gone)
        many("INSERT OR REPLACE INTO users VALUES(?,?,?,?,?,?,?,?)", tail.users.values())
        sessions = [session for session in tail.sessions.values() if session is not None]
        # One by one: each may be 35 KB.
        lines = (_whole(db, session)[:-1] for session in sessions)
        many("INSERT OR REPLACE INTO sessions VALUES(?,?,?,?,?,?,?,?)", lines)
        many(UPDATE_LOG, [log.values() for log in self._going()])
        db.execute("DELETE FROM turns WHERE id<?", (self.turn,))


def _whole(db: sqlite3.Connection, session: SessionRecord) -> SessionRecord:
    """*session* with all of its outcomes, of which the tables have those that came before."""
    if session.whole:
        return session
    (before,) = db.execute("SELECT outcomes FROM sessions WHERE id=?", (session.id,)).fetchone()
    return session.over(session._replace(outcomes=before, whole=True))
