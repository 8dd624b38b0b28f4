"""What a journal's file says of users, sessions and logs, taken up if it can be so.

A disk may give back other bytes than were written, and SQLite takes any value in any column.
"""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection
from typing import Any, TypeVar

from ..wire.limits import EPOCH_LENGTH, MAX_INT
from ..wire.names import is_name
from . import runs
from .journal import SessionRecord, UserRecord
from .retention import KeptLog

MAX_NUMBER = 1 << 62
"""SQLite's are below 2^63, and some of these are counted on from.  Those of sessions are not, and
clients choose some of them: they are up to MAX_INT."""

# Of the fields of each record; a boolean is an int here, as the tables give it back.
_USER = (str, bytes, bytes, str, int, int, int, int)
_SESSION = (bytes, str, int, int, bytes, int, int, int, int)
_LOG = (int, str, *(int,) * 6)


def checked(value: Any, type: type, most: int = MAX_NUMBER) -> Any:
    """*value*, if it is of *type*, and if a number, from 0 to *most*.  Raises ValueError."""
    if not isinstance(value, type):
        raise ValueError(f"{type.__name__} is wanted")  # noqa: TRY004 - a damaged file
    if isinstance(value, int) and not 0 <= value <= most:
        raise ValueError(f"a number from 0 to {most} is wanted")
    return value


def fields(record: Any, types: tuple[type, ...], most: int = MAX_NUMBER) -> list[Any]:
    """Those of *record*, if they are `checked`.  Raises ValueError."""
    return [checked(value, type, most) for value, type in zip(record, types, strict=True)]


def user_record(record: Any) -> UserRecord:
    """*record* as that of a user.  Raises ValueError."""
    user = UserRecord(*fields(record, _USER))
    if not is_name(user.name) or len(user.epoch) != EPOCH_LENGTH:
        raise ValueError("no user can be so")
    return user


def session_record(record: Any) -> SessionRecord:
    """*record* as that of a session.  Raises ValueError."""
    # Those of tables and older ones have all outcomes, and do not say so.
    types = _SESSION[: max(len(record), len(_SESSION) - 1)]
    session = SessionRecord(*fields(record, types, MAX_INT))
    runs.check(session.outcomes, session.cseq)
    return session


def read_people(db: Connection) -> tuple[dict[str, UserRecord], dict[bytes, SessionRecord]]:
    """The users that the tables of *db* have, by their names, and the sessions, by their ids.

    Raises ValueError, sqlite3.Error."""
    users = _read(db, "users", "*", user_record)
    sessions = _read(db, "sessions", "*", session_record)
    return {user.name: user for user in users}, {session.id: session for session in sessions}


def read_logs(db: Connection) -> dict[int, KeptLog]:
    """The logs that the tables of *db* have, by their numbers.

    Raises ValueError, sqlite3.Error."""
    columns = "id, key, head, lost, size, oldest, newest, dropped"
    return {log.id: log for log in _read(db, "logs", columns, _log)}


def _log(line: Any) -> KeptLog:
    log = KeptLog(*fields(line, _LOG))
    if log.lost > log.head:
        raise ValueError("more is lost than there was")
    return log


T = TypeVar("T")


def _read(db: Connection, table: str, columns: str, make: Callable[[Any], T]) -> list[T]:
    try:
        return [make(line) for line in db.execute(f"SELECT {columns} FROM {table}")]
    except ValueError as error:
        raise ValueError(f"table {table} is damaged: {error}") from None
