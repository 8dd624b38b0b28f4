"""How much there is to do: totals over time give rates."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

EVERY = 1.0
"""Seconds between two samples."""

OVER = 10
"""Samples that a rate is taken over."""


class Rates:
    """So much a second, over the last ten seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, tuple[int, ...]]] = deque(maxlen=OVER)
        self._next = 0.0

    def sample(self, now: float, totals: Callable[[], tuple[int, ...]]) -> None:
        """Asks for the *totals* at *now* (seconds of a monotonic clock), if it is time to."""
        if now >= self._next:
            self._next = now + EVERY
            self._samples.append((now, totals()))

    def per_second(self, now: float, *totals: int) -> list[float]:
        """How fast each of *totals* grew."""
        if not self._samples:
            return [0.0 for _ in totals]
        began, before = self._samples[0]
        passed = max(now - began, 0.001)
        return [round((total - old) / passed, 1) for total, old in zip(totals, before, strict=True)]
