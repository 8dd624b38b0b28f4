"""SIGINT and SIGTERM, raised where it is safe.

A handler that raises may do so between taking a lock and the block that gives it back; then
the program hangs when it wants to leave.  So the handler only notes the signal, and the
exception is raised where the program waits, or where it is exposed on purpose.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

AGAIN, KEYS = 1.0, 0.05
"""Seconds after which another signal is of somebody who does not want to wait; and if it is of a
key that was pressed (SIGINT).  A terminal that is closed sends two at once, of the kernel and of
the shell: the second one is no other wish."""


class Interrupts:
    """While entered: SIGINT becomes KeyboardInterrupt, SIGTERM becomes SystemExit(*status*), and
    so does SIGHUP (the terminal is gone) unless the caller had it ignored, with 129.

    One that came and was not raised is raised at the end: what was interrupted is no success.

    If one came, the handlers stay, as the way out is longer than this: another one that is no other
    wish is nothing, and one that is has them be what they were before, and heed it.
    """

    def __init__(self, status: int = 128 + signal.SIGTERM) -> None:
        self._status = status
        self._pending: BaseException | None = None
        self._since = 0.0
        """When the first one came (monotonic clock, seconds)."""
        self._raised = False
        self._exposed = False
        self._over = False
        self._wakers: list[Callable[[], None]] = []
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if self._pending is None:
            self._give_back()
        self._over = True
        if kind is None and not self._raised:
            self.check()

    def _give_back(self) -> None:
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._handle:  # Else it is somebody else's by now.
                signal.signal(number, handler)

    def on_signal(self, wake: Callable[[], None]) -> None:
        """*wake* is called in the handler: it must take no lock, and end what waits."""
        self._wakers.append(wake)

    @property
    def pending(self) -> bool:
        """Whether a signal asked to end."""
        return self._pending is not None

    def check(self) -> None:
        """Raises what a signal asked for, in the main thread; another has nobody to catch it."""
        if self._pending is not None and threading.current_thread() is threading.main_thread():
            self._raised = True
            raise self._pending

    @contextmanager
    def exposed(self) -> Iterator[None]:
        """A block without locks, that may wait for long: a signal is raised at once."""
        self._exposed = True
        try:
            self.check()
            yield
        finally:
            self._exposed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        pause = KEYS if number == signal.SIGINT else AGAIN
        again = self._pending is not None and now - self._since > pause
        if self._over and again:
            self._give_back()
            signal.raise_signal(number)
            return
        if self._pending is None:
            self._pending, self._since = self._asked_by(number), now
        for wake in self._wakers:
            wake()
        # Who asks again after a while does not want to wait for a safe place.
        if self._exposed or again:
            self._raised = True
            raise self._pending

    def _asked_by(self, number: int) -> BaseException:
        if number == signal.SIGINT:
            return KeyboardInterrupt()
        return SystemExit(128 + number if number == signal.SIGHUP else self._status)
