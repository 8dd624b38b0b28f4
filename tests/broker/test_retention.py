"""What may go, in which order: the account by itself, and with a journal that acts by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatbroker.broker.check import check_journal
from chatbroker.broker.database import FILE
from chatbroker.broker.journal import Commit
from chatbroker.broker.log import Row
from chatbroker.broker.retention import Retention
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.batch import pack_event
from chatbroker.wire.messages import Event

PLENTY = 1 << 40
LOOK = Retention.LOOK_EVERY


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def opened(path):
    """Opens the journal with these bounds, again if it is open."""
    journals: list[SqliteJournal] = []

    def open_it(
        keep: int | None = None, keep_bytes: int | None = None, crash: bool = False
    ) -> SqliteJournal:
        if journals:
            journals[-1]._db.close() if crash else journals[-1].close()
        journals.append(SqliteJournal(path, keep=keep, keep_bytes=keep_bytes))
        journals[-1].load(b"epoch-01")
        return journals[-1]

    yield open_it
    for journal in journals:
        journal.close()


def text(size: int, time: int = 1) -> bytes:
    """One packed event of about *size* bytes."""
    return pack_event(Event(time, "bob", "", "x" * size))


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
            self.journal.commit(Commit(rows=rows))


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
        journal.commit(Commit(dropped=[f"@once-{number}"]))
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
        journal.commit(Commit(dropped=[f"@once-{number}"]))
        tidied(journal, number)
    (stored,) = journal._db.execute("SELECT sum(length(data)) FROM bodies").fetchone()
    assert most // 2 < stored < most
    assert check_journal(path).faults == []


# --- floods -------------------------------------------------------------------------------


def test_room_is_made_as_fast_as_users_come_and_go(opened):
    """In one turn hundreds may leave a mailbox behind: one a step would never catch up."""
    journal = opened()
    filler = Filler(journal)
    for turn in range(5):
        names = [f"@{turn}-{number}" for number in range(400)]
        filler.say(*names, time=1, size=10)
        journal.commit(Commit(dropped=names))
        assert journal.tidy(1)
        assert len(journal._retention._logs) == 0
    assert tidied(journal, 1) == 0


def test_the_bound_holds_while_users_come_and_go(opened):
    most = 200_000
    journal = opened(keep_bytes=most)
    filler = Filler(journal)
    for turn in range(100):
        filler.say("echo", f"@once-{turn}", time=turn, size=10_000)
        journal.commit(Commit(dropped=[f"@once-{turn}"]))
        journal.tidy(turn)
    assert journal._retention.size <= most + 2 * 10_100


def test_room_is_made_as_fast_as_many_logs_fill(opened):
    most = 100_000
    journal = opened(keep_bytes=most)
    filler = Filler(journal)
    for turn in range(20):
        filler.say(*[f"@{number}" for number in range(600)], time=turn, size=10)
        journal.tidy(turn)
    assert tidied(journal, 20) <= 2
    assert journal._retention.size <= most


def test_a_log_that_is_dropped_while_it_is_cut_goes_whole(opened, path):
    journal = opened(keep=10)
    filler = Filler(journal)
    filler.say("@alice", "@bob", time=1, size=10, times=300)
    journal = opened(keep=10)
    assert journal.tidy(10 * LOOK)
    assert 0 < len(kept(journal, "@alice")) < 300
    journal.commit(Commit(dropped=["@bob", "@alice"]))
    tidied(journal, 10 * LOOK)
    assert journal._retention.size == 0
    assert journal._db.execute("SELECT count(*) FROM bodies").fetchone() == (0,)
    assert check_journal(path).faults == []
