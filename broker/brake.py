"""Has those wait who are over a rate: nobody is refused for good, and nobody else waits."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from ..wire.bucket import Bucket
from ..wire.errors import Code
from ..wire.messages import Echo, Send
from .allowance import Spent
from .clock import TurnClock
from .outgoing import Outgoing
from .session import Session, State


def milliseconds(wait: float) -> int:
    """*wait* seconds, as they are told."""
    return ceil(wait * 1000)


class Brake:
    """Of one broker; each turn it tells whom it held back."""

    def __init__(self, out: Outgoing, clock: TurnClock) -> None:
        self._out = out
        self._clock = clock
        self._slowed: dict[Session, None] = {}
        """Those of which commands were held back in this turn."""
        self.spenders: list[Spent] = []
        """Of the users who said something in this turn."""

    def hold_back(self, session: Session, messages: Sequence[Any]) -> list[Any]:
        """All but the commands of *messages*, from a session whose user is in debt."""
        others = [message for message in messages if type(message) not in (Send, Echo)]
        if len(others) < len(messages):
            self._slowed[session] = None
        return others

    def settle(self) -> None:
        """Ends the turn: takes what was said in it."""
        for spent in self.spenders:
            spent.settle(self._clock.now)
        self.spenders.clear()

    def tell(self, gaps: dict[Session, None], out: Outgoing) -> None:
        """Says by *out* once a turn, to each that was held back, when to go on and from where; and
        to each of *gaps*, which skipped a number, from where; of these none is left."""
        if not self._slowed and not gaps:
            return
        for session in self._slowed:
            gaps.pop(session, None)  # The same number is expected, and not yet.
            if session.state is State.LIVE and session.user is not None:
                wait = milliseconds(session.user.spent.wait(self._clock.now))
                words = "more was said than this broker takes of one user at a time"
                number = session.cseq + 1
                out.reject(session.identity, Code.SLOW_DOWN, words, number, wait)
        self._slowed.clear()
        for session in gaps:
            if session.state is State.LIVE:
                number = session.cseq + 1
                words = f"command {number} is expected next"
                out.reject(session.identity, Code.OUT_OF_ORDER, words, number)
        gaps.clear()

    def history(self, session: Session, ref: int) -> Bucket | None:
        """What is left of answers to FETCH, to the user or to the observers of one address; None
        if it is nothing: then whoever asked by *ref* hears when to ask again."""
        if session.user is not None:
            history = session.user.spent.history
        else:
            assert session.place is not None  # It was welcomed, and observers outlive no broker.
            history = session.place.history
        wait = history.wait(self._clock.now)
        if not wait:
            return history
        words = "more was fetched than this broker gives at a time"
        self._out.reject(session.identity, Code.FETCH_LATER, words, ref, milliseconds(wait))
        return None
