"""What subscribers say: to what they subscribe, and that they have enough of it.

ZeroMQ carries it out by itself; here it is counted, and whose it is.
"""

from __future__ import annotations

from .connections import NO_FD, Connections
from .gate import Gate, meet
from .publisher import Publisher
from .slow import Slow
from .watch import Watch

SUBSCRIBED = b"\1"
"""How what an XPUB hands on of a subscription begins."""


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

    def hear(self) -> None:
        """Takes what came of them."""
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
                known = self._known[met.fd] = met
                self._slow.joined(known)
            fine = not part.more and part.bytes[:1] == SUBSCRIBED
            known.subscriptions += 1 if fine else self._most + 1
            if known.subscriptions > self._most:
                self._watch.cut(known, "more was subscribed to than there is")
