"""How the tables take in the tail: in parts, lest everybody waits for all of it.

A part is the rows of some logs, all that there are by then, and the lines of these logs, which
tell up to where their rows are in the tables: whoever takes up the records of turns leaves out
those rows.  After them come the users who changed, and the sessions, in parts too; what records say
of these may be said again, and gives the same.  With the last part the records go.  Those of turns
that came meanwhile stay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from .cutting import UPDATE_LOG
from .database import PAGE, POSITIONS
from .journal import SessionRecord
from .retention import KeptLog, Retention
from .stored import session_record
from .tail import Tail, insert_bodies

A_PART = 600
"""Rows in a part, at most, or those of one log.  Of so many it takes three milliseconds, as a busy
turn does, where 2000 take twelve; and it is a commit, with its fsync.  A conversation of two, one
message in each turn, is one part: so one message of 250 waits for it and not two."""

A_ROW = 500
"""Bytes of a session's outcomes that cost what a row does; there may be 35 KB."""


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
        self._sessions = list(tail.sessions)
        """The ids of those that are to be written; the last comes first."""
        self._a_part = a_part
        self._part: list[KeptLog] = []
        self._ids: list[bytes] = []
        """Of the sessions of the part."""
        self.pages = 0
        """About how many were written for the part."""

    def write(self, db: sqlite3.Connection) -> None:
        """Writes the next part, within a transaction.  Raises ValueError, sqlite3.Error."""
        self._part = self._next_part()
        self._ids = []
        self.pages = 2 * len(self._part)
        self._write_rows(db)
        if self._rows_end:
            self._write_changes(db)
        if self._is_last:
            db.executemany(UPDATE_LOG, [log.values() for log in self._going()])
            db.execute("DELETE FROM turns WHERE id<?", (self.turn,))

    def stored(self) -> bool:
        """The part is stored, and need not be kept in memory; whether it was the last."""
        rows_end, is_last = self._rows_end, self._is_last
        for log in [*self._part, *(self._going() if is_last else ())]:
            self._retention.changed.pop(log, None)
        self._tail.drop_rows(self._part)
        del self._left[len(self._left) - len(self._part) :]
        if rows_end:
            self._tail.drop_changes(self._ids)
            del self._sessions[len(self._sessions) - len(self._ids) :]
        if is_last:
            self._tail.drop_turns(self._turns, self._records)
        return is_last

    @property
    def _rows_end(self) -> bool:
        """Whether no rows are left after the part."""
        return len(self._part) == len(self._left)

    @property
    def _is_last(self) -> bool:
        return self._rows_end and len(self._ids) == len(self._sessions)

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
        # With each part of the sessions, as they are to be those of the users that there are.
        gone = [(name,) for name in tail.gone]
        many("DELETE FROM sessions WHERE user=?", gone)
        many("DELETE FROM users WHERE name=?", gone)
        many("INSERT OR REPLACE INTO users VALUES(?,?,?,?,?,?,?,?)", tail.users.values())
        # One by one: each may be 35 KB.
        many("INSERT OR REPLACE INTO sessions VALUES(?,?,?,?,?,?,?,?)", self._next_sessions(db))
        over = [(id,) for id in self._ids if tail.sessions[id] is None]
        many("DELETE FROM sessions WHERE id=?", over)

    def _next_sessions(self, db: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
        """The lines of those of the part that are not over, as the tables are to have them."""
        room = self._a_part - sum([len(self._tail.rows[log]) for log in self._part])
        for id in reversed(self._sessions):
            if self._ids and room <= 0:
                return
            session = self._tail.sessions[id]
            self._ids.append(id)
            room -= 1
            if session is not None:
                session = _whole(db, session)
                room -= len(session.outcomes) // A_ROW
                self.pages += 1 + len(session.outcomes) // PAGE
                yield session[:-1]


def _whole(db: sqlite3.Connection, session: SessionRecord) -> SessionRecord:
    """*session* with all of its outcomes, of which the tables have those that came before.

    Raises ValueError if they have not."""
    if session.whole:
        return session
    before = db.execute("SELECT * FROM sessions WHERE id=?", (session.id,)).fetchone()
    if before is None:
        raise ValueError("a session is missing")
    return session.over(session_record(before))
