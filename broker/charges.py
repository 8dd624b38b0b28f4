"""Who said more than may be said: before one is cut off for it, the kernel is asked.

What a peer said may be heard when it has gone and another has its descriptor, and then it counts as
said by that one.  But the kernel knows how much the latter has received: if that is less than all
that counts as said by it, some of it was another's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..wire.limits import CURVE_OVERHEAD
from .connections import Connection
from .handshakes import MOST_AT_FIRST
from .kernel import received_by, unread

GREETING = 64
"""Bytes with which each peer begins (rfc.zeromq.org/spec/23)."""

LEAST, LEAST_SECURE = GREETING + 8, GREETING + 202 + 266
"""Bytes of the shortest handshake: a READY without properties, which libzmq takes; and a HELLO and
an INITIATE of CURVE, which has none either."""

WITHIN = 0.25
"""Seconds after which one is cut off of whom the kernel did not tell otherwise meanwhile.  What a
newcomer itself has said is taken out by then, and no more counts for received and not for said."""


class Charge(NamedTuple):
    """One of whom too much was heard, why it is to be cut off, and when."""

    connection: Connection
    why: str
    until: float


class Charges:
    """Those that wait to be cut off.  *secure*: whether the frames are encrypted."""

    def __init__(self, secure: bool) -> None:
        self._least, self._box = (LEAST_SECURE, CURVE_OVERHEAD) if secure else (LEAST, 0)
        self._charged: dict[int, Charge] = {}
        """By descriptor: so they are no more than there can be connections."""

    def bring(self, connection: Connection, why: str, now: float) -> bool:
        """Whether *connection* is to be cut off at once: nobody but who said it has so much behind
        it, as a newcomer waits for an answer.  *now*: seconds of a monotonic clock."""
        surplus = self._surplus(connection)
        if surplus is None or surplus > MOST_AT_FIRST:
            return True
        found = self._charged.get(connection.fd)
        if found is None or found.connection.inode != connection.inode:
            self._charged[connection.fd] = Charge(connection, why, now + WITHIN)
        return False

    def settled(self, now: float) -> Iterator[tuple[Charge, bool]]:
        """Those of whom it is known, each once, and whether they are to be cut off; the others are
        taken to have said what they sent, and no more."""
        for fd, charge in list(self._charged.items()):
            one = charge.connection
            if one.stands:
                surplus = self._surplus(one)
                if surplus is None or surplus >= 0:
                    if now < charge.until:
                        continue
                    yield charge, True
                else:
                    # It has not said what it has not sent; what it says from now on is proven.
                    one.said.bytes += surplus
                    one.subscriptions = 0
                    yield charge, False
            del self._charged[fd]

    def _surplus(self, one: Connection) -> int | None:
        """Bytes that libzmq has read of it beside a handshake and what it is taken to have said;
        None if the system does not tell."""
        # In this order: what arrives in between must not seem to be unread.
        lies = unread(one.fd)
        received = received_by(one.fd)
        if received is None:
            return None
        return received - lies - self._least - one.taken - self._box * one.frames
