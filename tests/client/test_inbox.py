"""What the program has not taken yet, and what it is said to have seen."""

from __future__ import annotations

import pytest

from chatbroker.broker.outgoing import MOST_PUBLISHED
from chatbroker.client import inbox as inbox_module
from chatbroker.client.browse import Browse
from chatbroker.client.events import Broadcast, Direct, Joined, Missed
from chatbroker.client.inbox import Inbox
from chatbroker.client.reader import ON_ITS_WAY, Reader
from chatbroker.client.starts import Since
from chatbroker.wire.batch import LEAST
from chatbroker.wire.messages import Cursor, Fetched, Reading
from chatbroker.wire.messages import Missed as NoLongerKept

ECHO, DIRECT = b"echo---1", b"direct-1"


@pytest.fixture
def inbox():
    inbox = Inbox([Reader("echo", Since.now()), Reader("direct", Since.unread())])
    inbox.welcome([Reading("echo", ECHO, 0, 0), Reading("direct", DIRECT, 4, 4)])
    return inbox


def cursors(inbox):
    return {cursor.log: (cursor.epoch, cursor.position) for cursor in inbox.cursors()}


def show(inbox, most):
    """The program takes so many and comes back for more."""
    taken = inbox.take(most)
    inbox.shown()
    return taken


def fetches(inbox, now=0.0):
    return [(fetch.ref, fetch.log, fetch.after) for fetch in inbox.fetches(now, 7, 2.0)]


def test_events_are_taken_in_the_order_in_which_they_came(inbox, batch):
    inbox.batch(batch("echo", 1, "a"))
    inbox.tell(Joined(1, "bob"))
    inbox.batch(batch("direct", 5, "b"))
    assert [type(event) for event in inbox.take(2)] == [Broadcast, Joined]
    assert [type(event) for event in inbox.take(2)] == [Direct]
    assert inbox.take(2) == []


def test_what_is_only_looked_at_is_not_read(inbox, batch):
    inbox.batch(batch("direct", 5, "a", "b", "c"))
    assert [event.text for event in inbox.look(1, 9)] == ["b", "c"]
    inbox.shown()
    assert cursors(inbox) == {}
    assert [event.text for event in inbox.take(9)] == ["a", "b", "c"]


def test_what_is_not_taken_is_not_read(inbox, batch):
    inbox.batch(batch("echo", 1, "a", "b", "c"))
    inbox.batch(batch("direct", 5, "d", "e"))
    assert cursors(inbox) == {}
    show(inbox, 2)
    assert cursors(inbox) == {"echo": (ECHO, 2)}
    show(inbox, 2)
    assert cursors(inbox) == {"echo": (ECHO, 3), "direct": (DIRECT, 5)}


@pytest.mark.parametrize("most", [1, 9], ids=["some of it", "all of it"])
def test_what_is_taken_is_not_read_before_the_program_comes_back(inbox, batch, most):
    """It may be killed while it shows it."""
    inbox.batch(batch("direct", 5, "a", "b"))
    taken = inbox.take(most)
    assert cursors(inbox) == {}
    inbox.batch(batch("direct", 7, "c"))
    inbox.take(1)
    assert cursors(inbox) == {"direct": (DIRECT, taken[-1].seq)}


def test_what_was_said_before_reading_began_is_not_read(inbox):
    """Who begins at the newest event has not seen those before it."""
    inbox.tell(Joined(1, "bob"))
    assert len(show(inbox, 1)) == 1
    assert cursors(inbox) == {}


def test_who_has_taken_all_has_read_all_that_is_no_longer_kept_too(inbox):
    inbox.heads([Cursor("echo", ECHO, 9)])
    inbox.missed(NoLongerKept("echo", ECHO, 0, 9, 9))
    assert cursors(inbox) == {}
    assert show(inbox, 10) == [Missed("echo", 9)]
    assert cursors(inbox)["echo"] == (ECHO, 9)


@pytest.mark.parametrize("taken", [0, 2, 4])
def test_of_a_log_that_went_back_nothing_is_read_before_what_was_is_taken(inbox, batch, taken):
    """It has the epoch that it had: a position of before would be one of the new history."""
    inbox.batch(batch("direct", 5, "a", "b", "c", "d"))
    inbox.take(taken)
    for reader in inbox.readers.values():
        reader.follow()
    inbox.welcome([Reading("echo", ECHO, 0, 0), Reading("direct", DIRECT, 5, 5)])
    inbox.batch(batch("direct", 6, "e", "f"))
    for _ in range(4 - taken):
        assert cursors(inbox) == {}
        show(inbox, 1)
    # Whoever has taken that is where reading went on.
    inbox.shown()
    assert cursors(inbox) == {"direct": (DIRECT, 5)}
    assert show(inbox, 1) == [Missed("direct", None)]
    show(inbox, 1)
    assert cursors(inbox) == {"direct": (DIRECT, 6)}


def test_of_a_log_that_went_back_who_is_never_done_confirms_too(inbox, batch):
    inbox.batch(batch("direct", 5, "a", "b", "c"))
    for reader in inbox.readers.values():
        reader.follow()
    inbox.welcome([Reading("echo", ECHO, 0, 0), Reading("direct", DIRECT, 4, 4)])
    inbox.batch(batch("direct", 5, "d", "e", "f", "g", "h"))
    read = []
    for _ in range(8):
        show(inbox, 1)
        read.append(cursors(inbox).get("direct"))
    # Three of before, what tells that it went back, and then each.
    assert read == [None] * 2 + [None, None] + [(DIRECT, position) for position in (5, 6, 7, 8)]


def test_of_a_log_that_went_back_who_took_all_at_once_confirms_what_comes_then(inbox, batch):
    inbox.batch(batch("direct", 5, "a", "b", "c"))
    for reader in inbox.readers.values():
        reader.follow()
    inbox.welcome([Reading("echo", ECHO, 0, 0), Reading("direct", DIRECT, 4, 4)])
    show(inbox, 9)
    inbox.batch(batch("direct", 5, "d", "e"))
    show(inbox, 1)
    assert cursors(inbox) == {"direct": (DIRECT, 5)}


def test_of_another_life_of_a_log_nothing_is_read_until_what_was_before_is_taken(inbox, batch):
    inbox.batch(batch("direct", 5, "old", "older"))
    show(inbox, 1)
    inbox.welcome([Reading("direct", b"direct-2", 0, 1)])
    inbox.batch(batch("direct", 1, "new", epoch=b"direct-2"))
    assert cursors(inbox)["direct"] == (DIRECT, 5)
    show(inbox, 1)
    assert cursors(inbox)["direct"] == (b"direct-2", 0)
    show(inbox, 5)
    assert cursors(inbox)["direct"] == (b"direct-2", 1)


def test_each_event_is_confirmed_in_the_life_that_it_is_of(inbox, batch):
    """Another broker was in the place of the one that is known, and then that one again."""
    inbox.batch(batch("direct", 5, "a5", "a6", "a7"))
    inbox.welcome([Reading("direct", b"direct-2", 0, 90)])
    inbox.batch(batch("direct", 1, *[f"b{n}" for n in range(1, 91)], epoch=b"direct-2"))
    inbox.welcome([Reading("direct", DIRECT, 0, 7)])
    show(inbox, 2)
    assert cursors(inbox)["direct"] == (DIRECT, 6)
    show(inbox, 60)
    assert cursors(inbox)["direct"] == (DIRECT, 7)
    show(inbox, 90)
    inbox.batch(batch("direct", 6, "a6", "a7", "a8"))
    assert [event.text for event in show(inbox, 90)] == ["a8"]
    assert cursors(inbox)["direct"] == (DIRECT, 8)


def test_of_a_copy_that_was_put_back_each_event_is_confirmed_although_more_wait(inbox, batch):
    inbox.batch(batch("direct", 5, "a", "b"))
    show(inbox, 1)
    inbox.welcome([Reading("direct", b"direct-2", 6, 6)])
    inbox.batch(batch("direct", 7, "c", "d", "e", epoch=b"direct-2"))
    told = []
    while inbox.events:
        show(inbox, 1)
        told.append(cursors(inbox)["direct"])
    # The last of before, which is where this one goes on; that it is another one; and the rest.
    assert told == [(b"direct-2", position) for position in (6, 6, 7, 8, 9)]


def test_what_was_shown_when_a_copy_was_put_back_is_told_in_the_new_life(inbox, batch):
    inbox.batch(batch("direct", 5, "a"))
    assert len(inbox.take(1)) == 1
    inbox.welcome([Reading("direct", b"direct-2", 5, 5)])
    assert cursors(inbox) == {}
    inbox.shown()
    assert cursors(inbox) == {"direct": (b"direct-2", 5)}


def test_a_log_that_goes_back_twice_confirms_nothing_of_either_before(inbox, batch):
    direct = inbox.readers["direct"]
    for next_one, start in ((5, 6), (7, 5)):
        inbox.batch(batch("direct", next_one, "x", "y", "z"))
        direct.follow()
        inbox.welcome([Reading("direct", DIRECT, start, start)])
    # Three of each before, and what tells that the first went back.
    for _ in range(6):
        show(inbox, 1)
        assert cursors(inbox) == {}
    show(inbox, 1)
    assert cursors(inbox) == {"direct": (DIRECT, 5)}


def test_holes_are_asked_for_log_by_log(inbox):
    inbox.heads([Cursor("echo", ECHO, 3), Cursor("direct", DIRECT, 6)])
    assert not inbox.caught_up
    assert fetches(inbox) == [(7, "echo", 0), (8, "direct", 4)]
    assert fetches(inbox) == []  # They are under way.


def test_when_an_answer_is_complete_the_rest_is_asked_for_at_once(inbox, batch):
    """Of the log that is followed and of a walk through it."""
    walk = Browse("echo")
    inbox.browses.begin(walk)
    inbox.heads([Cursor("echo", ECHO, 3)])
    assert fetches(inbox) == [(7, "echo", 0), (8, "echo", 0)]
    inbox.batch(batch("echo", 1, "a"))
    inbox.fetched(Fetched(7, "echo", ECHO, 3))
    assert fetches(inbox) == [(7, "echo", 1)]
    inbox.fetched(Fetched(8, "echo", ECHO, 1))
    assert walk.over


def test_what_a_walk_finds_to_be_no_longer_kept_is_told_in_its_place(inbox, batch):
    walk = Browse("echo")
    inbox.browses.begin(walk)
    assert fetches(inbox) == [(7, "echo", 0)]
    inbox.missed(NoLongerKept("echo", ECHO, 0, 2, 2))
    inbox.batch(batch("echo", 3, "c"))
    inbox.fetched(Fetched(7, "echo", ECHO, 3))
    missed, said = walk.take()
    assert (missed, said.seq) == (Missed("echo", 2), 3)


def test_a_notice_is_left_out_only_if_it_says_again_that_the_broker_cannot_store(inbox):
    for code in ("cannot_store", "cannot_store", "announcement", "announcement"):
        inbox.notice(code, "the disk is full")
    assert [event.code for event in inbox.take(9)] == ["cannot_store"] + ["announcement"] * 2


def test_what_a_walk_asks_for_is_put_off_and_asked_for_again_as_the_broker_says(inbox):
    inbox.browses.begin(Browse("echo"))
    assert fetches(inbox) == [(7, "echo", 0)]
    inbox.later(7, 50.0)
    assert [*inbox.due(0.0)] == [50.0]
    assert fetches(inbox, 49.0) == []
    # Over another connection it gets no answer.
    inbox.welcome([Reading("echo", ECHO, 0, 0), Reading("direct", DIRECT, 4, 4)])
    assert fetches(inbox, 49.0) == [(7, "echo", 0)]


def test_without_room_nothing_is_asked_for_and_nothing_is_added(inbox, batch, monkeypatch):
    monkeypatch.setattr(inbox_module, "MOST_EVENTS", 2)
    monkeypatch.setattr(inbox_module, "IN_A_FRAME", 0)
    monkeypatch.setattr(inbox_module, "MOST_HINTS", 3)
    inbox.batch(batch("echo", 1, "a", "b"))
    inbox.batch(batch("echo", 3, "c"))
    for _ in range(3):
        inbox.tell(Joined(1, "bob"))
    assert len(inbox.events) == 3
    assert fetches(inbox) == []
    assert [*inbox.due(0.0)] == []  # Or it would be looked for without end.
    inbox.take(3)
    assert [*inbox.due(0.0)] == [0.0]
    assert fetches(inbox) == [(7, "echo", 2)]
    inbox.fetched(Fetched(7, "echo", ECHO, 3))


def test_a_frame_that_is_heard_is_taken_whole(inbox, batch, monkeypatch):
    """Else the rest of it would be fetched."""
    monkeypatch.setattr(inbox_module, "MOST_EVENTS", 2)
    monkeypatch.setattr(inbox_module, "IN_A_FRAME", 3)
    inbox.batch(batch("echo", 1, "a"))
    assert inbox.has_room
    for position in range(2, 9):
        inbox.batch(batch("echo", position, "b"))
    assert not inbox.has_room
    assert [event.seq for event in inbox.events] == [1, 2, 3, 4, 5]


def test_a_frame_brings_no_more_than_it_may():
    assert MOST_PUBLISHED / LEAST <= inbox_module.IN_A_FRAME


def test_what_is_missing_is_asked_for_when_half_of_it_was_taken(inbox, batch, monkeypatch):
    """Not for each event that there is room for: an answer has thousands."""
    monkeypatch.setattr(inbox_module, "MOST_EVENTS", 10)
    inbox.batch(batch("echo", 1, *"abcdefgh"))
    inbox.batch(batch("echo", 10, "j"))
    assert inbox.has_room
    inbox.take(3)
    assert [*fetches(inbox), *inbox.due(0.0)] == []
    inbox.take(1)
    assert [*inbox.due(0.0)] == [0.0]
    assert fetches(inbox) == [(7, "echo", 8)]


def test_it_is_stuck_if_something_is_missing_and_there_is_no_room_to_fetch_it(
    inbox, batch, monkeypatch
):
    monkeypatch.setattr(inbox_module, "MOST_EVENTS", 12)
    inbox.batch(batch("echo", 1, *"abcdefgh"))
    inbox.heads([Cursor("echo", ECHO, 9)])
    assert not inbox.stuck(0.0)  # What a PONG tells of may be on its way.
    assert inbox.stuck(ON_ITS_WAY)
    inbox.batch(batch("echo", 10, "j"))
    assert inbox.stuck(0.0)
    inbox.batch(batch("echo", 9, "i"))
    assert not inbox.stuck(0.0)
    inbox.batch(batch("echo", 11, "k", "l"))
    assert inbox.stuck(0.0)  # Nothing more is heard.


def test_what_is_said_of_a_log_that_is_not_followed_changes_nothing(batch):
    inbox = Inbox([])
    inbox.welcome([Reading("echo", ECHO, 0, 9)])
    inbox.batch(batch("echo", 1, "a"))
    inbox.missed(NoLongerKept("echo", ECHO, 0, 9, 9))
    inbox.fetched(Fetched(1, "echo", ECHO, 9))
    inbox.heads([Cursor("echo", ECHO, 9)])
    assert inbox.caught_up
    assert inbox.take(10) == []
    assert inbox.cursors() == ()


def test_a_flood_of_what_is_no_longer_kept_is_bounded_and_heals(inbox, monkeypatch):
    monkeypatch.setattr(inbox_module, "MOST_EVENTS", 3)
    inbox.heads([Cursor("echo", ECHO, 20)])
    for lost in range(10):
        inbox.missed(NoLongerKept("echo", ECHO, lost, lost + 1, 1))
    assert list(inbox.events) == [Missed("echo", 1)] * 3
    show(inbox, 9)
    assert not fetches(inbox)  # It may be on its way.
    assert fetches(inbox, ON_ITS_WAY) == [(7, "echo", 3)]


def test_a_flood_of_new_histories_is_bounded(inbox, monkeypatch):
    monkeypatch.setattr(inbox_module, "MOST_HINTS", 3)
    for life in range(10):
        inbox.welcome([Reading("echo", b"life%4d" % life, 0, 0)])
    assert list(inbox.events) == [Missed("echo", None)]


def test_of_new_histories_with_something_between_them_each_is_told(inbox, batch):
    for epoch in (b"echo---2", b"echo---3"):
        inbox.welcome([Reading("echo", epoch, 0, 0)])
        inbox.batch(batch("echo", 1, "a", epoch=epoch))
    kinds = [type(event) for event in inbox.take(9)]
    assert kinds == [Missed, Broadcast, Missed, Broadcast]


def test_that_a_log_is_another_one_is_told_however_many_events_there_are(inbox, batch, monkeypatch):
    monkeypatch.setattr(inbox_module, "MOST_HINTS", 3)
    for number in range(5):
        inbox.tell(Joined(number, "bob"))
    assert len(inbox.events) == 3
    for epoch in (b"echo---2", b"echo---3"):
        inbox.welcome([Reading("echo", epoch, 0, 0), Reading("direct", b"direct-2", 0, 0)])
    # Nothing can have come between them, so each once.
    assert [*inbox.events][3:] == [Missed("echo", None), Missed("direct", None)]
