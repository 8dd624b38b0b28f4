"""How signals end a broker."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

STOP_WITHIN = 1.6
"""Seconds after which a stop that peers hold up is cut short."""


class Stoppable(Protocol):
    """What signals stop: a ``Server``."""

    reread: bool

    @property
    def stopping(self) -> bool: ...

    @property
    def wake_fd(self) -> int: ...

    def stop(self, why: str) -> None: ...


@contextmanager
def signals(server: Stoppable, cut_short: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turns SIGTERM and SIGINT into `stop`, SIGHUP into a look at the config file.  Main thread
    only.

    *cut_short* is called when peers hold up the stop and the process is ended for it."""

    # What is stored is stored; a peer that does not read may hold up the rest.
    def end() -> None:
        cut_short()
        os._exit(0)

    watchdog = threading.Timer(STOP_WITHIN, end)
    watchdog.daemon = True

    def handle(number: int, frame: FrameType | None) -> None:
        first = not server.stopping
        server.stop(signal.Signals(number).name)
        if first:
            watchdog.start()

    terminals = [number for number in range(3) if os.isatty(number)]

    def hang_up(number: int, frame: FrameType | None) -> None:
        if terminals and not any(map(os.isatty, terminals)):
            handle(number, frame)  # The terminal was closed: nobody could end it any more.
        server.reread = True

    # A handler alone does not end poll(): Python resumes the wait after it.
    previous = signal.set_wakeup_fd(server.wake_fd, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        watchdog.cancel()
        signal.set_wakeup_fd(previous)
        for number, handler in handlers.items():
            signal.signal(number, handler)
