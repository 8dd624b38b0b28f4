from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.broker.log import Log, Row
from chatbroker.wire.limits import FRAME_TARGET, MAX_TEXT

EPOCH = b"epoch-01"


@pytest.fixture
def log() -> Log:
    return Log("echo", EPOCH)


def turn(log: Log, *events: bytes, time: int = 5) -> list[Row]:
    """What *log* makes of the events of one turn."""
    log.pending.extend([(event, 1) for event in events])
    return log.take(time)


def test_a_new_log_is_at_0_and_has_nothing_to_take(log):
    assert log.head == 0
    assert turn(log) == []


def test_a_log_may_go_on_where_an_earlier_life_of_the_broker_stopped():
    assert turn(Log("echo", EPOCH, head=41), b"one") == [Row("echo", 41, 42, 1, 5, b"one")]


def test_positions_count_from_1(log):
    assert turn(log, b"one") == [Row("echo", 0, 1, 1, 5, b"one")]
    assert log.head == 1


def test_the_events_of_a_turn_are_one_row(log):
    assert turn(log, b"one", b"two", b"three") == [Row("echo", 0, 1, 3, 5, b"onetwothree")]


def test_the_head_moves_when_the_turn_is_taken_and_not_before(log):
    log.pending.append((b"one", 1))
    assert log.head == 0
    log.take(5)
    assert log.head == 1


def test_what_is_taken_is_taken_once(log):
    assert len(turn(log, b"one")) == 1
    assert turn(log) == []
    assert log.head == 1


def test_a_row_names_what_precedes_it_across_turns(log):
    rows = [row for number in range(1, 4) for row in turn(log, *[b"event"] * number, time=number)]
    assert [(row.prev, row.first, row.last) for row in rows] == [(0, 1, 1), (1, 2, 3), (3, 4, 6)]
    assert [row.time for row in rows] == [1, 2, 3]


def test_an_event_longer_than_the_target_is_a_row_of_its_own(log):
    longest = b"x" * (MAX_TEXT + 100)
    rows = turn(log, b"before", longest, longest, b"after")
    assert [row.body for row in rows] == [b"before", longest, longest, b"after"]


def test_a_row_is_filled_up_to_the_target(log):
    rows = turn(log, b"a" * (FRAME_TARGET - 1), b"b", b"c")
    assert [len(row.body) for row in rows] == [FRAME_TARGET, 1]


@given(
    st.lists(
        st.lists(st.integers(1, FRAME_TARGET // 3) | st.just(FRAME_TARGET + 10), max_size=12),
        max_size=5,
    )
)
def test_rows_hold_every_event_once_in_order_and_travel_in_one_batch(turns):
    log = Log("echo", EPOCH)
    expected, rows = b"", []
    for time, sizes in enumerate(turns):
        events = [bytes([number]) * size for number, size in enumerate(sizes)]
        expected += b"".join(events)
        rows += turn(log, *events, time=time)
    assert b"".join(row.body for row in rows) == expected
    assert sum(row.events for row in rows) == sum(map(len, turns)) == log.head
    position = 0
    for row in rows:
        assert (row.prev, row.first) == (position, position + 1)
        assert row.events >= 1
        assert len(row.body) <= FRAME_TARGET or row.events == 1
        position = row.last
