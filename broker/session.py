"""One client's state: whether it is there, which commands it gave, what it was told.

A session outlives its connections.  Its life, as states and what moves them::

            HELLO               LOST             EXPIRED           FORGOTTEN
    (new) ────────▶ LIVE ─────────────▶ GONE ─────────────▶ LAPSED ──────────▶ ENDED
                    │ ▲ ▲                 │                 │ ▲                  ▲
                    │ │ └──────HELLO──────┘                 │ │                  │
                    │ └────────────────HELLO────────────────┘ │                  │
                    ├────────────────EXPIRED──────────────────┘                  │
                    └──────────────────────────────BYE───────────────────────────┘
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING

from ..wire.errors import Code
from ..wire.limits import MAX_REFUSALS, MAX_TEXT, WINDOW
from ..wire.messages import DIRECT_LOG, Ack, Follow, Refusal

if TYPE_CHECKING:
    from .registry import User


class State(Enum):
    LIVE = auto()
    """Bound to a connection; its lease runs."""
    GONE = auto()
    """Its connection is known to be lost; the name waits a moment for it to come back."""
    LAPSED = auto()
    """Silent for too long: its name is free, its outcomes are kept should it come back."""
    ENDED = auto()
    """Left, forgotten, or displaced by the next owner of its name."""


class Happening(Enum):
    HELLO = auto()
    LOST = auto()
    EXPIRED = auto()
    BYE = auto()
    FORGOTTEN = auto()


TRANSITIONS: dict[tuple[State, Happening], State] = {
    (State.LIVE, Happening.HELLO): State.LIVE,
    (State.GONE, Happening.HELLO): State.LIVE,
    (State.LAPSED, Happening.HELLO): State.LIVE,
    (State.LIVE, Happening.LOST): State.GONE,
    (State.LIVE, Happening.EXPIRED): State.LAPSED,
    (State.GONE, Happening.EXPIRED): State.LAPSED,
    (State.LIVE, Happening.BYE): State.ENDED,
    (State.LAPSED, Happening.FORGOTTEN): State.ENDED,
}

WORDS = {
    Code.NO_SUCH_USER: "no such user",
    Code.TOO_LONG: f"too long: at most {MAX_TEXT} bytes are allowed",
}
"""What is said beside the code of a refused command.  No more: who gave it knows the name."""

_REASONS = tuple([(code.value, words) for code, words in WORDS.items()])
_PLACES = {code: bytes((place,)) for place, code in enumerate(WORDS)}

REFUSAL_SIZE = 32
"""Bytes that a refusal takes in an ACK, about."""

HOLDING = frozenset({State.LIVE, State.GONE})
"""The states in which a session keeps its user's name from others."""


class Session:
    """What the broker remembers of one client."""

    __slots__ = (
        "_reasons",
        "_refused",
        "attempt",
        "born",
        "cseq",
        "exclusive",
        "expires",
        "follows",
        "id",
        "identity",
        "state",
        "told",
        "unconfirmed",
        "user",
    )

    def __init__(self, id: bytes, user: User | None, born: int = 0) -> None:
        self.id = id
        self.born = born
        """The attempt of the HELLO that made it."""
        self.attempt = born
        """The highest attempt of a HELLO that was let in."""
        self.user = user
        """None for an observer."""
        self.identity = b""
        """The routing id of its connection while LIVE."""
        self.state = State.LIVE
        self.expires = 0.0
        """When its lease runs out, or its name's moment of waiting (lease clock, seconds)."""
        self.exclusive = False
        self.follows: dict[str, Follow] = {}
        self.cseq = 0
        """The last command number that was accepted or refused."""
        self.told = 0
        """Up to where an ACK was last sent; the next one begins there."""
        self._refused = array("Q")
        """Of the last WINDOW commands, those that were refused; packed, because ten thousand
        sessions keep theirs when they have lapsed."""
        self._reasons = bytearray()
        """Why each of them: its place among the WORDS."""
        self.unconfirmed = 0
        """Bytes pushed since the last sign that the client reads."""

    def __repr__(self) -> str:
        name = self.user.name if self.user else "an observer"
        return f"<Session of {name}, {self.state.name}, cseq {self.cseq}>"

    @property
    def worth_keeping(self) -> bool:
        """Whether there is anything to come back for after a lapse."""
        return self.cseq > 0 or DIRECT_LOG in self.follows

    @property
    def left_nothing(self) -> bool:
        """Whether there is nothing to be lost with it: no outcome, no mail of its user."""
        mailbox = self.user.mailbox if self.user is not None else None
        return self.cseq == 0 and (mailbox is None or not (mailbox.head or mailbox.pending))

    @property
    def holding(self) -> bool:
        return self.state in HOLDING

    def happen(self, what: Happening) -> None:
        """Moves along TRANSITIONS; KeyError is a bug of the broker's."""
        self.state = TRANSITIONS[self.state, what]

    def refuse(self, cseqs: Iterable[int], code: Code) -> None:
        """Stores that the commands with these numbers, none above `cseq`, were refused."""
        self._refused.extend(cseqs)
        self._reasons += _PLACES[code] * (len(self._refused) - len(self._reasons))
        old = bisect_right(self._refused, self.cseq - WINDOW)
        del self._refused[:old], self._reasons[:old]

    def repeat_from(self, resolved: int) -> bool:
        """The client knows the outcomes up to *resolved*: what follows is to be told again.

        Outcomes older than the window are not kept; a client that keeps to the window never
        needs them.  True if there is anything to tell.
        """
        self.told = min(self.told, resolved)
        return self.told < self.cseq

    @property
    def outcomes_size(self) -> int:
        """Bytes that all the outcomes take in ACKs, at most and about."""
        return REFUSAL_SIZE * (1 + len(self._refused))

    def acks(self) -> Iterator[Ack]:
        """What the client is still to be told, as a chain of ACKs; taken to be told now.

        If an ACK is lost on the way, the next one begins past what the client knows; it asks
        with a PING and `repeat_from` goes back.
        """
        # Of what is older than the window, nobody knows any more whether it was refused.
        self.told = max(self.told, self.cseq - WINDOW)
        new = bisect_right(self._refused, self.told)
        numbers = zip(self._refused[new:], self._reasons[new:], strict=True)
        refused = [Refusal(cseq, *_REASONS[reason]) for cseq, reason in numbers]
        while len(refused) > MAX_REFUSALS:
            part, refused = refused[:MAX_REFUSALS], refused[MAX_REFUSALS:]
            yield Ack(self.told, part[-1].cseq, tuple(part))
            self.told = part[-1].cseq
        yield Ack(self.told, self.cseq, tuple(refused))
        self.told = self.cseq
