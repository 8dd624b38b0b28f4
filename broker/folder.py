"""The folder in which one broker keeps its data."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..command.files import open_shared
from ..command.folders import data_folder
from .config import StartError
from .control import listens
from .hints import ELSEWHERE_ON_DISK, OPENABLE, or_room

log = logging.getLogger("chatbroker")

LOCK = "lock"
"""The name of the file whose lock says that a broker serves from its folder."""


def folder_of(port: int) -> Path:
    """Where the broker on *port* keeps its data, unless it is told otherwise."""
    return data_folder() / f"broker-{port}"


@contextmanager
def as_its_owner(folder: Path) -> Iterator[None]:
    """Root does what follows with the rights of whose *folder* is: what it writes there is theirs,
    and what they planted there, a link say, has it do nothing that they could not do.

    Raises StartError if root may not, or they cannot get there."""
    owner = _whose(folder) if os.geteuid() == 0 else None
    if owner is None:
        yield
        return
    with ExitStack() as undone:
        try:
            # Each is undone after what was done later: by then this is root again.
            undone.callback(os.setgroups, os.getgroups())
            os.setgroups([owner.st_gid])
            undone.callback(os.setegid, os.getegid())
            os.setegid(owner.st_gid)
            undone.callback(os.seteuid, 0)
            os.seteuid(owner.st_uid)
            folder.stat()
        except OSError as error:
            raise StartError(
                f"cannot look at data folder {folder} as its user {owner.st_uid}: "
                f"{error.strerror}; be that user (sudo -u)"
            ) from None
        yield


def _whose(folder: Path) -> os.stat_result | None:
    """Who first has a say, other than root, in what *folder* is: of those to whom it belongs, and
    what it lies in, and the links on the way.  None if nobody has, or it is not there."""
    try:
        place = Path(os.path.abspath(folder))
        for way in (place, place.resolve(strict=True)):
            for one in (*reversed(way.parents), way):
                found = os.lstat(one)
                if found.st_uid != 0:
                    return found
    except OSError:
        pass  # Whoever looks for it there tells.
    return None


class DataFolder:
    """A data folder, for this process alone.

    It is made, with the folders above it, if it is not there; nobody but its owner may look
    into it.  Raises StartError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: list[int] = []
        make_folder(path)
        try:
            self._lock = open_shared(path / LOCK, os.O_RDWR)
        except OSError as error:
            raise _unusable(path, error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._lock, 20).decode(errors="replace").strip()
            os.close(self._lock)
            if not isinstance(error, BlockingIOError):
                raise StartError(
                    f"cannot lock data folder {path}: {error.strerror}; {ELSEWHERE_ON_DISK}"
                ) from None
            by = f" (pid {holder})" if holder else ""
            raise StartError(
                f"data folder {path} is in use by another broker{by}; "
                "stop it, or give another with --data-dir"
            ) from None
        if not _same(self._lock, path / LOCK):
            # Whoever had it went, and took the file along, between our two looks.
            os.close(self._lock)
            raise StartError(f"data folder {path} was left by another broker just now; try again")
        try:
            os.ftruncate(self._lock, 0)
            os.write(self._lock, f"{os.getpid()}\n".encode())
        except OSError as error:
            os.close(self._lock)
            raise _unusable(path, error) from None

    def hold(self, file: Path) -> None:
        """Has *file*, which is there, be nobody else's, also if they come by a link to it, or after
        somebody removed the lock of this folder.  Raises StartError."""
        # It stays open until whoever reads and writes the file has closed it: who closes a file
        # loses the locks that SQLite has on it in the same process.
        try:
            self._held.append(os.open(file, os.O_RDWR))
        except OSError as error:
            raise StartError(f"cannot open {file}: {error.strerror}; {OPENABLE}") from None
        try:
            fcntl.flock(self._held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"{file} is in use by another broker; stop it, or give another --data-dir"
            ) from None
        except OSError as error:
            raise StartError(f"cannot lock {file}: {error.strerror}; {ELSEWHERE_ON_DISK}") from None

    def remove(self) -> None:
        """Lets others use it, and leaves no trace of it that is not another's."""
        if self._lock >= 0:
            # It may be another's by now, if the folder was moved away and made anew.
            own = _same(self._lock, self.path / LOCK)
            if own:
                (self.path / LOCK).unlink(missing_ok=True)
            self.close()
            if own:
                with suppress(OSError):  # Something is in it: data of a broker that kept them.
                    self.path.rmdir()

    def close(self) -> None:
        """Lets others use it."""
        while self._held:
            os.close(self._held.pop())
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def make_folder(path: Path) -> None:
    """Makes a data folder, with those above it, if it is not there; nobody but its owner may
    look into it.  Raises StartError."""
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            # With parents=True only the last one would get the mode.
            folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise _is_a_file(path) from None
    except OSError as error:
        raise _unusable(path, error) from None
    if not path.is_dir():
        raise _is_a_file(path)
    if not missing and path.stat().st_mode & 0o077:
        log.warning("folder path=%s is open to others; chmod 700 would close it", path)


def _is_a_file(path: Path) -> StartError:
    return StartError(f"data folder {path} is a file; give another with --data-dir")


def _unusable(path: Path, error: OSError) -> StartError:
    hint = or_room(error, "give another with --data-dir, or keep nothing with --memory")
    return StartError(f"cannot use data folder {path}: {error.strerror}; {hint}")


def in_use(path: Path) -> bool:
    """Whether a broker serves from the data folder at *path*, also if somebody removed its lock.

    Raises StartError."""
    try:
        lock = os.open(path / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return listens(path)
    except OSError as error:
        raise StartError(
            f"cannot look at data folder {path}: {error.strerror}; be the user whose broker it is"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return listens(path)
