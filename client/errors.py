"""What can go wrong for the user of a client.

    ClientError             everything below
     ├─ UsageError          you misused the client (also a ValueError)
     ├─ Unreachable         no broker answered in time; what was to be sent then was not
     ├─ NameRefused         the name is taken, claimed, or not a valid name
     ├─ NotAuthorised       the broker does not let this user do that
     ├─ Refused             a command was refused: ``code`` and words say why
     ├─ OutcomeUnknown      sent, but not acknowledged in time: it may be stored or not
     ├─ NewHistory          the broker lost what was being read, and began anew
     ├─ IdentityError       the file that proves who one is cannot be used
     └─ ProtocolError       broker and client do not understand each other

No exception of ZeroMQ or msgpack reaches the user of a client.  Each knows the exit status of a
command that ends by it.
"""

from __future__ import annotations

from typing import ClassVar

from ..command.status import Status
from ..wire.errors import Code

MAYBE = "it may be stored or not; sent again, it may be there twice"


class ClientError(Exception):
    """Something that the user of a client may want to handle."""

    status: ClassVar[Status] = Status.FAILURE
    """The exit status of a command that ends by it (docs/cli.md, "Exit status")."""


class UsageError(ClientError, ValueError):
    """The client was misused: closed, or given what cannot be sent."""

    status = Status.USAGE


class Unreachable(ClientError):
    """No broker answered in time.  What was to be sent then was not, and will not be.

    Who waits for events, or to say more in a pipeline, hears OutcomeUnknown instead as long as
    something that was sent before is not acknowledged."""

    status = Status.UNREACHABLE


class NameRefused(ClientError):
    """The name is taken, claimed, or not a valid name; ``code`` says which."""

    status = Status.NAME_REFUSED

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class NotAuthorised(ClientError):
    """The broker does not let this user in, or not do that."""

    status = Status.NOT_AUTHORISED


class Refused(ClientError):
    """A command was refused.  ``code`` is a word of docs/protocol.md, "Codes"."""

    status = Status.REFUSED

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class OutcomeUnknown(ClientError):
    """Sent, but not acknowledged in time: it may be stored or not."""

    status = Status.UNKNOWN


class NewHistory(ClientError):
    """What was being read is gone: the broker has another history than before."""


class IdentityError(ClientError):
    """The file that proves who one is cannot be read, written or locked."""


class ProtocolError(ClientError):
    """Broker and client do not understand each other, such as two versions of the protocol."""


def session_error(code: str, words: str, broker: str) -> ClientError:
    """The exception for a refused HELLO, or for a session that the broker ended."""
    where = f"{words} on {broker}"
    match code:
        case Code.BAD_NAME:
            return NameRefused(code, words)
        case Code.NAME_TAKEN | Code.NAME_CLAIMED | Code.ALREADY_JOINED:
            return NameRefused(code, where)
        case Code.BANNED:
            return NotAuthorised(f"{where}; the broker's operator can lift that")
        case Code.KICKED:
            return NotAuthorised(f"{where}; you may come back")
        case Code.NOT_ALLOWED:
            return NotAuthorised(where)
        case Code.CANNOT_STORE:
            words = "tell the broker's operator, whose log says why, and try again later"
            return ClientError(f"{where}; {words}")
        case Code.BROKER_FULL:
            return Unreachable(f"{where}; try again later")
    # Whatever else a broker has against a name (it is claimed, say), another name may do.
    return NameRefused(code, where) if code.startswith("name_") else ProtocolError(where)
