from __future__ import annotations

import errno
import fcntl
import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from chatbroker.broker.config import StartError
from chatbroker.broker.folder import LOCK, DataFolder, as_its_owner, folder_of, in_use

not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def held(tmp_path):
    """A folder that another process holds; the folder, and the process's id."""
    folder = tmp_path / "data"
    code = (
        "import sys, pathlib; from chatbroker.broker.folder import DataFolder;"
        "held = DataFolder(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield folder, process
    process.kill()
    process.communicate()


def test_each_port_has_a_folder_of_its_own(data_folder):
    assert folder_of(5555) == data_folder / "broker-5555"
    assert folder_of(5600) != folder_of(5555)


def test_it_is_made_with_those_above_it_for_its_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        folder = DataFolder(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"):
        assert mode(path) == 0o700
    assert mode(folder.path / LOCK) == 0o600
    folder.close()
    folder.close()


def test_a_folder_that_is_open_to_others_is_warned_of_and_used(tmp_path, caplog):
    tmp_path.chmod(0o755)
    with caplog.at_level(logging.WARNING, "chatbroker"):
        DataFolder(tmp_path).close()
    assert f"folder path={tmp_path} is open to others; chmod 700 would close it" in caplog.text
    caplog.clear()
    tmp_path.chmod(0o700)
    DataFolder(tmp_path).close()
    assert caplog.text == ""


def test_a_second_broker_is_refused_with_the_first_ones_pid(held):
    folder, process = held
    words = rf"data folder {folder} is in use by another broker \(pid {process.pid}\); stop it"
    with pytest.raises(StartError, match=words):
        DataFolder(folder)
    assert in_use(folder)
    # To ask does not take it.
    with pytest.raises(StartError, match=words):
        DataFolder(folder)


def test_the_lock_goes_with_its_process_however_it_ends(held):
    folder, process = held
    process.kill()
    process.wait()
    assert not in_use(folder)
    again = DataFolder(folder)
    assert (folder / LOCK).read_text() == f"{os.getpid()}\n"
    again.close()
    assert not in_use(folder)


def test_a_lock_that_its_holder_took_along_meanwhile_is_none(tmp_path, monkeypatch):
    """Whoever comes next makes another, and would have the folder too."""
    lock = fcntl.flock

    def too_late(descriptor, how):
        lock(descriptor, how)
        (tmp_path / LOCK).unlink()

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", too_late)
        words = f"data folder {tmp_path} was left by another broker just now; try again"
        with pytest.raises(StartError, match=words):
            DataFolder(tmp_path)
    DataFolder(tmp_path).close()


def test_where_nothing_can_be_locked_it_is_not_called_anothers(tmp_path, monkeypatch):
    def refuse(descriptor, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        words = f"cannot lock data folder {tmp_path}: No locks available; give one on another file"
        with pytest.raises(StartError, match=words):
            DataFolder(tmp_path)


def test_one_that_only_met_there_leaves_no_trace(tmp_path):
    folder = DataFolder(tmp_path / "data")
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_another_has_made_in_its_place_stays(tmp_path):
    path, moved = tmp_path / "data", tmp_path / "moved"
    first = DataFolder(path)
    path.rename(moved)
    second = DataFolder(path)
    first.remove()
    assert in_use(path)
    assert (path / LOCK).exists()
    second.close()
    third = DataFolder(moved)
    moved.rename(tmp_path / "further")
    moved.mkdir()
    third.remove()
    assert moved.exists()


def test_a_folder_without_a_lock_is_not_in_use(tmp_path):
    assert not in_use(tmp_path)
    assert not in_use(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_told_in_words(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    words = f"data folder {file} is a file; give another with --data-dir"
    with pytest.raises(StartError, match=words):
        DataFolder(file)
    with pytest.raises(StartError, match=r"cannot use data folder .*: Not a directory"):
        DataFolder(file / "below")
    with pytest.raises(StartError, match="cannot look at data folder"):
        in_use(file)
    assert file.read_text() == "mine"


def test_a_lock_that_is_a_folder_is_told_in_words(tmp_path):
    (tmp_path / LOCK).mkdir()
    with pytest.raises(StartError, match=r"cannot use data folder .*: Is a directory"):
        DataFolder(tmp_path)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "make room there and start it again"),
        (errno.EDQUOT, "make room there and start it again"),
        (errno.EIO, "give another with --data-dir, or keep nothing with --memory"),
    ],
    ids=["disk", "quota", "neither"],
)
def test_a_disk_that_is_full_or_fails_is_told_with_its_folder(tmp_path, monkeypatch, number, hint):
    def refused(descriptor, size):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refused)
        words = f"cannot use data folder {tmp_path}: {os.strerror(number)}; {hint}"
        with pytest.raises(StartError, match=words):
            DataFolder(tmp_path)
    assert not in_use(tmp_path)


def test_a_file_is_nobody_elses_however_they_come_to_it(tmp_path):
    folders = []
    for name in ("one", "other"):
        folders.append(DataFolder(tmp_path / name))
    file, link = tmp_path / "one" / "file", tmp_path / "other" / "file"
    file.write_text("mine")
    link.symlink_to(file)
    folders[0].hold(file)
    with pytest.raises(StartError, match=f"{link} is in use by another broker; stop it"):
        folders[1].hold(link)
    folders[1].close()
    folders[0].close()
    again = DataFolder(tmp_path / "other")
    again.hold(link)
    again.close()


@not_as_root
def test_a_folder_that_may_not_be_written_is_told_in_words(tmp_path):
    tmp_path.chmod(0o500)
    words = "Permission denied; give another with --data-dir, or keep nothing with --memory"
    with pytest.raises(StartError, match=words):
        DataFolder(tmp_path)
    with pytest.raises(StartError, match=words):
        DataFolder(tmp_path / "below")
    tmp_path.chmod(0o000)
    with pytest.raises(StartError, match="Permission denied"):
        DataFolder(tmp_path / "below")
    tmp_path.chmod(0o700)


# --- root in the folder of another user ---------------------------------------------------


@pytest.fixture
def rights(monkeypatch):
    """What root gives up and takes again, in turn; the caller is root, and owns nothing."""
    taken = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("setgroups", "setegid", "seteuid"):
        monkeypatch.setattr(os, name, lambda given, name=name: taken.append((name, given)))
    return taken


@pytest.fixture
def owners(tmp_path, monkeypatch):
    """Whose files are, by path, if not root's."""
    owners, lstat = {}, os.lstat

    def told(path, **options):
        uid = owners.get(Path(path), 0)
        return SimpleNamespace(st_uid=uid, st_gid=uid + 1, st_mode=lstat(path).st_mode)

    monkeypatch.setattr("chatbroker.broker.folder.os.lstat", told)
    return owners


OWN = [("seteuid", 0), ("setegid", os.getegid()), ("setgroups", os.getgroups())]


def test_root_works_in_a_folder_with_the_rights_of_whose_it_is(rights, owners, tmp_path):
    owners[tmp_path] = 4711
    with suppress(ZeroDivisionError), as_its_owner(tmp_path):
        assert rights == [("setgroups", [4712]), ("setegid", 4712), ("seteuid", 4711)]
        rights.clear()
        raise ZeroDivisionError
    assert rights == OWN


def test_whoever_can_put_another_folder_in_its_place_is_as_good_as_its_owner(
    rights, owners, tmp_path
):
    (tmp_path / "theirs" / "roots").mkdir(parents=True)
    (tmp_path / "link").symlink_to("theirs/roots")
    (tmp_path / "way").symlink_to(tmp_path)
    for path, owned in (
        ("theirs/roots", "theirs"),
        ("link", "link"),
        ("link", "theirs"),
        ("way/link", "way"),
    ):
        owners.clear()
        owners[tmp_path / owned] = 4711
        with as_its_owner(tmp_path / path):
            assert ("seteuid", 4711) in rights
        rights.clear()
    owners.clear()
    with as_its_owner(tmp_path / "link"):
        assert rights == []


def test_whoever_is_not_root_keeps_their_rights(rights, owners, tmp_path, monkeypatch):
    owners[tmp_path] = 4711
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 4713)
        with as_its_owner(tmp_path):
            pass
    owners.clear()
    with as_its_owner(tmp_path / "none"):
        pass
    assert rights == []


@pytest.mark.parametrize(("refused", "undone"), [("setgroups", 1), ("setegid", 2), ("seteuid", 3)])
def test_root_that_may_not_take_their_rights_is_told_what_to_do(
    rights, owners, tmp_path, monkeypatch, refused, undone
):
    """As in a container that was given no capabilities."""

    def refuses(given):
        if given not in (0, os.getegid(), os.getgroups()):
            raise PermissionError(1, "Operation not permitted")
        rights.append((refused, given))

    owners[tmp_path] = 4711
    monkeypatch.setattr(os, refused, refuses)
    words = r"as its user 4711: Operation not permitted; be that user \(sudo -u\)"
    with pytest.raises(StartError, match=words), as_its_owner(tmp_path):
        pytest.fail("it went on")
    assert rights[-undone:] == OWN[-undone:]
