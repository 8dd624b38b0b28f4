"""Which files are a broker's, by where they are: what others write does not take their place."""

from __future__ import annotations

import errno
from pathlib import Path

from ..command.files import read_regular
from .audit import FILE as AUDIT
from .config import StartError
from .control import SOCKET, listens
from .database import FILE
from .folder import LOCK
from .hints import ELSEWHERE
from .kept_file import SANCTIONS
from .keyring import MEMBERS, SERVER_KEY

ENDINGS = ("", "-wal", "-shm", "-journal")
"""Of what SQLite has beside a file while it writes to it, and of the file itself."""

KEPT = (FILE, SANCTIONS, MEMBERS, SERVER_KEY)
"""What a broker goes on with at its next start: what is copied, and put back."""

OWN = {AUDIT, LOCK, SOCKET, *KEPT, *(f"{FILE}{e}" for e in ENDINGS)}
"""What a broker has in its data folder."""


def require_data(folder: Path) -> None:
    """Raises StartError if *folder* holds nothing that a broker kept there, or would go on with: it
    is another one than was meant, and stays as it is."""
    if not folder.is_dir():
        raise StartError(f"there is no data folder at {folder}; {ELSEWHERE}")
    # Its lock is not asked for: other programs have files of that name.
    if not any((folder / name).exists() for name in KEPT):
        raise StartError(f"{folder} is no broker's data folder; {ELSEWHERE}")


def is_a_brokers(file: Path) -> bool:
    """Whether *file*, on whose path is no link, is where a broker keeps something; also if nothing
    is there yet.  Raises OSError.

    A broker that serves, or served, left its lock in the folder, with the number of its process.
    Without one it is a folder of copies, say, and the names are like any other."""
    folder = file.parent
    return file.name in OWN and (_is_lock(folder / LOCK) or listens(folder))


def _is_lock(file: Path) -> bool:
    """Whether *file* is a broker's: others lock files of that name, too."""
    try:
        return read_regular(file).strip().isdigit()
    except OSError as error:
        # Whoever may not look at it need not be allowed to write beside it.
        return error.errno in (errno.EACCES, errno.EPERM)
