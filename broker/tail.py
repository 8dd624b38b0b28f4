"""What the last commits changed, until it is folded into the tables.

A row that goes into its place in the tables touches a page of its log: a commit that spans
fifty mailboxes writes a hundred pages for a few bytes each.  So a commit appends all it changes
as one record, and the tables take in the changes of many commits at once.

The bodies of a small turn are in its record too: a lone message is one page to write and flush,
where a table more would be two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from sqlite3 import Connection
from typing import Any, NamedTuple
from zlib import crc32

import msgpack

from .journal import Commit, SessionRecord, UserRecord
from .log import Row
from .retention import KeptLog
from .stored import checked, fields, session_record, user_record

MOST_ROWS = 2000
MOST_TURNS = 250
MOST_BYTES = 16 * 1024 * 1024
"""Of bodies and of records.  Beyond any of these it is time to fold."""

LATE, OVERDUE = 1.5, 2
"""With so many times as much, parts are taken in whatever else there is to do; and more than the
second is not let come together."""

SMALL = 2000
"""Bytes of bodies that a record holds itself.  They are written a second time when it is folded, so
larger ones go to their table at once."""

StoredRow = tuple[int, int, int, int, int, int]
"""Log, prev, first, events, time, body."""

Body = tuple[int, int, bytes, int]
"""Its id, how many rows have it, the packed events, and the checksum of these and their number."""

UNKNOWN = -1
"""The checksum of bodies that are older than checksums."""


def insert_bodies(db: Connection, bodies: Iterable[Body]) -> None:
    """Puts *bodies* into their table.  Raises sqlite3.Error."""
    db.executemany("INSERT INTO bodies(id, refs, data, crc) VALUES(?, ?, ?, ?)", bodies)


def numbered(
    said: Sequence[Row], logs: Sequence[KeptLog], next_body: int
) -> tuple[list[StoredRow], list[Body]]:
    """The rows that were *said*, each in one of *logs*, and their bodies, with numbers from
    *next_body* on."""
    rows: list[StoredRow] = []
    bodies: list[Body] = []
    places: dict[int, int] = {}
    for row, log in zip(said, logs, strict=True):
        # A conversation lies in the mailboxes of both, and is stored once.
        place = places.setdefault(id(row.body), len(bodies))
        if place == len(bodies):
            bodies.append((next_body + place, 1, row.body, crc32(row.body, row.events)))
        else:
            body, refs, data, crc = bodies[place]
            bodies[place] = (body, refs + 1, data, crc)
        rows.append((log.id, row.prev, row.first, row.events, row.time, bodies[place][0]))
    return rows, bodies


def intact(data: bytes, events: int, crc: int) -> bool:
    """Whether a body of so many events is what was stored, as far as can be told."""
    return crc in (UNKNOWN, crc32(data, events))


class TailRow(NamedTuple):
    """A row of a log that is not in the tables yet."""

    prev: int
    first: int
    events: int
    time: int
    body: int
    """The id of its body."""
    data: bytes
    """The body itself."""


class Turn(NamedTuple):
    """One commit as stored: with numbers for its logs, and for the bodies of its rows."""

    ended: list[bytes]
    gone: list[str]
    dropped: list[str]
    users: list[UserRecord]
    sessions: list[SessionRecord]
    rows: list[StoredRow]
    bodies: list[Body]
    """Those of its rows, which were in no table when it was stored: all of them, or none."""


def pack_turn(commit: Commit, rows: list[StoredRow], bodies: Sequence[Body]) -> bytes:
    """The record of *commit*, whose rows were given numbers; *bodies*: those that it holds."""
    packed: bytes = msgpack.packb((*[list(part) for part in commit[:5]], rows, bodies))
    return packed


_ROW = (int,) * 6
_BODY = (int, int, bytes, int)


def _body(line: Any) -> Body:
    if len(line) == len(_BODY) - 1:  # Older ones have no checksum.
        line = (*line, UNKNOWN)
    id, refs, data = fields(line[:3], _BODY[:3])
    crc = line[3] if line[3] == UNKNOWN else checked(line[3], int)
    return id, refs, data, crc


def unpack_turn(data: bytes) -> Turn:
    """The opposite of `pack_turn`.  Raises ValueError for what is none."""
    try:
        ended, gone, dropped, users, sessions, rows, bodies = msgpack.unpackb(data, use_list=False)
        return Turn(
            [checked(id, bytes) for id in ended],
            [checked(name, str) for name in gone],
            [checked(log, str) for log in dropped],
            [user_record(user) for user in users],
            [session_record(session) for session in sessions],
            [
                (log, prev, first, events, time, body)
                for log, prev, first, events, time, body in [fields(row, _ROW) for row in rows]
            ],
            [_body(line) for line in bodies],
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"not the record of a turn: {error}") from None


def still_kept(turn: Turn, logs: Mapping[int, KeptLog]) -> Turn:
    """*turn* without what retention had go since, which takes it from the tables and leaves the
    record as it is.  *logs*: by number, as their table has them."""
    went = Counter([row[-1] for row in turn.rows if _is_lost(row, logs)])
    if not went:
        return turn
    rows = [row for row in turn.rows if not _is_lost(row, logs)]
    bodies = [
        (id, refs - went[id], data, crc) for id, refs, data, crc in turn.bodies if refs > went[id]
    ]
    return turn._replace(rows=rows, bodies=bodies)


def _is_lost(row: StoredRow, logs: Mapping[int, KeptLog]) -> bool:
    log, _, first, _, _, _ = row
    return log in logs and first <= logs[log].lost


class Tail:
    """The changes of the turns that are not folded yet, put together."""

    def __init__(self) -> None:
        self.turns = 0
        self.count = 0
        """Rows."""
        self.records = 0
        """Bytes of records."""
        self.data = 0
        """Bytes of bodies."""
        self.rows: dict[KeptLog, list[TailRow]] = {}
        self.bodies: dict[int, Body] = {}
        """Those that the records hold and no table yet, by their ids."""
        self.gone: dict[str, None] = {}
        """Users of whom nothing is to stay that was there before these turns."""
        self.users: dict[str, UserRecord] = {}
        self.sessions: dict[bytes, SessionRecord | None] = {}
        """None for one that is over."""
        self._of: dict[str, dict[bytes, None]] = {}
        """Those that are not over, by their users."""

    @property
    def full(self) -> bool:
        """Whether it is time to fold."""
        return self._beyond(1)

    @property
    def late(self) -> bool:
        """Whether more comes than the tables take in."""
        return self._beyond(LATE)

    @property
    def overdue(self) -> bool:
        """Whether all of it is to be folded now."""
        return self._beyond(OVERDUE)

    def _beyond(self, times: float) -> bool:
        return (
            self.count > times * MOST_ROWS
            or self.turns > times * MOST_TURNS
            or self.data + self.records > times * MOST_BYTES
        )

    def add_row(self, log: KeptLog, row: TailRow) -> None:
        self.rows.setdefault(log, []).append(row)
        self.count += 1
        self.data += len(row.data)

    def drop_rows(self, logs: Iterable[KeptLog]) -> None:
        """The tables have those of *logs*, with their bodies."""
        for log in logs:
            rows = self.rows.pop(log, ())
            self.count -= len(rows)
            for row in rows:
                self.data -= len(row.data)
                self.bodies.pop(row.body, None)

    def drop_changes(self, ids: Iterable[bytes]) -> None:
        """The tables have what changed of users, and of the sessions *ids*."""
        self.gone.clear()
        self.users.clear()
        for id in ids:
            self._set(id, None)
            del self.sessions[id]

    def drop_turns(self, turns: int, records: int) -> None:
        """The first *turns* are to be forgotten, whose records had *records* bytes."""
        self.turns -= turns
        self.records -= records

    def add(self, turn: Commit | Turn, size: int = 0) -> None:
        """Takes in what *turn*, whose record has *size* bytes, changed of users and sessions."""
        self.turns += 1
        self.records += size
        for id in turn.ended:
            self._set(id, None)
        for name in turn.gone:
            self.gone[name] = None
            self.users.pop(name, None)
            # Not of all sessions: hundreds may go in a turn, and there may be many thousands.
            for id in self._of.pop(name, ()):
                self.sessions[id] = None
        for user in turn.users:
            self.users[user.name] = user
        for session in turn.sessions:
            self._set(session.id, session.over(self.sessions.get(session.id)))

    def _set(self, id: bytes, session: SessionRecord | None) -> None:
        before = self.sessions.get(id)
        self.sessions[id] = session
        old, new = before and before.user, session and session.user
        if old == new:
            return
        if old is not None:
            del self._of[old][id]
            if not self._of[old]:
                del self._of[old]
        if new is not None:
            self._of.setdefault(new, {})[id] = None

    def overlay(self, users: dict[str, UserRecord], sessions: dict[bytes, SessionRecord]) -> None:
        """Brings what was read from the tables up to date.  Raises ValueError, if something is
        missing there."""
        for name in self.gone:
            users.pop(name, None)
        for id in [id for id, session in sessions.items() if session.user in self.gone]:
            del sessions[id]
        users.update(self.users)
        for id, changed in self.sessions.items():
            if changed is None:
                sessions.pop(id, None)
            else:
                sessions[id] = session = changed.over(sessions.get(id))
                if not session.whole:
                    raise ValueError("it is damaged")
