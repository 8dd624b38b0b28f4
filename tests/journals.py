"""What the tests of the journal on disk put into it, and how they look at it; and a journal that
cannot store."""

from __future__ import annotations

import os
import sqlite3

from chatbroker.broker.journal import CannotStore, Commit, Journal, SessionRecord, UserRecord
from chatbroker.broker.log import Row
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.runs import pack
from chatbroker.broker.sqlite_journal import SqliteJournal

PLENTY = 1 << 40
EPOCH = b"epoch-01"


class FullJournal(MemoryJournal):
    """One that cannot store while it is *full*."""

    full = False

    def commit(self, commit: Commit) -> None:
        if self.full:
            raise CannotStore("this disk is full")
        super().commit(commit)


def row(log: str, first: int, events: int = 1, time: int = 0, body: bytes = b"event") -> Row:
    return Row(log, first - 1, first, events, time, body)


def rows(log: str, count: int, events: int = 1, body: bytes = b"event") -> list[Row]:
    """*count* rows from position 1 on; the n-th is of time n."""
    return [row(log, 1 + events * n, events, n + 1, body) for n in range(count)]


def take(journal: Journal, commit: Commit) -> None:
    """Has it store *commit*, and note that."""
    journal.commit(commit)
    journal.settle()


def store(journal: SqliteJournal, *stored: Row) -> None:
    take(journal, Commit(rows=stored))


def kept(journal: SqliteJournal, log: str) -> list[Row]:
    return list(journal.fetch(log, 0, PLENTY).rows)


def user(name: str, **fields: object) -> UserRecord:
    record = UserRecord(name, b"p" * 32, b"mail-001", f"@{name}:1", True, 0, 1, 2)
    return record._replace(**fields)


def session(id: int, name: str, **fields: object) -> SessionRecord:
    outcomes = pack([(1, 2, 1), (4, 5, 0)])
    record = SessionRecord(id.to_bytes(16, "big"), name, 1, 5, outcomes, True, True, True)
    return record._replace(**fields)


def table_of_bodies(journal: SqliteJournal) -> list[tuple[int, int]]:
    """Id and number of rows of each body that the table has."""
    found: list[tuple[int, int]] = journal._db.execute("SELECT id, refs FROM bodies").fetchall()
    return found


def refuse_to_commit(action: int, *what: str | None) -> int:
    """An authorizer.  A full disk is noticed when the transaction ends, as SQLite writes then."""
    ends = action == sqlite3.SQLITE_TRANSACTION and what[0] == "COMMIT"
    return sqlite3.SQLITE_DENY if ends else sqlite3.SQLITE_OK


def refuse_to_fold(action: int, *what: str | None) -> int:
    """An authorizer: the tables take in no rows."""
    folds = action == sqlite3.SQLITE_INSERT and what[0] == "rows"
    return sqlite3.SQLITE_DENY if folds else sqlite3.SQLITE_OK


def sixteen(journal: SqliteJournal) -> dict[str, list[Row]]:
    """What is stored of sixteen logs, in a tail that it is time to fold."""
    stored: dict[str, list[Row]] = {f"@log{n:02}": [] for n in range(16)}
    for first in (1, 2):
        body = os.urandom(20)
        turn = [row(log, first, time=first, body=body) for log in stored]
        take(journal, Commit(users=[user("alice", read=first)], rows=turn))
        for log, one in zip(stored, turn, strict=True):
            stored[log].append(one)
    return stored
