"""What is damaged where it lies is left out, told, and read across."""

from __future__ import annotations

import re

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
        for number, one in enumerate(page.rows):
            # What is read of the first already is trimmed.
            assert one.prev == cursor or (number == 0 and one.prev < cursor < one.last)
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


SPOILED = {
    "a body is gone": ("DELETE FROM bodies WHERE id=4", [4]),
    "the last body is gone": ("DELETE FROM bodies WHERE id=10", [10]),
    "a body is a number": ("UPDATE bodies SET data=7 WHERE id=4", [4]),
    "a body is a text": ("UPDATE bodies SET data='so it was said' WHERE id=4", [4]),
    "a row is gone": ("DELETE FROM rows WHERE body=4", [4]),
    "the first row is gone": ("DELETE FROM rows WHERE body=1", [1]),
    "the last row is gone": ("DELETE FROM rows WHERE body=10", [10]),
    "many are": ("DELETE FROM rows WHERE body BETWEEN 3 AND 8", range(3, 9)),
    "a row follows another": ("UPDATE rows SET prev=5 WHERE body=4", [4]),
    "what it follows is a text": ("UPDATE rows SET prev='x' WHERE body=4", [4]),
    "so is how many it holds": ("UPDATE rows SET events='x' WHERE body=4", [4]),
    "it holds none": ("UPDATE rows SET events=0 WHERE body=4", [4]),
    "it holds fewer": ("UPDATE rows SET events=1 WHERE body=4", [4]),
    "it holds more": ("UPDATE rows SET events=3 WHERE body=4", [4]),
    "it holds many more": ("UPDATE rows SET events=5 WHERE body=4", [4]),
    "it holds a million more": ("UPDATE rows SET events=1000000 WHERE body=10", [10]),
}


@pytest.mark.parametrize("budget", [0, 30, PLENTY])
@pytest.mark.parametrize(("spoil", "which"), SPOILED.values(), ids=[*SPOILED])
def test_rows_that_do_not_go_on_from_each_other_are_missed(journal, spoil, which, budget, caplog):
    """And whoever reads gets to the end, and the other rows once."""
    journal._db.execute(spoil)
    found, missed = read_through(journal, budget)
    assert found == [2 * n - 1 for n in range(1, 12) if n not in which]
    assert sum(lost for _, lost in missed) == 2 * len(which)
    assert told(caplog)


@pytest.mark.parametrize("which", [[11], [10, 11], range(1, 12)])
def test_what_is_missing_at_the_end_is_missed_up_to_the_head(journal, which, caplog):
    journal._fold()
    journal._db.executemany("DELETE FROM rows WHERE body=?", [(number,) for number in which])
    found, missed = read_through(journal)
    assert found == [2 * n - 1 for n in range(1, 12) if n not in which]
    assert missed == [(22, 2 * len(which))]
    assert len(told(caplog)) == 1


@pytest.mark.parametrize("gone", [[1], [4], [10], [3, 4, 5, 6], range(1, 11)])
def test_a_time_is_found_where_rows_are_missing(journal, gone):
    """Among those that are there; the row number n is of time n, and begins after 2 n - 2."""
    other = [row("alice", 1 + n, 1, 5) for n in range(3)]
    store(journal, *other)
    journal._fold()
    journal._db.executemany("DELETE FROM rows WHERE body=?", [(number,) for number in gone])
    for time in range(1, 12):
        found = journal.position_at("echo", time)
        there = [n for n in range(1, 12) if n not in gone and n >= time]
        assert 0 <= found <= 2 * there[0] - 2
        assert not [n for n in range(1, time) if n not in gone and 2 * n > found]


@pytest.mark.parametrize("spoil", ["events=1000", "events='x'", "time='x'", "time=x'00'"])
def test_a_time_is_found_whatever_a_damaged_row_says(journal, spoil):
    """Of rows whose time cannot be told nobody knows whether they are too early."""
    journal._db.execute(f"UPDATE rows SET {spoil} WHERE body=4")
    for time in range(1, 11):
        found = journal.position_at("echo", time)
        assert found == 2 * time - 2 or (time == 4 and found in (6, 8))


@pytest.mark.parametrize("spoil", ["events=3", "events='x'"])
def test_who_is_at_the_end_or_past_it_misses_nothing(journal, spoil, caplog):
    journal._fold()
    journal._db.execute(f"UPDATE rows SET {spoil} WHERE body=11")
    assert journal.fetch("echo", 20, PLENTY) == Page(22, 2, [])
    places = [re.findall(r"(?:from|to)=(\d+)", line) for line in told(caplog)]
    assert places
    assert all(int(first) <= int(last) for first, last in places)
    for after in (22, 23, 50, 1 << 60):
        assert journal.fetch("echo", after, PLENTY) == Page(0, 0, [])


def test_rows_that_claim_too_much_take_no_others_along(journal, monkeypatch):
    """Also where a page ends among them, and where a part of the first was read."""
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    journal._db.execute("UPDATE rows SET events = events + 1000 WHERE body <= 7")
    assert read_through(journal)[0] == [15, 17, 19, 21]
    page = journal.fetch("echo", 13, PLENTY)
    assert (page.missed_upto, page.lost, page.rows[0].first) == (14, 1, 15)


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


def test_what_a_record_holds_that_waits_to_be_folded_has_its_checksum_too(journal, path):
    """After a crash all of it is folded, with what the disk made of it."""
    store(journal, row("echo", 23, 1, 12, b"so it was said"))
    journal._db.execute("UPDATE turns SET data = CAST(replace(data, 'said', 'paid') AS BLOB)")
    journal._db.close()
    again = SqliteJournal(path)
    again.load(b"epoch-02")
    page = again.fetch("echo", 22, PLENTY)
    assert (page.missed_upto, page.rows) == (23, [])
    again.close()
