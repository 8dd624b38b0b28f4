"""The file that says where a broker serves, for whoever waits until it does."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path

from ..command.files import draft_of, place_of
from .config import StartError
from .own_files import is_a_brokers

LONGEST = 65536
"""Bytes of one that may be a broker's; what is longer is no such file."""


class ReadyFile:
    """That of this process at *path*.

    It takes the place of another ready file, or of an empty one, as mktemp makes it, and of nothing
    else: a name that was mistyped costs nobody a file.  Raises StartError if none can be there.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._path = place_of(path)
        except OSError as error:
            raise _unwritable(path, error) from None
        self._written = self._path
        """Where what was written is: beside that, until it is shown."""
        self._held = -1
        """A lock on what was written, which ends with the process however it ends: the number
        of a process may be another's by then."""
        # A wrong name is told before anything is made.
        self._is_left_behind()
        if not os.access(self._path.parent, os.W_OK | os.X_OK):
            raise _unwritable(self._path, _why_not(self._path.parent))

    def clear(self) -> None:
        """Removes what a broker left that was killed: it would be taken for this one's, which
        does not serve yet.  That of another broker, which runs, stays until this one serves.

        Raises StartError, also if something else is there by now.
        """
        if not self._is_left_behind():
            return
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._path, error) from None

    def write(self, ready: dict[str, str | int]) -> None:
        """Writes it whole, beside its place, so that nothing but a name is missing.

        Raises StartError.
        """
        try:
            self._written, self._held = draft_of(self._path, _open_readable)
            self._written.write_text(json.dumps(ready) + "\n")
        except OSError as error:
            raise self._given_up(error) from None

    def show(self) -> None:
        """Has what was written be there: whoever waits for it may read at any moment.

        Raises StartError.
        """
        try:
            self._written.replace(self._path)
        except OSError as error:
            raise self._given_up(error) from None
        self._written = self._path

    def remove(self) -> None:
        """Removes it, unless another broker has written its own there.  Raises OSError."""
        try:
            # Not by the number of the process, which in containers all brokers share.
            if self._held >= 0 and os.path.samestat(os.fstat(self._held), os.stat(self._written)):
                self._written.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        finally:
            self._let_go()

    def _is_left_behind(self) -> bool:
        """Whether a broker wrote what is there and holds it no more.

        Raises StartError if what is there, or belongs there, is not to be replaced."""
        try:
            if is_a_brokers(self._path):
                raise OSError(errno.EEXIST, "it is a broker's own file")
            descriptor = os.open(
                self._path, os.O_RDONLY | os.O_NONBLOCK
            )  # It may be a FIFO by now.
            try:
                found = os.read(descriptor, LONGEST)
                if found and not _is_one(found):
                    raise OSError(errno.EEXIST, "what is there is no ready file")
                return found != b"" and _no_more_held(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unwritable(self._path, error) from None

    def _given_up(self, error: OSError) -> StartError:
        with suppress(OSError):
            self.remove()
        return _unwritable(self._path, error)

    def _let_go(self) -> None:
        held, self._held = self._held, -1
        if held >= 0:
            os.close(held)


def _why_not(folder: Path) -> OSError:
    """Why nothing can be written in *folder*."""
    number = errno.EACCES if folder.is_dir() else errno.ENOENT
    return OSError(number, os.strerror(number))


def _no_more_held(descriptor: int) -> bool:
    with suppress(OSError):  # Not every file system can do it: then nobody holds any.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _is_one(found: bytes) -> bool:
    """Whether a broker wrote it."""
    try:
        # A bool is an int of Python's, and no process.
        return type(json.loads(found)["pid"]) is int
    except (ValueError, TypeError, LookupError, RecursionError):
        return False


def _open_readable(path: Path, flags: int) -> int:
    return os.open(path, flags, 0o666)


def _unwritable(path: Path, error: OSError) -> StartError:
    return StartError(
        f"cannot write the ready file {path}: {error.strerror}; give another with --ready-file"
    )
