"""What ``chat join`` and ``chat listen`` count, and how long they go on."""

from __future__ import annotations

from typing import NamedTuple

from ..command.status import Status
from .events import Broadcast, Direct, Event, Joined, Left


class Bounds(NamedTuple):
    """How long to receive.  Seconds; None for no bound."""

    messages: int | None
    total: float | None
    quiet: float | None

    @property
    def given(self) -> bool:
        return any(bound is not None for bound in self)


class Meter:
    """Tells when the bounds are reached."""

    def __init__(self, bounds: Bounds, now: float) -> None:
        self._bounds = bounds
        self._until = None if bounds.total is None else now + bounds.total
        self._last = now
        self._counted = 0

    def count(self, now: float, messages: int = 1) -> None:
        """Messages were printed."""
        self._counted += messages
        self._last = now

    @property
    def left(self) -> int | None:
        """Messages until the count is reached; None without a count."""
        return None if self._bounds.messages is None else self._bounds.messages - self._counted

    @property
    def reached(self) -> bool:
        return self.left is not None and self.left <= 0

    def pause(self, now: float, waiting: int = 0) -> float | None:
        """Seconds until time is up, 0 if it is; None without a bound in time.

        While messages are *waiting* to be printed it is not silent."""
        ends = [] if self._until is None else [self._until]
        if self._bounds.quiet is not None and not waiting:
            ends.append(self._last + self._bounds.quiet)
        return max(min(ends) - now, 0.0) if ends else None

    def restart(self, now: float) -> None:
        """Time counts from now on."""
        self._until = None if self._bounds.total is None else now + self._bounds.total
        self._last = max(self._last, now)

    @property
    def status(self) -> Status:
        """The exit status when time is up."""
        return Status.DONE if self._bounds.messages is None else Status.OUT_OF_TIME


KINDS: dict[str, tuple[type[Event], ...]] = {
    "direct": (Direct,),
    "broadcast": (Broadcast,),
    "presence": (Joined, Left),
}
"""What ``--only`` may ask for."""


def counted_kinds(only: str | None) -> tuple[type[Event], ...]:
    """What counts as a message."""
    # Somebody who waits for a message is not waiting for people who come and go.
    return KINDS["direct"] + KINDS["broadcast"] if only is None else KINDS[only]
