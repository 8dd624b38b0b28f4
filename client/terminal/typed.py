"""What a person types: one table of commands drives parsing, help and completion.

The commands of line mode are among them and mean the same.  What begins with no command is
said to whom the prompt names; a space before it says anything as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...wire.errors import BadName
from ...wire.names import EVERYONE, canonical_name
from ..input import (
    COMMANDS as LINE_MODE,
)
from ..input import (
    BadLine,
    EchoLine,
    HelpLine,
    InfoLine,
    QuitLine,
    SendLine,
    split_word,
)


class SayLine(NamedTuple):
    """To whom the prompt names."""

    text: str


class ToLine(NamedTuple):
    """From now on plain text goes to this user, or to everyone (None)."""

    to: str | None


class ReplyLine(NamedTuple):
    """To whom one has last had a direct message from."""

    text: str


class PastLine(NamedTuple):
    """So many messages more of what was said before."""

    messages: int


Typed = (
    SendLine | EchoLine | InfoLine | HelpLine | QuitLine | SayLine | ToLine | ReplyLine | PastLine
)


class Command(NamedTuple):
    usage: str
    summary: str
    parse: Callable[[str], Typed]


def _usage(name: str) -> BadLine:
    return BadLine(
        "usage", f"usage: {COMMANDS[name].usage}; a space before a line says it as it is"
    )


def _worded(name: str, make: Callable[[str], Typed]) -> Callable[[str], Typed]:
    """A command that takes a text."""

    def parse(rest: str) -> Typed:
        if not rest.strip():
            raise _usage(name)
        return make(rest)

    return parse


def _line_mode(name: str) -> Callable[[str], Typed]:
    def parse(rest: str) -> Typed:
        try:
            return LINE_MODE[name].parse(rest)
        except BadLine:
            raise _usage(name) from None

    return parse


def _to(rest: str) -> Typed:
    word, more = split_word(rest.strip())
    if not word or more is not None:
        raise _usage("to")
    if word.lower() == EVERYONE:
        return ToLine(None)
    try:
        return ToLine(canonical_name(word))
    except BadName as error:
        raise BadLine("bad_name", str(error)) from None


MOST_PAST = 1000


def _past(rest: str) -> Typed:
    count = rest.strip() or "100"
    if not (count.isascii() and count.isdigit() and len(count) <= len(str(MOST_PAST))) or not (
        1 <= int(count) <= MOST_PAST
    ):
        raise BadLine("usage", f"usage: history [N], at most {MOST_PAST} at a time")
    return PastLine(int(count))


def _mode(name: str) -> Command:
    usage, summary, _ = LINE_MODE[name]
    return Command(usage, summary, _line_mode(name))


COMMANDS: dict[str, Command] = {
    "send": _mode("send"),
    "reply": Command(
        "reply MESSAGE",
        "to whom the last direct message came from",
        _worded("reply", ReplyLine),
    ),
    "echo": _mode("echo"),
    "me": Command(
        "me DOES",
        "say what you do: 'me waves' shows as '** NAME waves'",
        _worded("me", lambda rest: SayLine(f"/me {rest}")),
    ),
    "to": Command("to USER", "where plain text goes; 'to everyone' as at first", _to),
    "info": _mode("info"),
    "history": Command("history [N]", "more of what was said before", _past),
    "help": _mode("help"),
    "quit": _mode("quit"),
}

FOR_ONE = ("send", "reply")
"""Commands whose text is meant for one user."""

NAMES_AFTER = ("send", "to")
"""Commands whose first word is a user's name."""


def parse_typed(line: str) -> Typed | None:
    """What *line* asks for, or None if it is blank.  Raises BadLine, in words for a person."""
    if not line.strip():
        return None
    if line[0] == " ":
        return SayLine(line[1:])
    word, rest = split_word(line)
    command = COMMANDS.get(word.removeprefix("/"))
    if command is not None:
        return command.parse(rest or "")
    if word.startswith("/"):
        known = ", ".join(COMMANDS)
        words = (
            f"unknown command: {word[:40]}; there are {known}; a space before it says it as it is"
        )
        raise BadLine("unknown_command", words)
    if word.lower() in FOR_ONE or (word.lower() == "to" and rest and len(rest.split()) == 1):
        # What was meant for one must not be said to all over a capital letter; nor what follows it.
        small = f"{word.lower()!r} is written small"
        raise BadLine("usage", f"{small}; a space before {word!r} says it as it is")
    return SayLine(line)


def is_reply(line: str) -> bool:
    """Whether *line*, which may not be whole yet, is a reply."""
    return line.partition(" ")[0].removeprefix("/") == "reply"


def help_lines() -> list[str]:
    """The table of commands."""
    width = max(len(command.usage) for command in COMMANDS.values())
    lines = [f"{command.usage:<{width}}  {command.summary}" for command in COMMANDS.values()]
    lines.append(f"{'TEXT':<{width}}  to whom the prompt names; a space before it: as it is")
    return lines
