"""A client whose broker does what the test says, and a display that remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import tickets

from chatbroker.client.commands import Outcome
from chatbroker.client.errors import Refused, UsageError
from chatbroker.client.events import UserInfo
from chatbroker.client.terminal.conversation import Conversation

PATIENCE = 15.0
"""Seconds after which a test gives up."""


class FakeClient:
    name, broker = "alice", "tcp://127.0.0.1:5555"

    def __init__(self):
        self.sent = []
        self.greetings = 0
        self.online = ["alice", "bob"]
        self.heads = {"echo": (0, 0), "direct": (0, 0)}
        self.pages = {}

    def pipeline(self, keep_refused):
        assert not keep_refused
        return SimpleNamespace(send=self._send, echo=lambda text: self._send(None, text))

    def _send(self, to, text):
        if to == "not a name":
            raise Refused("no_such_user", f"no such user: {to}")
        ticket = tickets.one(to, text)
        ticket.commands.sent = 1
        self.sent.append(ticket)
        return ticket

    def users(self, timeout):
        return [UserInfo(name, 0) for name in self.online]

    def began(self, log):
        return self.heads[log]

    def browse(self, browse):
        if browse.log in self.pages:
            if self.pages[browse.log] is None:
                raise UsageError("not to be asked")
            yield self.pages[browse.log]


class LiveClient(FakeClient):
    """One that other threads wait for; the test says what comes."""

    def __init__(self):
        super().__init__()
        self.changed = threading.Condition()
        self.coming = []
        self.closed = False
        self.failure = None

    def comes(self, *events):
        with self.changed:
            self.coming += events
            self.changed.notify_all()

    def fails(self, error):
        with self.changed:
            self.failure = error
            self.changed.notify_all()

    def resolve(self, number=0, outcome=Outcome.ACCEPTED, words="", code=""):
        ticket = self.sent[number]
        with self.changed:
            tickets.resolve(ticket, outcome, code, words)
            self.changed.notify_all()

    def notify(self):
        with self.changed:
            self.changed.notify_all()

    @property
    def waiting_events(self):
        return len(self.coming)

    def wait_until(self, ready: Callable[[], bool], timeout=None):
        with self.changed:
            over = self.changed.wait_for(
                lambda: ready() or self.failure, PATIENCE if timeout is None else timeout
            )
            assert over or timeout is not None, "it did not happen"
            if self.failure and not ready():
                raise self.failure
            return bool(over)

    def receive_many(self, timeout, most):
        with self.changed:
            taken, self.coming = self.coming[:most], self.coming[most:]
            return taken


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
        tickets.resolve(ticket, Outcome.ACCEPTED, away=away)
        self.take()

    def refuse(self, number, words):
        ticket = self.client.sent[number]
        tickets.resolve(ticket, Outcome.REFUSED, words=words)
        self.take()


@pytest.fixture
def talk():
    return Talk()


@pytest.fixture
def live():
    return LiveClient()
