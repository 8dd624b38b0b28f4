"""A plain line prompt for a person: what arrives is printed above what is being typed."""

from __future__ import annotations

import os
import readline
import sys
import threading
from collections.abc import Callable

from ..command.status import Status
from .client import Client
from .errors import ClientError, Refused
from .escape import escape
from .events import Event, Joined, Left, Missed, Offline, Online
from .input import (
    BadLine,
    EchoLine,
    HelpLine,
    InfoLine,
    QuitLine,
    SendLine,
    help_lines,
    parse_line,
)
from .interrupts import Interrupts
from .render import text_line, users_line

PROMPT = "> "


class Screen:
    """The terminal: lines above, the prompt below."""

    def __init__(self) -> None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.plain = os.environ.get("TERM", "dumb") == "dumb" or not sys.stdout.isatty()
        self._colour = colour and not self.plain
        self._lock = threading.Lock()
        self.typing = False
        """Whether the prompt is on the screen."""

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._colour else text

    def dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self._colour else text

    def show(self, line: str) -> None:
        """Prints *line* above the prompt and puts back what was typed."""
        with self._lock:
            if not self.typing or self.plain:
                sys.stdout.write(line + "\n")
            else:
                typed = readline.get_line_buffer()
                sys.stdout.write(f"\r\x1b[J{line}\n{PROMPT}{typed}")
            sys.stdout.flush()


def converse(client: Client, interrupts: Interrupts) -> int:
    """Reads commands until quit or the end of input; returns the exit status."""
    screen = Screen()
    screen.show(f"joined as {client.name} on {client.broker}; 'help' lists the commands")
    failure: list[ClientError] = []
    receiving = threading.Thread(
        target=_show_events, args=(client, screen, failure), name="receiving", daemon=True
    )
    receiving.start()
    try:
        while not failure:
            screen.typing = True
            try:
                with interrupts.exposed():
                    line = input(PROMPT)
            except EOFError:
                screen.show("")
                break
            finally:
                screen.typing = False
            try:
                if not _carry_out(line, client, screen.show):
                    break
            except (BadLine, Refused) as refused:
                screen.show(f"! {escape(str(refused))}")
    finally:
        client.close()
        receiving.join(timeout=1.0)
    if failure:
        raise failure[0]
    return Status.DONE


def _carry_out(line: str, client: Client, show: Callable[[str], None]) -> bool:
    """Does what *line* asks for; False to leave.  Waits until the broker has it, so that
    what a person sees next is true."""
    match parse_line(line):
        case SendLine(to, text):
            client.send(to, text, client.reconnect)
        case EchoLine(text):
            client.echo(text, client.reconnect)
        case InfoLine():
            show(users_line(client.users(client.reconnect)))
        case HelpLine():
            for text in help_lines():
                show(text)
        case QuitLine():
            return False
    return True


def _show_events(client: Client, screen: Screen, failure: list[ClientError]) -> None:
    try:
        while True:
            for event in client.receive_many():
                line = _line_of(event, screen)
                if line:
                    screen.show(line)
    except ClientError as error:
        if not client.closed:
            failure.append(error)
            screen.show(f"! {escape(str(error))}; press Enter to leave")


def _line_of(event: Event, screen: Screen) -> str:
    match event:
        case Offline(why):
            return screen.dim(f"* {escape(why)}; reconnecting…")
        case Online(again=again):
            return screen.dim("* connected again") if again else ""
        case Missed():
            return screen.bold(text_line(event))
    line = text_line(event, screen.bold)
    return screen.dim(line) if isinstance(event, Joined | Left) else line
