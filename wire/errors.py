"""Codes and exceptions of the protocol.

The exceptions of this package, as a tree::

    WireError               the peer's bytes are not the protocol's
     ├─ BadFrame            not one or more well-formed messages within the limits
     ├─ UnknownKind         a well-formed message of a kind that this version lacks
     └─ VersionMismatch     a HELLO of another protocol version
    InvalidInput            *you* misused the protocol: refused before a byte is sent
     ├─ BadName             not a valid user name
     ├─ BadKey              not a key as it is written
     └─ BadText             not a valid text: not Unicode
         └─ TooLong         too long

``WireError`` is about a peer and costs that peer a coded reply; ``InvalidInput`` is a
``ValueError`` of the caller.  Nothing else leaves ``wire``.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Why something was refused.  The value travels; see docs/protocol.md, "Codes"."""

    # The frame or the message itself.
    BAD_FRAME = "bad_frame"
    """The frame is not one or more well-formed messages within the limits."""
    UNKNOWN_KIND = "unknown_kind"
    """A message of a kind that the broker does not know."""
    VERSION = "version"
    """HELLO names another protocol version."""
    BAD_IDENTITY = "bad_identity"
    """The connection set a ZeroMQ routing id of its own."""

    # Who you are.
    BAD_NAME = "bad_name"
    """Not a valid user name."""
    NAME_TAKEN = "name_taken"
    """Another user has the name, and is here."""
    NAME_CLAIMED = "name_claimed"
    """The name belongs to another user, who is away."""
    ALREADY_JOINED = "already_joined"
    """The same user is joined elsewhere and this session wants to be the only one."""
    NO_SESSION = "no_session"
    """This connection has not said HELLO, or its session is over: say HELLO."""
    BROKER_FULL = "broker_full"
    """The broker cannot take one more session."""
    NOT_ALLOWED = "not_allowed"
    """This session may not do that."""
    BANNED = "banned"
    """The broker's operator keeps this name or this key out."""

    # What you asked for.
    NO_SUCH_USER = "no_such_user"
    """Nobody of that name is on or known."""
    NO_SUCH_LOG = "no_such_log"
    """There is no log of that name for this session, or it has another epoch now."""
    TOO_LONG = "too_long"
    """The text is longer than the broker's limit."""
    MUTED = "muted"
    """The broker's operator does not let this user speak."""
    OUT_OF_ORDER = "out_of_order"
    """A command number was skipped; the reference tells the one expected."""

    # What may be asked again later.
    SLOW_DOWN = "slow_down"
    """More was said, or more sessions were made, than the broker bears at once."""
    FETCH_LATER = "fetch_later"
    """More was fetched than the broker bears at once."""

    # Why the broker says goodbye.
    LEFT = "left"
    """The answer to the client's own BYE."""
    SHUTTING_DOWN = "shutting_down"
    """The broker is stopping."""
    REPLACED = "replaced"
    """The session goes on over another connection, or its client vouched that it is dead."""
    KICKED = "kicked"
    """The broker's operator ended the session; its user may come back."""

    # What the broker says of itself.
    CANNOT_STORE = "cannot_store"
    """The broker cannot store now: what is sent waits."""
    STORING = "storing"
    """The broker can store again."""
    ANNOUNCEMENT = "announcement"
    """The broker's operator has something to say to everybody."""


class WireError(Exception):
    """The peer's bytes are not the protocol's.  ``code`` is what to answer."""

    code = Code.BAD_FRAME


class BadFrame(WireError):
    """Not one or more well-formed messages within the limits."""


class UnknownKind(WireError):
    """A message of a kind that this version lacks."""

    code = Code.UNKNOWN_KIND


class VersionMismatch(WireError):
    """A HELLO of another protocol version."""

    code = Code.VERSION


class InvalidInput(ValueError):
    """The caller asked for something that the protocol cannot carry."""

    code = Code.BAD_FRAME


class BadName(InvalidInput):
    """Not a valid user name."""

    code = Code.BAD_NAME


class BadKey(InvalidInput):
    """Not a key as it is written."""


class BadText(InvalidInput):
    """Not a valid text: not Unicode, or too long."""


class TooLong(BadText):
    """A text longer than the limit."""

    code = Code.TOO_LONG
