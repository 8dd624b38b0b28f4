"""A journal, or a data folder, that is removed or replaced while it is in use."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from journals import EPOCH, kept, row, store

from chatbroker.broker import standing
from chatbroker.broker.config import StartError
from chatbroker.broker.journal import CannotStore
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.broker.standing import standing_folder


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked each time."""
    monkeypatch.setattr(standing, "LOOK_EVERY", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def journal(folder: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(folder / "journal.db")
    journal.load(EPOCH)
    store(journal, row("echo", 1))
    yield journal
    journal.close()


def refuses(journal: SqliteJournal) -> str:
    """Why nothing is stored."""
    with pytest.raises(CannotStore) as refused:
        store(journal, row("echo", 2))
    return str(refused.value)


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal"])
def test_nothing_is_stored_in_files_that_were_removed(
    journal: SqliteJournal, folder: Path, name: str
) -> None:
    (folder / name).unlink()
    with pytest.raises(CannotStore) as told:
        journal.tidy(10)
    assert str(told.value) == f"{folder / name} is gone: No such file or directory"
    assert refuses(journal) == str(told.value)


def test_nothing_is_stored_in_a_file_that_was_replaced(
    journal: SqliteJournal, folder: Path
) -> None:
    copy = folder / "copy"
    shutil.copy(folder / "journal.db", copy)
    copy.replace(folder / "journal.db")
    with pytest.raises(CannotStore, match=r"journal\.db was replaced while it was in use$"):
        journal.tidy(10)
    assert "was replaced" in refuses(journal)


def test_when_they_are_back_it_goes_on(journal: SqliteJournal, folder: Path) -> None:
    away = folder.with_name("away")
    folder.rename(away)
    with pytest.raises(CannotStore):
        journal.tidy(10)
    refuses(journal)
    away.rename(folder)
    store(journal, row("echo", 2))
    assert not journal.tidy(30)
    assert kept(journal, "echo") == [row("echo", 1), row("echo", 2)]


def test_a_link_to_it_counts_by_what_it_points_to(tmp_path: Path, folder: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(folder / "journal.db")
    journal = SqliteJournal(link)
    journal.load(EPOCH)
    store(journal, row("echo", 1))
    journal.tidy(10)
    (folder / "journal.db-wal").unlink()
    with pytest.raises(CannotStore, match=r"data/journal\.db-wal is gone"):
        journal.tidy(20)
    journal.close()


@pytest.mark.parametrize("gone", [True, False])
def test_what_ends_with_the_process_is_told(
    journal: SqliteJournal, folder: Path, caplog: pytest.LogCaptureFixture, gone: bool
) -> None:
    if gone:
        shutil.rmtree(folder)
    journal.close()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    path = folder / "journal.db"
    words = f"journal {path} is gone: No such file or directory; what it holds is in the file that "
    words += "was open, if that is left"
    assert told == ([words] if gone else [])


def test_it_is_looked_now_and_then(
    journal: SqliteJournal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at each commit would cost more than it is worth."""
    now = [time.monotonic() + 1]
    monkeypatch.setattr(standing.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(standing, "LOOK_EVERY", 0.02)
    store(journal, row("echo", 2))
    shutil.rmtree(folder)
    now[0] += 0.011
    store(journal, row("echo", 3))
    now[0] += 0.011
    with pytest.raises(CannotStore):
        store(journal, row("echo", 4))


def test_a_folder_is_looked_at_each_time(folder: Path) -> None:
    stands = standing_folder(folder)
    stands.insist()
    away = folder.rename(folder.with_name("away"))
    with pytest.raises(OSError, match=f"{folder} is gone: No such file or directory"):
        stands.insist()
    folder.mkdir()
    with pytest.raises(OSError, match=f"{folder} was replaced while it was in use"):
        stands.insist()
    folder.rmdir()
    away.rename(folder)
    stands.insist()


def test_a_folder_that_is_not_there_is_told_at_the_start(folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(StartError, match=f"data folder {folder} cannot be used: No such file"):
        standing_folder(folder)
