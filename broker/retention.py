"""What of a journal may go, and in which order.

Two rules, whichever bites first: what is older than so long goes; and when all is larger than
so much, the oldest of the largest logs go, so that public chatter does not push out unread
mail, nor one user's flood the mail of another.  The work is done in small steps, which the
journal takes between turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice, takewhile

Wanted = Callable[[int, int], bool]
"""Whether the oldest row of a log is to go: given its time (milliseconds since 1970), and the
bytes that its log has with it."""


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


class Retention:
    """Keeps account of the logs, and tells what is to go.

    *keep*: milliseconds; *keep_bytes*: bytes; None for no bound.
    """

    STEP = 256
    """Rows that go at a time: some milliseconds.  More, if more came since the last time: else
    who says much in many logs, or comes and goes, would outrun what makes room."""

    MOST = 8192
    """Of them at a time, however many came: a tenth of a second."""

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
        self._dropped: deque[KeptLog] = deque()
        self._tasks: deque[tuple[KeptLog, Wanted]] = deque()
        self._next_look = 0
        self.size = 0
        """Bytes of all logs, those that are to go included."""
        self.highest = 0
        """The highest id that a log was ever seen with."""
        self._came = 0
        """Rows that came, and logs that were dropped, for which no step had room yet."""

    def bound(self, keep: int | None, keep_bytes: int | None) -> None:
        """Other bounds hold from the next look on."""
        self._keep, self.most_bytes = keep, keep_bytes
        self._next_look = 0

    def add(self, log: KeptLog, size: int) -> None:
        """A row of so many bytes was added to *log*; 0 for a log that is there already."""
        if log.id not in self._logs:
            self._logs[log.id] = log
            self.highest = max(self.highest, log.id)
            self.size += log.size
        log.size += size
        self.size += size
        if size:
            self.changed[log] = None
            self._came += 1

    def drop(self, log: KeptLog) -> None:
        """*log* is to go, all of it."""
        self.add(log, 0)
        self.changed[log] = None
        self._dropped.append(log)
        self._came += 1

    # --- what is to go --------------------------------------------------------------------

    def look(self, time: int) -> None:
        """Looks for something to do at *time* (milliseconds since 1970); cheap, mostly."""
        if self._tasks:
            return
        if self.most_bytes is not None and self.size > self.most_bytes:
            self._plan(self.most_bytes - self.most_bytes // self.SLACK)
        elif self._keep is not None and time >= self._next_look:
            self._next_look = time + self.LOOK_EVERY
            too_old = time - self._keep
            for log in self._logs.values():
                if log.size and log.oldest < too_old and not log.dropped:
                    self._tasks.append((log, lambda when, left: when < too_old))

    def _plan(self, most: int) -> None:
        """The largest logs are cut, down to half at most, lest one of many that are equally
        large pays for all; what is still too much then is cut at the next look."""
        over = self.size - sum([log.size for log in self._dropped]) - most
        if over <= 0:
            return
        stay = [log for log in self._logs.values() if not log.dropped]
        for log in sorted(stay, key=lambda log: log.size, reverse=True):
            if over <= 0 or not log.size:
                break
            cut = min(over, (log.size + 1) // 2)
            self._tasks.append((log, _larger_than(log.size - cut)))
            over -= cut

    def step(self) -> tuple[int, list[tuple[KeptLog, Wanted]]]:
        """How many rows to take in the next step, and from which logs, each once: of those
        whose turn comes first, which of their rows are to go.  No logs: nothing is to do."""
        room = min(max(self.STEP, 2 * self._came), self.MOST)
        self._came = max(self._came - room // 2, 0)
        tasks = [(log, _all) for log in islice(self._dropped, room)]
        while self._tasks and self._tasks[0][0].dropped:
            self._tasks.popleft()  # It goes anyway.
        others = islice(self._tasks, room - len(tasks))
        return room, tasks + list(takewhile(lambda task: not task[0].dropped, others))

    def went(self, log: KeptLog, lost: int, size: int, oldest: int, done: bool) -> None:
        """A step was taken: what *log* is now, and whether the task is *done*."""
        self.size -= log.size - size
        log.lost, log.size, log.oldest = lost, size, oldest
        if done and not log.dropped:
            self._tasks.popleft()

    def ended(self, log: KeptLog) -> None:
        """Nothing is left of a log that was dropped."""
        self._dropped.popleft()
        self.size -= log.size
        del self._logs[log.id]
        self.changed.pop(log, None)


def _all(when: int, left: int) -> bool:
    return True


def _larger_than(size: int) -> Wanted:
    return lambda when, left: left > size
