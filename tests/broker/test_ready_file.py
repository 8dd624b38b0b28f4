"""The file that says where a broker serves: written, left behind, removed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from chatbroker.broker.config import StartError
from chatbroker.broker.ready_file import ReadyFile

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


def test_it_is_whole_from_the_first_moment(path, monkeypatch):
    seen = []
    replace = os.replace

    def watched(source, target):
        seen.append((json.loads(Path(source).read_text()), target.exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    ready = ReadyFile(path)
    ready.write(READY)
    assert seen == [(READY, False)]
    assert json.loads(path.read_text()) == READY
    assert [entry.name for entry in path.parent.iterdir()] == ["ready"]
    ready.remove()
    assert [*path.parent.iterdir()] == []


def test_an_old_one_is_replaced(path):
    path.write_text("of a broker that was killed")
    ready = ReadyFile(path)
    ready.write(READY)
    assert json.loads(path.read_text()) == READY
    ready.remove()


def test_one_that_cannot_be_written_leaves_nothing_behind(path):
    ready = ReadyFile(path)
    path.mkdir()
    with pytest.raises(StartError, match="cannot write the ready file"):
        ready.write(READY)
    assert [entry.name for entry in path.parent.iterdir()] == ["ready"]


def test_what_is_no_regular_file_is_refused_before_it_serves(path):
    with pytest.raises(StartError, match="cannot write the ready file /dev/null: it is no regular"):
        ReadyFile(Path("/dev/null"))


@pytest.mark.parametrize(
    "left",
    [json.dumps(READY | {"pid": 1}), json.dumps(READY), "[]", "words", ""],
    ids=["of another", "of this number", "a list", "words", "empty"],
)
def test_one_that_a_killed_broker_left_goes_before_the_next_serves(path, left):
    # A process of its number may well run, such as 1 in a container.
    path.write_text(left)
    ReadyFile(path).clear()
    assert not path.exists()
    ReadyFile(path).clear()


def test_one_of_a_broker_that_runs_stays_until_another_serves_by_that_name(path):
    first, second = ReadyFile(path), ReadyFile(path)
    first.write(READY)
    second.clear()
    assert json.loads(path.read_text()) == READY
    second.write(READY | {"pid": 1})
    first.remove()
    assert json.loads(path.read_text())["pid"] == 1
    second.remove()


def test_one_that_is_left_and_cannot_be_removed_is_told_as_one_that_cannot_be_written(
    path, read_only
):
    path.touch()
    with pytest.raises(StartError) as told:
        ReadyFile(path).clear()
    words = "Read-only file system; give another with --ready-file"
    assert str(told.value) == f"cannot write the ready file {path}: {words}"


def test_one_that_cannot_be_removed_is_held_no_more(path, monkeypatch):
    ready = ReadyFile(path)
    ready.write(READY)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda self, **_: os.rmdir(self))
        with pytest.raises(NotADirectoryError):
            ready.remove()
    ReadyFile(path).clear()
    assert not path.exists()
