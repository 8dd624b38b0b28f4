"""A copy of a journal's file, made while a broker may write to it."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from ..command.files import place_of, sync_folder
from .check import check_database
from .database import explain, for_now, open_to_read
from .journal import JournalError


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
            # Beside it, so that it takes its place in one step.
            number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
            draft = Path(name)
            try:
                _copy(db, draft)
                _require_whole(draft, source, target)
                os.fsync(number)
                _put(draft, target, replace)
            finally:
                os.close(number)
                for ending in ("", "-wal", "-shm", "-journal"):
                    Path(f"{draft}{ending}").unlink(missing_ok=True)
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
    if not target.exists():
        return
    if target.samefile(source):
        raise JournalError(f"{target} is the broker's own file; give another")
    if not replace:
        raise _in_the_way(target)


def _in_the_way(target: Path) -> JournalError:
    return JournalError(f"{target} is there already; --force replaces it")


def _copy(db: sqlite3.Connection, draft: Path) -> None:
    # In one step: what is committed meanwhile does not make it begin again.
    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        db.backup(copy)
    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        # One file, also for who may only read it.
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.execute("INSERT OR REPLACE INTO meta VALUES('copied', ?)", (b"1",))


def _require_whole(draft: Path, source: Path, target: Path) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        report = check_database(copy)
    if report.count:
        more = f", and {report.count - 1} more faults" if report.count > 1 else ""
        raise JournalError(
            f"{source} is damaged: {report.faults[0]}{more}; {target} stays as it was, "
            "and 'chatbroker check' tells more"
        )


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
