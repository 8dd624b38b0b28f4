"""The broker's sense of time: the wall clock for stamps, attended time for leases."""

from __future__ import annotations

from datetime import UTC, datetime

MOST_ATTENDED = 1.0
"""Seconds that leases lose in one turn at most: a broker that was itself stopped or starved
has not listened, so its clients were not silent."""


class TurnClock:
    """The time of the current turn."""

    def __init__(self, time: int = 0) -> None:
        """*time*: no earlier than any stamp there is, in milliseconds since 1970."""
        self._now: float | None = None
        self.now = 0.0
        """Seconds of the monotonic clock, which a broker that was stopped does not miss."""
        self.turn = 0
        """The number of the current turn."""
        self.attended = 0.0
        """Seconds that the broker has listened.  Leases run on it."""
        self.time = time
        """Milliseconds since 1970-01-01 UTC; never falls."""
        self.behind = 0
        """Milliseconds by which the wall clock is behind that."""

    def begin(self, now: float, time: int) -> float:
        """Starts a turn.  *now* is a monotonic clock in seconds; *time* is the wall clock in
        milliseconds since 1970, which may step back.

        Returns by how many seconds the turn before was longer than leases run in one turn.
        """
        passed = 0.0 if self._now is None else max(now - self._now, 0.0)
        counted = min(passed, MOST_ATTENDED)
        self.attended += counted
        self._now = self.now = now
        self.time = max(self.time, time)
        self.behind = self.time - time
        self.turn += 1
        return passed - counted

    @property
    def wall(self) -> int:
        """The wall clock as it was told, also if it stepped back: for what ends at a time that
        was reckoned by it."""
        return self.time - self.behind


def iso(time: int) -> str:
    """*time* (milliseconds since 1970) in UTC, as ``chat --json`` writes it."""
    words = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
    return words.replace("+00:00", "Z")
