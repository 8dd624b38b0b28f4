"""A watch on what ZeroMQ collects for a connection before it hands anything on.

libzmq bounds whole messages and single frames.  It does not bound the parts of a message that
never ends, what a SUB subscribes to between two looks, or how many connect and say nothing.  But
the kernel counts what a connection has received, and the broker counts what it has taken out;
what is between the two lies in this process.  Who has more there than a frame is cut off.

Linux only: it reads /proc and TCP_INFO.  Elsewhere nothing is watched.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from math import inf

from ..wire.limits import CURVE_OVERHEAD, MAX_FRAME
from .charges import Charges
from .connections import Connection, Connections, borrowed, cut, inode_of
from .crowds import of_crowds, without_session
from .handshakes import Handshakes
from .kernel import received_by, unread
from .logs import say
from .memory import Memory
from .sockets import FRAMES_WAITING

log = logging.getLogger("chatbroker")

LOOK_EVERY, CALM_EVERY = 0.02, 0.05
"""Seconds between two looks, and while ZeroMQ's thread has little to do: to wake 50 times a second
is most of what an idle broker does.  In 0.02 s come some 100,000 parts of a message."""

SLICE, SLICE_EVERY = 60, 0.1
"""Connections looked at closely in their turn, at some 5 µs each, and seconds between: 18,000 take
30 s.  A look at nothing but memory takes a tenth of one at a few connections."""

MOST_SUSPECTS = 100
"""Connections that are looked at again the next time, because much of theirs lies there."""

SOON = 0.01
"""Seconds between two looks while somebody goes too far."""

LIST_EVERY = 0.1
"""Seconds for which a list of the descriptors serves, if nothing else calls for a new one."""

SHARE, SHARE_AFTER_CUT = 0.1, 0.2
"""Of the time, that looks at all of them may take, and as much again those at newcomers; the second
when somebody just went too far."""

ALERT = 1.0
"""Seconds for which all are looked at when somebody went too far."""

SECURE_OVERHEAD = CURVE_OVERHEAD + 7
"""Bytes by which a frame is longer when it is encrypted, at most: its size may take eight bytes
then, and one before."""

SLACK = 32 * 1024
"""Bytes that may be under way beside frames: what libzmq reads at once, and the handshake."""

RATE = 32
"""Bytes a second that are no message: heartbeats of ZMTP."""

MOST_UNFINISHED = MAX_FRAME + SLACK
"""Bytes that may lie there when everything that is whole was taken out."""

MOST_WAITING = (FRAMES_WAITING + 1) * (MAX_FRAME + 64) + SLACK
"""Bytes that may lie there when not all was taken out: a full queue, and one frame more."""

MOST_SUBSCRIBED = 8 * 1024
"""Bytes that a SUB may say, beside heartbeats."""

MOST_FROM_SUBSCRIBER = 256 * 1024
"""Bytes that a SUB may say in all.  At the usual heartbeats that is five days; then it has to
connect again."""

SILENT = 12.0
"""Seconds in which a connection must have said something."""

MOST_SILENT = 1000
"""Connections older than SETTLED that may have said nothing."""

SETTLED = 2.0
"""Seconds that a newcomer is given, however many there are."""

SETTLED_SHORT = 0.3
"""The same while descriptors run short; none when they are all but used up."""

SHORT, ENOUGH = 0.75, 0.6
"""Shares of the descriptors: when more are in use than the one, those that said nothing are cut
off until the other is reached.  The first is less than where sessions are refused."""

USED_UP = 0.95

SHORT_EVERY = 3.0
"""Seconds between two looks at all while they run short and nobody is to be cut off.  If all have
said something, there is none until more are in use: to look at 18,000 takes a tenth of a second."""

TELL_EVERY, MOST_TOLD = 1.0, 8
"""Seconds between lines about those that were cut off, and how many addresses at a time."""

OTHERS = "others"
"""Stands for all other addresses."""


class Seen:
    """A connection as the kernel shows it."""

    __slots__ = (
        *("address", "floor", "frames", "inode", "looked", "met"),
        *("quiet", "read", "since", "sub", "well"),
    )

    def __init__(self, inode: int, address: str, sub: bool, now: float) -> None:
        self.inode = inode
        self.address = address
        """The peer's; empty for what is no connection of the watched ports, or was cut off."""
        self.sub = sub
        """Whether it came to the port that publishes."""
        self.since = now
        self.looked = now
        """When `read` was looked up."""
        self.read = 0
        """Bytes that libzmq had read then; where some lay unread, at least."""
        self.floor = 0.0
        """How many of them were no messages."""
        self.frames = 0
        self.quiet = now
        """When `frames` was last seen to have grown."""
        self.met = 0
        """Bytes that it had received when it was last looked at closely."""
        self.well = 0
        """Bytes that it may have received before it is to be looked at closely again, when there
        is haste."""


class Watch:
    """Looks at the connections of two ports, a slice at a time.

    *quiet*: seconds after which one that said something must have said something again.
    *limit*: descriptors that this process may have.
    *overhead*: bytes by which each frame is longer on the way than in the open.
    *note*: is told of those that were cut off.
    *stored*: tells how many bytes the broker itself keeps in memory.
    *in_use*: tells how many descriptors are, or 0; it may be a second late.
    *expected*: whether something goes on over the connection of that routing id.
    """

    def __init__(
        self,
        connections: Connections,
        port: int,
        pub_port: int,
        limit: int,
        quiet: float,
        overhead: int = 0,
        note: Callable[..., None] = say,
        stored: Callable[[], int] = lambda: 0,
        in_use: Callable[[], int] = lambda: 0,
        expected: Callable[[bytes], bool] = lambda identity: True,
    ) -> None:
        self._in_use = in_use
        self._expected = expected
        self._all_spoke_at = 0
        """How many descriptors were in use when all connections had said something, or fewer if
        there were since."""
        self._unheard = 0
        """How many had said nothing, of those that are known."""
        self._connections = connections
        self._ports = {port: False, pub_port: True}
        self._limit = limit
        self.quiet = quiet
        self._overhead = overhead
        self._note = note
        self._known: dict[int, Seen] = {}
        self._pass: Iterator[int] = iter(())
        self._suspects: list[int] = []
        self._used = 0
        self._fds: list[int] = []
        self._look_at = 0.0
        self._list_at = self._slice_at = 0.0
        self._all_at = self._newcomers_at = 0.0
        self._alert_until = self._cut_until = 0.0
        """Until when all are looked at: growth shows between two looks; and who went too far may
        come again."""
        self._handshakes = Handshakes(overhead)
        self._charges = Charges(overhead > 0)
        self._memory = Memory(stored)
        self.drained = 0.0
        """When all that was whole had last been taken out."""
        self._heard = 0.0
        self._cuts: Counter[tuple[str, str]] = Counter()
        """Those that are to be told of, by address and reason."""
        self._tell_at = 0.0
        self.on = received_by(None) is not None and self._memory.told
        self.pause = LOOK_EVERY if self.on else 1.0
        """Seconds that may pass until the next look."""
        if not self.on:
            log.warning("watch off: this system does not tell what connections have sent")

    def close(self) -> None:
        """Again: nothing."""
        self._memory.close()
        self.on, self.pause = False, 1.0

    def look(self, now: float, drained: bool, heard: float = inf) -> None:
        """Looks at some, and cuts off who goes too far.

        *now*: seconds of a monotonic clock.  *drained*: whether it was just seen that all that
        was whole had been taken out.  *heard*: when all that SUBs had said had last been taken out.
        """
        self._heard = min(heard, now)
        if drained:
            self.drained = now
        if now < self._look_at:
            return
        self._tell(now)
        if not self.on:
            return
        for connection in self._handshakes.long(self.drained):
            self.cut(connection, "the handshake was too long")
        for charge, proven in self._charges.settled(now):
            if proven:
                self.cut(charge.connection, charge.why)
            else:
                # What was seen of it went by what another had said.
                self._known.pop(charge.connection.fd, None)
        if self._memory.grew(now):
            self._alert_until = now + 2 * LOOK_EVERY
        after_cut = now < self._cut_until
        alert = after_cut or now < self._alert_until
        suspects, self._suspects = self._suspects[:MOST_SUSPECTS], []
        self._look_at_these(iter(suspects), now)
        share = SHARE_AFTER_CUT if after_cut else SHARE
        if alert and now >= self._newcomers_at:
            started = time.thread_time()
            self._look_at_newcomers(now)
            self._newcomers_at = now + (time.thread_time() - started) / share
        used = self._in_use() or self._used
        self._all_spoke_at = min(self._all_spoke_at, used)
        wanting = self._short and used > self._all_spoke_at
        if (alert or wanting) and now >= self._all_at:
            started = time.thread_time()
            self._look_at_all(now)
            self._all_at = now + (time.thread_time() - started) / share
            if not self._cut_silent(now) and not alert:
                self._all_at = now + SHORT_EVERY  # They are short for good reason.
            self._all_spoke_at = 0 if self._unheard else used
        elif now >= self._slice_at:
            self._slice_at = now + SLICE_EVERY
            if self._look_at_these(self._pass, now, SLICE):
                if now >= self._list_at:
                    self._cut_silent(now)
                    self._list(now)
                self._pass = iter(self._fds)
        usual = CALM_EVERY if self._memory.calm else LOOK_EVERY
        self.pause = SOON if alert else usual
        self._look_at = now + self.pause

    def cut(self, connection: Connection, why: str, reset: bool = False) -> None:
        """Cuts off one that was seen to go too far elsewhere."""
        seen = self._known.get(connection.fd)
        was_cut = seen is not None and seen.inode == connection.inode and not seen.address
        if connection.stands and not was_cut:
            self._cut_until = self._look_at + ALERT
            connection.cut(reset)
            self._cuts[connection.origin.address, why] += 1
            self._known[connection.fd] = Seen(connection.inode, "", False, self._look_at)

    def charge(self, connection: Connection, why: str, now: float) -> None:
        """Cuts off one that said too much, when it is known that it was this one."""
        if not self.on or self._charges.bring(connection, why, now):
            self.cut(connection, why)

    def meet(self, connection: Connection, size: int, now: float) -> None:
        """Looks at a DEALER of which the first message came, of so many bytes."""
        if self.on:
            self._handshakes.meet(connection, size, now)

    @property
    def _short(self) -> bool:
        return max(self._used, self._in_use()) > SHORT * self._limit

    def _list(self, now: float) -> None:
        """Lists the descriptors anew."""
        self._list_at = now + LIST_EVERY
        try:
            fds = [int(name) for name in os.listdir("/proc/self/fd")]
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            fds = list(range(self._limit))  # Not one is left to look with: all are in use.
        self._fds = fds
        self._used = len(fds)
        for fd in self._known.keys() - set(fds):
            del self._known[fd]

    def _look_at_newcomers(self, now: float) -> None:
        """Looks at those that came since the last list: to tell them from the others takes a third
        of a look at all, and who goes too far has most often just come."""
        self._list(now)
        for fd in self._fds:
            seen = self._known.get(fd)
            if seen is None or not seen.address:
                self._look_at_one(fd, now)

    def _look_at_all(self, now: float) -> None:
        """Looks closely at newcomers, and at those of whom much came since that was last done: to
        see that it did not takes half as long."""
        if self._list_at < now + LIST_EVERY:  # Otherwise it was just listed.
            self._list(now)
        for fd in self._fds:
            seen = self._known.get(fd)
            if seen is not None and seen.address:
                received = received_by(fd)
                # Less than before it would be of another with this descriptor.
                if received is not None and seen.met <= received <= seen.well:
                    continue
            self._look_at_one(fd, now)

    def _look_at_these(self, fds: Iterator[int], now: float, count: int = sys.maxsize) -> bool:
        """Looks at *count* connections of *fds*; whether those were the last of them."""
        for fd in fds:
            count -= self._look_at_one(fd, now)
            if not count:
                return False
        return True

    def _look_at_one(self, fd: int, now: float) -> bool:
        """Whether it is a connection; else it took no time."""
        inode = inode_of(fd)
        seen = self._known.get(fd)
        if seen is None or seen.inode != inode:
            seen = self._known[fd] = self._meet(fd, inode, now)
        if not seen.address:
            return False
        received = received_by(fd)
        if received is None:
            return True
        said = self._connections.at(fd, inode)
        seen.met, seen.well = received, MOST_SUBSCRIBED if seen.sub else received + SLACK
        if seen.sub:
            too_much = received > min(
                MOST_SUBSCRIBED + RATE * (now - seen.since), MOST_FROM_SUBSCRIBER
            )
            spoke = said is not None
        else:
            too_much = self._has_too_much(fd, seen, said, received, now)
            spoke = self._spoke(seen, said, now)
        if too_much:
            self._cut_until = now + ALERT
            self._cut(fd, seen, "more was sent than may be")
        elif seen.sub and not spoke:
            if self._heard - seen.since > SILENT:
                self._cut(fd, seen, "nothing was said")
        elif not spoke:
            # What was there by then was looked at, and nothing was of it.
            since = seen.quiet if said is not None else seen.since
            if self.drained - since > (self.quiet if said is not None else SILENT):
                self._cut(fd, seen, "nothing was said")
        return True

    def _meet(self, fd: int, inode: int, now: float) -> Seen:
        try:
            with borrowed(fd) as sock:
                if sock.family in (socket.AF_INET, socket.AF_INET6):
                    sub = self._ports.get(sock.getsockname()[1])
                    if sub is not None:
                        return Seen(inode, str(sock.getpeername()[0]), sub, now)
        except OSError:
            # No socket, a listening one, or gone.
            return Seen(inode, "", False, now)
        return Seen(inode, "", False, now)

    def _spoke(self, seen: Seen, said: Connection | None, now: float) -> bool:
        """Whether whole messages came since the last look."""
        frames = 0 if said is None else said.frames
        if frames == seen.frames:
            return False
        seen.frames, seen.quiet = frames, now
        return True

    def _has_too_much(
        self, fd: int, seen: Seen, said: Connection | None, received: int, now: float
    ) -> bool:
        taken = 0 if said is None else said.taken + self._overhead * said.frames
        rest = seen.read - taken - seen.floor
        # Whether all that was whole at the last look was taken out since.
        drained = self.drained > seen.looked
        too_much = rest > (MOST_UNFINISHED if drained else MOST_WAITING)
        most = received
        if received - taken - seen.floor > SLACK:
            lies = unread(fd)
            # What arrived between the two questions lies there, and was not received by the first:
            # the floor would be too low by that for hours, and the client be cut off for it.
            most = (received_by(fd) or received) - lies
            received -= lies
        if received - taken - seen.floor > MOST_UNFINISHED:
            # A newcomer says HELLO and waits for an answer.  Others may send on while they are
            # not heard; but what one more look takes is the time of a message of many parts.
            too_much = too_much or said is None
            self._suspects.append(fd)
        seen.floor = min(most - taken, seen.floor + RATE * (now - seen.looked))
        seen.read, seen.looked = received, now
        return too_much

    def _cut_silent(self, now: float) -> bool:
        """Cuts off those that said nothing and are too many: the oldest of the address that has
        the most.  Whether there were any."""
        settled, heard = SETTLED_SHORT if self._short else SETTLED, self._heard
        if self._used >= USED_UP * self._limit:
            settled, heard = 0.0, now  # Nobody waits for what libzmq has not handed on.
        unheard = [
            (fd, seen)
            for fd, seen in self._known.items()
            if seen.address and self._connections.at(fd, seen.inode) is None
        ]
        self._unheard = len(unheard)
        silent = [
            (fd, seen)
            for fd, seen in unheard
            if (heard if seen.sub else now) - seen.since >= settled
        ]
        excess = len(silent) - MOST_SILENT
        if self._short:
            excess = max(excess, self._used - int(ENOUGH * self._limit))
        if excess <= 0:
            return False
        for fd, seen in of_crowds(silent)[:excess]:
            self._cut(fd, seen, "one of too many that say nothing")
        idle: list[tuple[int, Seen]] = []
        if self._short and excess > len(silent):
            idle = without_session(self._connections, self._known, self._expected)
        self._unheard += len(idle)
        # The newest: nobody has to suffer for those who came later.
        settled_idle = [(fd, seen) for fd, seen in idle if now - seen.since >= settled]
        for fd, seen in of_crowds(settled_idle, oldest=False)[: excess - len(silent)]:
            self._cut(fd, seen, "one of too many without a session")
        return bool(silent or settled_idle)

    def _cut(self, fd: int, seen: Seen, why: str) -> None:
        cut(fd, seen.inode)
        self._cuts[seen.address, why] += 1
        seen.address = ""  # Until ZeroMQ closes it.

    def _tell(self, now: float) -> None:
        """One line for many: who floods the broker shall not flood its log."""
        if not self._cuts or now < self._tell_at:
            return
        self._tell_at = now + TELL_EVERY
        # Not Counter.most_common: it imports heapq, for which there may be no descriptor.
        most = sorted(self._cuts.items(), key=lambda told: -told[1])
        others: Counter[tuple[str, str]] = Counter()
        for (_, why), count in most[MOST_TOLD:]:
            others[OTHERS, why] += count
        for (address, why), count in (*most[:MOST_TOLD], *others.items()):
            self._note("cut_off", address=address, connections=count, because=why)
        self._cuts.clear()
