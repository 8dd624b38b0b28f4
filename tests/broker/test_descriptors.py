"""File descriptors: the limit is raised, and new sessions refused before it is reached."""

from __future__ import annotations

import errno
import logging
import os
import resource

import pytest

from chatbroker.broker import descriptors
from chatbroker.broker.descriptors import MOST, Descriptors

UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch):
    """A system with these limits; what was set is in the list."""
    asked = []

    def set_up(soft, hard, error=None):
        def setrlimit(which, wanted):
            assert which == resource.RLIMIT_NOFILE
            asked.append(wanted)
            if error is not None:
                raise error

        monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", setrlimit)
        return asked

    return set_up


@pytest.mark.parametrize(
    ("soft", "hard", "asked", "limit"),
    [
        (1024, 4096, [(4096, 4096)], 4096),
        (4096, 4096, [], 4096),
        (1024, UNLIMITED, [(MOST, UNLIMITED)], MOST),
        (1024, MOST + 1, [(MOST, MOST + 1)], MOST),
        (MOST + 1, MOST + 1, [], MOST + 1),
        (UNLIMITED, UNLIMITED, [], MOST),
    ],
)
def test_the_soft_limit_is_raised_to_the_hard_one(limits, soft, hard, asked, limit):
    wanted = limits(soft, hard)
    assert Descriptors().limit == limit
    assert wanted == asked


@pytest.mark.parametrize("error", [ValueError("no"), OSError("no"), PermissionError("no")])
def test_a_system_that_refuses_is_lived_with_and_told(limits, caplog, error):
    limits(1024, 4096, error)
    assert Descriptors().limit == 1024
    assert "limit=1024" in caplog.text


@pytest.fixture
def watched(limits, monkeypatch):
    """Descriptors of which 100 may be open, under a clock that the test moves."""
    limits(100, 100)
    watch = Descriptors()
    watch.used, watch.looks, watch.now = 0, 0, 1000.0

    def in_use():
        watch.looks += 1
        return watch.used

    monkeypatch.setattr(watch, "in_use", in_use)
    monkeypatch.setattr(descriptors.time, "monotonic", lambda: watch.now)
    return watch


@pytest.mark.parametrize(("used", "enough"), [(0, True), (79, True), (80, False), (100, False)])
def test_new_sessions_are_refused_from_four_fifths_on(watched, used, enough):
    watched.used = used
    assert watched.enough() is enough


def test_counting_costs_and_is_done_once_a_second(watched):
    for _ in range(1000):
        watched.enough()
    assert watched.looks == 1
    watched.now += 1.0
    watched.enough()
    assert watched.looks == 2


def test_each_change_is_told_once(watched, caplog):
    caplog.set_level(logging.INFO)
    for used in (10, 90, 95, 10, 10):
        watched.used = used
        watched.now += 1.0
        assert watched.enough() is (used < 80)
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        "new sessions are refused",
        "new sessions are accepted again",
    ]


def untold(path):
    """As before Linux 6.2: the folder is there, and its size is no number of descriptors."""
    return os.stat_result((0,) * 10)


@pytest.mark.parametrize("told", [True, False], ids=["by its size", "by a list"])
def test_what_is_open_is_counted(told, monkeypatch):
    if not told:
        monkeypatch.setattr(os, "stat", untold)
    watch = Descriptors.__new__(Descriptors)
    before = watch.in_use()
    assert before > 0
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
    try:
        assert watch.in_use() == before + 5
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_a_system_that_does_not_tell_lets_everyone_in(limits, monkeypatch):
    limits(100, 100)

    def no_folder(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", no_folder)
    monkeypatch.setattr(os, "stat", no_folder)
    assert Descriptors().enough()


def test_at_the_very_limit_all_of_them_count_as_used(limits, monkeypatch):
    """Looking takes a descriptor too: that there is none to look with is an answer."""

    def listdir(folder):
        raise OSError(errno.EMFILE, "Too many open files")

    limits(100, 100)
    descriptors_left = Descriptors()
    monkeypatch.setattr(os, "listdir", listdir)
    monkeypatch.setattr(os, "stat", untold)
    assert descriptors_left.in_use() == 100
    assert not descriptors_left.enough()
