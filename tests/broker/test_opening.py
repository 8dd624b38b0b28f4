from __future__ import annotations

from pathlib import Path

import pytest

from chatbroker.broker import database
from chatbroker.broker.config import Config, StartError
from chatbroker.broker.database import FILE
from chatbroker.broker.folder import in_use
from chatbroker.broker.journal import Commit, JournalError
from chatbroker.broker.keyring import SERVER_KEY
from chatbroker.broker.log import Row
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.opening import folder_for, open_journal
from chatbroker.broker.sqlite_journal import SqliteJournal

EPOCH = b"epoch-01"


def test_where_the_data_are_follows_from_the_port_unless_it_is_told(data_folder):
    assert folder_for(Config(), 5555) == data_folder / "broker-5555"
    assert folder_for(Config(port=0), 40_000) == data_folder / "broker-40000"
    assert folder_for(Config(data_dir=Path("here")), 5555) == Path("here")
    assert folder_for(Config(memory=True), 5555) is None


def test_in_memory_nothing_is_made(data_folder):
    journal = open_journal(Config(memory=True), 5555)
    assert isinstance(journal, MemoryJournal)
    journal.close()
    assert not data_folder.exists()


def test_a_journal_holds_its_folder_until_it_is_closed(tmp_path):
    config = Config(data_dir=tmp_path)
    journal = open_journal(config, 5555)
    assert in_use(tmp_path)
    with pytest.raises(StartError, match="is in use by another broker"):
        open_journal(config, 5556)
    journal.close()
    assert not in_use(tmp_path)
    open_journal(config, 5556).close()


@pytest.mark.parametrize("there", [True, False])
def test_a_journal_that_is_anothers_is_left_alone(tmp_path, monkeypatch, there):
    """By a link, and found so before or after it was made."""
    first = open_journal(Config(data_dir=tmp_path / "one"), 5555)
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / FILE).symlink_to(tmp_path / "one" / FILE)
    if not there:
        monkeypatch.setattr(Path, "exists", lambda path: path.name != FILE and there)
        monkeypatch.setattr(database, "_make", lambda path: None)
    opened = []
    monkeypatch.setattr(SqliteJournal, "close", record(opened, SqliteJournal.close))
    with pytest.raises(StartError, match="is in use by another broker"):
        open_journal(Config(data_dir=other), 5556)
    monkeypatch.undo()
    assert len(opened) == (0 if there else 1)
    assert not in_use(other)
    first.close()
    open_journal(Config(data_dir=other), 5556).close()


def record(calls, function):
    def recorded(*args):
        calls.append(args)
        return function(*args)

    return recorded


def test_what_was_a_secure_brokers_is_not_laid_open_by_a_line_that_is_missing(tmp_path):
    (tmp_path / SERVER_KEY).write_text("{}")
    with pytest.raises(StartError, match=r"are a secure broker's; run it with --secure"):
        open_journal(Config(data_dir=tmp_path), 5555)
    assert not in_use(tmp_path)
    for meant in (Config(data_dir=tmp_path, secure=True), Config(data_dir=tmp_path, insecure=True)):
        open_journal(meant, 5555).close()


def test_a_folder_that_cannot_be_is_told_in_words(tmp_path):
    with pytest.raises(StartError, match="File name too long"):
        open_journal(Config(data_dir=tmp_path / ("a" * 300)), 5555)


def test_settings_arrive_in_their_units(tmp_path):
    config = Config(data_dir=tmp_path, sync="off", keep=100.0, keep_bytes=1000)
    journal = open_journal(config, 5555)
    assert isinstance(journal, SqliteJournal)
    journal.load(EPOCH)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (0,)
    journal.commit(Commit(rows=[Row("echo", 0, 1, 1, 5, b"")]))
    while journal.tidy(100_004):
        continue
    assert len(journal.fetch("echo", 0, 99).rows) == 1
    while journal.tidy(200_000):
        continue
    assert len(journal.fetch("echo", 0, 99).rows) == 0
    assert journal._retention.most_bytes == 1000
    journal.close()


def test_without_bounds_everything_is_kept(tmp_path):
    journal = open_journal(Config(data_dir=tmp_path, keep=None, keep_bytes=None), 5555)
    journal.load(EPOCH)
    journal.commit(Commit(rows=[Row("echo", 0, 1, 1, 5, b"")]))
    assert not journal.tidy(1 << 60)
    journal.close()


def test_a_journal_that_cannot_be_opened_frees_its_folder(tmp_path):
    (tmp_path / FILE).write_bytes(b"words" * 5000)
    with pytest.raises(JournalError, match="it is no database"):
        open_journal(Config(data_dir=tmp_path), 5555)
    assert not in_use(tmp_path)
