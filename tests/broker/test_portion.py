"""How much is taken in a turn."""

from __future__ import annotations

import pytest

from chatbroker.broker.portion import GROWTH, HALVED_AFTER, LEAST, LITTLE, LONG, MOST, Portion

QUICK = LONG / 100


def grown(now: float = 1000.0) -> Portion:
    """One that takes the most there is at *now*."""
    portion = Portion()
    portion.at(now)
    portion.took(MOST, QUICK, left=0, handed=0)
    return portion


def test_it_begins_low_and_grows_with_what_was_there():
    portion, now = Portion(), 1000.0
    sizes = []
    for _ in range(6):
        sizes.append(portion.at(now))
        portion.took(int(sizes[-1]), QUICK, left=0, handed=0)
    assert sizes == [min(LEAST * GROWTH**n, MOST) for n in range(6)]
    assert sizes[-1] == MOST


def test_it_grows_to_what_would_not_take_long():
    portion = Portion()
    portion.at(1000.0)
    portion.took(LEAST, LONG / 2, left=0, handed=0)
    assert portion.at(1000.0) == pytest.approx(2 * LEAST, abs=1)


def test_what_took_no_time_by_a_coarse_clock_took_little():
    portion = Portion()
    portion.at(1000.0)
    portion.took(LEAST, 0.0, left=0, handed=0)
    assert portion.at(1000.0) == GROWTH * LEAST


def test_what_was_there_does_not_lower_it_but_time_does():
    portion = grown()
    portion.took(100, QUICK, left=0, handed=0)
    assert portion.at(1000.0) == MOST
    assert portion.at(1000.0 + HALVED_AFTER) == pytest.approx(MOST / 2, abs=1)
    assert portion.at(1000.0 + 2 * HALVED_AFTER) == pytest.approx(MOST / 4, abs=1)
    assert portion.at(1000.0 + 100 * HALVED_AFTER) == LEAST
    assert portion.at(1e9) == LEAST


def test_what_took_long_halves_it():
    portion = grown()
    portion.took(MOST, LONG, left=0, handed=0)
    assert portion.at(1000.0) == MOST / 2
    portion.took(LEAST, 2 * LONG, left=0, handed=0)
    assert portion.at(1000.0) == LEAST


@pytest.mark.parametrize(
    ("handed", "taken"), [(MOST, LEAST), (10_000, 10_000), (LITTLE - 1, LITTLE)]
)
def test_what_was_too_much_for_a_turn_lowers_it_to_what_was_not(handed, taken):
    portion = grown()
    portion.took(MOST, QUICK, left=1, handed=handed)
    assert portion.at(1000.0) == portion.at(2000.0) == taken
    portion.took(100, QUICK, left=0, handed=100)
    assert portion.at(2000.0) == LEAST
