"""What was typed, kept for the next time."""

from __future__ import annotations

import os

import pytest

from chatbroker.client.terminal import recall
from chatbroker.client.terminal.recall import MOST_BYTES, typed_before


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CHATBROKER_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def not_told(words):
    raise AssertionError(words)


def test_what_was_typed_is_there_the_next_time_for_oneself_only(folder):
    typed_before(not_told).store_string("hello")
    typed_before(not_told).store_string("漢字")
    assert list(typed_before(not_told).load_history_strings()) == ["漢字", "hello"]
    assert (folder / "typed").stat().st_mode & 0o777 == 0o600


def test_a_long_file_keeps_its_newest_lines_whole(folder):
    history = typed_before(not_told)
    count = MOST_BYTES // 30
    for number in range(count):
        history.store_string(f"line {number}")
    assert (folder / "typed").stat().st_size > MOST_BYTES
    kept = list(typed_before(not_told).load_history_strings())
    assert (folder / "typed").stat().st_size <= MOST_BYTES // 2
    assert (folder / "typed").stat().st_mode & 0o777 == 0o600
    assert kept == [f"line {number}" for number in range(count - 1, count - 1 - len(kept), -1)]
    assert len(kept) > count // 4


def test_a_folder_that_cannot_be_is_told_and_typing_goes_on(folder):
    folder.write_text("in the way")
    told = []
    history = typed_before(told.append)
    history.append_string("hello")
    assert history.get_strings() == ["hello"]
    assert len(told) == 1
    assert "cannot open" in told[0]


def test_a_pipe_in_its_place_is_told_and_not_waited_for(folder):
    folder.mkdir()
    os.mkfifo(folder / "typed")
    told = []
    assert list(typed_before(told.append).load_history_strings()) == []
    words = f"what is typed is not kept: cannot open {folder / 'typed'}: it is no regular file"
    assert told == [words]


def test_a_full_disk_is_told_once(folder, monkeypatch):
    told = []
    history = typed_before(told.append)

    def full(self, string):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recall.FileHistory, "store_string", full)
    history.append_string("one")
    history.append_string("two")
    assert told == ["what is typed is not kept: No space left on device"]
    assert history.get_strings() == ["one", "two"]
