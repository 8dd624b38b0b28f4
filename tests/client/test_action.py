"""What is run for a message, and what it is told."""

from __future__ import annotations

import pytest

from chatbroker.client.action import (
    event_words,
    exact_texts,
    failure_words,
    parse_command,
    variables,
)
from chatbroker.client.cli import chat
from chatbroker.client.events import Broadcast, Direct, Joined, Left
from chatbroker.command.config import name_variables

NOON = 1_700_000_000_123
TIME = "2023-11-14T22:13:20.123Z"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("notify-send chat", ("notify-send", "chat")),
        ("  a  'b c' \"d e\" f\\ g ", ("a", "b c", "d e", "f g")),
        # No shell looks at it.
        ("echo $X >x; `y` | z *", ("echo", "$X", ">x;", "`y`", "|", "z", "*")),
        ("x ''", ("x", "")),
        ("x # y", ("x", "#", "y")),
    ],
)
def test_a_command_is_words_and_no_shell_sees_it(line, words):
    assert parse_command(line, shell=False) == words


def test_a_shell_gets_the_line_as_it_is():
    line = "echo \"$CHAT_MESSAGE_TEXT\" | tr a-z A-Z > 'x y'"
    assert parse_command(line, shell=True) == ("sh", "-c", line)


@pytest.mark.parametrize("shell", [False, True])
@pytest.mark.parametrize("line", ["", "  ", "a\0b"])
def test_what_cannot_be_run_is_refused(line, shell):
    with pytest.raises(ValueError, match="command"):
        parse_command(line, shell)


@pytest.mark.parametrize(("line", "words"), [("a 'b", "quotation"), ("'' b", "no command")])
def test_words_that_make_no_command_are_refused(line, words):
    with pytest.raises(ValueError, match=words):
        parse_command(line, shell=False)


def test_a_message_is_told_in_variables():
    assert variables(Direct(7, NOON, "bob", "alice", "hi $(x)\n")) == {
        "CHAT_MESSAGE_TYPE": "direct",
        "CHAT_MESSAGE_SEQ": "7",
        "CHAT_MESSAGE_TIME": TIME,
        "CHAT_MESSAGE_FROM": "bob",
        "CHAT_MESSAGE_TO": "alice",
        "CHAT_MESSAGE_TEXT": "hi $(x)\n",
    }


def test_what_a_message_lacks_is_empty():
    """A variable that is not set could be one that somebody else had set."""
    told = variables(Broadcast(8, NOON, "bob", "hi"))
    assert (told["CHAT_MESSAGE_TYPE"], told["CHAT_MESSAGE_TO"]) == ("broadcast", "")
    told = variables(Left(NOON, "carol"))
    assert (told["CHAT_MESSAGE_TYPE"], told["CHAT_MESSAGE_FROM"]) == ("left", "carol")
    assert {told[f"CHAT_MESSAGE_{name}"] for name in ("TO", "TEXT", "SEQ")} == {""}
    assert told["CHAT_MESSAGE_TIME"] == TIME


def test_what_no_variable_can_hold_is_replaced_there_and_nowhere_else():
    message = Broadcast(8, NOON, "bob", "a\0b")
    assert variables(message)["CHAT_MESSAGE_TEXT"] == "a\ufffdb"
    assert exact_texts([message]) == ["a\0b"]


def test_who_comes_says_nothing():
    assert exact_texts([Joined(NOON, "carol")]) == [""]


def test_a_report_names_its_message():
    assert event_words(Direct(7, NOON, "bob", "alice", "hi")) == "message 7"
    assert event_words(Joined(NOON, "carol")) == "joined carol"


@pytest.mark.parametrize(
    ("status", "words"),
    [(3, "exit status 3"), (-9, "ended by SIGKILL"), (-40, "ended by signal 40")],
)
def test_how_a_command_failed(status, words):
    assert failure_words(status) == words


def test_no_option_comes_from_a_variable_that_tells_a_message():
    """Else a `chat` within a command would take what somebody said for an option."""
    name_variables(chat)
    named = {
        str(option.envvar)
        for command in (chat, *chat.commands.values())
        for option in command.params
    }
    assert "CHAT_BROKER" in named
    assert not {name for name in named if name.startswith("CHAT_MESSAGE")}
