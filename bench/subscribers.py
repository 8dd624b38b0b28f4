"""The load's subscribers to the broker's broadcasts.

They all hear the same bytes.  So what is said is taken apart once, by whoever hears it first, and
the others compare: a subscriber costs about as little as one of a server whose messages are told
by their number of bytes alone.  Who hears anything else takes it apart alone from there on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from .counting import Sizes, Span, Tally, is_batch, span
from .readers import Observer
from .sessions import Unexpected
from .zmtp import BUFFER, Cutter, Inbox

_received = bytearray(BUFFER // 2)
"""What was received last.  Half of what a `Cutter` has room for: it may hold part of a frame."""
_view = memoryview(_received)


class Stream:
    """What is said after position *cursor*, as long as nothing is missing in it."""

    def __init__(self, cursor: int, sizes: Sizes) -> None:
        self._sizes = sizes
        self._cutter = Cutter()
        self._tally = Tally(cursor)
        self._said = bytearray()
        self._whole = True
        """Nothing is missing so far."""
        self._ends = [0]
        """Where in it frames end, of which something was counted."""
        self._cursors = [cursor]
        """What the last position is there."""

    def goes_on(self, at: int, said: memoryview) -> bool:
        """Whether it goes on with *said* after its first *at* bytes; it does if it is not known."""
        known = len(self._said) - at
        if len(said) <= known:
            return self._said.startswith(said, at)
        return self._whole and self._said.startswith(said[:known], at) and self._add(said[known:])

    def _add(self, said: memoryview) -> bool:
        """Adds what nobody heard before, unless something is missing in it."""
        end = len(self._said) + len(said)
        self._cutter.put(said)
        for batch in batches(self._cutter, self._sizes):
            self._whole = self._whole and self._tally.add(batch)
            self._ends.append(end - self._cutter.waiting)
            self._cursors.append(self._tally.cursor)
        if self._whole:
            self._said += said
        return self._whole

    def cursor(self, at: int) -> int:
        """The last position of which all is within its first *at* bytes."""
        return self._cursors[bisect_right(self._ends, at) - 1]

    def begun(self, at: int) -> memoryview:
        """Of its first *at* bytes those of the frame that has not ended."""
        return memoryview(self._said)[self._ends[bisect_right(self._ends, at) - 1] : at]


def batches(cutter: Cutter, sizes: Sizes) -> Iterator[Span]:
    """The batches in the frames that wait.  They are [topic, frame]; PUB's greeting is a topic
    alone."""
    buffer = cutter.buffer
    for _, at, stop in cutter.frames():
        body = is_batch(buffer, at)
        while at < stop and body:
            batch = span(buffer, at, sizes)
            yield batch
            at = batch.stop
        if body and at != stop:
            raise Unexpected("a batch is not of the expected size")


class Subscriber:
    """Counts what the broker publishes to one SUB."""

    def __init__(self, inbox: Inbox, observer: Observer) -> None:
        self._inbox = inbox
        self.sock = inbox.sock
        self._observer = observer
        self._tally = Tally(observer.start)
        self._stream: Stream | None = None
        """What it hears with the others, if it does."""
        self._before = self._at = 0
        """Its cursor when it began to, and how many bytes it has heard since."""
        self.fetches = 0
        """The observer's count tells."""
        self.heard = False
        """Its subscription has taken effect."""

    @property
    def cursor(self) -> int:
        """Up to which position it has heard all."""
        if self._stream is None:
            return self._tally.cursor
        return self._stream.cursor(self._at)

    @property
    def counted(self) -> int:
        """Messages since it was told to count."""
        if self._stream is None:
            return self._tally.counted
        return self._stream.cursor(self._at) - self._before

    def join(self, stream: Stream) -> None:
        """Hears *stream* from its beginning, which is what it hears next, and counts from 0."""
        self._stream, self._before, self._at = stream, self._tally.cursor, 0

    def read(self) -> None:
        """Receives once and counts."""
        if self._stream is None:
            self._inbox.fill()
            self._take_apart()
            return
        try:
            size = self.sock.recv_into(_received)
        except (BlockingIOError, TimeoutError):
            return
        if not size:
            raise ConnectionError("the peer closed the connection")
        if self._stream.goes_on(self._at, _view[:size]):
            self._at += size
        else:
            self._leave(self._stream)
            self._inbox.put(_view[:size])
            self._take_apart()

    def _leave(self, stream: Stream) -> None:
        self._tally.counted = self.counted
        self._tally.cursor = self.cursor
        self._inbox.put(stream.begun(self._at))
        self._stream = None

    def _take_apart(self) -> None:
        for batch in batches(self._inbox, self._observer.sizes):
            self.heard = True
            if not self._tally.add(batch):
                self._observer.want(self._tally)

    def ping(self) -> None:
        """The observer is alive for it."""

    def miss(self) -> None:
        """Nothing has come for a while, and something should."""
        if self._stream is not None:
            self._leave(self._stream)
        self._observer.want(self._tally)
