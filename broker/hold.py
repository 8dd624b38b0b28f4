"""What is told while the broker cannot store."""

from __future__ import annotations

from ..wire.errors import Code
from ..wire.limits import MAX_WORDS
from ..wire.messages import Notice
from .clock import TurnClock
from .effects import Note

RETRY = 0.5
"""Seconds between two attempts to store what could not be stored."""

REMIND = 4.0
"""Seconds between two notices that the broker cannot store: they are its only sign of life."""


class Hold:
    """Says to everyone that they wait, and why: at first and now and then, lest they take the
    broker for dead."""

    def __init__(self, clock: TurnClock) -> None:
        self._clock = clock
        self._remind_at = 0.0
        self._notes: list[Note] = []
        self.because = ""
        """Why nothing can be stored; empty while it can."""

    def begin(self, why: str) -> list[Notice]:
        """It could not be stored: what is to be said now."""
        if why != self.because:
            self.because = why
            self._remind_at = self._clock.attended
            self.warn("cannot_store", because=why)
        if self._clock.attended < self._remind_at:
            return []
        self._remind_at = self._clock.attended + REMIND
        words = f"the broker cannot store messages ({_fit_for_travel(why)}); what is sent waits"
        return [Notice(Code.CANNOT_STORE.value, words)]

    def end(self) -> list[Notice]:
        """It can be stored again: what is to be said."""
        self.because = ""
        self.warn("storing_again")
        return [Notice(Code.STORING.value, "the broker can store messages again")]

    def warn(self, what: str, **fields: object) -> None:
        """Adds a line for the broker's log that is no turn's: one that is held tells what is over
        by then."""
        self._notes.append(Note(what, fields, True))

    def notes(self) -> list[Note]:
        """What is new for the broker's log."""
        notes, self._notes = self._notes, []
        return notes


def _fit_for_travel(why: str) -> str:
    """*why*, which may hold a path of any length and of any bytes, as clients take it."""
    return why.encode(errors="backslashreplace")[: MAX_WORDS // 2].decode(errors="ignore")
