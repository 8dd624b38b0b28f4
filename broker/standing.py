"""Whether a journal, or a data folder, is still where it was opened.

A process goes on to write into files that were removed or replaced beneath it, without an error,
and all of that goes with the process.  What it writes by a path goes to wherever the path leads by
then: to nobody's folder, or to another's.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from .config import StartError

LOOK_EVERY = 0.02
"""Seconds after which it is looked again.  A look takes some microseconds."""


class Standing:
    """What is at *paths*, and in use.  Raises OSError if something is not there."""

    def __init__(self, *paths: Path) -> None:
        self._files = [(file, file.stat()) for file in paths]
        self._look_at = 0.0
        self._fault = ""

    def fault(self) -> str:
        """What is wrong, or was a moment ago, in words; empty if nothing is.

        It may be right again: a folder that was moved may come back."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._fault = self._look()
        return self._fault

    def _look(self) -> str:
        for file, opened in self._files:
            try:
                found = file.stat()
            except OSError as error:
                return f"{file} is gone: {error.strerror}"
            if not os.path.samestat(opened, found):
                return f"{file} was replaced while it was in use"
        return ""

    def insist(self) -> None:
        """Raises OSError, with what is wrong now as its words: before what is rare and written by
        a path."""
        if why := self._look():
            raise OSError(errno.ESTALE, why)


def standing_journal(path: Path) -> Standing:
    """The files of the journal at *path*, which is open, its write-ahead log included.

    Raises OSError."""
    # Beside the file that a link points to.
    return Standing(path, Path(f"{os.path.realpath(path)}-wal"))


def standing_folder(path: Path) -> Standing:
    """The data folder at *path*, from now on.  Raises StartError."""
    try:
        return Standing(path)
    except OSError as error:
        words = f"data folder {path} cannot be used: {error.strerror}"
        raise StartError(f"{words}; give another with --data-dir") from None
