"""What subscribers say: to what they subscribe, and that they have enough of it.

ZeroMQ carries it out by itself; here it is counted, and whose it is.
"""

from __future__ import annotations

from .connections import NO_FD, Connections
from .gate import Gate, meet
from .publisher import Publisher
from .slow import Slow
from .watch import Watch


class Subscribers:
    """Those of *publisher*, guarded by *gate*, if any.  What they are is noted in *connections*,
    *slow* is told of new ones, and by *watch* those are cut off that subscribe to too much."""

    def __init__(
        self,
        publisher: Publisher,
        gate: Gate | None,
        connections: Connections,
        slow: Slow,
        watch: Watch,
        most: int,
    ) -> None:
        """*most*: topics that one connection may subscribe to, those that it gave up again
        included."""
        self._publisher = publisher
        self._gate = gate
        self._known = connections.subscribers
        self._slow = slow
        self._watch = watch
        self._most = most

    def allow(self, most: int) -> None:
        """Has each connection subscribe to *most* topics from now on."""
        self._most = most

    def hear(self, now: float) -> None:
        """Takes what came of them.  *now*: seconds of a monotonic clock."""
        for part in self._publisher.take():
            met, admitted = meet(part, self._gate)
            if met.fd == NO_FD:
                continue  # To the watch it is one that says nothing.
            if not admitted:
                # Taken back while this was on its way: ZeroMQ has subscribed it all the same.
                met.cut()
                continue
            known = self._known.get(met.fd)
            if known is None or not known.same_as(met):
                met.belongs_to(self._publisher.port)
                met.follows(known)
                known = self._known[met.fd] = met
                self._slow.joined(known)
            known.took_one(part.bytes)
            # Something else does nothing, and counts as well.  An empty message is too short to be
            # proven (``charges``); the watch bounds how many there are.
            known.subscriptions += bool(part.bytes)
            if known.subscriptions > self._most:
                self._watch.charge(known, "more was subscribed to than there is", now)
