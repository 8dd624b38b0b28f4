"""The child of test_crash_points.py, and what both of them know.

``python crash_points.py FOLDER SCENARIO POINT…`` prepares the file of the scenario once for each
point, in FOLDER/POINT, and dies in the middle of it: at the POINT-th step of SQLite's machine.
Point 0 does not die and prints how many steps there are.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from chatbroker.broker import cleaning, cutting, sqlite_journal, tail
from chatbroker.broker.database import FILE
from chatbroker.broker.journal import Commit, Kept, SessionRecord, UserRecord
from chatbroker.broker.log import Row
from chatbroker.broker.retention import Retention
from chatbroker.broker.runs import pack
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.batch import pack_events
from chatbroker.wire.messages import Event

EPOCH = b"epoch-01"
PLENTY = 1 << 40
BEFORE = 6
"""Commits that are there before the scenario begins."""


class Model:
    """What is stored after some commits."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}
        self.users: dict[str, UserRecord] = {}
        self.sessions: dict[bytes, SessionRecord] = {}

    def apply(self, commit: Commit) -> None:
        for id in commit.ended:
            self.sessions.pop(id, None)
        for name in commit.gone:
            del self.users[name]
            self.sessions = {i: s for i, s in self.sessions.items() if s.user != name}
        for key in commit.dropped:
            self.rows.pop(key, None)
        self.users.update({user.name: user for user in commit.users})
        for session in commit.sessions:
            self.sessions[session.id] = session.over(self.sessions.get(session.id))
        for row in commit.rows:
            self.rows.setdefault(row.log, []).append(row)

    def matches(self, journal: SqliteJournal, kept: Kept, ends: bool = False) -> bool:
        """Whether *journal* holds this and nothing else; *ends*: or of each log the newest."""
        return (
            {user.name: user for user in kept.users} == self.users
            and {session.id: session for session in kept.sessions} == self.sessions
            and dict(kept.heads) == {key: rows[-1].last for key, rows in self.rows.items()}
            and all(self._has(journal, key, ends) for key in self.rows)
        )

    def _has(self, journal: SqliteJournal, key: str, ends: bool) -> bool:
        lost, _, rows = journal.fetch(key, 0, PLENTY)
        there = [row for row in self.rows[key] if row.last > lost]
        return list(rows) == there and (ends or there == self.rows[key])


def turns() -> Iterator[Commit]:
    """Commits that touch everything a commit can, always the same ones, without end."""
    chance = random.Random(1)
    heads: dict[str, int] = {}
    lives = [0, 0, 0]
    whose: dict[bytes, str] = {}
    """Of each session that is stored."""

    def row(log: str, time: int, *texts: str) -> Row:
        prev = heads.get(log, 0)
        heads[log] = prev + len(texts)
        body = b"".join([pack_events([Event(time, "bob", "", text)]) for text in texts])
        return Row(log, prev, prev + 1, len(texts), time, body)

    time = 0
    while True:
        time += 1
        who = time % 3
        gone, dropped = [], []
        if time > 3 and time % 4 == 0:
            gone, dropped = [f"u{who}"], [f"@u{who}:{lives[who]}"]
            lives[who] += 1
        boxes = [f"@u{who}:{lives[who]}", f"@u{who}:{lives[who]}:sent"]
        name = f"u{who}"
        user = UserRecord(name, b"p" * 32, b"mail-001", boxes[0], True, 0, 1, time)
        id = (time % 5).to_bytes(16, "big")
        ended = [(chance.randrange(5)).to_bytes(16, "big")] if time % 3 == 0 else []
        whose = {i: user for i, user in whose.items() if i not in ended and user not in gone}
        # Of some that are stored what came since.
        whole = id not in whose or time % 2 == 0
        whose[id] = name
        outcomes = pack([(time, time, 1)] * (time % 3 > 0))
        session = SessionRecord(id, name, 1, time, outcomes, True, True, True, whole)
        text = "x" * chance.choice([1, 50, 3000, 9000])
        rows = [row("echo", time, text, "more"), *[row(box, time, text) for box in boxes]]
        yield Commit(ended, gone, dropped, [user], [session], rows)


class Steps:
    """Counts steps while armed; dies at one of them."""

    def __init__(self, die_at: int) -> None:
        self.count = 0
        self.armed = False
        self._die_at = die_at

    def __call__(self) -> int:
        if self.armed:
            self.count += 1
            if self.count == self._die_at:
                os._exit(9)
        return 0


def watched(steps: Steps) -> type[sqlite3.Connection]:
    class Connection(sqlite3.Connection):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)
            self.set_progress_handler(steps, 1)

    return Connection


Note = Callable[[int], None]
Scenario = Callable[[Path, Steps, Note], None]


def opened(path: Path, **bounds: int) -> SqliteJournal:
    journal = SqliteJournal(path, **bounds)
    journal.load(EPOCH)
    return journal


def filled(path: Path, note: Note, **bounds: int) -> tuple[SqliteJournal, Iterator[Commit]]:
    journal, commits = opened(path, **bounds), turns()
    for number in range(BEFORE):
        journal.commit(next(commits))
        note(number + 1)
    return journal, commits


def first(path: Path, steps: Steps, note: Note) -> None:
    steps.armed = True
    opened(path)


def commit(path: Path, steps: Steps, note: Note) -> None:
    journal, commits = filled(path, note)
    steps.armed = True
    for number in range(BEFORE, BEFORE + 3):
        journal.commit(next(commits))
        note(number + 1)


def fold(path: Path, steps: Steps, note: Note) -> None:
    journal, _ = filled(path, note)
    steps.armed = True
    journal._fold()


def parts(path: Path, steps: Steps, note: Note) -> None:
    """A fold that is taken in parts, with commits between them."""
    journal, commits = filled(path, note)
    tail.MOST_ROWS, sqlite_journal.A_PART = 1, 2
    steps.armed = True
    for number in range(BEFORE, BEFORE + 3):
        journal._fold_some()
        journal._fold_some()
        journal.commit(next(commits))
        note(number + 1)
    while journal._fold_some():
        continue


def tidy(path: Path, steps: Steps, note: Note) -> None:
    # Dropped logs, then what is too old.
    journal, _ = filled(path, note, keep=BEFORE // 2)
    steps.armed = True
    while journal.tidy(BEFORE):
        continue


def cut(path: Path, steps: Steps, note: Note) -> None:
    """Retention in small steps, with parts of folds and commits between them."""
    journal, commits = filled(path, note, keep_bytes=20_000)
    tail.MOST_ROWS, sqlite_journal.A_PART = 1, 2
    Retention.STEP, cutting.OF_A_LOG = 2, 1
    cleaning.MOST_LOOSE = cleaning.MOST_LEFT = 2
    steps.armed = True
    for number in range(BEFORE, BEFORE + 3):
        for _ in range(4):
            journal.tidy(number)
        journal.commit(next(commits))
        note(number + 1)
    while journal.tidy(BEFORE + 3):
        continue


def checkpoint(path: Path, steps: Steps, note: Note) -> None:
    journal, _ = filled(path, note)
    steps.armed = True
    journal._db.execute("PRAGMA wal_checkpoint(RESTART)")


def close(path: Path, steps: Steps, note: Note) -> None:
    journal, _ = filled(path, note)
    steps.armed = True
    journal.close()


def load(path: Path, steps: Steps, note: Note) -> None:
    journal, _ = filled(path, note)
    journal._db.close()
    steps.armed = True
    opened(path)


SCENARIOS: dict[str, Scenario] = {
    "first": first,
    "commit": commit,
    "fold": fold,
    "parts": parts,
    "tidy": tidy,
    "cut": cut,
    "checkpoint": checkpoint,
    "close": close,
    "load": load,
}


def main(folder: Path, scenario: str, points: list[int]) -> None:
    for point in points:
        place = folder / str(point)
        place.mkdir()
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) in (0, 9), status
            continue
        steps = Steps(point)
        sqlite3.connect = partial(sqlite3.connect, factory=watched(steps))
        with (place / "done").open("w", buffering=1) as done:
            SCENARIOS[scenario](place / FILE, steps, lambda n: print(n, file=done))
        if not point:
            print(steps.count, flush=True)
        os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [int(point) for point in sys.argv[3:]])
