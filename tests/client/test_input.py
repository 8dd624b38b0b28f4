"""Typed commands: one table drives parsing and help."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.client.input import (
    COMMANDS,
    BadLine,
    EchoLine,
    HelpLine,
    InfoLine,
    QuitLine,
    SendLine,
    help_lines,
    parse_line,
)


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("info", InfoLine()),
        ("help", HelpLine()),
        ("quit", QuitLine()),
        ("info  ", InfoLine()),
        ("  /info", InfoLine()),
        ("echo hello", EchoLine("hello")),
        ("/echo hello", EchoLine("hello")),
        ("echo   two before, two after  ", EchoLine("  two before, two after  ")),
        ("echo /quit", EchoLine("/quit")),
        ("echo\thello", EchoLine("hello")),
        ("send bob hi there", SendLine("bob", "hi there")),
        ("send bob  hi", SendLine("bob", " hi")),
        ("send Bob hi", SendLine("Bob", "hi")),
        ("\ufeffecho hello", EchoLine("hello")),
    ],
)
def test_a_line_is_a_request(line, request_):
    assert parse_line(line) == request_


@pytest.mark.parametrize("line", ["", " ", "\t", "\r"])
def test_a_blank_line_asks_for_nothing(line):
    assert parse_line(line) is None


@pytest.mark.parametrize("line", ["echo", "/echo", "send", "send bob", "info now", "quit please"])
def test_a_line_that_lacks_something_is_told_the_usage(line):
    with pytest.raises(BadLine, match=r"^usage: ") as caught:
        parse_line(line)
    assert caught.value.code == "usage"
    assert line.removeprefix("/").split()[0] in str(caught.value)


@pytest.mark.parametrize("line", ["hello", "/", "//info", "INFO", "echoes", "e" * 1000])
def test_an_unknown_command_is_named_and_the_known_ones_listed(line):
    with pytest.raises(BadLine, match="unknown command") as caught:
        parse_line(line)
    assert caught.value.code == "unknown_command"
    assert ", ".join(COMMANDS) in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_parsed_and_helped_with(name):
    usage, summary, _ = COMMANDS[name]
    (line,) = (line for line in help_lines() if line.startswith(usage))
    assert line.endswith(summary)
    words = usage.replace("USER", "bob").replace("MESSAGE", "hi")
    assert parse_line(words) is not None


@given(st.text())
def test_no_line_raises_anything_but_bad_line(line):
    with contextlib.suppress(BadLine):
        parse_line(line)


@given(st.text(min_size=1))
def test_a_message_is_kept_exactly(text):
    assert parse_line(f"echo {text}") == EchoLine(text)
    assert parse_line(f"send bob {text}") == SendLine("bob", text)
