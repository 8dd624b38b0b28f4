"""What people and scripts type: one table of commands drives parsing and help."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class SendLine(NamedTuple):
    to: str
    text: str


class EchoLine(NamedTuple):
    text: str


class InfoLine(NamedTuple):
    pass


class HelpLine(NamedTuple):
    pass


class QuitLine(NamedTuple):
    pass


Request = SendLine | EchoLine | InfoLine | HelpLine | QuitLine


class BadLine(ValueError):
    """A line that is no command.  ``code`` is for scripts, the words for people."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class Command(NamedTuple):
    usage: str
    summary: str
    parse: Callable[[str], Request]


def _send(rest: str) -> Request:
    to, text = split_word(rest)
    if not to or not text:
        raise BadLine("usage", f"usage: {COMMANDS['send'].usage}")
    return SendLine(to, text)


def _echo(rest: str) -> Request:
    if not rest:
        raise BadLine("usage", f"usage: {COMMANDS['echo'].usage}")
    return EchoLine(rest)


def _alone(request: Request) -> Callable[[str], Request]:
    def parse(rest: str) -> Request:
        if rest.strip():
            name = type(request).__name__.removesuffix("Line").lower()
            raise BadLine("usage", f"usage: {name} (nothing after it)")
        return request

    return parse


COMMANDS: dict[str, Command] = {
    "info": Command("info", "who is on", _alone(InfoLine())),
    "send": Command("send USER MESSAGE", "to one user", _send),
    "echo": Command("echo MESSAGE", "to everyone", _echo),
    "help": Command("help", "this list", _alone(HelpLine())),
    "quit": Command("quit", "leave", _alone(QuitLine())),
}


def split_word(line: str) -> tuple[str, str | None]:
    """The first word, and what follows the one white-space character after it."""
    word = line.split(maxsplit=1)[0] if line and not line[0].isspace() else ""
    return word, line[len(word) + 1 :] if len(line) > len(word) else None


def parse_line(line: str) -> Request | None:
    """The request in *line* (without its line end), or None if it is blank.

    A leading ``/`` is allowed.  One space separates a message from what is before it; all
    others belong to the message.  Raises BadLine.
    """
    line = line.removeprefix("\ufeff").lstrip()  # Some editors begin a file with that mark.
    if not line:
        return None
    name, rest = split_word(line)
    command = COMMANDS.get(name.removeprefix("/"))
    if command is None:
        known = ", ".join(COMMANDS)
        raise BadLine("unknown_command", f"unknown command: {name[:40]}; there are {known}")
    return command.parse(rest or "")


def help_lines() -> list[str]:
    """The table of commands, for a person."""
    width = max(len(command.usage) for command in COMMANDS.values())
    return [f"{command.usage:<{width}}  {command.summary}" for command in COMMANDS.values()]
