"""Who does not read: what waits for connections, in this process and in the kernel.

ZeroMQ keeps up to 128 frames for a client and 1000 for a subscriber (``sockets``), and the kernel
some MB more, until they are read.  What these are for one connection is bounded so; here it is for
all together.  The kernel tells what a peer has confirmed to have received, which it cannot feign.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from ..wire.limits import FRAME_TARGET
from .allowance import network_of
from .connections import LONG, Connection, Connections
from .kernel import confirmed_by
from .sockets import FRAMES_FOR_A_SUBSCRIBER

MOST_UNREAD = 128 * 2**20
"""Bytes that may wait for clients, and as many that may for subscribers.  Beyond that, of the
address for which most waits, those go for which most does.  They come again, and fetch the rest."""

LEAST, ENOUGH = 64 * 1024, 2**20
"""Bytes that may wait for a client before it is asked how many it has confirmed: the first with
thousands of clients, the second with few."""

AT_A_TIME = 100
"""Connections that are asked at one look, at some 3 us each."""

ROUND = 16 * 2**20
"""Bytes that are published until subscribers are asked again."""

MOST_FOR_A_SUBSCRIBER = FRAMES_FOR_A_SUBSCRIBER * FRAME_TARGET
"""Bytes that ZeroMQ keeps for one of them, about."""

BOX = 33
"""Bytes by which a message is longer when it is encrypted (CurveZMQ, rfc.zeromq.org/spec/26)."""


class Slow:
    """Accounts for what *connections* are sent.  *secure*: whether it is encrypted."""

    def __init__(self, connections: Connections, secure: bool) -> None:
        self._callers = connections.callers
        self._subscribers = connections.subscribers
        self._box = BOX if secure else 0
        self._enough = ENOUGH
        self._suspects: dict[Connection, None] = {}
        """Clients for whom more than that may wait, those next that were not asked for longest."""
        self.published = 0
        """Bytes that were given to be published."""
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
        if caller.given - caller.confirmed > self._enough:
            self._suspects[caller] = None

    def joined(self, subscriber: Connection) -> None:
        """*subscriber* hears what is published from now on."""
        subscriber.given = self.published

    def look(self) -> Iterator[Connection]:
        """Asks some how far they are; those that are to be cut off."""
        self._enough = min(ENOUGH, max(LEAST, MOST_UNREAD // (len(self._callers) + 1)))
        self._ask(AT_A_TIME)
        if self._unread > MOST_UNREAD:
            self._ask(len(self._suspects))
            while self._unread > MOST_UNREAD:
                yield self._slowest()
        if self._round is None and self.published - self._round_at >= ROUND:
            self._round_at = self.published
            self._round = iter(list(self._subscribers.values()))
        if self._round is not None and not self._ask_subscribers(self._round):
            self._round = None
            yield from self._too_far_behind()

    # --- clients --------------------------------------------------------------------------

    @property
    def _unread(self) -> int:
        """Bytes that may wait for all suspects."""
        return sum([one.given - one.confirmed for one in self._suspects])

    def _ask(self, number: int) -> None:
        """Asks so many of the suspects; whoever is none goes."""
        for one in list(islice(self._suspects, number)):
            del self._suspects[one]
            told = confirmed_by(one.fd) if one.stands else None
            if told is None:
                continue
            # What ZeroMQ says itself, as the handshake and its heartbeats, was not counted.
            one.confirmed, _ = told
            one.given = max(one.given, one.confirmed)
            if one.given - one.confirmed > self._enough:
                self._suspects[one] = None

    def _slowest(self) -> Connection:
        """The suspect for which most waits, of the address for which most does; none any more."""
        crowd: Counter[str] = Counter()
        for one in self._suspects:
            crowd[network_of(one.origin.address)] += one.given - one.confirmed
        network = max(crowd, key=crowd.__getitem__)
        slowest = max(
            [one for one in self._suspects if network_of(one.origin.address) == network],
            key=lambda one: one.given - one.confirmed,
        )
        del self._suspects[slowest]
        return slowest

    # --- subscribers ----------------------------------------------------------------------

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
        crowd = Counter([network_of(one.origin.address) for _, one in behind])
        behind.sort(key=lambda found: (crowd[network_of(found[1].origin.address)], -found[0]))
        while behind and self._kept([place for place, _ in behind]) > MOST_UNREAD:
            yield behind.pop()[1]

    def _kept(self, places: list[int]) -> int:
        """Bytes that are kept for subscribers who are at these *places*."""
        kept, upto = 0, 0
        for place in sorted(places):
            end = min(place + MOST_FOR_A_SUBSCRIBER, self.published)
            kept += max(end - max(place, upto), 0)
            upto = max(upto, end)
        return kept
