"""When the file of a journal takes in SQLite's write-ahead log: between two turns, a little at a
time.  If that is left to SQLite it is much at a time, within a commit, for which others wait.

How much there is to take in SQLite does not tell before it does so.  So it is reckoned.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .database import CHECKPOINT, PAGE, explain

LONG, COMMITS = 400_000, 5
"""Bytes, or what so many commits bring that are as large as the last one.  The first takes four
milliseconds, and the second about as long as a turn that brings so much."""

MOST = CHECKPOINT * PAGE // 2
"""Not more than that, lest SQLite comes first."""


class WriteAheadLog:
    """That of *db*, the journal at *path*."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._written = 0
        """Bytes that it has and the file does not.  A page that was written twice is one."""
        self._bearable = LONG

    def committed(self, size: int) -> None:
        """What was said in a turn was stored in so many bytes."""
        self._written += size
        self._bearable = max(LONG, min(COMMITS * size, MOST))

    def wrote(self, pages: int) -> None:
        """So many were written otherwise, about."""
        self._written += pages * PAGE

    @property
    def long(self) -> bool:
        """Whether it is time to take it in."""
        return self._written >= self._bearable

    def take_in(self) -> None:
        """Has the file do so.  Raises CannotStore, JournalError."""
        self._written = 0  # Also if that fails: then it is tried again later, and not at once.
        try:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise explain(error, self._path) from None
