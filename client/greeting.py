"""What PUB says to a SUB that connected: from there on nothing that is published is missed."""

from __future__ import annotations

from math import inf

SETTLE = (0.0, 0.05, 0.25, 1.0)
"""Seconds after PUB's greeting at which the client asks for the heads.  PUB greets a
connection when it accepts it, and may take the subscription a moment later: what was said
in between is noticed at once instead of at the next heartbeat."""

WITHIN = 5.0
"""Seconds after a WELCOME in which PUB greets, if its port can be reached."""


class Greeting:
    """Whether PUB greeted.  Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.heard = False
        self.count = 0
        """How often it did: what was published before, and is in no log, may have been missed."""
        self._due = inf

    def expect(self, now: float) -> None:
        """The broker can be reached, and says where PUB is."""
        self._due = now + WITHIN

    def come(self, now: float) -> list[float]:
        """It came.  When to ask what was published before."""
        self.heard = True
        self.count += 1
        return [now + pause for pause in SETTLE]

    def is_missed(self, now: float) -> bool:
        """Whether it did not come in time; True once for each time that it is expected."""
        missed = not self.heard and now >= self._due
        if missed:
            self._due = inf
        return missed
