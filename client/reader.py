"""Reading one log: the cursor, the holes, and how they heal.

A push is a hint.  Whatever was lost on the way shows as a hole between the cursor and the
``prev`` of a batch, or as a head past the cursor, and FETCH heals it; there is no other way
of recovery (docs/protocol.md, "Logs").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from ..wire.batch import last_position, news
from ..wire.limits import MAX_FETCH
from ..wire.messages import (
    ECHO_LOG,
    Batch,
    Cursor,
    Events,
    Fetch,
    Fetched,
    Follow,
    Missed,
    Reading,
    Start,
)
from .starts import Since

MOST_AHEAD, MOST_EVENTS_AHEAD = 256, 20_000
"""Batches kept while a hole before them is fetched, and events in them, give or take a batch; more
are fetched too.  Batches are bounded in bytes, but 256 may hold a million events."""

ON_ITS_WAY = 0.2
"""Seconds without anything published after which what a PONG told of is fetched.  Another thread
sends the PONG, and it overtakes what is under way to all subscribers."""

MOST_LIVES = 100
"""Lives of a log of which it is kept how far they were read."""

Piece = tuple[int, Events]
"""Consecutive events of a log, and the position of the first."""


class Reader:
    """One followed log.  Times are seconds of a monotonic clock."""

    def __init__(self, log: str, since: Since) -> None:
        self.log = log
        self._since = since
        self.epoch = b""
        """Empty until the first WELCOME."""
        self._former = b""
        """That of the life before, if the log's data went back; else empty."""
        self.position = 0
        """The cursor: the position of the last event that was handed on."""
        self.start = 0
        """Where reading began in this epoch."""
        self._began = b"", 0
        """Where nothing had been handed on yet: an epoch and a position of it."""
        self._shown: dict[bytes, int] = {}
        """How far the program has shown what there was, by epoch, that of the last event last."""
        self._been: dict[bytes, int] = {}
        """The cursor in earlier lives of the log, by epoch: they may come back."""
        self.went_back = False
        """Whether the broker keeps less of the epoch of the last WELCOME than there was, so that
        positions of before are of other events now."""
        self._asked = 0
        """The cursor that the last HELLO told."""
        self.head = 0
        """The newest position that is known to be there, and that nothing under way brings."""
        self._told = 0
        """The newest position that a PONG told of, of what is published."""
        self._came = 0
        """The cursor when it was last seen that something came."""
        self._comes_until = 0.0
        """When what has not come by then is fetched."""
        self._ahead: deque[Batch] = deque()
        self._events_ahead = 0
        """How many are in them."""
        self._fetch_again = 0.0
        """While a FETCH is under way: when to take it, or its answer, for lost."""
        self._fetching = False
        self._ref = self._fetched_from = 0
        """Of the last FETCH: its number, and from where it was."""

    @property
    def caught_up(self) -> bool:
        return self.position >= max(self.head, self._told)

    def follow(self) -> Follow:
        """What HELLO asks for."""
        self._asked = self.position
        if self.epoch:
            return Follow(self.log, self.epoch, Start.AFTER, self.position)
        return Follow(self.log, b"", self._since.start, self._since.value)

    def has_shown(self, epoch: bytes, position: int) -> None:
        """The program has taken and shown what there was up to *position*.

        If nothing had been handed on there, that is nothing: whoever begins late in a log has not
        read what is before."""
        if (epoch, position) == self._began:
            return
        self._shown[epoch] = max(self._shown.pop(epoch, 0), position)
        _bound(self._shown)

    def cursor(self) -> Cursor | None:
        """How far the program has read, for PING: in this life of the log; or, as long as it has
        shown nothing of this, in the one before, or else in the last one of which it has.  None if
        it has shown nothing."""
        if not self._shown:
            return None
        known = [epoch for epoch in (self.epoch, self._former) if epoch in self._shown]
        epoch = known[0] if known else next(reversed(self._shown))
        return Cursor(self.log, epoch, self._shown[epoch])

    def welcome(self, reading: Reading) -> bool:
        """Begins, or goes on.  True if the log is another one than before."""
        first, another = not self.epoch, self.epoch not in (b"", reading.epoch)
        been = self._been.get(reading.epoch, 0) if another else self._asked
        self.went_back = reading.head < been
        if self.went_back:
            # Its data were put back by hand, or damaged, and it cannot know: the positions after
            # the head will be of other events.
            another = True
            self._shown.clear()
        if another:
            self._been.pop(self.epoch, None)  # Of the last few, as those may come back.
            self._been[self.epoch] = self.position
        if first or another:
            # Another broker may have been in the place of this one, which knows nothing of that.
            start = max(reading.start, min(self._was_at(reading), reading.head))
            if (self.epoch, self.position) == self._began:
                self._began = reading.epoch, start
            self.position = self.start = self._came = start
        _bound(self._been)
        self.epoch, self._former = reading.epoch, reading.former
        self.head = self._told = reading.head
        self._fetching = False
        self._ahead.clear()
        self._events_ahead = 0
        return another

    def _was_at(self, reading: Reading) -> int:
        """The cursor in this life of the log, or in the one before, where both are the same."""
        if reading.epoch in self._been:
            return self._been[reading.epoch]
        return min(self._been.get(reading.former, 0), reading.upto)

    def learn_head(self, head: Cursor) -> None:
        """A PONG told where the log's head is."""
        if head.epoch != self.epoch:
            return
        if self.log != ECHO_LOG:
            # What was pushed by the same connection came before the PONG.
            self.head = max(self.head, head.position)
            return
        self._told = max(self._told, head.position)

    def offer(self, batch: Batch, room: Callable[[], bool] = lambda: True) -> Iterator[Piece]:
        """Takes a batch; gives the events that are now next, in order.

        Without *room* it is only noted that they exist, and they are fetched later.  Batches
        that were waiting behind a hole follow while there is room; the rest is taken when the
        next batch comes, or fetched.
        """
        if batch.epoch != self.epoch:
            return  # Of another life of the log: pushed before the broker was restarted.
        self.head = max(self.head, last_position(batch))
        if not room():
            return
        if batch.prev > self.position:
            if len(self._ahead) < MOST_AHEAD and self._events_ahead < MOST_EVENTS_AHEAD:
                self._ahead.append(batch)
                self._events_ahead += len(batch.events)
            return
        yield self._take(batch)
        while self._ahead and self._ahead[0].prev <= self.position and room():
            batch = self._ahead.popleft()
            self._events_ahead -= len(batch.events)
            yield self._take(batch)

    def _take(self, batch: Batch) -> Piece:
        piece = news(batch, self.position)
        self.position = max(self.position, last_position(batch))
        return piece

    def missed(self, missed: Missed) -> int:
        """The broker no longer keeps some of what was asked for; how many of them."""
        if missed.epoch != self.epoch or missed.upto <= self.position:
            return 0
        if missed.after > self.position:
            return 0  # What lies between is not told of.
        # The answer is to a FETCH from `after`; the cursor may have moved on since.
        seen = max(self.position - missed.after, 0)
        self.position = missed.upto
        return max(missed.lost - seen, 0)

    def fetched(self, fetched: Fetched) -> None:
        """The answer to a FETCH is complete."""
        if fetched.epoch == self.epoch:
            self.head = max(self.head, fetched.head)
            # If it brought nothing, it is as if it were lost.
            self._fetching = self.position == self._fetched_from and not self.caught_up

    def next_fetch(self, now: float, ref: int, patience: float) -> Fetch | None:
        """The FETCH to send now, if there is a hole and none is under way; one that is not
        answered within *patience* seconds is taken for lost."""
        when = self.due(now)
        if when is None or now < when:
            return None
        self._fetching = True
        self._ref, self._fetched_from = ref, self.position
        self._fetch_again = now + patience
        return Fetch(ref, self.log, self.epoch, self.position, MAX_FETCH)

    def later(self, ref: int, when: float) -> None:
        """The broker answers FETCH *ref* not before *when*; then it is to be asked again."""
        if self._fetching and ref == self._ref:
            self._fetch_again = when

    def due(self, now: float) -> float | None:
        """When `next_fetch` has something to ask; None if there is no hole."""
        if self.caught_up:
            return None
        if self._fetching:
            return self._fetch_again
        if self.position < self.head:
            return now
        if self.position != self._came:
            self._came, self._comes_until = self.position, now + ON_ITS_WAY
        return self._comes_until


def _bound(lives: dict[bytes, int]) -> None:
    """Forgets the one that was put in first, if there are too many."""
    if len(lives) > MOST_LIVES:
        del lives[next(iter(lives))]
