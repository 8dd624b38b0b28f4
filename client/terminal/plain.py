"""Simple lines: for a terminal that cannot be drawn on, and for readers of screens.

Nothing is drawn over and nothing has a style; each row is written when it comes.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue

from ...command.status import Status
from ..client import Client
from ..errors import Refused
from ..escape import escape
from ..interrupts import Interrupts
from .background import Background
from .conversation import Conversation
from .leaving import telling_what_is_lost, wait_for_answers
from .rows import Row

LOOK_EVERY = 200
"""Milliseconds without a key after which the keyboard looks whether it was stopped."""


class Lines:
    """A display of simple lines."""

    def __init__(self, bell: bool) -> None:
        self._bell = bell

    def add(self, row: Row) -> None:
        sys.stdout.write(row.text + "\n")
        sys.stdout.flush()

    def add_past(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.add(row)

    def set_pending(self, rows: Sequence[Row]) -> None:
        """What is under way is not drawn: it is written when it is stored."""

    def alert(self, row: Row) -> None:
        if self._bell:
            sys.stdout.write("\a")
            sys.stdout.flush()


class Keyboard:
    """Lines as the terminal gives them, read in a thread of their own."""

    def __init__(self, take: Callable[[str | None], None], descriptor: int = 0) -> None:
        """*take* is called with each line, and with None at the end."""
        self._take = take
        self._descriptor = descriptor
        self.rest = ""
        """What was typed last, if the input ended within a line."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keyboard", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        rest = b""
        while not self._stopped.is_set():
            if not poll.poll(LOOK_EVERY):
                continue
            # Not by a buffered reader, in whose buffer a second line would hide.
            typed = self._read()
            *lines, rest = (rest + typed).split(b"\n")
            for line in lines:
                self._take(line.decode(errors="replace"))
            if not typed:
                self.rest = rest.decode(errors="replace")
                break
        self._take(None)

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, 4096)
        except OSError:  # The terminal is gone: its end as well.
            return b""


def converse(client: Client, interrupts: Interrupts, screenful: int, bell: bool) -> int:
    """Reads lines until quit or the end of input; returns the exit status."""
    calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
    interrupts.on_signal(lambda: calls.put(interrupts.check))
    failures: list[Exception] = []
    background = Background(client, calls.put, failures.append)
    conversation = Conversation(client, Lines(bell), background.work)
    typed: deque[str | None] = deque()
    left = False

    def enter() -> None:
        """What was typed is said as long as there is room for it: a paste may have thousands of
        lines, and what the broker has of them makes room for more."""
        nonlocal left
        while typed and not left and (conversation.room > 0 or not conversation.connected):
            line = typed.popleft()
            left = line is None or not conversation.typed(line)

    keyboard = Keyboard(lambda line: calls.put(partial(typed.append, line)))
    conversation.begin(screenful)
    background.start(conversation)
    keyboard.start()
    with telling_what_is_lost(conversation, typed):
        try:
            while not left and not failures:
                try:
                    calls.get(timeout=0.5)()
                    enter()
                except Empty:
                    interrupts.check()
        finally:
            keyboard.stop()
            conversation.take(background.stop())
        if failures:
            raise failures[0]
        wait_for_answers(client, interrupts, conversation)
        if keyboard.rest:
            # Not sent: also a terminal that is closed while somebody types ends its input.
            rest = escape(keyboard.rest)
            raise Refused("usage", f"not sent, as the input ended before its line did: {rest}")
    return Status.DONE
