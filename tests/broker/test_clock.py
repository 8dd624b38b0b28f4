from __future__ import annotations

import pytest

from chatbroker.broker.clock import MOST_ATTENDED, TurnClock


@pytest.fixture
def clock() -> TurnClock:
    return TurnClock()


def test_leases_run_from_the_first_turn_on(clock):
    assert clock.begin(5000.0, 0) == 0
    assert clock.attended == 0


def test_leases_run_as_time_goes_by_from_turn_to_turn(clock):
    for now in (5000.0, 5000.25, 5000.25, 5001.0):
        assert clock.begin(now, 0) == 0
    assert clock.attended == 1.0


def test_a_turn_counts_so_much_and_no_more(clock):
    clock.begin(0.0, 0)
    assert clock.begin(MOST_ATTENDED, 0) == 0
    assert clock.begin(MOST_ATTENDED + 3601.0, 0) == pytest.approx(3600.0)
    assert clock.attended == 2 * MOST_ATTENDED


def test_a_clock_that_steps_back_does_not_give_back_what_was_attended(clock):
    clock.begin(100.0, 0)
    clock.begin(100.5, 0)
    assert clock.begin(50.0, 0) == 0
    assert clock.attended == 0.5
    clock.begin(50.5, 0)
    assert clock.attended == 1.0


def test_stamps_never_fall(clock):
    stamps = []
    for number, time in enumerate((1000, 2000, 1500, 2000, 2001)):
        clock.begin(number, time)
        stamps.append(clock.time)
    assert stamps == [1000, 2000, 2000, 2000, 2001]


def test_the_wall_clock_is_told_as_it_is():
    clock = TurnClock(5000)
    walls = []
    for number, time in enumerate((1000, 6000, 1500)):
        clock.begin(number, time)
        walls.append((clock.time, clock.wall))
    assert walls == [(5000, 1000), (6000, 6000), (6000, 1500)]


def test_turns_are_counted(clock):
    before = clock.turn
    clock.begin(0.0, 0)
    clock.begin(0.0, 0)
    assert clock.turn == before + 2
