"""When a client PINGs, under a clock that the test moves."""

from __future__ import annotations

import pytest

from chatbroker.client.heartbeat import Heartbeat
from chatbroker.client.pings import CONFIRM_WITHIN, Pings
from chatbroker.wire.messages import Cursor

NOW = 100.0
MOST = 1000
READ = Cursor("direct", b"direct-1", 7)


@pytest.fixture
def pings():
    """Of a client that PINGed just now."""
    pings = Pings(Heartbeat())
    assert pings.is_due(NOW, MOST)
    pings.sent(None)
    return pings


def test_one_is_due_with_each_heartbeat(pings):
    (due,) = pings.moments
    assert not pings.is_due(due - 0.1, MOST)
    assert pings.is_due(due, MOST)
    assert not pings.is_due(due, MOST)


def test_who_comes_again_pings_at_once_and_who_comes_does_not(pings):
    pings.welcomed(NOW + 1, again=False)
    assert not pings.is_due(NOW + 1, MOST)
    pings.welcomed(NOW + 1, again=True)
    assert pings.is_due(NOW + 1, MOST)


def test_a_heartbeat_is_hastened_and_never_put_off(pings):
    (due,) = pings.moments
    pings.hasten(NOW - 1)
    assert pings.moments == [due - 1]
    pings.hasten(NOW + 1)
    assert pings.moments == [due - 1]


def test_others_go_out_when_they_are_asked_for(pings):
    pings.at([NOW + 2, NOW + 1])
    pings.at_once()
    assert [pings.is_due(NOW + when, MOST) for when in (0, 0, 1, 1, 2, 2)] == [True, False] * 3


def test_who_hears_much_pings_so_that_the_broker_sends_more(pings):
    pings.heard(MOST)
    assert not pings.is_due(NOW, MOST)
    pings.heard(1)
    assert pings.is_due(NOW, MOST)
    pings.sent(None)
    assert not pings.is_due(NOW, MOST)


def test_what_was_read_is_told_soon_and_once(pings):
    assert not pings.confirm(None, NOW)
    assert pings.confirm(READ, NOW)
    assert not pings.confirm(READ, NOW + 0.1)  # It is under way.
    assert pings.moments == [NOW + CONFIRM_WITHIN]
    assert pings.is_due(NOW + CONFIRM_WITHIN, MOST)
    pings.sent(READ)
    assert not pings.confirm(READ, NOW + 1)
    assert pings.confirm(READ._replace(position=8), NOW + 1)
