"""The files of a secure broker: its own key, and who is admitted.

    server.key      {"secret": …, "owner": …}          made at the first start that succeeds
    members.json    {"members": […], "invitations": […]}

They lie in the data folder, and only its owner can read them.  Each is written whole or not at
all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..command.files import read_regular, write_private
from ..wire.errors import BadKey, BadName
from ..wire.keys import key_text, parse_key
from ..wire.names import canonical_name
from .config import StartError
from .hints import or_room
from .members import Invitation, Member, Roll
from .sanctions import LATEST

SERVER_KEY = "server.key"
MEMBERS = "members.json"

# What reading a file may meet that somebody wrote by hand.
BROKEN = (
    BadKey,
    BadName,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)


class Secrets(NamedTuple):
    """Secret keys."""

    server: bytes
    """The broker proves itself by it."""
    owner: bytes
    """The broker's own user gets in by it, on the same machine."""


def server_secrets(folder: Path) -> Secrets | None:
    """The secrets of the broker whose data are in *folder*; None if it has none.

    Raises StartError.
    """
    path = folder / SERVER_KEY
    try:
        found = _read(path)
        return Secrets(parse_key(found["secret"]), parse_key(found["owner"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _cannot("read the broker's key in", path, error) from None
    except BROKEN:
        raise StartError(
            f"the broker's key in {path} is broken; put a copy of it in its place, "
            "or remove it and invite everyone anew"
        ) from None


def store_secrets(folder: Path, secrets: Secrets) -> None:
    """Keeps *secrets* in *folder*, which had none.  Raises StartError."""
    path = folder / SERVER_KEY
    kept = {"secret": key_text(secrets.server), "owner": key_text(secrets.owner)}
    try:
        write_private(path, json.dumps(kept) + "\n", replace=False)
    except OSError as error:
        raise _cannot("keep the broker's key in", path, error) from None
    found = server_secrets(folder)
    if found != secrets:
        # Of a broker that came and went between our two looks.  The ports have ours.
        raise StartError(f"the broker's key in {path} was made by another just now; try again")


def keeps_keys(folder: Path) -> bool:
    """Whether those of a secure broker lie in *folder*, as far as one may look; or where a link
    there leads, though nothing may be there now."""
    path = folder / SERVER_KEY
    try:
        return path.is_symlink() or path.exists()
    except OSError:
        return False


def load_members(folder: Path) -> Roll:
    """Who is admitted, as kept in *folder*.  Raises StartError."""
    path = folder / MEMBERS
    try:
        found = _read(path)
        return Roll(
            tuple([Member(*_entry(one), _time(one["since"])) for one in found["members"]]),
            tuple(
                [Invitation(*_entry(one), _time(one["expires"])) for one in found["invitations"]]
            ),
        )
    except FileNotFoundError:
        return Roll()
    except OSError as error:
        raise _cannot("read", path, error) from None
    except BROKEN:
        # To take it for empty would lock everyone out, and the next change would write that.
        raise StartError(
            f"the list of who is admitted in {path} is broken; put a copy of it in its place, "
            "or remove it and invite everyone anew"
        ) from None


def store_members(folder: Path, roll: Roll) -> None:
    """Keeps *roll* in *folder*; it is on disk then.  Raises OSError."""

    def entries(of: tuple[Any, ...]) -> list[dict[str, Any]]:
        return [one._asdict() | {"key": key_text(one.key)} for one in of]

    kept = {"members": entries(roll.members), "invitations": entries(roll.invitations)}
    write_private(folder / MEMBERS, json.dumps(kept, indent=1) + "\n")


def _read(path: Path) -> Any:
    return json.loads(read_regular(path))


def _entry(one: Any) -> tuple[str, bytes]:
    return canonical_name(one["name"]), parse_key(one["key"])


def _time(value: Any) -> int:
    time = int(value)
    if not 0 <= time <= LATEST:
        raise ValueError(value)
    return time


def _cannot(verb: str, path: Path, error: OSError) -> StartError:
    words = f"cannot {verb} {path}: {error.strerror or error}"
    hint = or_room(error, "let the broker's user read and write it")
    return StartError(f"{words}; {hint}")
