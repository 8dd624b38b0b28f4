"""How much is taken out of the socket in one turn.

Others wait until all of it is handed on.  Messages are cheap and questions are dear, and which
they are shows when they are handed on only: so it goes by the turns before, as TCP's window does
(RFC 2861, of which also that it shrinks when it is not used).
"""

from __future__ import annotations

MOST, LEAST = 1024 * 1024, 32 * 1024
"""Bytes: enough to share one commit; and 4000 tiny questions, which take a tenth of a second."""

A_FRAME = 256
"""Bytes that a frame counts as at the least: it costs more than what is in it."""

LITTLE = 16 * A_FRAME
"""Bytes that are taken at the least while not all is handed on."""

LONG = 0.01
"""Seconds that are long to hand it on."""

GROWTH = 4
"""How much more is taken than in the turn before, at most."""

HALVED_AFTER = 0.1
"""Seconds after which half as much is taken, if less than that was there."""


class Portion:
    """Bytes, as they are counted here."""

    def __init__(self) -> None:
        self._most: float = LEAST
        self._since = 0.0
        """When it was so much."""

    def at(self, now: float) -> int:
        """What may be taken at *now*, in monotonic seconds."""
        unused = 0.5 ** ((now - self._since) / HALVED_AFTER)
        self._most = max(self._most * unused, min(self._most, LEAST))
        self._since = now
        return int(self._most)

    def took(self, size: int, seconds: float, left: int, handed: int) -> None:
        """*size* was taken, and it took so many seconds to hand on *handed*; so much is *left*."""
        if left:
            # Or so much of one who says too much would come together that others are not heard.
            self._most = min(max(handed, LITTLE), LEAST)
        elif seconds < LONG:
            grown = size * min(LONG / max(seconds, 1e-6), GROWTH)
            self._most = min(max(self._most, grown, LEAST), MOST)
        else:
            self._most = max(size / 2, LEAST)
