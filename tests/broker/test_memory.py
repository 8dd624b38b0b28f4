"""What the process holds is counted, and that it grew is told apart from what it stored."""

from __future__ import annotations

import sys
import time

import pytest

from chatbroker.broker import memory as memory_module
from chatbroker.broker.memory import COUNT_SHARE, JUMP, WORK, WORK_SHARE, Memory, held_by

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LATER = 1000.0
"""Seconds in which counting has had its share of the time, however long it took."""


def works(monkeypatch, seconds):
    """Has all threads have used so many *seconds* of CPU."""
    monkeypatch.setattr(memory_module.time, "process_time", seconds)


class Process:
    """What it holds and has stored is as the test says."""

    def __init__(self, monkeypatch):
        self.held = self.stored = 0
        self.now = 0.0
        monkeypatch.setattr(memory_module, "held_by", lambda statm: self.held)
        works(monkeypatch, lambda: self.now)
        self.memory = Memory(lambda: self.stored)

    def grew(self, held, stored=0):
        """By so many bytes since the last look."""
        self.held += held
        self.stored += stored
        self.now += LATER
        return self.memory.grew(self.now)


@pytest.fixture
def process(monkeypatch):
    process = Process(monkeypatch)
    yield process
    process.memory.close()


def test_a_jump_is_told_once(process):
    assert not process.grew(JUMP)
    assert process.grew(JUMP + 1)
    assert not process.grew(0)


def test_what_was_stored_explains_as_much_and_no_more(process):
    assert not process.grew(10 * JUMP, stored=10 * JUMP)
    assert not process.grew(11 * JUMP, stored=10 * JUMP)
    assert process.grew(11 * JUMP + 1, stored=10 * JUMP)


def test_what_was_stored_before_explains_nothing_later(process):
    assert not process.grew(0, stored=10 * JUMP)
    assert process.grew(JUMP + 1)


def test_what_is_no_longer_stored_neither_looks_like_growth_nor_hides_it(process):
    process.grew(0, stored=10 * JUMP)
    assert not process.grew(0, stored=-5 * JUMP)
    assert process.grew(JUMP + 1, stored=-5 * JUMP)


def test_counting_takes_a_bounded_share_of_the_time(monkeypatch):
    counted = []

    def slow(statm):
        counted.append(time.thread_time())
        while time.thread_time() < counted[-1] + 0.002:
            continue
        return 0

    monkeypatch.setattr(memory_module, "held_by", slow)
    clock = 0.0
    works(monkeypatch, lambda: time.thread_time() + 100 * clock)
    memory = Memory(lambda: 0)
    try:
        for _ in range(100):
            memory.grew(clock)
            clock += 0.02  # Two seconds in all.
    finally:
        memory.close()
    assert 1 < len(counted) <= 1 + 2.0 * COUNT_SHARE / 0.002


@pytest.mark.parametrize(("cost", "work"), [(0.0, WORK), (0.002, 0.002 / WORK_SHARE)])
def test_nothing_is_counted_before_others_worked_enough(monkeypatch, cost, work):
    counted = []

    def slow(statm):
        counted.append(time.thread_time())
        while time.thread_time() < counted[-1] + cost:
            continue
        return 0

    worked = 1.0
    works(monkeypatch, lambda: time.thread_time() + worked)
    monkeypatch.setattr(memory_module, "held_by", slow)
    memory = Memory(lambda: 0)
    try:
        memory.grew(LATER)
        worked += 0.9 * work
        memory.grew(2 * LATER)
        assert len(counted) == 1
        worked += 10 * work  # Counting took longer than it should, perhaps.
        memory.grew(3 * LATER)
        assert len(counted) == 2
    finally:
        memory.close()


def test_what_the_process_holds_is_told():
    memory = Memory(lambda: 0)
    try:
        before = held_by(memory._statm)
        much = bytearray(64 * 2**20)
        assert held_by(memory._statm) >= before + 32 * 2**20
        assert len(much) == 64 * 2**20
    finally:
        memory.close()


def test_where_the_system_does_not_tell_it_says_so(monkeypatch):
    monkeypatch.setattr(memory_module, "_open_statm", lambda: -1)
    assert not Memory(lambda: 0).told


def test_closed_twice_it_is_closed():
    memory = Memory(lambda: 0)
    assert memory.told
    memory.close()
    memory.close()
    assert not memory.told
