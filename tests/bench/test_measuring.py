"""What a figure is made of: the order of runs, what is counted, and when a run may begin."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.load import Run
from bench.peers import measure
from bench.peers.measure import CALM_SECONDS, LOOKS, Plan
from bench.peers.works import CLASSIC, WORKS
from bench.processes import Cpu

# --- when a run may begin --------------------------------------------------------------------


class Busy:
    """A server that goes on working after a run, and the clock by which it does."""

    def __init__(self, *work):
        self.now = 0.0
        self.looks = 0
        self.work = list(work)
        """What it is still going to use, by one look at it after the other."""
        self._used = 0.0

    def cpu(self):
        return Cpu(self._used, self._used)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.looks += 1
        self._used += self.work.pop(0) if self.work else 0.0


@pytest.fixture
def busy(monkeypatch):
    def made(*work):
        server = Busy(*work)
        monkeypatch.setattr(measure, "time", server)
        return server

    return made


def test_a_server_is_calm_when_it_was_so_many_times_in_a_row(busy):
    server = busy(0.02, *[0.0] * (LOOKS - 1), 0.02, 0.0, 0.02)
    measure._calm(server)
    assert server.looks == 1 + (LOOKS - 1) + 3 + LOOKS


def test_what_an_idle_server_uses_does_not_count(busy):
    server = busy(*[0.0002] * 1000)
    measure._calm(server)
    assert server.looks == LOOKS


def test_a_server_that_is_never_calm_is_not_waited_for_for_ever(busy):
    server = busy(*[0.02] * 10_000)
    measure._calm(server)
    assert CALM_SECONDS <= server.now < CALM_SECONDS + 1


def test_no_run_ends_before_its_server_is_calm(busy):
    server = busy()

    def run(messages):
        assert not server.work
        server.work = [0.02] * 30
        return Run(messages, messages, 0.1, Cpu(0.1, 0.1), 0.1, 0)

    work = WORKS["memory"]
    (row,) = [row for row in work.rows if row.name == CLASSIC]
    sized = measure._sized(work, row, Plan(1, 0.1, 1), SimpleNamespace(run=run), server)
    sized()
    assert not server.work
    assert server.looks == 3 * (30 + LOOKS)  # With the two by which it was sized.
