"""The exit statuses, which scripts rely on (docs/cli.md, "Exit status")."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    DONE = 0
    """Done; for whatever was sent: the broker has it."""
    FAILURE = 1
    """Unexpected failure."""
    USAGE = 2
    """The command line is wrong."""
    UNREACHABLE = 3
    """No broker answered in time."""
    NAME_REFUSED = 4
    """The name is taken, claimed, or not a valid name."""
    NOT_AUTHORISED = 5
    """The broker does not let this user in."""
    REFUSED = 6
    """At least one command was refused."""
    UNKNOWN = 7
    """Sent, but not acknowledged in time: the outcome is unknown."""
    OUT_OF_TIME = 8
    """``listen`` ran out of time before its count, or who was waited for did not come."""
    INTERRUPTED = 130
    """Ended by SIGINT."""
