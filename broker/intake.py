"""What comes in: frames of clients, subscriptions, handshakes, and by which connections.

An edge: it takes from the sockets and hands to the core.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection

import zmq

from ..wire.errors import Code
from .connections import NO_FD, Connection, Connections
from .core import Broker
from .descriptors import Descriptors
from .gate import MARK, Gate, meet
from .origin import Origin
from .portion import A_FRAME, MOST, Portion
from .publisher import Publisher
from .said import Said, Several, Waiting
from .slow import Slow
from .sockets import is_own, port_of, told_of
from .subscribers import Subscribers
from .together import Together
from .watch import SECURE_OVERHEAD, Watch

MOST_SECONDS = 0.05
"""Seconds after which no further frame is handed on in a turn: a frame may hold hundreds of tiny
questions, and others wait for their answers.  Nor is anything taken after a message of several
parts: it may have thousands."""

SLICE = 0.005
"""Seconds after which others are heard before one who has said much."""

MOST_LEFT = 2 * MOST
"""Bytes that may wait to be handed on when more is taken."""

MOST_PARTS = 20
"""Parts of a message that are taken out before its sender is cut off: there may be millions.  Empty
ones are 40 bytes, more than a handshake of libzmq's is longer than the shortest (``charges``)."""

DISCARD_SECONDS = 0.01
"""Seconds after which the watch looks whether the next such message comes meanwhile."""

MOST_QUIET = 60.0
"""Seconds for which a connection may say nothing, or four leases if that is more: of those that
sessions have, the longest."""

MOST_GONE = 10_000
"""Connections remembered to be gone, whose last frames are not looked at."""

GONE = Connection(NO_FD, Origin(), "")
"""Stands for any of those."""

SURE_FOR = 0.02
"""Seconds for which it need not be looked whether a message that comes alone is alone."""

GOODBYE = 0.2
"""Seconds between the last frame to a client and the end of its connection."""


class Intake:
    """What comes in to *core* by *router* and *publisher*.  *gate*: who guards them; None for
    nobody."""

    def __init__(
        self,
        router: zmq.Socket[bytes],
        publisher: Publisher,
        gate: Gate | None,
        core: Broker,
        descriptors: Descriptors,
        note: Callable[..., None],
        most_subscriptions: int,
        stored: Callable[[], int],
    ) -> None:
        """*note*: writes a decision down.  *most_subscriptions*: see `Subscribers`.  *stored*:
        tells how many bytes of what was said are kept in memory."""
        self._router = router
        self._publisher = publisher
        self._gate = gate
        self._core = core
        self._descriptors = descriptors
        self._discarding: Connection | None = None
        """Whose message of several parts is being taken out."""
        self._parts = 0
        """How many of its parts were."""
        self._connections = Connections()
        self._port = port_of(router)
        self._watch = Watch(
            self._connections,
            self._port,
            publisher.port,
            descriptors.limit,
            MOST_QUIET,
            0 if gate is None else SECURE_OVERHEAD,
            note,
            stored,
            lambda: descriptors.used,
            core.expects,
        )
        self.slow = Slow(self._connections, gate is not None)
        core.leave_out(self.slow.hears_nothing)
        self._subscribers = Subscribers(
            publisher, gate, self._connections, self.slow, self._watch, most_subscriptions
        )
        self.allow_subscriptions = self._subscribers.allow
        self._to_cut: deque[tuple[float, Connection]] = deque()
        """Connections that are to be cut off, and when."""
        self._ended: deque[tuple[float, bytes]] = deque()
        """Connections that were seen to have ended, and when."""
        self._gone: dict[bytes, None] = {}
        """The connections that were found to be gone last.  What they said before may still
        come, frame by frame, and nobody would hear an answer."""
        self._waiting = Waiting()
        self._portion = Portion()
        self._together = Together(router, self._waiting, self._connections.subscribers)
        self._lone = b""
        """By which connection the last message came, if it came alone; else empty."""
        self.dialogue = False
        """Whether the one before it came alone too, by the same: as of somebody who says one thing
        when the one before is acknowledged."""
        self._drained = True
        """Whether it was seen that nothing was left by the last turn."""
        self._heard = 0
        """Messages taken since every connection that had something to say was last heard."""
        self._round: set[bytes] | None = None
        """When they were as many as there can be connections: those whose words waited then, and
        wait yet; None before."""

    @property
    def pause(self) -> float:
        """Seconds after which connections want to be looked after."""
        return self._watch.pause

    def tidy(self, now: float) -> None:
        """Looks after the connections, at a quiet moment.  *now*: monotonic seconds."""
        self._cut_off(now)
        self.watch(now, False)

    def watch(self, now: float, all_taken: bool) -> None:
        """Looks for connections that go too far, or have gone; costs little, however often.

        *all_taken*: whether it was just seen that nothing waits to be drained."""
        self._watch.quiet = max(MOST_QUIET, 4 * self._core.longest_lease)
        self._watch.look(now, all_taken, self._publisher.heard)
        self.slow.look()
        for subscriber in self.slow.look_at_subscribers():
            self._watch.cut(subscriber, "too much waited that it did not read", reset=True)
        self._publisher.look(now)
        self._ended += [(now, identity) for identity in self._connections.tidy(now)]
        # What a connection said last may come after its end.
        while self._ended and (
            self._ended[0][0] < self._watch.drained or len(self._ended) > MOST_GONE
        ):
            _, identity = self._ended.popleft()
            self._core.ended(identity)
            self._connections.callers.pop(identity, None)

    def all_heard(self) -> bool:
        """Whether each connection has been heard since this was last so.

        ZeroMQ takes a frame from each that has one in turn.  So they all have been when there
        were as many frames as there can be connections, even if they never end, and when of each
        of which some waited to be handed on then, some was.
        """
        if self._round is None and self._heard > self._descriptors.used:
            self._round = set(self._waiting)
        all_heard = self._drained or (
            self._round is not None and self._round.isdisjoint(self._waiting)
        )
        if all_heard:
            self._heard, self._round = 0, None
        return all_heard

    def drain(self, ready: bool = True, slept: bool = False) -> bool:
        """Hands waiting frames to the core; True if none is left, as far as was looked.

        *ready*: whether any may wait in the socket.  *slept*: whether none had, a moment ago."""
        if not ready and not self._waiting:
            self._drained = True
            return True
        now = time.monotonic()
        # If there is another, the next poll tells; but silence can be told from a full queue by
        # looking only.
        if slept and self._lone and now - self._watch.drained < SURE_FOR and self._hear_one():
            return True
        core, until = self._core, now + MOST_SECONDS
        left, those = self._waiting.size, len(self._waiting)
        drained = lone = False
        size = 0
        if left < MOST_LEFT:
            heard = before = self._heard
            most = self._portion.at(now)
            drained, size = self._take(until, most)
            while (
                drained
                and size < most
                and self._together.wait(now, self._heard - heard, self._heard - before)
            ):
                before = self._heard
                drained, more = self._take(until, most - size)
                size += more
            lone = not left and self._heard == heard + 1
            for said in self._waiting.values():
                said.tell_caller()
            self._waiting.newcomers_last(those, core.expects)
        self._note_who(next(iter(self._waiting), b"") if lone else b"")
        for identity in self._waiting.by_turns():
            at = time.monotonic()
            if core.full or at > until:
                break
            self._hand_on(identity, min(until, at + SLICE))
        # Not by the whole turn: on a slow disk as many as can be are to share a commit.
        seconds, yet = time.monotonic() - now, self._waiting.size
        self._portion.took(size, seconds, yet, left + size - yet)
        self._drained = drained and not self._waiting
        if self._drained:
            self._watch.drained = now
        return self._drained

    def _note_who(self, alone: bytes) -> None:
        """What was taken came alone by that connection, or empty: did not."""
        self.dialogue = bool(alone) and alone == self._lone
        self._lone = alone

    def _hear_one(self) -> bool:
        """Takes the message that waits, and hands it on as if it were the only one; whether that
        was done.  Else what was taken waits.

        To see whether it is the only one, and to have it wait, costs a third of a lone message."""
        if self._waiting or self._discarding is not None:
            return False
        try:
            identity = self._router.recv(zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._heard += 1
        part = self._router.recv(0, False)
        caller = self._caller(identity, part)
        frame = part.bytes
        if part.more or caller.fd == NO_FD or is_own(identity):
            self._place_for(identity, part, caller).append(frame)
            return False
        caller.took_one(frame)
        self._note_who(identity)
        self._drained = False
        self._core.receive(identity, frame, caller.origin)
        return True

    def _take(self, until: float, most: int) -> tuple[bool, int]:
        """Takes what waits, until it has *most*; whether nothing is left, and how much it was, both
        as a portion is counted.  *until*: when the time for that is over."""
        receive, nowait, find = self._router.recv, int(zmq.NOBLOCK), self._waiting.get
        secure = self._gate is not None
        discarding = self._discarding
        size = number = 0
        empty = False
        # What each frame costs counts: half of what a lone message costs is spent here.
        for number in range(1, max(most // A_FRAME, 1) + 1):
            if discarding is not None:
                if not self._discard(discarding) or time.monotonic() > until:
                    number -= 1
                    break
                discarding = None
            try:
                identity = receive(nowait)
            except zmq.Again:
                number -= 1
                empty = True
                break
            # A Frame knows whether more follows; asking the socket costs twice as much.
            part = receive(0, False)
            frame = part.bytes
            said: list[bytes] | None = find(identity)
            if said is None or secure or part.more:
                said = self._place_for(identity, part, self._caller(identity, part))
                discarding = self._discarding
            said.append(frame)
            size += len(frame)
            if size > most:
                break
        self._heard += number
        return empty, max(size, number * A_FRAME)

    def _place_for(self, identity: bytes, part: zmq.Frame, caller: Connection) -> list[bytes]:
        """Where *part* of *caller* waits, the first one of its message; nowhere, if it is not to
        be heard."""
        if part.more:
            self._discarding, self._parts = caller, 1
        if caller is GONE:
            pass
        elif caller.fd == NO_FD:
            self._core.reject(identity, Code.BAD_FRAME, "ZMTP 3 is needed")
        elif is_own(identity):
            self._core.reject(identity, Code.BAD_IDENTITY, "set no routing id of your own")
        else:
            said = self._waiting.get(identity)
            if said is None:
                said = self._waiting[identity] = Said(caller)
            if not part.more:
                return said
            # It is answered when what was said before it is.
            said.apart = True
            said.append(Several(part.bytes))
            return []
        caller.took_one(part.bytes)
        return []

    def _caller(self, identity: bytes, part: zmq.Frame) -> Connection:
        """The connection by which *part* came; GONE, if it may say nothing."""
        known = None if self._gate is not None else self._connections.callers.get(identity)
        return known or self._find_caller(identity, part)

    def _find_caller(self, identity: bytes, part: zmq.Frame) -> Connection:
        if identity in self._gone:
            return GONE
        known = self._connections.callers.get(identity)
        if known is not None and (self._gate is None or told_of(part, MARK) == known.mark):
            return known
        if identity in self._waiting:
            # That came by another connection than this one.
            self._waiting[identity].tell_caller()
            while identity in self._waiting:
                self._hand_on(identity, math.inf)
        return self._meet_caller(identity, part)

    def _hand_on(self, identity: bytes, until: float) -> None:
        """Hands to the core what waits of one connection: the first frame, and as much more as
        can be before *until*."""
        core, said = self._core, self._waiting.pop(identity)
        if self._round is not None:
            self._round.discard(identity)
        origin = said.caller.origin
        while True:
            if said.commands:
                left = core.receive_commands(identity, said.commands, said.bytes, origin)
                said.commands, said.bytes = left
                if not said.commands and not said:
                    return
                if said.commands or core.full or time.monotonic() > until:
                    self._waiting.later(identity, said)
                    return
            if len(said) < 2 or said.apart:
                break
            # To look again each time that it is its turn would cost a third.
            said.apart = not said.decode(core.commands_in)
        for heard, frame in enumerate(said, 1):
            if type(frame) is Several:
                core.reject(identity, Code.BAD_FRAME, "a message is one part")
            else:
                core.receive(identity, frame, origin)
            if heard < len(said) and (core.full or time.monotonic() > until):
                said.drop(heard)
                self._waiting.later(identity, said)
                break

    def _discard(self, caller: Connection) -> bool:
        """Takes out the rest of *caller*'s message of several parts; whether it has ended.

        ROUTER gives nothing else before its end."""
        receive = self._router.recv
        until = time.monotonic() + DISCARD_SECONDS
        while time.monotonic() < until:
            if self._parts < MOST_PARTS:
                part = receive(0, False)
                self._parts += 1
                caller.took_part(part)
                more = part.more
            else:
                # There may be millions, at a microsecond each: nothing else is done here.
                for _ in range(256):
                    more = receive(0, False).more
                    if not more:
                        break
            if not more:
                self._discarding = None
                return True
            if self._parts == MOST_PARTS:
                self._parts += 1  # Once is enough.
                self._watch.charge(caller, "a message had many parts", time.monotonic())
        return False

    def _meet_caller(self, identity: bytes, part: zmq.Frame) -> Connection:
        """The connection by which *part* came, which is new; GONE, if it may say nothing."""
        if self._connections.callers.pop(identity, None) is not None:
            # A peer may plant an id, and a key of its own speaks for nobody else.
            self._core.lost(identity)
        met, admitted = meet(part, self._gate)
        met.belongs_to(self._port)
        if admitted:
            known = self._connections.meet(identity, met)
            if known is met:
                self._watch.meet(met, len(part), time.monotonic())
            return known
        # Taken back between the handshake and now.
        words = "the key is admitted no more, or the invitation was used"
        self._core.reject(identity, Code.NOT_ALLOWED, words)
        self._to_cut.append((time.monotonic() + GOODBYE, met))
        return GONE

    def part_with(self, keys: Collection[bytes]) -> list[bytes]:
        """Hears connections no more that one of *keys* admitted, and cuts them off: those of
        SUBs now, and those of DEALERs, which are returned, in time for a last word."""
        found = self._connections.callers_of(keys)
        for identity, caller in found.items():
            del self._connections.callers[identity]
            self._waiting.pop(identity, None)
            self._to_cut.append((time.monotonic() + GOODBYE, caller))
        for fd, subscriber in self._connections.subscribers_of(keys).items():
            del self._connections.subscribers[fd]
            subscriber.cut()
        return list(found)

    @property
    def connected(self) -> tuple[int, int]:
        """How many connections of DEALERs and of SUBs have said something."""
        return len(self._connections.callers), len(self._connections.subscribers)

    def _cut_off(self, now: float) -> None:
        """Cuts off those whose time has come."""
        while self._to_cut and self._to_cut[0][0] <= now:
            self._to_cut.popleft()[1].cut()

    def hear_subscribers(self) -> None:
        """Takes what came from SUBs."""
        self._subscribers.hear(time.monotonic())

    def close(self) -> None:
        """Watches no more.  Again: nothing."""
        self._watch.close()

    def lost(self, identity: bytes) -> None:
        """The connection is known to be gone."""
        self._core.lost(identity)
        self._connections.callers.pop(identity, None)
        self._waiting.pop(identity, None)
        if not is_own(identity):
            self._gone[identity] = None  # Such an id does not come again.
        if len(self._gone) > MOST_GONE:
            del self._gone[next(iter(self._gone))]
