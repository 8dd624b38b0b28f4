from __future__ import annotations

import pytest

from chatbroker.broker.clock import DOUBT, MOST_ATTENDED, STEP, TurnClock


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


# --- a clock that was set -----------------------------------------------------------------

MONTH = 30 * 86_400_000


class Turns:
    """A turn each half second, while the wall clock is set now and then."""

    def __init__(self):
        self.clock = TurnClock()
        self.now, self.wall = 5000.0, 1_800_000_000_000
        self.pass_by(0.0)

    def pass_by(self, seconds, set_by=0):
        self.wall += set_by
        for _ in range(max(round(seconds * 2), 1)):
            self.now += 0.5
            self.wall += 500
            self.clock.begin(self.now, self.wall)
            lag = self.clock.settled - self.wall
        return lag

    @property
    def told(self):
        news = self.clock.news()
        return news and (news[0] % news[1:]).partition(":")[0]


@pytest.fixture
def turns():
    return Turns()


def test_a_clock_that_runs_is_believed(turns):
    assert turns.pass_by(10.0) == 0
    assert turns.pass_by(10.0, set_by=STEP - 1000) == 0  # As after a pause of the machine.
    assert turns.told is None


def test_a_clock_that_is_fast_is_believed(turns):
    """However much that is in the end: it was not set."""
    for _ in range(2 * STEP // 1000):
        assert turns.pass_by(0.0, set_by=1000) == 0
    assert turns.told is None


def test_a_clock_that_was_set_ahead_is_believed_after_an_hour(turns):
    assert turns.pass_by(DOUBT - 1.0, set_by=MONTH) == -MONTH
    assert turns.told == "clock ahead=2592000 s"
    assert turns.told is None
    assert turns.clock.time == turns.wall  # New messages have its time at once.
    assert turns.pass_by(2.0) == 0
    assert turns.told == "clock ahead=0 s"


def test_a_clock_that_was_wrong_for_a_moment_has_changed_nothing(turns):
    before = turns.clock.settled
    turns.pass_by(2.0, set_by=MONTH)
    assert turns.clock.settled == before + 2000
    turns.pass_by(2.0, set_by=-MONTH)
    assert turns.clock.settled == before + 4000
    assert turns.told == "clock behind=2591998 s"


def test_who_leaves_behind_a_clock_that_went_too_far_back_is_away_since_before_that(turns):
    """It had gone on while the machine slept, and was doubted still."""
    turns.pass_by(60.0, set_by=MONTH)
    left = turns.clock.latest
    assert left == turns.wall
    turns.pass_by(1.0, set_by=-10 * MONTH)
    assert turns.clock.latest == left
    turns.pass_by(1.0, set_by=10 * MONTH)
    assert turns.clock.latest == turns.wall
    # What was put right had never been.
    turns.pass_by(1.0, set_by=MONTH)
    turns.pass_by(1.0, set_by=-MONTH)
    assert turns.clock.latest == turns.wall


def test_by_when_somebody_left_no_message_is_dated():
    clock = TurnClock(1000, seen=5000)
    clock.begin(0.0, 2000)
    assert (clock.time, clock.latest) == (2000, 5000)


def test_a_clock_that_was_set_back_for_a_moment_is_believed_when_it_is_back(turns):
    assert turns.pass_by(2.0, set_by=-MONTH) == 0
    assert turns.pass_by(2.0, set_by=MONTH) == 0
    assert turns.told is None


def test_a_clock_that_is_put_right_before_the_hour_is_over_is_no_clock_ahead(turns):
    day = 86_400_000
    turns.pass_by(1800.0, set_by=-day)
    assert turns.told == "clock behind=84600 s"
    turns.pass_by(10.0, set_by=day)
    assert turns.told == "clock behind=0 s"
    # Also when the step back is longer ago than an hour.
    for _ in range(8):
        assert turns.pass_by(450.0) == 0
        assert turns.told is None


def test_of_what_it_gains_only_the_rest_is_doubted_when_it_is_put_right_by_it(turns):
    day = 86_400_000
    turns.pass_by(1800.0, set_by=-day)
    assert turns.pass_by(1900.0, set_by=2 * day) == -day
    assert turns.pass_by(1690.0) == -day
    assert turns.pass_by(20.0) == 0


def test_a_clock_that_goes_wrong_again_is_not_believed_for_having_been_put_right(turns):
    turns.pass_by(3000.0, set_by=MONTH)
    turns.pass_by(610.0, set_by=-MONTH)
    assert turns.pass_by(10.0, set_by=MONTH) == -MONTH


def test_each_time_that_it_is_set_has_its_own_hour(turns):
    hour = 3_600_000
    assert turns.pass_by(1000.0, set_by=hour) == -hour
    assert turns.pass_by(1000.0, set_by=hour) == -2 * hour
    assert turns.pass_by(2000.0) == -hour
    assert turns.pass_by(500.0, set_by=-hour) == 0
    assert turns.pass_by(500.0) == 0


def test_a_machine_that_is_suspended_again_and_again_is_not_behind_for_ever(turns):
    night = 8 * 3_600_000
    lags = [-turns.pass_by(50 * 60.0, set_by=night) for _ in range(30)]
    assert max(lags) <= 2 * night


def test_what_the_clock_was_before_the_first_turn_nobody_knows():
    clock = TurnClock(MONTH)
    clock.begin(0.0, 3 * MONTH)
    assert clock.settled == 3 * MONTH
    assert clock.news() is None


def test_a_broker_that_was_stopped_has_not_seen_its_clock_set(turns):
    turns.now += 86_400.0
    turns.wall += 86_400_000
    assert turns.pass_by(1.0) == 0


def test_a_clock_that_is_set_for_less_than_a_look_was_set_all_the_same(turns):
    """As long as there was a turn, whose time others were told."""
    before = turns.clock.latest
    turns.wall += MONTH
    turns.pass_by(0.0)
    turns.wall -= MONTH
    turns.pass_by(0.0)
    assert turns.clock.time > before + MONTH
    assert turns.clock.latest == turns.wall == before + 1000


# --- since when somebody is away ----------------------------------------------------------


def test_who_leaves_by_a_clock_that_is_behind_leaves_after_those_before(turns):
    before = turns.clock.latest
    turns.pass_by(2 * DOUBT, set_by=-MONTH)
    assert turns.clock.latest == before
    turns.pass_by(10.0, set_by=MONTH)
    assert turns.clock.latest == turns.wall


def test_who_leaves_after_a_clock_was_ahead_for_a_moment_leaves_now(turns):
    turns.pass_by(2.0, set_by=MONTH)
    assert turns.clock.latest == turns.wall
    turns.pass_by(2.0, set_by=-MONTH)
    assert turns.clock.latest == turns.wall
    assert turns.clock.time > turns.wall + 2_000_000_000
    # What is behind after that is so again.
    latest = turns.clock.latest
    turns.pass_by(2.0, set_by=-MONTH)
    assert turns.clock.latest == latest


def test_a_clock_that_was_ahead_until_it_was_believed_may_have_been_right(turns):
    turns.pass_by(DOUBT + 10.0, set_by=MONTH)
    latest = turns.clock.latest
    turns.pass_by(10.0, set_by=-MONTH)
    assert turns.clock.latest == latest > turns.wall


def test_nobody_leaves_before_what_is_stored():
    clock = TurnClock(3 * MONTH)
    clock.begin(0.0, MONTH)
    clock.begin(0.5, 2 * MONTH)
    clock.begin(1.0, MONTH)
    assert clock.latest == 3 * MONTH
