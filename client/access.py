"""How a client gets in to a broker: which keys it presents, if any.

Found in files: the keys that ``chat accept`` left, or on the broker's own machine what the broker
left for its own user (``command/local.py``).
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from ..command.files import make_private, read_regular, write_private
from ..command.folders import data_folder
from ..command.local import EVERYWHERE, local_folder, read_local
from ..wire.errors import BadKey
from ..wire.keys import key_text, parse_key
from .address import Address, parse_address, plain_text
from .errors import IdentityError, NotAuthorised, UsageError
from .identity import Identity, folder_of

SERVER = ".broker"
"""The file of a broker's public key, beside the identities at that broker.  No name begins with
a dot."""


class _Own(NamedTuple):
    """What a secure broker left for its own user."""

    server_key: bytes
    secret: bytes


class Access(NamedTuple):
    """Where to connect, and by which keys."""

    host: str
    port: int
    server_key: bytes = b""
    """The public key that the broker must prove; empty for a plain broker."""
    secret: bytes = b""
    """One's own secret key."""
    name: str = ""
    """Whose key it is; empty for that of the broker's own user."""

    invited: bool = False
    """Whether the key is that of an invitation."""

    # Of the following, each stands before "on ADDRESS".

    @property
    def not_admitted(self) -> str:
        """What to say when the broker does not let the key in: why, it does not tell."""
        if self.invited:
            words = "another invitation is needed: this one was used, or is out of date"
            return f"{words} (or its user is banned),"
        if not self.name:
            return "the key that the broker left for its own user is out of date"
        words = f"an invitation is needed: the key of {self.name!r} is not admitted, or no more"
        return f"{words} (or its user is banned),"

    @property
    def other_mode(self) -> str:
        """What to say when the broker is secure, and this client is not, or the reverse."""
        if self.server_key:
            return "nothing is encrypted or proved by the plain broker"
        known = "or its whole address if your key is admitted"
        return (
            f"an invitation, for 'chat accept', {known}, is needed to get in to the secure broker"
        )

    @property
    def wrong_key(self) -> str:
        """What to say when the broker cannot prove the key."""
        known = key_text(self.server_key)
        return f"the key {known} is not proved by the broker, which is another one or set up anew,"


def find_access(address: Address, name: str | None, identity: Identity | None = None) -> Access:
    """How *name*, or an observer (None), gets in to the broker at *address*.

    *identity*: that of *name*, if it was looked up already.  Raises NotAuthorised, IdentityError.
    """
    host, port, secure, _ = address
    known = known_server(address)
    local = _own(address)
    if not (secure or known or local):
        return Access(host, port)
    server_key = _server_key(address, known, local)
    if identity is None and name is not None:
        identity = Identity.kept(plain_text(address), name)
    if identity is not None and identity.key:
        return Access(host, port, server_key, identity.key, identity.name)
    if local is not None and local.server_key == server_key:
        return Access(host, port, server_key, local.secret)
    if name is None:
        for own in own_names(address):
            found = Identity.kept(plain_text(address), own)
            if found is not None and found.key:
                return Access(host, port, server_key, found.key, own)
    # A name that was made up for the moment is of no interest.
    whose = f" of {identity.name!r}" if identity is not None else ""
    raise NotAuthorised(
        f"there is no key{whose} for the secure broker at {plain_text(address)}; "
        "ask its operator for an invitation, for 'chat accept'"
    )


def own_names(address: Address) -> list[str]:
    """The names that one has keys for at the broker at *address*, sorted."""
    kept = [Identity.kept(plain_text(address), name) for name in kept_names(address)]
    return [identity.name for identity in kept if identity is not None and identity.key]


def kept_names(address: Address) -> list[str]:
    """The names that one has used at the broker at *address*, sorted.  Raises IdentityError."""
    return [name for name in _names_in(folder_of(address)) if not name.startswith(".")]


def known_brokers() -> list[str]:
    """The addresses of the brokers that files tell of, sorted: where one has used a name, or was
    let in, and secure ones that one runs.  Raises IdentityError."""
    found = set()
    left = [name.removesuffix(".json") for name in _names_in(local_folder())]
    for name in [*left, *_names_in(data_folder() / "identities")]:
        host, _, port = name.rpartition("_")
        host = unquote(host)
        if host in EVERYWHERE:
            host = "127.0.0.1"
        with suppress(UsageError):  # No file of ours.
            address = parse_address(f"tcp://{f'[{host}]' if ':' in host else host}:{port}")
            secure = is_own_user(address) or bool(known_server(address))
            if secure or name not in left:
                found.add(plain_text(address._replace(secure=secure)))
    return sorted(found)


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise IdentityError(
            f"cannot look into {folder}: {error.strerror}; make it readable for you"
        ) from None


def is_own_user(address: Address) -> bool:
    """Whether the secure broker at *address* is run by this user, on this machine."""
    return _own(address) is not None


def known_server(address: Address) -> bytes:
    """The public key that the broker at *address* is known to have; empty for none.

    Raises IdentityError."""
    path = folder_of(address) / SERVER
    try:
        return parse_key(json.loads(read_regular(path))["server_key"])
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise IdentityError(
            f"cannot read {path}: {error.strerror}; make it readable for you"
        ) from None
    except (BadKey, ValueError, TypeError, LookupError):
        raise IdentityError(f"the broker's key in {path} is broken; accept an invitation") from None


def check_server(address: Address) -> None:
    """Raises NotAuthorised, if the broker there is known by another key than that in *address*;
    IdentityError."""
    known = known_server(address)
    if known:
        _server_key(address, known, None)


def remember_server(address: Address) -> None:
    """Keeps the key in *address*, for addresses without one.  Raises as `check_server`."""
    check_server(address)
    if known_server(address):
        return
    path: Path = folder_of(address) / SERVER
    try:
        make_private(path.parent, data_folder())
        write_private(path, json.dumps({"server_key": key_text(address.server_key)}) + "\n")
    except OSError as error:
        raise IdentityError(
            f"cannot keep {path}: {error.strerror}; "
            "set CHATBROKER_DATA to a folder that you can write to"
        ) from None


def _server_key(address: Address, known: bytes, local: _Own | None) -> bytes:
    if known and address.server_key and known != address.server_key:
        raise NotAuthorised(
            f"the broker at {plain_text(address)} is known by another key than this one; "
            f"if it was set up anew, remove {folder_of(address) / SERVER}"
        )
    found = address.server_key or known or (local.server_key if local else b"")
    if not found:
        raise NotAuthorised(
            f"no key of the broker at {plain_text(address)} is known; "
            "accept an invitation, or give the key: chat://HOST:PORT/KEY"
        )
    return found


def _own(address: Address) -> _Own | None:
    """What the broker at *address* left, if it is of this machine and this user."""
    local = read_local(address.host, address.port)
    if local is None:
        return None
    try:
        return _Own(parse_key(local.server_key), parse_key(local.secret))
    except BadKey:
        return None  # Written by hand, or by another version.
