"""The journal: where logs, users and sessions are kept.  The port, and what passes through it.

The broker hands over what a turn changed, all at once, and only then tells anyone.  ``fetch``
gives back what was committed, byte for byte.  ``memory_journal`` keeps it in memory,
``sqlite_journal`` on disk::

    JournalError            the journal cannot be used
     └─ CannotStore         it cannot store now (disk full, say); the same may be tried again
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from .former import Former
from .log import Log, Row
from .runs import merge


class JournalError(Exception):
    """The journal cannot be used: the words say why and what to do, on one line."""


class CannotStore(JournalError):
    """Nothing of the commit was stored.  The same commit may be tried again."""


MOST_ROWS = 1000
"""Rows of a page.  Of messages that were said one by one a page of MAX_FETCH bytes would have 9000,
and each takes 5 us."""


class Page(NamedTuple):
    """An answer to a fetch."""

    missed_upto: int
    """Events up to here are no longer kept, or damaged; 0 if nothing that was asked for is lost."""
    lost: int
    """How many that are."""
    rows: Sequence[Row]


class UserRecord(NamedTuple):
    """A user as stored.  Times are milliseconds since 1970-01-01 UTC."""

    name: str
    proof: bytes
    """The SHA-256 of the credential: who reads the journal cannot pose as its users."""
    epoch: bytes
    """Of the mailbox."""
    log: str
    """The mailbox's key in the journal."""
    claimed: bool
    """Whether the name stays the user's while they are away."""
    read: int
    """The position in the mailbox up to which the user confirmed to have read."""
    created: int
    seen: int
    """When the name was last held, as far as is stored."""


class SessionRecord(NamedTuple):
    """A session of a user as stored."""

    id: bytes
    user: str
    """The user's name."""
    born: int
    """The attempt of the HELLO that made it."""
    cseq: int
    """The last command number that was accepted or refused."""
    outcomes: bytes
    """What is to be told of the last commands, as ``runs`` packs it."""
    exclusive: bool
    hears: bool
    """Whether it follows the mailbox."""
    holding: bool
    """Whether it keeps the name from others; else it has lapsed."""
    whole: bool = True
    """Whether these are all outcomes; else those that came since what was stored before."""

    def over(self, before: SessionRecord | None) -> SessionRecord:
        """This, where *before* was known of the same session."""
        if self.whole or before is None:
            return self
        outcomes = merge(before.outcomes, self.outcomes, self.cseq)
        return self._replace(outcomes=outcomes, whole=before.whole)


class Commit(NamedTuple):
    """What one turn changed.  All of it is stored, or none; in the order of these fields."""

    ended: Sequence[bytes] = ()
    """Ids of sessions that are over.  Some may never have been stored."""
    gone: Sequence[str] = ()
    """Names of users who are gone for good, with all their sessions.  Some may never have
    been stored."""
    dropped: Sequence[str] = ()
    """Keys of logs to forget, which are never used again.  Some may never have been stored."""
    users: Sequence[UserRecord] = ()
    """New ones, and those that replace what is stored under their name."""
    sessions: Sequence[SessionRecord] = ()
    """New ones, and those that go over what is stored under their id."""
    rows: Sequence[Row] = ()
    """Those of a log adjoin each other and what is stored of it."""


class Kept(NamedTuple):
    """What a journal holds when a broker starts on it."""

    epoch: bytes
    """Of these data, for as long as they live."""
    time: int
    """That of the newest message, in milliseconds since 1970; 0 if there is none."""
    heads: Mapping[str, int]
    """The position of the newest event of each log, by its key."""
    users: Sequence[UserRecord]
    sessions: Sequence[SessionRecord]
    former: Mapping[str, Former] = {}
    """The life that each log had before, by its key, if these data went back in time."""

    def log(self, key: str, epoch: bytes) -> Log:
        """The log of *key*, which goes on."""
        return Log(key, epoch, self.heads.get(key, 0), self.former.get(key))


class Journal(Protocol):
    """What the broker wants of a place to keep things."""

    durable: bool
    """Whether users and sessions are kept too, for the next start."""

    @property
    def size(self) -> int:
        """Bytes that what was said takes, as retention reckons.  May be read from any thread."""

    @property
    def in_memory(self) -> int:
        """Bytes of what was said that lie in this process, as far as the journal keeps them there.
        A text that lies in two mailboxes may count in both."""

    @property
    def messages(self) -> int:
        """How many are kept; one that lies in two mailboxes counts in both."""

    @property
    def most_bytes(self) -> int | None:
        """What `size` may be for long, but for logs that are dropped and on their way out; None for
        any amount.  May be read from any thread."""

    def retain(self, keep: float | None, keep_bytes: int | None) -> None:
        """From now on messages older than *keep* seconds may go, and what takes more than
        *keep_bytes*; None for no bound."""

    def load(self, fresh: bytes) -> Kept:
        """What is kept, called once before all else.  *fresh*: the epoch to take, if these
        data are new.  Raises JournalError."""

    def commit(self, commit: Commit) -> None:
        """Stores what one turn changed, all or none.  Raises CannotStore, JournalError."""

    def settle(self) -> None:
        """Does what `commit` left until those who wait for it have heard; else the next call that
        needs it does.  Until then `size` and its like are as before."""

    def fetch(self, log: str, after: int, budget: int) -> Page:
        """The rows with events after *after*: at least one if there is any, about *budget*
        bytes and MOST_ROWS at most.  One that is damaged is lost, as those are that come before
        what is kept.  Raises JournalError."""

    def position_at(self, log: str, time: int) -> int:
        """The position before the first row with an event at or after *time*
        (milliseconds since 1970).  Raises JournalError."""

    def tidy(self, time: int) -> bool:
        """Does one small step of what nobody waits for, at *time* (milliseconds since 1970);
        whether there is more to do.  Raises JournalError; CannotStore, if it can wait."""

    def close(self) -> None:
        """Ends the use of it.  What was committed stays committed without it."""
