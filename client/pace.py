"""How fast a client says things: it keeps to the rates of WELCOME by itself, and waits when the
broker says so, because other sessions of the same user use them up too."""

from __future__ import annotations

from ..wire.bucket import UNLIMITED, Bucket, Rate
from ..wire.messages import Limits

MARGIN = 0.25
"""Seconds of each rate that are not used, at most half of the burst: frames come closer to each
other than they were sent, and the broker's clock stands still within a turn.  A client that is
alone is so hardly ever told to wait."""


class Pace:
    """Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._rates: tuple[Rate, Rate] = UNLIMITED, UNLIMITED
        self._messages, self._bytes = map(Bucket, self._rates)

    def keep_to(self, limits: Limits) -> None:
        """A WELCOME told what the broker bears."""
        rates = (
            _rate(limits.messages_per_second, limits.messages_burst),
            _rate(limits.bytes_per_second, limits.bytes_burst),
        )
        if rates != self._rates:
            self._rates = rates
            self._messages, self._bytes = map(Bucket, rates)

    @property
    def until(self) -> float:
        """Before that nothing is to be said."""
        return max(self._messages.until, self._bytes.until)

    def left(self, now: float) -> tuple[float, float]:
        """How many messages, and bytes, may be said now."""
        return self._messages.left(now), self._bytes.left(now)

    def took(self, messages: int, size: int, now: float) -> None:
        """So many messages were said, in *size* bytes."""
        self._messages.take(messages, now)
        self._bytes.take(size, now)

    def hold(self, until: float) -> None:
        """The broker wants nothing before *until*."""
        self._messages.hold(until)


def _rate(per_second: int, burst: int) -> Rate:
    if not per_second:
        return UNLIMITED
    return Rate(per_second, burst - min(per_second * MARGIN, burst / 2))
