"""From where a client begins to read: the values of ``since``."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.limits import MAX_INT
from ..wire.messages import Start
from .errors import UsageError


class Since(NamedTuple):
    """Where to begin to read a log."""

    start: Start
    value: int = 0

    @classmethod
    def now(cls) -> Since:
        """Only what is said from now on."""
        return cls(Start.NOW)

    @classmethod
    def unread(cls) -> Since:
        """What the user has not seen yet; of the public log, from now on."""
        return cls(Start.UNREAD)

    @classmethod
    def all(cls) -> Since:
        """Everything that the broker still keeps."""
        return cls(Start.AFTER, 0)

    @classmethod
    def after(cls, position: int) -> Since:
        """What follows the message whose ``seq`` is *position*.  Raises UsageError."""
        if not 0 <= position <= MAX_INT:
            raise UsageError(f"a position is from 0 to {MAX_INT}, not {position}")
        return cls(Start.AFTER, position)

    @classmethod
    def last(cls, seconds: float) -> Since:
        """What was said in the last so many seconds, by the broker's clock.

        Raises UsageError."""
        if not 0 <= seconds * 1000 <= MAX_INT:  # False for nan as well.
            raise UsageError(f"a time that is past is wanted, not {seconds} seconds ago")
        return cls(Start.AGE, round(seconds * 1000))
