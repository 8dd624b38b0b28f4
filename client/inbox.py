"""What the program has not taken yet, the readers of the logs that fill it, and the walks
through logs that go on beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from ..wire.errors import Code
from ..wire.messages import DIRECT_LOG, ECHO_LOG, Batch, Cursor, Fetch, Fetched, Missed, Reading
from . import events
from .browse import Browses, as_events
from .reader import Reader

MOST_EVENTS = 20_000
"""Events kept for a program that does not take them.  Then reading pauses, and goes on from
the log when there is room again."""

IN_A_FRAME = 16_000
"""Events that a frame brings at most: what was published is heard while there is room for any, and
then all of the frame is taken."""

MOST_HINTS = MOST_EVENTS + IN_A_FRAME + 5_000
"""Presence and the state of the connection cannot be fetched again: they may exceed all of that by
5000."""

_LOG_OF = {events.Broadcast: ECHO_LOG, events.Direct: DIRECT_LOG}


class Inbox:
    """Events in the order in which they are to be seen."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers = {reader.log: reader for reader in readers}
        self.events: deque[events.Event] = deque()
        self.browses = Browses()
        self._held = ""
        """Why the broker cannot store, in its words; empty if it can."""
        self.taken = 0
        """How many events were taken so far."""
        self._lives: dict[tuple[int, str], tuple[bytes, int]] = {}
        """By how many events are to be taken before: what a log becomes then, as the epoch and
        where reading began.  In that order."""
        self._epochs: dict[str, bytes] = {}
        """Of which life of each log the next event is; empty or missing: of one that cannot be
        told of."""
        self._taken: dict[tuple[str, bytes], int] = {}
        """How far the program has taken each life of a log, which it may not have shown yet."""

    @property
    def caught_up(self) -> bool:
        """Whether everything that is known to be said has been handed on."""
        return all(reader.caught_up for reader in self.readers.values())

    @property
    def has_room(self) -> bool:
        """For more of what is in logs; there is for the rest."""
        return len(self.events) < MOST_EVENTS

    @property
    def asks(self) -> bool:
        """Whether there is room for the answer to a FETCH, of thousands of events."""
        return len(self.events) < (MOST_EVENTS + 1) // 2

    def stuck(self, now: float) -> bool:
        """Whether something is missing for which there is no room before the program takes some."""
        times = [reader.due(now) for reader in self.readers.values()]
        wanted = any(when is not None and when <= now for when in times)
        return not self.has_room or (wanted and not self.asks)

    def _takes_more(self) -> bool:
        return len(self.events) < MOST_EVENTS + IN_A_FRAME

    def take(self, most: int) -> list[events.Event]:
        """The next events, at most *most*; the program has shown those that it took before."""
        self.shown()
        taken: list[events.Event] = []
        while self.events and len(taken) < most:
            taken += self._take_of_one_life(most - len(taken))
        if not self.events:
            # Also of what there is no event for.
            for log, reader in self.readers.items():
                self._note_taken(log, reader.epoch, reader.position)
        return taken

    def _take_of_one_life(self, most: int) -> list[events.Event]:
        """Some events, at least one, before any log becomes another one."""
        for at, _ in self._lives:
            most = min(most, at - self.taken)
            break
        popleft = self.events.popleft
        taken = [popleft() for _ in range(min(most, len(self.events)))]
        self.taken += len(taken)
        last = {type(event): event for event in taken}
        for event in last.values():
            if isinstance(event, events.Broadcast | events.Direct):
                log = _LOG_OF[type(event)]
                self._note_taken(log, self._epochs.get(log, b""), event.seq)
        self._enter_lives()
        return taken

    def _note_taken(self, log: str, epoch: bytes, position: int) -> None:
        if epoch:
            self._taken[log, epoch] = max(self._taken.get((log, epoch), 0), position)

    def _become(self, reader: Reader) -> None:
        """What comes from here on is of another life of a log."""
        log, now = reader.log, reader.epoch
        if reader.went_back:
            # A position of before would be taken for one of the new history.
            for at, (epoch, start) in self._lives.items():
                if at[1] == log and epoch == now:
                    self._lives[at] = b"", start
            if self._epochs.get(log) == now:
                self._epochs[log] = b""
            self._taken.pop((log, now), None)
        self._lives[self.taken + len(self.events), log] = now, reader.start
        self._enter_lives()

    def _enter_lives(self) -> None:
        """If the next event is the first of another life of a log, all of the one before was
        taken, and where reading began in this one is how far it was."""
        while self._lives:
            at, log = next(iter(self._lives))
            if at > self.taken:
                break
            self._epochs[log], start = self._lives.pop((at, log))
            self._note_taken(log, self._epochs[log], start)

    def look(self, start: int, stop: int) -> list[events.Event]:
        """Of what would be taken next, that from *start* to *stop*; it is not taken."""
        return list(islice(self.events, start, stop))

    def shown(self) -> None:
        """The program comes back, so it has shown what it took.  Not before: if it is killed over
        showing it, it is unread the next time."""
        for (log, epoch), position in self._taken.items():
            self.readers[log].has_shown(epoch, position)
        self._taken.clear()

    def tell(self, event: events.Event) -> None:
        """Adds an event that is in no log."""
        if len(self.events) < MOST_HINTS:
            self.events.append(event)

    def _tell_lost(self, missed: events.Missed) -> None:
        """Adds that a log is another one by now, however many events there are.  Nothing of it can
        have come since that was last told, if there is nothing else behind that."""
        for event in reversed(self.events):
            if event == missed:
                return
            if not isinstance(event, events.Missed):
                break
        self.events.append(missed)

    def notice(self, code: str, words: str) -> None:
        """The broker told something of itself.  That it cannot store is repeated every few
        seconds, as a sign of life: it is news at first, and when the reason is another one."""
        held = code == Code.CANNOT_STORE
        if held and words == self._held:
            return
        if held or code == Code.STORING:
            self._held = words if held else ""
        self.tell(events.Notice(code, words))

    def cursors(self) -> tuple[Cursor, ...]:
        """How far the program has read, for PING."""
        cursors = [reader.cursor() for reader in self.readers.values()]
        return tuple([cursor for cursor in cursors if cursor is not None])

    def fetches(self, now: float, ref: int, patience: float) -> Iterator[Fetch]:
        """What to ask for now, numbered from *ref* on; see `Reader.next_fetch`."""
        if self.asks:
            for reader in self.readers.values():
                fetch = reader.next_fetch(now, ref, patience)
                if fetch is not None:
                    ref += 1
                    yield fetch
        yield from self.browses.fetches(now, ref, patience)

    def due(self, now: float) -> Iterator[float]:
        """When there is something to ask."""
        if self.asks:
            for reader in self.readers.values():
                when = reader.due(now)
                if when is not None:
                    yield when
        yield from self.browses.due(now)

    # --- what the broker says -------------------------------------------------------------

    def welcome(self, readings: Iterable[Reading]) -> None:
        self._held = ""  # One that cannot store lets nobody in.
        for reading in readings:
            reader = self.readers.get(reading.log)
            if reader is None:
                continue
            first = not reader.epoch
            another = reader.welcome(reading)
            if first or another:
                self._become(reader)
            if another:
                self._tell_lost(events.Missed(reading.log, None))
        self.browses.again()

    def batch(self, batch: Batch) -> None:
        reader = self.readers.get(batch.log)
        if reader is not None:
            for piece in reader.offer(batch, self._takes_more):
                self.events.extend(as_events(*piece))
        self.browses.batch(batch)

    def missed(self, missed: Missed) -> None:
        reader = self.readers.get(missed.log)
        # Without room it is left to the next FETCH, as what is in a batch is.
        lost = reader.missed(missed) if reader is not None and self.has_room else 0
        if lost:
            self.events.append(events.Missed(missed.log, lost))
        self.browses.missed(missed)

    def fetched(self, fetched: Fetched) -> None:
        reader = self.readers.get(fetched.log)
        if reader is not None:
            reader.fetched(fetched)
        self.browses.fetched(fetched)

    def later(self, ref: int, when: float) -> None:
        """The broker answers FETCH *ref* not before *when*."""
        for reader in self.readers.values():
            reader.later(ref, when)
        self.browses.later(ref, when)

    def heads(self, heads: Iterable[Cursor]) -> None:
        for head in heads:
            reader = self.readers.get(head.log)
            if reader is not None:
                reader.learn_head(head)
