"""What was said before: walks through the logs that one may see.

`History` reads through a `Client` that is there anyway; nothing it reads counts as read.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..wire.limits import MAX_INT
from .browse import Browse
from .client import Client
from .errors import NewHistory
from .events import Broadcast, Direct, Event, Missed

Wanted = Callable[[Event], bool]

FIRST_WINDOW = 500
MOST_WINDOW = 50_000
"""Positions that are looked through at a time on the way back; doubled each time."""


def anything(event: Event) -> bool:
    return True


class History:
    """The logs of *client*, as far as they are kept.

    Its iterators stream: a page of about 256 KiB or 20,000 events is held at a time.  All raise
    NewHistory if the broker lost what was being read, and Unreachable.  What is read of a log,
    by however many calls, is of one life of it; after NewHistory reading begins anew.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._epochs: dict[str, bytes] = {}
        """Of each log, the life that the first answer was of."""

    def walk(self, log: str, after: int = 0, upto: int | None = None) -> Iterator[Event]:
        """The events of *log* (``echo`` or ``direct``) after the position *after*, up to the
        position *upto*, or to the newest of now; and Missed for what is no longer kept."""
        for page in self._pages(Browse(log, self._epoch(log), after, upto)):
            yield from page

    def head(self, log: str) -> int:
        """The position of the newest event of *log*; 0 if there never was one."""
        browse = Browse(log, self._epoch(log), MAX_INT)
        for _ in self._pages(browse):
            continue
        return browse.head

    def hold(self, logs: Sequence[str]) -> None:
        """Has all that is read of *logs* be of one history, also where these are several."""
        # The first is asked again: it is the same, so nothing changed while the others were asked.
        for log in (*logs, *logs[:-1]):
            self.head(log)

    def position_at(self, log: str, time: int) -> int:
        """The position before the first event at or after *time* (milliseconds since 1970)."""
        first, high = self._first(log, 0), self.head(log)
        low = high if first is None else first.seq - 1
        # Times never fall within a log.  All up to *low* is earlier; nothing that is kept after
        # *high* is, and what is missing there may not be.
        while low < high:
            middle = (low + high) // 2
            found = self._first(log, middle)
            if found is None or found.time >= time:
                high = middle
            else:
                low = found.seq
        return low

    def _epoch(self, log: str) -> bytes:
        return self._epochs.get(log, b"")

    def _pages(self, browse: Browse) -> Iterator[list[Event]]:
        """The pages of *browse*.  What its log is read for afterwards is of the same life."""
        try:
            for page in self._client.browse(browse):
                self._epochs[browse.log] = browse.epoch
                yield page
        except NewHistory:
            self._epochs.clear()
            raise
        self._epochs[browse.log] = browse.epoch

    def _first(self, log: str, position: int) -> Broadcast | Direct | None:
        """The first message that is kept after *position*."""
        for page in self._pages(Browse(log, self._epoch(log), position, budget=0)):
            for event in page:
                if isinstance(event, Broadcast | Direct):
                    return event
        return None

    def _gap(self, log: str, after: int, upto: int) -> list[Event]:
        """What is missing after *after*, if nothing is kept up to the position *upto*."""
        missing: list[Event] = []
        for page in self._pages(Browse(log, self._epoch(log), after, upto, budget=0)):
            missing += page
            if not all(isinstance(event, Missed) for event in page):
                return []
        return missing

    def newest(
        self, log: str, count: int, wanted: Wanted = anything, after: int = 0
    ) -> list[Event]:
        """The newest *count* messages that are *wanted*, in their order, of those after the
        position *after*; and Missed among them."""
        return self.older(log, count, wanted, after)[0]

    def older(
        self,
        log: str,
        count: int,
        wanted: Wanted = anything,
        after: int = 0,
        upto: int | None = None,
    ) -> tuple[list[Event], int]:
        """The same of those up to the position *upto*, and up to which one to look for more;
        *after*, if there is none."""
        end = self.head(log) if upto is None else upto
        window = max(FIRST_WINDOW, min(count, MOST_WINDOW))
        found: list[Event] = []
        while end > after and _messages(found) < count:
            start = max(after, end - window)
            part = [e for e in self.walk(log, start, end) if isinstance(e, Missed) or wanted(e)]
            found = _joined(part, found)
            end, window = start, min(2 * window, MOST_WINDOW)
            if part and isinstance(part[0], Missed):
                missing = self._gap(log, after, end)
                if missing:
                    # Not something that is damaged, but all that is no longer kept.
                    found, end = _joined(missing, found), after
        newest = last(found, count)
        if len(newest) < len(found):
            end = getattr(newest[0], "seq", 1) - 1
        return newest, end

    def merged(self, walks: Iterable[Iterable[Event]]) -> Iterator[Event]:
        """Several walks as one, by the time of the events; each keeps its own order."""
        return (event for _, _, event in heapq.merge(*[_timed(n, w) for n, w in enumerate(walks)]))


def _joined(earlier: list[Event], later: list[Event]) -> list[Event]:
    """What is missing at the end of the one and at the beginning of the other is one gap."""
    if earlier and later:
        before, after = earlier[-1], later[0]
        if isinstance(before, Missed) and isinstance(after, Missed):
            lost = (before.lost or 0) + (after.lost or 0)
            return [*earlier[:-1], Missed(before.log, lost), *later[1:]]
    return earlier + later


def _messages(events: Iterable[Event]) -> int:
    return sum([not isinstance(event, Missed) for event in events])


def last(events: list[Event], count: int) -> list[Event]:
    """The last *count* messages of *events*, and what is missing between them."""
    messages = [number for number, event in enumerate(events) if not isinstance(event, Missed)]
    return events[messages[-count] :] if len(messages) > count else events


def _timed(number: int, walk: Iterable[Event]) -> Iterator[tuple[int, tuple[int, int], Event]]:
    """Each event with its time; what has none comes with the one before it."""
    time = 0
    for count, event in enumerate(walk):
        time = max(time, getattr(event, "time", 0))
        yield time, (number, count), event


def between(name: str, other: str) -> Wanted:
    """What was said in private between these two, who may be one."""
    two = {name, other}
    return lambda event: isinstance(event, Direct) and {event.sender, event.to} == two


def containing(text: str) -> Wanted:
    """What holds *text*, in capitals or not."""
    folded = text.casefold()
    return lambda event: isinstance(event, Broadcast | Direct) and folded in event.text.casefold()
