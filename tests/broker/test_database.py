from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chatbroker.broker import database
from chatbroker.broker.backup import back_up
from chatbroker.broker.database import (
    FILE,
    SYNC,
    explain,
    open_journal_file,
    open_to_read,
    schema_of,
    wanted_schema,
)
from chatbroker.broker.journal import CannotStore, JournalError

not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def opened(path):
    """Opens the file to write to; closed after the test."""
    made = []

    def open_it(sync: str = "full") -> sqlite3.Connection:
        made.append(open_journal_file(path, sync))
        return made[-1]

    yield open_it
    for db in made:
        db.close()


def pragma(db: sqlite3.Connection, name: str) -> object:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


# --- opening ------------------------------------------------------------------------------


@pytest.mark.parametrize(("sync", "level"), [("full", 2), ("normal", 1), ("off", 0)])
def test_the_settings_are_those_that_are_told(opened, sync, level):
    db = opened(sync)
    assert pragma(db, "synchronous") == level
    assert pragma(db, "journal_mode") == "wal"
    assert pragma(db, "page_size") == database.PAGE
    assert pragma(db, "auto_vacuum") == 2
    assert pragma(db, "wal_autocheckpoint") == database.CHECKPOINT
    assert set(SYNC) == {"full", "normal", "off"}


def test_it_may_be_used_by_another_thread_than_opened_it(opened):
    """A server may be made in one and run in another."""
    db = opened()
    with ThreadPoolExecutor(1) as another:
        assert another.submit(pragma, db, "page_size").result() == database.PAGE


def test_all_its_files_are_its_owners_whatever_the_umask(opened, path):
    before = os.umask(0)
    try:
        opened().execute("INSERT INTO meta VALUES('a', x'00')")
    finally:
        os.umask(before)
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()}
    assert set(modes) == {FILE, f"{FILE}-wal", f"{FILE}-shm"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("open_it", [open_journal_file, open_to_read])
def test_an_empty_file_is_no_new_journal(path, open_it):
    """A copy that failed leaves one; and all names would be free at once."""
    path.touch()
    with pytest.raises(JournalError, match="it is empty; put a backup in its place, or move it aw"):
        open_it(path)
    assert path.stat().st_size == 0


def test_a_log_that_was_left_is_not_taken_in_by_a_new_journal(opened, path):
    opened().execute("INSERT INTO meta VALUES('a', x'00')")
    log = Path(f"{path}-wal").read_bytes()
    elsewhere = path.with_name("copy")
    Path(f"{elsewhere}-wal").write_bytes(log)
    with pytest.raises(JournalError, match=r"it is gone, and .*copy-wal is not; put a backup"):
        open_journal_file(elsewhere)
    assert not elsewhere.exists()
    assert Path(f"{elsewhere}-wal").read_bytes() == log


@pytest.mark.parametrize("there", [True, False])
def test_where_a_link_points_to_it_is_made(path, there):
    """On another disk, perhaps; one that is not mounted is no reason to begin anew here."""
    elsewhere = path.with_name("elsewhere") / FILE
    path.symlink_to(elsewhere)
    if not there:
        with pytest.raises(JournalError, match=r"cannot open .*: No such file or directory"):
            open_journal_file(path)
        assert not path.exists()
    else:
        elsewhere.parent.mkdir()
        open_journal_file(path).close()
        assert [entry.name for entry in elsewhere.parent.iterdir()] == [FILE]
    assert path.is_symlink()
    assert [entry.name for entry in path.parent.iterdir() if not entry.is_dir()] == [FILE]


def test_it_has_its_name_when_it_is_whole_and_that_is_on_disk(path, monkeypatch):
    done = []
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: done.append(self.stat().st_size) or replace(self, to)
    )
    monkeypatch.setattr(database, "sync_folder", done.append)
    open_journal_file(path).close()
    size, folder = done
    assert size > database.PAGE
    assert folder == path.parent


def test_one_that_cannot_be_made_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, "no SQL"))
    with pytest.raises(JournalError):
        open_journal_file(path)
    assert list(path.parent.iterdir()) == []


def test_what_was_left_of_making_one_is_no_matter(opened, path):
    path.with_name(f".{FILE}.new").write_bytes(b"half of it")
    assert schema_of(opened()) == wanted_schema()
    assert {entry.name for entry in path.parent.iterdir()} == {FILE, f"{FILE}-wal", f"{FILE}-shm"}


@pytest.mark.parametrize("open_it", [open_journal_file, open_to_read])
@pytest.mark.parametrize("size", [1, 2, 15, 99])
def test_a_file_of_a_few_bytes_is_no_new_journal_and_stays(path, open_it, size):
    path.write_bytes(b"m" * size)
    with pytest.raises(JournalError, match="it is no database; put a backup in its place"):
        open_it(path)
    assert [entry.name for entry in path.parent.iterdir()] == [FILE]
    assert path.read_bytes() == b"m" * size


@pytest.mark.parametrize("open_it", [open_journal_file, open_to_read])
def test_an_empty_file_beside_a_log_is_no_new_journal_and_the_log_stays(opened, path, open_it):
    opened().execute("INSERT INTO meta VALUES('a', x'00')")
    log = Path(f"{path}-wal").read_bytes()
    assert log
    elsewhere = path.with_name("copy")
    elsewhere.touch()
    Path(f"{elsewhere}-wal").write_bytes(log)
    with pytest.raises(JournalError, match=r"it is empty, and .*copy-wal is not; put a backup"):
        open_it(elsewhere)
    assert Path(f"{elsewhere}-wal").read_bytes() == log


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("open_it", [open_journal_file, open_to_read])
def test_a_copy_does_not_take_in_the_log_of_the_file_that_it_replaces(
    opened, path, open_it, linked
):
    opened().execute("INSERT INTO meta VALUES('a', x'00')")
    copy = path.with_name("copy")
    back_up(path, copy)
    log = Path(f"{path}-wal").read_bytes()
    assert log
    Path(f"{copy}-wal").write_bytes(log)
    before = copy.read_bytes()
    name = path.with_name("link") if linked else copy
    if linked:
        name.symlink_to(copy)
    with pytest.raises(JournalError, match=r"it is a copy, and .*copy-wal is what is left"):
        open_it(name)
    assert (copy.read_bytes(), Path(f"{copy}-wal").read_bytes()) == (before, log)
    Path(f"{copy}-wal").unlink()
    open_it(copy).close()


def test_an_empty_log_without_a_file_is_no_matter(opened, path):
    Path(f"{path}-wal").touch()
    assert schema_of(opened()) == wanted_schema()


def test_a_second_opening_changes_nothing(opened):
    first = opened()
    first.execute("INSERT INTO meta VALUES('a', x'00')")
    assert opened().execute("SELECT * FROM meta").fetchall() == [("a", b"\0")]


# --- migrations ---------------------------------------------------------------------------


@pytest.fixture
def with_more(monkeypatch):
    """Adds migrations to those there are."""

    def add(*more: object) -> None:
        monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, *more))
        monkeypatch.setattr(database, "VERSION", len(database.MIGRATIONS))

    return add


def test_migrations_are_applied_once_and_in_order(opened, with_more):
    opened().execute("INSERT INTO meta VALUES('a', x'00')")
    calls = []

    def last(db: sqlite3.Connection) -> None:
        calls.append(db.execute("SELECT x FROM more").fetchall())

    with_more("CREATE TABLE more(x);\nINSERT INTO more VALUES(7);\n", last)
    for _ in range(2):
        db = opened()
        assert pragma(db, "user_version") == database.VERSION
        assert db.execute("SELECT x FROM more").fetchall() == [(7,)]
        assert db.execute("SELECT key FROM meta").fetchall() == [("a",)]
    assert calls == [[(7,)]]


def test_a_new_file_gets_all_of_them(opened, with_more):
    with_more("CREATE TABLE more(x);\n")
    assert pragma(opened(), "user_version") == database.VERSION


def test_a_migration_that_dies_leaves_the_version_before(opened, path, with_more, monkeypatch):
    opened().execute("INSERT INTO meta VALUES('a', x'00')")
    before = database.VERSION

    def dies(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE more(x)")
        db.execute("DELETE FROM meta")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, dies))
        patch.setattr(database, "VERSION", before + 1)
        with pytest.raises(KeyboardInterrupt):
            opened()
    db = opened()
    assert pragma(db, "user_version") == before
    assert schema_of(db) == wanted_schema()
    assert db.execute("SELECT key FROM meta").fetchall() == [("a",)]
    with_more("CREATE TABLE more(x);\n")
    assert pragma(opened(), "user_version") == before + 1


def test_a_statement_that_fails_is_told_and_undone(opened, path, with_more):
    opened()
    before = database.VERSION
    with_more("CREATE TABLE more(x);\nnonsense;\n")
    with pytest.raises(JournalError, match=r"cannot use .*syntax error"):
        opened()
    with sqlite3.connect(path) as db:
        assert pragma(db, "user_version") == before
    db.close()


def test_another_version_is_refused_by_name(opened, path):
    opened().execute("PRAGMA user_version=9")
    known = f"up to {database.VERSION}"
    for open_it in (open_journal_file, open_to_read):
        with pytest.raises(JournalError, match=rf"is of version 9, .*{known}; upgrade chatbroker"):
            open_it(path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=1")
    db.close()
    wanted = f"and {database.VERSION} is wanted; 'chatbroker run' brings it up"
    with pytest.raises(JournalError, match=wanted):
        open_to_read(path)


# --- reading ------------------------------------------------------------------------------


def test_who_reads_does_not_write_and_sees_what_is_written(opened, path):
    writer, reader = opened(), open_to_read(path)
    writer.execute("INSERT INTO meta VALUES('a', x'00')")
    assert reader.execute("SELECT key FROM meta").fetchall() == [("a",)]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM meta")
    reader.close()


def test_a_path_of_odd_characters_is_read(tmp_path):
    path = tmp_path / "a? b#%20ä&mode=rw"
    open_journal_file(path).close()
    open_to_read(path).close()


def test_what_cannot_be_read_is_told_in_words(path):
    with pytest.raises(JournalError, match="there is no journal at"):
        open_to_read(path)
    with pytest.raises(JournalError, match=r"cannot open .*: Is a directory"):
        open_to_read(path.parent)
    path.write_text("mine")
    with pytest.raises(JournalError, match=r"cannot open .*: Not a directory"):
        open_to_read(path / "below")
    path.write_bytes(b"words" * 5000)
    with pytest.raises(JournalError, match="it is no database"):
        open_to_read(path)
    with sqlite3.connect(path.with_name("another")) as db:
        db.execute("CREATE TABLE mine(x)")
    db.close()
    with pytest.raises(JournalError, match="holds no journal"):
        open_to_read(path.with_name("another"))


@not_as_root
def test_what_may_not_be_read_is_told_in_words(opened, path):
    opened().close()
    path.chmod(0o000)
    for open_it in (open_to_read, open_journal_file):
        with pytest.raises(JournalError, match=r"cannot open .*: Permission denied"):
            open_it(path)


# --- words --------------------------------------------------------------------------------


def failure(code: int | None) -> sqlite3.Error:
    error = sqlite3.OperationalError("words of SQLite")
    if code is not None:
        error.sqlite_errorcode = code
    return error


FOR_NOW = [
    (sqlite3.SQLITE_FULL, "no space left on the disk: "),
    (sqlite3.SQLITE_IOERR_SHMSIZE, "no space left on the disk: "),
    (sqlite3.SQLITE_IOERR, "the disk cannot be written or read: "),
    (sqlite3.SQLITE_IOERR_WRITE, "the disk cannot be written or read: "),
    (sqlite3.SQLITE_IOERR_FSYNC, "the disk cannot be written or read: "),
    (sqlite3.SQLITE_READONLY, "the file or its folder is read-only: "),
    (sqlite3.SQLITE_READONLY_DBMOVED, "the file or its folder is read-only: "),
    (sqlite3.SQLITE_BUSY, "another process has it locked: "),
    (sqlite3.SQLITE_BUSY_SNAPSHOT, "another process has it locked: "),
    (sqlite3.SQLITE_LOCKED, "it is locked: "),
    (sqlite3.SQLITE_CANTOPEN, "it cannot be opened: "),
    (sqlite3.SQLITE_PERM, "permission denied: "),
    (sqlite3.SQLITE_NOMEM, "no memory left: "),
]
FOR_GOOD = [
    (sqlite3.SQLITE_CORRUPT, "it is damaged; 'chatbroker check' tells more"),
    (sqlite3.SQLITE_CORRUPT_VTAB, "it is damaged; 'chatbroker check' tells more"),
    (sqlite3.SQLITE_NOTADB, "it is no database; put a backup in its place"),
    (sqlite3.SQLITE_AUTH, "permission denied; make it readable"),
    (sqlite3.SQLITE_CONSTRAINT, "words of SQLite; 'chatbroker check' tells more"),
    (sqlite3.SQLITE_ERROR, "words of SQLite; 'chatbroker check' tells more"),
    (None, "words of SQLite; 'chatbroker check' tells more"),
]


@pytest.mark.parametrize(("code", "words"), FOR_NOW)
def test_what_may_pass_is_said_to_be_tried_again(code, words):
    told = explain(failure(code), Path("/there/file"))
    assert type(told) is CannotStore
    assert str(told) == f"{words}/there/file"


@pytest.mark.parametrize(("code", "words"), FOR_GOOD)
def test_what_does_not_pass_is_told_with_what_to_do(code, words):
    told = explain(failure(code), Path("/there/file"))
    assert type(told) is JournalError
    assert str(told).startswith(f"cannot use /there/file: {words}")


def test_every_code_that_is_known_is_tested():
    codes = [code for code, _ in (*FOR_NOW, *FOR_GOOD) if code is not None]
    tested = {*codes, *(code & 0xFF for code in codes)}
    assert {*database._FOR_NOW, *database._FOR_GOOD} <= tested
