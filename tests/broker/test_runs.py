"""Outcomes that come one after the other are put together."""

from __future__ import annotations

import pytest

from chatbroker.broker.runs import KINDS, check, merge, pack, unpack
from chatbroker.wire.limits import WINDOW

FIRST, GREW, SECOND, THIRD = (1, 1, 0), (1, 2, 0), (3, 3, 1), (4, 9, 0)


def test_runs_are_what_was_packed():
    runs = [FIRST, (2, 2**63 - 1, 255)]
    assert [*unpack(pack(runs))] == runs


@pytest.mark.parametrize(
    ("before", "news", "wanted"),
    [
        ([], [], []),
        ([], [FIRST], [FIRST]),
        ([FIRST], [], [FIRST]),
        ([FIRST], [GREW], [GREW]),
        ([GREW], [SECOND], [GREW, SECOND]),
        ([FIRST], [GREW, SECOND], [GREW, SECOND]),
        ([GREW, SECOND, THIRD], [SECOND], [GREW, SECOND]),
        ([GREW, SECOND, THIRD], [FIRST], [FIRST]),
    ],
)
def test_what_came_since_takes_the_place_of_what_it_goes_on_from(before, news, wanted):
    """Or of what came later, which is then to come again."""
    assert [*unpack(merge(pack(before), pack(news), cseq=9))] == wanted


@pytest.mark.parametrize("cseq", range(9, 16))
def test_no_more_than_a_window_is_kept(cseq):
    before, news = [GREW, SECOND, THIRD], [(cseq + WINDOW, cseq + WINDOW, 1)]
    kept = [run for run in before if run[1] > cseq - 6]
    shifted = [(first + WINDOW - 6, last + WINDOW - 6, kind) for first, last, kind in before]
    assert [*unpack(merge(pack(before), b"", cseq + WINDOW - 6))] == kept
    found = [*unpack(merge(pack(shifted), pack(news), cseq + WINDOW))]
    assert found[-1] == news[0]
    assert all(last > cseq for _, last, _ in found)


@pytest.mark.parametrize(
    ("runs", "cseq"),
    [
        ([(0, 1, 0)], 5),
        ([(2, 1, 0)], 5),
        ([(1, 2, 0), (2, 3, 1)], 5),
        ([(3, 3, 0), (1, 1, 0)], 5),
        ([(1, 6, 0)], 5),
        ([(1, 1, KINDS)], 5),
    ],
)
def test_runs_that_cannot_be_so_are_damage(runs, cseq):
    with pytest.raises(ValueError, match="not runs"):
        check(pack(runs), cseq)


def test_runs_that_adjoin_are_none():
    check(pack([(1, 2, 0), (3, 3, KINDS - 1), (5, 5, 0)]), 5)
    with pytest.raises(ValueError, match="not runs"):
        check(pack([(1, 2, 0)])[:-1], 5)
