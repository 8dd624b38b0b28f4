"""The outbox: commands whose outcome is not known yet, in order.

Commands are numbered 1, 2, 3 … within a session.  Each stays here until the broker resolved
it; after a reconnect all of them are sent again, and the broker carries out each number once
(docs/protocol.md, "Commands").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto
from math import inf

from ..wire.codec import Encoder
from ..wire.errors import Code
from ..wire.limits import MAX_TEXTS
from ..wire.messages import Ack, Echo, Send
from ..wire.names import bytes_at_most
from .pace import Pace


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


# A class finds its member by a search, which is a quarter of what a ticket costs to make.
_PENDING = Outcome.PENDING


class Ticket:
    """One command and what became of it."""

    __slots__ = ("away", "code", "outcome", "sent", "text", "to", "words")

    def __init__(self, to: str | None, text: str) -> None:
        self.to = to
        """None for a broadcast."""
        self.text = text
        self.sent = False
        """Whether it was ever sent, to this broker or to one before it."""
        self.outcome = _PENDING
        self.away = False
        """Whether it was accepted for somebody who was not on, and will get it later."""
        self.code = ""
        self.words = ""

    @property
    def done(self) -> bool:
        """Whether the outcome is known, or known to stay unknown."""
        return self.outcome is not _PENDING


class Outbox:
    """Numbers, sends, sends again, and resolves."""

    def __init__(self) -> None:
        self._encode = Encoder().encode
        self._waiting: deque[Ticket] = deque()
        """To be sent over this connection, after all that are under way."""
        self._flying: deque[Ticket] = deque()
        """Sent over this connection."""
        self.resolved = 0
        """The number of the last command whose outcome is known."""
        self._ever_sent = 0
        """The highest number that was sent over any connection of this session."""
        self.pace = Pace()
        self.held_until = inf
        """When more is due, if only the pace held it back."""

    def __len__(self) -> int:
        """How many commands are unresolved."""
        return len(self._waiting) + len(self._flying)

    @property
    def sent(self) -> int:
        """The highest number sent over this connection."""
        return self.resolved + len(self._flying)

    @property
    def uncertain(self) -> bool:
        """Whether something was sent whose outcome is not known."""
        # They are sent in order: if any was, the first was.
        first = self._flying or self._waiting
        return bool(first) and first[0].sent

    def put(self, *tickets: Ticket) -> bool:
        """Adds commands; whether that makes something due: while fewer than a message's worth
        wait and others are under way, they go when those are resolved."""
        idle, before = not len(self), len(self._waiting)
        self._waiting.extend(tickets)
        return idle or before < MAX_TEXTS <= len(self._waiting)

    def withdraw(self, ticket: Ticket) -> bool:
        """Takes back a command that was never sent; False if it was, or is done."""
        if ticket.sent or ticket.done:
            return False
        self._waiting.remove(ticket)
        ticket.outcome = Outcome.UNSENT
        return True

    def due(self, window: int, size: int, now: float) -> Iterator[bytes]:
        """Packed commands to send now: while fewer than *window* are under way, until *size*
        bytes are reached, and as the pace allows."""
        waiting, flying = self._waiting, self._flying
        self.held_until = inf
        while waiting and len(flying) < window and size > 0:
            if self.pace.until > now:
                self.held_until = self.pace.until
                break
            cseq, to = self.sent + 1, waiting[0].to
            # Those that go the same way share a message.
            may, room = self.pace.left(now)
            most = min(window - len(flying), MAX_TEXTS, max(may, 1))
            room = min(max(room, 1), size)
            texts: list[str] = []
            while waiting and len(texts) < most and room > 0:
                ticket = waiting[0]
                if ticket.to != to:
                    break
                flying.append(waiting.popleft())
                ticket.sent = True
                texts.append(ticket.text)
                length = bytes_at_most(ticket.text)
                size -= length
                room -= length
            said = tuple(texts)
            piece = self._encode(Echo(cseq, said) if to is None else Send(cseq, to, said))
            self.pace.took(len(said), len(piece), now)
            yield piece
        self._ever_sent = max(self._ever_sent, self.sent)

    def acknowledge(self, ack: Ack) -> bool:
        """Resolves what *ack* covers.  False if it leaves a hole: ask with a PING."""
        if ack.after > self.resolved:
            return False
        # Past what was ever sent, an ACK makes no sense.  Past what was sent over *this*
        # connection it does: the broker had it before the connection was lost.
        flying, waiting = self._flying, self._waiting
        first, upto = self.resolved + 1, min(ack.upto, self._ever_sent)
        tickets = [
            flying.popleft() if flying else waiting.popleft() for _ in range(first, upto + 1)
        ]
        self.resolved = max(self.resolved, upto)

        def within(run_first: int, run_last: int) -> range:
            """Of the commands of a run, which of *tickets* they are."""
            return range(max(run_first, first) - first, min(run_last, upto) - first + 1)

        outcomes = [Outcome.ACCEPTED] * len(tickets)
        for run in ack.away:
            for at in within(*run):
                tickets[at].away = True
        for refusal in ack.refused:
            for at in within(refusal.first, refusal.last):
                ticket, outcomes[at] = tickets[at], Outcome.REFUSED
                ticket.away, ticket.code, ticket.words = False, refusal.code, refusal.words
                if refusal.code == Code.NO_SUCH_USER and ticket.to is not None:
                    ticket.words += f": {ticket.to}"
        # In their order and last of all: other threads look without a lock, and take it that what
        # is before one that is done is done.
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            ticket.outcome = outcome
        return True

    def rewind(self, expected: int = 0) -> None:
        """Everything from number *expected* on is to be sent again; 0: all unresolved."""
        keep = max(expected - self.resolved - 1, 0)
        while len(self._flying) > keep:
            self._waiting.appendleft(self._flying.pop())

    def restart(self, cseq: int, forgotten: bool) -> None:
        """A new session, which has carried out numbers up to *cseq*: it goes on from there.

        *forgotten*: the broker is the same and no longer knows the session, so what was
        sent may be stored or not, and sending it again could double it.
        """
        self.rewind()
        while forgotten and self._waiting and self._waiting[0].sent:
            self._waiting.popleft().outcome = Outcome.UNKNOWN
        self.resolved = self._ever_sent = cseq

    def abandon(self) -> None:
        """Nothing more will be sent or heard: what is unresolved gets its final outcome."""
        self.rewind()
        while self._waiting:
            ticket = self._waiting.popleft()
            ticket.outcome = Outcome.UNKNOWN if ticket.sent else Outcome.UNSENT
        self._ever_sent = self.resolved
