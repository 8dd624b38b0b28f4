"""How commands of a secure broker's own user find in: a file that only they can read.

A secure broker writes it when it serves and removes it when it stops::

    …/chatbroker/run/127.0.0.1_5555.json    {"host": …, "server_key": …, "secret": …, "pid": …}

Brokers may serve on the same port of several addresses, so its name has both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from .files import make_private, read_regular, write_private
from .folders import data_folder, file_name
from .hosts import is_loopback, one_spelling

EVERYWHERE = ("0.0.0.0", "::")
"""Who listens there is reached at all addresses of the machine: of IPv4, and of both."""


class Local(NamedTuple):
    """What the file says.  Keys are texts, as people pass them on."""

    host: str
    """Where the broker listens."""
    server_key: str
    """The broker's public key."""
    secret: str
    """The secret key of the broker's own user, good until it stops."""
    pid: int


def local_path(host: str, port: int) -> Path:
    """Where that of the broker on *host* and *port* is."""
    return local_folder() / f"{file_name(host, port)}.json"


def write_local(port: int, local: Local) -> None:
    """Lets the commands of this user find in.  Raises OSError."""
    clear_local(local.host, port)
    path = local_path(local.host, port)
    make_private(path.parent, data_folder())
    write_private(path, json.dumps(local._asdict()) + "\n")


def clear_local(host: str, port: int) -> None:
    """Whoever listens on *host* and *port* now is alone there: what others left that were reached
    there is out of date.  Raises OSError."""
    host = one_spelling(host)
    if host in EVERYWHERE:
        stale = [
            path
            for path in local_folder().glob(f"*_{port}.json")
            # A colon, as `file_name` has it: an address of IPv6, where another may listen.
            if host == "::" or "%3A" not in path.name or path == local_path("::", port)
        ]
    else:
        stale = [local_path(each, port) for each in (host, *_everywhere(host))]
    for path in stale:
        path.unlink(missing_ok=True)


def remove_local(host: str, port: int, pid: int) -> None:
    """The broker of process *pid* stops: what it left is out of date.  Another may serve there by
    now.  Raises OSError."""
    path = local_path(host, port)
    local = _read(path)
    if local is not None and local.pid == pid:
        path.unlink(missing_ok=True)


def read_local(host: str, port: int) -> Local | None:
    """How to find in to the broker that is reached at *host* and *port*; None if it is not this
    user's, or not secure."""
    host = one_spelling(host)
    hosts = (host, *_everywhere(host)) if is_loopback(host) else (host,)
    for each in hosts:
        found = _read(local_path(each, port))
        if found is not None:
            return found
    return None


def local_folder() -> Path:
    """Where these files are."""
    return data_folder() / "run"


def _everywhere(host: str) -> tuple[str, ...]:
    """Those of EVERYWHERE by which *host* is reached, too."""
    return EVERYWHERE[1:] if ":" in host else EVERYWHERE


def _read(path: Path) -> Local | None:
    try:
        found = json.loads(read_regular(path))
        return Local(
            str(found["host"]), str(found["server_key"]), str(found["secret"]), int(found["pid"])
        )
    except (OSError, ValueError, TypeError, LookupError):
        return None
