"""One client's state: whether it is there, which commands it gave, what it was told.

A session outlives its connections.  Its life, as states and what moves them::

            HELLO               LOST             EXPIRED           FORGOTTEN
    (new) ────────▶ LIVE ─────────────▶ GONE ─────────────▶ LAPSED ──────────▶ ENDED
                    │ ▲ ▲                 │                 │ ▲                  ▲
                    │ │ └──────HELLO──────┘                 │ │                  │
                    │ └────────────────HELLO────────────────┘ │                  │
                    ├────────────────EXPIRED──────────────────┘                  │
                    └──────────────────────────────BYE───────────────────────────┘

REPLACED moves all but ENDED to ENDED: the user's next client knows that this one is dead.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from ..wire.errors import Code
from ..wire.limits import MAX_RUNS, WINDOW
from ..wire.messages import DIRECT_LOG, Ack, Follow, Refusal, Run, Start
from ..wire.shape import make
from . import runs
from .journal import SessionRecord

if TYPE_CHECKING:
    from .allowance import Place
    from .user import User


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
    REPLACED = auto()
    FORGOTTEN = auto()


TRANSITIONS: dict[tuple[State, Happening], State] = {
    (State.LIVE, Happening.HELLO): State.LIVE,
    (State.GONE, Happening.HELLO): State.LIVE,
    (State.LAPSED, Happening.HELLO): State.LIVE,
    (State.LIVE, Happening.LOST): State.GONE,
    (State.LIVE, Happening.EXPIRED): State.LAPSED,
    (State.GONE, Happening.EXPIRED): State.LAPSED,
    (State.LIVE, Happening.BYE): State.ENDED,
    (State.LIVE, Happening.REPLACED): State.ENDED,
    (State.GONE, Happening.REPLACED): State.ENDED,
    (State.LAPSED, Happening.REPLACED): State.ENDED,
    (State.LAPSED, Happening.FORGOTTEN): State.ENDED,
}

WORDS = {
    Code.NO_SUCH_USER: "no such user",
    Code.TOO_LONG: "too long: more bytes than the broker allows",
    Code.MUTED: "you are muted by the broker's operator",
}
"""What is said beside the code of a refused command.  No more: who gave it knows the name, and
by WELCOME how long a text may be."""

# What is noted of a command, as a number that is stored: WORDS may grow only at its end.
_AWAY = 0
_PLACES = {code: place for place, code in enumerate(WORDS, 1)}
_REASONS = (("", ""), *[(code.value, words) for code, words in WORDS.items()])

RUN_SIZE = 74
"""Bytes that a run of refusals takes in ACKs, at most, with its part of their heads."""

HOLDING = frozenset({State.LIVE, State.GONE})
"""The states in which a session keeps its user's name from others."""


class Liveness(NamedTuple):
    """What a client is told of signs of life, in milliseconds."""

    heartbeat: int
    """Between two PINGs."""
    lease: int
    """Of silence until its session lapses."""


class Session:
    """What the broker remembers of one client."""

    __slots__ = (
        "_firsts",
        "_kinds",
        "_lasts",
        "_stored",
        "attempt",
        "born",
        "cseq",
        "exclusive",
        "expires",
        "follows",
        "id",
        "identity",
        "key",
        "lease",
        "liveness",
        "place",
        "resolved",
        "state",
        "told",
        "unconfirmed",
        "user",
        "welcomed",
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
        self.key: bytes | None = b""
        """The public key whose it is, empty in plain mode; None after a restart, until somebody
        of the right name goes on with it."""
        self.state = State.LIVE
        self.place: Place | None = None
        """Where its connection comes from, or came from; None since the broker was started."""
        self.expires = 0.0
        """When its lease runs out, or its name's moment of waiting (lease clock, seconds)."""
        self.welcomed = self.liveness = Liveness(0, 0)
        """What the last WELCOME told, and what was told last, by WELCOME or PONG."""
        self.lease = 0.0
        """Seconds of silence that it may keep, by all of these that its client may go by."""
        self.exclusive = False
        self.follows: dict[str, Follow] = {}
        self.cseq = 0
        """The last command number that was accepted or refused."""
        self.told = 0
        """Up to where an ACK was last sent; the next one begins there."""
        self.resolved = 0
        """Up to where the client said last that it knows their outcomes."""
        # Of the last WINDOW commands, what is to be said of them beside that they are stored,
        # as runs: packed, because ten thousand sessions keep theirs when they have lapsed.
        self._firsts = array("Q")
        self._lasts = array("Q")
        self._kinds = bytearray()
        """For each run why it was refused, as a place among the _REASONS, or _AWAY."""
        self._stored: int | None = None
        """Up to which command they are stored; None if there may be others of its id."""
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
        user = self.user
        keeps = user is None or user.claimed or not (user.mailbox.head or user.mailbox.pending)
        return self.cseq == 0 and keeps

    @property
    def holding(self) -> bool:
        return self.state in HOLDING

    def happen(self, what: Happening) -> None:
        """Moves along TRANSITIONS; KeyError is a bug of the broker's."""
        was_live = self.state is State.LIVE
        self.state = TRANSITIONS[self.state, what]
        if self.place is not None:
            self.place.live += (self.state is State.LIVE) - was_live

    def come_from(self, place: Place) -> None:
        """It is LIVE, over a connection from *place*."""
        if self.place is not None:
            self.place.live -= 1
        self.place = place
        place.live += 1

    def refuse(self, first: int, last: int, code: Code) -> None:
        """Notes that the commands *first* to *last*, which is at most `cseq`, were refused."""
        self._remark(first, last, _PLACES[code])

    def note_away(self, first: int, last: int) -> None:
        """Notes that the commands *first* to *last* are stored for somebody who is away."""
        self._remark(first, last, _AWAY)

    def _remark(self, first: int, last: int, kind: int) -> None:
        if self._kinds and self._kinds[-1] == kind and self._lasts[-1] == first - 1:
            self._lasts[-1] = last
        else:
            self._firsts.append(first)
            self._lasts.append(last)
            self._kinds.append(kind)
        self._forget_old()

    def _forget_old(self) -> None:
        """Lets go of what is further back than WINDOW."""
        old = bisect_left(self._lasts, self.cseq - WINDOW + 1)
        del self._firsts[:old], self._lasts[:old], self._kinds[:old]

    def repeat_from(self, resolved: int) -> bool:
        """The client knows the outcomes up to *resolved*: what follows is to be told again.

        Outcomes older than the window are not kept; a client that keeps to the window never
        needs them.  True if there is anything to tell.
        """
        self.told = min(self.told, resolved)
        return self.told < self.cseq

    @property
    def outcomes_size(self) -> int:
        """Bytes that all the outcomes take in ACKs, at most."""
        return RUN_SIZE * (1 + len(self._kinds))

    def acks(self) -> Iterable[Ack]:
        """What the client is still to be told, as a chain of ACKs; taken to be told now.

        If an ACK is lost on the way, the next one begins past what the client knows; it asks
        with a PING and `repeat_from` goes back.
        """
        # Of what is older than the window, nobody knows any more whether it was refused.
        told, cseq = max(self.told, self.cseq - WINDOW), self.cseq
        if not self._lasts or self._lasts[-1] <= told:
            self.told = cseq
            return (make(Ack, (told, cseq, (), ())),) if told < cseq else ()
        self.told = told
        return self._remarked_acks()

    def _remarked_acks(self) -> Iterator[Ack]:
        """The same, where there is something to be said of some."""
        new = bisect_left(self._lasts, self.told + 1)
        while new < len(self._kinds):
            part = slice(new, new + MAX_RUNS)
            new += MAX_RUNS
            lasts = self._lasts[part]
            upto = lasts[-1] if new < len(self._kinds) else self.cseq
            refused, away = [], []
            for first, last, kind in zip(self._firsts[part], lasts, self._kinds[part], strict=True):
                first = max(first, self.told + 1)
                if kind == _AWAY:
                    away.append(Run(first, last))
                else:
                    refused.append(Refusal(first, last, *_REASONS[kind]))
            yield Ack(self.told, upto, tuple(refused), tuple(away))
            self.told = upto
        if self.told < self.cseq:
            yield Ack(self.told, self.cseq, (), ())
            self.told = self.cseq

    # --- over a restart -------------------------------------------------------------------

    def record(self) -> SessionRecord:
        """The session as stored.  Only that of a user is."""
        return self._record_since(0)

    def news(self) -> SessionRecord:
        """What is to be stored of it, and then is.

        Outcomes that are stored come not again: they may be 35 KB, and a session is stored
        whenever it says something, comes back or falls silent."""
        before, self._stored = self._stored, self.cseq
        if before is None:
            return self.record()
        return self._record_since(before)._replace(whole=False)

    def _record_since(self, before: int) -> SessionRecord:
        """With the outcomes of what came after the command *before*."""
        assert self.user is not None
        self._forget_old()
        new = bisect_right(self._lasts, before)
        return SessionRecord(
            self.id,
            self.user.name,
            self.born,
            self.cseq,
            runs.pack(zip(self._firsts[new:], self._lasts[new:], self._kinds[new:], strict=True)),
            self.exclusive,
            DIRECT_LOG in self.follows,
            self.holding,
        )

    @classmethod
    def restored(cls, record: SessionRecord, user: User) -> Session:
        """The session of *record*: GONE, as its connection went with the former process."""
        session = cls(record.id, user, record.born)
        session.state = State.GONE if record.holding else State.LAPSED
        session.key = None
        session.cseq = session.told = record.cseq
        session.exclusive = record.exclusive
        if record.hears:
            # Where it reads on, its next HELLO tells.
            session.follows[DIRECT_LOG] = Follow(DIRECT_LOG, b"", Start.NOW, 0)
        for first, last, kind in runs.unpack(record.outcomes):
            session._firsts.append(first)
            session._lasts.append(last)
            session._kinds.append(kind)
        session._stored = session.cseq
        return session
