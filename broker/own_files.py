"""Which files are a broker's, by where they are: what others write does not take their place."""

from __future__ import annotations

from pathlib import Path

from .audit import FILE as AUDIT
from .control import SOCKET, listens
from .database import FILE
from .folder import LOCK
from .kept_file import SANCTIONS
from .keyring import MEMBERS, SERVER_KEY

ENDINGS = ("", "-wal", "-shm", "-journal")
"""Of what SQLite has beside a file while it writes to it, and of the file itself."""

OWN = {AUDIT, LOCK, MEMBERS, SANCTIONS, SERVER_KEY, SOCKET, *(f"{FILE}{e}" for e in ENDINGS)}
"""What a broker has in its data folder."""


def is_a_brokers(file: Path) -> bool:
    """Whether *file*, on whose path is no link, is where a broker keeps something; also if nothing
    is there yet.  Raises OSError.

    A broker that serves, or served, left its lock in the folder.  Without one it is a folder of
    copies, say, and the names are like any other."""
    folder = file.parent
    return file.name in OWN and ((folder / LOCK).exists() or listens(folder))
