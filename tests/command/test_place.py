"""Options and arguments that are paths."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chatbroker.command.place import Place, at_home


@pytest.fixture
def given(monkeypatch):
    """What a command gets that takes paths, or its usage error."""

    @click.command()
    @click.argument("file", required=False, type=Place())
    @click.option("--folder", type=Place(file_okay=False), envvar="TALK_FOLDER")
    def talk(file, folder):
        return file, folder

    def run(*args, **env):
        ended = CliRunner().invoke(talk, args, standalone_mode=False, env=env)
        if ended.exception is not None:
            assert isinstance(ended.exception, click.UsageError)
            return ended.exception.format_message()
        return ended.return_value

    return run


def test_a_path_is_a_path(given, tmp_path):
    assert given("a b", "--folder", str(tmp_path)) == (Path("a b"), tmp_path)
    assert given(".") == (Path("."), None)
    assert given() == (None, None)


def test_the_empty_path_is_none(given):
    assert given("") == "Invalid value for '[FILE]': it is empty; give a path"
    assert given("--folder", "") == "Invalid value for '--folder': it is empty; give a path"


def test_no_path_has_a_nul(given):
    words = "it has a NUL character in it, as no path has"
    assert given("a\0b") == f"Invalid value for '[FILE]': {words}"


def test_a_home_is_found_at_the_beginning_only(monkeypatch):
    monkeypatch.setenv("HOME", "/home/bob")
    found = [at_home(text) for text in ("~", "~/a", "a/~", "./~", "")]
    assert found == ["/home/bob", "/home/bob/a", "a/~", "./~", ""]
    with pytest.raises(ValueError, match=r"^there is no home ~nobody-at-all$"):
        at_home("~nobody-at-all/x")


def test_an_empty_variable_says_nothing(given):
    assert given(TALK_FOLDER="") == (None, None)


def test_what_click_checks_of_a_path_it_checks(given, tmp_path):
    (tmp_path / "file").touch()
    assert "is a file" in given("--folder", str(tmp_path / "file"))
