"""A user: a name, and who owns it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

from ..wire.errors import BadName
from ..wire.names import canonical_name
from .allowance import DEFAULTS, Allowance, Spent
from .journal import UserRecord
from .log import Log
from .session import Session


class Settings(NamedTuple):
    """What an operator or a test may set.  Times are seconds."""

    pub_port: int
    heartbeat: float = 5.0
    """Between two PINGs of a client."""
    lease: float = 15.0
    """A session that is silent for so long lapses."""
    pings: float = 50.0
    """A second, of all sessions together.  If it were more at this heartbeat, it is longer, and the
    lease with it."""
    longest_heartbeat: float = 180.0
    """But no longer than that."""
    grace: float = 3.0
    """A name waits so long for a client whose connection is known to be lost.  Longer than
    ZeroMQ's interval between two attempts to reconnect (client/link.py)."""
    forget: float = 3600.0
    """A lapsed session's outcomes are kept so long."""
    claim_ttl: float = 30 * 86400.0
    """A claim lapses when nobody held the name for so long."""
    most_lapsed: int = 10_000
    most_sessions: int = 100_000
    most_users: int = 100_000
    most_claims: int = 90_000
    """Fewer than users: whoever needs no name for long finds room, however many are claimed."""
    allowance: Allowance = DEFAULTS


class User:
    """A name and who owns it.  Times are milliseconds since 1970."""

    __slots__ = (
        "claimed",
        "created",
        "credential",
        "gone",
        "mailbox",
        "name",
        "on",
        "proof",
        "read",
        "seen",
        "sessions",
        "since",
        "spent",
    )

    def __init__(
        self,
        name: str,
        proof: bytes,
        mailbox: Log,
        created: int = 0,
        allowance: Allowance = DEFAULTS,
    ) -> None:
        self.name = name
        self.proof = proof
        """The SHA-256 of the credential.  The credential itself is not stored."""
        self.credential = b""
        """Empty when nobody presented it since the broker started."""
        self.mailbox = mailbox
        self.spent = Spent(allowance)
        self.claimed = False
        self.sessions: set[Session] = set()
        self.on = False
        self.since = 0
        """When the user came on."""
        self.read = 0
        """The position in the mailbox up to which the user confirmed to have read."""
        self.created = created
        self.seen = created
        """When the name was last held, unless it is."""
        self.gone = False
        """Whether this user is no more: the name is free, or another's."""

    def __repr__(self) -> str:
        return f"<User {self.name}, {'claimed' if self.claimed else 'borrowed'}>"

    def holders(self) -> list[Session]:
        return [session for session in self.sessions if session.holding]

    def prove(self, credential: bytes) -> bool:
        """Whether whoever presents *credential* is this user."""
        if not credential or not compare_digest(self.proof, proof_of(credential)):
            return False
        self.credential = credential
        return True

    def record(self) -> UserRecord:
        """The user as stored."""
        mailbox = self.mailbox
        return UserRecord(
            self.name,
            self.proof,
            mailbox.epoch,
            mailbox.key,
            self.claimed,
            self.read,
            self.created,
            self.seen,
        )


def proof_of(credential: bytes) -> bytes:
    """What is stored of a credential: who reads the journal cannot pose as its users."""
    return sha256(credential).digest()


def find(users: Mapping[str, User], name: str) -> User | None:
    """Who of *users* has *name*, as somebody may have typed it."""
    user = users.get(name)  # Most type it as it is kept.
    try:
        return user or users.get(canonical_name(name))
    except BadName:
        return None
