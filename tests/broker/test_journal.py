"""What both journals promise of what was committed and is not settled yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from journals import EPOCH, PLENTY, row, take

from chatbroker.broker import tail
from chatbroker.broker.journal import Commit, Journal, Page
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.sqlite_journal import SqliteJournal

ONE, TWO = row("echo", 1, time=5, body=b"one"), row("echo", 2, time=7, body=b"two")


@pytest.fixture(params=["memory", "disk"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    path = tmp_path / "journal.db"
    journal = MemoryJournal() if request.param == "memory" else SqliteJournal(path)
    journal.load(EPOCH)
    yield journal
    journal.close()


def look(journal: Journal) -> Page:
    page = journal.fetch("echo", 0, PLENTY)
    return page._replace(rows=list(page.rows))


def test_what_was_committed_counts_when_it_is_settled_and_once(journal: Journal) -> None:
    journal.commit(Commit(rows=[ONE]))
    assert (journal.size, journal.messages) == (0, 0)
    journal.settle()
    size = journal.size
    assert size > 0
    assert journal.messages == 1
    journal.settle()
    assert (journal.size, journal.messages) == (size, 1)


@pytest.mark.parametrize(
    "need",
    [
        lambda journal: journal.commit(Commit(rows=[TWO])),
        lambda journal: journal.fetch("echo", 0, PLENTY),
        lambda journal: journal.position_at("echo", 0),
    ],
    ids=["commit", "fetch", "position_at"],
)
def test_what_needs_it_settles_it(journal: Journal, need: Callable[[Journal], object]) -> None:
    journal.commit(Commit(rows=[ONE]))
    need(journal)
    assert journal.messages == 1


def test_what_is_not_settled_is_found(journal: Journal) -> None:
    journal.commit(Commit(rows=[ONE]))
    assert look(journal) == Page(0, 0, [ONE])
    journal.commit(Commit(rows=[TWO]))
    assert journal.position_at("echo", 6) == 1
    journal.commit(Commit(dropped=["echo"]))
    assert look(journal) == Page(0, 0, [])


def test_what_is_not_settled_is_folded_when_it_is_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "MOST_ROWS", 1)
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.load(EPOCH)
    take(journal, Commit(rows=[ONE]))
    journal.commit(Commit(rows=[TWO]))
    while journal.tidy(10):
        pass
    assert not journal._tail.turns
    assert look(journal) == Page(0, 0, [ONE, TWO])
    journal.close()


@pytest.mark.parametrize("settles", [True, False])
@pytest.mark.parametrize("ends", ["in order", "at once"])
def test_what_is_not_settled_is_there_after_a_restart(
    tmp_path: Path, settles: bool, ends: str
) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.load(EPOCH)
    journal.commit(Commit(rows=[ONE]))
    journal.commit(Commit(rows=[TWO]))
    if settles:
        journal.settle()
    if ends == "in order":
        journal.close()
    else:
        journal._db.close()
    again = SqliteJournal(path)
    assert again.load(EPOCH).heads == {"echo": 2}
    assert look(again) == Page(0, 0, [ONE, TWO])
    assert again.messages == 2
    again.close()
