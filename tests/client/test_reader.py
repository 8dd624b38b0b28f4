"""One followed log: whatever is lost on the way, what is handed on is the log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.client.reader import (
    MOST_AHEAD,
    MOST_EVENTS_AHEAD,
    MOST_LIVES,
    ON_ITS_WAY,
    Reader,
)
from chatbroker.client.starts import Since
from chatbroker.wire.limits import MAX_FETCH
from chatbroker.wire.messages import (
    Batch,
    Cursor,
    Event,
    Events,
    Fetch,
    Fetched,
    Missed,
    Reading,
    Start,
)

EPOCH = b"echo---1"
OTHER = b"echo---2"
PATIENCE = 2.0


def event(position):
    return Event(0, "bob", "", str(position))


def batch(first, last, prev=None, epoch=EPOCH):
    """The events from *first* to *last*."""
    events = Events.of(event(position) for position in range(first, last + 1))
    return Batch("echo", epoch, first - 1 if prev is None else prev, first, events)


def welcomed(position=0, head=0):
    reader = Reader("echo", Since.now())
    reader.welcome(Reading("echo", EPOCH, position, head))
    return reader


def positions(news):
    taken = [numbered for first, events in news for numbered in enumerate(events, first)]
    assert all(item.text == str(position) for position, item in taken)
    return [position for position, _ in taken]


def fetch(reader, now=0.0):
    return reader.next_fetch(now, 1, PATIENCE)


def test_it_asks_for_what_it_was_told_to_until_it_knows_the_log():
    reader = Reader("echo", Since.last(60))
    assert reader.follow()[1:] == (b"", Start.AGE, 60_000)
    reader.welcome(Reading("echo", EPOCH, 5, 5))
    assert reader.follow()[1:] == (EPOCH, Start.AFTER, 5)
    assert reader.cursor() is None
    reader.has_shown(EPOCH, 6)
    assert reader.cursor() == Cursor("echo", EPOCH, 6)


def test_of_a_former_life_it_is_told_until_something_of_this_one_was_shown():
    reader = welcomed()
    positions(reader.offer(batch(1, 7)))
    reader.has_shown(EPOCH, 7)
    reader.welcome(Reading("echo", OTHER, 6, 6))
    assert reader.cursor() == Cursor("echo", EPOCH, 7)
    reader.has_shown(OTHER, 6)
    assert reader.cursor() == Cursor("echo", OTHER, 6)


def test_a_life_that_comes_back_is_told_how_far_it_was_shown():
    """Another broker was in the place of the one that is known; that has positions of its own."""
    reader = welcomed()
    positions(reader.offer(batch(1, 7)))
    reader.has_shown(EPOCH, 4)
    reader.welcome(Reading("echo", OTHER, 0, 90))
    reader.has_shown(OTHER, 90)
    reader.welcome(Reading("echo", EPOCH, 0, 9))
    assert reader.cursor() == Cursor("echo", EPOCH, 4)
    # What is read again there is not less read.
    reader.has_shown(EPOCH, 1)
    assert reader.cursor() == Cursor("echo", EPOCH, 4)


def test_a_life_that_comes_back_goes_on_where_it_was():
    """Another broker was in the place of the one that is known, which knows nothing of that."""
    reader = welcomed()
    positions(reader.offer(batch(1, 7)))
    reader.welcome(Reading("echo", OTHER, 0, 2))
    assert reader.welcome(Reading("echo", EPOCH, 0, 9))
    assert (reader.start, reader.went_back) == (7, False)
    assert positions(reader.offer(batch(1, 9))) == [8, 9]
    assert reader.welcome(Reading("echo", OTHER, 0, 2))
    assert (reader.start, reader.went_back) == (0, False)


def test_a_life_that_comes_back_with_less_goes_on_after_that_and_confirms_nothing():
    reader = welcomed()
    positions(reader.offer(batch(1, 7)))
    reader.has_shown(EPOCH, 7)
    reader.welcome(Reading("echo", OTHER, 0, 2))
    assert reader.welcome(Reading("echo", EPOCH, 0, 5))
    assert (reader.start, reader.went_back) == (5, True)
    assert reader.cursor() is None


def test_a_copy_of_a_life_that_it_was_in_goes_on_where_that_was():
    """Another broker was in the place meanwhile: so the copy's broker could not tell."""
    reader = welcomed()
    positions(reader.offer(batch(1, 7)))
    reader.has_shown(EPOCH, 7)
    reader.welcome(Reading("echo", OTHER, 0, 2))
    reader.has_shown(OTHER, 2)
    assert reader.welcome(Reading("echo", b"restored", 0, 6, EPOCH, 5))
    assert reader.start == 5
    assert reader.cursor() == Cursor("echo", EPOCH, 7)
    assert positions(reader.offer(batch(4, 6, epoch=b"restored"))) == [6]
    # Of a life that it was never in, it has nothing.
    reader.welcome(Reading("echo", b"epoch--9", 0, 6, b"epoch--8", 5))
    assert reader.start == 0


@pytest.mark.parametrize("others", [1, 300])
def test_a_life_that_comes_back_often_is_not_forgotten_for_others(others):
    reader = welcomed()
    positions(reader.offer(batch(1, 7)))
    for number in range(300):
        reader.welcome(Reading("echo", (number % others + 1).to_bytes(8), 0, 1))
        reader.welcome(Reading("echo", EPOCH, 0, 7))
        assert reader.start == 7
    assert len(reader._been) <= MOST_LIVES


def test_the_life_that_comes_back_is_not_the_one_that_is_forgotten():
    reader = welcomed()
    positions(reader.offer(batch(1, 7)))
    for number in range(MOST_LIVES):
        reader.welcome(Reading("echo", (number + 1).to_bytes(8), 0, 1))
    reader.welcome(Reading("echo", EPOCH, 0, 7))
    assert reader.start == 7


def test_who_began_late_has_read_nothing_of_the_next_life_either():
    reader = welcomed(position=5)
    reader.welcome(Reading("echo", OTHER, 4, 4))
    reader.has_shown(OTHER, 4)
    assert reader.cursor() is None
    reader.has_shown(OTHER, 5)
    assert reader.cursor() == Cursor("echo", OTHER, 5)


def test_of_no_more_lives_it_is_kept_how_far_they_were_shown_than_bounded():
    reader = welcomed()
    for number in range(2 * MOST_LIVES):
        epoch = number.to_bytes(8)
        reader.welcome(Reading("echo", epoch, 0, 3))
        reader.has_shown(epoch, 2)
    assert reader.cursor() == Cursor("echo", epoch, 2)
    assert len(reader._shown) <= MOST_LIVES


def test_a_log_that_ends_before_the_cursor_is_another_one():
    """Data that were put back by hand have the epoch that they had."""
    reader = welcomed()
    positions(reader.offer(batch(1, 7)))
    reader.has_shown(EPOCH, 7)
    assert reader.follow().value == 7
    assert reader.welcome(Reading("echo", EPOCH, 5, 5))
    assert positions(reader.offer(batch(6, 8))) == [6, 7, 8]
    assert reader.caught_up
    # Nor is any of that read before it is shown.
    assert reader.cursor() is None
    reader.has_shown(EPOCH, 6)
    assert reader.cursor() == Cursor("echo", EPOCH, 6)


def test_what_came_after_the_hello_is_no_other_log():
    """By the other socket, before the WELCOME."""
    reader = welcomed()
    positions(reader.offer(batch(1, 7)))
    reader.follow()
    positions(reader.offer(batch(8, 9)))
    assert not reader.welcome(Reading("echo", EPOCH, 7, 8))
    assert positions(reader.offer(batch(8, 10))) == [10]


def test_a_batch_at_the_cursor_is_handed_on():
    reader = welcomed(position=3)
    assert positions(reader.offer(batch(4, 6))) == [4, 5, 6]
    assert reader.position == 6
    assert reader.caught_up


def test_a_cursor_inside_a_batch_takes_the_rest():
    reader = welcomed(position=4)
    assert positions(reader.offer(batch(3, 6))) == [5, 6]


def test_an_old_batch_gives_nothing():
    reader = welcomed(position=6)
    assert positions(reader.offer(batch(3, 6))) == []
    assert reader.position == 6


def test_an_empty_batch_moves_to_what_precedes_it():
    reader = welcomed()
    assert positions(reader.offer(Batch("echo", EPOCH, 0, 5, Events.of([])))) == []
    assert reader.position == 0


def test_positions_may_have_gaps_that_the_chain_closes():
    reader = welcomed()
    assert positions(reader.offer(batch(10, 11, prev=0))) == [10, 11]
    assert positions(reader.offer(batch(20, 20, prev=11))) == [20]
    assert reader.caught_up


def test_a_hole_is_fetched_and_what_is_ahead_waits_for_it():
    reader = welcomed()
    assert positions(reader.offer(batch(3, 4))) == []
    assert not reader.caught_up
    assert fetch(reader) == Fetch(1, "echo", EPOCH, 0, MAX_FETCH)
    assert positions(reader.offer(batch(1, 2))) == [1, 2, 3, 4]
    assert reader.caught_up
    assert fetch(reader) is None


def test_one_fetch_at_a_time_until_patience_is_over():
    reader = welcomed(head=5)
    assert fetch(reader, 10.0) is not None
    assert fetch(reader, 11.9) is None
    assert fetch(reader, 12.0) is not None


def test_a_fetch_that_brought_only_some_is_followed_by_another():
    reader = welcomed(head=9)
    fetch(reader)
    positions(reader.offer(batch(1, 4)))
    reader.fetched(Fetched(1, "echo", EPOCH, 9))
    assert fetch(reader).after == 4


def test_the_end_of_an_answer_tells_what_was_said_meanwhile():
    reader = welcomed(head=4)
    fetch(reader)
    positions(reader.offer(batch(1, 4)))
    reader.fetched(Fetched(1, "echo", EPOCH, 9))
    assert fetch(reader).after == 4


def test_a_head_that_is_told_shows_a_lost_tail():
    reader = welcomed()
    reader.learn_head(Cursor("echo", EPOCH, 2))
    assert not reader.caught_up
    reader.learn_head(Cursor("echo", EPOCH, 1))
    positions(reader.offer(batch(1, 1)))
    assert not reader.caught_up


@pytest.mark.parametrize(("each", "most"), [(1, MOST_AHEAD), (4000, MOST_EVENTS_AHEAD)])
def test_no_more_is_kept_ahead_than_bounded(each, most):
    reader = welcomed()
    for now in (0.0, PATIENCE):
        begin = reader.position + 10
        for first in range(begin, begin + 3 * most, each):
            assert positions(reader.offer(batch(first, first + each - 1))) == []
        kept = begin + most
        handed_on = positions(reader.offer(batch(reader.position + 1, begin - 1)))
        assert handed_on == list(range(begin - 9, kept))
        assert fetch(reader, now).after == kept - 1
        reader.fetched(Fetched(1, "echo", EPOCH, kept - 1))


def test_an_answer_that_brought_nothing_is_not_asked_for_again_at_once():
    """Else a head that is wrong would have both ask and answer as fast as they can."""
    reader = welcomed()
    assert positions(reader.offer(batch(5, 5))) == []
    assert fetch(reader, 10.0).after == 0
    reader.fetched(Fetched(1, "echo", EPOCH, 0))
    assert fetch(reader, 10.0 + PATIENCE * 0.9) is None
    assert fetch(reader, 10.0 + PATIENCE).after == 0
    positions(reader.offer(batch(1, 2)))
    reader.fetched(Fetched(1, "echo", EPOCH, 2))
    assert fetch(reader, 10.0 + PATIENCE).after == 2


def test_a_welcome_makes_room_for_what_is_kept_ahead():
    reader = welcomed()
    positions(reader.offer(batch(10, 9 + MOST_EVENTS_AHEAD)))
    reader.welcome(Reading("echo", EPOCH, 0, 4))
    assert positions(reader.offer(batch(3, 4))) == []
    assert positions(reader.offer(batch(1, 2))) == [1, 2, 3, 4]


def test_no_more_empty_batches_are_kept_ahead_than_bounded():
    reader = welcomed()
    for prev in range(2, 2 * MOST_AHEAD):
        positions(reader.offer(Batch("echo", EPOCH, prev, prev + 1, Events.of([]))))
    assert len(reader._ahead) == MOST_AHEAD


def test_what_there_is_no_room_for_is_fetched_later():
    reader = welcomed()
    assert positions(reader.offer(batch(1, 3), lambda: False)) == []
    assert reader.position == 0
    assert fetch(reader).after == 0


def test_another_life_of_the_log_is_not_heard():
    reader = welcomed()
    assert positions(reader.offer(batch(1, 3, epoch=OTHER))) == []
    assert positions(reader.offer(batch(1, 3, epoch=OTHER), lambda: False)) == []
    reader.learn_head(Cursor("echo", OTHER, 9))
    reader.fetched(Fetched(1, "echo", OTHER, 9))
    assert reader.missed(Missed("echo", OTHER, 0, 9, 9)) == 0
    assert reader.caught_up
    assert reader.position == 0


def test_another_life_of_the_log_begins_where_the_broker_says():
    reader = welcomed(position=7, head=7)
    positions(reader.offer(batch(10, 11)))
    assert reader.welcome(Reading("echo", OTHER, 0, 2))
    assert reader.position == 0
    assert positions(reader.offer(batch(1, 2, epoch=OTHER))) == [1, 2]
    assert reader.caught_up


def test_the_same_log_goes_on_at_the_cursor_whatever_the_broker_says():
    reader = welcomed(position=7, head=7)
    assert not reader.welcome(Reading("echo", EPOCH, 3, 9))
    assert reader.position == 7
    assert fetch(reader).after == 7


def test_a_welcome_forgets_a_fetch_of_the_former_connection():
    reader = welcomed(head=5)
    fetch(reader, 10.0)
    reader.welcome(Reading("echo", EPOCH, 0, 5))
    assert fetch(reader, 10.1) is not None


@pytest.mark.parametrize(
    ("position", "lost", "told", "after"),
    [(0, 7, 7, 7), (0, 4, 4, 7), (3, 7, 4, 7), (7, 7, 0, 7), (9, 7, 0, 9)],
    ids=["all", "with gaps", "some came meanwhile", "all came meanwhile", "past it"],
)
def test_what_is_no_longer_kept_is_counted_once(position, lost, told, after):
    reader = welcomed()
    if position:
        positions(reader.offer(batch(1, position)))
    assert reader.missed(Missed("echo", EPOCH, 0, 7, lost)) == told
    assert reader.position == after


def test_what_is_missed_beyond_a_hole_is_asked_for_again():
    reader = welcomed(position=3, head=9)
    assert reader.missed(Missed("echo", EPOCH, 5, 7, 2)) == 0
    assert reader.position == 3
    assert fetch(reader).after == 3


def test_after_what_is_missed_the_rest_is_handed_on():
    reader = welcomed(head=9)
    assert reader.missed(Missed("echo", EPOCH, 0, 7, 7)) == 7
    assert positions(reader.offer(batch(8, 9))) == [8, 9]


def test_what_a_pong_tells_of_is_not_fetched_while_it_comes():
    """The PONG overtook it."""
    reader = welcomed()
    positions(reader.offer(batch(1, 1)))
    reader.learn_head(Cursor("echo", EPOCH, 9))
    assert not reader.caught_up
    now = 5.0
    for position in range(2, 6):
        assert reader.due(now) == now + ON_ITS_WAY
        assert fetch(reader, now + ON_ITS_WAY * 0.9) is None
        positions(reader.offer(batch(position, position)))
        now += ON_ITS_WAY * 0.9
    assert reader.due(now) == now + ON_ITS_WAY
    assert fetch(reader, now + ON_ITS_WAY).after == 5


def test_what_a_pong_tells_of_is_fetched_at_once_if_nothing_came_since_the_last():
    reader = welcomed(position=3, head=3)
    reader.learn_head(Cursor("echo", EPOCH, 4))
    assert reader.due(7.0) <= 7.0
    assert fetch(reader, 7.0).after == 3


def test_what_a_push_shows_to_be_missing_is_fetched_though_a_pong_told_of_more():
    reader = welcomed()
    positions(reader.offer(batch(1, 1)))
    reader.learn_head(Cursor("echo", EPOCH, 9))
    assert fetch(reader) is None
    assert positions(reader.offer(batch(4, 4))) == []
    assert fetch(reader).after == 1


def test_what_did_not_come_to_ones_own_mailbox_before_the_pong_does_not_come():
    reader = Reader("direct", Since.now())
    reader.welcome(Reading("direct", EPOCH, 0, 0))
    positions(reader.offer(batch(1, 1)._replace(log="direct")))
    reader.learn_head(Cursor("direct", EPOCH, 2))
    assert fetch(reader).after == 1


@st.composite
def logs(draw):
    """A log with gaps in its numbers, as batches that adjoin each other."""
    batches, prev = [], 0
    for _ in range(draw(st.integers(1, 12))):
        first = prev + 1 + draw(st.integers(0, 2))
        count = draw(st.integers(1, 4))
        events = Events.of(event(position) for position in range(first, first + count))
        batches.append(Batch("echo", EPOCH, prev, first, events))
        prev = first + count - 1
    return batches


def cut(whole, after):
    """What a broker answers: the batches that hold something after a position."""
    return [b for b in whole if b.first + len(b.events) - 1 > after]


@given(logs(), st.data())
def test_any_order_doubling_and_loss_gives_the_log_once_and_in_order(whole, data):
    reader = welcomed()
    handed_on = []
    head = whole[-1].first + len(whole[-1].events) - 1
    pushed = data.draw(st.lists(st.sampled_from(whole), max_size=30), label="pushed")
    now = 0.0
    for number, pushed_batch in enumerate(pushed):
        handed_on += positions(reader.offer(pushed_batch))
        if data.draw(st.booleans(), label=f"fetches after {number}"):
            now += data.draw(st.sampled_from([0.0, PATIENCE]))
            asked = fetch(reader, now)
            if asked is not None:
                answer = cut(whole, asked.after)[: data.draw(st.integers(0, 3))]
                for answered in answer:
                    handed_on += positions(reader.offer(answered))
                if data.draw(st.booleans(), label="the end of the answer is heard"):
                    reader.fetched(Fetched(1, "echo", EPOCH, head))
    reader.learn_head(Cursor("echo", EPOCH, head))
    for _ in range(len(whole) + 1):
        reader.due(now)
        now += PATIENCE
        asked = fetch(reader, now)
        if asked is None:
            break
        for answered in cut(whole, asked.after)[:1]:
            handed_on += positions(reader.offer(answered))
        reader.fetched(Fetched(1, "echo", EPOCH, head))
    assert handed_on == [b.first + i for b in whole for i in range(len(b.events))]
    assert reader.caught_up


@given(st.data())
def test_with_retention_every_message_is_handed_on_or_counted(data):
    """Positions without gaps; the broker drops the old ones whenever it likes."""
    head = data.draw(st.integers(1, 40))
    reader = welcomed()
    reader.learn_head(Cursor("echo", EPOCH, head))
    handed_on, missed, kept, now = [], 0, 0, 0.0
    while not reader.caught_up:
        if data.draw(st.booleans(), label="pushed"):
            first = data.draw(st.integers(1, head))
            last = data.draw(st.integers(first, head))
            handed_on += positions(reader.offer(batch(first, last)))
        reader.due(now)
        now += PATIENCE
        asked = fetch(reader, now)
        if asked is None:
            break
        kept = max(kept, data.draw(st.integers(0, head), label="no longer kept"))
        if kept > asked.after:
            lost = Missed("echo", EPOCH, asked.after, kept, kept - asked.after)
            if data.draw(st.booleans(), label="pushed in between"):
                upto = data.draw(st.integers(reader.position, head))
                handed_on += positions(reader.offer(batch(reader.position + 1, upto)))
            missed += reader.missed(lost)
        start = max(asked.after, kept)
        if start < head:
            handed_on += positions(reader.offer(batch(start + 1, min(start + 5, head))))
        reader.fetched(Fetched(1, "echo", EPOCH, head))
    assert handed_on == sorted(set(handed_on))
    assert len(handed_on) + missed == head
