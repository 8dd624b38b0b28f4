"""What a step of retention does to the tables."""

from __future__ import annotations

import pytest

from chatbroker.broker.cutting import FREE, ROW_COST, STEP, cut_oldest, give_back
from chatbroker.broker.database import FILE, POSITIONS, open_journal_file
from chatbroker.broker.retention import KeptLog

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
                "INSERT INTO bodies VALUES(?, 1, ?) ON CONFLICT DO UPDATE SET refs = refs + 1",
                (body, BODY),
            )
        return log

    return make


def everything(time, size):
    return True


def positions(db, log):
    ids = db.execute("SELECT id FROM rows WHERE id >> ? = ?", (POSITIONS, log.id)).fetchall()
    return [id - (log.id << POSITIONS) for (id,) in ids]


def bodies(db):
    return dict(db.execute("SELECT id, refs FROM bodies").fetchall())


def test_the_oldest_that_are_wanted_go_and_the_log_tells(db, log_of):
    log, other = log_of(1, [1, 2, 3]), log_of(2, [4])
    cut = cut_oldest(db, log, lambda time, size: time <= 20, 100)
    assert (cut.rows, cut.lost, cut.size, cut.oldest) == (2, 4, COST, 30)
    assert (cut.ends, cut.done) == (False, True)
    assert positions(db, log) == [5]
    assert positions(db, other) == [1]
    assert bodies(db) == {3: 1, 4: 1}
    line = db.execute("SELECT head, lost, size, oldest, newest FROM logs WHERE id=1").fetchone()
    assert line == (6, 4, COST, 30, 30)


def test_what_is_wanted_is_asked_with_what_is_left(db, log_of):
    asked = []

    def wanted(time, size):
        asked.append((time, size))
        return size > COST

    cut_oldest(db, log_of(1, [1, 2, 3]), wanted, 100)
    assert asked == [(10, 3 * COST), (20, 2 * COST), (30, COST)]


def test_no_more_go_than_there_is_room_for(db, log_of):
    log = log_of(1, [1, 2, 3])
    cut = cut_oldest(db, log, everything, 2)
    assert (cut.rows, cut.done, positions(db, log)) == (2, False, [5])


def test_a_body_stays_as_long_as_one_of_its_logs_has_it(db, log_of):
    mine, theirs = log_of(1, [1, 2]), log_of(2, [1, 2])
    cut_oldest(db, mine, everything, 100)
    assert bodies(db) == {1: 1, 2: 1}
    cut_oldest(db, theirs, lambda time, size: time <= 10, 100)
    assert bodies(db) == {2: 1}


def test_a_log_that_is_empty_stays_with_its_head_and_one_that_was_dropped_does_not(db, log_of):
    kept, dropped = log_of(1, [1]), log_of(2, [2], dropped=1)
    cut = cut_oldest(db, kept, everything, 100)
    assert (cut.ends, cut.lost, cut.size, cut.oldest) == (False, 2, 0, 10)
    assert cut_oldest(db, dropped, everything, 100).ends
    assert db.execute("SELECT id, head, lost FROM logs").fetchall() == [(1, 2, 2)]


def test_what_is_not_stored_in_the_end_has_changed_nothing(db, log_of):
    log = log_of(1, [1, 2, 3])
    before = log.line()
    db.execute("BEGIN")
    cut_oldest(db, log, everything, 100)
    db.execute("ROLLBACK")
    assert log.line() == before
    assert positions(db, log) == [1, 3, 5]


def test_pages_are_given_back_step_by_step_and_a_few_are_left(db):
    def pages():
        return db.execute("PRAGMA page_count").fetchone()[0]

    assert give_back(db) is False
    db.executemany("INSERT INTO bodies VALUES(?, 1, zeroblob(80000))", [(n,) for n in range(50)])
    db.execute("DELETE FROM bodies")
    full = pages()
    steps = 0
    while give_back(db):
        steps += 1
        assert pages() == full - steps * STEP
    assert steps >= 2
    assert db.execute("PRAGMA freelist_count").fetchone()[0] < FREE
