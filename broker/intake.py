"""What comes in: frames of clients, subscriptions, handshakes, and by which connections.

An edge: it takes from the sockets and hands to the core.
"""

from __future__ import annotations

import logging
import time
from collections import deque

import zmq

from ..wire.errors import Code
from .connections import Connection, Connections
from .core import Broker
from .descriptors import Descriptors
from .gate import MARK, Gate
from .origin import Origin

log = logging.getLogger("chatbroker")

MOST_BYTES = 256 * 1024
"""Bytes drained in one turn, so that a turn of full frames is not a tenth of a second: who is
acknowledged early sends on while the rest is handled."""

MOST_SECONDS = 0.05
"""Seconds after which no further frame is begun in a turn: a frame may hold thousands of tiny
questions, and others wait for their answers."""

MOST_GONE = 10_000
"""Connections remembered to be gone, whose last frames are not looked at."""

MOST_SUBSCRIPTIONS = 64
"""Topics that one connection may subscribe to, those that it gave up again included.  There
are three."""

SUBSCRIBED, UNSUBSCRIBED = b"\1", b"\0"
"""How what an XPUB hands on begins."""

MOST_FRAMES = 512
"""Frames drained in one turn: enough to share one commit, few enough to stay responsive."""

GOODBYE = 0.2
"""Seconds between the last frame to a client and the end of its connection."""


class Intake:
    """What comes in to *core* by *router* and *pub*.  *gate*: who guards them; None for nobody."""

    def __init__(
        self,
        router: zmq.Socket[bytes],
        pub: zmq.Socket[bytes],
        gate: Gate | None,
        core: Broker,
        descriptors: Descriptors,
    ) -> None:
        self._router = router
        self._pub = pub
        self._gate = gate
        self._core = core
        self._descriptors = descriptors
        self._discarding = False
        """Whether the next part belongs to a message that was refused."""
        self._connections = Connections()
        self._to_cut: deque[tuple[float, Connection]] = deque()
        """Connections that are to be cut off, and when."""
        self._gone: dict[bytes, None] = {}
        """The connections that were found to be gone last.  What they said before may still
        come, frame by frame, and nobody would hear an answer."""
        self._heard = 0
        """Frames since every connection that had something to say was last heard."""

    def tidy(self, now: float) -> None:
        """Looks after the connections, at a quiet moment.  *now*: monotonic seconds."""
        self._connections.tidy(now)

    def all_heard(self, drained: bool) -> bool:
        """Whether each connection has been heard since this was last so.

        ZeroMQ takes a frame from each that has one in turn.  So they all have been when there
        were as many frames as there can be connections, even if they never end.
        """
        all_heard = drained or self._heard > self._descriptors.used
        if all_heard:
            self._heard = 0
        return all_heard

    def drain(self) -> bool:
        """Hands waiting frames to the core; True if none is left."""
        receive, core = self._router.recv, self._core
        callers, secure = self._connections.callers, self._gate is not None
        size = 0
        until = time.monotonic() + MOST_SECONDS
        for _ in range(MOST_FRAMES):
            if size > MOST_BYTES or core.full or time.monotonic() > until:
                break
            while self._discarding and time.monotonic() < until:
                # The rest of a message of several parts.  There may be millions, and ROUTER
                # gives nothing else before their end.
                self._discarding = receive(0, False).more
            if self._discarding:
                break
            try:
                identity = receive(zmq.NOBLOCK)
            except zmq.Again:
                return True
            self._heard += 1
            # A Frame knows whether more follows; asking the socket costs twice as much.
            part = receive(0, False)
            frame = part.bytes
            size += len(frame)
            if part.more:
                self._discarding = True
            if identity in self._gone:
                continue
            caller = callers.get(identity)
            if caller is None or (secure and part.get(MARK) != caller.mark):
                caller = self._meet_caller(identity, part)
            if caller is None:
                continue
            if part.more:
                core.reject(identity, Code.BAD_FRAME, "a message is one part")
            elif _is_own(identity):
                core.reject(identity, Code.BAD_IDENTITY, "set no routing id of your own")
            else:
                core.receive(identity, frame, caller.origin)
        return False

    def _meet_caller(self, identity: bytes, part: zmq.Frame) -> Connection | None:
        """The connection by which *part* came, which is new; None, if it may say nothing."""
        callers = self._connections.callers
        if identity in callers:
            # A peer may plant an id, and a key of its own speaks for nobody else.
            self._core.lost(identity)
            del callers[identity]
        caller = self._meet(part)
        if caller is not None:
            callers[identity] = caller
        return caller

    def _meet(self, part: zmq.Frame) -> Connection | None:
        """The connection that *part* came by; None, if its key is admitted no more."""
        address, mark = str(part.get("Peer-Address")), ""
        origin: Origin | None = Origin(address)
        if self._gate is not None:
            mark = str(part.get(MARK))
            origin = self._gate.origin(mark, address)
        return None if origin is None else Connection(int(part.get(zmq.SRCFD)), origin, mark)

    def dismiss(self, keys: list[bytes]) -> None:
        """Ends what goes on over all connections that one of *keys* admitted."""
        words = "the key is admitted no more, by the broker's operator"
        for identity, caller in self._connections.callers_of(keys).items():
            self._core.dismiss(identity, words)
            # What it says from now on is not heard; the goodbye has a moment to leave.
            del self._connections.callers[identity]
            self._to_cut.append((time.monotonic() + GOODBYE, caller))
        for fd, subscriber in self._connections.subscribers_of(keys).items():
            del self._connections.subscribers[fd]
            subscriber.cut()

    def cut_off(self) -> None:
        """Cuts off those whose time has come."""
        while self._to_cut and self._to_cut[0][0] <= time.monotonic():
            self._to_cut.popleft()[1].cut()

    def hear_subscribers(self) -> None:
        """Takes what came from SUBs: subscriptions, which ZeroMQ has carried out already."""
        subscribers = self._connections.subscribers
        for _ in range(MOST_FRAMES):
            try:
                part = self._pub.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            said, lone = part.bytes, not part.more
            while part.more:
                part = self._pub.recv(zmq.NOBLOCK, copy=False)
            if lone and said[:1] == UNSUBSCRIBED:
                # Also what ZeroMQ says itself of a connection that is gone.
                continue
            met = self._meet(part)
            if met is None:
                # Of a key that was taken back while this was on its way: to be cut off all the
                # same, as ZeroMQ has subscribed it.
                Connection(int(part.get(zmq.SRCFD)), Origin(), "").cut()
                continue
            known = subscribers.get(met.fd)
            if known is None or known.inode != met.inode:
                known = subscribers[met.fd] = met
            known.subscriptions += 1
            if not lone or said[:1] != SUBSCRIBED or known.subscriptions > MOST_SUBSCRIPTIONS:
                log.warning("subscriber address=%s is cut off", known.origin.address)
                known.cut()
                del subscribers[known.fd]

    def lost(self, identity: bytes) -> None:
        """The connection is known to be gone."""
        self._core.lost(identity)
        self._connections.callers.pop(identity, None)
        if not _is_own(identity):
            self._gone[identity] = None  # Such an id does not come again.
        if len(self._gone) > MOST_GONE:
            del self._gone[next(iter(self._gone))]


def _is_own(identity: bytes) -> bool:
    """Whether a client chose its routing id itself: ZeroMQ's are a NUL and four bytes."""
    return len(identity) != 5 or identity[0] != 0
