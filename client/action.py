"""What ``chat listen --exec`` runs, and how a message is handed to it."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from typing import NamedTuple

from .events import Broadcast, Direct, Event
from .render import event_fields

FIELDS = ("type", "seq", "time", "from", "to", "text")
"""Of each, the variable CHAT_MESSAGE_… tells it."""


class Action(NamedTuple):
    """A command to run for each message."""

    command: tuple[str, ...]
    """The words of its command line.  Nothing that anybody said is among them."""
    jobs: int
    """How many of it may run at once."""


def parse_command(line: str, shell: bool) -> tuple[str, ...]:
    """The words of *line*: split as a shell splits words, or left to ``sh``.

    Raises ValueError, in words.
    """
    if "\0" in line:
        raise ValueError("a command cannot hold NUL")
    if not line.strip():
        raise ValueError("there is no command to run")
    if shell:
        return ("sh", "-c", line)
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(f"{error} in {line!r}") from None
    if not words or not words[0]:
        raise ValueError(f"there is no command to run in {line!r}")
    return tuple(words)


def variables(event: Event) -> dict[str, str]:
    """*event* as variables of the environment; what it lacks is empty.

    NUL, which no variable can hold, is U+FFFD in the text: stdin has it exactly.
    """
    fields = event_fields(event)
    fields.setdefault("from", fields.get("user", ""))
    return {
        f"CHAT_MESSAGE_{name.upper()}": str(fields.get(name, "")).replace("\0", "\ufffd")
        for name in FIELDS
    }


def exact_texts(events: Sequence[Event]) -> list[str]:
    """What was said, as it was said."""
    return [event.text if isinstance(event, Broadcast | Direct) else "" for event in events]


def event_words(event: Event) -> str:
    """Which message a report is about."""
    if isinstance(event, Broadcast | Direct):
        return f"message {event.seq}"
    fields = event_fields(event)
    return f"{fields['type']} {fields['user']}"


def failure_words(status: int) -> str:
    """How a process ended, whose *status* is that of `subprocess`: below 0 for a signal."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:  # One without a name, such as a real-time signal.
        return f"ended by signal {-status}"
