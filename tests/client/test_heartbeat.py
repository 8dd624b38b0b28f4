"""When a client PINGs."""

import random

import pytest

from chatbroker.client.heartbeat import BEAT, Heartbeat


def heartbeat(milliseconds, phase=0.0):
    made = Heartbeat()
    made.phase = phase
    made.go_by(milliseconds, 3 * milliseconds, 0)
    return made


def moment(when, phase, beat=BEAT):
    """Whether all clients PING then."""
    off = (when + phase) % beat
    return min(off, beat - off) < 1e-5


@pytest.mark.parametrize("milliseconds", [5000, 5320, 61_234, 180_000])
def test_a_ping_comes_in_a_moment_of_all_and_not_after_the_heartbeat(milliseconds):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(1000):
        now, phase = rng.uniform(0, 1e6), rng.uniform(0, 2e9)
        due = heartbeat(milliseconds, phase).after(now)
        assert moment(due, phase)
        assert now + milliseconds / 1000 - BEAT <= due <= now + milliseconds / 1000


def test_clients_whose_clocks_began_at_other_times_ping_together():
    shared = 1_800_000_000.2
    dues = []
    for began in (0.0, 17.3, 123_456.7):
        now = shared - began
        dues.append(heartbeat(180_000, began).after(now) + began)
    assert dues == pytest.approx([dues[0]] * 3, abs=1e-5)


@pytest.mark.parametrize("milliseconds", [0, 1, 10, 100, 1000])
def test_of_a_short_heartbeat_little_is_taken_off(milliseconds):
    """Else clients would PING several times as often as they are told, or without a pause."""
    made, now = heartbeat(milliseconds), 12.345
    every = max(milliseconds / 1000, 0.01)
    assert now + every * 0.9 - 1e-9 <= made.after(now) <= now + every


def test_pings_stay_a_heartbeat_apart():
    """One that comes right on time, or a little late, is not followed by another too soon."""
    made, now = heartbeat(5000), 100.0
    for late in (0.0, 0.001, 0.002, 0.3, 0.001):
        due = made.after(now + late)
        assert due == pytest.approx(now + 5.0)
        now = due
