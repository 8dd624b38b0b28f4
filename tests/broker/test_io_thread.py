"""Whether a thread of ZeroMQ's sleeps, as Linux tells."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from chatbroker.broker import io_thread as module
from chatbroker.broker.io_thread import IoThread, threads
from chatbroker.broker.sockets import PUB_THREAD, fresh_context

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

WITHIN = 15.0


def comes(condition):
    until = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.fixture
def start():
    """Starts threads of a name that do something again and again; gives their ids."""
    over, started = threading.Event(), []

    def make(name, action):
        ready = threading.Event()

        def run():
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name)
            ready.set()
            while not over.is_set():
                action(over)

        started.append(threading.Thread(target=run, daemon=True))
        started[-1].start()
        assert ready.wait(WITHIN)
        return started[-1].native_id

    yield make
    over.set()
    for thread in started:
        thread.join(WITHIN)


def sleeps(over):
    over.wait(WITHIN)


def works(over):
    hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)  # Without Python's lock.


@pytest.fixture
def opened():
    """Closes what was made."""
    made = []

    def make(*args):
        made.append(IoThread(*args))
        return made[-1]

    yield make
    for thread in made:
        thread.close()


def test_one_that_waits_is_asleep(start, opened):
    thread = opened(1, {start("ZMQbg/IO/1", sleeps)})
    assert thread.told
    comes(lambda: thread.asleep)


def test_one_that_works_is_not(start, opened):
    thread = opened(1, {start("ZMQbg/IO/1", works)})
    comes(lambda: not thread.asleep)


def test_whatever_else_a_name_has_in_it(start, opened):
    thread = opened(1, {start(") R (/IO/1", sleeps)})
    comes(lambda: thread.asleep)


def test_of_those_that_were_started_with_it_it_is_that_of_its_number(start, opened):
    busy, idle = start("ZMQbg/IO/0", works), start("ZMQbg/IO/1", sleeps)
    thread = opened(1, {busy, idle, start("ZMQbg/IO/11", works), start("ZMQbg/Reaper", works)})
    comes(lambda: thread.asleep)


def test_it_is_found_when_it_has_its_name(start, opened):
    number = start("python", sleeps)
    thread = opened(1, {number})
    assert not thread.told
    Path(f"/proc/self/task/{number}/comm").write_text("ZMQbg/IO/1")
    assert thread.told


def test_of_two_that_it_may_be_nothing_is_told(start, opened):
    both = {start("ZMQbg/IO/1", sleeps), start("ZMQbg/IO/1", sleeps)}
    thread = opened(1, both)
    assert not thread.told
    assert not thread.asleep


def test_of_one_that_has_ended_nothing_is_told(opened):
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    assert not opened(1, {ended.native_id}).told


def test_where_the_system_does_not_tell_nothing_is_told(start, opened, monkeypatch, tmp_path):
    number = start("ZMQbg/IO/1", sleeps)
    monkeypatch.setattr(module, "_TASKS", tmp_path / "not here")
    assert threads() == set()
    assert not opened(1, {number}).told


def test_it_may_be_closed_again_and_then_tells_nothing(start, opened):
    thread = opened(1, {start("ZMQbg/IO/1", sleeps)})
    comes(lambda: thread.asleep)
    thread.close()
    thread.close()
    assert not thread.told
    assert not thread.asleep


def test_a_context_of_a_broker_has_one_that_publishes():
    context, thread = fresh_context()
    try:
        comes(lambda: thread.told)
        where = Path(os.readlink(f"/proc/self/fd/{thread._stat}"))
        assert (where.parent / "comm").read_text().endswith(f"/IO/{PUB_THREAD}\n")
        comes(lambda: thread.asleep)
    finally:
        thread.close()
        context.term()
