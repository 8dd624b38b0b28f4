"""What those see who look at a journal's file from outside."""

from __future__ import annotations

import pytest
from journals import EPOCH, row, store, take, user

from chatbroker.broker.claimed import claims
from chatbroker.broker.database import FILE
from chatbroker.broker.journal import Commit, JournalError
from chatbroker.broker.snapshot import Snapshot, reading
from chatbroker.broker.sqlite_journal import SqliteJournal


@pytest.fixture
def path(tmp_path):
    return tmp_path / FILE


@pytest.fixture
def journal(path):
    journal = SqliteJournal(path)
    journal.load(EPOCH)
    yield journal
    journal.close()


@pytest.mark.parametrize("fold", [False, True])
def test_all_that_is_read_is_of_one_moment(journal, path, fold):
    store(journal, row("echo", 1))
    with reading(path) as db:
        before = Snapshot(db)
        take(journal, Commit(users=[user("alice")], rows=[row("echo", 2)]))
        if fold:
            journal._fold()
        after = Snapshot(db)
        assert after.heads() == before.heads() == {"echo": 1}
        assert not after.users
    with reading(path) as db:
        assert Snapshot(db).heads() == {"echo": 2}
        assert list(Snapshot(db).users) == ["alice"]


@pytest.mark.parametrize("damage", ["UPDATE users SET epoch=x'00'", "DROP TABLE sessions"])
def test_of_what_cannot_be_read_it_is_told_why_in_one_line(journal, path, damage):
    take(journal, Commit(users=[user("alice")]))
    journal._fold()
    journal._db.execute(damage)
    with pytest.raises(JournalError, match=f"cannot use {path}: "):
        claims(path)
