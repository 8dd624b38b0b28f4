"""Files that nobody else may read, written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from chatbroker.command.files import (
    make_private,
    open_shared,
    place_of,
    read_regular,
    write_private,
)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_for_its_owner_only_whatever_the_umask_is(tmp_path):
    before = os.umask(0)
    try:
        write_private(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file").read_text() == "text"
    assert mode(tmp_path / "file") == 0o600


def test_it_is_replaced_whole_or_kept(tmp_path):
    path = tmp_path / "file"
    write_private(path, "first", replace=False)
    write_private(path, "second", replace=False)
    assert path.read_text() == "first"
    write_private(path, "third")
    assert path.read_text() == "third"
    assert os.listdir(tmp_path) == ["file"]


def test_the_text_is_on_disk_before_it_has_its_name_and_the_name_before_it_returns(
    tmp_path, monkeypatch
):
    done = []
    fsync, replace = os.fsync, type(tmp_path).replace

    def synced(descriptor):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda self, to: done.append("replace") or replace(self, to)
    )
    write_private(tmp_path / "file", "text")
    draft, *then = done
    assert draft.startswith(".file.")
    assert then == ["replace", tmp_path.name]


def test_what_fails_leaves_what_was_there_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_private(path, "first")

    def fail(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_private(path, "second")
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    link, other = tmp_path / "link", tmp_path / "other"
    other.mkdir()
    link.symlink_to("other/file")
    write_private(link, "first", replace=False)
    assert os.listdir(other) == []
    for text in ("first", "second"):
        write_private(link, text)
        assert (other / "file").read_text() == link.read_text() == text
    write_private(link, "third", replace=False)
    assert link.read_text() == "second"
    assert os.readlink(link) == "other/file"
    assert (os.listdir(other), sorted(os.listdir(tmp_path))) == (["file"], ["link", "other"])


def test_a_folder_or_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="it is no regular file"):
            write_private(tmp_path / name, "text")
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


KILLED = """
import os, signal, sys
from pathlib import Path
from chatbroker.command.files import write_private
setattr(os, sys.argv[2], lambda *args, **how: os.kill(os.getpid(), signal.SIGKILL))
write_private(Path(sys.argv[1]), "secret", replace=sys.argv[3] == "True")
"""


@pytest.mark.parametrize("replace", [True, False])
def test_what_a_killed_process_left_beside_it_goes_with_the_next_writing(tmp_path, replace):
    for step in ("fsync", "replace" if replace else "link"):
        code = [sys.executable, "-c", KILLED, str(tmp_path / "file"), step, str(replace)]
        assert subprocess.run(code, timeout=60).returncode == -signal.SIGKILL
        (left,) = tmp_path.iterdir()
        assert left.name.startswith(".file.")
    write_private(tmp_path / "file.x", "another", replace=replace)
    assert left.exists()
    write_private(tmp_path / "file", "text", replace=replace)
    assert sorted(os.listdir(tmp_path)) == ["file", "file.x"]


def test_what_another_process_is_writing_stays_beside_it(tmp_path, monkeypatch):
    path, link = tmp_path / "file", os.link

    def meanwhile(draft, to):
        monkeypatch.setattr(os, "link", link)
        write_private(path, "of the other", replace=False)
        assert sorted(os.listdir(tmp_path)) == [draft.name, "file"]
        link(draft, to)

    monkeypatch.setattr(os, "link", meanwhile)
    write_private(path, "text", replace=False)
    assert path.read_text() == "of the other"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("held", [False, True])
def test_one_that_another_process_took_for_left_is_made_anew(tmp_path, monkeypatch, held):
    flock, taken = fcntl.flock, []

    def late(descriptor, how):
        if not taken:
            (draft,) = tmp_path.iterdir()
            taken.append(draft.name)
            draft.unlink()
            if held:
                raise BlockingIOError
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_private(tmp_path / "file", "text")
    assert taken
    assert (tmp_path / "file").read_text() == "text"


def test_where_there_are_no_locks_it_is_written_and_nothing_is_cleared(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    left = tmp_path / ".file.0123456789abcdef.new"
    left.touch()
    write_private(tmp_path / "file", "text")
    assert sorted(os.listdir(tmp_path)) == [left.name, "file"]


@pytest.mark.parametrize(
    ("number", "told"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)]
)
def test_a_folder_need_not_be_flushed_where_that_cannot_be(tmp_path, monkeypatch, number, told):
    fsync = os.fsync

    def flush(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    expected = pytest.raises(OSError, match="Input/output") if told else nullcontext()
    with expected:
        write_private(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


@pytest.fixture
def as_root(tmp_path, monkeypatch):
    """By root, in a folder of somebody else's; gives to whom which file was given."""
    given = []
    found = tmp_path.stat()
    theirs = os.stat_result((*found[:4], found.st_uid + 7, found.st_gid + 8, *found[6:]))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda file, *owner: given.append((what(file), *owner)))
    stat = type(tmp_path).stat
    monkeypatch.setattr(
        type(tmp_path),
        "stat",
        lambda self, **how: theirs if self == tmp_path else stat(self, **how),
    )

    def what(descriptor):
        return os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))

    return SimpleNamespace(given=given, owner=(theirs.st_uid, theirs.st_gid))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_root_makes_belongs_to_whose_the_folder_is_but_for_secrets(tmp_path, as_root):
    write_private(tmp_path / "file", "text", shared=True)
    write_private(tmp_path / "secret", "text")
    os.close(open_shared(tmp_path / "log", os.O_WRONLY))
    os.close(open_shared(tmp_path / "log", os.O_WRONLY))
    (draft, *owner), log = as_root.given
    assert (draft.startswith(".file."), tuple(owner)) == (True, as_root.owner)
    assert log == ("log", *as_root.owner)


def test_what_cannot_be_given_to_them_is_not_left_there(tmp_path, as_root, monkeypatch):
    def fail(*args):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", fail)
    with pytest.raises(PermissionError):
        write_private(tmp_path / "file", "text", shared=True)
    assert os.listdir(tmp_path) == []


def test_what_others_make_is_theirs(tmp_path, as_root, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    write_private(tmp_path / "file", "text", shared=True)
    assert as_root.given == []


def test_folders_are_for_their_owner_from_a_given_one_on(tmp_path):
    below = tmp_path / "share" / "chatbroker"
    make_private(below / "one" / "two", below)
    make_private(below / "one" / "two", below)
    assert mode(below / "one" / "two") == mode(below / "one") == mode(below) == 0o700
    assert mode(tmp_path / "share") != 0o700


def test_a_file_takes_the_place_of_a_file_and_not_of_a_link_or_a_device(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    assert place_of(path) == path
    link.symlink_to("file")
    assert place_of(link) == path
    path.write_text("")
    assert place_of(link) == place_of(path) == path
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    assert place_of(loop) == loop
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    other = tmp_path / "other"
    other.symlink_to("pipe")
    for place in (pipe, other, tmp_path, Path("/dev/null")):
        with pytest.raises(OSError, match="it is no regular file"):
            place_of(place)


@pytest.mark.parametrize(
    "written",
    [
        place_of,
        lambda path: write_private(path, "{}"),
        lambda path: os.close(open_shared(path, os.O_WRONLY | os.O_TRUNC)),
    ],
)
def test_a_link_of_another_users_is_not_followed(tmp_path, monkeypatch, written):
    """They could have root, who writes in their folder, write into any file."""
    target, link = tmp_path / "passwd", tmp_path / "link"
    target.write_text("root")
    link.symlink_to(target)
    written(link)  # One's own.
    target.write_text("root")
    if os.geteuid() == 0:
        os.chown(link, 12345, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: link.lstat().st_uid + 1)
    with pytest.raises(PermissionError, match="a link there is another user's"):
        written(link)
    assert target.read_text() == "root"


def test_a_small_file_is_read_and_a_pipe_not_waited_for(tmp_path):
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_bytes(b"kept" * 5000)
    assert read_regular(file) == b"kept" * 5000
    os.mkfifo(pipe)
    for other in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="it is no regular file"):
            read_regular(other)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")


def test_a_link_that_leads_nowhere_is_not_taken_for_nothing(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "mount" / "file")
    with pytest.raises(OSError, match="a link there leads nowhere") as told:
        read_regular(tmp_path / "link")
    assert not isinstance(told.value, FileNotFoundError)
