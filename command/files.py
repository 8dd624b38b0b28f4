"""Files that nobody else may read, written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CANNOT = (errno.EINVAL, errno.ENOTSUP)
"""What a file system says that cannot flush a folder (fsync(2))."""


def open_shared(path: Path, flags: int) -> int:
    """Opens *path* with *flags*, and makes it if it is not there: readable for its owner only,
    who is that of the folder if root makes it.  Not for secrets of root's.  Raises OSError."""
    try:
        made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        _require_own_link(path)
        return os.open(path, flags | os.O_CREAT, 0o600)
    try:
        owner = path.parent.stat()
        if os.geteuid() == 0 and os.fstat(made).st_uid != owner.st_uid:
            # Whoever else the folder is there for could not read it.
            os.fchown(made, owner.st_uid, owner.st_gid)
    except OSError:
        os.close(made)
        path.unlink(missing_ok=True)
        raise
    return made


def write_private(path: Path, text: str, *, replace: bool = True, shared: bool = False) -> None:
    """Has *text* in the file *path* on disk, readable for its owner only.

    Whoever reads it meanwhile finds what was there before, or this.  *replace*: as `place_of`
    has it; else what is there stays as it is.  *shared*: as `open_shared` makes it.  Raises
    OSError.
    """
    if replace:
        path = place_of(path)
    beside, descriptor = draft_of(path, open_shared if shared else _open_private)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            # Else a power cut could leave an empty file.
            os.fsync(descriptor)
            if replace:
                beside.replace(path)
            else:
                # Not a rename, which would write over what another process put there meanwhile.
                with suppress(FileExistsError):
                    os.link(beside, path)
                beside.unlink()
        sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def draft_of(path: Path, opened: Callable[[Path, int], int]) -> tuple[Path, int]:
    """A new file beside *path*, open and locked, which takes its place when it is whole.  *opened*:
    makes it, with flags.  Raises OSError.

    `clear_drafts` leaves it there as long as it is open.  Those that others left go."""
    clear_drafts(path)
    while True:
        beside = path.with_name(f".{path.name}.{os.urandom(8).hex()}.new")
        descriptor = opened(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return beside, descriptor
        except BlockingIOError:
            pass
        except OSError:  # Not every file system can do it: then nobody clears there.
            return beside, descriptor
        os.close(descriptor)  # Another process found it before it was locked, and removes it.


def _open_private(path: Path, flags: int) -> int:
    return os.open(path, flags, 0o600)


def clear_drafts(path: Path) -> None:
    """Removes the drafts of *path* that were left by processes that were killed."""
    draft = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.new")
    with suppress(OSError):  # Of a folder that cannot be used it is told when one is made there.
        for left in [name for name in os.listdir(path.parent) if draft.fullmatch(name)]:
            with suppress(OSError):
                _remove_unheld(path.with_name(left))


def _remove_unheld(file: Path) -> None:
    """Removes *file*.  Raises OSError, BlockingIOError if a process that lives holds it."""
    descriptor = os.open(file, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink()
    finally:
        os.close(descriptor)


def read_regular(path: Path) -> bytes:
    """All of the file *path*.  Raises OSError, also if it is no regular file: a pipe would have its
    reader wait for who writes into it.

    FileNotFoundError is for a place where nothing is.  What a link leads to may not be mounted,
    say: it is not to be taken for what never was."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        if path.is_symlink():
            raise OSError(errno.EINVAL, "a link there leads nowhere") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def place_of(path: Path) -> Path:
    """Where a file is put that takes the place of *path*: behind a link, which stays.

    Raises OSError if what is there is no regular file: a device would be no more; or a link of
    another user's."""
    _require_own_link(path)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")
    return Path(os.path.realpath(path))


def _require_own_link(path: Path) -> None:
    """Raises PermissionError if *path* is a link of another user's, neither this one's nor root's.

    By it whoever owns a folder would have root, who writes there, write into any file."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in (0, os.geteuid()):
            raise PermissionError(errno.EPERM, "a link there is another user's")


def make_private(folder: Path, below: Path) -> None:
    """Makes *folder* and what is between it and *below*, which it lies in, for its owner only;
    and *below*, if it is not there, as any other folder.  Raises OSError."""
    between = [one for one in folder.parents if one.is_relative_to(below)]
    try:
        # mkdir(parents=True) would give only the last one the mode.
        below.parent.mkdir(parents=True, exist_ok=True)
        for one in (*reversed(between), folder):
            one.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


def sync_folder(folder: Path) -> None:
    """Has the names in *folder* on disk, if its file system can do that.  Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
    finally:
        os.close(descriptor)
