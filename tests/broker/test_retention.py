"""What may go, in which order: the account by itself, and with a journal that acts by it."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journals import refuse_to_commit, take

from chatbroker.broker.check import check_journal
from chatbroker.broker.cutting import ROW_COST
from chatbroker.broker.journal import Commit, JournalError
from chatbroker.broker.log import Row
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.retention import KeptLog, Retention, Task, level
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.batch import pack_events
from chatbroker.wire.messages import Event

PLENTY = 1 << 40
LOOK = Retention.LOOK_EVERY


def text(size: int, time: int = 1) -> bytes:
    """One packed event of about *size* bytes."""
    return pack_events([Event(time, "bob", "", "x" * size)])


class Filler:
    """Appends to logs, one row a call."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.journal = journal
        self.heads: dict[str, int] = {log.key: log.head for log in journal._logs.values()}

    def say(self, *logs: str, time: int, size: int = 1000, times: int = 1) -> None:
        """One message in all of *logs*, *times* times."""
        for _ in range(times):
            rows = []
            for log in logs:
                head = self.heads.get(log, 0)
                rows.append(Row(log, head, head + 1, 1, time, text(size)))
                self.heads[log] = head + 1
            take(self.journal, Commit(rows=rows))


def tidied(journal: SqliteJournal, time: int) -> int:
    """Tidies up to the end; how many steps it took."""
    steps = 0
    while journal.tidy(time):
        steps += 1
        assert steps < 10_000, "it never ends"
    return steps


def kept(journal: SqliteJournal, log: str) -> list[int]:
    """The positions that are kept."""
    return [row.first for row in journal.fetch(log, 0, PLENTY).rows]


# --- shared bodies ------------------------------------------------------------------------


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "in the tail"])
def test_mail_expires_though_the_other_end_of_the_conversation_is_gone(opened, fold):
    """The mailbox of a one-shot sender goes at once, and its bodies stay for one reader."""
    journal = opened(keep=100_000)
    filler = Filler(journal)
    for number in range(20):
        filler.say(f"@once-{number}", "@bob", time=number * LOOK)
        take(journal, Commit(dropped=[f"@once-{number}"]))
        if fold:
            tidied(journal, number)
    tidied(journal, 100_000 + 10 * LOOK)
    assert kept(journal, "@bob") == list(range(11, 21))
    tidied(journal, 100_000 + 20 * LOOK)
    assert kept(journal, "@bob") == []
    assert journal._retention.size == 0


def test_the_bound_holds_though_the_other_end_of_the_conversations_is_gone(opened, path):
    most = 100_000
    journal = opened(keep_bytes=most)
    filler = Filler(journal)
    for number in range(500):
        filler.say(f"@once-{number}", "@bob", time=number)
        take(journal, Commit(dropped=[f"@once-{number}"]))
        tidied(journal, number)
    (stored,) = journal._db.execute("SELECT sum(length(data)) FROM bodies").fetchone()
    assert most // 2 < stored < most
    assert check_journal(path).faults == []


# --- the account by itself ----------------------------------------------------------------


def account(keep: int | None, keep_bytes: int | None, *sizes: int) -> Retention:
    """Logs of so many bytes, numbered from 1 on; the n-th is n of age."""
    retention = Retention(keep, keep_bytes)
    for number, size in enumerate(sizes, 1):
        log = KeptLog(number, f"log-{number}", oldest=number, newest=number)
        retention.add(log, size)
    return retention


def planned(retention: Retention) -> list[int]:
    return list(map(attrgetter("id"), retention._tasks))


def tasks(retention: Retention) -> list[Task]:
    """What the next step is about."""
    return retention.step()[-1]


@pytest.mark.parametrize(
    ("sizes", "most", "each"),
    [
        ([], 10, 0),
        ([3], 10, 3),
        ([3], 2, 2),
        ([5, 5], 9, 4),
        ([1, 9, 9], 11, 5),
        ([9, 1, 4], 10, 5),
        ([9, 1, 4], 9, 4),
        ([9, 1, 4], 8, 3),
        ([2, 2, 2], 0, 0),
    ],
)
def test_a_level_takes_from_who_has_most(sizes, most, each):
    assert level(sizes, most) == each


@given(st.lists(st.integers(0, 1000)), st.integers(0, 20_000))
def test_a_level_is_the_highest_at_which_all_fit(sizes, most):
    def cut_to(each: int) -> int:
        return sum(min(size, each) for size in sizes)

    each = level(sizes, most)
    assert cut_to(each) <= most
    assert cut_to(each + 1) > most or cut_to(each) == sum(sizes)


def test_without_bounds_nothing_goes():
    retention = account(None, None, 1 << 50, 1)
    retention.look(1 << 50)
    assert tasks(retention) == []


def test_within_bounds_nothing_goes():
    retention = account(100, 1000, 400, 600)
    retention.look(101)
    assert tasks(retention) == []


def test_what_is_older_than_the_bound_goes():
    retention = account(100, None, 10, 10, 10, 0)
    retention.look(103)
    assert planned(retention) == [1, 2]
    assert tasks(retention)[0][1:] == (3, inf)


def test_ages_are_looked_at_now_and_then():
    retention = account(100, None, 10)
    retention.look(100)
    retention.look(99 + LOOK)
    assert tasks(retention) == []
    retention.look(100 + LOOK)
    assert planned(retention) == [1]


def test_the_largest_are_cut_to_the_same_size():
    retention = account(None, 6400, 100, 8000, 300)
    retention.look(1)
    # A SLACK-th below the bound, so that not every message makes room for itself.
    assert retention.step()[1:] == (2100, [(retention._logs[2], -inf, 5900)])
    retention = account(None, 640, 100, 8000, 300, 250)
    retention.look(1)
    assert [(task.log.id, task.above) for task in tasks(retention)] == [
        (2, 176),
        (3, 176),
        (4, 176),
    ]


def test_of_both_bounds_the_size_is_looked_at_first_and_then_the_age():
    retention = account(100, 1000, 10, 1900)
    retention.look(1000)
    assert planned(retention) == [2]
    retention.went(retention._logs[2], 1, 900, 2, True)
    retention.look(1000)
    assert planned(retention) == [1, 2]


def test_by_other_bounds_what_was_planned_does_not_go():
    retention = account(None, 64, 100, 8000)
    retention.look(1)
    retention.bound(None, None)
    assert tasks(retention) == []
    retention.bound(100, None)
    retention.look(102)
    assert planned(retention) == [1]


def test_who_had_its_turn_waits_for_the_others():
    retention = account(100, None, 10, 10, 10)
    retention.look(1000)
    retention.went(retention._logs[1], 1, 9, 1, False)
    assert planned(retention) == [2, 3, 1]
    retention.went(retention._logs[2], 1, 0, 2, True)
    assert planned(retention) == [3, 1]
    for number in (1, 3):
        retention.let_go(doomed(retention, number))
    retention.went(retention._logs[1], 2, 8, 1, False)
    assert [task.log.id for task in tasks(retention)] == [3, 1]


def doomed(retention: Retention, number: int) -> KeptLog:
    """That log, which is dropped."""
    log = retention._logs[number]
    log.dropped = 1
    retention.drop(log)
    return log


def test_a_log_that_is_dropped_takes_its_task_along_and_goes_when_it_may_before_all_else():
    retention = account(None, 64, 100, 8000, 90)
    retention.look(1)
    log = doomed(retention, 2)
    assert planned(retention) == [1, 3]
    retention.let_go(log)
    assert [task.log.id for task in tasks(retention)] == [2, 1, 3]
    assert tasks(retention)[0].before == inf
    retention.went(log, 5, 4000, 3, False)
    assert tasks(retention)[0].log is log
    retention.ended(log)
    assert (planned(retention), retention.size) == ([1, 3], 190)
    assert log not in retention.changed
    assert retention.free_ids == [2]


def test_what_is_dropped_does_not_have_others_go():
    retention = account(None, 1000, 400, 8000)
    retention.add(KeptLog(3, "log-3", size=5000, dropped=1), 0)
    retention.let_go(doomed(retention, 2))
    retention.look(1)
    assert retention.size == 13_400
    assert planned(retention) == []


def room(retention: Retention, time: int) -> int:
    retention.look(time)
    return retention.step()[0]


def test_a_step_has_more_room_the_more_there_is_beyond_the_bound():
    step = Retention.STEP
    retention = account(None, 6400, 6401)
    log = retention._logs[1]
    assert (room(retention, 1), retention.late) == (step, False)
    for bytes, times in ((98, 1), (1, 2), (99, 2), (1, 3), (1000, 13), (10_000, 32)):
        retention.add(log, bytes)
        assert (room(retention, 1), retention.late) == (times * step, times > 1)
    assert 32 * step == Retention.MOST
    retention.went(log, 1, 6400, 1, False)
    assert (room(retention, 1), retention.late) == (step, False)
    # Also if it is of logs that are to go.
    retention.add(KeptLog(2, "log-2", size=100, dropped=1), 0)
    assert room(retention, 1) == 2 * step


def test_what_is_too_much_goes_before_what_is_too_old():
    retention = account(100, 6400, 10, 300)
    retention.look(1000)
    assert planned(retention) == [1, 2]
    retention.add(retention._logs[2], 8000)
    retention.look(1000)
    assert [(task.log.id, task.above) for task in tasks(retention)] == [(2, 6290)]
    retention.went(retention._logs[2], 1, 6290, 5, True)
    # By age again, and not as if it were by size.
    retention.look(1000 + LOOK)
    assert planned(retention) == [1, 2]
    assert room(retention, 1000 + 2 * LOOK) == 2 * Retention.STEP


def test_what_is_dropped_meanwhile_saves_the_others():
    retention = account(None, 6400, 3000, 3300, 200)
    retention.look(1)
    assert retention.step()[1:] == (200, [(retention._logs[2], -inf, 3100)])
    doomed(retention, 1)
    assert retention.step()[1] == 0


def test_a_step_has_more_room_the_longer_it_takes_to_have_go_what_is_too_old():
    step = Retention.STEP
    retention = account(100, None, 10)
    assert room(retention, 10 * LOOK) == step
    retention.add(retention._logs[1], 1 << 40)
    rooms = [room(retention, 10 * LOOK + number * LOOK // 2) for number in (1, 2, 3, 4, 20, 1000)]
    assert rooms == [step, 2 * step, 2 * step, 3 * step, 9 * step, 9 * step]


def test_a_step_has_more_room_the_longer_there_are_logs_to_go():
    step = Retention.STEP
    retention = account(None, None, 10, 10, 10)
    assert room(retention, 5 * LOOK) == step
    retention.let_go(doomed(retention, 1))
    times = [room(retention, 5 * LOOK + n * LOOK) // step for n in (0, 1, 2, 3, 100)]
    assert times == [1, 2, 3, 4, 32]
    retention.let_go(doomed(retention, 2))
    retention.ended(retention._logs[1])
    assert room(retention, 15 * LOOK) == 11 * step
    retention.ended(retention._logs[2])
    assert room(retention, 15 * LOOK) == step
    retention.let_go(doomed(retention, 3))
    assert room(retention, 15 * LOOK) == step
    # Whatever the clock says.
    assert room(retention, 5 * LOOK) == step


def test_a_step_has_more_room_the_more_logs_are_to_go():
    retention = account(None, None, *[10] * 50_000)
    for count, more in ((3, 0), (1, 1), (396, 100), (49_600, None)):
        for _ in range(count):
            retention.let_go(doomed(retention, len(retention._dropped) + 1))
        most = Retention.MOST if more is None else Retention.STEP + more
        assert room(retention, 1) == most
    assert len(tasks(retention)) == Retention.MOST


# --- a journal that acts by it ------------------------------------------------------------


def test_messages_go_by_age_and_what_is_younger_stays(opened):
    journal = opened(keep=100_000)
    filler = Filler(journal)
    for number in range(1, 11):
        filler.say("echo", "@alice", time=number * LOOK)
    assert tidied(journal, 100_000) == 0
    tidied(journal, 100_000 + 3 * LOOK)
    assert kept(journal, "echo") == kept(journal, "@alice") == list(range(3, 11))
    tidied(journal, 100_000 + 50 * LOOK)
    assert kept(journal, "echo") == []
    assert journal.fetch("echo", 4, PLENTY)[:2] == (10, 6)
    # The numbers go on.
    filler.say("echo", time=60 * LOOK)
    assert kept(journal, "echo") == [11]


def test_unread_mail_of_others_survives_a_flood(opened, path):
    journal = opened(keep_bytes=200_000)
    filler = Filler(journal)
    filler.say("@alice", time=1, times=20)
    for number in range(50):
        filler.say("echo", time=2 + number, times=20)
        tidied(journal, 2 + number)
        assert journal._retention.size <= 200_000
    assert len(kept(journal, "@alice")) == 20
    echo = kept(journal, "echo")
    assert echo[-1] == 1000
    assert len(echo) > 100
    assert check_journal(path).faults == []


def test_whichever_bound_bites_first(opened):
    journal = opened(keep=50_000, keep_bytes=1_000_000)
    filler = Filler(journal)
    filler.say("echo", time=1, times=10)
    tidied(journal, 100_000)
    assert kept(journal, "echo") == []
    journal = filler.journal = opened(keep=50_000_000, keep_bytes=5_000)
    filler.say("echo", time=100_000, times=10)
    tidied(journal, 100_001)
    assert 0 < len(kept(journal, "echo")) < 5


def test_what_was_there_before_a_restart_counts_by_its_size(opened):
    Filler(opened()).say("echo", time=1, times=20)
    journal = opened(keep_bytes=10_000)
    tidied(journal, 2)
    assert 5 < len(kept(journal, "echo")) < 10


def test_a_step_takes_so_many_rows_at_most(opened, monkeypatch):
    monkeypatch.setattr(Retention, "STEP", 10)
    journal = opened(keep=1000)
    filler = Filler(journal)
    for number in range(7):
        filler.say("echo", time=1, times=5)
        filler.say("@gone", time=1, times=number)
    take(journal, Commit(dropped=["@gone"]))
    journal = opened(keep=1000)  # Nothing came since.
    before = left(journal)
    while journal.tidy(1_000_000):
        assert before - 10 <= left(journal) <= before
        before = left(journal)
    assert left(journal) == 0


def left(journal: SqliteJournal) -> int:
    """Rows, in the tables and after them."""
    (count,) = journal._db.execute("SELECT count(*) FROM rows").fetchone()
    return count + journal._tail.count


def test_what_is_not_folded_goes_too(opened, path):
    journal = opened(keep=1000)
    Filler(journal).say("echo", time=1, times=10)
    assert journal._tail.count == 10
    tidied(journal, 10_000)
    assert kept(journal, "echo") == []
    assert check_journal(path).faults == []


def test_where_nothing_is_to_go_nothing_is_written(opened):
    journal = opened(keep=1000, keep_bytes=1_000_000)
    Filler(journal).say("echo", time=1, times=10)
    changes = journal._db.total_changes
    assert tidied(journal, 500) == 0
    assert journal._db.total_changes == changes
    assert journal._tail.count == 10


@pytest.mark.parametrize("crash", [False, True])
def test_a_restart_in_the_middle_goes_on(opened, path, monkeypatch, crash):
    monkeypatch.setattr(Retention, "STEP", 3)
    journal = opened(keep=1000)
    filler = Filler(journal)
    filler.say("echo", "@gone", time=1, times=20)
    filler.say("echo", time=5000)
    take(journal, Commit(dropped=["@gone"]))
    journal.tidy(5500)
    journal.tidy(5500)
    for _ in range(20):
        journal = opened(keep=1000, crash=crash)
        assert check_journal(path).faults == []
        journal.tidy(5500)
        journal.tidy(5500)
    assert kept(journal, "echo") == [21]
    assert [line for (line,) in journal._db.execute("SELECT key FROM logs")] == ["echo"]


def test_the_file_shrinks_in_the_end(opened, path):
    journal = opened(keep=1000)
    filler = Filler(journal)
    filler.say("echo", time=1, size=10_000, times=600)
    filler.say("echo", time=50_000)
    journal._fold()
    (before,) = journal._db.execute("PRAGMA page_count").fetchone()
    tidied(journal, 50_001)
    (after,) = journal._db.execute("PRAGMA page_count").fetchone()
    assert after < before // 2
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert path.stat().st_size == after * 8192
    assert check_journal(path).faults == []


def test_a_disk_that_is_full_keeps_the_account_right(opened):
    journal = opened(keep=1000)
    filler = Filler(journal)
    filler.say("echo", time=1, times=10)
    journal._fold()
    journal._db.set_authorizer(refuse_to_commit)
    with pytest.raises(JournalError):
        journal.tidy(10_000)
    journal._db.set_authorizer(None)
    assert len(kept(journal, "echo")) == 10
    tidied(journal, 10_000)
    assert (kept(journal, "echo"), journal._retention.size) == ([], 0)


# --- what readers are told ----------------------------------------------------------------


def test_what_is_lost_is_told_as_by_the_journal_in_memory(opened):
    """The same losses, made in both: each fetch and each look-up of an age says the same."""
    disk, memory = opened(keep_bytes=6 * (ROW_COST + 1100)), MemoryJournal()
    for journal in (disk, memory):
        filler = Filler(disk)
        filler.heads = {}
        filler.journal = journal
        for number in range(1, 21):
            filler.say("echo", time=10 * number, size=1000)
            tidied(journal, 10 * number)
    lost = disk.fetch("echo", 0, PLENTY).missed_upto
    assert 10 < lost < 20
    lose(memory, lost)
    for after in range(25):
        for budget in (0, 1100, 2500, PLENTY):
            one, other = (journal.fetch("echo", after, budget) for journal in (disk, memory))
            assert (one[:2], list(one.rows)) == (other[:2], list(other.rows)), (after, budget)
    for time in range(0, 230, 5):
        assert disk.position_at("echo", time) == memory.position_at("echo", time), time


def lose(memory: MemoryJournal, upto: int) -> None:
    """Has it drop what it would drop for want of room."""
    there = memory._logs["echo"]
    while there.lost < upto:
        there.drop_oldest()


def test_of_a_log_that_is_empty_by_now_the_same_is_told(opened):
    disk, memory = opened(keep=1000), MemoryJournal()
    for journal in (disk, memory):
        filler = Filler(disk)
        filler.heads = {}
        filler.journal = journal
        filler.say("echo", time=1, times=5)
    tidied(disk, 50_000)
    lose(memory, 5)
    for restarted in (False, True):
        journal = opened(keep=1000) if restarted else disk
        for after in range(7):
            page, other = journal.fetch("echo", after, 9), memory.fetch("echo", after, 9)
            assert (page[:2], list(page.rows)) == (other[:2], list(other.rows))
        for time in (0, 1, 2):
            assert journal.position_at("echo", time) == memory.position_at("echo", time)


# --- floods -------------------------------------------------------------------------------


class Crowd:
    """Says a message in each of many logs, turn by turn, which are 10 ms long."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._filler = Filler(journal)
        self._journal = journal
        self._time = 0

    def turn(self, logs: list[str], gone: Sequence[str] = ()) -> None:
        """One, and what is done after it."""
        self._time += 10
        rows = []
        for log in logs:
            head = self._filler.heads.get(log, 0)
            rows.append(Row(log, head, head + 1, 1, self._time, text(20, self._time)))
            self._filler.heads[log] = head + 1
        take(self._journal, Commit(rows=rows, dropped=[*gone]))
        self._journal.tidy(self._time)


def test_room_is_made_as_fast_as_users_come_and_go(opened):
    """In one turn hundreds may leave a mailbox behind: one a step would never catch up."""
    journal = opened(sync="off")
    crowd = Crowd(journal)
    there = []
    for turn in range(100):
        names = [f"@{turn}-{number}" for number in range(400)]
        crowd.turn(names)
        crowd.turn([], gone=names)
        there.append(len(journal._retention._logs))
    assert max(there[50:]) <= 1.5 * max(there[:50])
    tidied(journal, 10_000)
    assert len(journal._retention._logs) == 0


def test_room_is_made_as_fast_as_who_said_much_leaves(opened, monkeypatch):
    monkeypatch.setattr(Retention, "LOOK_EVERY", 500)
    journal = opened(sync="off")
    crowd = Crowd(journal)
    names = [f"@{number}" for number in range(100)]
    sizes = []
    for turn in range(600):
        # Each has said something in a hundred turns.
        names.append(f"@{100 + turn}")
        crowd.turn(names[1:], gone=names[:1])
        del names[0]
        sizes.append(journal.size - journal._retention._staying)
    assert max(sizes[300:]) <= 1.5 * max(sizes[:300])


def test_room_is_made_as_fast_as_many_logs_fill(opened):
    most = 3_000_000
    journal = opened(sync="off", keep_bytes=most)
    crowd = Crowd(journal)
    names = [f"@{number}" for number in range(600)]
    for _ in range(200):
        crowd.turn(names)
        assert journal.size < 1.2 * most
    tidied(journal, 10_000)
    assert 0.97 * most < journal.size <= most


def test_a_lower_bound_is_come_down_to_while_more_comes(opened):
    journal = opened(sync="off")
    crowd = Crowd(journal)
    names = [f"@{number}" for number in range(100)]
    for _ in range(100):
        crowd.turn(names)
    most = journal.size // 2
    journal.retain(None, most)
    for _ in range(100):
        crowd.turn(names)
    assert journal.size < 1.1 * most


def test_what_is_too_much_does_not_wait_for_what_is_too_old(opened):
    journal = opened(sync="off")
    filler = Filler(journal)
    for _ in range(50):
        filler.say(*[f"@old-{number}" for number in range(100)], time=1, size=20)
    most = journal.size
    journal.retain(1000.0, most)
    crowd = Crowd(journal)
    crowd._time = 5_000_000
    names = [f"@{number}" for number in range(150)]
    for _ in range(100):
        crowd.turn(names)
        assert journal.size < 1.2 * most


def test_the_bound_holds_while_users_come_and_go(opened):
    most = 200_000
    journal = opened(keep_bytes=most)
    filler = Filler(journal)
    for turn in range(100):
        filler.say("echo", f"@once-{turn}", time=turn, size=10_000)
        take(journal, Commit(dropped=[f"@once-{turn}"]))
        journal.tidy(turn)
    assert journal._retention.size <= most + 2 * 10_100


def test_a_log_that_is_dropped_while_it_is_cut_goes_whole(opened, path):
    journal = opened(keep=10)
    filler = Filler(journal)
    filler.say("@alice", "@bob", time=1, size=10, times=300)
    journal = opened(keep=10)
    assert journal.tidy(10 * LOOK)
    assert 0 < len(kept(journal, "@alice")) < 300
    take(journal, Commit(dropped=["@bob", "@alice"]))
    tidied(journal, 10 * LOOK)
    assert journal._retention.size == 0
    assert journal._db.execute("SELECT count(*) FROM bodies").fetchone() == (0,)
    assert check_journal(path).faults == []


def test_no_step_is_too_long(opened, monkeypatch):
    monkeypatch.setattr(Retention, "STEP", 10)
    monkeypatch.setattr(Retention, "MOST", 100)
    journal = opened()
    names = [f"@{number}" for number in range(300)]
    for number in range(0, 300, 20):
        Filler(journal).say(*names[number : number + 20], time=1, size=10)
        take(journal, Commit(dropped=names[number : number + 20]))
        journal.tidy(1)
    before = left(journal)
    while journal.tidy(1):
        assert before - 100 <= left(journal) <= before
        before = left(journal)
    assert len(journal._retention._logs) == 0


def test_a_clock_that_was_set_back_does_not_keep_it_from_looking(opened):
    journal = opened(keep=1000)
    while journal.tidy(10**9):
        continue
    Filler(journal).say("echo", time=100)
    journal._fold()
    while journal.tidy(10_000):
        continue
    assert journal.fetch("echo", 0, PLENTY).rows == []
