"""What is answered to INFO and FETCH."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..wire.errors import Code
from ..wire.messages import Fetch, Fetched, Info, Missed, Users
from .brake import Brake
from .clock import TurnClock
from .fault import Fault
from .journal import JournalError
from .log import pack_batches
from .outgoing import Outgoing
from .readers import Readers
from .registry import Registry
from .session import Session

MOST_ASKED = 5
"""Questions of a session that are answered in a turn: of each log a reader's and that of a look at
history, and INFO.  A frame has room for 256, of which each takes milliseconds, however short its
answer; and a client has one of each kind under way."""

TRY_AGAIN = 1.0
"""Seconds after which somebody may ask again for what could not be read: soon enough for a command
that waits for some seconds, as it may have been for a moment."""


class Answers:
    """Answers a session, unless so much was asked by it or said to its connection in this turn
    that it has to ask again: one frame can ask for more than anyone can take."""

    def __init__(
        self,
        registry: Registry,
        readers: Readers,
        out: Outgoing,
        brake: Brake,
        clock: TurnClock,
        unread: Fault,
    ) -> None:
        """*unread*: that something cannot be read."""
        self._registry = registry
        self._readers = readers
        self._out = out
        self._brake = brake
        self._clock = clock
        self._asked: Counter[Session] = Counter()
        """How often each did in this turn."""
        self._turn = 0
        self._unread = unread
        self._is_left_out: Callable[[bytes], bool] = lambda identity: False

    def leave_out(self, is_left_out: Callable[[bytes], bool]) -> None:
        """*is_left_out*: whether nothing is sent over a connection now.  Then to look for an answer
        would be in vain."""
        self._is_left_out = is_left_out

    def _may_ask(self, session: Session) -> bool:
        """Whether *session* is answered once more in this turn."""
        if self._turn != self._clock.turn:
            self._turn = self._clock.turn
            self._asked.clear()
        self._asked[session] += 1
        if self._asked[session] > MOST_ASKED or self._out.full(session.identity):
            return False
        return not self._is_left_out(session.identity)

    def info(self, session: Session, message: Info) -> None:
        """Tells a page of the users that are on."""
        if not self._may_ask(session):
            return
        users, more = self._registry.page(message.after)
        self._out.reply(session.identity, Users(message.ref, tuple(users), more))

    def fetch(self, session: Session, message: Fetch) -> None:
        """Gives a part of a log."""
        identity = session.identity
        if not self._may_ask(session):
            return
        log = self._readers.find(session, message.log)
        if log is None or message.epoch not in (b"", log.epoch):
            words = f"no such log: {message.log!r}, or no longer that epoch of it"
            self._out.reject(identity, Code.NO_SUCH_LOG, words, message.ref)
            return
        history = self._brake.history(session, message.ref)
        if history is None:
            return
        try:
            page = self._readers.fetch(log, message, history.left(self._clock.now))
        except JournalError as error:
            # Others are none the worse for it: what cannot be read is not what is written.
            self._unread.happened(str(error))
            words = "what was asked for cannot be read now; the broker's operator is told"
            wait = round(1000 * TRY_AGAIN)
            self._out.reject(identity, Code.FETCH_LATER, words, message.ref, wait)
            return
        history.take(sum([len(row.body) for row in page.rows]), self._clock.now)
        name, epoch = message.log, log.epoch
        if page.lost:
            missed = Missed(name, epoch, message.after, page.missed_upto, page.lost)
            self._out.reply(identity, missed)
        for piece in pack_batches(name, log, page.rows):
            self._out.put(identity, piece)
        self._out.reply(identity, Fetched(message.ref, name, epoch, log.head))
