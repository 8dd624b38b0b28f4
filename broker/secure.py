"""What a secure broker has beside a plain one: its keys, and who is admitted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..command.local import Local
from ..wire.errors import BadKey, BadName
from ..wire.keys import key_text, parse_key
from ..wire.names import canonical_name
from .folder import make_folder
from .gate import KeyPair
from .keyring import Secrets, load_members, server_secrets, store_members
from .members import Members, NotAdmitted, Roll
from .origin import Origin


class Secure:
    """The keys of one broker, and its members.

    *folder*: where they are kept; None: nowhere, and each start makes new ones.  Raises
    StartError.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        secrets = Secrets(KeyPair.fresh().secret, KeyPair.fresh().secret)
        if folder is not None:
            make_folder(folder)
            secrets = server_secrets(folder, secrets)
        self.keys = KeyPair.of(secrets.server)
        """The broker's own."""
        self.owner = KeyPair.of(secrets.owner)
        """Of the user who runs the broker: their running clients go on when it starts again."""
        self._members = Members(Roll(), self._keep, self.owner.public)

    def take_up(self) -> Members:
        """The members as they are kept; the folder is this process's own by now.

        Raises StartError."""
        if self._folder is not None:
            self._members = Members(load_members(self._folder), self._keep, self.owner.public)
        return self._members

    def _keep(self, roll: Roll) -> None:
        if self._folder is None:
            return
        try:
            store_members(self._folder, roll)
        except OSError as error:
            raise NotAdmitted(f"the broker cannot store it: {error.strerror or error}") from None

    def origin(self, key: bytes, address: str) -> Origin | None:
        """Who comes by *key* now; None: nobody that is admitted."""
        return self._members.origin(key, address, _now())

    def local(self, host: str, pid: int) -> Local:
        """How the commands of the broker's own user find in to it at *host*."""
        return Local(host, key_text(self.keys.public), key_text(self.owner.secret), pid)

    # --- what an operator asks ------------------------------------------------------------

    def carry_out(
        self, request: dict[str, Any], dismiss: Callable[[list[bytes]], None]
    ) -> dict[str, Any] | None:
        """Does what an operator asks for, and gives the answer; None if it is nothing here.

        *dismiss* is told of keys that are admitted no more."""
        do = request.get("do")
        action = _ACTIONS.get(do) if isinstance(do, str) else None
        if action is None:
            return None
        try:
            return {"ok": True} | action(self, request, dismiss)
        except (NotAdmitted, BadName, BadKey) as why:
            return {"ok": False, "words": str(why)}

    def _invite(self, request: dict[str, Any], _: Any) -> dict[str, Any]:
        seconds = request.get("seconds")
        if not isinstance(seconds, int | float) or not 0 < seconds < 1e10:
            raise NotAdmitted("an invitation holds for some seconds")
        now = _now()
        expires = now + round(seconds * 1000)
        self._members.invite(_name(request), _key(request), expires, now)
        return {"server_key": key_text(self.keys.public), "expires": expires}

    def _admit(self, request: dict[str, Any], _: Any) -> dict[str, Any]:
        self._members.admit(_name(request), _key(request), _now())
        return {"server_key": key_text(self.keys.public)}

    def _revoke(
        self, request: dict[str, Any], dismiss: Callable[[list[bytes]], None]
    ) -> dict[str, Any]:
        if "key" in request:
            keys, of = self._members.revoke_key(_key(request)), "that key"
        else:
            keys, of = self._members.revoke(_name(request)), repr(_name(request))
        if not keys:
            raise NotAdmitted(f"{of} is not admitted")
        dismiss(keys)
        return {"revoked": len(keys)}


_ACTIONS: dict[str, Callable[[Secure, dict[str, Any], Any], dict[str, Any]]] = {
    "invite": Secure._invite,
    "admit": Secure._admit,
    "revoke": Secure._revoke,
}


ASKED = frozenset(_ACTIONS)
"""What only a secure broker can do."""


def _name(request: dict[str, Any]) -> str:
    name = request.get("name")
    if not isinstance(name, str):
        raise NotAdmitted("whose key it is has to be said")
    return canonical_name(name)


def _key(request: dict[str, Any]) -> bytes:
    key = request.get("key")
    return parse_key(key if isinstance(key, str) else "")


def _now() -> int:
    return time.time_ns() // 1_000_000
