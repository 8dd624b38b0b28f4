"""How long to go on, and what counts."""

from __future__ import annotations

import pytest

from chatbroker.client.events import Broadcast, Direct, Joined, Left
from chatbroker.client.meter import Bounds, Meter, counted_kinds
from chatbroker.command.status import Status

NO_BOUNDS = Bounds(None, None, None)


def test_without_bounds_it_never_ends():
    meter = Meter(NO_BOUNDS, 100.0)
    for _ in range(1000):
        meter.count(200.0)
    assert not NO_BOUNDS.given
    assert not meter.reached
    assert meter.left is None
    assert meter.pause(1e9) is None


def test_a_count_is_reached_by_so_many_messages():
    meter = Meter(Bounds(2, None, None), 100.0)
    assert (meter.left, meter.reached) == (2, False)
    meter.count(101.0)
    assert (meter.left, meter.reached) == (1, False)
    meter.count(102.0)
    assert (meter.left, meter.reached) == (0, True)
    assert meter.status is Status.OUT_OF_TIME


def test_a_total_runs_from_the_start_whatever_comes():
    meter = Meter(Bounds(None, 10.0, None), 100.0)
    assert meter.pause(100.0) == 10.0
    meter.count(105.0)
    assert meter.pause(105.0) == 5.0
    assert meter.pause(110.0) == 0.0
    assert meter.pause(999.0) == 0.0
    assert meter.status is Status.DONE


def test_silence_is_counted_from_the_last_message():
    meter = Meter(Bounds(None, None, 3.0), 100.0)
    assert meter.pause(100.0) == 3.0
    meter.count(102.0)
    assert meter.pause(102.0) == 3.0
    assert meter.pause(105.0) == 0.0


def test_the_nearer_bound_in_time_counts():
    meter = Meter(Bounds(None, 10.0, 3.0), 100.0)
    assert meter.pause(100.0) == 3.0
    meter.count(109.0)
    assert meter.pause(109.0) == 1.0


def test_a_restart_counts_time_anew_and_keeps_the_count():
    meter = Meter(Bounds(2, 10.0, 3.0), 100.0)
    meter.count(100.0)
    meter.restart(200.0)
    assert meter.pause(200.0) == 3.0
    assert meter.left == 1


@pytest.mark.parametrize(
    "bounds", [Bounds(1, None, None), Bounds(None, 0, None), Bounds(None, None, 0)]
)
def test_a_bound_of_nothing_is_a_bound(bounds):
    assert bounds.given


def test_a_message_is_what_somebody_said_unless_only_people_are_wanted():
    assert set(counted_kinds(None)) == {Broadcast, Direct}
    assert counted_kinds("direct") == (Direct,)
    assert counted_kinds("broadcast") == (Broadcast,)
    assert set(counted_kinds("presence")) == {Joined, Left}
