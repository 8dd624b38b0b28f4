"""What a person types."""

from __future__ import annotations

import pytest

from chatbroker.client.input import (
    BadLine,
    EchoLine,
    HelpLine,
    InfoLine,
    QuitLine,
    SendLine,
)
from chatbroker.client.terminal.typed import (
    COMMANDS,
    PastLine,
    ReplyLine,
    SayLine,
    ToLine,
    help_lines,
    parse_typed,
)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("", None),
        ("   ", None),
        ("hello there", SayLine("hello there")),
        ("Echo this", SayLine("Echo this")),
        (" Send it", SayLine("Send it")),
        ("To be or not", SayLine("To be or not")),
        ("To", SayLine("To")),
        (" To bob", SayLine("To bob")),
        ("sends", SayLine("sends")),
        (" send bob hi", SayLine("send bob hi")),
        ("  two spaces", SayLine(" two spaces")),
        ("send bob hi  there ", SendLine("bob", "hi  there ")),
        ("/send bob hi", SendLine("bob", "hi")),
        ("echo hi", EchoLine("hi")),
        ("reply hi", ReplyLine("hi")),
        ("me waves", SayLine("/me waves")),
        ("to bob", ToLine("bob")),
        ("to Bob ", ToLine("bob")),
        ("to everyone", ToLine(None)),
        ("/to EVERYONE", ToLine(None)),
        ("info", InfoLine()),
        ("help", HelpLine()),
        ("quit", QuitLine()),
        ("history", PastLine(100)),
        ("history 7", PastLine(7)),
    ],
)
def test_a_line(line, asked):
    assert parse_typed(line) == asked


@pytest.mark.parametrize(
    "line",
    [
        *("Send bob secret", "SEND bob secret", "Reply secret", "To bob", "TO bob "),
        *("send", "send bob", "echo", "reply", "me", "to", "to bob and carol", "to a/b"),
        *("info please", "help me", "quit it", "/what", "/", "history -1", "history 0"),
        *("history x", "history 1001", "history 99999999999999999999", "history ²"),
        *(
            "history 000000005999",
            "reply   ",
            "me  ",
            "/Send bob secret",
            "/reply",
            "//",
            "send  x",
        ),
    ],
)
def test_a_command_that_lacks_something_is_never_said(line):
    with pytest.raises(BadLine):
        parse_typed(line)


def test_help_fits_a_terminal_and_has_every_command():
    lines = help_lines()
    assert all(len(line) < 80 for line in lines)
    for command in COMMANDS.values():
        assert any(line.startswith(command.usage) for line in lines)
