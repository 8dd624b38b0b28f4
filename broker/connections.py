"""The TCP connections of the broker's sockets: whose they are, and how one is cut off.

ZeroMQ closes no connection for its owner.  But it tells the file descriptor that a message came
by, and a socket that is shut down beneath it is to ZeroMQ a peer that has gone.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Collection, Iterator, Sequence, Sized
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from .origin import Origin

Key = TypeVar("Key", bytes, int)

NO_FD = -1
"""In place of a descriptor that ZeroMQ does not tell."""

LONG = 256
"""Bytes from which on ZeroMQ writes a part's size in eight, beside a byte of flags."""

RESET = (1).to_bytes(4, sys.byteorder) + bytes(4)
"""struct linger: the kernel lets go of everything when ZeroMQ closes the socket."""

LOOKED_AT, SHARE = 64, 30
"""Connections of each kind that are looked at together, to see whether they still stand, at least;
or one of so many, if that is more."""

LOOK_EVERY, LOOK_AGAIN = 1.0, 0.25
"""Seconds between two such looks, which take 0.1 ms, and after one that found some to be gone, or
while one is enough for all.  So they keep up with 250 that go each second, more than may come, and
each is seen within half a minute."""


class Taken:
    """What was taken out of a socket."""

    __slots__ = ("bytes", "frames")

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0
        """That the frames took on the way, in the open."""


class Connection:
    """One TCP connection."""

    __slots__ = (
        *("confirmed", "fd", "given", "inode", "mark", "origin", "said"),
        "subscriptions",
    )

    def __init__(self, fd: int, origin: Origin, mark: str) -> None:
        self.fd = fd
        self.inode = inode_of(fd)
        """Tells this socket from a later one with the same descriptor; 0 if it had gone."""
        self.origin = origin
        self.mark = mark
        """What ZeroMQ tells of each of its messages, and of those of no other peer."""
        self.subscriptions = 0
        self.said = Taken()
        """Another's of the same socket has the same (`follows`)."""
        self.given = self.confirmed = 0
        """Bytes that it was sent, and of which its peer is known to have received so many
        (``slow``)."""

    def took_one(self, frame: bytes) -> None:
        """*frame*, a message of one part, was taken out of it."""
        self.said.frames += 1
        self.took_part(frame)

    def took_part(self, part: Sized) -> None:
        """The same of a further *part* of a message."""
        size = len(part)
        self.said.bytes += size + (2 if size < LONG else 9)

    def took(self, frames: Sequence[bytes]) -> None:
        """The same of several *frames*, for less than of each."""
        size = sum(map(len, frames))
        self.said.frames += len(frames)
        self.said.bytes += size + 2 * len(frames)
        if size >= LONG and max(map(len, frames)) >= LONG:
            self.said.bytes += 7 * sum([len(frame) >= LONG for frame in frames])

    @property
    def frames(self) -> int:
        """How many were taken out of it."""
        return self.said.frames

    @property
    def taken(self) -> int:
        """Bytes that these took on the way, in the open."""
        return self.said.bytes

    @property
    def stands(self) -> bool:
        """Whether the socket is still open at this end."""
        return self.inode != 0 and inode_of(self.fd) == self.inode

    def same_as(self, met: Connection) -> bool:
        """Whether *met* has the same socket and the same key.

        A frame may come when its connection is gone and another has the descriptor: then
        ZeroMQ tells that one of it, and only the mark tells whose the frame is."""
        return (self.inode, self.mark) == (met.inode, met.mark)

    def follows(self, known: Connection | None) -> None:
        """*known* had its descriptor before.  If the socket is the same, one of them had gone when
        it was met: what they said is counted together, as the kernel counts what was received."""
        if known is not None and known.inode == self.inode:
            self.said = known.said

    def belongs_to(self, port: int) -> None:
        """It came by *port*.  If its descriptor is of another by now, it had gone."""
        try:
            with borrowed(self.fd) as sock:
                tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
                if tcp and sock.getsockname()[1] != port:
                    self.inode = 0
        except (OSError, ValueError):
            return  # It had gone, or ZeroMQ does not tell.

    def cut(self, reset: bool = False) -> None:
        """Ends it.  Frames that wait to be sent are lost; with *reset* also those that the kernel
        has, which would keep them until they are read or some seconds are over."""
        cut(self.fd, self.inode, reset)


def cut(fd: int, inode: int, reset: bool = False) -> None:
    """Ends the connection *fd*, if it is the one of *inode* still.  ZeroMQ closes it."""
    if inode == 0 or inode_of(fd) != inode:
        return
    try:
        with borrowed(fd) as sock:
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # The peer was faster.


@contextmanager
def borrowed(fd: int) -> Iterator[socket.socket]:
    """The descriptor *fd*, which is another's, as a socket.  Takes no descriptor: there may be
    none left.  Raises OSError if it is no socket."""
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def inode_of(fd: int) -> int:
    """What tells a socket from a later one with the same descriptor; 0 if nothing is open."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


class Connections:
    """Those that said something.  Who only connects is not among them."""

    def __init__(self) -> None:
        self.callers: dict[bytes, Connection] = {}
        """By routing id: connections of clients' DEALERs."""
        self.subscribers: dict[int, Connection] = {}
        """By descriptor: connections of clients' SUBs."""
        self._dealers: dict[int, Connection] = {}
        """By descriptor: those of `callers`."""
        self._ended: set[bytes] = set()
        """Those of `callers` that were told to have ended; two may have one connection."""
        self._look_at = 0.0

    def meet(self, identity: bytes, met: Connection) -> Connection:
        """The connection of a DEALER that said something for the first time."""
        known = self._dealers.get(met.fd)
        if known is None or not known.same_as(met):
            # Otherwise a frame of a connection that is gone comes before or after one of its
            # successor, which has its descriptor.
            met.follows(known)
            known = self._dealers[met.fd] = met
        self.callers[identity] = known
        return known

    def at(self, fd: int, inode: int) -> Connection | None:
        """The connection of this descriptor and inode, if it has said anything."""
        for found in (self._dealers.get(fd), self.subscribers.get(fd)):
            if found is not None and found.inode == inode:
                return found
        return None

    def callers_of(self, keys: Collection[bytes]) -> dict[bytes, Connection]:
        """The connections of DEALERs that one of *keys* admitted."""
        return {i: one for i, one in self.callers.items() if one.origin.key in keys}

    def subscribers_of(self, keys: Collection[bytes]) -> dict[int, Connection]:
        """The connections of SUBs that one of *keys* admitted."""
        return {fd: one for fd, one in self.subscribers.items() if one.origin.key in keys}

    def tidy(self, now: float) -> list[bytes]:
        """Forgets some of those that are gone: each is looked at in its turn.  Returns which of
        `callers` are found to be; these are kept until they are known to have no more to say.

        *now*: seconds of a monotonic clock."""
        if now < self._look_at:
            return []
        self._ended.intersection_update(self.callers)
        ended = []
        for identity, caller in _next(self.callers):
            if caller.fd == NO_FD:
                continue  # Of it ZeroMQ tells no more, and it is met again.
            self.callers[identity] = caller
            if not caller.stands and identity not in self._ended:
                ended.append(identity)
        self._ended.update(ended)
        gone = _forget(self._dealers) + _forget(self.subscribers)
        soon = ended or gone or len(self.callers) <= LOOKED_AT
        self._look_at = now + (LOOK_AGAIN if soon else LOOK_EVERY)
        return ended


def _next(found: dict[Key, Connection]) -> Iterator[tuple[Key, Connection]]:
    """Takes out those whose turn it is; what is put back has its next turn after all others."""
    for key in list(islice(found, max(LOOKED_AT, len(found) // SHARE))):
        yield key, found.pop(key)


def _forget(found: dict[Key, Connection]) -> int:
    """Forgets those that are gone, of some; how many that were."""
    before = len(found)
    for key, connection in _next(found):
        if connection.stands:
            found[key] = connection
    return before - len(found)
