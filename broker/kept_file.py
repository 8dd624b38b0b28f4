"""A small text on disk that is there whole, as it was or as it is."""

from __future__ import annotations

from pathlib import Path

from ..command.files import read_regular, write_private
from .config import StartError
from .hints import OPENABLE
from .sanctions import CannotKeep, Sanctions
from .standing import standing_folder

SANCTIONS = "sanctions.json"
"""The name of the file of bans and mutes in the data folder."""


class KeptFile:
    """The text in the file *path*, which only its owner may read, in a data folder that is this
    process's own.  Raises StartError if there is no such folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = standing_folder(path.parent)

    def read(self) -> str:
        """What is kept; empty if nothing ever was.  Raises CannotKeep."""
        try:
            self._folder.insist()
            return read_regular(self.path).decode()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise CannotKeep(f"cannot read {self.path}: {error.strerror}; {OPENABLE}") from None
        except UnicodeDecodeError:
            raise CannotKeep(
                f"cannot read {self.path}: it is not UTF-8; mend it or remove it"
            ) from None

    def write(self, text: str) -> None:
        """Keeps *text* in its place.  When this returns, a crash of the machine leaves it there.
        Raises CannotKeep; then it is not told what is there after a crash, this or what was."""
        try:
            self._folder.insist()
            write_private(self.path, text, shared=True)
        except OSError as error:
            words = f"cannot write {self.path}: {error.strerror}; it does not hold now"
            raise CannotKeep(f"{words}, see to that and try again") from None


def sanctions_in(folder: Path | None) -> Sanctions:
    """The bans and mutes that are kept in a data folder; None: that are kept nowhere.

    Raises StartError if what is there cannot be understood: nobody is let in for that."""
    if folder is None:
        return Sanctions()
    file = KeptFile(folder / SANCTIONS)
    try:
        return Sanctions(file.write, file.read())
    except CannotKeep as error:
        raise StartError(str(error)) from None
    except ValueError as error:
        raise StartError(f"cannot use {file.path}: {error}; mend it or remove it") from None
