"""What one client of a user leaves to the next, in the files of their identity.

    …/identities/127.0.0.1_5555/alice          the session that joined last
    …/identities/127.0.0.1_5555/.alice.shown   {EPOCH: [SINCE, UPTO], …}

The latter tells what mail was shown of which the broker could not be told, or did not say that
it had stored it: whoever reads next begins after that, and tells.  All of the user's readers in
the folder have it in common, as what one of them has shown is not unread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_SH, flock

from ..wire.limits import EPOCH_LENGTH, MAX_INT
from .core import ClientCore
from .identity import Identity
from .reader import MOST_LIVES, Untold


class Legacy:
    """That of a client with an identity; of others there is none."""

    def __init__(self, identity: Identity | None, session: bytes, exclusive: bool) -> None:
        """*session*: the client's own."""
        heir = exclusive and identity is not None and identity.locked
        self._takes_over = identity if heir else None
        self._session = session
        self._path = identity.path.with_name(f".{identity.name}.shown") if identity else None
        self._untold: dict[bytes, Untold] = {}

    @property
    def replaces(self) -> bytes:
        """The session of the client before this one that is known to be over; empty if none is."""
        return self._takes_over.previous if self._takes_over else b""

    def untold(self) -> Mapping[bytes, Untold]:
        """What was shown of the mailbox, by epoch, and the broker may not know."""
        if self._path:
            with suppress(OSError), open(self._path, "rb") as file:
                flock(file, LOCK_SH)
                self._untold = _parsed(file.read())
        return self._untold

    def begin(self) -> None:
        """Before HELLO goes out: if the client is killed, the next must know of its session.

        Raises IdentityError."""
        if self._takes_over:
            self._takes_over.remember(self._session)

    def take_back(self, core: ClientCore) -> None:
        """If no broker made the session of *core*, that of before is still the one to be replaced.

        Raises IdentityError."""
        if self._takes_over and core.unknown_to_broker:
            self._takes_over.remember(self._takes_over.previous)

    def end(self, core: ClientCore) -> None:
        """The session of *core* is over, whether or not the broker knows it."""
        if self._takes_over and not core.unknown_to_broker:
            self._takes_over.previous = self._session
        if self._path and core.untold != self._untold:
            # Who cannot write there has it shown again: the client did its work.
            with suppress(OSError):
                self._leave(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), core.untold)

    def _leave(self, descriptor: int, untold: Mapping[bytes, Untold]) -> None:
        """Has *untold* in the place of what was there when this client came.  Raises OSError."""
        with open(descriptor, "r+b") as file:
            # Written over, not replaced: then two that leave at once would need one more lock.
            flock(file, LOCK_EX)
            there = _parsed(file.read())
            for epoch, one in self._untold.items():
                if there.get(epoch) == one:  # Else another reader was further.
                    del there[epoch]
            for epoch, one in untold.items():
                other = there.pop(epoch, one)
                there[epoch] = Untold(max(one.since, other.since), max(one.upto, other.upto))
            kept = list(there.items())[-MOST_LIVES:]
            file.seek(0)
            file.write(json.dumps({epoch.hex(): one for epoch, one in kept}).encode())
            file.truncate()


def _parsed(text: bytes) -> dict[bytes, Untold]:
    """What a file says; nothing if it is broken, as by somebody who was killed over it: then some
    is shown again."""
    try:
        found = {bytes.fromhex(epoch): Untold(*one) for epoch, one in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
    for epoch, one in found.items():
        whole = len(epoch) == EPOCH_LENGTH and type(one.since) is type(one.upto) is int
        if not whole or not 0 <= one.since < one.upto <= MAX_INT:
            return {}
    return found
