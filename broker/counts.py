"""What is counted of the broker's work: plain numbers, for whoever wants to read them.

Counting has to cost next to nothing, so it is done once a turn or when something rare happens.
Nothing in the broker reads them back.  Any other thread may, at any time: a number may then be
ahead of another by what happened just now.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000)
"""Bounds for the messages of one commit: from one to what a turn holds."""

COMMITS = (
    *(0.000_01, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Bounds for the seconds of one commit: from memory to a disk that hardly answers."""


CUT_OFF = {
    "nothing was said": "silent",
    "one of too many that say nothing": "too_many_silent",
    "one of too many without a session": "too_many_idle",
    "the handshake was too long": "long_handshake",
    "too much waited that it did not read": "slow",
    "more was sent than may be": "sent_too_much",
    "a message had many parts": "many_parts",
    "more was subscribed to than there is": "subscriptions",
}
"""Why connections are cut off: as the log has it, and as a label."""


class Histogram:
    """How many values fell below each of *bounds*, which ascend, and their sum."""

    __slots__ = ("bounds", "counted", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counted = [0] * (len(bounds) + 1)
        """How many were at most each bound and above the one before; last, those above all."""
        self.total: float = 0

    def add(self, value: float) -> None:
        self.counted[bisect_left(self.bounds, value)] += 1
        self.total += value


class Counts:
    """What happened since the broker was started."""

    def __init__(self) -> None:
        self.batches = Histogram(BATCHES)
        """The messages of each commit that had any.  Their sum is all that was stored; a direct
        message counts once."""
        self.refused: Counter[str] = Counter()
        """By code: HELLOs, commands and frames."""
        self.delivered = 0
        """Frames that were given to ZeroMQ for one connection."""
        self.published = 0
        """Frames that were given to ZeroMQ for all who subscribed."""
        self.skipped = 0
        """Frames that were dropped because a pipe was full: a connection's, or the publisher's."""

        self.cut_off = Counter(dict.fromkeys(CUT_OFF.values(), 0))
        """Connections, by the reason."""

    def cut(self, because: str, count: int) -> None:
        self.cut_off[CUT_OFF.get(because, "other")] += count

    def refuse(self, code: str, count: int = 1) -> None:
        self.refused[code] += count


class Census(NamedTuple):
    """How many there are now of what the broker knows."""

    live: int
    """Sessions with a connection."""
    gone: int
    """Sessions that may come back to their name."""
    lapsed: int
    """Sessions of which only the outcomes are kept."""
    on: int
    """Users who are on."""
    known: int
    """Users, whether or not they are on."""
    claimed: int
    """Users whose name stays theirs while they are away."""


class Vitals(NamedTuple):
    """How the broker is."""

    turned: float
    """When the last turn of its loop began (monotonic clock, seconds)."""
    held: str
    """Why it cannot store; empty if it can."""
    census: Census
    descriptors: int
    """In use at the last look."""
    most_descriptors: int
