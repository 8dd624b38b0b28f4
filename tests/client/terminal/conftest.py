"""A client whose broker does what the test says, and a display that remembers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from chatbroker.client.errors import Refused, UsageError
from chatbroker.client.events import UserInfo
from chatbroker.client.outbox import Outcome, Ticket
from chatbroker.client.terminal.conversation import Conversation


class FakeClient:
    name, broker, patience = "alice", "tcp://127.0.0.1:5555", 30.0

    def __init__(self):
        self.sent = []
        self.online = ["alice", "bob"]
        self.heads = {"echo": (0, 0), "direct": (0, 0)}
        self.pages = {}

    def pipeline(self, keep_refused):
        assert not keep_refused
        return SimpleNamespace(send=self._send, echo=lambda text: self._send(None, text))

    def _send(self, to, text):
        if to == "not a name":
            raise Refused("no_such_user", f"no such user: {to}")
        ticket = Ticket(to, text)
        ticket.sent = True
        self.sent.append(ticket)
        return ticket

    def users(self, patience):
        return [UserInfo(name, 0) for name in self.online]

    def began(self, log):
        return self.heads[log]

    def browse(self, browse):
        if browse.log in self.pages:
            if self.pages[browse.log] is None:
                raise UsageError("not to be asked")
            yield self.pages[browse.log]


class FakeDisplay:
    def __init__(self):
        self.rows, self.past, self.pending, self.alerts = [], [], [], []

    def add(self, row):
        self.rows.append(row)

    def add_past(self, rows):
        self.past = [*rows, *self.past]

    def set_pending(self, rows):
        self.pending = list(rows)

    def alert(self, row):
        self.alerts.append(row)

    @property
    def lines(self):
        """What was added, without the time of it."""
        return [row.text.partition("] ")[2] or row.text for row in self.rows]

    @property
    def under_way(self):
        return [row.text for row in self.pending]


class Talk:
    """A conversation in which whatever waits for the broker is done at once, unless `held`."""

    def __init__(self):
        self.client, self.display = FakeClient(), FakeDisplay()
        self.held = None
        self.conversation = Conversation(self.client, self.display, self._work)

    def _work(self, job):
        if self.held is None:
            job()()
        else:
            self.held.append(job)

    def type(self, *lines):
        return [self.conversation.typed(line) for line in lines][-1]

    def take(self, *events):
        self.conversation.take(events)

    def accept(self, number=0, away=False):
        ticket = self.client.sent[number]
        ticket.outcome, ticket.away = Outcome.ACCEPTED, away
        self.take()

    def refuse(self, number, words):
        ticket = self.client.sent[number]
        ticket.outcome, ticket.words = Outcome.REFUSED, words
        self.take()


@pytest.fixture
def talk():
    return Talk()
