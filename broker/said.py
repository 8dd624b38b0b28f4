"""What connections said, taken out of ZeroMQ and not handed on yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from .connections import Connection
from .portion import A_FRAME


class Several(bytes):
    """The first part of a message of several parts, where it is to be refused."""


class Said(list[bytes]):
    """Frames that one connection sent and that wait to be handed on."""

    __slots__ = ("_weight", "apart", "bytes", "caller", "commands", "counted")

    def __init__(self, caller: Connection) -> None:
        self.caller = caller
        self.apart = False
        """Whether they are handed on one by one: not all of them are commands."""
        self.counted = 0
        """How many of them the caller is known to have said."""
        self.commands: list[Any] = []
        """What came before them, and is taken in together."""
        self.bytes = 0
        """That these came in, and that nobody paid for yet."""
        self._weight = 0.0
        """Of each, as a portion is counted."""

    def tell_caller(self) -> None:
        """Has the caller have said them."""
        self.caller.took(self[self.counted :])
        self.counted = len(self)

    def decode(self, commands_in: Callable[[Sequence[bytes]], list[Any]]) -> bool:
        """Makes `commands` of them, if they are nothing else; whether they are."""
        self.commands = commands_in(self)
        if self.commands:
            self.bytes = sum(map(len, self))
            self._weight = max(self.bytes, len(self) * A_FRAME) / len(self.commands)
            self.drop(len(self))
        return bool(self.commands)

    @property
    def size(self) -> float:
        """How much it is, as a portion is counted."""
        return self._weight * len(self.commands) + max(sum(map(len, self)), len(self) * A_FRAME)

    def drop(self, number: int) -> None:
        """That many were handed on."""
        del self[:number]
        self.counted -= number


class Waiting(dict[bytes, Said]):
    """What was taken and is not handed on yet, by connection: what one sent is cheaper to take in
    together."""

    __slots__ = ("_served",)

    def __init__(self) -> None:
        self._served: set[bytes] = set()
        """Of which of them some was handed on in the last turn."""

    @property
    def size(self) -> int:
        """How much it is, as a portion is counted."""
        return int(sum([said.size for said in self.values()]))

    def by_turns(self) -> list[bytes]:
        """The connections in the order in which they are to be heard now: whoever was heard in the
        last turn, and has more, after the others."""
        served, self._served = self._served, set()
        return sorted(self, key=served.__contains__)

    def newcomers_last(self, first: int, is_known: Callable[[bytes], bool]) -> None:
        """Of those from the *first* on, which came just now, has whoever is not known wait behind
        the others.

        Who comes may follow one who has left, and ROUTER does not give them in the order in which
        they spoke: what that one had been shown would be unread.  Only once, lest others that have
        more to say keep a newcomer waiting for ever."""
        for identity in [one for one in islice(self, first, None) if not is_known(one)]:
            self[identity] = self.pop(identity)

    def later(self, identity: bytes, said: Said) -> None:
        """What is left of a connection of which some was handed on."""
        self[identity] = said
        self._served.add(identity)
