"""The load's readers: they count what is delivered, each message exactly once.

A push is a hint (docs/protocol.md): a reader of the broker's that sees a hole fetches, and
what was fetched counts like what was pushed.  `streams` has the readers for all that has no
positions.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections import deque
from typing import Protocol

import msgpack

from chatbroker.wire.limits import MAX_FETCH
from chatbroker.wire.messages import DIRECT_LOG, ECHO_LOG, Cursor, Fetch, Fetched, Ping, Pong

from .counting import Sizes, Span, Tally, is_batch, span
from .sessions import Session, Unexpected

SIGN_OF_LIFE = 256 * 1024
"""Bytes after which a reader PINGs, well before the broker stops pushing to it."""


class Reader(Protocol):
    sock: socket.socket
    fetches: int

    @property
    def counted(self) -> int:
        """Messages delivered so far."""

    def read(self) -> None:
        """Receives once and counts."""

    def ping(self) -> None:
        """Gives a sign of life."""

    def miss(self) -> None:
        """Nothing has come for a while, and something should."""


class _Follower(ABC):
    """A session that follows one log, and asks for the part of it that a tally lacks."""

    def __init__(self, session: Session, log: str, sizes: Sizes) -> None:
        self.session = session
        self.sock = session.sock
        self.sizes = sizes
        (reading,) = session.welcome.readings
        self.start = reading.start
        self._log = log
        self._epoch = reading.epoch
        self._unconfirmed = 0
        self.fetches = 0
        """How often it asked for what a push did not bring."""

    def read(self) -> None:
        inbox = self.session.inbox
        self._unconfirmed += inbox.fill()
        buffer = inbox.buffer
        for _, at, stop in inbox.frames():
            while at < stop:
                if is_batch(buffer, at):
                    batch = span(buffer, at, self.sizes)
                    self._batch(batch)
                    at = batch.stop
                else:
                    at += self._other(bytes(buffer[at:stop]))
            if at > stop:
                raise Unexpected("a batch is not of the expected size")
        if self._unconfirmed > SIGN_OF_LIFE:
            self.ping()

    def ping(self) -> None:
        self._unconfirmed = 0
        self.session.say(Ping(1, 0, 0, (Cursor(self._log, self._epoch, self._cursor()),)))

    def _other(self, rest: bytes) -> int:
        unpacker = msgpack.Unpacker()
        unpacker.feed(rest)
        unpacker.skip()
        size: int = unpacker.tell()
        for message in self.session.decode(rest[:size]):
            if isinstance(message, Fetched):
                self._fetched(message.head)
            elif isinstance(message, Pong):
                self._heads(message.heads)
            else:
                raise Unexpected(f"not expected: {message}")
        return size

    def _fetch(self, after: int) -> None:
        self.fetches += 1
        self.session.say(Fetch(2, self._log, self._epoch, after, MAX_FETCH))

    @abstractmethod
    def _cursor(self) -> int:
        """Up to where it has read."""

    @abstractmethod
    def _batch(self, batch: Span) -> None:
        """Takes what came, pushed or fetched."""

    @abstractmethod
    def _fetched(self, head: int) -> None:
        """An answer is complete; *head* is where the log ended then."""

    @abstractmethod
    def _heads(self, heads: tuple[Cursor, ...]) -> None:
        """Learns by a PONG where its logs end."""


class MailboxReader(_Follower):
    """Counts the direct messages that one session gets, pushed or fetched."""

    def __init__(self, session: Session, sizes: Sizes) -> None:
        super().__init__(session, DIRECT_LOG, sizes)
        self._tally = Tally(self.start)
        self._fetching = False

    @property
    def counted(self) -> int:
        return self._tally.counted

    def miss(self) -> None:
        self.ping()

    def _cursor(self) -> int:
        return self._tally.cursor

    def _batch(self, batch: Span) -> None:
        if not self._tally.add(batch):
            self._catch_up()

    def _heads(self, heads: tuple[Cursor, ...]) -> None:
        # What was said before a PONG came before it over this connection, or not at all.
        if any(head.position > self._tally.cursor for head in heads):
            self._catch_up()

    def _catch_up(self) -> None:
        if not self._fetching:
            self._fetching = True
            self._fetch(self._tally.cursor)

    def _fetched(self, head: int) -> None:
        self._fetching = False
        if head > self._tally.cursor:
            self._catch_up()


class Observer(_Follower):
    """Fetches for subscribers that miss something, one after the other."""

    def __init__(self, session: Session, sizes: Sizes) -> None:
        super().__init__(session, ECHO_LOG, sizes)
        self._waiting: deque[Tally] = deque()

    def want(self, tally: Tally) -> None:
        """Something is missing after the cursor of *tally*."""
        if tally not in self._waiting:
            self._waiting.append(tally)
            if len(self._waiting) == 1:
                self._next()

    def _next(self) -> None:
        self._fetch(self._waiting[0].cursor)

    def _cursor(self) -> int:
        return 0

    def _batch(self, batch: Span) -> None:
        self._waiting[0].add(batch)

    def _fetched(self, head: int) -> None:
        if head <= self._waiting[0].cursor:
            self._waiting.popleft()
        if self._waiting:
            self._next()

    def _heads(self, heads: tuple[Cursor, ...]) -> None:
        """Says nothing of subscribers: there is no order between two connections."""
