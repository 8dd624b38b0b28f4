"""Shell completion: within a bound, without a word of error, and bash's way to cut words."""

from __future__ import annotations

import sys
import threading

import click
import pytest
from click.shell_completion import ShellComplete

from chatbroker.command.completion import _Bash, offered, within
from chatbroker.command.run import CommandGroup, run_command

NAMES = ["alice", "alina", "bob"]


@pytest.fixture
def talk(monkeypatch, tmp_path):
    """A command with names to complete; and a config file that is broken."""
    config = tmp_path / "config.toml"
    config.write_text("no toml [")
    monkeypatch.setenv("CHATBROKER_CONFIG", str(config))

    @click.group(name="talk", cls=CommandGroup)
    def talk():
        pass

    @talk.command()
    @click.option("--at", shell_complete=offered(lambda *_: ["tcp://h:1", "tcp://h:2"]))
    @click.option("--file", type=click.Path())
    @click.argument("name", shell_complete=offered(lambda *_: NAMES))
    def send(**_):
        pass

    return talk


@pytest.fixture
def bash(talk, monkeypatch):
    """What bash is told for a line and the word in it that it would replace."""

    def complete(line, word):
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_WORD", word)
        return _Bash(talk, {}, "talk", "_TALK_COMPLETE").complete().splitlines()

    return complete


def test_what_was_found_in_time_is_there():
    assert within(30, lambda: NAMES) == NAMES


def test_what_takes_longer_is_not_waited_for():
    never = threading.Event()

    def find():
        never.wait()
        return NAMES

    assert within(0.01, find) == []
    never.set()


@pytest.mark.parametrize(("begun", "names"), [("", NAMES), ("AL", NAMES[:2]), ("x", [])])
def test_what_was_begun_goes_on(talk, begun, names):
    shell = ShellComplete(talk, {}, "talk", "_TALK_COMPLETE")
    assert [item.value for item in shell.get_completions(["send"], begun)] == names


@pytest.mark.parametrize(
    ("line", "word", "told"),
    [
        ("talk send ", "", ["plain,alice", "plain,alina", "plain,bob"]),
        ("talk send b", "b", ["plain,bob"]),
        ('talk send "b', "b", ["plain,bob"]),
        ("talk send --at x:1 b", "b", ["plain,bob"]),
        ("talk send --at=x:1 b", "b", ["plain,bob"]),
        # bash cuts at ":" and "=".
        ("talk send --at t", "t", ["plain,tcp://h:1", "plain,tcp://h:2"]),
        ("talk send --at tcp:", "", ["plain,//h:1", "plain,//h:2"]),
        ("talk send --at tcp://h:", "", ["plain,1", "plain,2"]),
        ("talk send --at tcp://h:2", "2", ["plain,2"]),
        ("talk send --at=", "", ["plain,tcp://h:1", "plain,tcp://h:2"]),
        ("talk send --at=tcp://h:2", "2", ["plain,2"]),
        # Unless it is told not to.
        ("talk send --at tcp://h:2", "tcp://h:2", ["plain,tcp://h:2"]),
        ("talk send --file ", "", ["file,"]),
        ("talk send --at ok alice ", "", []),
        ("talk s", "s", ["plain,send"]),
    ],
)
def test_bash_is_told_what_stands_in_the_place_of_its_word(bash, line, word, told):
    assert bash(line, word) == told


def test_a_command_sees_to_its_completion(talk, monkeypatch, capfd):
    """Also with a config file that nobody can read: of that, the command itself tells."""
    monkeypatch.setattr(sys, "argv", ["talk"])
    for name, value in {"_TALK_COMPLETE": "bash_complete", "COMP_LINE": "talk send a"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMP_WORD", "a")
    with pytest.raises(SystemExit) as ended:
        run_command("talk", talk, lambda error: None)
    assert ended.value.code == 0
    assert capfd.readouterr() == ("plain,alice\nplain,alina\n", "")
