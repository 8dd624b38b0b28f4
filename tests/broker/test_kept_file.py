"""A small text on disk: there whole, as it was or as it is."""

from __future__ import annotations

import os

import pytest

from chatbroker.broker.config import StartError
from chatbroker.broker.kept_file import SANCTIONS, KeptFile, sanctions_in
from chatbroker.broker.sanctions import CannotKeep, Kind, Sanction


@pytest.fixture
def file(tmp_path):
    return KeptFile(tmp_path / SANCTIONS)


def test_what_was_written_is_read(file):
    assert file.read() == ""
    file.write("ünd")
    assert file.read() == "ünd"
    file.write("")
    assert file.read() == ""


def test_only_its_owner_may_read_it_and_no_draft_stays(file):
    before = os.umask(0)
    try:
        file.write("x")
    finally:
        os.umask(before)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(file.path.parent) == [SANCTIONS]


@pytest.mark.parametrize("step", ["open", "fsync"])
def test_what_fails_leaves_what_was_there(file, monkeypatch, step):
    def fail(*args):
        raise OSError(28, "No space left on device")

    file.write("before")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(CannotKeep, match=r"cannot write .*: No space left on device"):
        file.write("after")
    monkeypatch.undo()
    assert file.read() == "before"


def test_what_cannot_be_read_is_said_in_words(file):
    file.path.write_bytes(b"\xff")
    with pytest.raises(CannotKeep, match="it is not UTF-8"):
        file.read()
    file.path.unlink()
    file.path.mkdir()
    with pytest.raises(CannotKeep, match="it is no regular file; it has to be a file that you may"):
        file.read()


def test_a_pipe_holds_nobody_up(file):
    """Until somebody writes into it, who may never come."""
    os.mkfifo(file.path)
    with pytest.raises(CannotKeep, match=f"cannot read {file.path}: it is no regular file"):
        file.read()
    with pytest.raises(StartError, match="it is no regular file"):
        sanctions_in(file.path.parent)


def test_a_list_that_is_elsewhere_is_kept_there(tmp_path, file):
    kept = tmp_path / "shared" / "bans"
    kept.parent.mkdir()
    file.path.symlink_to(kept)
    kept.touch()
    sanctions_in(tmp_path).impose(Sanction(Kind.BAN, "bob", 0))
    assert "bob" in kept.read_text()
    assert file.path.is_symlink()
    assert sanctions_in(tmp_path).ban_on("bob") is not None


def test_a_link_that_leads_nowhere_lets_nobody_in(file):
    """Who is banned stands in a file that is not mounted, say."""
    file.path.symlink_to(file.path.parent / "mount" / SANCTIONS)
    words = f"cannot read {file.path}: a link there leads nowhere; it has to be a file"
    with pytest.raises(StartError, match=words):
        sanctions_in(file.path.parent)


def test_sanctions_are_kept_in_their_folder(tmp_path):
    sanctions_in(tmp_path).impose(Sanction(Kind.BAN, "bob", 0))
    assert sanctions_in(tmp_path).ban_on("bob") is not None
    sanctions_in(None).impose(Sanction(Kind.BAN, "bob", 0))


@pytest.mark.parametrize("data", [b"\xff", b"{}", b"x"])
def test_a_file_that_is_no_list_lets_nobody_in(tmp_path, data):
    (tmp_path / SANCTIONS).write_bytes(data)
    with pytest.raises(StartError, match=f"cannot (use|read) {tmp_path / SANCTIONS}: "):
        sanctions_in(tmp_path)
