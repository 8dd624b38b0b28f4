"""The TCP connections of the broker's sockets: whose they are, and how one is cut off.

ZeroMQ closes no connection for its owner.  But it tells the file descriptor that a message came
by, and a socket that is shut down beneath it is to ZeroMQ a peer that has gone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from itertools import islice
from typing import TypeVar

from .origin import Origin

Key = TypeVar("Key", bytes, int)

LOOKED_AT = 64
"""Connections of each kind that are looked at together, to see whether they still stand."""

LOOK_EVERY = 0.1
"""Seconds between two such looks, which take 0.1 ms."""


class Connection:
    """One TCP connection."""

    __slots__ = ("fd", "inode", "mark", "origin", "subscriptions")

    def __init__(self, fd: int, origin: Origin, mark: str) -> None:
        self.fd = fd
        self.inode = _inode(fd)
        """Tells this socket from a later one with the same descriptor; 0 if it had gone."""
        self.origin = origin
        self.mark = mark
        """What ZeroMQ tells of each of its messages, and of those of no other peer."""
        self.subscriptions = 0

    @property
    def stands(self) -> bool:
        """Whether the socket is still open at this end."""
        return self.inode != 0 and _inode(self.fd) == self.inode

    def cut(self) -> None:
        """Ends it.  Frames that wait to be sent are lost."""
        if not self.stands:
            return
        # A copy of the descriptor: closing it leaves ZeroMQ's own alone.
        with socket.socket(fileno=os.dup(self.fd)) as sock:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # The peer was faster.


def _inode(fd: int) -> int:
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
        self._look_at = 0.0

    def callers_of(self, keys: Collection[bytes]) -> dict[bytes, Connection]:
        """The connections of DEALERs that one of *keys* admitted."""
        return {i: one for i, one in self.callers.items() if one.origin.key in keys}

    def subscribers_of(self, keys: Collection[bytes]) -> dict[int, Connection]:
        """The connections of SUBs that one of *keys* admitted."""
        return {fd: one for fd, one in self.subscribers.items() if one.origin.key in keys}

    def tidy(self, now: float) -> None:
        """Forgets some of those that are gone: each is looked at in its turn.

        *now*: seconds of a monotonic clock."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        _tidy(self.callers)
        _tidy(self.subscribers)


def _tidy(found: dict[Key, Connection]) -> None:
    for key in list(islice(found, LOOKED_AT)):
        connection = found.pop(key)
        if connection.stands:
            found[key] = connection  # At the end, until its next turn.
