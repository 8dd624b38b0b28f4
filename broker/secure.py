"""What a secure broker has beside a plain one: its keys, and who is admitted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..command.files import clear_drafts
from ..command.local import Local
from ..wire.keys import key_text
from .config import StartError
from .gate import KeyPair
from .keyring import (
    MEMBERS,
    SERVER_KEY,
    Secrets,
    load_members,
    server_secrets,
    store_members,
    store_secrets,
)
from .members import Members, NotAdmitted, NotKept, Roll
from .origin import Origin
from .sanctions import Sanction
from .standing import Standing, standing_folder

log = logging.getLogger("chatbroker")

BanOn = Callable[[str, bytes], Sanction | None]


class Secure:
    """The keys of one broker, and its members.

    *folder*: where they are kept; None: nowhere, and each start makes new ones.  *host*,
    *port*: where it listens.  Raises StartError.
    """

    def __init__(self, folder: Path | None, host: str, port: int) -> None:
        self._folder = folder
        self._standing: Standing | None = None
        self._host = host
        self._port = port
        kept = None if folder is None else server_secrets(folder)
        secrets = kept or Secrets(KeyPair.fresh().secret, KeyPair.fresh().secret)
        self.keys = KeyPair.of(secrets.server)
        """The broker's own."""
        self.owner = KeyPair.of(secrets.owner)
        """Of the user who runs the broker: their running clients go on when it starts again."""
        self._anew = secrets if folder is not None and kept is None else None
        """What is to be kept: the broker had no key before."""
        self._made: Secrets | None = None
        """What this process has kept."""
        self._members = Members(Roll(), self._keep, self.owner.public)
        self._told = False
        """Whether it was warned that nothing can be stored, since something was."""
        self._ban_on: BanOn = lambda name, key: None

    def take_up(self, ban_on: BanOn) -> Members:
        """The members as they are kept; the folder is this process's own by now.

        *ban_on*: what keeps the user of a name, or a key, out all the same.  Raises StartError."""
        self._ban_on = ban_on
        if self._folder is not None:
            clear_drafts(self._folder / SERVER_KEY)  # It is not written again.
            self._standing = standing_folder(self._folder)
            roll = load_members(self._folder)
            self._members = Members(roll, self._keep, self.owner.public)
            if self._anew is not None and any(roll):
                log.warning(
                    "key path=%s was gone and is made anew: who was admitted must be invited anew, "
                    "or a copy of it put back",
                    self._folder / SERVER_KEY,
                )
        return self._members

    def keep_keys(self) -> None:
        """Has the keys be there at the next start.  Not before this one is to serve: by them the
        data are a secure broker's, and a plain one would not start again.

        Raises StartError."""
        if self._folder is not None and self._anew is not None:
            self._made, self._anew = self._anew, None
            try:
                store_secrets(self._folder, self._made)
            except StartError:
                self.take_back_keys()
                raise

    def take_back_keys(self) -> None:
        """Has the data be no secure broker's, if this start made them so: it fails after all."""
        made, self._made = self._made, None
        if self._folder is not None and made is not None:
            with suppress(OSError, StartError):
                if server_secrets(self._folder) == made:
                    (self._folder / SERVER_KEY).unlink()

    def _keep(self, roll: Roll) -> None:
        if self._folder is None:
            return
        try:
            if self._standing is not None:
                self._standing.insist()
            store_members(self._folder, roll)
        except OSError as error:
            reason = error.strerror or error
            if not self._told:
                # Who accepts an invitation is not told; what was revoked is tried again and again.
                self._told = True
                log.warning("members path=%s cannot be stored: %s", self._folder / MEMBERS, reason)
            why = f"the broker cannot store it in {self._folder}: {reason}"
            raise NotKept(f"{why}; see to that and try again") from None
        self._told = False

    def origin(self, key: bytes, address: str) -> Origin | None:
        """Who comes by *key* now; None: nobody that is admitted."""
        origin = self._members.origin(key, address, _now())
        if origin is None or key == self.owner.public:
            # The broker's own user comes as far as to be told of a ban: a start tries that.
            return origin
        return None if self._ban_on(origin.name, key) else origin

    def local(self, pid: int) -> Local:
        """How the commands of the broker's own user find in."""
        return Local(self._host, key_text(self.keys.public), key_text(self.owner.secret), pid)

    # --- what an operator asks; all raise NotAdmitted --------------------------------------

    def invite(self, name: str, key: bytes, seconds: float) -> dict[str, Any]:
        """Opens an invitation; what whoever passes it on has to know."""
        now = _now()
        expires = now + round(seconds * 1000)
        self._members.invite(name, key, expires, now)
        return self._where() | {"expires": expires}

    def admit(self, name: str, key: bytes) -> dict[str, Any]:
        """Admits a key; what its user has to know."""
        self._members.admit(name, key, _now())
        return self._where()

    def keys_of(self, name: str) -> list[bytes]:
        """The keys by which the user of *name* comes."""
        return self._members.keys_of(name)

    def _where(self) -> dict[str, Any]:
        server_key = key_text(self.keys.public)
        return {"host": self._host, "port": self._port, "server_key": server_key}

    def listed(self, invited: bool, after: str, most: int) -> list[dict[str, str]]:
        """Some of the members, or of the invitations that are open; see `Members.listed`."""
        return self._members.listed(invited, after, most, _now())

    def revoke(self, who: str, key: bytes | None) -> list[bytes]:
        """Takes back all keys of *who*, or just *key*; which these were.  To be kept by
        `catch_up`."""
        keys = self._members.revoke(who) if key is None else self._members.revoke_key(key)
        if not keys:
            raise NotAdmitted(f"{who!r} is not admitted; 'chatbroker members' lists who is")
        return keys

    @property
    def behind(self) -> bool:
        """Whether a key is taken back, and that is not kept yet."""
        return self._members.behind

    def catch_up(self) -> str:
        """Keeps what is not kept yet; if that cannot be, why, in words."""
        try:
            self._members.catch_up()
        except NotAdmitted as error:
            return str(error).partition(";")[0]
        return ""


def _now() -> int:
    return time.time_ns() // 1_000_000
