"""Who is away, and since when."""

from __future__ import annotations

import pytest

from chatbroker.broker.away import Away
from chatbroker.broker.log import Log
from chatbroker.broker.user import User


def user(name, seen=0):
    return User(name, b"", Log(f"@{name}", b""), created=seen)


@pytest.fixture
def alice():
    return user("alice")


@pytest.fixture
def bob():
    return user("bob")


def test_who_left_first_is_overdue_first(alice, bob):
    away = Away()
    assert away.leave(bob, 1000) == [bob]
    assert away.leave(alice, 2000) == [alice]
    assert [*away] == [bob, alice]
    assert (bob.seen, alice.seen) == (1000, 2000)
    assert away.overdue(999) == []
    assert away.overdue(1000) == [bob]
    assert away.overdue(2000) == [bob, alice]


def test_who_is_there_again_is_away_no_more(alice, bob):
    away = Away([alice, bob])
    away.come(alice)
    away.come(alice)
    assert (alice in away, bob in away) == (False, True)
    assert away.overdue(0) == [bob]


def test_nobody_has_left_later_than_now(alice, bob):
    away = Away([user("carol", seen=500)])
    away.leave(alice, 10**9)
    away.leave(bob, 10**9 + 1)
    assert away.put_right(10**9 + 1) == []
    assert away.put_right(1000) == [bob, alice]
    assert [one.seen for one in away] == [500, 1000, 1000]
    assert away.put_right(1000) == []


def test_who_leaves_after_a_clock_was_ahead_waits_for_nobody_who_left_before(alice, bob):
    away = Away()
    away.leave(alice, 10**9)
    assert away.leave(bob, 1000) == [alice, bob]
    assert away.overdue(1000) == [alice, bob]
