"""When the file takes in the write-ahead log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from journals import kept, row, sixteen, store

from chatbroker.broker import sqlite_journal, write_ahead
from chatbroker.broker import tail as tail_module
from chatbroker.broker.database import CHECKPOINT, PAGE
from chatbroker.broker.journal import Commit, JournalError


@pytest.fixture
def copies(opened, path, tmp_path):
    """A journal whose write-ahead log is empty, and what tells how many times the file has taken
    one in since."""
    journal = opened()
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    found: list[bytes] = []

    def count() -> int:
        content = path.read_bytes()
        if found[-1:] != [content]:
            found.append(content)
        return len(found) - 1

    assert count() == 0
    return journal, count


def test_the_file_takes_in_a_long_log_between_two_turns(copies, monkeypatch):
    """So no commit has to, unless it writes very much."""
    monkeypatch.setattr(write_ahead, "LONG", 3000)
    monkeypatch.setattr(write_ahead, "COMMITS", 1)
    journal, count = copies
    for first in (1, 2):
        store(journal, row("echo", first, body=bytes(1000)))
        assert not journal.tidy(first)
    assert count() == 0
    store(journal, row("echo", 3, body=bytes(1000)))
    assert count() == 0
    assert journal.tidy(3)
    assert count() == 1
    assert not journal.tidy(4)
    store(journal, row("echo", 4, body=bytes(1000)))
    assert not journal.tidy(5)
    assert count() == 1


def test_of_large_commits_the_file_takes_in_several_at_once(copies, monkeypatch):
    """Else it would do so after each, when there is most to do."""
    monkeypatch.setattr(write_ahead, "LONG", 1000)
    monkeypatch.setattr(write_ahead, "COMMITS", 3)
    journal, count = copies
    counts = []
    for first in range(1, 10):
        store(journal, row("echo", first, body=bytes(20_000)))
        journal.tidy(first)
        counts.append(count())
    assert counts == [0, 0, 1, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize("size", [0, 100, 10_000, 1_000_000, 100_000_000])
def test_the_file_takes_in_the_log_before_sqlite_does(size):
    """What is reckoned is about what is written, or half of it."""
    with closing(sqlite3.connect(":memory:")) as db:
        ahead = write_ahead.WriteAheadLog(db, Path())
        ahead.committed(size)
        written = size
        while not ahead.long:
            ahead.wrote(1)
            written += PAGE
        assert written <= max(CHECKPOINT * PAGE // 2 + PAGE, size)
        assert written >= 300_000


def test_the_tables_take_in_what_comes_although_the_file_does_so_with_the_log(opened, monkeypatch):
    """Else all of the tail is taken in by a commit, when it is full twice over."""
    for module, name, value in (
        (tail_module, "MOST_ROWS", 200),
        (sqlite_journal, "A_PART", 60),
        (write_ahead, "LONG", 20 * PAGE),
        (write_ahead, "COMMITS", 1),
    ):
        monkeypatch.setattr(module, name, value)
    journal = opened()
    most = 0
    for turn in range(100):
        logs = [f"@log{(turn * 40 + n) % 500}" for n in range(40)]
        journal.commit(Commit(rows=[row(log, turn // 12 + 1, time=turn) for log in logs]))
        journal.tidy(turn)
        most = max(most, journal._tail.count)
    assert 200 < most < 2 * 200


def test_the_file_takes_in_the_log_between_two_parts_of_a_fold(copies, monkeypatch):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 31)
    monkeypatch.setattr(sqlite_journal, "A_PART", 4)
    monkeypatch.setattr(write_ahead, "LONG", 4 * PAGE)
    journal, count = copies
    stored = sixteen(journal)
    steps = []
    while journal.tidy(1):
        rows = journal._db.execute("SELECT count(*) FROM rows").fetchone()[0]
        steps.append((rows, count()))
    assert steps[:4] == [(4, 0), (4, 1), (8, 1), (8, 2)]
    assert steps[-1] == (32, 8)
    assert [kept(journal, log) for log in stored] == list(stored.values())


def test_the_file_takes_in_what_a_step_of_retention_wrote(copies, monkeypatch):
    monkeypatch.setattr(write_ahead, "LONG", 16 * PAGE)
    monkeypatch.setattr(write_ahead, "COMMITS", 1)
    journal, count = copies
    journal.commit(Commit(rows=[row("echo", first, body=b"one") for first in range(1, 401)]))
    journal._fold()
    before = count()
    journal.retain(None, 100)
    while journal.tidy(1):
        continue
    assert kept(journal, "echo")[0].first > 390
    assert count() == before + 1


def test_what_cannot_be_copied_is_told_and_nothing_is_lost(opened, monkeypatch):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 31)
    monkeypatch.setattr(write_ahead, "LONG", 100)
    monkeypatch.setattr(write_ahead, "COMMITS", 1)
    journal = opened()
    stored = sixteen(journal)

    def refuse_to_copy(action: int, *what: str | None) -> int:
        copies = action == sqlite3.SQLITE_PRAGMA and what[0] == "wal_checkpoint"
        return sqlite3.SQLITE_DENY if copies else sqlite3.SQLITE_OK

    journal._db.set_authorizer(refuse_to_copy)
    with pytest.raises(JournalError, match="permission denied"):
        journal.tidy(1)
    assert not journal._ahead.long  # It is tried again, but not in each turn.
    journal._db.set_authorizer(None)
    assert not journal._behind
    assert [kept(journal, log) for log in stored] == list(stored.values())
    store(journal, row("echo", 1))
    journal.tidy(2)
    journal = opened(crash=True)
    assert [kept(journal, log) for log in stored] == list(stored.values())
    assert [one.first for one in kept(journal, "echo")] == [1]
