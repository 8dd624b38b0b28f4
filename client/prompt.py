"""A line prompt for a person: what arrives is printed above what is being typed.

prompt_toolkit keeps the line that is being typed, and is imported only here.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from queue import SimpleQueue
from shutil import get_terminal_size
from typing import Protocol

from ..command.status import Status
from ..wire.messages import DIRECT_LOG, ECHO_LOG
from .client import Client
from .errors import ClientError, NewHistory, Refused
from .escape import escape
from .events import Event, Joined, Left, Missed, Notice, Offline, Online
from .history import History
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
from .pipeline import away_words
from .render import dated_line, text_line, users_line

PROMPT = "> "

LOOK_EVERY = 200
"""Milliseconds without a key after which a plain keyboard looks whether it was stopped."""


class Keyboard(Protocol):
    """Where the person's lines come from."""

    def ask(self) -> str:
        """The next line, or several if they were pasted together.

        Raises EOFError at the end of input, and when `stop` was called."""

    def stop(self) -> None:
        """Ends an `ask` that waits, now or later.  May be called from any thread."""


class PlainKeyboard:
    """Lines as the terminal gives them, when there are no means to draw."""

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._typed = b""
        self._stopped = False

    def ask(self) -> str:
        sys.stdout.write(PROMPT)
        sys.stdout.flush()
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        while b"\n" not in self._typed:
            if self._stopped:
                raise EOFError
            if poll.poll(LOOK_EVERY):
                # Not by a buffered reader, in whose buffer a second line would hide.
                typed = os.read(self._descriptor, 4096)
                if not typed:
                    raise EOFError
                self._typed += typed
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode(errors="replace")

    def stop(self) -> None:
        self._stopped = True


class EditingKeyboard:
    """Lines that can be edited, and stay below what is printed meanwhile."""

    def __init__(self) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory

        self._session: PromptSession[str] = PromptSession(
            PROMPT, history=InMemoryHistory(), enable_suspend=True
        )
        self._stopped = False

    def ask(self) -> str:
        # Signals are `Interrupts`' business; Ctrl-C at the prompt is a key.
        return self._session.prompt(pre_run=self._end_if_stopped, handle_sigint=False)

    def stop(self) -> None:
        self._stopped = True
        loop = self._session.app.loop
        if loop is not None and self._session.app.is_running:
            with suppress(RuntimeError):  # It has ended by itself at this moment.
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
    """Reads commands until quit or the end of input; returns the exit status.

    They are carried out in their order by a thread of their own: while one waits for the
    broker, the next can be typed.
    """
    screen = Screen()
    failure: list[Exception] = []
    typed: SimpleQueue[str | None] = SimpleQueue()
    with screen.keyboard() as keyboard:
        screen.show(f"joined as {client.name} on {client.broker}; 'help' lists the commands")

        def until_it_fails(work: Callable[[], None]) -> Callable[[], None]:
            def run() -> None:
                try:
                    work()
                except Exception as error:  # noqa: BLE001 - raised below, where it is seen
                    if not (client.closed and isinstance(error, ClientError)):
                        failure.append(error)
                finally:
                    keyboard.stop()

            return run

        working, receiving = [
            threading.Thread(target=until_it_fails(work), name=name, daemon=True)
            for name, work in (
                ("commands", lambda: _carry_out_all(typed, client, screen.show)),
                ("receiving", lambda: _show_events(client, screen)),
            )
        ]
        receiving.start()
        working.start()
        try:
            with suppress(EOFError):
                while True:
                    with interrupts.exposed():
                        typed.put(keyboard.ask())
            typed.put(None)
            while working.is_alive() and not failure:
                working.join(0.05)
                interrupts.check()
        finally:
            client.close()
            typed.put(None)  # Also when it was interrupted: nobody waits for the next command.
            for thread in (working, receiving):
                thread.join(timeout=1.0)
    if failure:
        raise failure[0]
    return Status.DONE


def _carry_out_all(
    typed: SimpleQueue[str | None], client: Client, show: Callable[[str], None]
) -> None:
    """Does what is typed, until the end or until a line asks to leave."""
    while (lines := typed.get()) is not None:
        for line in lines.split("\n"):
            try:
                if not _carry_out(line, client, show):
                    return
            except (BadLine, Refused) as refused:
                show(f"! {escape(str(refused))}")


def _carry_out(line: str, client: Client, show: Callable[[str], None]) -> bool:
    """Does what *line* asks for, and waits until the broker has it; False to leave."""
    match parse_line(line):
        case SendLine(to, text):
            receipt = client.send(to, text, client.patience)
            if receipt.away:
                show(f"* {escape(away_words(receipt))}")
        case EchoLine(text):
            client.echo(text, client.patience)
        case InfoLine():
            show(users_line(client.users(client.patience)))
        case HelpLine():
            for text in help_lines():
                show(text)
        case QuitLine():
            return False
    return True


def _show_past(client: Client, screen: Screen) -> None:
    """A screenful of what was said before, and how much is new."""
    history = History(client)
    most = max(get_terminal_size().lines - 6, 5)
    ends = {log: client.began(log) for log in (ECHO_LOG, DIRECT_LOG)}
    parts = [history.newest(log, most, upto=start) for log, (start, _) in ends.items()]
    past = [event for event in history.merged(parts) if not isinstance(event, Missed)]
    for event in past[-most:]:
        screen.show(_line_of(event, screen))
    start, head = ends[DIRECT_LOG]
    if head > start:
        screen.show(screen.dim(f"--- {head - start} new while you were away"))


def _show_events(client: Client, screen: Screen) -> None:
    with suppress(NewHistory):  # The broker lost it meanwhile; the inbox tells.
        _show_past(client, screen)
    while True:
        for event in client.receive_many():
            line = _line_of(event, screen)
            if line:
                screen.show(line)


def _line_of(event: Event, screen: Screen) -> str:
    match event:
        case Offline(why):
            return screen.dim(f"* {escape(why)}; reconnecting…")
        case Online(again=again):
            return screen.dim("* connected again") if again else ""
        case Notice():
            return screen.bold(f"* {escape(event.line)}")
        case Missed():
            return screen.bold(text_line(event))
    line = dated_line(event, date.today(), screen.bold)
    return screen.dim(line) if isinstance(event, Joined | Left) else line
