"""When the loop sleeps, what wakes it, and what is done now and then."""

from __future__ import annotations

import pytest
import zmq

from chatbroker.broker import server as server_module
from chatbroker.broker.server import AWAKE, CROWDED, TAKEN, TIDY_EVERY


class Slow:
    """Stands in for the poller: nothing comes before it has been asked so often."""

    def __init__(self, times):
        self.left = times
        self.asked = []

    def poll(self, timeout):
        self.asked.append(timeout)
        self.left -= 1
        return [] if self.left > 0 else [(None, zmq.POLLIN)]


def waits(server, monkeypatch, times, dialogue, waited):
    """What the poller is asked until something comes."""
    slow = Slow(times)
    monkeypatch.setattr(server, "_poller", slow)
    server._intake.dialogue, server._waited = dialogue, waited
    assert server._wait(0.5)
    return slow.asked


def test_it_does_not_sleep_after_a_message_that_came_alone_and_soon(servers, monkeypatch):
    server = servers()
    monkeypatch.setattr(server_module, "AWAKE", 3600.0)
    assert waits(server, monkeypatch, 5, dialogue=True, waited=0.0) == [0] * 5


class Ticking:
    """Stands in for the poller, to which nothing comes, and for the clock: a look takes *look*
    seconds of it."""

    def __init__(self, server, monkeypatch, look):
        self.look = look
        self.now = 1000.0
        self.asked = []
        monkeypatch.setattr(server, "_poller", self)
        monkeypatch.setattr(server_module.time, "monotonic", lambda: self.now)

    def poll(self, timeout):
        self.asked.append(timeout)
        self.now += max(timeout / 1000, self.look)
        return []


def test_it_sleeps_when_nothing_came_for_a_moment(servers, monkeypatch):
    server = servers()
    ticking = Ticking(server, monkeypatch, AWAKE / 4)
    server._intake.dialogue, server._waited = True, 0.0
    assert server._wait(0.01) == []
    assert ticking.asked[:4] == [0] * 4
    assert all(ticking.asked[4:])
    assert server._waited > AWAKE


def test_while_it_does_not_sleep_others_have_the_processor(servers, monkeypatch):
    server = servers()
    monkeypatch.setattr(server_module, "AWAKE", 3600.0)
    yielded = []
    monkeypatch.setattr(server_module.os, "sched_yield", lambda: yielded.append(1))
    assert waits(server, monkeypatch, 5, dialogue=True, waited=0.0) == [0] * 5
    assert len(yielded) == 5
    assert all(waits(server, monkeypatch, 5, dialogue=False, waited=0.0))
    assert len(yielded) == 5


def test_it_sleeps_at_once_while_others_want_the_processor(servers, monkeypatch):
    server = servers()
    ticking = Ticking(server, monkeypatch, 1.1 * TAKEN)

    def asked():
        server._intake.dialogue, server._waited = True, 0.0
        before = len(ticking.asked)
        server._wait(0.01)
        return ticking.asked[before:]

    assert asked()[0] == 0
    assert all(asked())
    ticking.now += 0.9 * CROWDED - 0.02
    assert all(asked())
    ticking.now += 0.2 * CROWDED
    assert asked()[0] == 0


def test_it_slept_if_it_waited_until_something_came_and_not_if_it_only_looked(servers, monkeypatch):
    server = servers()
    slept = []
    monkeypatch.setattr(server._intake, "drain", lambda ready, how: slept.append(how) or True)
    ticking = Ticking(server, monkeypatch, 0.0)
    assert server._wait(0.01) == []
    server._turn([server._router])
    assert server._look() == []
    server._turn([server._router])
    assert slept == [True, False]
    assert ticking.asked[-1] == 0


@pytest.mark.parametrize(("dialogue", "waited"), [(False, 0.0), (True, 1.0)])
def test_else_it_sleeps_at_once(servers, monkeypatch, dialogue, waited):
    assert all(waits(servers(), monkeypatch, 3, dialogue, waited))


def test_what_wakes_it_is_taken_and_is_no_operator(servers, monkeypatch):
    server = servers()
    heard = []
    monkeypatch.setattr(server._office, "hear", lambda held: heard.append(held))
    server._wake()
    server._turn([server._woken])
    assert heard == []
    with pytest.raises(BlockingIOError):
        server._wake_reader.recv(1)
    server._turn([server._woken + 1])
    assert heard == [False]


def test_what_nobody_waits_for_is_done_now_and_then(servers, monkeypatch):
    server = servers()
    tidied = []
    monkeypatch.setattr(server._core, "tidy", lambda: tidied.append(server._turned) or [])
    now = [1000.0]
    monkeypatch.setattr(server_module.time, "monotonic", lambda: now[0])
    for _ in range(100):
        server._turn([])
        now[0] += TIDY_EVERY / 10
    assert len(tidied) == pytest.approx(10, abs=1)
    server._core.untidy = True
    server._turn([])
    server._turn([])
    assert tidied[-2:] == [now[0]] * 2
