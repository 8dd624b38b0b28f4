"""What a step of retention does to the tables."""

from __future__ import annotations

import sqlite3
from math import inf

import pytest

from chatbroker.broker.cutting import (
    FREE,
    OF_A_LOG,
    ROW_COST,
    STEP,
    check_loose,
    collect,
    cut_oldest,
    give_back,
)
from chatbroker.broker.database import FILE, POSITIONS, open_journal_file
from chatbroker.broker.retention import LARGE, KeptLog, Task
from chatbroker.broker.tail import TailRow

BODY = b"b" * 100
COST = ROW_COST + len(BODY)


@pytest.fixture
def db(tmp_path):
    db = open_journal_file(tmp_path / FILE)
    yield db
    db.close()


@pytest.fixture
def log_of(db):
    """Makes a log with so many rows of two events each; *bodies*: which they have."""

    def make(id, bodies, dropped=0):
        count = len(bodies)
        log = KeptLog(id, f"log{id}", 2 * count, 0, count * COST, 10, 10 * count, dropped)
        db.execute("INSERT INTO logs VALUES(?, ?, ?, ?, ?, ?, ?, ?)", log.line())
        for number, body in enumerate(bodies):
            row = (id << POSITIONS | 2 * number + 1, 2 * number, 2, 10 * (number + 1), body)
            db.execute("INSERT INTO rows VALUES(?, ?, ?, ?, ?)", row)
            db.execute(
                "INSERT INTO bodies(id, refs, data) VALUES(?, 1, ?) "
                "ON CONFLICT DO UPDATE SET refs = refs + 1",
                (body, BODY),
            )
        return log

    return make


def cut(db, *tasks, room=100, over=0, tail=None):
    return cut_oldest(db, tasks, room, over, tail or {})


def older(log, time):
    return Task(log, time, inf)


def all_of(log):
    return Task(log, inf, inf)


def positions(db, log):
    ids = db.execute("SELECT id FROM rows WHERE id >> ? = ?", (POSITIONS, log.id)).fetchall()
    return [id - (log.id << POSITIONS) for (id,) in ids]


def bodies(db):
    return dict(db.execute("SELECT id, refs FROM bodies").fetchall())


def loose(db):
    return dict(db.execute("SELECT body, left FROM loose").fetchall())


# --- rows ---------------------------------------------------------------------------------


def test_the_oldest_that_are_to_go_do_and_the_log_tells(db, log_of):
    log, other = log_of(1, [1, 2, 3]), log_of(2, [4])
    (found,) = cut(db, older(log, 21))
    assert (len(found.rows), found.lost, found.size, found.oldest) == (2, 4, COST, 30)
    assert (found.ends, found.done, found.waits) == (False, True, False)
    assert positions(db, log) == [5]
    assert positions(db, other) == [1]
    line = db.execute("SELECT head, lost, size, oldest, newest FROM logs WHERE id=1").fetchone()
    assert line == (6, 4, COST, 30, 30)


def test_bodies_stay_and_are_loose(db, log_of):
    cut(db, older(log_of(1, [1, 2, 3]), 21))
    assert bodies(db) == {1: 1, 2: 1, 3: 1}
    assert loose(db) == {1: 0, 2: 0}
    check_loose(db)


@pytest.mark.parametrize(
    ("above", "over", "stay"),
    [
        (COST, 9 * COST, [5]),
        (COST - 1, 9 * COST, []),
        (2 * COST, 9 * COST, [3, 5]),
        (0, COST, [3, 5]),
        (0, COST + 1, [5]),
        (0, 0, [1, 3, 5]),
    ],
)
def test_a_log_is_cut_to_a_size_as_long_as_all_is_too_much(db, log_of, above, over, stay):
    log = log_of(1, [1, 2, 3])
    (found,) = cut(db, Task(log, -inf, above), over=over)
    assert positions(db, log) == stay
    assert (found.size, found.done) == (len(stay) * COST, True)


def test_what_goes_of_one_log_need_not_go_of_the_next(db, log_of):
    """If many are a little too large, not each of them loses a message."""
    logs = [log_of(number, [3 * number, 3 * number + 1]) for number in range(1, 5)]
    found = cut(db, *[Task(log, -inf, COST + 1) for log in logs], over=COST + 1)
    assert [len(one.rows) for one in found] == [1, 1, 0, 0]
    assert all(one.done for one in found)


def test_what_is_dropped_does_not_count_for_what_is_too_much(db, log_of):
    dropped, log = log_of(1, [1, 2], dropped=1), log_of(2, [3, 4])
    cut(db, all_of(dropped), Task(log, -inf, 0), over=COST)
    assert positions(db, log) == [3]


def test_no_more_go_than_there_is_room_for(db, log_of):
    log = log_of(1, [1, 2, 3])
    (found,) = cut(db, all_of(log), room=2)
    assert (len(found.rows), found.work, found.done, positions(db, log)) == (2, 2, False, [5])


def test_a_large_row_is_more_work(db, log_of):
    log = log_of(1, [1, 2, 3])
    db.execute("UPDATE bodies SET data=zeroblob(?) WHERE id=1", (2 * LARGE,))
    (found,) = cut(db, all_of(log), room=2)
    assert (len(found.rows), found.work, found.done) == (1, 3, False)


def test_several_logs_go_on_side_by_side_and_the_last_has_the_room_that_is_left(db, log_of):
    many = OF_A_LOG + 20
    logs = [log_of(number, range(number * 1000, number * 1000 + many)) for number in (1, 2, 3)]
    found = cut(db, *map(all_of, logs), room=3 * many)
    assert [len(one.rows) for one in found] == [OF_A_LOG, OF_A_LOG, many]
    found = cut(db, *map(all_of, logs[:2]), room=15)
    assert [len(one.rows) for one in found] == [15]


def test_a_log_of_which_nothing_goes_is_work_too(db, log_of):
    logs = [log_of(number, [number]) for number in range(1, 5)]
    found = cut(db, *[older(log, 0) for log in logs], room=3)
    assert [(one.rows, one.done) for one in found] == [([], True)] * 3


def test_a_log_that_is_empty_stays_with_its_head_and_one_that_was_dropped_does_not(db, log_of):
    kept, dropped = log_of(1, [1]), log_of(2, [2], dropped=1)
    (found,) = cut(db, all_of(kept))
    assert (found.ends, found.lost, found.size, found.oldest) == (False, 2, 0, 10)
    assert cut(db, all_of(dropped))[0].ends
    assert db.execute("SELECT id, head, lost FROM logs").fetchall() == [(1, 2, 2)]


def test_what_the_tables_do_not_have_yet_is_waited_for(db, log_of):
    log = log_of(1, [1])
    log.head, log.size, log.newest = 4, 3 * COST, 30
    tail = {log: [TailRow(2, 3, 1, 20, 2, BODY), TailRow(3, 4, 1, 30, 3, BODY)]}
    (found,) = cut(db, older(log, 25), tail=tail)
    assert (found.done, found.waits) == (False, True)
    assert (found.lost, found.size, found.oldest) == (2, 2 * COST, 20)
    line = db.execute("SELECT head, lost, size, oldest FROM logs").fetchone()
    assert line == (2, 2, 0, 20)
    log.lost, log.size = found.lost, found.size
    (found,) = cut(db, older(log, 20), tail=tail)
    assert (found.done, found.waits) == (True, False)


def test_what_is_not_stored_in_the_end_has_changed_nothing(db, log_of):
    log = log_of(1, [1, 2, 3])
    before = log.line()
    db.execute("BEGIN")
    cut(db, all_of(log))
    db.execute("ROLLBACK")
    assert log.line() == before
    assert positions(db, log) == [1, 3, 5]


# --- bodies -------------------------------------------------------------------------------


def test_a_body_stays_as_long_as_one_of_its_logs_has_it(db, log_of):
    mine, theirs = log_of(1, [1, 2]), log_of(2, [1, 2])
    cut(db, all_of(mine))
    assert loose(db) == {1: 1, 2: 1}
    assert collect(db, 100) is False
    assert (bodies(db), loose(db)) == ({1: 2, 2: 2}, {1: 1, 2: 1})
    cut(db, older(theirs, 11))
    assert loose(db) == {1: 0, 2: 1}
    assert collect(db, 100) is False
    assert (bodies(db), loose(db)) == ({2: 2}, {2: 1})
    assert collect(db, 100, all=True) is False
    assert (bodies(db), loose(db)) == ({2: 1}, {})


def test_both_ends_of_a_conversation_go_at_once(db, log_of):
    cut(db, all_of(log_of(1, [1, 2])), older(log_of(2, [1, 2]), 11))
    assert loose(db) == {1: 0, 2: 1}
    assert collect(db, 100) is False
    assert bodies(db) == {2: 2}


def test_those_that_stay_come_after_all_that_go(db, log_of):
    log_of(2, [1, 4])
    cut(db, all_of(log_of(1, [1, 2, 3, 4])))
    assert collect(db, 1, all=True) is True
    assert (bodies(db), loose(db)) == ({1: 2, 3: 1, 4: 2}, {1: 1, 3: 0, 4: 1})
    assert collect(db, 2, all=True) is True
    assert (bodies(db), loose(db)) == ({1: 1, 4: 2}, {4: 1})
    assert collect(db, 1, all=True) is False
    assert (bodies(db), loose(db)) == ({1: 1, 4: 1}, {})


def test_as_many_bodies_go_as_there_is_room_for_the_first_ones_first(db, log_of):
    cut(db, all_of(log_of(1, [5, 3, 4])))
    assert collect(db, 2) is True
    assert (bodies(db), loose(db)) == ({5: 1}, {5: 0})
    assert collect(db, 1) is False
    assert (bodies(db), loose(db)) == ({}, {})


def test_a_large_body_is_more_work(db, log_of):
    cut(db, all_of(log_of(1, [1, 2])))
    db.execute("UPDATE bodies SET data=zeroblob(?) WHERE id=1", (LARGE,))
    assert collect(db, 2) is True
    assert bodies(db) == {2: 1}


@pytest.mark.parametrize("line", [(1, 1), (1, 2), (1, -1), (7, 0)])
def test_what_cannot_be_loose_is_damage(db, log_of, line):
    log_of(1, [1])
    db.execute("INSERT INTO loose VALUES(?, ?)", line)
    with pytest.raises(ValueError, match="damaged"):
        check_loose(db)


def test_a_body_is_loose_once(db):
    db.execute("INSERT INTO loose VALUES(1, 1)")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO loose VALUES(1, 1)")


# --- pages --------------------------------------------------------------------------------


def test_pages_are_given_back_step_by_step_and_a_few_are_left(db):
    def pages():
        return db.execute("PRAGMA page_count").fetchone()[0]

    assert give_back(db) is False
    insert = "INSERT INTO bodies(id, refs, data) VALUES(?, 1, zeroblob(80000))"
    db.executemany(insert, [(n,) for n in range(50)])
    db.execute("DELETE FROM bodies")
    full = pages()
    steps = 0
    while give_back(db):
        steps += 1
        assert pages() == full - steps * STEP
    assert steps >= 2
    assert db.execute("PRAGMA freelist_count").fetchone()[0] < FREE
