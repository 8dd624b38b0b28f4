"""What a user interface sees: one small type per thing that can happen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from ..wire.errors import Code

LAST_SECOND = 253_370_764_800
"""The year 9999 in every time zone: nothing later has a date.  A broker with a clock gone mad
must not end its clients."""


def _when(time: int) -> datetime:
    return datetime.fromtimestamp(min(time / 1000, LAST_SECOND), UTC)


class Broadcast(NamedTuple):
    """A message to everyone; the sender sees its own too."""

    seq: int
    """Its position in the public log; grows."""
    time: int
    """Milliseconds since 1970-01-01 UTC, by the broker's clock."""
    sender: str
    text: str

    @property
    def when(self) -> datetime:
        return _when(self.time)


class Direct(NamedTuple):
    """A message to one user, as both ends see it."""

    seq: int
    """Its position in this user's own mailbox; grows."""
    time: int
    """Milliseconds since 1970-01-01 UTC, by the broker's clock."""
    sender: str
    to: str
    text: str

    @property
    def when(self) -> datetime:
        return _when(self.time)


class Joined(NamedTuple):
    """A user came on."""

    time: int
    user: str


class Left(NamedTuple):
    """A user left, or was silent for too long."""

    time: int
    user: str


class Missed(NamedTuple):
    """Messages that can no longer be had.

    ``lost`` counts those that the broker no longer keeps.  None: the log itself is another
    one than before (a broker that keeps nothing on disk was restarted), so nobody can say.
    """

    log: str
    lost: int | None


class Online(NamedTuple):
    """The broker answers, as ``name``; at first, and again after an Offline."""

    name: str
    again: bool


class Offline(NamedTuple):
    """The connection is lost, or the broker says that it stops.  The client reconnects."""

    why: str


class Notice(NamedTuple):
    """What the broker has to say of itself, that it cannot store messages now, say; or what its
    operator has to say.

    ``code`` is a word of docs/protocol.md, "Codes"; or ``no_broadcasts``, of the client itself: PUB
    cannot be reached, and broadcasts come with the heartbeat."""

    code: str
    words: str

    @property
    def line(self) -> str:
        """The words, with who speaks if it is not the broker."""
        announced = self.code == Code.ANNOUNCEMENT
        return f"announcement: {self.words}" if announced else self.words


class UserInfo(NamedTuple):
    """A user who is on.  ``since`` is milliseconds since 1970-01-01 UTC."""

    name: str
    since: int

    @property
    def when(self) -> datetime:
        return _when(self.since)


Message = Broadcast | Direct
Event = Broadcast | Direct | Joined | Left | Missed | Online | Offline | Notice
