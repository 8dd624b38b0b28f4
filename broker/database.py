"""The file of a journal: its tables, how they came to be, and how it is opened.

The tables::

    bodies    the packed events of each row, in the order of commits
    loose     bodies that fewer rows have than they say, and how many do (``cutting``)
    rows      which body holds which positions of which log; id = log << 40 | first position
    turns     what the last commits changed in the other tables, until it is folded into them
    logs      one line for each log, with its head and what retention left of it
    users, sessions, meta

Why it is cut so: docs/decisions.md, "The journal on disk".
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..command.files import sync_folder
from .absent import no_journal
from .hints import ELSEWHERE, ELSEWHERE_ON_DISK, OPENABLE, REPLACE
from .journal import CannotStore, JournalError

FILE = "journal.db"
"""Its name in a data folder."""

PAGE = 8192
"""Bytes.  A body of a busy turn takes few pages, and each page that is touched is written."""

POSITIONS = 40
"""Bits of a row's id that hold the first position of its events; above are those of its log."""

CHECKPOINT = 1000
"""Pages of the write-ahead log after which SQLite copies them into the file within a commit, where
it was not done before."""

CACHE = 32 * 1024
"""KiB of pages that SQLite keeps in memory."""

SYNC = {"full": "FULL", "normal": "NORMAL", "off": "OFF"}
"""What is on disk when a commit returns: all of it; all but for a power cut, which may undo
the last commits; nothing that is certain but for a crash of the broker alone."""

BUSY = 5000
"""Milliseconds to wait for another process that writes, such as a checkpoint of a backup."""

_FIRST = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE logs(
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, head INTEGER NOT NULL,
    lost INTEGER NOT NULL, size INTEGER NOT NULL, oldest INTEGER NOT NULL,
    newest INTEGER NOT NULL, dropped INTEGER NOT NULL
);
CREATE TABLE rows(
    id INTEGER PRIMARY KEY, prev INTEGER NOT NULL, events INTEGER NOT NULL,
    time INTEGER NOT NULL, body INTEGER NOT NULL
);
CREATE TABLE bodies(id INTEGER PRIMARY KEY, refs INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE turns(id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE users(
    name TEXT PRIMARY KEY, proof BLOB NOT NULL, epoch BLOB NOT NULL, log TEXT NOT NULL,
    claimed INTEGER NOT NULL, read INTEGER NOT NULL, created INTEGER NOT NULL,
    seen INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE sessions(
    id BLOB PRIMARY KEY, user TEXT NOT NULL, born INTEGER NOT NULL, cseq INTEGER NOT NULL,
    outcomes BLOB NOT NULL, exclusive INTEGER NOT NULL, hears INTEGER NOT NULL,
    holding INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_of ON sessions(user);
"""

_BODIES_IN_TURNS = """
UPDATE turns SET data = CAST(x'97' || substr(data, 2) || x'90' AS BLOB)
WHERE substr(data, 1, 1) = x'96'
"""
"""The record of a turn ends with the bodies that it holds: an array of six becomes one of seven,
the last of which is empty (msgpack: 0x90 and the number of its elements)."""

_TEXTS_ALONE = ""
"""Bodies may hold events that are their texts alone (``wire.batch``).  What there is stays as it
is; but an older chatbroker would hand on what its clients cannot read."""

_FOLDED_IN_PARTS = ""
"""Rows may be in the tables and in the records of turns as well (``folding``), which an older
chatbroker would take for damage."""

_LOOSE_BODIES = """
CREATE TABLE loose(body INTEGER PRIMARY KEY, left INTEGER NOT NULL);
CREATE INDEX spare ON loose(body) WHERE left = 0
"""
"""Rows may go before the records that name them, and before their bodies (``cutting``)."""

_CHECKSUMS = "ALTER TABLE bodies ADD COLUMN crc INTEGER NOT NULL DEFAULT -1"
"""What a body was when it was stored (``tail.insert_bodies``); -1 of those that are older."""

_OUTCOMES_SINCE = ""
"""The record of a turn may have those outcomes of a session only that came since the one before."""

MIGRATIONS: tuple[str | Callable[[sqlite3.Connection], None], ...] = (
    _FIRST,
    _BODIES_IN_TURNS,
    _TEXTS_ALONE,
    _FOLDED_IN_PARTS,
    _LOOSE_BODIES,
    _CHECKSUMS,
    _OUTCOMES_SINCE,
)
"""Each takes the tables from one version to the next; never changed once released."""

VERSION = len(MIGRATIONS)


_HEADER = 100
"""Bytes that every database of SQLite begins with."""

_VERSIONS = slice(18, 20)
"""Those that tell how it is written: 1 with a rollback journal, 2 with a write-ahead log."""


def open_journal_file(path: Path, sync: str = "full") -> sqlite3.Connection:
    """The database at *path*, to write to; made, or brought up to date, if need be.

    Raises JournalError, of which CannotStore if it may do later.
    """
    try:
        if not path.exists():
            _make(path)
        _require_readable(path)
        _require_own(path)
        # One thread at a time uses it, which need not be the one that opens it: a server may be
        # made in one and run in another.
        db = sqlite3.connect(
            path, isolation_level=None, timeout=BUSY / 1000, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"cannot open {path}: {_reason(error)}; {OPENABLE}") from None
    try:
        if db.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
            words = "SQLite can share no memory there, as on a network's file system"
            raise JournalError(f"cannot use {path}: {words}; {ELSEWHERE_ON_DISK}")
        for pragma in (
            f"synchronous={SYNC[sync]}",
            f"wal_autocheckpoint={CHECKPOINT}",
            # What a large commit needed is given back.
            f"journal_size_limit={2 * CHECKPOINT * PAGE}",
            f"cache_size=-{CACHE}",
            # What each SQLite is built with differs, and to overwrite all that goes costs as much
            # again as to have it go (docs/decisions.md).
            "secure_delete=FAST",
        ):
            db.execute(f"PRAGMA {pragma}")
        _migrate(db, path)
    except sqlite3.Error as error:
        db.close()
        raise explain(error, path) from None
    except BaseException:
        db.close()
        raise
    return db


def _make(path: Path) -> None:
    """Makes a journal that holds nothing at *path*: it is there whole, or not at all.

    Raises JournalError, OSError."""
    place = Path(os.path.realpath(path))  # Where a link points to, which stays.
    log = Path(f"{place}-wal")
    if _size_of(log):
        # SQLite would have the new file take in what is in the log of another.
        words = f"it is gone, and {log} is not"
        raise JournalError(f"cannot use {path}: {words}; {REPLACE}")
    draft = place.with_name(f".{place.name}.new")
    draft.unlink(missing_ok=True)
    # Before SQLite does, with whatever rights the umask leaves.
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as db:
            # These take effect in a file without tables only.
            db.execute(f"PRAGMA page_size={PAGE}")
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            _migrate(db, path)
        draft.replace(place)
        sync_folder(place.parent)
    except sqlite3.Error as error:
        raise explain(error, path) from None
    finally:
        draft.unlink(missing_ok=True)


def open_to_read(path: Path) -> sqlite3.Connection:
    """The database at *path*, to be read only; a broker may be writing to it.

    Raises JournalError.
    """
    try:
        _require_readable(path)
        _require_own(path)
    except FileNotFoundError:
        raise no_journal(path) from None
    except OSError as error:
        raise JournalError(f"cannot open {path}: {error.strerror}; {OPENABLE}") from None
    try:
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            timeout=BUSY / 1000,
        )
    except sqlite3.Error as error:
        raise explain(error, path) from None
    try:
        with closing(db.execute("PRAGMA user_version")) as found:
            version = found.fetchone()[0]
    except sqlite3.Error as error:
        db.close()
        raise explain(error, path) from None
    if version != VERSION:
        db.close()
        raise _other_version(path, version)
    return db


def _require_readable(path: Path) -> None:
    """Raises OSError if *path* is no file that may be read: SQLite would not say which.

    To open it here would not do: who closes a file loses the locks that SQLite has on it in
    the same process.
    """
    path.stat()
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _require_own(path: Path) -> None:
    """Raises JournalError for a file that SQLite would take for a new one although it is not: it
    would write over what there is."""
    size = path.stat().st_size
    # SQLite takes a file of one byte for an empty one.
    if 0 < size < _HEADER:
        raise JournalError(f"cannot use {path}: it is no database; {REPLACE}")
    log = Path(f"{os.path.realpath(path)}-wal")  # Beside what a link points to.
    if _size_of(log):
        if size == 0:
            # It would remove the log, with all that was not copied out of it.
            words = f"it is empty, and {log} is not"
            raise JournalError(f"cannot use {path}: {words}; {REPLACE}")
        if _is_a_copy(path):
            # It would take in what is in the log: of another file, as that of a copy was taken in.
            words = f"it is a copy, and {log} is what is left of another file"
            raise JournalError(f"cannot use {path}: {words}; remove that first")
    if size == 0:
        # As a copy leaves it for which there was no room; and all names would be free at once.
        raise JournalError(f"cannot use {path}: it is empty; {REPLACE}")


def _size_of(path: Path) -> int:
    """0 if it is not there, or no longer."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_a_copy(path: Path) -> bool:
    """Whether the file has no log of its own: what was made of it by ``chatbroker backup``."""
    # Looked at by commands that have it open nowhere else; see `_require_readable`.
    with path.open("rb") as file:
        return file.read(_HEADER)[_VERSIONS] == b"\1\1"


def schema_of(db: sqlite3.Connection) -> set[tuple[str, str, str | None]]:
    """The tables and indices of *db*: kind, name, and how each was made."""
    return set(db.execute("SELECT type, name, sql FROM sqlite_master"))


def wanted_schema() -> set[tuple[str, str, str | None]]:
    """What `schema_of` gives for a journal of this version."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        _migrate(db, Path(":memory:"))
        return schema_of(db)


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise _other_version(path, version)
    for number, migration in enumerate(MIGRATIONS[version:], version + 1):
        # One transaction each: a process that dies in the middle leaves the version before.
        db.execute("BEGIN EXCLUSIVE")
        try:
            if isinstance(migration, str):
                for statement in migration.split(";\n"):
                    db.execute(statement)
            else:
                migration(db)
            db.execute(f"PRAGMA user_version={number}")
            db.execute("COMMIT")
        except BaseException:
            rollback(db)
            raise


def _other_version(path: Path, version: int) -> JournalError:
    if version > VERSION:
        return JournalError(
            f"{path} is of version {version}, and this chatbroker knows versions up to {VERSION}; "
            "upgrade chatbroker"
        )
    if version == 0:
        return JournalError(f"{path} holds no journal; {ELSEWHERE}")
    return JournalError(
        f"{path} is of version {version}, and {VERSION} is wanted; "
        "'chatbroker run' brings it up to date"
    )


def rollback(db: sqlite3.Connection) -> None:
    """Ends a transaction that failed, unless SQLite has done so itself."""
    if db.in_transaction:
        db.execute("ROLLBACK")


@contextmanager
def transaction(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """What is done within is stored, or none of it.  Raises CannotStore, JournalError."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except (sqlite3.Error, ValueError) as error:
        rollback(db)
        raise explain(error, path) from None


_FOR_NOW = {
    sqlite3.SQLITE_FULL: "no space left on the disk",
    sqlite3.SQLITE_IOERR_SHMSIZE: "no space left on the disk",
    sqlite3.SQLITE_IOERR: "the disk cannot be written or read",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only",
    sqlite3.SQLITE_BUSY: "another process has it locked",
    sqlite3.SQLITE_LOCKED: "it is locked",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_NOMEM: "no memory left",
}
_FOR_GOOD = {
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is no database",
    sqlite3.SQLITE_AUTH: "permission denied",
}

HINT = "'chatbroker check' tells more, and a backup can take its place"
_HINTS = {
    sqlite3.SQLITE_NOTADB: REPLACE,
    sqlite3.SQLITE_AUTH: "make it readable and writable for you",
}


def explain(error: Exception, path: Path) -> JournalError:
    """What *error* means for an operator: SQLite's, or one of what was read."""
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if for_now(error):
        return CannotStore(f"{_FOR_NOW.get(extended, _FOR_NOW[code])}: {path}")
    words = _FOR_GOOD.get(code, str(error))
    return JournalError(f"cannot use {path}: {words}; {_HINTS.get(code, HINT)}")


def for_now(error: Exception) -> bool:
    """Whether *error* says nothing of the file: the same may do later."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _FOR_NOW


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def boot_id() -> bytes:
    """What tells one start of this machine from another; empty where the system does not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return b""
