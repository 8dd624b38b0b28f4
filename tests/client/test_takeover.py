"""Who takes over from whom, and what the next client is left to know."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from chatbroker.client import Identity
from chatbroker.client.takeover import Takeover

BEFORE, MINE = b"session-before--", b"session-of-mine-"
KNOWN, UNKNOWN = (SimpleNamespace(unknown_to_broker=unknown) for unknown in (False, True))


def comes():
    return Identity.of("tcp://127.0.0.1:5555", "alice")


@pytest.fixture
def identity(data_folder):
    """That of somebody whose last client was killed, locked."""
    identity = comes()
    assert identity.lock()
    identity.remember(BEFORE)
    identity.unlock()
    assert identity.lock()
    yield identity
    identity.unlock()


def kept(identity):
    """What the next client would take over from."""
    identity.unlock()
    heir = comes()
    assert heir.lock()
    heir.unlock()
    assert identity.lock()
    return heir.previous


def test_who_is_alone_takes_over_from_the_one_before(identity):
    assert Takeover(identity, MINE, True).replaces == BEFORE


def test_who_is_not_alone_takes_over_from_nobody_and_leaves_all_as_it_is(identity):
    unlocked = comes()
    for takeover in (
        Takeover(identity, MINE, False),
        Takeover(unlocked, MINE, True),
        Takeover(None, MINE, True),
    ):
        assert takeover.replaces == b""
        takeover.begin()
        takeover.take_back(UNKNOWN)
        takeover.end(KNOWN)
    assert identity.previous == kept(identity) == BEFORE


def test_the_next_knows_of_it_before_the_broker_does(identity):
    Takeover(identity, MINE, True).begin()
    assert kept(identity) == MINE


def test_of_a_session_that_no_broker_made_nobody_is_left_to_know(identity):
    takeover = Takeover(identity, MINE, True)
    takeover.begin()
    takeover.end(UNKNOWN)
    takeover.take_back(UNKNOWN)
    assert kept(identity) == BEFORE


def test_of_one_that_it_may_have_made_the_next_is_even_if_it_ended_at_once(identity):
    takeover = Takeover(identity, MINE, True)
    takeover.begin()
    takeover.end(KNOWN)
    takeover.take_back(KNOWN)
    assert (identity.previous, kept(identity)) == (MINE, MINE)
