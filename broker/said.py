"""What one connection said, taken out of ZeroMQ and not handed on yet."""

from __future__ import annotations

from .connections import Connection


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

    def drop(self, number: int) -> None:
        """That many were handed on."""
        del self[:number]
        self.counted -= number
