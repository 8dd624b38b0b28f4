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
        self._most, self._since = max(self._most * unused, LEAST), now
        return int(self._most)

    def took(self, size: int, seconds: float, finished: bool) -> None:
        """*size* was taken, and it took so many seconds to hand it on; *finished*: all of it."""
        if not finished:
            self._most = LEAST
        elif seconds < LONG:
            grown = size * min(LONG / max(seconds, 1e-6), GROWTH)
            self._most = min(max(self._most, grown), MOST)
        else:
            self._most = size / 2
