"""From where a client begins to read: the values of ``since``."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.messages import Start


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
        """What follows the message whose ``seq`` is *position*."""
        return cls(Start.AFTER, position)

    @classmethod
    def last(cls, seconds: float) -> Since:
        """What was said in the last so many seconds, by the broker's clock."""
        return cls(Start.AGE, round(seconds * 1000))
