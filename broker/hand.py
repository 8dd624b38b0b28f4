"""An operator's hand in the core: what is done to users and sessions at an operator's word.

Who may ask for it, and what is kept of it, is not decided here.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..wire.errors import Code
from ..wire.messages import Notice
from .allowance import Decoding
from .door import Door
from .effects import Effect
from .outgoing import Outgoing
from .registry import Registry
from .session import State
from .turn import Turn

LARGEST = 10
"""Of the users who have mail to read, or to whom much is under way, so many are named."""


class Survey(NamedTuple):
    """What there is of users and sessions."""

    known: int
    """Users, whether or not they are on."""
    on: int
    claimed: int
    live: int
    gone: int
    lapsed: int
    waiting: int
    """HELLOs that wait to see whether a name's holder is still there."""
    unconfirmed: int
    """Bytes that were pushed to clients and that they have given no sign of reading since."""
    slow: list[tuple[str, int]]
    """The users with the most of them, and how many."""
    unread: int
    """Messages in all mailboxes that their users have not confirmed to have read, among them
    some that are no longer kept, perhaps."""
    lagging: list[tuple[str, int]]
    """The users with the most of them, and how many."""


class Hand:
    """Acts within a turn; what it does holds when the turn is stored."""

    def __init__(
        self,
        registry: Registry,
        door: Door,
        out: Outgoing,
        said: Turn,
        decoding: Decoding,
        tell_all: Callable[[list[Notice]], list[Effect]],
    ) -> None:
        self._registry = registry
        self._door = door
        self._out = out
        self._said = said
        self._decoding = decoding
        self._tell_all = tell_all

    def release(self, name: str) -> bool:
        """Frees *name*; whether it was anybody's.  The mailbox goes with it, and the sessions
        of who had it end."""
        self._said.forget_routes()
        return self._door.release(name)

    def knows(self, name: str) -> bool:
        """Whether *name* is somebody's, or was borrowed just now."""
        return name in self._registry.users

    def names(self, begin: str, held: bool, most: int) -> tuple[list[str], bool]:
        """The first *most* names that begin with *begin*, sorted, and whether there are more.

        *held*: only those whose users are there.  Some 20 ms, if there are 100,000."""
        users = self._registry.users.values()
        found = sorted([user.name for user in users if user.name.startswith(begin)])
        if held:
            found = [name for name in found if self._registry.holders(name)]
        return found[:most], len(found) > most

    def kick(self, name: str, code: Code, words: str) -> int:
        """Ends the sessions that hold *name*; how many there were.  The name stays whose it is."""
        self._said.forget_routes()
        return self._door.kick(self._registry.holders(name), code, words)

    def expel(self, identities: Iterable[bytes], code: Code, words: str) -> int:
        """Ends what goes on over these connections; how many sessions did."""
        self._said.forget_routes()
        return sum([self._door.expel(identity, code, words) for identity in identities])

    def notify(self, name: str, code: Code, words: str) -> None:
        """Tells the user of *name*, wherever they are."""
        self._said.forget_routes()
        for session in self._registry.holders(name):
            if session.state is State.LIVE:
                self._out.reply(session.identity, Notice(code.value, words))

    def announce(self, words: str) -> list[Effect]:
        """Tells everybody, at once and apart from the turn."""
        return self._tell_all([Notice(Code.ANNOUNCEMENT.value, words)])

    def adjust(self, **changed: Any) -> None:
        """Has other settings hold from now on, by their names in `user.Settings`.

        Not within a turn.  Of an allowance, clients hear at their next WELCOME."""
        self._registry.adjust(**changed)
        if "allowance" in changed:
            for holder in (self._door, self._decoding):
                holder.allow(changed["allowance"])

    def survey(self) -> Survey:
        """Looks at all users and sessions: some 20 ms, if there are 100,000 of each."""
        users = self._registry.users.values()
        states = Counter([session.state for session in self._registry.sessions.values()])
        unread = {u.name: u.mailbox.head - u.read for u in users if u.mailbox.head > u.read}
        unconfirmed: Counter[str] = Counter()
        for session in self._door.bound.values():
            if session.unconfirmed and session.user is not None:
                unconfirmed[session.user.name] += session.unconfirmed
        return Survey(
            len(users),
            sum([user.on for user in users]),
            sum([user.claimed for user in users]),
            states[State.LIVE],
            states[State.GONE],
            states[State.LAPSED],
            len(self._door.waiting),
            unconfirmed.total(),
            _largest(unconfirmed),
            sum(unread.values()),
            _largest(unread),
        )


def _largest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return heapq.nlargest(LARGEST, counts.items(), key=lambda one: (one[1], one[0]))
