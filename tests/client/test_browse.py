"""A walk through a log, page by page, by hand-fed messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.client import browse
from chatbroker.client.browse import Browse, Browses
from chatbroker.client.events import Broadcast, Direct, Missed
from chatbroker.wire.messages import Batch, Event, Events, Fetched
from chatbroker.wire.messages import Missed as Lost

EPOCH, OTHER = b"epoch-01", b"epoch-02"
PATIENCE = 2.0


def batch(first: int, count: int, epoch: bytes = EPOCH, prev: int | None = None) -> Batch:
    said = Events.of([Event(n, "bob", "", str(n)) for n in range(first, first + count)])
    return Batch("echo", epoch, first - 1 if prev is None else prev, first, said)


def shown(page: list) -> list:
    """Positions; and what is missing as its number below zero."""
    return [-event.lost if isinstance(event, Missed) else event.seq for event in page]


class Walk:
    """A browse whose FETCHes are numbered from 1 on."""

    def __init__(self, **options) -> None:
        self.browse = Browse("echo", **options)
        self.now = 0.0
        self.ref = 0

    def asks(self):
        fetch = self.browse.next_fetch(self.now, self.ref + 1, PATIENCE)
        self.ref += fetch is not None
        return fetch

    def answered(self, head: int, epoch: bytes = EPOCH) -> None:
        self.browse.fetched(Fetched(self.ref, "echo", epoch, head))


def test_a_page_is_asked_for_when_the_one_before_was_taken():
    walk = Walk()
    fetch = walk.asks()
    assert (fetch.log, fetch.epoch, fetch.after) == ("echo", b"", 0)
    walk.browse.batch(batch(1, 3))
    assert not walk.browse.ready
    walk.answered(head=5)
    assert walk.browse.ready
    assert walk.asks() is None
    assert shown(walk.browse.take()) == [1, 2, 3]
    fetch = walk.asks()
    assert (fetch.epoch, fetch.after) == (EPOCH, 3)
    walk.browse.batch(batch(4, 2))
    walk.answered(head=9)
    assert walk.browse.over
    assert shown(walk.browse.take()) == [4, 5]
    assert walk.asks() is None


def test_what_is_said_meanwhile_is_not_part_of_the_walk():
    walk = Walk(upto=3)
    walk.asks()
    walk.browse.batch(batch(1, 10))
    walk.answered(head=10)
    assert shown(walk.browse.take()) == [1, 2, 3]
    assert walk.browse.over


def test_a_push_between_two_pages_is_left_alone():
    walk = Walk(epoch=EPOCH)
    walk.browse.batch(batch(1, 1))
    assert walk.browse.take() == []
    walk.asks()
    walk.browse.batch(batch(5, 1))  # Beyond a hole.
    walk.browse.batch(batch(1, 2))
    walk.answered(head=5)
    assert shown(walk.browse.take()) == [1, 2]


def test_an_unanswered_question_is_asked_again():
    walk = Walk()
    walk.asks()
    assert walk.asks() is None
    assert walk.browse.due(walk.now) == PATIENCE
    walk.now = PATIENCE
    assert walk.asks() is not None
    walk.browse.again()
    assert walk.browse.due(walk.now) == walk.now
    assert walk.asks() is not None


def test_a_page_that_comes_later_is_asked_for_then():
    walk = Walk()
    fetch = walk.asks()
    walk.browse.later(fetch.ref + 1, 50.0)
    assert walk.browse.due(walk.now) == PATIENCE
    walk.browse.later(fetch.ref, 0.3)
    assert walk.browse.due(walk.now) == 0.3
    assert walk.asks() is None
    walk.now = 0.3
    assert walk.asks() is not None


def test_an_answer_that_was_cut_short_is_not_asked_for_in_a_hurry():
    walk = Walk()
    walk.asks()
    walk.answered(head=3)  # Its batches were left out.
    assert not walk.browse.ready
    assert walk.asks() is None
    walk.now = PATIENCE
    assert walk.asks().after == 0


def test_what_is_no_longer_kept_is_told_once():
    walk = Walk(after=2)
    walk.asks()
    walk.browse.missed(Lost("echo", EPOCH, 2, 5, 3))
    walk.browse.missed(Lost("echo", EPOCH, 2, 5, 3))
    walk.browse.batch(batch(6, 1, prev=5))
    walk.answered(head=6)
    assert shown(walk.browse.take()) == [-3, 6]
    assert walk.browse.over


def test_what_came_meanwhile_is_not_missed_too():
    walk = Walk()
    walk.asks()
    walk.browse.batch(batch(1, 2))
    walk.browse.missed(Lost("echo", EPOCH, 0, 5, 5))
    walk.answered(head=5)
    assert shown(walk.browse.take()) == [1, 2, -3]


def test_a_flood_of_batches_is_bounded(monkeypatch):
    monkeypatch.setattr(browse, "MOST_EVENTS", 3)
    walk = Walk()
    walk.asks()
    for first in range(1, 11, 2):
        walk.browse.batch(batch(first, 2))
    walk.answered(head=10)
    assert shown(walk.browse.take()) == [1, 2, 3, 4]
    assert walk.asks().after == 4


def test_a_flood_of_what_is_no_longer_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(browse, "MOST_EVENTS", 3)
    walk = Walk()
    walk.asks()
    for lost in range(10):
        walk.browse.missed(Lost("echo", EPOCH, lost, lost + 1, 1))
    walk.answered(head=10)
    assert shown(walk.browse.take()) == [-1] * 4
    assert walk.asks().after == 4


def test_another_life_of_the_log_is_not_mixed_in():
    walk = Walk(epoch=EPOCH)
    walk.asks()
    walk.browse.batch(batch(1, 2, epoch=OTHER))
    walk.browse.missed(Lost("echo", OTHER, 0, 5, 5))
    assert walk.browse.position == 0
    assert not walk.browse.refused(walk.ref + 1)
    assert walk.browse.refused(walk.ref)
    assert walk.browse.failed
    assert walk.browse.ready


def test_a_walk_beyond_the_newest_ends_there():
    walk = Walk(upto=9)
    walk.asks()
    walk.browse.batch(batch(1, 3))
    walk.answered(head=3)
    assert walk.browse.over
    assert shown(walk.browse.take()) == [1, 2, 3]
    assert walk.asks() is None


def test_an_empty_log_is_over_at_once():
    walk = Walk()
    walk.asks()
    walk.answered(head=0)
    assert walk.browse.over
    assert walk.browse.take() == []


def test_a_question_beyond_all_tells_the_head():
    walk = Walk(after=1 << 60)
    walk.asks()
    walk.answered(head=7)
    assert walk.browse.over
    assert walk.browse.head == 7


def test_each_is_told_what_concerns_its_log():
    browses = Browses()
    echo, direct = Browse("echo"), Browse("direct")
    browses.begin(echo)
    browses.begin(direct)
    first, second = browses.fetches(0.0, 10, PATIENCE)
    assert (first.ref, second.ref) == (10, 11)
    browses.batch(batch(1, 1))
    browses.fetched(Fetched(10, "echo", EPOCH, 1))
    assert echo.over
    assert not direct.over
    browses.end(echo)
    assert browses.refused(11)
    assert not browses.refused(11)
    assert list(browses.due(0.0)) == []


@given(
    st.integers(0, 40),
    st.integers(0, 45),
    st.none() | st.integers(0, 45),
    st.integers(0, 20),
    st.lists(st.integers(1, 7), min_size=50, max_size=50),
    st.randoms(use_true_random=False),
)
def test_every_event_comes_once_and_in_order(head, after, upto, lost, sizes, dice):
    """Whatever is left out, doubled or pushed; *lost*: what is no longer kept."""
    lost = min(lost, head)
    walk = Walk(after=after, upto=upto)
    got: list[int] = []
    for turn in range(400):
        luck = dice.random() if turn < 100 else 0.0  # In the end nothing is lost any more.
        fetch = walk.asks()
        if fetch is not None:
            start = max(fetch.after, lost)
            if fetch.after < lost and luck < 0.8:
                walk.browse.missed(Lost("echo", EPOCH, fetch.after, lost, lost - fetch.after))
            for size in sizes[: dice.randint(0, 3) if turn < 100 else 3]:
                part = batch(start + 1, min(size, head - start)) if start < head else None
                if part is not None and luck < 0.9:
                    walk.browse.batch(part)
                start = min(start + size, head)
            if luck < 0.7:
                walk.answered(head)
        got += shown(walk.browse.take())
        if walk.browse.over:
            break
        walk.now += PATIENCE
    end = head if upto is None else min(upto, head)
    missing = max(min(lost, end) - after, 0)
    kept = [*range(max(after, lost) + 1, end + 1)]
    assert [n for n in got if n > 0] == kept
    assert -sum([n for n in got if n < 0]) == missing


def test_a_page_holds_events_of_its_log():
    walk = Walk()
    walk.asks()
    walk.browse.batch(batch(1, 1))
    walk.answered(head=1)
    assert walk.browse.take() == [Broadcast(1, 1, "bob", "1")]


@pytest.mark.parametrize("ref", [0, 5])
def test_the_answer_to_another_question_ends_nothing(ref):
    walk = Walk()
    walk.asks()
    walk.browse.fetched(Fetched(ref, "echo", EPOCH, 3))
    assert not walk.browse.ready


# --- what a program sees --------------------------------------------------------------------


@given(
    st.lists(
        st.sampled_from(
            [
                None,
                Event(1, "bob", "", "all"),
                Event(2, "bob", "alice", "one"),
                Event(3, "a", "", ""),
            ]
        ),
        max_size=6,
    )
)
def test_events_are_seen_one_by_one_whatever_stands_beside_them(said):
    seen = list(browse.as_events(7, Events.of(said)))
    assert seen == [
        Direct(7 + at, *event) if event.to else Broadcast(7 + at, event.time, *event[1::2])
        for at, event in enumerate(said)
        if event is not None
    ]
    assert {*map(type, seen)} <= {Broadcast, Direct}


def test_what_lies_wholly_beyond_the_end_is_not_of_it():
    walk = Walk(epoch=EPOCH, after=5, upto=7)
    assert walk.asks()
    walk.browse.batch(batch(20, 20, prev=5))
    assert shown(walk.browse.take()) == []
    assert walk.browse.over
