"""How signals end a broker, and what else must not just stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol, Self

STOP_WITHIN = 1.6
"""Seconds after which a stop that peers hold up is cut short."""


@contextmanager
def ended_in_order() -> Iterator[None]:
    """While entered, SIGTERM and SIGHUP end a command as Ctrl-C does, by an exception: what it
    began is undone, and the status is the one that they end others with.  Of those that the caller
    had ignored nothing is heard.  Main thread only."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    heard = [number for number in numbers if before[number] is not signal.SIG_IGN]

    def end(number: int, frame: FrameType | None) -> None:
        for one in heard:  # A terminal that is closed sends two, and the first is being obeyed.
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    try:
        for number in heard:
            signal.signal(number, end)
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


class Stoppable(Protocol):
    """What signals stop: a ``Server``."""

    reread: bool

    @property
    def wake_fd(self) -> int: ...

    def stop(self, why: str) -> None: ...


class Signals:
    """While entered, turns SIGTERM and SIGINT into `stop`, SIGHUP into a look at the config file.
    Main thread only.  What comes before there is a server waits for it.

    If one asked to stop, another one is nothing afterwards either: it would end the process with a
    status of its own, after all was done."""

    def __init__(self) -> None:
        self._server: Stoppable | None = None
        self._asked = ""
        """The name of the signal that asked to stop, if any did."""
        self._reread = False
        self._cut_short: Callable[[], None] = lambda: None
        self._watchdog = threading.Timer(STOP_WITHIN, self._end)
        self._watchdog.daemon = True
        self._terminals = [number for number in range(3) if os.isatty(number)]
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._stop)
        self._handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)
        return self

    def __exit__(self, *exc: object) -> None:
        self._watchdog.cancel()
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_IGN if self._asked else handler)

    @contextmanager
    def attend(
        self, server: Stoppable, cut_short: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """While entered, *server* is told.

        *cut_short* is called when peers hold up the stop and the process is ended for it."""
        # A handler alone does not end poll(): Python resumes the wait after it.
        previous = signal.set_wakeup_fd(server.wake_fd, warn_on_full_buffer=False)
        self._server, self._cut_short = server, cut_short
        try:
            if self._asked:
                server.stop(self._asked)
            if self._reread:
                server.reread = True
            yield
        finally:
            self._server = None
            signal.set_wakeup_fd(previous)

    def _end(self) -> None:
        # What is stored is stored; a peer that does not read may hold up the rest.
        self._cut_short()
        os._exit(0)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        first, self._asked = not self._asked, signal.Signals(number).name
        if self._server is not None:
            self._server.stop(self._asked)
        if first:
            self._watchdog.start()

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        if self._terminals and not any(map(os.isatty, self._terminals)):
            self._stop(number, frame)  # The terminal was closed: nobody could end it any more.
        self._reread = True
        if self._server is not None:
            self._server.reread = True
