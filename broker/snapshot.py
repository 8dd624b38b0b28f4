"""What a journal's file held at one moment: for those who look at it from outside.

The broker may be writing to it meanwhile.  What is not folded yet counts like the rest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .database import explain, open_to_read
from .stored import read_logs, read_people
from .tail import Tail, Turn, still_kept, unpack_turn


class Snapshot:
    """Logs, users and sessions, of which there are no more than a broker holds in memory.

    Raises ValueError for a record of a turn that is none.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.logs = read_logs(db)
        """By number, as the tables have them: without what is not folded."""
        self.turns: dict[int, Turn] = {}
        """Those of which something may not be folded, in order."""
        for number, data in db.execute("SELECT id, data FROM turns ORDER BY id"):
            self.turns[number] = still_kept(unpack_turn(data), self.logs)
        tail = Tail()
        for turn in self.turns.values():
            tail.add(turn)
        self.users, self.sessions = read_people(db)
        tail.overlay(self.users, self.sessions)

    def heads(self) -> dict[str, int]:
        """The position of the newest event of each log, by its key."""
        heads = {log.key: log.head for log in self.logs.values()}
        for id, _, first, events, _, _ in self.rows():
            if id in self.logs:
                heads[self.logs[id].key] = first + events - 1
        return heads

    def rows(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        """Log, prev, first, events, time, body of the rows that are not folded."""
        for turn in self.turns.values():
            for row in turn.rows:
                log = self.logs.get(row[0])
                if log is None or row[2] > log.head:
                    yield row


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The database at *path* within one transaction: all that is read is of one moment.

    Raises JournalError.
    """
    db = open_to_read(path)
    try:
        db.execute("BEGIN")
        yield db
    except (sqlite3.Error, ValueError) as error:
        raise explain(error, path) from None
    finally:
        db.close()
