"""A journal in memory: what is said is gone with the process."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter, itemgetter

from .journal import MOST_ROWS, Commit, Kept, Page
from .log import Row
from .retention import level

_first = itemgetter(Row._fields.index("first"))
_time = itemgetter(Row._fields.index("time"))
_size = attrgetter("size")
_events = itemgetter(Row._fields.index("events"))

_Fields = tuple[str, int, int, int, int, bytes]
"""Those of a Row, as a plain tuple.  The garbage collector loses sight of a plain tuple without
containers in it; a million Rows it would look at again and again, for a tenth of a second each
time."""

_DROPPED: _Fields = ("", 0, 0, 0, 0, b"")
"""In the place of a row that was dropped, until its list is cut."""


class _Kept:
    """The rows of one log; ``rows[start:]`` are kept."""

    __slots__ = ("lost", "rows", "size", "start")

    def __init__(self) -> None:
        self.rows: list[_Fields] = []
        self.start = 0
        self.size = 0
        """Of the kept rows, with what they cost beside their events."""
        self.lost = 0
        """The position of the newest event that was dropped."""

    @property
    def events(self) -> int:
        """How many are kept."""
        if self.start == len(self.rows):
            return 0
        return Row(*self.rows[-1]).last - Row(*self.rows[self.start]).prev

    def drop_oldest(self) -> tuple[int, int]:
        """How many events that were, and what they took."""
        _, _, first, events, _, body = self.rows[self.start]
        self.rows[self.start] = _DROPPED
        self.start += 1
        size = len(body) + ROW_COST
        self.size -= size
        self.lost = first + events - 1
        # A list that is cut at its front one by one costs its length each time.
        if self.start > 64 and self.start * 2 > len(self.rows):
            del self.rows[: self.start]
            self.start = 0
        return events, size


# What a row costs beside its events: the tuple, its integers, the bytes object's head and its
# place in a list (sys.getsizeof: 104, 56 to 84, 33 and 8).
ROW_COST = 220


class MemoryJournal:
    """Keeps the newest events in memory: at most *events*, in at most *size* bytes.

    What is over goes from the largest logs, the oldest first, as on disk (``retention``): public
    chatter does not push out unread mail, nor one user's flood the mail of another.
    """

    durable = False

    SLACK = 64
    """When room is made, it is a SLACK-th of all: looking for the largest logs looks at all."""

    def __init__(self, events: int = 1_000_000, size: int = 256 * 1024 * 1024) -> None:
        self._most_events = events
        self._most_size = size
        self._logs: dict[str, _Kept] = {}
        self._unsettled: Commit | None = None
        self.events = 0
        self.size = 0

    def load(self, fresh: bytes) -> Kept:
        return Kept(fresh, 0, {}, (), ())

    def commit(self, commit: Commit) -> None:
        if self._unsettled is not None:
            self.settle()
        self._unsettled = commit

    def settle(self) -> None:
        commit, self._unsettled = self._unsettled, None
        if commit is None:
            return
        for log in commit.dropped:
            self._drop(log)
        for row in commit.rows:
            log, _, _, events, _, body = row
            kept = self._logs.get(log)
            if kept is None:
                kept = self._logs[log] = _Kept()
            size = len(body) + ROW_COST
            kept.rows.append((*row,))
            kept.size += size
            self.events += events
            self.size += size
        if self.events > self._most_events or self.size > self._most_size:
            self._make_room()

    def _make_room(self) -> None:
        """Whatever is larger than a level is cut down to it, be it in bytes or in events."""
        most_events = self._most_events - self._most_events // self.SLACK
        most_size = self._most_size - self._most_size // self.SLACK
        logs = sorted(self._logs.values(), key=_size, reverse=True)
        events = level([kept.events for kept in logs], most_events)
        size = level([kept.size for kept in logs], most_size)
        for kept in logs:
            while (self.events > most_events and kept.events > events) or (
                self.size > most_size and kept.size > size
            ):
                dropped, freed = kept.drop_oldest()
                self.events -= dropped
                self.size -= freed

    def fetch(self, log: str, after: int, budget: int) -> Page:
        self.settle()
        kept = self._logs.get(log)
        if kept is None:
            return Page(0, 0, ())
        missed_upto = kept.lost if kept.lost > after else 0
        # The row that holds after + 1 is the last one that begins at or before it.
        index = bisect_right(kept.rows, after + 1, lo=kept.start, key=_first) - 1
        index = max(index, kept.start)
        if index < len(kept.rows) and Row(*kept.rows[index]).last <= after:
            index += 1
        rows: list[Row] = []
        while index < len(kept.rows):
            row = Row(*kept.rows[index])
            if rows and (len(row.body) > budget or len(rows) == MOST_ROWS):
                break
            rows.append(row)
            budget -= len(row.body)
            index += 1
        return Page(missed_upto, missed_upto - after if missed_upto else 0, rows)

    def position_at(self, log: str, time: int) -> int:
        self.settle()
        kept = self._logs.get(log)
        if kept is None:
            return 0
        index = bisect_left(kept.rows, time, lo=kept.start, key=_time)
        if index < len(kept.rows):
            return Row(*kept.rows[index]).prev
        return Row(*kept.rows[-1]).last if len(kept.rows) > kept.start else kept.lost

    def _drop(self, log: str) -> None:
        kept = self._logs.pop(log, None)
        if kept is None:
            return
        self.size -= kept.size
        self.events -= sum(map(_events, kept.rows))  # Those that were dropped have none.

    @property
    def in_memory(self) -> int:
        return self.size

    @property
    def messages(self) -> int:
        return self.events

    @property
    def most_bytes(self) -> int:
        return self._most_size

    def retain(self, keep: float | None, keep_bytes: int | None) -> None:
        """Nothing: what memory holds has bounds of its own."""

    def tidy(self, time: int) -> bool:
        return False

    def close(self) -> None:
        self._logs.clear()
