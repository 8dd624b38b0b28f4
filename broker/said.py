"""What connections said, taken out of ZeroMQ and not handed on yet."""

from __future__ import annotations

from .connections import Connection
from .portion import A_FRAME


class Several(bytes):
    """The first part of a message of several parts, where it is to be refused."""


class Said(list[bytes]):
    """Frames that one connection sent and that wait to be handed on."""

    __slots__ = ("apart", "caller", "counted")
    caller: Connection
    apart: bool
    """Whether they are handed on one by one: not all of them are commands."""
    counted: int
    """How many of them the caller is known to have said."""

    def tell_caller(self) -> None:
        """Has the caller have said them."""
        self.caller.took(self[self.counted :])
        self.counted = len(self)

    def first(self, most: int) -> list[bytes]:
        """The first ones, until they have *most* bytes; or all of them, or one."""
        if sum(map(len, self)) <= most:
            return self
        size = 0
        for number, frame in enumerate(self):
            size += len(frame)
            if size > most and number:
                return self[:number]
        return self[:1]

    def drop(self, number: int) -> None:
        """That many were handed on."""
        del self[:number]
        self.counted -= number


class Waiting(dict[bytes, Said]):
    """What was taken and is not handed on yet, by connection: what one sent is cheaper to take in
    together."""

    def __init__(self) -> None:
        self._served: set[bytes] = set()
        """Of which of them some was handed on in the last turn."""

    @property
    def size(self) -> int:
        """How much it is, as a portion is counted."""
        return sum([max(len(frame), A_FRAME) for said in self.values() for frame in said])

    def by_turns(self) -> list[bytes]:
        """The connections in the order in which they are to be heard now: whoever was heard in the
        last turn, and has more, after the others."""
        served, self._served = self._served, set()
        return sorted(self, key=served.__contains__)

    def later(self, identity: bytes, said: Said) -> None:
        """What is left of a connection of which some was handed on."""
        self[identity] = said
        self._served.add(identity)
