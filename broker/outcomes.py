"""What became of the commands of a turn, and who is to hear of it."""

from __future__ import annotations

from ..wire.errors import Code
from .brake import Brake
from .counts import Counts
from .effects import Effect
from .outgoing import Outgoing
from .session import Session, State


class Outcomes:
    """Notes them while the turn goes on, and tells them when it is stored."""

    def __init__(self, out: Outgoing, brake: Brake, counts: Counts) -> None:
        self._out = out
        self._brake = brake
        self._counts = counts
        self.owed: dict[Session, None] = {}
        """Who is to get an ACK."""
        self.gaps: dict[Session, None] = {}
        """Who skipped a number, and is to hear which one is expected."""

    def note(self, session: Session, first: int, texts: tuple[str | None, ...], away: bool) -> None:
        """Notes those of commands of *texts*, numbered from *first* on, of which some are too
        long (None).  *away*: whether who gets the others is not on."""
        for number, text in enumerate(texts, first):
            if text is None:
                self.refuse(session, number, number, Code.TOO_LONG)
            elif away:
                session.note_away(number, number)

    def refuse(self, session: Session, first: int, last: int, code: Code) -> None:
        """The commands *first* to *last* are refused."""
        session.refuse(first, last, code)
        self._counts.refuse(code, last - first + 1)

    def unheard(
        self, session: Session, cseq: int, texts: tuple[str | None, ...]
    ) -> tuple[str | None, ...]:
        """Those of *texts*, numbered from *cseq* on, that the session has not said before."""
        known = session.cseq + 1 - cseq
        if known < 0:
            # Some are missing before them; it hears once a turn what is expected.
            self.gaps[session] = None
            return ()
        # Whoever repeats a command hears its outcome again.
        self.repeat(session, cseq - 1)
        return texts[known:]

    def repeat(self, session: Session, resolved: int) -> None:
        """The session knows what became of its commands up to *resolved*, and no more."""
        if session.repeat_from(resolved):
            self.owed[session] = None
            self._out.owe(session.outcomes_size)

    def tell(self) -> list[Effect]:
        """The effects by which all of them are told; none are left."""
        for session in self.owed:
            if session.state is State.LIVE:
                for ack in session.acks():
                    self._out.reply(session.identity, ack)
        self.owed.clear()
        self._brake.tell(self.gaps)
        return self._out.take()
