"""A walk through what was said: a log is read page by page, whether or not it is followed.

A browse is a reader of its own: it has a cursor, asks by FETCH, and takes the batches that
chain to the cursor.  A push of the same log that happens to chain is a true batch too.  It
confirms nothing, and heals as every reader does: what was not answered is asked again from
the cursor, also after a reconnect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from ..wire.batch import last_position, news
from ..wire.limits import MAX_FETCH
from ..wire.messages import Batch, Event, Events, Fetch, Fetched, Missed
from ..wire.shape import make
from . import events
from .events import Broadcast, Direct

MOST_EVENTS = 20_000
"""Events of one page.  A page is what one FETCH gives, or the beginning of it where texts are of a
few bytes; the rest is asked for again."""


class Browse:
    """Events of one log after a position, up to another.  Times are of a monotonic clock."""

    def __init__(
        self,
        log: str,
        epoch: bytes = b"",
        after: int = 0,
        upto: int | None = None,
        budget: int = MAX_FETCH,
    ) -> None:
        """*epoch*: empty for whatever life the log has now.  *upto*: the last position wanted;
        None for the newest at the time of asking.  *budget*: bytes of a page, about."""
        self.log = log
        self.epoch = epoch
        """Which life of the log it is, once something was answered."""
        self.head = 0
        """The newest position, when the log was asked last."""
        self.failed = False
        """Whether the log is no longer the one that was begun."""
        self.position = after
        """The cursor: the position of the last event that was taken in."""
        self._upto = upto
        self._budget = budget
        self._page: list[events.Event] = []
        self._ref = 0
        """Of the FETCH under way, or 0."""
        self._asked_from = after
        self._ask_again = 0.0

    @property
    def ready(self) -> bool:
        """Whether a page is there to be taken, or the end has come."""
        return self.over or (not self._ref and bool(self._page))

    @property
    def over(self) -> bool:
        """Whether there will be no more than what is there now."""
        return self.failed or (self._upto is not None and self.position >= self._upto)

    def take(self) -> list[events.Event]:
        """The events of a page; only then the next is asked for."""
        page, self._page = self._page, []
        return page

    def next_fetch(self, now: float, ref: int, patience: float) -> Fetch | None:
        """The FETCH to send now, if any: as for a `Reader`."""
        if self.over or (now < self._ask_again if self._ref else self._page):
            return None
        self._ref, self._asked_from = ref, self.position
        self._ask_again = now + patience
        return Fetch(ref, self.log, self.epoch, self.position, self._budget)

    def due(self, now: float) -> float | None:
        """When `next_fetch` has something to ask; None if only the program can bring that."""
        if self.over:
            return None
        if self._ref:
            return self._ask_again
        return None if self._page else now

    # --- what the broker says -------------------------------------------------------------

    def later(self, ref: int, when: float) -> None:
        """The broker answers FETCH *ref* not before *when*; then it is to be asked again."""
        if self._ref and ref == self._ref:
            self._ask_again = when

    def again(self) -> None:
        """The connection was made anew: what was asked over the former gets no answer."""
        self._ref = 0

    def _is_its(self, epoch: bytes) -> bool:
        """Whether something of that epoch answers what was asked."""
        if not self._ref or self.over or epoch != (self.epoch or epoch):
            return False
        self.epoch = epoch
        return True

    def batch(self, batch: Batch) -> None:
        # Between two pages nothing is taken, or a busy log would fill the memory.  A batch
        # beyond a hole is fetched later.
        if batch.prev > self.position or len(self._page) > MOST_EVENTS:
            return
        if self._is_its(batch.epoch):
            first, found = news(batch, self.position)
            self.position = max(self.position, last_position(batch))
            upto = self.position if self._upto is None else self._upto
            wanted = found[: max(upto - first + 1, 0)]
            self._page.extend(as_events(first, wanted))

    def missed(self, missed: Missed) -> None:
        if len(self._page) > MOST_EVENTS:
            return
        if missed.upto > self.position >= missed.after and self._is_its(missed.epoch):
            lost = missed.lost - (self.position - missed.after)
            if self._upto is not None:
                lost -= max(missed.upto - self._upto, 0)  # Of another walk.
            self.position = missed.upto
            self._page.append(events.Missed(missed.log, max(lost, 0)))

    def fetched(self, fetched: Fetched) -> None:
        """The answer to the FETCH is complete."""
        if fetched.ref != self._ref or not self._is_its(fetched.epoch):
            if fetched.ref == self._ref:
                self._ref = 0
            return
        self.head = fetched.head
        # No further than what there was at first, or a busy log would have no end; and never
        # beyond the newest, or the end would not be reached.
        self._upto = fetched.head if self._upto is None else min(self._upto, fetched.head)
        # A broker that says much in a turn may leave parts out; not to be asked at once again.
        if self.position > self._asked_from or self.over:
            self._ref = 0

    def refused(self, ref: int) -> bool:
        """The broker no longer has that log; False if *ref* is another's question."""
        if not ref or ref != self._ref:
            return False
        self.failed, self._ref = True, 0
        return True


class Browses:
    """The walks that are under way; each is told what concerns its log."""

    def __init__(self) -> None:
        self._all: list[Browse] = []

    def begin(self, browse: Browse) -> None:
        self._all.append(browse)

    def end(self, browse: Browse) -> None:
        """Nobody wants more of it."""
        self._all.remove(browse)

    def fetches(self, now: float, ref: int, patience: float) -> Iterator[Fetch]:
        """What to ask for now, numbered from *ref* on."""
        for browse in self._all:
            fetch = browse.next_fetch(now, ref, patience)
            if fetch is not None:
                ref += 1
                yield fetch

    def due(self, now: float) -> Iterator[float]:
        """When there is something to ask."""
        for browse in self._all:
            when = browse.due(now)
            if when is not None:
                yield when

    def later(self, ref: int, when: float) -> None:
        """What was asked by *ref* is to be asked again at *when*."""
        for browse in self._all:
            browse.later(ref, when)

    def again(self) -> None:
        """The connection was made anew."""
        for browse in self._all:
            browse.again()

    def batch(self, batch: Batch) -> None:
        for browse in self._of(batch.log):
            browse.batch(batch)

    def missed(self, missed: Missed) -> None:
        for browse in self._of(missed.log):
            browse.missed(missed)

    def fetched(self, fetched: Fetched) -> None:
        for browse in self._of(fetched.log):
            browse.fetched(fetched)

    def refused(self, ref: int) -> bool:
        """Whether the question *ref*, which the broker did not answer, was of one of them."""
        return any(browse.refused(ref) for browse in self._all)

    def _of(self, log: str) -> Iterator[Browse]:
        return (browse for browse in self._all if browse.log == log)


_make_broadcast, _make_direct = partial(make, Broadcast), partial(make, Direct)


def as_events(first: int, said: Events) -> Iterable[Broadcast | Direct]:
    """What lies in a log, from position *first* on, as what a program sees."""
    times, senders, tos, texts = said.times, said.senders, said.tos, said.texts
    positions = range(first, first + len(said))
    to_whom = {*tos}
    if to_whom == {""}:
        return map(_make_broadcast, zip(positions, times, senders, texts, strict=True))
    if "" not in to_whom and None not in to_whom:
        return map(_make_direct, zip(positions, times, senders, tos, texts, strict=True))
    return _each(zip(positions, said, strict=True))


def _each(numbered: Iterable[tuple[int, Event | None]]) -> Iterator[Broadcast | Direct]:
    for position, event in numbered:
        if event is None:
            continue  # Of a type that a later version added.
        if event.to:
            yield Direct(position, *event)
        else:
            yield Broadcast(position, event.time, event.sender, event.text)
