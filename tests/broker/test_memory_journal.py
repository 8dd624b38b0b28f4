from __future__ import annotations

import tracemalloc
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chatbroker.broker import memory_journal
from chatbroker.broker.journal import MOST_ROWS, Commit, Page
from chatbroker.broker.log import Row
from chatbroker.broker.memory_journal import ROW_COST

PLENTY = 1_000_000
COST = ROW_COST


class MemoryJournal(memory_journal.MemoryJournal):
    """With commits of one kind each."""

    def store(self, rows: list[Row]) -> None:
        self.commit(Commit(rows=rows))
        self.settle()

    def drop(self, log: str) -> None:
        self.commit(Commit(dropped=[log]))
        self.settle()


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


def row(log: str, first: int, events: int = 1, time: int = 0, body: bytes = b"event") -> Row:
    return Row(log, first - 1, first, events, time, body)


def rows(log: str, count: int, events: int = 1, body: bytes = b"event") -> list[Row]:
    """*count* rows from position 1 on; the n-th is of time n."""
    return [row(log, 1 + events * n, events, n + 1, body) for n in range(count)]


def told(page: Page) -> list[int]:
    """The positions that the rows of *page* begin at."""
    return [found.first for found in page.rows]


def kept(journal: MemoryJournal, log: str) -> list[int]:
    """The positions that the rows of *log* begin at, as far as they are kept."""
    return told(journal.fetch(log, 0, PLENTY))


@contextmanager
def measured() -> Iterator[list[int]]:
    """Gives the bytes that were allocated within and are still held at its end."""
    held: list[int] = []
    tracemalloc.start()
    try:
        yield held
        held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()


# --- reading ------------------------------------------------------------------------------


def test_a_page_has_no_more_than_so_many_rows(journal):
    journal.store(rows("echo", MOST_ROWS + 2))
    assert told(journal.fetch("echo", 1, PLENTY)) == [*range(2, MOST_ROWS + 2)]
    assert told(journal.fetch("echo", MOST_ROWS + 1, PLENTY)) == [MOST_ROWS + 2]


def test_a_log_that_nobody_wrote_is_empty(journal):
    assert journal.fetch("echo", 0, PLENTY) == Page(0, 0, ())
    assert journal.position_at("echo", 0) == 0
    journal.drop("echo")


def test_what_was_committed_comes_back_byte_for_byte(journal):
    kept = rows("echo", 3)
    journal.store(kept)
    assert journal.fetch("echo", 0, PLENTY) == Page(0, 0, kept)


def test_logs_do_not_mix(journal):
    journal.store([row("echo", 1), row("@alice", 1, body=b"secret"), row("echo", 2)])
    assert told(journal.fetch("echo", 0, PLENTY)) == [1, 2]
    assert [found.body for found in journal.fetch("@alice", 0, PLENTY).rows] == [b"secret"]


def test_a_fetch_begins_after_the_cursor(journal):
    journal.store(rows("echo", 5))
    assert told(journal.fetch("echo", 3, PLENTY)) == [4, 5]
    assert told(journal.fetch("echo", 5, PLENTY)) == []
    assert told(journal.fetch("echo", 500, PLENTY)) == []


def test_a_cursor_within_a_row_gets_the_whole_row(journal):
    journal.store(rows("echo", 3, events=10))
    assert told(journal.fetch("echo", 10, PLENTY)) == [11, 21]
    assert told(journal.fetch("echo", 19, PLENTY)) == [11, 21]
    assert told(journal.fetch("echo", 20, PLENTY)) == [21]


def test_a_fetch_gives_about_its_budget_and_at_least_one_row(journal):
    journal.store(rows("echo", 5, body=b"x" * 100))
    assert told(journal.fetch("echo", 0, 0)) == [1]
    assert told(journal.fetch("echo", 0, 199)) == [1]
    assert told(journal.fetch("echo", 0, 200)) == [1, 2]
    assert told(journal.fetch("echo", 2, 299)) == [3, 4]


def test_fetching_on_from_the_last_row_reads_the_whole_log(journal):
    journal.store(rows("echo", 50, events=3))
    cursor, read = 0, []
    while page := journal.fetch("echo", cursor, 12).rows:
        read += page
        cursor = page[-1].last
    assert read == rows("echo", 50, events=3)


def test_an_age_is_found_by_the_time_of_rows(journal):
    journal.store(
        [row("echo", 1, 2, time=10), row("echo", 3, 1, time=20), row("echo", 4, 3, time=20)]
    )
    assert journal.position_at("echo", -(2**62)) == 0
    assert journal.position_at("echo", 10) == 0
    assert journal.position_at("echo", 11) == 2
    assert journal.position_at("echo", 20) == 2
    assert journal.position_at("echo", 21) == 6


# --- keeping within bounds ----------------------------------------------------------------


def test_the_oldest_go_when_there_are_too_many_events():
    journal = MemoryJournal(events=3)
    for one in rows("echo", 5):
        journal.store([one])
    assert journal.events == 3
    assert journal.fetch("echo", 0, PLENTY) == Page(2, 2, rows("echo", 5)[2:])


def test_the_oldest_go_when_they_are_too_large():
    journal = MemoryJournal(size=3 * (COST + 5))
    for one in rows("echo", 5):
        journal.store([one])
    assert journal.size == 3 * (COST + 5)
    assert told(journal.fetch("echo", 0, PLENTY)) == [3, 4, 5]


def test_all_that_it_keeps_is_in_memory():
    journal = MemoryJournal(events=3)
    for one in rows("echo", 5):
        journal.store([one])
    assert journal.in_memory == journal.size > 0


def test_the_oldest_of_the_largest_log_go_first():
    journal = MemoryJournal(events=5)
    journal.store([row("@alice", 1), *rows("echo", 3), row("@bob", 1), row("echo", 4)])
    assert (kept(journal, "@alice"), kept(journal, "@bob")) == ([1], [1])
    assert kept(journal, "echo") == [2, 3, 4]


def test_the_largest_log_is_the_one_of_most_bytes():
    journal = MemoryJournal(size=10 * COST)
    journal.store([*rows("@alice", 2, body=bytes(3 * COST)), *rows("echo", 3, body=b"")])
    assert kept(journal, "@alice") == [2]
    assert kept(journal, "echo") == [1, 2, 3]


def test_public_chatter_does_not_push_out_mail():
    journal = MemoryJournal(size=1000 * COST)
    users = [f"@user{number}" for number in range(50)]
    for user in users:
        journal.store(rows(user, 3, body=bytes(100)))
    for position in range(1, 10_001):
        journal.store([row("echo", position, body=bytes(100))])
    assert journal.size > 900 * COST
    assert [kept(journal, user) for user in users] == [[1, 2, 3]] * len(users)
    assert kept(journal, "echo")[-1] == 10_000


def test_a_flood_of_one_user_does_not_push_out_the_mail_of_another():
    journal = MemoryJournal(events=1000)
    journal.store(rows("@alice", 10))
    for one in rows("@mallory", 10_000):
        journal.store([one])
    assert kept(journal, "@alice") == [*range(1, 11)]


def test_of_many_logs_that_are_equally_large_each_pays_a_little():
    users = [f"@user{number}" for number in range(64)]
    journal = MemoryJournal(size=64 * 10 * (COST + 5))
    for user in users:
        journal.store(rows(user, 10))
    assert journal.events == 640
    journal.store([row(users[7], 11)])
    # A 64th of all is free then, and of none more than one is gone.
    assert journal.events == 640 - 10
    assert {len(kept(journal, user)) for user in users} == {9, 10}
    # And so it goes on: each keeps its newest, and as much as the others.
    for position in range(12, 200):
        for user in users:
            journal.store([row(user, position)])
    for user in users:
        there = kept(journal, user)
        assert there == [*range(200 - len(there), 200)]
        assert 9 <= len(there) <= 11


def test_the_largest_are_cut_to_the_same_size():
    journal = MemoryJournal(size=100 * COST)
    journal.store([*rows("echo", 60, body=b""), *rows("@alice", 40, body=b"")])
    journal.store(rows("@bob", 30, body=b""))
    sizes = [len(kept(journal, log)) for log in ("echo", "@alice", "@bob")]
    assert sizes == [34, 34, 30]


def test_when_room_is_made_there_is_room_for_a_while():
    """To find the largest log takes a look at all of them: not for each message."""
    journal = MemoryJournal(events=6400)
    journal.store(rows("echo", 6400))
    assert journal.events == 6400
    journal.store([row("echo", 6401)])
    assert journal.events == 6300


def test_a_reader_is_told_how_many_events_it_missed():
    journal = MemoryJournal(events=30)
    journal.store(rows("echo", 5, events=10))
    assert journal.fetch("echo", 0, 0)[:2] == (20, 20)
    assert journal.fetch("echo", 5, 0)[:2] == (20, 15)
    assert journal.fetch("echo", 19, 0)[:2] == (20, 1)
    assert journal.fetch("echo", 20, 0)[:2] == (0, 0)


def test_a_log_of_which_nothing_is_left_still_tells_what_was_missed():
    journal = MemoryJournal(events=2)
    journal.store([row("@alice", 1, events=2, body=bytes(1000)), row("echo", 1), row("echo", 2)])
    assert journal.fetch("@alice", 0, PLENTY) == Page(2, 2, [])
    assert journal.fetch("@alice", 2, PLENTY) == Page(0, 0, [])
    assert journal.position_at("@alice", 0) == 2
    assert kept(journal, "echo") == [1, 2]


def test_an_age_before_all_that_is_kept_begins_at_the_oldest_kept():
    journal = MemoryJournal(events=2)
    journal.store(rows("echo", 5))
    assert journal.position_at("echo", 0) == 3


def test_a_row_larger_than_all_bounds_leaves_an_empty_journal():
    journal = MemoryJournal(events=2)
    journal.store([row("echo", 1, events=3)])
    assert (journal.events, journal.size) == (0, 0)
    assert journal.fetch("echo", 0, PLENTY) == Page(3, 3, [])
    journal.store([row("echo", 4)])
    assert told(journal.fetch("echo", 3, PLENTY)) == [4]


def test_a_log_that_is_read_while_its_oldest_go_stays_in_order():
    journal = MemoryJournal(events=100)
    for one in rows("echo", 1000):
        journal.store([one])
        last = one.last
        assert told(journal.fetch("echo", last - 3, PLENTY)) == [*range(max(1, last - 2), last + 1)]
    assert told(journal.fetch("echo", 0, PLENTY)) == [*range(901, 1001)]


def test_what_was_dropped_is_not_held_any_longer():
    size = 1_000_000
    with measured() as held:
        journal = MemoryJournal(size=size)
        # In each log fewer rows than make it worth to shorten its list.
        for log in range(20):
            journal.store([row(f"@user{log}", n + 1, body=bytes(10_000)) for n in range(60)])
    assert journal.size <= size
    assert held[0] < 2 * size


def test_a_row_costs_about_what_is_accounted():
    with measured() as held:
        journal = MemoryJournal()
        for position in range(1, 2001):
            journal.store([row("echo", position, body=bytes(50))])
    assert 0.5 < held[0] / journal.size < 1.5


# --- dropping logs ------------------------------------------------------------------------


def test_a_dropped_log_is_gone_and_the_others_are_not(journal):
    journal.store([row("@alice", 1), row("echo", 1), row("@alice", 2)])
    journal.drop("@alice")
    assert journal.fetch("@alice", 0, PLENTY) == Page(0, 0, ())
    assert told(journal.fetch("echo", 0, PLENTY)) == [1]
    assert (journal.events, journal.size) == (1, COST + 5)


def test_the_next_log_of_a_name_knows_nothing_of_the_former():
    journal = MemoryJournal(events=2)
    journal.store(rows("@alice", 5))
    journal.drop("@alice")
    journal.store([row("@alice", 1, time=9, body=b"new")])
    assert journal.fetch("@alice", 0, PLENTY) == Page(0, 0, [row("@alice", 1, time=9, body=b"new")])
    assert journal.position_at("@alice", 0) == 0


def test_dropping_a_log_makes_room_for_others():
    journal = MemoryJournal(events=4)
    journal.store([*rows("@alice", 3), row("echo", 1)])
    journal.drop("@alice")
    journal.store([row("echo", position) for position in range(2, 5)])
    assert told(journal.fetch("echo", 0, PLENTY)) == [1, 2, 3, 4]
    journal.store([row("echo", 5)])
    assert told(journal.fetch("echo", 0, PLENTY)) == [2, 3, 4, 5]


def test_users_who_come_and_go_leave_nothing_behind():
    with measured() as held:
        journal = MemoryJournal()
        journal.store([row("echo", 1)])
        for visit in range(10_000):
            name = f"@visitor{visit}"
            journal.store([row(name, 1), row(name, 2)])
            journal.drop(name)
    assert (journal.events, journal.size) == (1, COST + 5)
    assert told(journal.fetch("echo", 0, PLENTY)) == [1]
    assert held[0] < 1_000_000


# --- against a plain list -----------------------------------------------------------------


LOGS = ("echo", "@alice", "@bob")


def level_of(sizes: Iterable[int], most: int) -> int:
    """The largest number to which all may be cut that they fit into *most*."""
    sizes = [*sizes]
    return bisect_right(range(most + 1), most, key=lambda n: sum(min(s, n) for s in sizes)) - 1


class Model:
    """What a journal is, without a thought to speed."""

    def __init__(self, events: int, size: int) -> None:
        self.most_events, self.most_size = events, size
        self.rows: dict[str, list[Row]] = {}
        """By log, the one that is there for longest first."""
        self.lost = dict.fromkeys(LOGS, 0)

    @property
    def events(self) -> int:
        return sum(row.events for rows in self.rows.values() for row in rows)

    @property
    def size(self) -> int:
        return sum(map(self.size_of, self.rows))

    def size_of(self, log: str) -> int:
        return sum(len(row.body) + COST for row in self.rows[log])

    def over(self, spare: int) -> tuple[bool, bool]:
        """Whether there are more events, and bytes, than may be, if a *spare*-th of it is to stay
        free."""
        events, size = self.most_events, self.most_size
        if spare:
            events, size = events - events // spare, size - size // spare
        return self.events > events, self.size > size

    def store(self, rows: list[Row]) -> None:
        for row in rows:
            self.rows.setdefault(row.log, []).append(row)
        if any(self.over(0)):
            self.shrink()

    def shrink(self) -> None:
        """The largest first gives what it has beyond the level, if still so much must go."""
        sizes = {log: self.size_of(log) for log in self.rows}
        events = {log: self.events_of(log) for log in self.rows}
        most = [m - m // 64 for m in (self.most_events, self.most_size)]
        levels = [level_of(all.values(), m) for all, m in zip((events, sizes), most, strict=True)]
        for log in sorted(sizes, key=lambda log: -sizes[log]):
            while (self.over(64)[0] and self.events_of(log) > levels[0]) or (
                self.over(64)[1] and self.size_of(log) > levels[1]
            ):
                self.lost[log] = self.rows[log].pop(0).last

    def events_of(self, log: str) -> int:
        return sum(row.events for row in self.rows[log])

    def drop(self, log: str) -> None:
        self.rows.pop(log, None)
        self.lost[log] = 0

    def of(self, log: str) -> list[Row]:
        return self.rows.get(log, [])

    def fetch(self, log: str, after: int, budget: int) -> Page:
        page: list[Row] = []
        for found in self.of(log):
            if found.last > after:
                if page and sum(len(row.body) for row in (*page, found)) > budget:
                    break
                page.append(found)
        lost = max(self.lost[log] - after, 0)
        return Page(self.lost[log] if lost else 0, lost, page)

    def position_at(self, log: str, time: int) -> int:
        kept = self.of(log)
        for found in kept:
            if found.time >= time:
                return found.prev
        return kept[-1].last if kept else self.lost[log]


class JournalMachine(RuleBasedStateMachine):
    """A journal and its model live through the same."""

    @initialize(events=st.integers(1, 200), rows=st.integers(1, 150))
    def begin(self, events: int, rows: int) -> None:
        size = rows * (COST + 20)
        self.journal, self.model = MemoryJournal(events, size), Model(events, size)
        self.heads = dict.fromkeys(LOGS, 0)
        self.time = 0

    @rule(
        turn=st.lists(
            st.tuples(st.sampled_from(LOGS), st.integers(1, 8), st.integers(0, 60)), max_size=8
        ),
        later=st.integers(0, 3),
        times=st.sampled_from([1, 1, 1, 30]),
    )
    def commit(self, turn: list[tuple[str, int, int]], later: int, times: int) -> None:
        for _ in range(times):
            self.time += later
            appended = []
            for log, events, size in turn:
                head = self.heads[log]
                appended.append(Row(log, head, head + 1, events, self.time, bytes(size)))
                self.heads[log] = head + events
            self.journal.store(appended)
            self.model.store(appended)

    @rule(log=st.sampled_from(LOGS))
    def drop(self, log: str) -> None:
        self.journal.drop(log)
        self.model.drop(log)
        self.heads[log] = 0

    @rule(log=st.sampled_from(LOGS), back=st.integers(-2, 90), budget=st.integers(0, 500))
    def fetch(self, log: str, back: int, budget: int) -> None:
        after = max(self.heads[log] - back, 0)
        missed_upto, lost, rows = self.journal.fetch(log, after, budget)
        assert Page(missed_upto, lost, [*rows]) == self.model.fetch(log, after, budget)

    @rule(log=st.sampled_from(LOGS), back=st.integers(-2, 90))
    def position_at(self, log: str, back: int) -> None:
        time = self.time - back
        assert self.journal.position_at(log, time) == self.model.position_at(log, time)

    @invariant()
    def accounting_is_exact(self) -> None:
        if hasattr(self, "journal"):
            assert (self.journal.events, self.journal.size) == (self.model.events, self.model.size)
            assert self.journal.events <= self.model.most_events
            assert self.journal.size <= self.model.most_size


TestJournalAgainstModel = JournalMachine.TestCase
TestJournalAgainstModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
