"""Who does not read: what waits for connections, in this process and in the kernel.

ZeroMQ keeps up to 128 frames for a client and 1000 for a subscriber (``sockets``), and the kernel
some MB more, until they are read.  What these are for one connection is bounded so; here it is for
all together.  The kernel tells what a peer has confirmed to have received, which it cannot feign.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter

from ..wire.limits import CURVE_OVERHEAD
from .allowance import network_of
from .connections import LONG, Connection, Connections
from .kernel import confirmed_by, has_ended
from .log import ECHO_TOPIC
from .sockets import FRAMES_FOR_A_SUBSCRIBER

MOST_UNREAD = 128 * 2**20
"""Bytes that may wait for clients, and as many that may for subscribers.  Beyond that a client for
whom LEAST wait gets nothing more, as if its pipe were full; and of the subscribers of the address
that keeps most, those go that are farthest behind.  All of them fetch what they missed."""

LEAST, ENOUGH = 64 * 1024, 2**20
"""Bytes that may wait for a client before it is asked how many it has confirmed: the first with
thousands of clients, the second with few."""

AT_A_TIME = 100
"""Connections that are asked at one look, at some 3 us each."""

ROUND = 16 * 2**20
"""Bytes that are published until subscribers are asked again."""

MARK_EVERY = FRAMES_FOR_A_SUBSCRIBER // 4
"""Frames after which it is noted how much was published: so it is known, to within a quarter more,
how many bytes they are that ZeroMQ keeps for one of them."""


class Slow:
    """Accounts for what *connections* are sent.  *secure*: whether it is encrypted."""

    def __init__(self, connections: Connections, secure: bool) -> None:
        self._callers = connections.callers
        self._subscribers = connections.subscribers
        self._box = CURVE_OVERHEAD if secure else 0
        self._enough = ENOUGH
        self._suspects: dict[Connection, None] = {}
        """Clients for whom more than that may wait, those next that were not asked for longest."""
        self.room = MOST_UNREAD
        """Bytes that may be given to clients until it is counted again what waits for them; below
        0, some are left out."""
        self.published = self._frames = 0
        """Bytes that were given to be published, and in how many frames of what is said."""
        self._marks = [0]
        """What `published` was at each MARK_EVERY of these."""
        self._round_at = 0
        """What that was when the last round began."""
        self._round: Iterator[Connection] | None = None
        self._behind: list[tuple[int, Connection]] = []
        """In this round: up to where in what was published subscribers have read that wait for
        more, and who they are."""

    def gave(self, identity: bytes, size: int) -> None:
        """A frame of so many bytes was given to ZeroMQ for a client."""
        caller = self._callers.get(identity)
        if caller is None:
            return  # It is gone, and nothing is kept for it.
        size += self._box
        caller.given += size + (2 if size < LONG else 9)
        self.room -= size
        if caller.given - caller.confirmed > self._enough:
            self._suspects[caller] = None

    def leaves_out(self, identity: bytes) -> bool:
        """Whether there is no room for a client until it has read more."""
        if self.room >= 0:
            return False
        caller = self._callers.get(identity)
        if caller is None or caller.given - caller.confirmed <= LEAST:
            return False
        return _ask(caller) > LEAST

    def hears_nothing(self, identity: bytes) -> bool:
        """The same; or whether the connection has ended: ZeroMQ lets go of it when all that it said
        is taken out, and takes answers for it until then."""
        caller = self._callers.get(identity)
        return self.leaves_out(identity) or (caller is not None and has_ended(caller.fd))

    def look(self) -> None:
        """Asks some clients how far they are."""
        self._enough = min(ENOUGH, max(LEAST, MOST_UNREAD // (len(self._callers) + 1)))
        for one in list(islice(self._suspects, AT_A_TIME)):
            del self._suspects[one]
            if _ask(one) > self._enough:
                self._suspects[one] = None
        unread = sum([one.given - one.confirmed for one in self._suspects])
        self.room = MOST_UNREAD - unread

    # --- subscribers ----------------------------------------------------------------------

    @property
    def subscribers(self) -> int:
        """How many may hear what is published."""
        return len(self._subscribers)

    def publishes(self, topic: bytes, size: int) -> None:
        """A frame of so many bytes was given to be published."""
        self.published += size
        # Those of other topics are small, and need not be among the frames that are kept for one.
        if topic == ECHO_TOPIC:
            self._frames += 1
            if self._frames % MARK_EVERY == 0:
                self._marks.append(self.published)

    def joined(self, subscriber: Connection) -> None:
        """*subscriber* hears what is published from now on."""
        subscriber.given = self.published

    def look_at_subscribers(self) -> Iterator[Connection]:
        """Asks some of them; those that are to be cut off."""
        if self._round is None and self.published - self._round_at >= ROUND:
            self._round_at = self.published
            self._round = iter(list(self._subscribers.values()))
        if self._round is not None and not self._ask_subscribers(self._round):
            self._round = None
            yield from self._too_far_behind()

    def _ask_subscribers(self, left: Iterator[Connection]) -> bool:
        """Asks some of those that are left in this round; whether there are more."""
        asked = 0
        for one in islice(left, AT_A_TIME):
            asked += 1
            told = confirmed_by(one.fd) if one.stands else None
            if told is None:
                continue
            confirmed, waits = told
            # `given` is where in what was published it was when it had confirmed so much.  With
            # topics and heads of frames it confirms more than that.
            one.given = min(one.given + confirmed - one.confirmed, self.published)
            one.confirmed = confirmed
            if waits:
                self._behind.append((one.given, one))
            else:
                one.given = self.published
        return asked == AT_A_TIME

    def _too_far_behind(self) -> Iterator[Connection]:
        """Those that keep others' words in memory, until it is little enough: a message is there
        once, for as long as one of them has not read it."""
        behind, self._behind = self._behind, []
        # Nobody waits for what is before.
        first = min([place for place, _ in behind], default=self.published)
        del self._marks[: bisect_left(self._marks, first)]
        if self._kept([place for place, _ in behind]) <= MOST_UNREAD:
            return iter(())
        crowds: dict[str, list[tuple[int, Connection]]] = {}
        for place, one in behind:
            crowds.setdefault(network_of(one.origin.address), []).append((place, one))
        # Of the address that keeps most, which need not be that with most of them, the farthest.
        largest = sorted(crowds.values(), key=lambda crowd: -self._kept([at for at, _ in crowd]))
        order = [found for crowd in largest for found in sorted(crowd, key=itemgetter(0))]
        places = [place for place, _ in order]

        def is_little(gone: int) -> bool:
            return self._kept(places[gone:]) <= MOST_UNREAD

        gone = bisect_left(range(len(order)), True, key=is_little)
        return iter([one for _, one in order[:gone]])

    def _kept(self, places: list[int]) -> int:
        """Bytes that are kept for subscribers who are at these *places*."""
        kept, upto = 0, 0
        marks, ahead = self._marks, FRAMES_FOR_A_SUBSCRIBER // MARK_EVERY
        for place in sorted(places):
            last = bisect_left(marks, place) + ahead
            end = marks[last] if last < len(marks) else self.published
            kept += end - max(place, upto)
            upto = end
        return kept


def _ask(client: Connection) -> int:
    """Bytes that wait for it; none, if it is gone."""
    told = confirmed_by(client.fd) if client.stands else None
    if told is None:
        client.given = client.confirmed
        return 0
    client.confirmed, _ = told
    # What ZeroMQ says itself, as the handshake and its heartbeats, was not counted.
    client.given = max(client.given, client.confirmed)
    return client.given - client.confirmed
