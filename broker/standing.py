"""Whether a journal is still where it was opened.

A process goes on to write into files that were removed or replaced beneath it, without an error,
and all of that goes with the process.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

LOOK_EVERY = 0.02
"""Seconds after which it is looked again.  A look takes some microseconds."""


class Standing:
    """The files of the journal at *path*, which is open, its write-ahead log included.

    Raises OSError if one of them is not there."""

    def __init__(self, path: Path) -> None:
        # Beside the file that a link points to.
        log = Path(f"{os.path.realpath(path)}-wal")
        self._files = [(file, file.stat()) for file in (path, log)]
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
