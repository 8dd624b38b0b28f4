"""Commands that a program gives, and what becomes of each."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple


class Outcome(Enum):
    PENDING = auto()
    """Not known yet."""
    ACCEPTED = auto()
    """The broker has it."""
    REFUSED = auto()
    """The broker refused it; ``code`` and ``words`` say why."""
    UNKNOWN = auto()
    """It was sent, and nobody can tell any more what became of it."""
    UNSENT = auto()
    """It was given up before it was sent."""


# A class finds its member by a search.
_PENDING, _ACCEPTED = Outcome.PENDING, Outcome.ACCEPTED


class Note(NamedTuple):
    """What is to be said of a command beside its outcome."""

    away: bool
    code: str
    words: str


_NOTHING = Note(False, "", "")
AWAY = Note(True, "", "")
"""It was accepted for somebody who was not on, and will get it later."""


class Commands:
    """Texts that go the same way and were given together: as many commands.

    A pipe gives hundreds at a time.  What is done with all of them costs a fraction of what it
    costs one by one, so nothing is made for a single one until somebody asks (`Ticket`).
    """

    __slots__ = ("notes", "outcomes", "sent", "texts", "to")

    def __init__(self, to: str | None, texts: Sequence[str]) -> None:
        self.to = to
        """None for broadcasts."""
        self.texts = texts
        self.sent = 0
        """Where those end that were ever sent, to this broker or to one before it.  One before it
        was not if it was withdrawn."""
        self.outcomes = [_PENDING] * len(texts)
        self.notes: dict[int, Note] = {}
        """Of those that there is more to be said of."""

    def __len__(self) -> int:
        return len(self.texts)

    def resolve(self, start: int, stop: int, outcomes: Sequence[Outcome]) -> None:
        """Sets the outcomes of the commands from *start* to *stop*.

        All at once, and after their notes: other threads look without a lock."""
        self.outcomes[start:stop] = outcomes

    def known(self, start: int = 0) -> int:
        """The index of the first one from *start* on whose outcome is not known yet; the number
        of all if there is none."""
        try:
            return self.outcomes.index(_PENDING, start)
        except ValueError:
            return len(self.outcomes)

    def plain(self, places: range) -> bool:
        """Whether the broker has all of those, and there is nothing to be told of any."""
        outcomes = self.outcomes[places.start : places.stop]
        # In this order: the note of one comes before its outcome.
        return outcomes.count(_ACCEPTED) == len(places) and (
            not self.notes or self.notes.keys().isdisjoint(places)
        )


class Ticket:
    """One command, and what became of it."""

    __slots__ = ("at", "commands")

    def __init__(self, commands: Commands, at: int = 0) -> None:
        self.commands, self.at = commands, at

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ticket):
            return NotImplemented
        return self.commands is other.commands and self.at == other.at

    def __hash__(self) -> int:
        return hash((id(self.commands), self.at))

    @property
    def to(self) -> str | None:
        """None for a broadcast."""
        return self.commands.to

    @property
    def text(self) -> str:
        return self.commands.texts[self.at]

    @property
    def outcome(self) -> Outcome:
        return self.commands.outcomes[self.at]

    @property
    def done(self) -> bool:
        """Whether the outcome is known, or known to stay unknown."""
        return self.outcome is not _PENDING

    @property
    def plain(self) -> bool:
        """Whether the broker has it, and there is nothing to be told of it."""
        return self.outcome is _ACCEPTED and self.at not in self.commands.notes

    @property
    def sent(self) -> bool:
        """Whether it was ever sent, to this broker or to one before it."""
        return self.at < self.commands.sent and self.outcome is not Outcome.UNSENT

    @property
    def away(self) -> bool:
        """Whether it was accepted for somebody who was not on, and will get it later."""
        return self._note.away

    @property
    def code(self) -> str:
        return self._note.code

    @property
    def words(self) -> str:
        return self._note.words

    @property
    def _note(self) -> Note:
        return self.commands.notes.get(self.at, _NOTHING)
