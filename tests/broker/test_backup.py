from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chatbroker.broker import backup as backup_module
from chatbroker.broker import check as check_module
from chatbroker.broker import cli_data
from chatbroker.broker.backup import back_up
from chatbroker.broker.check import check_journal
from chatbroker.broker.database import FILE, PAGE
from chatbroker.broker.folder import DataFolder
from chatbroker.broker.former import Former
from chatbroker.broker.journal import CannotStore, Commit, JournalError, UserRecord
from chatbroker.broker.kept_file import SANCTIONS
from chatbroker.broker.keyring import MEMBERS
from chatbroker.broker.log import Row
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.batch import pack_events
from chatbroker.wire.messages import Event

EPOCH = b"epoch-01"


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / FILE


@pytest.fixture
def journal(path):
    journal = SqliteJournal(path)
    journal.load(EPOCH)
    say(journal, 1)
    yield journal
    journal.close()


def say(journal: SqliteJournal, position: int) -> None:
    body = pack_events([Event(1, "bob", "", "hi")])
    journal.commit(Commit(rows=[Row("echo", position - 1, position, 1, 1, body)]))


def damage(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute(statement).rowcount == 1


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "copies" / "copy.db"


@pytest.fixture(autouse=True)
def _folder(target):
    target.parent.mkdir()


def test_a_copy_is_whole_one_file_and_private_while_the_journal_is_written_to(
    journal, path, target
):
    journal._fold()
    say(journal, 2)
    back_up(path, target)
    say(journal, 3)
    report = check_journal(target)
    assert (report.faults, report.summary.messages) == ([], 2)
    assert target.stat().st_mode & 0o777 == 0o600
    names = {entry.name for entry in target.parent.iterdir()}
    assert names <= {"copy.db"}


def test_a_restored_copy_begins_a_new_epoch(journal, path, target):
    before = UserRecord("alice", bytes(32), b"alice-01", "@alice:1", True, 0, 1, 1)
    journal.commit(Commit(users=[before]))
    back_up(path, target)
    again = SqliteJournal(target)
    kept = again.load(b"epoch-02")
    assert (kept.epoch, kept.heads) == (b"epoch-02", {"echo": 1})
    (alice,) = kept.users
    assert alice.epoch != before.epoch
    former = {"echo": Former(EPOCH, 1), before.log: Former(before.epoch, 0)}
    assert kept.former == former
    body = pack_events([Event(1, "bob", "", "since")])
    again.commit(Commit(rows=[Row("echo", 1, 2, 1, 1, body)]))
    again.close()
    # A start that served nobody, say, is no reason to have them read all of it again.
    again = SqliteJournal(target)
    kept = again.load(b"epoch-03")
    assert (kept.epoch, kept.users, kept.former) == (b"epoch-02", [alice], former)
    assert kept.log("echo", kept.epoch).reached(EPOCH, 9) == 1
    back_up(target, target.with_name("next.db"))
    again.close()
    last = SqliteJournal(target.with_name("next.db"))
    kept = last.load(b"epoch-03")
    assert kept.former == {"echo": Former(b"epoch-02", 2), before.log: Former(alice.epoch, 0)}
    last.close()
    # The original goes on.
    journal.close()
    original = SqliteJournal(path)
    assert original.load(b"epoch-04").epoch == EPOCH
    original.close()


def test_what_is_there_is_replaced_only_when_told_so(journal, path, target):
    target.write_text("mine")
    with pytest.raises(JournalError, match="is there already; --force replaces it"):
        back_up(path, target)
    assert target.read_text() == "mine"
    back_up(path, target, replace=True)
    assert check_journal(target).faults == []
    assert [entry.name for entry in target.parent.iterdir()] == ["copy.db"]


def test_a_link_stays_one_and_a_device_too(journal, path, target):
    """As root, a device would be no more."""
    link = target.with_name("latest.db")
    link.symlink_to(target.name)
    back_up(path, link, replace=True)
    assert link.is_symlink()
    assert check_journal(target).faults == []
    pipe = target.with_name("pipe")
    os.mkfifo(pipe)
    with pytest.raises(JournalError, match=f"cannot write {pipe}: it is no regular file"):
        back_up(path, pipe, replace=True)
    assert pipe.is_fifo()
    assert {entry.name for entry in target.parent.iterdir()} == {"copy.db", "latest.db", "pipe"}


def test_what_comes_meanwhile_is_not_replaced(journal, path, target, monkeypatch):
    copy = backup_module._copy

    def slowly(db: sqlite3.Connection, draft: Path) -> None:
        copy(db, draft)
        target.write_text("mine")

    monkeypatch.setattr(backup_module, "_copy", slowly)
    with pytest.raises(JournalError, match="is there already"):
        back_up(path, target)
    assert [entry.name for entry in target.parent.iterdir()] == ["copy.db"]
    assert target.read_text() == "mine"


def test_it_is_on_disk_before_it_has_its_name_and_the_name_before_it_is_told(
    journal, path, target, monkeypatch
):
    done = []
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append((name, target.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    back_up(path, target)
    (draft, named), then = done
    assert draft.startswith(f".{target.name}.")
    assert not named
    assert then == (target.parent.name, True)


@pytest.mark.parametrize("replace", [False, True])
def test_what_is_damaged_does_not_take_the_place_of_a_good_copy(journal, path, target, replace):
    journal.settle()
    journal._fold()
    if replace:
        back_up(path, target)
    before = target.read_bytes() if replace else None
    damage(path, "UPDATE bodies SET data = CAST(substr(data, 1, 2) || 'ho' AS BLOB)")
    said = rf"{path} is damaged: body 1: .*; {target} stays as it was, and 'chatbroker check' tells"
    with pytest.raises(JournalError, match=said):
        back_up(path, target, replace=replace)
    assert (target.read_bytes() if target.exists() else None) == before
    assert {entry.name for entry in target.parent.iterdir()} <= {"copy.db"}


def test_it_is_the_source_that_is_damaged_and_not_the_copy(journal, path, target):
    journal.close()
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(bytes(path.stat().st_size - PAGE))
    with pytest.raises(JournalError, match=f"cannot use {path}: it is damaged; 'chatbroker check'"):
        back_up(path, target)
    assert list(target.parent.iterdir()) == []


def test_room_that_lacks_for_the_look_at_a_copy_is_no_damage(journal, path, target, monkeypatch):
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def fail(*_: object) -> bool:
        raise full

    monkeypatch.setattr(check_module, "_sound", fail)
    with pytest.raises(CannotStore, match=f"no space left on the disk: {target}"):
        back_up(path, target)


def test_what_is_said_meanwhile_does_not_make_it_begin_again(journal, path, target, monkeypatch):
    monkeypatch.setattr(backup_module, "STEP", 1)
    left = []

    def meanwhile(status: int, remaining: int, total: int) -> None:
        left.append(remaining)
        say(journal, len(left) + 1)
        journal.settle()

    monkeypatch.setattr(backup_module, "_heed_signals", meanwhile)
    journal.settle()
    back_up(path, target)
    assert left == [*range(len(left) - 1, -1, -1)]
    assert len(left) > 2
    report = check_journal(target)
    assert (report.faults, report.summary.messages) == ([], 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_between_two_steps_and_leaves_nothing_behind(
    journal, path, target, monkeypatch, number
):
    monkeypatch.setattr(backup_module, "STEP", 1)
    drafts = []

    def ended(status: int, remaining: int, total: int) -> None:
        drafts.extend(target.parent.iterdir())
        os.kill(os.getpid(), number)

    monkeypatch.setattr(backup_module, "_heed_signals", ended)
    arguments = [str(target), "--data-dir", str(path.parent)]
    with pytest.raises(SystemExit) as status:
        cli_data.backup.main(arguments, standalone_mode=False)
    assert status.value.code == 128 + number
    assert drafts
    assert list(target.parent.iterdir()) == []


def test_what_one_left_that_was_killed_goes_with_the_next_if_nobody_is_at_work(
    journal, path, target
):
    left = [f".copy.db.{16 * 'a'}.new", f".copy.db.{16 * 'b'}.new-journal"]
    others = [".copy.db.original", f".other.db.{16 * 'a'}.new", f".copy_db.{16 * 'a'}.new"]
    for name in [*left, *others]:
        target.with_name(name).write_text("")
    at_work = os.open(target.parent, os.O_RDONLY)
    fcntl.flock(at_work, fcntl.LOCK_SH)
    back_up(path, target)
    assert {*os.listdir(target.parent)} == {"copy.db", *left, *others}
    os.close(at_work)
    back_up(path, target, replace=True)
    assert {*os.listdir(target.parent)} == {"copy.db", *others}


def test_what_a_backup_leaves_that_is_killed_is_known_by_its_name(
    journal, path, target, monkeypatch
):
    copy, drafts = backup_module._copy, []

    def named(db: sqlite3.Connection, draft: Path) -> None:
        drafts.append(draft)
        copy(db, draft)

    monkeypatch.setattr(backup_module, "_copy", named)
    back_up(path, target)
    for ending in ("", "-journal", "-wal"):
        Path(f"{drafts[0]}{ending}").write_text("")
    back_up(path, target, replace=True)
    assert os.listdir(target.parent) == ["copy.db"]


def test_the_draft_of_one_at_work_stays(journal, path, target, monkeypatch):
    copy = backup_module._copy

    def slowly(db: sqlite3.Connection, draft: Path) -> None:
        monkeypatch.setattr(backup_module, "_copy", copy)
        copy(db, draft)
        back_up(path, target)
        assert draft.exists()

    monkeypatch.setattr(backup_module, "_copy", slowly)
    back_up(path, target, replace=True)
    assert check_journal(target).faults == []
    assert os.listdir(target.parent) == ["copy.db"]


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal", "journal.db-journal", "lock"])
def test_the_brokers_own_files_are_not_replaced_nor_made(journal, path, target, name):
    before = {*path.parent.iterdir()}
    target.symlink_to(path.with_name(name))
    for own in (path.with_name(name), target):
        with pytest.raises(JournalError, match=f"{own} is the broker's own file; give another"):
            back_up(path, own, replace=True)
    assert {*path.parent.iterdir()} == before
    assert check_journal(path).faults == []
    # Elsewhere it is a name like any other.
    back_up(path, target.with_name(name), replace=True)


@pytest.mark.parametrize("name", [FILE, SANCTIONS, MEMBERS])
def test_files_of_a_broker_that_is_stopped_are_not_replaced_nor_made(journal, path, tmp_path, name):
    other = DataFolder(tmp_path / "other")
    other.close()
    own = other.path / name
    for _ in range(2):
        before = [(file, file.read_bytes()) for file in other.path.iterdir()]
        with pytest.raises(JournalError, match=f"{own} is the broker's own file; give another"):
            back_up(path, own, replace=True)
        assert [(file, file.read_bytes()) for file in other.path.iterdir()] == before
        own.write_text("kept")


def test_what_is_beside_a_file_that_a_link_points_to_is_the_brokers_too(journal, path, target):
    linked = target.with_name(FILE)
    linked.symlink_to(path)
    with pytest.raises(JournalError, match="is the broker's own file; give another"):
        back_up(linked, path.with_name(f"{FILE}-wal"), replace=True)
    back_up(linked, path.with_name("copy.db"))


def test_places_that_cannot_be_written_are_told_in_words(journal, path, target, tmp_path):
    with pytest.raises(JournalError, match=r"cannot write .*: No such file or directory"):
        back_up(path, tmp_path / "nowhere" / "copy")
    with pytest.raises(JournalError, match="is a folder; give a file"):
        back_up(path, tmp_path)
    with pytest.raises(JournalError, match="there is no journal at"):
        back_up(tmp_path / "nowhere", target)


@pytest.mark.parametrize("error", [sqlite3.OperationalError("full"), OSError(28, "No space left")])
def test_a_disk_that_is_full_leaves_nothing_behind(journal, path, target, monkeypatch, error):
    if isinstance(error, sqlite3.Error):
        error.sqlite_errorcode = sqlite3.SQLITE_FULL

    def fail(db: sqlite3.Connection, draft: Path) -> None:
        draft.with_name(f"{draft.name}-wal").write_text("")
        raise error

    monkeypatch.setattr(backup_module, "_copy", fail)
    with pytest.raises(JournalError, match=r"(?i)no space left"):
        back_up(path, target)
    assert list(target.parent.iterdir()) == []
