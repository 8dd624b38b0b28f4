"""A question who is on, and how much of the answer is there."""

from __future__ import annotations

from ..wire.messages import Info, User, Users


class Query:
    """Asked page by page."""

    __slots__ = ("ask_again", "done", "ref", "users")

    def __init__(self, ref: int) -> None:
        self.ref = ref
        self.users: list[User] = []
        self.ask_again = 0.0
        self.done = False

    def ask(self, again: float) -> Info:
        """The question, or the next part of it; to be asked *again* if no answer comes."""
        self.ask_again = again
        return Info(self.ref, self.users[-1].name if self.users else "")

    def take(self, page: Users) -> None:
        """Takes a page of the answer."""
        # An answer that comes twice (it was asked again) must not count twice.
        if self.users and page.users and page.users[0] <= self.users[-1]:
            return
        self.users.extend(page.users)
        self.ask_again = 0.0
        self.done = not page.more
