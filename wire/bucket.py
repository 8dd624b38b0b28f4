"""A token bucket: how much may be done a second, and how much at once.

It lies in ``wire`` because both sides keep one: the broker by the rates that it bears, and the
client, which paces itself by those of WELCOME (docs/protocol.md, "Rates").  It has no clock;
*now* is seconds of a monotonic one.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple


class Rate(NamedTuple):
    """What may be done: so much a second, and so much at once after a rest."""

    per_second: float
    burst: float


UNLIMITED = Rate(inf, inf)


class Bucket:
    """Tokens of one rate.  Whoever is not in debt may take any amount, and so get into debt.

    A level that is filled up again needs a clock to look at it.  Here instead stands the time
    at which the bucket is empty: it moves on with what is taken, and is never more than a burst
    ago.
    """

    __slots__ = ("_each", "_span", "until")

    def __init__(self, rate: Rate) -> None:
        self._each = 1 / rate.per_second
        """Seconds that one token is worth."""
        self._span = rate.burst * self._each if self._each else 0.0
        """Seconds that a full bucket is worth."""
        self.until = -inf
        """Until when it is in debt, if that is to come."""

    def take(self, amount: float, now: float) -> float:
        """Takes *amount*, whether it is there or not; then until when it is in debt."""
        until, full = self.until, now - self._span
        if until < full:
            until = full
        self.until = until = until + amount * self._each
        return until

    def hold(self, until: float) -> None:
        """Nothing may be taken before *until*."""
        self.until = max(self.until, until)

    def wait(self, now: float) -> float:
        """Seconds until it is out of debt; 0 if it is."""
        return max(self.until - now, 0.0)

    def left(self, now: float) -> float:
        """What may be taken without getting into debt; negative if it is in debt."""
        if not self._each:
            return inf
        return (now - max(self.until, now - self._span)) / self._each
