"""The file that says where a broker serves: written, left behind, removed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from chatbroker.broker.config import StartError
from chatbroker.broker.database import FILE
from chatbroker.broker.folder import LOCK, DataFolder
from chatbroker.broker.kept_file import SANCTIONS
from chatbroker.broker.ready_file import LONGEST, ReadyFile

READY = {"broker": "tcp://127.0.0.1:1", "pub": "tcp://127.0.0.1:2", "pid": os.getpid()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ready"


@pytest.fixture
def read_only(monkeypatch):
    """The file system takes nothing away any more."""

    def refuse(self, missing_ok=False):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)


def show(ready, what=READY):
    ready.write(what)
    ready.show()


def test_it_is_whole_from_the_first_moment(path, monkeypatch):
    seen = []
    replace = os.replace

    def watched(source, target):
        seen.append((json.loads(Path(source).read_text()), target.exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    ready = ReadyFile(path)
    show(ready)
    assert seen == [(READY, False)]
    assert json.loads(path.read_text()) == READY
    assert [entry.name for entry in path.parent.iterdir()] == ["ready"]
    ready.remove()
    assert [*path.parent.iterdir()] == []


def test_an_old_one_is_replaced(path):
    path.write_text(json.dumps(READY | {"pid": 1}))
    ready = ReadyFile(path)
    show(ready)
    assert json.loads(path.read_text()) == READY
    ready.remove()


def test_one_that_cannot_be_written_leaves_nothing_behind(path):
    ready = ReadyFile(path)
    path.mkdir()
    with pytest.raises(StartError, match="cannot write the ready file"):
        show(ready)
    assert [entry.name for entry in path.parent.iterdir()] == ["ready"]


def test_one_that_is_not_shown_is_gone_with_the_broker(path):
    ready = ReadyFile(path)
    ready.write(READY)
    (written,) = path.parent.iterdir()
    assert json.loads(written.read_text()) == READY
    ready.remove()
    assert [*path.parent.iterdir()] == []


def test_on_a_full_disk_it_is_told_before_it_is_shown(path, monkeypatch):
    def full(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StartError, match=r"cannot write the ready file .*: No space left on"):
        ReadyFile(path).write(READY)
    assert [*path.parent.iterdir()] == []


def test_where_none_can_be_written_is_told_before_it_serves(tmp_path, monkeypatch):
    with pytest.raises(StartError, match=r"cannot write the ready file .*: No such file"):
        ReadyFile(tmp_path / "nowhere" / "ready")
    monkeypatch.setattr(os, "access", lambda *_: False)  # Root may do anything.
    with pytest.raises(StartError, match=r"cannot write the ready file .*: Permission denied"):
        ReadyFile(tmp_path / "ready")


def test_what_is_no_regular_file_is_refused_before_it_serves(path):
    with pytest.raises(StartError, match="cannot write the ready file /dev/null: it is no regular"):
        ReadyFile(Path("/dev/null"))


@pytest.mark.parametrize(
    "left",
    [json.dumps(READY | {"pid": 1}), json.dumps(READY)],
    ids=["of another", "of this number"],
)
def test_one_that_a_killed_broker_left_goes_before_the_next_serves(path, left):
    # A process of its number may well run, such as 1 in a container.
    path.write_text(left)
    ReadyFile(path).clear()
    assert not path.exists()
    ReadyFile(path).clear()


@pytest.mark.parametrize(
    "other",
    [
        *("words", "[]", "{}", "7", "[" * 60_000, '{"pid": true}', '{"pid": "7"}'),
        json.dumps(READY | {"more": "x" * LONGEST}),
    ],
    ids=lambda other: other[:20],
)
def test_what_no_broker_wrote_is_not_replaced(path, other):
    ready = ReadyFile(path)
    path.write_text(other)
    words = f"cannot write the ready file {path}: what is there is no ready file; give another"
    for attempt in (ready.clear, lambda: ReadyFile(path)):
        with pytest.raises(StartError, match=words):
            attempt()
        assert path.read_text() == other


def test_an_empty_file_that_was_made_for_it_stays_until_it_serves(path):
    """As mktemp makes it."""
    path.touch()
    ready = ReadyFile(path)
    ready.clear()
    assert path.read_text() == ""
    show(ready)
    assert json.loads(path.read_text()) == READY
    ready.remove()


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", SANCTIONS])
def test_it_takes_the_place_of_no_file_of_a_broker_nor_is_it_made_there(tmp_path, name):
    ready = ReadyFile(tmp_path / name)
    DataFolder(tmp_path).close()
    with pytest.raises(StartError, match=f"{name}: it is a broker's own file; give another with"):
        ready.clear()
    with pytest.raises(StartError, match="it is a broker's own file"):
        ReadyFile(tmp_path / name)
    assert os.listdir(tmp_path) == [LOCK]
    ReadyFile(tmp_path / "ready").clear()


def test_one_that_cannot_be_read_is_not_known_to_be_a_brokers(path, monkeypatch):
    ready = ReadyFile(path)
    path.write_text(json.dumps(READY))

    def refuse(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for call in ("read", "open"):
        monkeypatch.setattr(os, call, refuse)
        with pytest.raises(StartError, match=r"cannot write the ready file .*: Input/output error"):
            ready.clear()
        assert path.exists()


def test_where_there_are_no_locks_one_that_was_left_goes(path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    path.write_text(json.dumps(READY))
    ReadyFile(path).clear()
    assert not path.exists()


def test_one_of_another_broker_of_the_same_number_stays_too(path):
    # In containers every broker is process 1.
    first, second = ReadyFile(path), ReadyFile(path)
    show(first)
    show(second)
    first.remove()
    assert json.loads(path.read_text()) == READY
    second.remove()
    assert not path.exists()


def test_one_that_is_gone_is_removed_and_so_is_one_that_was_never_written(path):
    ready = ReadyFile(path)
    ready.remove()
    show(ready)
    path.unlink()
    ready.remove()
    path.write_text(json.dumps(READY))
    ready.remove()
    assert path.exists()


def test_one_of_a_broker_that_runs_stays_until_another_serves_by_that_name(path):
    first, second = ReadyFile(path), ReadyFile(path)
    show(first)
    second.clear()
    assert json.loads(path.read_text()) == READY
    show(second, READY | {"pid": 1})
    first.remove()
    assert json.loads(path.read_text())["pid"] == 1
    second.remove()


def test_one_that_is_left_and_cannot_be_removed_is_told_as_one_that_cannot_be_written(
    path, read_only
):
    path.write_text(json.dumps(READY))
    with pytest.raises(StartError) as told:
        ReadyFile(path).clear()
    words = "Read-only file system; give another with --ready-file"
    assert str(told.value) == f"cannot write the ready file {path}: {words}"


def test_one_that_cannot_be_removed_is_held_no_more(path, monkeypatch):
    ready = ReadyFile(path)
    show(ready)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda self, **_: os.rmdir(self))
        with pytest.raises(NotADirectoryError):
            ready.remove()
    ReadyFile(path).clear()
    assert not path.exists()
