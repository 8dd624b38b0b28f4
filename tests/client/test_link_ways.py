"""Who is refused by one way looks whether there is another."""

from __future__ import annotations

import socket

import pytest
import zmq
from stepping import joins, steps

from chatbroker.client import link as link_module
from chatbroker.client.access import Access
from chatbroker.client.core import Phase
from chatbroker.client.errors import NotAuthorised
from chatbroker.client.link import fresh_secret, public_key
from chatbroker.client.pipeline import given_up


class Gate:
    """A secure broker, as far as to let anyone in, and what it leaves for its own user: the first
    *after* looks find nothing."""

    def __init__(self, context, after):
        self.secret = fresh_secret()
        self.router = context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.CURVE_SERVER, 1)
        self.router.setsockopt(zmq.CURVE_SECRETKEY, self.secret)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.plain = Access("127.0.0.1", self.port)
        self.own = self.plain._replace(server_key=public_key(self.secret), secret=fresh_secret())
        self.looks = 0
        self._after = after

    def opens(self):
        self.router.bind(f"tcp://127.0.0.1:{self.port}")

    def find(self):
        self.looks += 1
        return self.own if self.looks > self._after else self.plain


@pytest.fixture
def gates(monkeypatch):
    """Makes gates; who is refused looks again soon."""
    monkeypatch.setattr(link_module, "LOOK_EVERY", 0.01)
    with zmq.Context() as context:
        made = []

        def make(after=10**9):
            made.append(Gate(context, after))
            return made[-1]

        yield make
        for gate in made:
            gate.router.close(0)


def meets_nobody(link):
    steps(link, lambda: link._looks is not None)


@pytest.mark.parametrize("after", [1, 2, 5])
def test_who_began_before_a_broker_served_gets_in_by_what_it_leaves_soon(links, gates, after):
    gate = gates(after)
    link = links(gate.port, find=gate.find)
    meets_nobody(link)
    gate.opens()
    steps(link, lambda: gate.router.poll(0))
    assert link.core.phase is Phase.GREETING
    assert gate.looks == after + 1


def test_who_finds_no_other_way_in_is_told_why_before_long(links, gates):
    gate = gates()
    link = links(gate.port, find=gate.find)
    meets_nobody(link)
    gate.opens()
    steps(link, lambda: link.core.phase is Phase.OVER)
    assert link.core.refusal.words == gate.plain.other_mode
    assert gate.looks <= link_module.LOOKS + 2


def test_a_broker_that_served_before_is_asked_once_more_at_most(links, gates):
    gate = gates()
    gate.opens()
    link = links(gate.port, find=gate.find)
    steps(link, lambda: link.core.phase is Phase.OVER)
    assert gate.looks == 2


def test_why_the_first_way_failed_is_told_if_no_other_is_to_be_found(links, gates):
    gate = gates()
    gate.opens()

    def find():
        if gate.find() and gate.looks > 1:
            raise NotAuthorised("there is no key")
        return gate.plain

    link = links(gate.port, find=find)
    steps(link, lambda: link.core.phase is Phase.OVER)
    assert link.core.refusal.words == gate.plain.other_mode


def test_who_was_let_in_once_takes_no_other_broker_for_that_one(links, puppets, gates):
    gate = gates(after=1)
    puppet = puppets()
    gate.port = puppet.port
    gate.plain = gate.plain._replace(port=puppet.port)
    link = links(puppet.port, find=gate.find)
    joins(link)
    puppet.close()
    gate.opens()
    steps(link, lambda: link.core.phase is Phase.OVER)
    assert gate.looks == 1


def test_why_it_was_refused_is_known_while_another_way_is_looked_for(links, gates):
    """Who gives up meanwhile is told that, and not that nobody answers."""
    gate = gates(after=6)
    link = links(gate.port, find=gate.find)
    meets_nobody(link)
    gate.opens()
    steps(link, lambda: link.core.doubted)
    error = given_up(link.core, None, "the broker", link.there, doubt=False)
    assert isinstance(error, NotAuthorised)
    assert gate.plain.other_mode in str(error)
    steps(link, lambda: gate.router.poll(0))
    assert link.core.doubted == ""
