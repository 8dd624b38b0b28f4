"""What was said before, both logs as one, from the end to the beginning."""

from __future__ import annotations

from chatbroker.client.events import Broadcast, Direct, Missed
from chatbroker.client.history import last
from chatbroker.client.terminal.backlog import Backlog


class Kept:
    """A history that keeps two lists."""

    def __init__(self, echo, direct):
        self.logs = {"echo": echo, "direct": direct}
        self.asked = []

    def older(self, log, count, upto):
        self.asked.append((log, count, upto))
        found = [event for event in self.logs[log] if getattr(event, "seq", 0) <= upto]
        newest = last(found, count)
        return newest, newest[0].seq - 1 if len(newest) < len(found) else 0


def echo(seq, time):
    return Broadcast(seq, time, "bob", f"e{seq}")


def direct(seq, time):
    return Direct(seq, time, "bob", "alice", f"d{seq}")


def shown(events):
    return [getattr(event, "text", "missed") for event in events]


def test_both_logs_by_time_the_newest_first():
    kept = Kept(
        [echo(n, 10 * n) for n in range(1, 7)], [direct(1, 15), direct(2, 35), direct(3, 99)]
    )
    backlog = Backlog(kept, [("echo", 5), ("direct", 2)])  # The last of each is no backlog.
    assert shown(backlog.more(3)) == ["d2", "e4", "e5"]
    assert not backlog.exhausted
    assert shown(backlog.more(9)) == ["e1", "d1", "e2", "e3"]
    assert backlog.exhausted
    assert backlog.more(1) == []


def test_pages_follow_each_other_without_a_gap():
    kept = Kept([echo(n, n) for n in range(1, 1001)], [])
    backlog = Backlog(kept, [("echo", 1000), ("direct", 0)])
    everything = []
    while not backlog.exhausted:
        everything = backlog.more(70) + everything
    assert [event.seq for event in everything] == [*range(1, 1001)]
    assert {log for log, _, _ in kept.asked} == {"echo"}


def test_what_is_no_longer_kept_is_told_and_ends_it():
    backlog = Backlog(Kept([Missed("echo", 40), echo(41, 1)], []), [("echo", 41), ("direct", 0)])
    assert shown(backlog.more(10)) == ["missed", "e41"]
    assert backlog.exhausted


def test_what_lies_before_something_that_is_missing_is_there():
    kept = Kept([echo(1, 1), echo(2, 2), Missed("echo", 38), echo(41, 3), echo(42, 4)], [])
    backlog = Backlog(kept, [("echo", 42), ("direct", 0)])
    pages = [shown(backlog.more(1)) for _ in range(4)]
    # Nobody reads on from what is missing: it comes with what is after it, or before.
    assert pages[0] == ["e42"]
    assert [text for page in pages[::-1] for text in page] == ["e1", "e2", "missed", "e41", "e42"]
    assert backlog.exhausted


def test_a_log_that_was_never_used_is_not_asked():
    kept = Kept([], [])
    backlog = Backlog(kept, [("echo", 0), ("direct", 0)])
    assert backlog.exhausted
    assert backlog.more(5) == []
    assert kept.asked == []


def test_what_was_dropped_is_given_again():
    kept = Kept([echo(n, n) for n in range(1, 10)], [direct(1, 3)])
    backlog = Backlog(kept, [("echo", 5), ("direct", 1)])
    assert shown(backlog.more(2)) == ["e4", "e5"]
    backlog.rewind({"echo": 8})
    assert shown(backlog.more(6)) == ["e3", "e4", "e5", "e6", "e7", "e8"]
    backlog.rewind({"echo": 2, "direct": 1})
    assert shown(backlog.more(9)) == ["e1", "e2", "d1"]
