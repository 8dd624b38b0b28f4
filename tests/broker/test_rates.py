"""Rates from totals."""

from __future__ import annotations

from chatbroker.broker.rates import OVER, Rates


def test_a_rate_is_what_was_added_over_the_time_it_took():
    rates = Rates()
    rates.sample(100.0, lambda: (10, 0))
    assert rates.per_second(102.0, 30, 5) == [10.0, 2.5]


def test_only_the_last_seconds_count():
    rates = Rates()
    for second in range(100):
        rates.sample(float(second), lambda second=second: (1000 if second > 50 else 0,))
    assert rates.per_second(99.5, 1000) == [0.0]
    rates.sample(100.0, lambda: (1000 + 10 * OVER,))
    assert rates.per_second(101.0, 1000 + 10 * OVER) == [10.0]


def test_samples_are_a_second_apart_and_nobody_is_asked_between():
    rates = Rates()
    asked = []
    for tick in range(100):
        rates.sample(tick / 50, lambda tick=tick: asked.append(tick) or (0,))
    assert asked == [0, 50]


def test_before_the_first_sample_nothing_is_known():
    assert Rates().per_second(5.0, 7, 8) == [0.0, 0.0]


def test_in_no_time_nothing_is_divided_by_zero():
    rates = Rates()
    rates.sample(5.0, lambda: (7,))
    assert rates.per_second(5.0, 7) == [0.0]
