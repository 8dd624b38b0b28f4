"""The outbox: commands whose outcome is not known yet, in order.

Commands are numbered 1, 2, 3 … within a session.  Each stays here until the broker resolved
it; after a reconnect all of them are sent again, and the broker carries out each number once
(docs/protocol.md, "Commands").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from ..wire.codec import Encoder
from ..wire.errors import Code
from ..wire.limits import MAX_TEXTS
from ..wire.messages import Ack, Echo, Refusal, Send
from ..wire.names import until_full
from .commands import AWAY, Commands, Note, Outcome, Ticket
from .pace import Pace

MOST_LIVES = 100
"""Lives of the broker's data that are remembered, while something that was sent is unresolved."""


class _Part(NamedTuple):
    """Some commands, from *start* to *stop*."""

    commands: Commands
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    @property
    def sent(self) -> bool:
        """Whether they were ever sent: all of them, or none."""
        return self.stop <= self.commands.sent

    def resolve(self, outcomes: Sequence[Outcome]) -> None:
        self.commands.resolve(self.start, self.stop, outcomes)


class _Row:
    """Commands in a row, in parts: taken from its ends, and put back."""

    def __init__(self) -> None:
        self.parts: deque[_Part] = deque()
        self._size = 0

    def __len__(self) -> int:
        """How many commands are in it."""
        return self._size

    def append(self, part: _Part) -> None:
        self.parts.append(part)
        self._size += part.size

    def put_back(self, part: _Part) -> None:
        self.parts.appendleft(part)
        self._size += part.size

    def first(self, most: int) -> _Part:
        """Takes out commands of the first part: all, or *most*."""
        part = self.parts.popleft()
        if part.size > most:
            part, rest = (
                part._replace(stop=part.start + most),
                part._replace(start=part.start + most),
            )
            self.parts.appendleft(rest)
        self._size -= part.size
        return part

    def last(self, most: int) -> _Part:
        """Takes out commands of the last part: all, or the last *most*."""
        part = self.parts.pop()
        if part.size > most:
            rest, part = part._replace(stop=part.stop - most), part._replace(start=part.stop - most)
            self.parts.append(rest)
        self._size -= part.size
        return part

    def remove(self, ticket: Ticket) -> None:
        """Takes out one command."""
        commands, at = ticket.commands, ticket.at
        for place, part in enumerate(self.parts):
            if part.commands is commands and part.start <= at < part.stop:
                del self.parts[place]
                for rest in (part._replace(start=at + 1), part._replace(stop=at)):
                    if rest.size:
                        self.parts.insert(place, rest)
                self._size -= 1
                return
        raise ValueError("it is not in the row")


class Outbox:
    """Numbers, sends, sends again, and resolves."""

    def __init__(self) -> None:
        self._encode = Encoder().encode
        self._waiting = _Row()
        """To be sent over this connection, after all that are under way."""
        self._flying = _Row()
        """Sent over this connection."""
        self.resolved = 0
        """The number of the last command whose outcome is known."""
        self._ever_sent = 0
        """The highest number that was sent over any connection of this session."""
        self._lives: deque[bytes] = deque(maxlen=MOST_LIVES)
        """The lives of the broker's data in which what is unresolved may have been sent."""
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
        first = self._flying.parts or self._waiting.parts
        return bool(first) and first[0].sent

    def enters(self, life: bytes) -> bool:
        """What is sent from now on is sent to data of this *life*; whether what is unresolved may
        have been sent to them before."""
        been = life in self._lives
        if been:
            self._lives.remove(life)
        self._lives.append(life)
        self._forget_lives()
        return been

    def _forget_lives(self) -> None:
        """What is sent is sent to data of the last one."""
        while len(self._lives) > 1 and not self.uncertain:
            self._lives.popleft()

    def put(self, commands: Commands) -> bool:
        """Adds commands; whether that makes something due: while fewer than a message's worth
        wait and others are under way, they go when those are resolved."""
        idle, before = not len(self), len(self._waiting)
        if len(commands):
            self._waiting.append(_Part(commands, 0, len(commands)))
        return idle or before < MAX_TEXTS <= len(self._waiting)

    def withdraw(self, ticket: Ticket) -> bool:
        """Takes back a command that was never sent; False if it was, or is done."""
        if ticket.sent or ticket.done:
            return False
        self._waiting.remove(ticket)
        ticket.commands.resolve(ticket.at, ticket.at + 1, [Outcome.UNSENT])
        return True

    def withdraw_unsent(self, given: Iterable[Commands]) -> None:
        """Takes back those of *given* that were never sent."""
        known = {id(commands) for commands in given}
        for _ in range(len(self._waiting.parts)):
            part = self._waiting.first(len(self._waiting))
            if id(part.commands) in known:
                unsent = part._replace(start=min(max(part.start, part.commands.sent), part.stop))
                unsent.resolve([Outcome.UNSENT] * unsent.size)
                part = part._replace(stop=unsent.start)
            if part.size:
                self._waiting.append(part)

    def due(self, window: int, size: int, now: float) -> Iterator[bytes]:
        """Packed commands to send now: while fewer than *window* are under way, until *size*
        bytes are reached, and as the pace allows."""
        waiting, flying = self._waiting, self._flying
        self.held_until = inf
        while waiting and len(flying) < window and size > 0:
            if self.pace.until > now:
                self.held_until = self.pace.until
                break
            cseq, to = self.sent + 1, waiting.parts[0].commands.to
            # Those that go the same way share a message.
            may, room = self.pace.left(now)
            most = int(min(window - len(flying), MAX_TEXTS, max(may, 1)))
            room = min(max(room, 1), size)
            texts: list[str] = []
            while waiting and len(texts) < most and room > 0:
                commands, start, stop = waiting.parts[0]
                if commands.to != to:
                    break
                count, length = until_full(
                    commands.texts[start : min(stop, start + most - len(texts))], room
                )
                part = waiting.first(count)
                flying.append(part)
                commands.sent = max(commands.sent, part.stop)
                texts += commands.texts[start : part.stop]
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
        first, upto = self.resolved + 1, min(ack.upto, self._ever_sent)
        left = count = max(upto + 1 - first, 0)
        parts = []
        while left:
            parts.append((self._flying or self._waiting).first(left))
            left -= parts[-1].size
        self.resolved += count
        outcomes = [Outcome.ACCEPTED] * count
        if ack.away or ack.refused:
            self._note(ack, first, parts, outcomes)
        # In their order and last of all: other threads look without a lock, and take it that what
        # is before one that is done is done.
        start = 0
        for part in parts:
            part.resolve(outcomes[start : start + part.size])
            start += part.size
        self._forget_lives()
        return True

    def _note(self, ack: Ack, first: int, parts: Sequence[_Part], outcomes: list[Outcome]) -> None:
        """Notes what *ack* says of some of *parts*, which begin with number *first*; and which of
        *outcomes* are others."""
        places = [(part.commands, at) for part in parts for at in range(part.start, part.stop)]

        def within(run_first: int, run_last: int) -> range:
            """Of the commands of a run, which of *places* they are."""
            return range(max(run_first, first) - first, min(run_last - first + 1, len(places)))

        for run in ack.away:
            for place in within(*run):
                commands, at = places[place]
                commands.notes[at] = AWAY
        for refusal in ack.refused:
            noted: Commands | None = None
            for place in within(refusal.first, refusal.last):
                commands, at = places[place]
                if commands is not noted:
                    noted, note = commands, _why(refusal, commands.to)
                commands.notes[at] = note
                outcomes[place] = Outcome.REFUSED

    def rewind(self, expected: int = 0) -> None:
        """Everything from number *expected* on is to be sent again; 0: all unresolved."""
        keep = max(expected - self.resolved - 1, 0)
        while len(self._flying) > keep:
            self._waiting.put_back(self._flying.last(len(self._flying) - keep))

    def restart(self, cseq: int, forgotten: bool) -> None:
        """A new session, which has carried out numbers up to *cseq*: it goes on from there.

        *forgotten*: the data do not know the session as it is, and may have had it, so what was
        sent may be stored or not, and sending it again could double it.
        """
        self.rewind()
        while forgotten and self._waiting and self._waiting.parts[0].sent:
            part = self._waiting.first(len(self._waiting))
            part.resolve([Outcome.UNKNOWN] * part.size)
        self.resolved = self._ever_sent = cseq
        self._forget_lives()

    def abandon(self) -> None:
        """Nothing more will be sent or heard: what is unresolved gets its final outcome."""
        self.rewind()
        while self._waiting:
            part = self._waiting.first(len(self._waiting))
            part.resolve([Outcome.UNKNOWN if part.sent else Outcome.UNSENT] * part.size)
        self._ever_sent = self.resolved


def _why(refusal: Refusal, to: str | None) -> Note:
    words = refusal.words
    if refusal.code == Code.NO_SUCH_USER and to is not None:
        words += f": {to}"
    return Note(False, refusal.code, words)
