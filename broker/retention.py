"""What of a journal may go, and in which order.

Two rules, whichever bites first: what is older than so long goes; and when all is larger than
so much, the oldest of the largest logs go, down to a level that is the same for all of them, so
that public chatter does not push out unread mail, nor one user's flood the mail of another.  The
work is done in small steps, which the journal takes between turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from math import inf
from typing import NamedTuple

LARGE = 8192
"""Bytes from which on a row is more work than a small one: its body lies in pages of its own."""


class KeptLog:
    """A log as the journal keeps it.  Times are milliseconds since 1970."""

    __slots__ = ("dropped", "head", "id", "key", "lost", "newest", "oldest", "size")

    def __init__(
        self,
        id: int,
        key: str,
        head: int = 0,
        lost: int = 0,
        size: int = 0,
        oldest: int = 0,
        newest: int = 0,
        dropped: int = 0,
    ) -> None:
        self.id = id
        self.key = key
        self.head = head
        """The position of the newest event."""
        self.lost = lost
        """The position of the newest event that is no longer kept."""
        self.size = size
        """Bytes.  A body that it shares with another log counts in full for both: the other may
        go first, and it takes no less then."""
        self.oldest = oldest
        """The time of the oldest row that is kept."""
        self.newest = newest
        """The time of the newest row, kept or not."""
        self.dropped = dropped
        """1 if its owner is gone for good, and it is to go, all of it."""

    def line(self) -> tuple[int, str, int, int, int, int, int, int]:
        """As a line of its table."""
        return (self.id, self.key, *self.values()[:-1])

    def values(self) -> tuple[int, int, int, int, int, int, int]:
        """What changes of it, and its id."""
        return (
            self.head, self.lost, self.size, self.oldest, self.newest, self.dropped, self.id
        )  # fmt: skip


class Task(NamedTuple):
    """Which of the oldest rows of *log* are to go."""

    log: KeptLog
    before: float
    """Those that are older than this; milliseconds since 1970."""
    above: float
    """And those with which the log is larger than so many bytes, while all logs are too large."""


def work(size: int) -> int:
    """What it is to have a row go that takes *size* bytes: so many small ones."""
    return 1 + size // LARGE


def level(sizes: Iterable[int], most: int) -> int:
    """What each may keep, if all are to keep *most* together and who has less keeps all of it."""
    ascending = sorted(sizes)
    for number, size in enumerate(ascending):
        others = len(ascending) - number
        if size * others > most:
            return most // others
        most -= size
    return ascending[-1] if ascending else 0


class Retention:
    """Keeps account of the logs, and tells what is to go.

    *keep*: milliseconds; *keep_bytes*: bytes; None for no bound.
    """

    STEP = 256
    """Small rows that go at a time: some milliseconds.  More, the further it is behind: else who
    says much in many logs, or comes and goes, would outrun it."""

    MOST = 8192
    """Of them at a time, however far: a tenth of a second or two.  What comes in a turn is less."""

    PATIENT = 8
    """Times as many more at the most, if it is behind with what is too old."""

    DROPPED = 4
    """Logs that wait to go, one row more for each so many."""

    SLACK = 64
    """When room is made, it is a SLACK-th of all: looking for the largest logs looks at all."""

    LOOK_EVERY = 10_000
    """Milliseconds between two looks for what is too old."""

    def __init__(self, keep: int | None, keep_bytes: int | None) -> None:
        self._keep = keep
        self.most_bytes = keep_bytes
        """None for any amount."""
        self._logs: dict[int, KeptLog] = {}
        self.changed: dict[KeptLog, None] = {}
        """The logs that changed since their lines were written."""
        self._dropped: dict[KeptLog, None] = {}
        """Those that are to go, all of them, and may."""
        self._tasks: dict[KeptLog, Task] = {}
        self._next_look = 0
        self.size = 0
        """Bytes of all logs, those that are to go included."""
        self._staying = 0
        """Of the others."""
        self._most = 0
        """What these are to be cut to."""
        self.highest = 0
        """The highest id that a log was ever seen with."""
        self.free_ids: list[int] = []
        """Those that no log has any more."""
        self._begun = 0
        """When the tasks were planned; milliseconds since 1970."""
        self._waiting = 0
        """Since when there are dropped logs."""
        self._slack = 0
        """The bytes that are to be free then; 0, if it is not by size."""
        self._room = self.STEP
        """For the next step."""
        self.late = False
        """Whether it is behind."""

    def bound(self, keep: int | None, keep_bytes: int | None) -> None:
        """Other bounds hold from the next look on, and what was planned by the others no more."""
        self._keep, self.most_bytes = keep, keep_bytes
        self._next_look = 0
        self._tasks.clear()

    def add(self, log: KeptLog, size: int) -> None:
        """A row of so many bytes was added to *log*; 0 for a log that is there already."""
        if log.id not in self._logs:
            self._logs[log.id] = log
            self.highest = max(self.highest, log.id)
            self.size += log.size
            self._staying += 0 if log.dropped else log.size
        if size:
            log.size += size
            self.size += size
            self._staying += size
            self.changed[log] = None

    def drop(self, log: KeptLog) -> None:
        """*log* is to go, all of it, as soon as it may: see `let_go`."""
        self.changed[log] = None
        self._staying -= log.size
        self._tasks.pop(log, None)

    def let_go(self, log: KeptLog) -> None:
        """*log*, which was dropped, may go."""
        self._dropped[log] = None

    # --- what is to go --------------------------------------------------------------------

    def look(self, time: int) -> None:
        """Looks for something to do at *time* (milliseconds since 1970); cheap, mostly."""
        if not self._dropped:
            self._waiting = time
        over = self.most_bytes is not None and self._staying > self.most_bytes
        # What is too much goes before what is too old.
        if not self._tasks or (over and not self._slack):
            self._begun, self._slack = time, 0
            if self.most_bytes is not None and over:
                self._plan(self.most_bytes)
            elif self._keep is not None and not 0 < self._next_look - time <= self.LOOK_EVERY:
                # Also if the clock was set back: not when it is as late again.
                self._next_look = time + self.LOOK_EVERY
                too_old = time - self._keep
                for log in self._logs.values():
                    if log.size and log.oldest < too_old and not log.dropped:
                        self._tasks[log] = Task(log, too_old, inf)
        behind = self._behind(time)
        self.late = behind > 0
        more = self.STEP * behind + len(self._dropped) // self.DROPPED
        self._room = min(self.STEP + more, self.MOST)

    def _behind(self, time: int) -> int:
        """How far it is behind: the most of how often a slack is taken beyond the bound, how many
        looks the tasks by age take, and how many there have been dropped logs.

        After a month without a broker much is too old, and nobody waits for its room: so there it
        is patient."""
        behind = max((time - self._waiting) // self.LOOK_EVERY, 0)
        if self._tasks and not self._slack:
            behind = max(behind, min((time - self._begun) // self.LOOK_EVERY, self.PATIENT))
        if self.most_bytes is not None:
            slack = max(self.most_bytes // self.SLACK, 1)
            behind = max(behind, (self.size - self.most_bytes) // slack)
        return behind

    def _plan(self, most: int) -> None:
        """Whatever is larger than a level is cut down to it.

        Logs that are equally large are cut by little each: what goes of them is of the same
        turns then, whose bodies lie side by side, and none of them pays for all."""
        stay = [log for log in self._logs.values() if not log.dropped]
        self._slack = max(most // self.SLACK, 1)
        self._most = most - self._slack
        each = level([log.size for log in stay], self._most)
        self._tasks = {log: Task(log, -inf, each) for log in stay if log.size > each}

    def step(self) -> tuple[int, int, list[Task]]:
        """How many small rows to take in the next step, by how many bytes all logs are too large,
        and the tasks whose turn comes first.  No tasks: nothing is to do."""
        dropped = (Task(log, inf, 0) for log in self._dropped)
        tasks = list(islice(chain(dropped, self._tasks.values()), self._room))
        return self._room, max(self._staying - self._most, 0), tasks

    def went(self, log: KeptLog, lost: int, size: int, oldest: int, done: bool) -> None:
        """A step was taken: what *log* is now, and whether the task is *done*."""
        gone = log.size - size
        log.lost, log.size, log.oldest = lost, size, oldest
        self.size -= gone
        # The others come first, before it is its turn again.
        if log.dropped:
            self._dropped[log] = self._dropped.pop(log)
            return
        self._staying -= gone
        task = self._tasks.pop(log)
        if not done:
            self._tasks[log] = task

    def ended(self, log: KeptLog) -> None:
        """Nothing is left of a log that was dropped."""
        del self._dropped[log]
        self.size -= log.size
        del self._logs[log.id]
        self.changed.pop(log, None)
        self.free_ids.append(log.id)
