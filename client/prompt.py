"""A line prompt for a person: what arrives is printed above what is being typed.

prompt_toolkit keeps the line that is being typed, and is imported only here.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

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


class Keyboard(Protocol):
    """Where the person's lines come from."""

    def ask(self) -> str:
        """The next line.  Raises EOFError at the end of input, and when `stop` was called."""

    def stop(self) -> None:
        """Ends an `ask` that waits, now or later.  May be called from any thread."""


class PlainKeyboard:
    """Lines as the terminal gives them, when there are no means to draw."""

    def __init__(self) -> None:
        self._stopped = False

    def ask(self) -> str:
        if self._stopped:
            raise EOFError
        return input(PROMPT)

    def stop(self) -> None:
        # Nobody can take a read back; the next Enter ends it.
        self._stopped = True


class EditingKeyboard:
    """Lines that can be edited, and stay below what is printed meanwhile."""

    def __init__(self) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory

        self._session: PromptSession[str] = PromptSession(PROMPT, history=InMemoryHistory())
        self._stopped = False

    def ask(self) -> str:
        # Signals are `Interrupts`' business; Ctrl-C at the prompt is a key.
        return self._session.prompt(pre_run=self._end_if_stopped, handle_sigint=False)

    def stop(self) -> None:
        self._stopped = True
        loop = self._session.app.loop
        if loop is not None and self._session.app.is_running:
            loop.call_soon_threadsafe(self._end_if_stopped)

    def _end_if_stopped(self) -> None:
        app = self._session.app
        if self._stopped and app.is_running and not app.is_done:
            app.exit(exception=EOFError())


class Screen:
    """The terminal: lines above, the prompt below."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        self.plain = os.environ.get("TERM", "dumb") == "dumb" or not terminal
        self._colour = not self.plain and not os.environ.get("NO_COLOR")
        self._lock = threading.Lock()

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._colour else text

    def dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self._colour else text

    def show(self, line: str) -> None:
        """Prints *line*, above the prompt if there is one."""
        with self._lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    @contextmanager
    def keyboard(self) -> Iterator[Keyboard]:
        """Lets the person type; what is shown meanwhile leaves the line alone."""
        if self.plain:
            yield PlainKeyboard()
            return
        from prompt_toolkit.patch_stdout import patch_stdout

        # raw: what others wrote is escaped already, and the marks are our own.
        with patch_stdout(raw=True):
            yield EditingKeyboard()


def converse(client: Client, interrupts: Interrupts) -> int:
    """Reads commands until quit or the end of input; returns the exit status."""
    screen = Screen()
    failure: list[ClientError] = []
    with screen.keyboard() as keyboard:
        screen.show(f"joined as {client.name} on {client.broker}; 'help' lists the commands")
        receiving = threading.Thread(
            target=_show_events,
            args=(client, screen, keyboard, failure),
            name="receiving",
            daemon=True,
        )
        receiving.start()
        try:
            while True:
                try:
                    with interrupts.exposed():
                        line = keyboard.ask()
                except EOFError:
                    break
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


def _show_events(
    client: Client, screen: Screen, keyboard: Keyboard, failure: list[ClientError]
) -> None:
    try:
        while True:
            for event in client.receive_many():
                line = _line_of(event, screen)
                if line:
                    screen.show(line)
    except ClientError as error:
        if not client.closed:
            failure.append(error)
            keyboard.stop()
            if screen.plain:
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
