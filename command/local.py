"""How commands of a secure broker's own user find in: a file that only they can read.

A secure broker writes it when it serves and removes it when it stops::

    …/chatbroker/run/5555.json      {"host": …, "server_key": …, "secret": …, "pid": …}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from .files import make_private, write_private
from .folders import data_folder


class Local(NamedTuple):
    """What the file says.  Keys are texts, as people pass them on."""

    host: str
    """Where the broker listens."""
    server_key: str
    """The broker's public key."""
    secret: str
    """The secret key of the broker's own user, good until it stops."""
    pid: int


def local_path(port: int) -> Path:
    """Where that of the broker on *port* is."""
    return data_folder() / "run" / f"{port}.json"


def write_local(port: int, local: Local) -> None:
    """Lets the commands of this user find in.  Raises OSError."""
    path = local_path(port)
    make_private(path.parent, data_folder())
    write_private(path, json.dumps(local._asdict()) + "\n")


def remove_local(port: int, pid: int | None = None) -> None:
    """What is there is out of date.  *pid*: only that of this process, as another may serve on
    the port by now.  Raises OSError."""
    if pid is not None:
        local = read_local(port)
        if local is None or local.pid != pid:
            return
    local_path(port).unlink(missing_ok=True)


def read_local(port: int) -> Local | None:
    """How to find in to the broker on *port*; None if it is not this user's, or not secure."""
    try:
        found = json.loads(local_path(port).read_bytes())
        return Local(
            str(found["host"]), str(found["server_key"]), str(found["secret"]), int(found["pid"])
        )
    except (OSError, ValueError, TypeError, LookupError):
        return None
