from __future__ import annotations

import pytest

from chatbroker.broker.former import Former
from chatbroker.broker.journal import Commit, Kept, Page
from chatbroker.broker.log import Log, Row, pack_batches
from chatbroker.broker.members import nobody_in_particular
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.readers import Readers
from chatbroker.broker.registry import Registry
from chatbroker.broker.session import Session
from chatbroker.broker.user import Settings, User, proof_of
from chatbroker.wire.batch import pack_events
from chatbroker.wire.codec import FROM_BROKER, Decoder
from chatbroker.wire.limits import FRAME_TARGET, MAX_FETCH, MAX_INT
from chatbroker.wire.messages import Cursor, Event, Fetch, Follow, Start

ECHO_EPOCH, MAIL_EPOCH, OTHER_EPOCH = b"echo-000", b"mail-000", b"other-00"


class Library:
    """A public log and one mailbox, and a way to write into them."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.echo = Log("echo", ECHO_EPOCH)
        self.mailbox = Log("@alice", MAIL_EPOCH)
        registry = Registry(Settings(5556), bytes, Kept(b"", 0, {}, (), ()), nobody_in_particular())
        self.readers = Readers(self.echo, self.journal, registry)
        self.user = User("alice", proof_of(b"secret"), self.mailbox)
        self.alice = Session(b"alice's session.", self.user)
        self.observer = Session(b"nobody's session", None)

    def write(self, log: Log, count: int, time: int = 1000, text: str = "hello") -> list[Row]:
        """*count* events, in one turn."""
        log.pending.extend([(pack_events([Event(time, "bob", "", text)]), 1)] * count)
        rows = log.take(time)
        self.journal.commit(Commit(rows=rows))
        return rows

    def start(self, log: Log, start: Start, value: int = 0, epoch: bytes = b"") -> int:
        """Where Alice begins to read, at time 2000."""
        follow = Follow("direct" if log is self.mailbox else "echo", epoch, start, value)
        return self.readers.start(self.alice, log, follow, 2000)


@pytest.fixture
def library() -> Library:
    return Library()


def follow(session: Session, *logs: str) -> None:
    session.follows = {log: Follow(log, b"", Start.NOW, 0) for log in logs}


# --- which log ----------------------------------------------------------------------------


def test_everyone_finds_the_public_log(library):
    assert library.readers.find(library.alice, "echo") is library.echo
    assert library.readers.find(library.observer, "echo") is library.echo


def test_each_user_finds_their_own_mailbox_and_an_observer_none(library):
    assert library.readers.find(library.alice, "direct") is library.mailbox
    assert library.readers.find(library.observer, "direct") is None


@pytest.mark.parametrize("name", ["", "@alice", "@bob", "ECHO", "echo ", "direct\0", "dev"])
def test_nobody_can_name_a_mailbox_by_its_key_or_a_log_that_is_not(library, name):
    assert library.readers.find(library.alice, name) is None


def test_the_heads_are_those_of_the_logs_that_are_followed(library):
    library.write(library.echo, 3)
    follow(library.alice, "direct", "echo")
    assert library.readers.heads(library.alice) == (
        Cursor("direct", MAIL_EPOCH, 0),
        Cursor("echo", ECHO_EPOCH, 3),
    )
    follow(library.observer, "echo")
    assert library.readers.heads(library.observer) == (Cursor("echo", ECHO_EPOCH, 3),)
    follow(library.observer)
    assert library.readers.heads(library.observer) == ()


# --- where to start -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 2, MAX_INT])
def test_now_is_the_head_whatever_the_value(library, value):
    library.write(library.echo, 3)
    assert library.start(library.echo, Start.NOW, value) == 3


def test_after_is_the_given_position_but_not_past_the_head(library):
    library.write(library.echo, 3)
    for epoch in (b"", ECHO_EPOCH):
        assert library.start(library.echo, Start.AFTER, 0, epoch) == 0
        assert library.start(library.echo, Start.AFTER, 2, epoch) == 2
        assert library.start(library.echo, Start.AFTER, 3, epoch) == 3
        assert library.start(library.echo, Start.AFTER, MAX_INT, epoch) == 3


def test_who_read_another_life_of_a_log_has_read_nothing_of_this_one(library):
    for log in (library.echo, library.mailbox):
        library.write(log, 3)
        assert library.start(log, Start.AFTER, 2, OTHER_EPOCH) == 0


def test_unread_is_what_the_user_has_not_confirmed(library):
    library.write(library.mailbox, 3)
    assert library.start(library.mailbox, Start.UNREAD) == 0
    library.readers.confirm(library.alice, [Cursor("direct", MAIL_EPOCH, 2)])
    assert library.start(library.mailbox, Start.UNREAD) == 2


def test_unread_of_the_public_log_is_now(library):
    library.write(library.echo, 3)
    assert library.start(library.echo, Start.UNREAD) == 3


def test_an_observer_who_asks_for_what_is_unread_begins_now(library):
    library.write(library.echo, 3)
    unread = Follow("echo", b"", Start.UNREAD, 0)
    assert library.readers.start(library.observer, library.echo, unread, 2000) == 3


@pytest.fixture
def restored(library):
    """A library of which three events are a copy of what was there before, and two came since."""
    for name in ("echo", "mailbox"):
        log = getattr(library, name)
        library.write(log, 3)
        former = {log.key: Former(OTHER_EPOCH, 3)}
        kept = Kept(b"", 0, {log.key: log.head}, (), (), former)
        setattr(library, name, kept.log(log.key, log.epoch))
        library.write(getattr(library, name), 2)
    library.user.mailbox = library.mailbox
    return library


@pytest.mark.parametrize(("before", "start"), [(0, 0), (2, 2), (3, 3), (4, 3), (99, 3)])
def test_who_knows_the_life_before_goes_on_where_this_one_left_it(restored, before, start):
    """More was said in it than the copy has, and what came since has the same positions."""
    for log in (restored.echo, restored.mailbox):
        assert restored.start(log, Start.AFTER, before, OTHER_EPOCH) == start
        assert restored.start(log, Start.AFTER, before, b"none of ") == 0
        assert restored.start(log, Start.AFTER, before, log.epoch) == min(before, 5)


@pytest.mark.parametrize(("before", "read"), [(0, 0), (2, 2), (3, 3), (99, 3)])
def test_what_was_read_in_the_life_before_is_read(restored, before, read):
    assert confirmed(restored, Cursor("direct", b"none of ", before)) == 0
    assert confirmed(restored, Cursor("direct", OTHER_EPOCH, before)) == read


def test_a_log_that_is_no_copy_has_no_life_before(library):
    log = Log("echo", ECHO_EPOCH, 3)
    assert (log.reached(b"", 2), log.reached(ECHO_EPOCH, 2), log.reached(OTHER_EPOCH, 2)) == (
        2,
        2,
        0,
    )


def test_an_age_is_counted_back_from_the_brokers_time(library):
    for time in (500, 1000, 1500):
        library.write(library.echo, 2, time)
    assert library.start(library.echo, Start.AGE, 0) == 6
    assert library.start(library.echo, Start.AGE, 500) == 4
    assert library.start(library.echo, Start.AGE, 501) == 4
    assert library.start(library.echo, Start.AGE, 1000) == 2
    assert library.start(library.echo, Start.AGE, MAX_INT) == 0


def test_an_age_of_an_empty_log_is_its_beginning(library):
    assert library.start(library.mailbox, Start.AGE, 10**9) == 0


# --- how far one has read -----------------------------------------------------------------


def confirmed(library: Library, *cursors: Cursor) -> int:
    library.readers.confirm(library.alice, cursors)
    return library.start(library.mailbox, Start.UNREAD)


def test_reading_never_goes_back(library):
    library.write(library.mailbox, 5)
    assert confirmed(library, Cursor("direct", MAIL_EPOCH, 4)) == 4
    assert confirmed(library, Cursor("direct", MAIL_EPOCH, 1)) == 4


def test_nobody_has_read_what_was_not_said_yet(library):
    library.write(library.mailbox, 5)
    assert confirmed(library, Cursor("direct", MAIL_EPOCH, MAX_INT)) == 5


def test_a_cursor_of_another_log_or_another_life_confirms_nothing(library):
    library.write(library.mailbox, 5)
    library.write(library.echo, 5)
    assert confirmed(library, Cursor("direct", OTHER_EPOCH, 3)) == 0
    assert confirmed(library, Cursor("echo", MAIL_EPOCH, 3)) == 0
    assert confirmed(library, Cursor("@alice", MAIL_EPOCH, 3)) == 0


def test_an_observer_has_no_mail_to_confirm(library):
    library.readers.confirm(library.observer, [Cursor("direct", MAIL_EPOCH, 3)])
    assert confirmed(library) == 0


# --- fetching -----------------------------------------------------------------------------


def test_a_fetch_reads_the_log_it_names(library):
    rows = [*library.write(library.echo, 2), *library.write(library.echo, 1)]
    library.write(library.mailbox, 9)
    fetch = Fetch(1, "echo", ECHO_EPOCH, 0, MAX_FETCH)
    assert library.readers.fetch(library.echo, fetch) == Page(0, 0, rows)
    assert library.readers.fetch(library.echo, fetch._replace(after=2)).rows == rows[1:]


def test_nobody_gets_more_than_the_brokers_own_budget(library):
    for _ in range(2 * MAX_FETCH // FRAME_TARGET):
        library.write(library.echo, 1, text="x" * (FRAME_TARGET - 30))
    page = library.readers.fetch(library.echo, Fetch(1, "echo", ECHO_EPOCH, 0, MAX_INT))
    assert MAX_FETCH - FRAME_TARGET < sum(len(row.body) for row in page.rows) <= MAX_FETCH


# --- packing ------------------------------------------------------------------------------


def unpacked(pieces: list[bytes]) -> list:
    return [message for piece in pieces for message in Decoder(FROM_BROKER).decode(piece)]


def test_no_rows_make_no_batch(library):
    assert list(pack_batches("echo", library.echo, [])) == []


def test_rows_that_adjoin_share_a_batch(library):
    rows = [row for count in (1, 2, 3) for row in library.write(library.mailbox, count)]
    (batch,) = unpacked(list(pack_batches("direct", library.mailbox, rows)))
    assert (batch.log, batch.epoch) == ("direct", MAIL_EPOCH)
    assert (batch.prev, batch.first, len(batch.events)) == (0, 1, 6)


def test_a_batch_takes_about_the_target_and_the_chain_goes_on(library):
    rows = [row for _ in range(30) for row in library.write(library.echo, 3, text="x" * 1000)]
    pieces = list(pack_batches("echo", library.echo, rows))
    assert all(len(piece) < FRAME_TARGET + 100 for piece in pieces)
    assert 90 * 1000 / FRAME_TARGET < len(pieces) < 2 * 90 * 1000 / FRAME_TARGET
    position = 0
    for batch in unpacked(pieces):
        assert (batch.prev, batch.first) == (position, position + 1)
        position += len(batch.events)
    assert position == 90


def test_a_row_larger_than_the_target_is_a_batch_of_its_own(library):
    rows = [
        row
        for size in (10, FRAME_TARGET, 10)
        for row in library.write(library.echo, 1, text="x" * size)
    ]
    batches = unpacked(list(pack_batches("echo", library.echo, rows)))
    assert [len(batch.events) for batch in batches] == [1, 1, 1]
    assert [batch.prev for batch in batches] == [0, 1, 2]
