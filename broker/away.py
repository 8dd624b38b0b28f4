"""Whose claimed names nobody holds, and since when: by that their claims lapse."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import takewhile

from .user import User


class Away:
    """Users, who left first first.  Times are milliseconds since 1970."""

    def __init__(self, users: Iterable[User] = ()) -> None:
        """*users*: in that order."""
        self._users = OrderedDict.fromkeys(users)

    def __iter__(self) -> Iterator[User]:
        return iter(self._users)

    def __contains__(self, user: User) -> bool:
        return user in self._users

    def leave(self, user: User, time: int) -> list[User]:
        """*user* has left at *time*.  Those of whom it is another time now when they did."""
        changed = self.put_right(time)
        user.seen = time
        self._users[user] = None
        return [*changed, user]

    def come(self, user: User) -> None:
        """*user* is there again, or no more at all."""
        self._users.pop(user, None)

    def put_right(self, time: int) -> list[User]:
        """Has nobody have left after *time*, which is now; who had, by a clock that was ahead.

        Else they, and all who leave after them, would keep their names until that comes."""
        wrong = list(takewhile(lambda user: user.seen > time, reversed(self._users)))
        for user in wrong:
            user.seen = time
        return wrong

    def overdue(self, oldest: int) -> list[User]:
        """Who left at *oldest* or before."""
        return list(takewhile(lambda user: user.seen <= oldest, self._users))
