"""Whether PUB greeted, under a clock that the test moves."""

from __future__ import annotations

from chatbroker.client.greeting import SETTLE, WITHIN, Greeting


def test_nothing_is_missed_that_nobody_expects() -> None:
    assert not Greeting().is_missed(1e9)


def test_what_does_not_come_in_time_is_missed_once_for_each_time_that_it_is_expected() -> None:
    greeting = Greeting()
    for begun in (100.0, 200.0):
        greeting.expect(begun)
        moments = (begun, begun + WITHIN - 0.1, begun + WITHIN, begun + 2 * WITHIN)
        assert [greeting.is_missed(now) for now in moments] == [False, False, True, False]


def test_what_came_is_not_missed_and_says_when_to_look() -> None:
    greeting = Greeting()
    greeting.expect(100.0)
    assert not greeting.heard
    assert greeting.come(101.0) == [101.0 + pause for pause in SETTLE]
    assert greeting.heard
    greeting.expect(200.0)
    assert not greeting.is_missed(300.0)
