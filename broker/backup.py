"""A copy of a journal's file, made while a broker may write to it."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ..command.files import place_of, sync_folder
from .check import check_database
from .database import explain, for_now, open_to_read
from .journal import JournalError
from .own_files import ENDINGS, OWN, is_a_brokers

STEP = 1000
"""Pages that are copied at a time: some milliseconds, after which a signal is heeded."""


def back_up(source: Path, target: Path, replace: bool = False) -> None:
    """Copies the database at *source* to *target*, whole or not at all; *replace*: also if
    something is there.  What is damaged is not copied: what is there may be the last good copy.

    The copy is one file, which only its owner may read.  It is marked as one: a broker that
    starts on it begins a new epoch, as its history goes back in time (`SqliteJournal`).

    Raises JournalError.
    """
    with closing(open_to_read(source)) as db:
        try:
            _look_at(source, target, replace)
            target = place_of(target)
            with _drafted(target) as draft:
                _copy(db, draft)
                _require_whole(draft, source, target)
                _sync(draft)
                _put(draft, target, replace)
        except sqlite3.Error as error:
            # A file that is new is not damaged: what it is made of is.
            raise explain(error, target if for_now(error) else source) from None
        except OSError as error:
            raise JournalError(
                f"cannot write {target}: {error.strerror}; give a file elsewhere"
            ) from None


def _look_at(source: Path, target: Path, replace: bool) -> None:
    if target.is_dir():
        raise JournalError(f"{target} is a folder; give a file")
    if _is_own(source, target):
        raise JournalError(f"{target} is the broker's own file; give another")
    if target.exists() and not replace:
        raise _in_the_way(target)


def _is_own(source: Path, target: Path) -> bool:
    """Whether *target* is where the broker of *source* keeps something, or another one; also if
    nothing is there yet."""
    if target.exists() and target.samefile(source):
        return True
    place = Path(os.path.realpath(target))
    # SQLite has its files beside what a link points to.
    if place in [Path(f"{os.path.realpath(source)}{ending}") for ending in ENDINGS]:
        return True
    here = place.parent == Path(os.path.realpath(source.parent))
    return is_a_brokers(place) or (here and place.name in OWN)


def _in_the_way(target: Path) -> JournalError:
    return JournalError(f"{target} is there already; --force replaces it")


@contextmanager
def _drafted(target: Path) -> Iterator[Path]:
    """While entered, a file beside *target*, which takes its place in one step.  Raises OSError."""
    # Not a lock of the draft: on a network's file system it would be in the way of SQLite's.
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # Another one is at work, or the file system has no such locks.
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear(target)
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        draft = target.with_name(f".{target.name}.{os.urandom(8).hex()}.new")
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            yield draft
        finally:
            for ending in ENDINGS:
                Path(f"{draft}{ending}").unlink(missing_ok=True)
    finally:
        os.close(folder)


def _clear(target: Path) -> None:
    """Removes the drafts of those who were killed; nobody is at work in the folder."""
    endings = "|".join(ENDINGS)
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}\.new({endings})")
    for left in list(target.parent.iterdir()):
        if name.fullmatch(left.name):
            left.unlink(missing_ok=True)


def _copy(db: sqlite3.Connection, draft: Path) -> None:
    # What is committed meanwhile does not make it begin again: all is read in one transaction.
    db.execute("BEGIN")
    db.execute("SELECT 1 FROM meta").fetchone()
    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        db.backup(copy, pages=STEP, progress=_heed_signals)
    db.execute("COMMIT")  # The write-ahead log grows as long as somebody reads.
    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        # One file, also for who may only read it.
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.execute("INSERT OR REPLACE INTO meta VALUES('copied', ?)", (b"1",))


def _heed_signals(status: int, remaining: int, total: int) -> None:
    """Python raises what a signal asks for when it runs a line of its own."""


def _require_whole(draft: Path, source: Path, target: Path) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        report = check_database(copy)
    if report.count:
        more = f", and {report.count - 1} more faults" if report.count > 1 else ""
        raise JournalError(
            f"{source} is damaged: {report.faults[0]}{more}; {target} stays as it was, "
            "and 'chatbroker check' tells more"
        )


def _sync(draft: Path) -> None:
    number = os.open(draft, os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _put(draft: Path, target: Path, replace: bool) -> None:
    if replace:
        draft.replace(target)
    else:
        try:
            target.hardlink_to(draft)
        except FileExistsError:
            raise _in_the_way(target) from None
    # The file is there after a power cut only if its folder says so.
    sync_folder(target.parent)
