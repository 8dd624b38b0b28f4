"""What everyone is told while the broker cannot store."""

from __future__ import annotations

import pytest

from chatbroker.broker.clock import TurnClock
from chatbroker.broker.effects import Note
from chatbroker.broker.hold import REMIND, Hold
from chatbroker.wire.limits import MAX_WORDS


@pytest.fixture
def held():
    """A hold, and what lets time pass for it."""
    clock = TurnClock()
    hold = Hold(clock)
    now = [0.0]

    def passes(seconds):
        # No turn counts for more than one.
        for _ in range(int(seconds / 0.5) + 1):
            now[0] += seconds / (int(seconds / 0.5) + 1)
            clock.begin(now[0], 0)

    passes(0)
    return hold, passes


def test_it_is_told_at_once_and_then_now_and_then(held):
    hold, passes = held
    (notice,) = hold.begin("the disk is full")
    assert notice.code == "cannot_store"
    assert notice.words == (
        "the broker cannot store messages (the disk is full); what is sent waits"
    )
    passes(REMIND * 0.9)
    assert hold.begin("the disk is full") == []
    passes(REMIND * 0.2)
    assert hold.begin("the disk is full") == [notice]
    assert hold.begin("the disk is full") == []


def test_another_reason_is_told_at_once(held):
    hold, _ = held
    hold.begin("the disk is full")
    (notice,) = hold.begin("it is locked")
    assert "(it is locked)" in notice.words
    assert hold.because == "it is locked"


def test_its_end_is_told_and_it_may_begin_again(held):
    hold, _ = held
    hold.begin("the disk is full")
    (notice,) = hold.end()
    assert (notice.code, hold.because) == ("storing", "")
    assert len(hold.begin("the disk is full")) == 1


def test_the_log_is_told_of_each_change_once(held):
    hold, passes = held
    for why in ("the disk is full", "the disk is full", "it is locked"):
        passes(REMIND * 2)
        hold.begin(why)
    hold.end()
    assert hold.notes() == [
        Note("cannot_store", {"because": "the disk is full"}, True),
        Note("cannot_store", {"because": "it is locked"}, True),
        Note("storing_again", {}, True),
    ]
    assert hold.notes() == []


@pytest.mark.parametrize("path", ["/x" * MAX_WORDS, "/ü" * MAX_WORDS, "/\udcff"])
def test_whatever_a_path_is_the_notice_travels(held, path):
    hold, _ = held
    (notice,) = hold.begin(f"no space left on the disk: {path}")
    assert len(notice.words.encode()) <= MAX_WORDS
    assert hold.because.endswith(path)  # For the operator it is whole.
