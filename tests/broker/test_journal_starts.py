"""A start on a journal that fails: it is told in words, and takes nothing with it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from journals import EPOCH, kept, row, session, store, user

from chatbroker.broker import tail as tail_module
from chatbroker.broker.journal import Commit, JournalError
from chatbroker.broker.sqlite_journal import SqliteJournal


@pytest.mark.parametrize("table", ["logs", "bodies"])
def test_a_turn_without_what_it_refers_to_is_told_in_words(opened, path, table):
    journal = opened()
    store(journal, row("echo", 1, body=bytes(tail_module.SMALL + 1)))
    journal._db.execute(f"DELETE FROM {table}")
    journal._db.close()
    refused_as_damaged(path)


def test_a_session_without_its_user_is_told_in_words(opened, path):
    journal = opened()
    journal.commit(Commit(sessions=[session(1, "nobody")]))
    journal._db.close()
    refused_as_damaged(path)


def refused_as_damaged(path: Path) -> None:
    """Each time that it is opened, and it stays as it is."""
    before = contents(path)
    for _ in range(2):
        journal = SqliteJournal(path)
        with pytest.raises(JournalError, match=r"cannot use .*'chatbroker check' tells more"):
            journal.load(EPOCH)
        journal.close()
        assert contents(path) == before


def contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_start_that_a_damaged_record_ends_takes_nothing_with_it(opened, path, number):
    """Of the records before it some were taken up by then."""
    stored = [row("echo", n, body=bytes([n]) * 9) for n in (1, 2, 3)]
    journal = opened()
    for one in stored:
        store(journal, one)
    change = "UPDATE turns SET data=? WHERE id=?"
    (whole,) = journal._db.execute("SELECT data FROM turns WHERE id=?", (number,)).fetchone()
    journal._db.execute(change, (b"\xc1", number))
    journal._db.close()
    refused_as_damaged(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(change, (whole, number))
    assert kept(opened(crash=True), "echo") == stored


@pytest.mark.parametrize("table", ["logs", "turns", "bodies", "users", "sessions", "meta"])
def test_a_start_that_cannot_read_takes_nothing_with_it(opened, path, table):
    stored = [row("echo", n, body=bytes([n]) * (tail_module.SMALL + 1)) for n in (1, 2, 3)]
    journal = opened()
    for one in stored:
        journal.commit(Commit(users=[user("alice")], rows=[one]))
    journal._db.close()
    before = contents(path)
    journal = SqliteJournal(path)
    left = 2 if table == "bodies" else 0

    def refuse(action: int, what: str | None, *_: object) -> int:
        nonlocal left
        if action != sqlite3.SQLITE_READ or what != table:
            return sqlite3.SQLITE_OK
        left -= 1
        return sqlite3.SQLITE_OK if left >= 0 else sqlite3.SQLITE_DENY

    journal._db.set_authorizer(refuse)
    with pytest.raises(JournalError):
        journal.load(EPOCH)
    journal._db.set_authorizer(None)
    journal.close()
    assert contents(path) == before
    assert kept(opened(crash=True), "echo") == stored


def test_a_start_that_ends_before_anything_is_read_leaves_what_it_found(path):
    """Of commits that a power cut may have undone, the next one has to know."""
    journal = SqliteJournal(path, "normal")
    journal.load(EPOCH)
    store(journal, row("echo", 1))
    journal._note(boot=b"another")
    journal._db.close()
    SqliteJournal(path, "normal").close()
    journal = SqliteJournal(path, "normal")
    assert journal.load(b"epoch-02").epoch == b"epoch-02"
    journal.close()
