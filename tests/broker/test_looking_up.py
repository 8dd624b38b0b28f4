"""What is damaged where it lies is left out, told, and read across."""

from __future__ import annotations

import pytest

from chatbroker.broker import looking_up as module
from chatbroker.broker.journal import Page
from chatbroker.broker.looking_up import Damage
from chatbroker.broker.sqlite_journal import SqliteJournal

from ..journals import PLENTY, row, rows, store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    """Ten rows of two events each in the tables, and one behind them in the tail."""
    journal = SqliteJournal(path)
    journal.load(b"epoch-01")
    for stored in rows("echo", 10, events=2, body=b"so it was said"):
        store(journal, stored)
    journal._fold()
    store(journal, row("echo", 21, 2, 11))
    yield journal
    journal.close()


def damage(journal, *which):
    """The bodies of the rows number *which*, from 1 on, as a disk would: the rest of the line is
    as it was."""
    for number in which:
        journal._db.execute(
            "UPDATE bodies SET data = CAST('so it was paid' AS BLOB) WHERE id=?", (number,)
        )


def read_through(journal, budget=PLENTY):
    """The first positions of all rows that a reader gets who begins anew, and what is missed."""
    cursor, found, missed = 0, [], []
    while (page := journal.fetch("echo", cursor, budget)) != Page(0, 0, []):
        if page.missed_upto:
            missed.append((page.missed_upto, page.lost))
            cursor = page.missed_upto
        for one in page.rows:
            assert one.prev == cursor
            cursor = one.last
            found.append(one.first)
    assert cursor == 22
    return found, missed


def told(caplog):
    return [r.getMessage() for r in caplog.records if "damaged" in r.getMessage()]


def test_where_nothing_is_damaged_nothing_is_missed(journal, caplog):
    assert read_through(journal) == ([1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21], [])
    assert told(caplog) == []


@pytest.mark.parametrize("budget", [0, 30, PLENTY])
@pytest.mark.parametrize("which", [[1], [4], [10], [1, 2, 3], [4, 5, 9], [9, 10], range(1, 11)])
def test_what_is_damaged_is_missed_and_the_rest_is_not(journal, which, budget, caplog):
    damage(journal, *which)
    found, missed = read_through(journal, budget)
    assert found == [2 * n - 1 for n in range(1, 12) if n not in which]
    assert sum(lost for _, lost in missed) == 2 * len(which)
    assert {upto for upto, _ in missed} <= {2 * n for n in which}
    assert told(caplog) == [
        f"journal damaged log=echo from={2 * n - 1} to={2 * n}: it is not what was stored, and is "
        "left out; 'chatbroker check' tells more, and a backup can take its place"
        for n in which
    ]


def test_of_a_row_that_was_read_in_part_only_the_rest_is_missed(journal):
    damage(journal, 4)
    page = journal.fetch("echo", 7, PLENTY)
    assert (page.missed_upto, page.lost, page.rows[0].first) == (8, 1, 9)


def test_what_retention_took_is_missed_with_what_is_damaged_after_it(journal):
    journal.retain(0.003, None)
    while journal.tidy(8):
        pass
    first = journal.fetch("echo", 0, PLENTY).rows[0]
    damage(journal, (first.last + 1) // 2)
    page = journal.fetch("echo", 0, PLENTY)
    assert (page.missed_upto, page.lost) == (first.last, first.last)
    assert page.rows[0].prev == first.last


def test_each_is_told_once_and_not_more_than_so_many(caplog, monkeypatch):
    monkeypatch.setattr(module, "MOST_TOLD", 3)
    found = Damage()
    for _ in range(2):
        for one in rows("echo", 9):
            found.tell(one)
    assert len(told(caplog)) == 3


def test_what_is_older_than_checksums_is_given_as_it_is(journal, caplog):
    journal._db.execute("UPDATE bodies SET crc=-1")
    damage(journal, 4)
    assert len(read_through(journal)[0]) == 11
    assert told(caplog) == []


@pytest.mark.parametrize("size", [20, 5000])
def test_whatever_is_stored_has_its_checksum(journal, size):
    """Whether it went into the record of its turn or, as it is large, past it."""
    store(journal, row("echo", 23, 1, 12, b"x" * size))
    journal._fold()
    (unknown,) = journal._db.execute("SELECT count(*) FROM bodies WHERE crc=-1").fetchone()
    assert unknown == 0
