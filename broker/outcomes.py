"""What became of the commands of a turn, and who is to hear of it.

Whoever hears anything else in the turn has the ACK in the same frame.  For the others it is put
together when what was said is on its way to its readers.
"""

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
        self._last = Outgoing(counts)
        """What is told last.  Apart from the rest, which may be of the next turn by then: of what
        an operator did while this one was held."""
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

    def settle(self, session: Session) -> None:
        """Tells *session* now, which is about to hear that it has ended: nothing of a turn is told
        before all of it is stored.  It is told all that it is not known to know: what was lost on
        the way it cannot ask for any more."""
        self.owed.pop(session, None)
        session.repeat_from(session.resolved)
        for ack in session.acks():
            self._out.assure(session.identity, ack)

    def join(self) -> None:
        """Tells those who hear anything else in the turn, behind that."""
        for session in [owed for owed in self.owed if self._out.speaks_to(owed.identity)]:
            del self.owed[session]
            _acknowledge(session, self._out)

    def tell(self) -> list[Effect]:
        """The effects by which the others are told; none are left."""
        for session in self.owed:
            _acknowledge(session, self._last)
        self.owed.clear()
        self._brake.tell(self.gaps, self._last)
        return self._last.take()


def _acknowledge(session: Session, out: Outgoing) -> None:
    if session.state is State.LIVE:
        for ack in session.acks():
            out.assure(session.identity, ack)
