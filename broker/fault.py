"""What goes wrong again and again is told to an operator once."""

from __future__ import annotations

from math import inf

from .clock import TurnClock
from .outgoing import Outgoing

OVER = 10.0
"""Seconds after which a fault that is there again is another one.  One that lasts shows each
second."""


class Fault:
    """Something of one kind that may fail; told as *what*."""

    def __init__(self, out: Outgoing, clock: TurnClock, what: str) -> None:
        self._out = out
        self._clock = clock
        self._what = what
        self._last = "", -inf
        """Why it failed last, and when."""

    def happened(self, because: str) -> None:
        """Tells of it, unless it only goes on."""
        before, since = self._last
        self._last = because, self._clock.now
        if before != because or self._clock.now - since > OVER:
            self._out.warn(self._what, because=because)
