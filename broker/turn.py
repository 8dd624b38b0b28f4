"""What was said in one turn, on its way into the logs.

Most messages of a turn repeat the way of another: the same sender to the same recipient.
A route is that way, found once a turn.
"""

from __future__ import annotations

from typing import NamedTuple

from ..wire.batch import Packed, event_head
from ..wire.shape import make
from .log import Log, Row, joined
from .user import User

A_ROUTE = 100
"""Events of which the work is that of a new route: it is found, and is a row of each of its logs to
be stored, folded and pushed.  So there are some 600 in a turn, which take 30 ms."""


class Route(NamedTuple):
    """From one sender to one recipient, or to everyone."""

    head: bytes
    """All of the packed event but its text."""
    pending: tuple[list[Packed], ...]
    """Of each log that the event belongs in: what waits for the end of the turn."""
    away: bool
    """Whether the recipient is not on, and will get it later."""


class Turn:
    """Collects the events of a turn by log."""

    def __init__(self, echo: Log) -> None:
        self._echo = echo
        self._dirty: dict[Log, User | None] = {}
        self._joined: dict[tuple[int, ...], Packed] = {}
        """While it is taken: what was joined, by the ids of its parts."""
        self._news: set[Log] = set()
        """The mailboxes that somebody else, or their owner on purpose, sent something to."""
        self.routes: dict[tuple[User, str | None], Route] = {}
        """By sender and the recipient's name as it was typed; None for everyone."""
        self.events = 0
        """How many were said, those that are too long included."""
        self._found = 0
        """How many routes were found."""
        self.too_long = 0
        """How many of them are."""
        self.own: list[tuple[User, int, int]] = []
        """Of the turn that was taken: whose mailboxes got only copies of what they themselves
        said, and from where to where."""

    @property
    def messages(self) -> int:
        """How many are to be stored, each once."""
        return self.events - self.too_long

    @property
    def work(self) -> int:
        """How much there is to do with what was said, in events."""
        return self.events + A_ROUTE * self._found

    def route(self, sender: User, to: str | None, recipient: User | None, time: int) -> Route:
        """Finds the way of an event and keeps it for those after it.

        *to* and *recipient* are None for a broadcast.  *time*: now, in ms since 1970.
        """
        if recipient is None:
            logs: dict[Log, User | None] = {self._echo: None}
        else:
            # Into both mailboxes, so that either's sessions and history have the
            # conversation; once, if they are the same.
            logs = {recipient.mailbox: recipient, sender.mailbox: sender}
            self._news.add(recipient.mailbox)
        self._dirty.update(logs)
        head = event_head(time, sender.name, recipient.name if recipient else "")
        away = recipient is not None and not recipient.on
        route = make(Route, (head, tuple([log.pending for log in logs]), away))
        self.routes[sender, to] = route
        self._found += 1
        return route

    def forget_routes(self) -> None:
        """Somebody came or went: names may mean others than before."""
        self.routes.clear()

    def take(self, time: int) -> list[tuple[Log, User | None, list[Row]]]:
        """What was said, as rows per log with the log's owner (None: the public log)."""
        self.own.clear()
        taken: list[tuple[Log, User | None, list[Row]]] = []
        for log, owner in self._dirty.items():
            if owner is not None and owner.gone:
                continue  # The mailbox of one who has left for good would outlive its owner.
            rows = log.take(time, self._join)
            taken.append((log, owner, rows))
            if owner is not None and rows and log not in self._news:
                self.own.append((owner, rows[0].prev, rows[-1].last))
        self._joined.clear()
        self._dirty.clear()
        self._news.clear()
        self.routes.clear()
        self.events = self.too_long = self._found = 0
        return taken

    def _join(self, runs: list[Packed]) -> Packed:
        """*runs* as one.  A row that is the same in the mailboxes of both is joined once, and
        stored once."""
        if len(runs) == 1:
            return runs[0]
        # By which objects they are: all of them were there before any was taken.
        which = tuple(map(id, runs))
        if which not in self._joined:
            self._joined[which] = joined(runs)
        return self._joined[which]
