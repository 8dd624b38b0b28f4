from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

import msgpack
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from journals import (
    EPOCH,
    PLENTY,
    kept,
    refuse_to_commit,
    row,
    rows,
    session,
    store,
    table_of_bodies,
    take,
    user,
)

from chatbroker.broker import database, sqlite_journal
from chatbroker.broker import tail as tail_module
from chatbroker.broker.database import FILE, POSITIONS, VERSION
from chatbroker.broker.journal import (
    MOST_ROWS,
    CannotStore,
    Commit,
    JournalError,
    Page,
    SessionRecord,
    UserRecord,
)
from chatbroker.broker.log import Row
from chatbroker.broker.runs import KINDS, pack
from chatbroker.broker.sqlite_journal import SqliteJournal

folded = pytest.mark.parametrize("fold", [True, False], ids=["folded", "in the tail"])


# --- reading ------------------------------------------------------------------------------


def test_a_log_that_nobody_wrote_is_empty(journal):
    assert journal.fetch("echo", 0, PLENTY) == Page(0, 0, ())
    assert journal.position_at("echo", 0) == 0


@folded
def test_what_was_committed_comes_back_byte_for_byte(journal, fold):
    stored = [row("echo", 1, 3, 7, bytes(range(256))), row("echo", 4, 1, 8, b"")]
    store(journal, *stored)
    if fold:
        journal._fold()
    assert kept(journal, "echo") == stored
    assert list(journal.fetch("echo", 2, PLENTY).rows) == stored
    assert list(journal.fetch("echo", 3, PLENTY).rows) == stored[1:]
    assert list(journal.fetch("echo", 4, PLENTY).rows) == []


@folded
def test_a_page_has_no_more_than_so_many_rows(journal, fold):
    stored = rows("echo", MOST_ROWS + 2)
    store(journal, *stored[:-5])
    if fold:
        journal._fold()
    store(journal, *stored[-5:])
    assert list(journal.fetch("echo", 1, PLENTY).rows) == stored[1:-1]
    assert list(journal.fetch("echo", MOST_ROWS + 1, PLENTY).rows) == stored[-1:]


def test_a_log_that_has_as_many_positions_as_there_are_takes_no_more(journal):
    last = row("echo", (1 << POSITIONS) - 3, 3)
    store(journal, last)
    with pytest.raises(JournalError, match="log echo is full"):
        journal.commit(Commit(rows=[row("echo", last.last + 1)]))
    journal._fold()
    assert kept(journal, "echo") == [last]


def test_in_memory_is_what_is_not_folded(opened, monkeypatch):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 3)
    monkeypatch.setattr(sqlite_journal, "A_PART", 2)
    journal = opened()
    assert journal.in_memory == 0
    for one in rows("echo", 3, body=b"x" * 100):
        store(journal, one)
    assert not journal.tidy(1)
    assert journal.in_memory == 3 * 100
    store(journal, row("@alice", 1, body=b"y" * 10))
    assert journal.tidy(1)
    assert journal.in_memory == 10
    assert journal.tidy(1)
    assert journal.in_memory == 0
    store(journal, row("echo", 4, body=b"z"))
    assert opened(crash=True).in_memory == 0


def test_a_fetch_reads_on_from_the_tables_into_the_tail(journal):
    stored = rows("echo", 10)
    store(journal, *stored[:6])
    journal._fold()
    store(journal, *stored[6:])
    for after in range(11):
        assert list(journal.fetch("echo", after, PLENTY).rows) == stored[after:]
        assert list(journal.fetch("echo", after, 12).rows) == stored[after : after + 2]
        assert list(journal.fetch("echo", after, 0).rows) == stored[after : after + 1]


@folded
def test_an_age_is_found_by_the_time_of_rows(journal, fold):
    store(journal, *[row("echo", 1 + 5 * n, 5, 10 * n) for n in range(1, 9)])
    if fold:
        journal._fold()
    store(journal, row("echo", 46, 5, 90), row("@alice", 1, 1, 55))
    for time in range(100):
        found = next((n * 5 for n in range(1, 10) if 10 * n >= time), 50)
        assert journal.position_at("echo", time) == found, time


def test_a_body_that_lies_in_two_mailboxes_is_stored_once(journal):
    body = os.urandom(5000)
    store(journal, row("@alice", 1, body=body), row("@bob", 1, body=body), row("echo", 1))
    journal._fold()
    assert journal._db.execute("SELECT refs FROM bodies ORDER BY id").fetchall() == [(2,), (1,)]
    assert kept(journal, "@alice")[0].body == kept(journal, "@bob")[0].body == body


def test_a_conversation_of_several_rows_is_stored_once(journal):
    first, second = os.urandom(5000), os.urandom(4000)
    sides = [
        (row(log, 1, body=first), row(log, 2, body=second), row(log, 3, body=last))
        for log, last in (("@alice", b"one"), ("@bob", b"two"))
    ]
    store(journal, *sides[0], *sides[1])
    journal._fold()
    assert table_of_bodies(journal) == [(1, 2), (2, 2), (3, 1), (4, 1)]
    assert [kept(journal, log) for log in ("@alice", "@bob")] == [*map(list, sides)]


def test_the_bodies_of_a_small_turn_are_in_its_record_until_it_is_folded(journal):
    """A lone message is one page to write and flush, not two."""
    store(journal, row("echo", 1), row("@alice", 1, body=b"hi"), row("@bob", 1, body=b"hi"))
    assert table_of_bodies(journal) == []
    store(journal, row("echo", 2, body=bytes(tail_module.SMALL)), row("echo", 3))
    assert table_of_bodies(journal) == [(3, 1), (4, 1)]
    store(journal, row("echo", 4, body=bytes(tail_module.SMALL)))
    assert table_of_bodies(journal) == [(3, 1), (4, 1)]
    journal._fold()
    assert table_of_bodies(journal) == [(1, 1), (2, 2), (3, 1), (4, 1), (5, 1)]


# --- over a restart -----------------------------------------------------------------------


def test_bodies_come_back_wherever_they_were_when_it_died(opened):
    """Small turns and large ones, each with a conversation; and no number is given twice."""
    journal = opened()
    stored = {"@alice": [], "@bob": []}
    for first in range(1, 13):
        body = os.urandom(10 if first % 3 else tail_module.SMALL + 1)
        both = [row(log, first, body=body) for log in stored]
        store(journal, *both)
        for log, one in zip(stored, both, strict=True):
            stored[log].append(one)
        if first == 2:
            journal._fold()
        if first % 4 == 0:
            journal = opened(crash=True)
            assert {log: kept(journal, log) for log in stored} == stored
    assert table_of_bodies(journal) == [(n, 2) for n in range(1, 13)]


def test_a_journal_of_the_first_version_that_died_is_taken_up(path):
    """The records of its turns hold no bodies."""
    with sqlite3.connect(path) as db:
        for statement in database.MIGRATIONS[0].split(";\n"):
            db.execute(statement)
        log, bodies = (1, "echo", 0, 0, 0, 0, 0, 0), [(1, 1, b"one"), (2, 1, b"\x00two")]
        db.execute("INSERT INTO logs VALUES(?, ?, ?, ?, ?, ?, ?, ?)", log)
        db.executemany("INSERT INTO bodies(id, refs, data) VALUES(?, ?, ?)", bodies)
        for number, record in ((1, [user("alice")]), (2, [])):
            rows = [(1, number - 1, number, 1, number + 5, number)]
            turn = msgpack.packb(((), (), (), record, (), rows))
            db.execute("INSERT INTO turns VALUES(?, ?)", (number, turn))
        db.execute("PRAGMA user_version=1")
    db.close()
    journal = SqliteJournal(path)
    assert list(journal.load(EPOCH).users) == [user("alice")]
    stored = [row("echo", 1, time=6, body=b"one"), row("echo", 2, time=7, body=b"\x00two")]
    assert kept(journal, "echo") == stored
    store(journal, row("echo", 3, time=8, body=b"three"))
    journal._fold()
    assert table_of_bodies(journal) == [(1, 1), (2, 1), (3, 1)]
    journal.close()


@pytest.mark.parametrize("crash", [False, True])
def test_everything_comes_back(opened, crash):
    journal = opened()
    assert journal.kept == (EPOCH, 0, {}, [], [], {})
    stored = [row("echo", 1, 3, 7), row("@alice:1", 1, 1, 9)]
    take(journal, Commit(users=[user("alice")], sessions=[session(1, "alice")], rows=stored))
    take(journal, Commit(users=[user("bob", read=3)], sessions=[session(2, "bob")]))
    take(journal, Commit(ended=[session(2, "bob").id], users=[user("bob", read=4, seen=77)]))
    again = opened(crash=crash).kept
    assert again.epoch == EPOCH
    assert again.time == 9
    assert again.heads == {"echo": 3, "@alice:1": 1}
    assert sorted(again.users) == [user("alice"), user("bob", read=4, seen=77)]
    assert list(again.sessions) == [session(1, "alice")]
    assert kept(opened(), "echo") == stored[:1]


def test_who_is_gone_is_gone_with_sessions_and_mail(opened):
    journal = opened()
    take(
        journal,
        Commit(users=[user("alice")], sessions=[session(1, "alice")], rows=rows("@alice:1", 2)),
    )
    journal = opened()
    take(journal, Commit(sessions=[session(2, "alice")]))
    again = user("alice", log="@alice:2", epoch=b"mail-002")
    take(
        journal,
        Commit(gone=["alice"], dropped=["@alice:1"], users=[again], sessions=[session(3, "alice")]),
    )
    assert kept(journal, "@alice:1") == []
    journal = opened(crash=True)
    assert list(journal.kept.users) == [again]
    assert list(journal.kept.sessions) == [session(3, "alice")]
    assert kept(journal, "@alice:1") == []
    assert journal.kept.heads == {}
    while journal.tidy(1):
        continue
    assert journal._db.execute("SELECT count(*) FROM bodies").fetchone() == (0,)
    assert journal._db.execute("SELECT count(*) FROM logs").fetchone() == (0,)
    # By the tables alone.
    assert list(opened().kept.sessions) == [session(3, "alice")]


@pytest.mark.parametrize(
    ("late", "steps"),
    [(False, [["fold"], ["clean"], ["fold"]]), (True, [["fold", "clean"], ["clean", "fold"]])],
)
def test_folds_and_retention_take_turns_and_if_that_is_late_both(journal, monkeypatch, late, steps):
    done = []

    def step(name):
        done[-1].append(name)
        return True

    monkeypatch.setattr(journal._cleaning, "step", lambda: step("clean"))
    monkeypatch.setattr(journal, "_fold_some", lambda: step("fold"))
    monkeypatch.setattr(journal._retention, "late", late)
    monkeypatch.setattr(journal._retention, "look", lambda time: None)
    for _ in steps:
        done.append([])
        assert journal.tidy(1)
    assert done == steps


def test_the_number_of_a_log_that_is_gone_is_given_again(journal):
    for name in "abc":
        store(journal, row(f"@{name}", 1))
    take(journal, Commit(dropped=["@b"]))
    while journal.tidy(1):
        continue
    store(journal, row("@d", 1, body=b"new"), row("@e", 1))
    assert journal._logs["@d"].id == 2
    assert [r.body for r in kept(journal, "@d")] == [b"new"]
    assert len({log.id for log in journal._logs.values()}) == 4


def test_what_is_not_folded_is_bounded(opened, monkeypatch):
    monkeypatch.setattr(tail_module, "MOST_TURNS", 10)
    journal = opened()
    for number in range(100):
        store(journal, row("echo", number + 1))
        # Nobody has taken a step in between.
        assert journal._tail.turns <= 21
    assert len(kept(journal, "echo")) == 100


def test_what_is_not_folded_is_bounded_by_what_it_takes(opened, monkeypatch):
    """The record of a session that was refused much is 17 KB, and comes with each turn."""
    monkeypatch.setattr(tail_module, "MOST_BYTES", 1_000_000)
    journal = opened()
    long = pack([(n, n, n % 2) for n in range(1, 1001)])
    for cseq in range(100):
        sessions = [session(n, "alice", cseq=1000 + cseq, outcomes=long) for n in range(10)]
        take(journal, Commit(users=[user("alice")], sessions=sessions))
        (size,) = journal._db.execute("SELECT sum(length(data)) FROM turns").fetchone()
        assert size < 2 * 1_000_000 + 2 * 171_000


def test_opening_reads_nothing_that_grows_with_the_history(opened, path):
    """Counted in steps of SQLite's machine, as time would depend on the machine."""

    def steps() -> int:
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        journal = SqliteJournal(path)
        journal._db.set_progress_handler(tick, 10)
        journal.load(EPOCH)
        journal._db.set_progress_handler(None, 0)
        journal.close()
        return count

    journal = opened()
    store(journal, *rows("echo", 10))
    journal.close()
    few = steps()
    journal = opened()
    for start in range(10, 20_000, 1000):
        store(journal, *[row("echo", start + n + 1) for n in range(1000)])
    journal.close()
    assert steps() <= few + 5


# --- failures -----------------------------------------------------------------------------


def test_what_cannot_be_stored_may_be_tried_again_and_is_stored_once(journal):
    store(journal, row("echo", 1))
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count={pages + 2}")
    turn = Commit(
        users=[user("alice")],
        rows=[row("echo", 2, body=bytes(100_000)), row("@alice:1", 1, body=b"x")],
    )
    for _ in range(3):
        with pytest.raises(CannotStore, match="no space left on the disk"):
            take(journal, turn)
    assert [r.first for r in kept(journal, "echo")] == [1]
    assert journal.fetch("@alice:1", 0, PLENTY).rows == ()
    journal._db.execute("PRAGMA max_page_count=1000000")
    take(journal, turn)
    assert [r.first for r in kept(journal, "echo")] == [1, 2]
    assert len(kept(journal, "@alice:1")) == 1
    assert journal.commits == 2


def test_an_empty_commit_costs_nothing(journal):
    take(journal, Commit())
    assert journal.commits == 0


def test_a_file_of_a_later_version_is_refused_by_name(opened, path):
    journal = opened()
    journal._db.execute(f"PRAGMA user_version={VERSION + 1}")
    journal.close()
    with pytest.raises(JournalError, match=f"is of version {VERSION + 1}, and this chatbroker"):
        SqliteJournal(path)


def test_a_file_that_is_no_journal_is_refused_in_words(path):
    path.write_bytes(b"not a database, but as long as one would be" * 1000)
    with pytest.raises(JournalError, match=r"it is no database; put a backup in its place"):
        SqliteJournal(path)


def test_damage_is_told_in_words(opened, path):
    journal = opened()
    store(journal, *rows("echo", 500, body=bytes(500)))
    journal.close()
    raw = bytearray(path.read_bytes())
    for at in range(8192, len(raw), 8192):
        raw[at : at + 100] = b"\xff" * 100
    path.write_bytes(raw)
    with pytest.raises(JournalError, match="it is damaged"):  # noqa: PT012 - wherever it shows
        journal = SqliteJournal(path)
        try:
            journal.load(EPOCH)
            kept(journal, "echo")
        finally:
            journal.close()


def test_a_log_that_has_lost_one_more_than_it_had_is_damage(path):
    journal = SqliteJournal(path)
    journal.load(EPOCH)
    store(journal, *rows("echo", 3))
    journal._fold()
    journal._db.execute("UPDATE logs SET lost=head+1")
    journal._db.close()
    with pytest.raises(JournalError, match="table logs is damaged"):
        SqliteJournal(path).load(EPOCH)


def test_a_folder_that_is_not_there_is_told_in_words(tmp_path):
    with pytest.raises(JournalError, match=r"cannot open .*No such file or directory"):
        SqliteJournal(tmp_path / "nowhere" / FILE)


def test_nobody_else_may_read_the_file(opened, path):
    opened()
    assert path.stat().st_mode & 0o777 == 0o600


# --- the life of the data -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("sync", "crash", "boot", "renewed"),
    [
        ("full", True, b"another", False),
        ("normal", True, b"another", True),
        ("off", True, b"another", True),
        ("off", True, None, False),
        ("off", False, b"another", False),
    ],
)
def test_an_epoch_ends_when_commits_may_have_been_undone(path, sync, crash, boot, renewed):
    journal = SqliteJournal(path, sync)
    journal.load(EPOCH)
    take(journal, Commit(users=[user("alice")], rows=rows("echo", 3)))
    if boot is not None:
        journal._note(boot=boot)
    journal._db.close() if crash else journal.close()
    journal = SqliteJournal(path)
    kept = journal.load(b"epoch-02")
    journal.close()
    assert kept.epoch == (b"epoch-02" if renewed else EPOCH)
    assert (kept.users[0].epoch != b"mail-001") is renewed
    assert kept.heads == {"echo": 3}


@pytest.mark.parametrize(("sync", "renewed"), [("full", False), ("normal", True), ("off", True)])
def test_where_starts_of_the_machine_cannot_be_told_apart_each_may_be_another(
    path, sync, renewed, monkeypatch
):
    monkeypatch.setattr(sqlite_journal, "boot_id", lambda: b"")
    journal = SqliteJournal(path, sync)
    journal.load(EPOCH)
    store(journal, *rows("echo", 3))
    journal._db.close()
    journal = SqliteJournal(path)
    kept = journal.load(b"epoch-02")
    journal.close()
    assert kept.epoch == (b"epoch-02" if renewed else EPOCH)


def test_new_epochs_of_mailboxes_are_those_of_later_starts(path):
    """Else positions that were undone would seem to hold again."""
    journal = SqliteJournal(path, "off")
    journal.load(EPOCH)
    take(journal, Commit(users=[user("alice"), user("bob")]))
    journal._note(boot=b"another")
    journal._db.close()
    loaded = []
    for fresh in (b"epoch-02", b"epoch-03"):
        journal = SqliteJournal(path)
        loaded.append(journal.load(fresh))
        journal.close()
    renewed, again = loaded
    assert renewed.epoch == again.epoch == b"epoch-02"
    assert b"mail-001" not in [one.epoch for one in renewed.users]
    assert again.users == renewed.users


# --- against a model ----------------------------------------------------------------------

LOGS = ("echo", "alice", "bob", "carol")
SIZES = st.integers(0, 40) | st.integers(tail_module.SMALL // 2, tail_module.SMALL)


SAME = {events: b"same" * events for events in range(1, 5)}
"""One object each, as a conversation is in two mailboxes."""


class JournalMachine(RuleBasedStateMachine):
    """Commits, failures, folds, restarts and crashes: what is read is what was stored."""

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(tail_module, "MOST_ROWS", 3)
        self.patch.setattr(sqlite_journal, "A_PART", 2)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / FILE
        self.journal = SqliteJournal(self.path)
        self.journal.load(EPOCH)
        self.rows: dict[str, list[Row]] = {}
        self.names: dict[str, int] = dict.fromkeys(LOGS, 0)
        self.users: dict[str, UserRecord] = {}
        self.sessions: dict[bytes, SessionRecord] = {}
        self.time = 1

    def key(self, log: str) -> str:
        return f"{log}:{self.names[log]}"

    @rule(
        said=st.lists(st.tuples(st.sampled_from(LOGS), st.integers(1, 4), SIZES), max_size=6),
        shared=st.booleans(),
        people=st.lists(st.integers(0, 5), max_size=3),
        over=st.lists(st.integers(0, 5), max_size=2),
        same=st.sets(st.integers(0, 5)),
        gone=st.sampled_from([None, None, None, *LOGS[1:]]),
        fails=st.booleans(),
    )
    def commit(self, said, shared, people, over, same, gone, fails) -> None:
        self.time += 1
        dropped = []
        if gone is not None:
            dropped.append(self.key(gone))
            self.rows.pop(self.key(gone), None)
            self.names[gone] += 1
            self.users.pop(gone, None)
            self.sessions = {i: s for i, s in self.sessions.items() if s.user != gone}
        stored = []
        for log, events, size in said:
            mine = self.rows.setdefault(self.key(log), [])
            head = mine[-1].last if mine else 0
            body = SAME[events] if shared else os.urandom(size)
            mine.append(Row(self.key(log), head, head + 1, events, self.time, body))
            stored.append(mine[-1])
        users = [user(LOGS[1 + n % 3], read=self.time) for n in people]
        ended = [session(n, "").id for n in over]
        for id in ended:
            self.sessions.pop(id, None)
        sessions = {
            n: session(n, LOGS[1 + n % 3], cseq=self.time, outcomes=pack([(1, 1, n % KINDS)]))
            for n in people
        }
        for n in same:
            # Of one that is stored, with what came since.
            if n in sessions and sessions[n].id in self.sessions:
                since = [(self.time, self.time, 0)] if self.time % 2 else []
                sessions[n] = sessions[n]._replace(outcomes=pack(since), whole=False)
        sessions = list(sessions.values())
        self.users.update((u.name, u) for u in users)
        for one in sessions:
            self.sessions[one.id] = one.over(self.sessions.get(one.id))
        turn = Commit(ended, [] if gone is None else [gone], dropped, users, sessions, stored)
        if fails and any(turn):
            (pages,) = self.journal._db.execute("PRAGMA page_count").fetchone()
            self.journal._db.execute(f"PRAGMA max_page_count={pages}")
            try:
                take(self.journal, turn)
                turn = Commit()  # There was room in the last page.
            except CannotStore:
                pass
            self.journal._db.execute("PRAGMA max_page_count=1000000")
        take(self.journal, turn)

    @rule(crash=st.booleans())
    def restart(self, crash) -> None:
        self.journal._db.close() if crash else self.journal.close()
        self.journal = SqliteJournal(self.path)
        found = self.journal.load(b"other-01")
        assert found.epoch == EPOCH
        assert {u.name: u for u in found.users} == self.users
        assert {s.id: s for s in found.sessions} == self.sessions
        heads = {key: mine[-1].last for key, mine in self.rows.items()}
        assert found.heads == heads

    @rule()
    def fold(self) -> None:
        self.journal._fold()

    @rule(fails=st.booleans())
    def fold_some(self, fails) -> None:
        if fails:
            self.journal._db.set_authorizer(refuse_to_commit)
            with suppress(JournalError):
                self.journal._fold_some()
            self.journal._db.set_authorizer(None)
        self.journal._fold_some()

    @rule()
    def tidy(self) -> None:
        while self.journal.tidy(self.time):
            continue

    @rule(log=st.sampled_from(LOGS), after=st.integers(0, 30), budget=st.integers(0, 60))
    def fetch(self, log, after, budget) -> None:
        wanted: list[Row] = []
        given = budget
        for one in self.rows.get(self.key(log), []):
            if one.last > after:
                if wanted and len(one.body) > budget:
                    break
                wanted.append(one)
                budget -= len(one.body)
        assert list(self.journal.fetch(self.key(log), after, given).rows) == wanted

    @rule(log=st.sampled_from(LOGS), ago=st.integers(0, 10))
    def age(self, log, ago) -> None:
        mine = self.rows.get(self.key(log), [])
        time = self.time - ago
        wanted = next((r.prev for r in mine if r.time >= time), mine[-1].last if mine else 0)
        assert self.journal.position_at(self.key(log), time) == wanted

    @invariant()
    def the_account_is_right(self) -> None:
        if hasattr(self, "journal"):
            retention, tail = self.journal._retention, self.journal._tail
            assert retention.size == sum(log.size for log in retention._logs.values())
            count = "SELECT count(*), coalesce(sum(length(data)), 0) FROM turns"
            assert (tail.turns, tail.records) == self.journal._db.execute(count).fetchone()
            unfolded = [row for rows in tail.rows.values() for row in rows]
            assert tail.count == len(unfolded)
            assert tail.data == sum([len(row.data) for row in unfolded])
            assert set(tail.bodies) <= {row.body for row in unfolded}
            assert tail.turns or not retention.changed

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.folder.cleanup()
            self.patch.undo()


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_row_costs_about_what_is_accounted(journal):
    for number in range(200):
        users = [row(f"@user{n}", number + 1, body=os.urandom(100)) for n in range(50)]
        store(journal, *users)
    journal._fold()
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    assert 0.5 < journal._retention.size / (pages * 8192) < 1.5


# --- what a broker asks that no client of ours would ---------------------------------------


@folded
@pytest.mark.parametrize("after", [3, 4, (1 << 40) - 1, 1 << 40, (1 << 63) - 1])
def test_a_fetch_from_beyond_the_end_gives_nothing(journal, fold, after):
    store(journal, *rows("echo", 3), *rows("@alice", 3))
    if fold:
        journal._fold()
    page = journal.fetch("echo", after, PLENTY)
    assert (page.missed_upto, page.lost, list(page.rows)) == (0, 0, [])


# --- what must be on disk -----------------------------------------------------------------


@pytest.mark.parametrize("sync", ["full", "normal", "off"])
def test_that_commits_may_be_undone_is_on_disk_before_the_first(path, sync):
    """Else a power cut could take this note with the commits, and the epoch would go on."""
    journal = SqliteJournal(path, sync)
    level = journal._db.execute("PRAGMA synchronous").fetchone()
    levels = []

    def watch(statement: str) -> None:
        if statement.startswith(("COMMIT", "INSERT OR REPLACE INTO meta", "PRAGMA wal")):
            db.set_trace_callback(None)
            levels.append(db.execute("PRAGMA synchronous").fetchone()[0])
            db.set_trace_callback(watch)

    db = journal._db
    db.set_trace_callback(watch)
    journal.load(EPOCH)
    assert levels
    assert set(levels) == {2}
    levels.clear()
    store(journal, row("echo", 1))
    assert levels == [level[0]]
    levels.clear()
    journal.close()
    assert len(levels) >= 2
    assert levels[-2:] == [2, 2]


def test_all_is_on_disk_before_it_is_noted_that_nothing_was_undone(path):
    """Else a power cut could take commits and leave this note, and the epoch would go on."""
    journal = SqliteJournal(path, "normal")
    journal.load(EPOCH)
    store(journal, row("echo", 1))
    steps = ("COMMIT", "PRAGMA wal_checkpoint(TRUNCATE)", "INSERT OR REPLACE INTO meta")
    taken = []

    def watch(statement: str) -> None:
        taken.extend([step for step in steps if statement.startswith(step)])

    journal._db.set_trace_callback(watch)
    journal.close()
    # What is folded, too.
    assert tuple(taken[:3]) == steps


def test_numbers_of_logs_that_were_not_stored_are_given_once(journal):
    for name in "abc":
        store(journal, row(f"@{name}", 1))
    take(journal, Commit(dropped=["@a"]))
    while journal.tidy(1):
        continue
    both = (row("@d", 1), row("@e", 1))
    for _ in range(2):
        journal._db.set_authorizer(refuse_to_commit)
        with pytest.raises(JournalError):
            store(journal, *both)
        journal._db.set_authorizer(None)
    store(journal, row("@f", 1))
    store(journal, row("@g", 1), row("@h", 1))
    assert len({log.id for log in journal._logs.values()}) == 5


def test_the_number_of_a_log_that_is_gone_is_given_though_a_commit_failed_with_it(journal):
    for name in "abc":
        store(journal, row(f"@{name}", 1))
    take(journal, Commit(dropped=["@b"]))
    while journal.tidy(1):
        continue
    for _ in range(2):
        journal._db.set_authorizer(refuse_to_commit)
        with pytest.raises(JournalError):
            store(journal, row("@d", 1))
        journal._db.set_authorizer(None)
    store(journal, row("@d", 1))
    assert journal._logs["@d"].id == 2
