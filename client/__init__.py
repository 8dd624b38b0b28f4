"""A client of the broker, for Python programs and for the command ``chat``.

Promise: what ``send`` returned from is stored; every message is seen once and in order, or
is named as missed; a lost connection or a restarted broker is survived.  Must not know: the
broker package.

    from chatbroker.client import Client

    with Client("alice") as alice:
        alice.send("bob", "hi")
        for event in alice.events(timeout=10):
            print(event)
"""

from typing import TYPE_CHECKING, Any

from .commands import Outcome
from .errors import (
    ClientError,
    IdentityError,
    NameRefused,
    NewHistory,
    NotAuthorised,
    OutcomeUnknown,
    ProtocolError,
    Refused,
    Unreachable,
    UsageError,
)
from .escape import escape
from .events import (
    Broadcast,
    Direct,
    Event,
    Joined,
    Left,
    Missed,
    Notice,
    Offline,
    Online,
    UserInfo,
)
from .interrupts import Interrupts
from .starts import Since

if TYPE_CHECKING:
    from .client import Client
    from .identity import Identity
    from .pipeline import Pipeline, Receipt, Receipts

__all__ = [
    "Broadcast",
    "Client",
    "ClientError",
    "Direct",
    "Event",
    "Identity",
    "IdentityError",
    "Interrupts",
    "Joined",
    "Left",
    "Missed",
    "NameRefused",
    "NewHistory",
    "NotAuthorised",
    "Notice",
    "Offline",
    "Online",
    "Outcome",
    "OutcomeUnknown",
    "Pipeline",
    "ProtocolError",
    "Receipt",
    "Receipts",
    "Refused",
    "Since",
    "Unreachable",
    "UsageError",
    "UserInfo",
    "escape",
]


def __getattr__(name: str) -> Any:
    # What needs ZeroMQ is loaded when it is first used: `chat --help` and shell completion
    # would wait for it otherwise.
    if name == "Client":
        from .client import Client

        return Client
    if name == "Identity":
        from .identity import Identity

        return Identity
    if name in ("Pipeline", "Receipt", "Receipts"):
        from . import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
