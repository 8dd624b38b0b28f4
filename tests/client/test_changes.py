"""Those who wait for a change, and what ends their wait."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from chatbroker.client.changes import Changes

WITHIN = 20.0
SIGNALS = 100


def test_whoever_waits_when_something_changes_is_told_once():
    changes = Changes()
    with changes.lock:
        before = [changes.ticket() for _ in range(3)]
        changes.tell()
        after = changes.ticket()
    assert all(ticket.acquire(timeout=0) for ticket in before)
    assert not after.acquire(timeout=0)
    with changes.lock:
        changes.tell()
    assert after.acquire(timeout=0)


def test_a_signal_that_raises_anywhere_leaves_the_lock_to_others():
    """A Condition may keep it: its ``__enter__`` is Python's, and a handler may raise in that."""
    changes = Changes()
    armed = False

    def raises(number, frame):
        nonlocal armed
        if armed:
            armed = False  # Else it might raise again where nobody expects it.
            raise InterruptedError

    previous = signal.signal(signal.SIGVTALRM, raises)
    ended = 0
    until = time.monotonic() + WITHIN
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005, 0.0005)
    while ended < SIGNALS and time.monotonic() < until:
        try:
            armed = True
            with changes.lock:
                ticket = changes.ticket()
                changes.tell()
            ticket.acquire(timeout=WITHIN)
            armed = False
        except InterruptedError:
            ended += 1
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, previous)
    assert ended == SIGNALS
    assert changes.lock.acquire(timeout=0)


def test_threads_tell_each_other():
    changes = Changes()
    said: list[int] = []

    def hears():
        while True:
            with changes.lock:
                if said:
                    return
                ticket = changes.ticket()
            assert ticket.acquire(timeout=WITHIN)

    threads = [threading.Thread(target=hears) for _ in range(5)]
    for thread in threads:
        thread.start()
    with changes.lock:
        said.append(1)
        changes.tell()
    for thread in threads:
        thread.join(WITHIN)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("times", [1, 3])
def test_a_change_that_nobody_waits_for_is_no_fault(times):
    changes = Changes()
    with changes.lock:
        for _ in range(times):
            changes.tell()
