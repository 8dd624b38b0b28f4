"""A question who is on, and how much of the answer is there."""

from __future__ import annotations

from ..wire.messages import User


class Query:
    """Asked page by page."""

    __slots__ = ("ask_again", "done", "ref", "users")

    def __init__(self, ref: int) -> None:
        self.ref = ref
        self.users: list[User] = []
        self.ask_again = 0.0
        self.done = False
