"""What goes wrong again and again is told to an operator once."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from .clock import TurnClock

OVER = 10.0
"""Seconds after which a fault that is there again is another one.  One that lasts shows each
second."""


class Fault:
    """Something of one kind that may fail; told as *what*.  *warn*: adds such a line."""

    def __init__(self, warn: Callable[..., None], clock: TurnClock, what: str) -> None:
        self._warn = warn
        self._clock = clock
        self._what = what
        self._last = "", -inf
        """Why it failed last, and when."""

    def happened(self, because: str) -> None:
        """Tells of it, unless it only goes on."""
        before, since = self._last
        self._last = because, self._clock.now
        if before != because or self._clock.now - since > OVER:
            self._warn(self._what, because=because)
