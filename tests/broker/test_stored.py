"""What a file says of users, sessions and logs is taken up if it can be so, and else told."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from journals import EPOCH, row, session, take, user

from chatbroker.broker.check import check_journal
from chatbroker.broker.journal import Commit, JournalError
from chatbroker.broker.runs import KINDS, pack
from chatbroker.broker.session import WORDS
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.broker.stored import MAX_NUMBER, session_record

DAMAGE = [
    "UPDATE users SET name='Alice'",
    "UPDATE users SET name='a' || char(27)",
    "UPDATE users SET epoch=x'00'",
    "UPDATE users SET proof='text'",
    "UPDATE users SET read=-1",
    f"UPDATE users SET seen={MAX_NUMBER + 1}",
    "UPDATE sessions SET outcomes=x'0102030405'",
    "UPDATE sessions SET outcomes=substr(outcomes, 2)",
    "UPDATE sessions SET outcomes=outcomes || outcomes",
    "UPDATE sessions SET cseq=4",
    "UPDATE sessions SET cseq='many'",
    "UPDATE sessions SET born=-1",
    "UPDATE sessions SET user='bob'",
    "UPDATE logs SET head=-1",
    "UPDATE logs SET lost=head + 1",
    "UPDATE logs SET size=x'00'",
    "UPDATE logs SET newest=-1",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_cannot_be_so_is_told_and_nothing_is_changed(path, damage):
    journal = SqliteJournal(path)
    journal.load(EPOCH)
    turn = Commit(users=[user("alice")], sessions=[session(1, "alice")], rows=[row("echo", 1)])
    take(journal, turn)
    journal.close()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(damage)
    before = path.read_bytes()
    assert check_journal(path).count > 0
    journal = SqliteJournal(path)
    with pytest.raises(JournalError, match="'chatbroker check' tells more"):
        journal.load(EPOCH)
    journal.close()
    assert path.read_bytes() == before


def test_a_session_that_is_damaged_under_a_broker_is_told_when_it_is_folded(opened):
    """And what came since stays in its records."""
    journal = opened()
    take(journal, Commit(users=[user("alice")], sessions=[session(1, "alice")]))
    journal._fold()
    news = session(1, "alice", cseq=6, outcomes=pack([(6, 6, 1)]), whole=False)
    take(journal, Commit(sessions=[news]))
    for damage in ("UPDATE sessions SET outcomes=x'00'", "DELETE FROM sessions"):
        journal._db.execute(damage)
        with pytest.raises(JournalError, match="'chatbroker check' tells more"):
            journal._fold()
        assert journal._db.execute("SELECT count(*) FROM turns").fetchone() == (1,)


@pytest.mark.parametrize("size", [0, 1, 7, 10])
def test_a_session_of_more_or_fewer_fields_than_there_are_is_damage(size):
    """In the record of a turn, that is: a table has its columns."""
    fields = (*session(1, "alice"), "more")
    assert session_record(fields[:8]) == session_record(fields[:9]) == session(1, "alice")
    with pytest.raises(ValueError, match=r"shorter|longer"):
        session_record(fields[:size])


def test_there_are_as_many_kinds_of_outcomes_as_words_and_one_more():
    assert len(WORDS) + 1 == KINDS
