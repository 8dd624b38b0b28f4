"""Retention in steps, whatever comes or fails between them, and wherever it dies."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from journals import (
    EPOCH,
    PLENTY,
    kept,
    refuse_to_commit,
    refuse_to_fold,
    row,
    store,
    table_of_bodies,
    take,
)

from chatbroker.broker import cleaning, cutting, sqlite_journal
from chatbroker.broker import tail as tail_module
from chatbroker.broker.check import check_journal
from chatbroker.broker.cutting import ROW_COST
from chatbroker.broker.database import FILE
from chatbroker.broker.journal import Commit, JournalError
from chatbroker.broker.log import Row
from chatbroker.broker.retention import Retention
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.batch import pack_events
from chatbroker.wire.messages import Event


def said(first: int, *logs: str, time: int = 9) -> list[Row]:
    """A message, which lies in all of *logs* at this position."""
    body = pack_events([Event(time, "bob", "", f"{logs[0]} {first:04}")])
    return [row(log, first, time=time, body=body) for log in logs]


def much(count: int, *logs: str) -> list[Row]:
    """So many messages."""
    return [one for first in range(1, count + 1) for one in said(first, *logs)]


COST = ROW_COST + len(said(1, "@a")[0].body)


def loose(journal: SqliteJournal) -> dict[int, int]:
    return dict(journal._db.execute("SELECT body, left FROM loose").fetchall())


def small_steps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Retention, "STEP", 3)
    patch.setattr(cutting, "OF_A_LOG", 2)
    patch.setattr(cleaning, "MOST_LOOSE", 4)
    patch.setattr(cleaning, "MOST_LEFT", 2)
    patch.setattr(tail_module, "MOST_ROWS", 6)
    patch.setattr(sqlite_journal, "A_PART", 3)


# --- before all is folded -----------------------------------------------------------------


def test_what_goes_need_not_be_folded_but_for_what_is_in_no_table(opened):
    journal = opened(keep_bytes=20 * COST)
    store(journal, *much(30, "@a"))
    journal._fold()
    store(journal, *said(1, "@c"))
    while journal.tidy(1):
        assert journal._tail.count == 1
    assert [one.first for one in kept(journal, "@a")] == [*range(13, 31)]
    assert journal.size <= 20 * COST
    store(journal, *much(30, "@b"))
    while journal.tidy(2):
        continue
    assert journal._tail.count == 0
    assert journal.size <= 20 * COST


def test_the_record_of_a_row_that_went_is_no_damage(opened, path, monkeypatch):
    """The tables have it no more, and the record is there until all of its turn is folded."""
    monkeypatch.setattr(tail_module, "MOST_ROWS", 1)
    monkeypatch.setattr(sqlite_journal, "A_PART", 1)
    journal = opened(keep_bytes=5 * COST)
    store(journal, *much(4, "@a", "@b"))
    assert journal._fold_some()
    assert journal._tail.count == 4
    journal._retention.look(1)
    assert journal._cleaning.step()
    there = kept(journal, "@a")
    assert [one.first for one in there] == [3, 4]
    assert check_journal(path).faults == []
    journal = opened(crash=True)
    assert kept(journal, "@a") == there
    assert len(kept(journal, "@b")) == 4
    assert check_journal(path).faults == []
    assert journal._db.execute("SELECT count(*) FROM turns").fetchone() == (0,)


def test_a_body_that_went_with_its_row_is_no_damage(opened, path, monkeypatch):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 1)
    monkeypatch.setattr(sqlite_journal, "A_PART", 1)
    journal = opened(keep=1000)
    store(journal, *said(1, "@a", time=1), *said(1, "@b", time=499_900))
    assert journal._fold_some()
    journal._retention.look(500_000)
    assert journal._cleaning.step()
    assert table_of_bodies(journal) == []
    for _ in range(2):
        assert (kept(journal, "@a"), len(kept(journal, "@b"))) == ([], 1)
        assert check_journal(path).faults == []
        journal = opened(crash=True)


@pytest.mark.parametrize("dropped", [False, True])
def test_what_could_not_be_folded_goes_without_another_commit(opened, dropped):
    journal = opened(keep=1000)
    store(journal, *said(1, "@a", time=1))
    if dropped:
        take(journal, Commit(dropped=["@a"]))

    journal._db.set_authorizer(refuse_to_fold)
    failures = 0
    for time in range(500_000, 501_000, 20):
        try:
            journal.tidy(time)
        except JournalError:
            failures += 1
    # Not each time: nobody waits for it.
    assert failures == 2
    journal._db.set_authorizer(None)
    while journal.tidy(502_000):
        continue
    assert (journal.size, journal._behind) == (0, False)


def test_a_log_that_has_lost_more_than_it_had_is_damage(path):
    journal = SqliteJournal(path)
    journal.load(EPOCH)
    store(journal, *said(1, "@a"))
    journal._db.execute("UPDATE logs SET lost=1")
    assert check_journal(path).faults != []
    journal._db.close()
    with pytest.raises(JournalError, match="table logs is damaged"):
        SqliteJournal(path).load(EPOCH)


@pytest.mark.parametrize("settled", [False, True])
def test_a_body_stays_for_the_end_of_a_conversation_that_is_not_folded(
    opened, path, monkeypatch, settled
):
    monkeypatch.setattr(tail_module, "MOST_ROWS", 1)
    monkeypatch.setattr(sqlite_journal, "A_PART", 1)
    monkeypatch.setattr(cleaning, "MOST_LEFT", 0 if settled else 10)
    journal = opened(keep=1000)
    store(journal, *said(1, "@a", "@b"))
    assert journal._fold_some()
    journal._retention.look(500_000)
    del journal._retention._tasks[journal._logs["@b"]]
    while journal._cleaning.step():
        continue
    assert loose(journal) == ({} if settled else {1: 1})
    assert table_of_bodies(journal) == [(1, 1 if settled else 2)]
    for _ in range(2):
        assert (kept(journal, "@a"), len(kept(journal, "@b"))) == ([], 1)
        assert check_journal(path).faults == []
        journal = opened(crash=True)


# --- logs that are dropped ----------------------------------------------------------------


def test_the_number_of_a_log_is_not_given_again_before_no_record_names_it(opened, path):
    journal = opened()
    store(journal, *said(1, "@a"))
    journal._fold()
    store(journal, *said(2, "@a"))
    take(journal, Commit(dropped=["@a"]))
    assert journal._retention.step()[-1] == []
    store(journal, *said(1, "@b"))
    journal = opened(crash=True)
    assert kept(journal, "@b") == said(1, "@b")
    assert kept(journal, "@a") == []
    while journal.tidy(1):
        assert check_journal(path).faults == []
    store(journal, *said(1, "@c"))
    assert [log.id for log in journal._retention._logs.values()] == [2, 1]


def test_a_fold_that_was_under_way_does_not_let_go_what_is_dropped(opened, path, monkeypatch):
    """The record of its last turn stays, and names the log."""
    monkeypatch.setattr(tail_module, "MOST_ROWS", 1)
    monkeypatch.setattr(sqlite_journal, "A_PART", 1)
    journal = opened()
    store(journal, *said(1, "@a"), *said(1, "@b"), *said(1, "@c"))
    assert journal._fold_some()
    store(journal, *said(2, "@b"))
    assert journal._fold_some()
    take(journal, Commit(dropped=["@b"]))
    assert journal._fold_some()
    assert journal._folding is None
    for _ in range(3):
        journal._cleaning.step()
        assert check_journal(path).faults == []
    journal = opened(crash=True)
    assert kept(journal, "@c") == said(1, "@c")


def test_a_log_that_is_to_go_counts_for_no_bound_after_a_restart_either(opened, monkeypatch):
    small_steps(monkeypatch)
    journal = opened()
    store(journal, *much(9, "@a"), *much(2, "@b"))
    journal._fold()
    take(journal, Commit(dropped=["@a"]))
    journal._fold()
    assert journal._cleaning.step()
    journal = opened(crash=True)
    assert journal._retention._staying == 2 * COST < journal.size


@pytest.mark.parametrize("during", [False, True])
def test_what_is_dropped_goes_without_more_to_come(opened, path, monkeypatch, during):
    """Also if that was while a fold was under way, which does not take it in."""
    if during:
        monkeypatch.setattr(tail_module, "MOST_ROWS", 1)
        monkeypatch.setattr(sqlite_journal, "A_PART", 1)
    journal = opened()
    store(journal, *much(3, "@a"), *much(3, "echo"))
    assert journal._fold_some() is during
    take(journal, Commit(dropped=["@a"]))
    while journal.tidy(1):
        assert check_journal(path).faults == []
    assert [log.key for log in journal._retention._logs.values()] == ["echo"]
    assert (loose(journal), len(table_of_bodies(journal))) == ({}, 3)


# --- bodies -------------------------------------------------------------------------------


def test_bodies_wait_for_each_other_and_then_they_all_go(opened, monkeypatch):
    small_steps(monkeypatch)
    journal = opened()
    store(journal, *much(9, "@a", "@b"))
    journal._fold()
    take(journal, Commit(dropped=["@a", "@b"]))
    there = [(18, {})]
    while journal.tidy(1):
        left = journal._db.execute("SELECT count(*) FROM rows").fetchone()[0]
        there.append((left, loose(journal)))
    assert there[-1] == (0, {})
    assert max(len(bodies) for _, bodies in there) > 4
    # Rows or bodies, while there are both; and bodies in the order in which they came.
    for (rows, before), (left, after) in pairwise(there):
        assert left == rows or before.keys() <= after.keys()
        assert max(before.keys() - after.keys(), default=0) < min(after, default=99)


def test_no_body_goes_while_rows_are_to_go(opened, monkeypatch):
    monkeypatch.setattr(Retention, "STEP", 2)
    journal = opened()
    store(journal, *much(5, "@a"))
    journal._fold()
    take(journal, Commit(dropped=["@a"]))
    journal._fold()
    counts = []
    while journal._cleaning.step():
        counts.append((len(loose(journal)), len(table_of_bodies(journal))))
    assert counts == [(2, 5), (4, 5), (4, 4), (2, 2), (0, 0)]


@pytest.mark.parametrize("crash", [False, True])
def test_what_is_loose_at_the_end_goes_after_the_next_start(opened, path, monkeypatch, crash):
    small_steps(monkeypatch)
    journal = opened(keep=1000)
    store(journal, *much(3, "echo"), *said(4, "echo", time=499_000))
    journal._fold()
    journal._retention.look(500_000)
    assert journal._cleaning.step()
    assert loose(journal) == {1: 0, 2: 0, 3: 0}
    journal = opened(crash=crash)
    assert check_journal(path).faults == []
    assert loose(journal) == {1: 0, 2: 0, 3: 0}
    while journal.tidy(1):
        continue
    assert (loose(journal), table_of_bodies(journal)) == ({}, [(4, 1)])


@pytest.mark.parametrize("line", [(7, 0), (1, 1), (1, -1)])
def test_loose_bodies_that_cannot_be_are_damage(path, line):
    journal = SqliteJournal(path)
    journal.load(EPOCH)
    store(journal, *said(1, "echo"))
    journal._fold()
    journal._db.execute("INSERT INTO loose VALUES(?, ?)", line)
    assert any(fault.startswith("loose:") for fault in check_journal(path).faults)
    journal._db.close()
    with pytest.raises(JournalError, match="it is damaged"):
        SqliteJournal(path).load(EPOCH)


def test_a_step_that_fails_leaves_the_account_as_it_was(opened, path, monkeypatch):
    small_steps(monkeypatch)
    journal = opened()
    store(journal, *much(9, "@a", "@b"))
    take(journal, Commit(dropped=["@a", "@b"]))
    steps = 0
    while True:
        journal._db.set_authorizer(refuse_to_commit)
        with suppress(JournalError):
            journal._cleaning.step()
        journal._db.set_authorizer(None)
        assert check_journal(path).faults == []
        if not journal.tidy(1):
            break
        steps += 1
        assert steps < 100
    assert (journal.size, loose(journal), table_of_bodies(journal)) == (0, {}, [])


# --- whatever happens ---------------------------------------------------------------------


LOGS = ("echo", "@a", "@b", "@c")
MOST = 2000


class CleaningMachine(RuleBasedStateMachine):
    """Of each log the newest are there, in whole rows; and in the end as much as may be."""

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        small_steps(self.patch)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / FILE
        self.bounds = {"keep": 1_000_000, "keep_bytes": MOST}
        self.journal = SqliteJournal(self.path, **self.bounds)
        self.journal.load(EPOCH)
        self.rows: dict[str, list[Row]] = {}
        self.lives = dict.fromkeys(LOGS, 0)
        self.time = 2_000_000

    def key(self, log: str) -> str:
        return f"{log}:{self.lives[log]}"

    @rule(
        said=st.lists(
            st.tuples(
                st.sets(st.sampled_from(LOGS), min_size=1, max_size=2), st.integers(1, 3),
                st.sampled_from([1, 30, 200, 2500]),
            ),
            max_size=4,
        ),
        gone=st.sampled_from([None, None, *LOGS[1:]]),
        later=st.sampled_from([1, 300_000]),
    )  # fmt: skip
    def commit(self, said, gone, later) -> None:
        self.time += later
        dropped = []
        if gone is not None:
            dropped = [self.key(gone)]
            self.rows.pop(self.key(gone), None)
            self.lives[gone] += 1
        turn = []
        for logs, events, size in said:
            texts = [
                Event(self.time, "bob", "", os.urandom(size // 2).hex()) for _ in range(events)
            ]
            body = pack_events(texts)
            for log in sorted(logs):
                mine = self.rows.setdefault(self.key(log), [])
                head = mine[-1].last if mine else 0
                mine.append(Row(self.key(log), head, head + 1, events, self.time, body))
                turn.append(mine[-1])
        take(self.journal, Commit(dropped=dropped, rows=turn))

    @rule(fails=st.booleans(), times=st.integers(1, 5))
    def tidy(self, fails, times) -> None:
        for _ in range(times):
            if fails:
                self.journal._db.set_authorizer(refuse_to_commit)
                with suppress(JournalError):
                    self.journal.tidy(self.time)
                self.journal._db.set_authorizer(None)
            before = self.journal._retention._staying
            self.journal.tidy(self.time)
            most = self.bounds["keep_bytes"]
            if most is not None and before > most:
                # No more than has to, with one row of the largest for what is left of it.
                assert self.journal._retention._staying >= most - most // 64 - 8000

    @rule(crash=st.booleans())
    def restart(self, crash) -> None:
        self.journal._db.close() if crash else self.journal.close()
        self.journal = SqliteJournal(self.path, **self.bounds)
        found = self.journal.load(EPOCH)
        assert found.heads == {key: mine[-1].last for key, mine in self.rows.items()}

    @rule(most=st.sampled_from([MOST, MOST // 4, None]))
    def bound(self, most) -> None:
        self.bounds["keep_bytes"] = most
        self.journal.retain(self.bounds["keep"] / 1000, most)

    @rule()
    def come_to_rest(self) -> None:
        journal = self.journal
        steps = 0
        for later in (0, Retention.LOOK_EVERY, 2 * Retention.LOOK_EVERY):
            while journal.tidy(self.time + later):
                steps += 1
                assert steps < 2000, "it never ends"
        retention = journal._retention
        most = self.bounds["keep_bytes"]
        assert most is None or journal.size <= most
        assert all(not log.dropped for log in retention._logs.values())
        assert len(loose(journal)) <= 2
        assert all(loose(journal).values())
        for mine in self.rows.values():
            for one in kept(journal, mine[0].log):
                assert one.time >= self.time - self.bounds["keep"]

    @invariant()
    def it_is_whole(self) -> None:
        if not hasattr(self, "journal"):
            return
        journal = self.journal
        report = check_journal(self.path)
        assert report.faults == []
        for key, mine in self.rows.items():
            page = journal.fetch(key, 0, PLENTY)
            assert list(page.rows) == [one for one in mine if one.last > page.missed_upto]
        logs = journal._retention._logs.values()
        assert journal._retention.size == sum(log.size for log in logs)
        assert journal._retention._staying == sum(log.size for log in logs if not log.dropped)
        assert journal._retention._tasks.keys() <= {log for log in logs if not log.dropped}
        cleaning_ = journal._cleaning
        assert cleaning_._loose + cleaning_._left >= len(loose(journal))

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.folder.cleanup()
            self.patch.undo()


TestCleaningMachine = CleaningMachine.TestCase
TestCleaningMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
