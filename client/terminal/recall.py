"""What was typed, kept for the next time.

…/chatbroker/typed    0600, in the format of prompt_toolkit's FileHistory
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from ...command.files import read_regular, write_private
from ...command.folders import data_folder

MOST_BYTES = 256 * 1024
"""Of a file that is larger only the newest half of so much is kept."""


class _Typed(FileHistory):
    """A file that may stop being writable while one types."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        super().__init__(path)
        self._tell = tell
        self._told = False

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string)
        except OSError as error:
            if not self._told:
                self._told = True
                self._tell(f"what is typed is not kept: {error.strerror}")


def typed_before(tell: Callable[[str], None]) -> History:
    """The lines of earlier times; of this time only, if they cannot be kept: then *tell* is
    called with words that say so."""
    path = data_folder() / "typed"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made here, because FileHistory would make it for all to read.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        found = read_regular(path)  # FileHistory would wait for who writes into a pipe.
        if len(found) > MOST_BYTES:
            newest = found[-MOST_BYTES // 2 :].decode(errors="replace")
            # An entry begins with an empty line and a comment.
            write_private(path, newest[max(newest.find("\n\n#"), 0) :])
    except OSError as error:
        tell(f"what is typed is not kept: cannot open {path}: {error.strerror}")
        return InMemoryHistory()
    return _Typed(path, tell)
