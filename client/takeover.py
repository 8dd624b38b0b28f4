"""How a client takes over from the one of its user before it, which was killed."""

from __future__ import annotations

from .core import ClientCore
from .identity import Identity


class Takeover:
    """That by a client that has locked its identity; others take over from nobody."""

    def __init__(self, identity: Identity | None, session: bytes, exclusive: bool) -> None:
        """*session*: the client's own."""
        heir = exclusive and identity is not None and identity.locked
        self._takes_over = identity if heir else None
        self._session = session

    @property
    def replaces(self) -> bytes:
        """The session of the client before this one that is known to be over; empty if none is."""
        return self._takes_over.previous if self._takes_over else b""

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
