"""Reading logs: which log a session means, where it starts, what a fetch gives back."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from ..wire.limits import FRAME_TARGET, MAX_FETCH
from ..wire.messages import DIRECT_LOG, ECHO_LOG, Cursor, Fetch, Follow, Start
from .journal import Journal, Page
from .log import Log
from .registry import Registry
from .session import Session


class Readers:
    """What sessions see of the public log and of their own mailbox, under the names that
    they have on the wire.  Nobody can name another's mailbox."""

    def __init__(self, echo: Log, journal: Journal, registry: Registry) -> None:
        self._echo = echo
        self._journal = journal
        self._registry = registry

    def find(self, session: Session, name: str) -> Log | None:
        """The log that *session* calls *name*."""
        if name == ECHO_LOG:
            return self._echo
        if name == DIRECT_LOG and session.user is not None:
            return session.user.mailbox
        return None

    def heads(self, session: Session) -> tuple[Cursor, ...]:
        """The heads of the logs that *session* follows."""
        found = [(name, self.find(session, name)) for name in session.follows]
        return tuple([Cursor(name, log.epoch, log.head) for name, log in found if log])

    def start(self, session: Session, log: Log, follow: Follow, time: int) -> int:
        """The position after which *session* begins to read.  *time*: now, in ms."""
        match follow.start:
            case Start.AFTER:
                return log.reached(follow.epoch, follow.value)
            case Start.AGE:
                return self._journal.position_at(log.key, time - follow.value)
            case Start.UNREAD if session.user is not None and log is session.user.mailbox:
                return session.user.read
        return log.head

    def confirm(self, session: Session, cursors: Iterable[Cursor]) -> None:
        """Notes how far the user has read, as a PING told."""
        user = session.user
        if user is None:
            return
        mailbox = user.mailbox
        for cursor in cursors:
            if cursor.log == DIRECT_LOG:
                self._registry.read(user, mailbox.reached(cursor.epoch, cursor.position))

    def fetch(self, log: Log, message: Fetch, left: float = inf) -> Page:
        """What *message* asks for, in some *left* bytes: answers get smaller before they come
        later."""
        budget = min(message.budget, MAX_FETCH, max(left, FRAME_TARGET))
        return self._journal.fetch(log.key, message.after, int(budget))
