"""How the tables take in the tail: in parts, whatever comes or fails between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest
from journals import (
    EPOCH,
    kept,
    refuse_to_commit,
    refuse_to_fold,
    row,
    rows,
    session,
    sixteen,
    store,
    table_of_bodies,
    take,
    user,
)

from chatbroker.broker import sqlite_journal
from chatbroker.broker import tail as tail_module
from chatbroker.broker.folding import A_ROW
from chatbroker.broker.journal import Commit, JournalError, SessionRecord, UserRecord
from chatbroker.broker.runs import pack
from chatbroker.broker.sqlite_journal import SqliteJournal


def in_parts(journal: SqliteJournal) -> Iterator[int]:
    """Folds in parts; how many rows the table has after each."""
    while journal._fold_some():
        yield journal._db.execute("SELECT count(*) FROM rows").fetchone()[0]


@pytest.mark.parametrize(
    ("a_part", "counts"),
    [(4, [4, 8, 12, 16, 20, 24, 28, 32]), (6, [6, 12, 18, 24, 30, 32]), (17, [16, 32])],
)
def test_a_fold_is_taken_in_parts(opened, monkeypatch, a_part, counts):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 31)
    monkeypatch.setattr(sqlite_journal, "A_PART", a_part)
    journal = opened()
    assert list(in_parts(journal)) == []
    stored = sixteen(journal)
    assert list(in_parts(journal)) == counts
    assert [kept(journal, log) for log in stored] == list(stored.values())
    assert journal._db.execute("SELECT count(*) FROM turns").fetchone() == (0,)
    assert list(in_parts(journal)) == []


def test_what_comes_during_a_fold_goes_on_after_it(opened, monkeypatch):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 31)
    monkeypatch.setattr(sqlite_journal, "A_PART", 4)
    journal = opened()
    stored = sixteen(journal)
    before = 0
    for first, count in enumerate(in_parts(journal), 3):
        assert count > before
        before = count
        both = [row(log, first, time=first, body=b"new") for log in ("@log00", "@log15")]
        journal.commit(Commit(users=[user("alice", read=first)], rows=both))
        for one in both:
            stored[one.log].append(one)
        assert [kept(journal, log) for log in stored] == list(stored.values())
    # What the last of them said is in its table up to the last part.
    assert count == 32 + 8
    assert journal._tail.count == 8 + 2
    assert journal._tail.turns == 9
    journal = opened(crash=True)
    assert list(journal.kept.users) == [user("alice", read=11)]
    assert [kept(journal, log) for log in stored] == list(stored.values())


@pytest.mark.parametrize("parts", range(1, 9))
def test_what_was_folded_in_part_is_taken_up_once(opened, monkeypatch, parts):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 1)
    monkeypatch.setattr(sqlite_journal, "A_PART", 2)
    journal = opened()
    stored = {}
    for n in range(8):
        both = [f"@{n}", f"@{15 - n}"]
        body = os.urandom(20)
        stored.update((log, [row(log, 1, body=body)]) for log in both)
        store(journal, *[stored[log][0] for log in both])
    for _ in range(parts):
        journal._fold_some()
    size = journal.size
    journal = opened(crash=True)
    assert journal.size == size
    assert {log: kept(journal, log) for log in stored} == stored
    assert table_of_bodies(journal) == [(n, 2) for n in range(1, 9)]


def test_a_part_that_fails_is_folded_with_all_before_the_next_commit(opened, monkeypatch):
    """It is not tried again and again; and who cannot commit either is told of it."""
    monkeypatch.setattr(tail_module, "MOST_ROWS", 1)
    monkeypatch.setattr(sqlite_journal, "A_PART", 2)
    journal = opened()
    stored = [row(f"@{n}", 1) for n in range(16)]
    store(journal, *stored)
    assert journal._fold_some()
    journal._db.set_authorizer(refuse_to_commit)
    with pytest.raises(JournalError):
        journal.tidy(1)
    assert not journal.tidy(2)
    with pytest.raises(JournalError):
        store(journal, row("echo", 1))
    assert [kept(journal, one.log) for one in stored] == [[one] for one in stored]
    journal._db.set_authorizer(None)
    store(journal, row("echo", 1))
    assert journal._db.execute("SELECT count(*) FROM rows").fetchone() == (16,)
    assert [kept(journal, one.log) for one in stored] == [[one] for one in stored]
    store(journal, row("echo", 2))
    while journal.tidy(3):
        continue
    assert journal._db.execute("SELECT count(*) FROM rows").fetchone() == (18,)


def test_logs_with_many_rows_are_in_parts_of_their_own(opened, monkeypatch):
    """Who says one thing in each turn has as many rows as turns, and who is beside them few."""
    monkeypatch.setattr(tail_module, "MOST_ROWS", 1)
    monkeypatch.setattr(sqlite_journal, "A_PART", 10)
    journal = opened()
    logs = {"@0": 3, "@1": 9, "@2": 8, "@3": 2, "@4": 1, "@5": 12, "@6": 1}
    store(journal, *[one for log, count in logs.items() for one in rows(log, count)])
    assert list(in_parts(journal)) == [3, 12, 22, 23, 35, 36]


def test_a_part_is_one_log_at_the_least(opened, monkeypatch):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 1)
    monkeypatch.setattr(sqlite_journal, "A_PART", 1)
    journal = opened()
    store(journal, *rows("@0", 2), *rows("@1", 2), *rows("@2", 2))
    assert list(in_parts(journal)) == [2, 4, 6]


def test_a_commit_does_not_fold_what_is_folded_in_parts(opened, monkeypatch):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 10)
    journal = opened()
    for number in range(20):
        store(journal, row("echo", number + 1))
    assert journal._db.execute("SELECT count(*) FROM rows").fetchone() == (0,)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE logs SET head=1",
        "UPDATE logs SET head=2",
        "INSERT INTO bodies(id, refs, data) VALUES(1, 1, x'00')",
        "INSERT INTO bodies(id, refs, data) VALUES(1, 2, CAST('one' AS BLOB))",
        "INSERT INTO rows VALUES(1 << 40 | 1, 0, 1, 9, 1); UPDATE logs SET head=1",
        "INSERT INTO rows VALUES(1 << 40 | 1, 0, 1, 0, 1); UPDATE logs SET head=1",
    ],
)
def test_what_a_record_says_otherwise_than_the_tables_is_damage(path, damage):
    """What is nowhere else would go with the record."""
    journal = SqliteJournal(path)
    journal.load(EPOCH)
    store(journal, row("echo", 1, body=b"one"))
    journal._db.executescript(damage)
    journal._db.close()
    with pytest.raises(JournalError, match="it is damaged"):
        SqliteJournal(path).load(EPOCH)


# --- users and sessions -------------------------------------------------------------------


def sessions_in(journal: SqliteJournal) -> list[int]:
    """Which sessions the tables have."""
    found = journal._db.execute("SELECT id FROM sessions ORDER BY id").fetchall()
    return [int.from_bytes(id, "big") for (id,) in found]


def test_sessions_are_taken_in_by_parts_and_the_more_there_is_to_say_of_them_the_fewer(
    opened, monkeypatch
):
    monkeypatch.setattr(tail_module, "MOST_TURNS", 2)
    monkeypatch.setattr(sqlite_journal, "A_PART", 4)
    journal = opened()
    small = [session(n, "alice") for n in range(1, 11)]
    much = pack([(n, n, n % 2) for n in range(1, A_ROW // 8)])  # A little more than two rows'.
    large = [session(n, "alice", cseq=1000, outcomes=much) for n in range(11, 15)]
    take(journal, Commit(users=[user("alice")], rows=rows("echo", 2)))
    take(journal, Commit(sessions=small))
    take(journal, Commit(sessions=large))
    counts = []
    while journal._fold_some():
        counts.append(len(sessions_in(journal)))
    # The last are the first.  Rows leave room for a large one, and two of these are a part, or one
    # with a small one.
    assert counts == [1, 3, 5, 9, 13, 14]
    assert sorted(opened(crash=True).kept.sessions) == small + large


class Life:
    """Users and sessions as they are to be, whatever comes and goes."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.users: dict[str, UserRecord] = {}
        self.sessions: dict[bytes, SessionRecord] = {}

    def turn(self) -> Commit:
        """What one turn changes."""
        one = self.random
        ended = [id for id in self.sessions if one.random() < 0.1]
        for id in ended:
            del self.sessions[id]
        gone = [name for name in "abc" if one.random() < 0.15]
        for name in gone:
            self.users.pop(name, None)
        kept = self.sessions.values()
        self.sessions = {one.id: one for one in kept if one.user not in gone}
        users = [user(name, read=one.randrange(99)) for name in "abc" if one.random() < 0.4]
        self.users.update({one.name: one for one in users})
        changed = [self.say(n) for n in range(8) if self.users and one.random() < 0.4]
        return Commit(ended=ended, gone=gone, users=users, sessions=changed)

    def say(self, number: int) -> SessionRecord:
        """Some commands of a session, and how they are stored."""
        before = self.sessions.get(number.to_bytes(16, "big"))
        if before is None or before.user not in self.users:
            name = self.random.choice(sorted(self.users))
            before = session(number, name, cseq=0, outcomes=b"")
        cseq = before.cseq + 2
        # As the session has it: the last run is told again when it grew, or because it may.
        came = pack([(cseq - 1, cseq, self.random.randrange(3))])
        again = self.random.choice([b"", before.outcomes[-len(came) :]])
        after = before._replace(cseq=cseq, outcomes=before.outcomes + came)
        is_known = before.id in self.sessions
        self.sessions[before.id] = after
        return after._replace(outcomes=again + came, whole=False) if is_known else after


@pytest.mark.parametrize("seed", range(8))
def test_users_and_sessions_come_and_go_while_they_are_folded(opened, monkeypatch, seed):
    monkeypatch.setattr(tail_module, "MOST_TURNS", 3)
    monkeypatch.setattr(sqlite_journal, "A_PART", 1)
    chance = Random(seed)
    life, journal = Life(chance), opened()
    parts = 0
    for _ in range(100):
        take(journal, life.turn())
        for _ in range(chance.randrange(4)):
            parts += journal._fold_some()
        if chance.random() < 0.3:
            journal = opened(crash=True)
            assert sorted(journal.kept.users) == sorted(life.users.values())
            assert sorted(journal.kept.sessions) == sorted(life.sessions.values())
    assert parts > 30


# --- a fold that fails --------------------------------------------------------------------


def test_a_fold_that_fails_at_its_end_forgets_no_head(opened):
    journal = opened()
    store(journal, row("echo", 1, 3), row("@alice:1", 1))
    journal._db.set_authorizer(refuse_to_commit)
    with pytest.raises(JournalError):
        journal._fold()
    journal._db.set_authorizer(None)
    journal._fold()
    journal = opened(crash=True)
    assert journal.kept.heads == {"echo": 3, "@alice:1": 1}
    store(journal, row("echo", 4))
    journal._fold()
    assert [r.first for r in kept(journal, "echo")] == [1, 4]


def test_what_could_not_be_folded_is_folded_before_the_next_commit(opened, monkeypatch):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 31)
    monkeypatch.setattr(sqlite_journal, "A_PART", 4)
    journal = opened()
    stored = sixteen(journal)

    journal._db.set_authorizer(refuse_to_fold)
    with pytest.raises(JournalError):
        journal.tidy(1)
    with pytest.raises(JournalError):
        store(journal, row("echo", 1))
    journal._db.set_authorizer(None)
    store(journal, row("echo", 1))
    assert journal._db.execute("SELECT count(*) FROM rows").fetchone() == (32,)
    assert [kept(journal, log) for log in stored] == list(stored.values())
