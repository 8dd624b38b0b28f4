"""Whether a journal's file is whole: what its tables and its tail say must fit together.

Rows and bodies are read as a stream, in the order of their logs and in that of their bodies;
logs, users and sessions are no more than a broker holds in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from heapq import merge
from pathlib import Path
from typing import Any, NamedTuple

from ..wire.batch import unpack_events
from ..wire.errors import BadFrame
from ..wire.limits import MAX_EVENTS
from ..wire.messages import Event
from .absent import no_journal
from .cutting import ROW_COST, check_loose
from .database import POSITIONS, for_now, schema_of, wanted_schema
from .hints import OPENABLE
from .journal import JournalError
from .retention import KeptLog
from .snapshot import Snapshot, reading
from .tail import intact

MOST_FAULTS = 20
"""That are told in words; the others are counted."""


class Summary(NamedTuple):
    """What a file holds."""

    messages: int
    """Each once: a direct one in the mailbox of its recipient, or of its sender if the recipient
    has none."""
    logs: int
    users: int
    sessions: int
    bytes: int
    """Of the file, without its write-ahead log."""
    oldest: int
    newest: int
    """Times of messages, in milliseconds since 1970; 0 if there is none."""


class Report:
    """What a check found."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        """At most MOST_FAULTS of them."""
        self.count = 0
        """Of all faults."""
        self.summary: Summary | None = None
        """None if it could not be read to the end."""

    def fault(self, words: str) -> None:
        """Notes one."""
        self.count += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(words)


def check_journal(path: Path) -> Report:
    """Looks at the whole of the database at *path*; a broker may be writing to it.

    Raises JournalError if it cannot be opened, of which CannotStore if it cannot be looked at now.
    """
    with reading(path) as db:
        return check_database(db)


def check_database(db: sqlite3.Connection) -> Report:
    """Looks at the whole of *db*, which does not change meanwhile.

    Raises sqlite3.Error if that cannot be done now."""
    report = Report()
    try:
        # Only where the file itself is sound is it worth to look at what it says.
        if _sound(db, report) and _typed(db, report):
            _Checking(db, report).run()
    except sqlite3.DatabaseError as error:
        if for_now(error):  # It sorts, for which it may need room on the disk.
            raise
        report.fault(f"the file is damaged: {error}")
    except (ValueError, TypeError) as error:
        report.fault(str(error))
    return report


def _sound(db: sqlite3.Connection, report: Report) -> bool:
    for (words,) in db.execute(f"PRAGMA integrity_check({MOST_FAULTS})"):
        if words != "ok":
            report.fault(f"the file is damaged: {' '.join(words.split())}")
    return not report.count


def _typed(db: sqlite3.Connection, report: Report) -> bool:
    """Whether the tables are those of a journal, and each field of its column's type: SQLite
    takes anything anywhere."""
    if schema_of(db) != wanted_schema():
        report.fault("the tables are not those of a journal")
        return False
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
        columns = db.execute(f"SELECT name, lower(type) FROM pragma_table_info('{table}')")
        wrong = " OR ".join([f"typeof({name}) != '{kind}'" for name, kind in columns])
        (count,) = db.execute(f"SELECT count(*) FROM {table} WHERE {wrong}").fetchone()
        if count:
            report.fault(f"table {table}: {count} of its lines have a field of a wrong type")
    return not report.count


class _Checking:
    """One look at one database, within one transaction."""

    def __init__(self, db: sqlite3.Connection, report: Report) -> None:
        self._db = db
        self._report = report
        self._kept = Snapshot(db)
        self._heads = self._kept.heads()
        self._tail = list(self._kept.rows())
        self._messages = 0
        self._oldest = self._newest = 0

    def run(self) -> None:
        self._turns()
        self._chains()
        self._bodies()
        self._loose()
        self._people()
        kept = self._kept
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (page,) = self._db.execute("PRAGMA page_size").fetchone()
        logs = len(kept.logs) - len(self._dropped())
        numbers = (self._messages, logs, len(kept.users), len(kept.sessions), pages * page)
        self._report.summary = Summary(*numbers, self._oldest, self._newest)

    def _dropped(self) -> set[str]:
        """The keys of logs that are to go."""
        dropped = {log.key for log in self._kept.logs.values() if log.dropped}
        keys = {log.key for log in self._kept.logs.values()}
        return dropped | keys & {key for turn in self._kept.turns.values() for key in turn.dropped}

    def _turns(self) -> None:
        numbers = list(self._kept.turns)
        if numbers and numbers[-1] - numbers[0] != len(numbers) - 1:
            self._report.fault("turns: a turn is missing between the first and the last")

    # --- the rows of each log -------------------------------------------------------------

    def _chains(self) -> None:
        """The rows of each log follow each other, from what was lost to the head."""
        chains = {id: _Chain(log, self._report) for id, log in self._kept.logs.items()}
        for id, prev, events, time, _ in self._db.execute("SELECT * FROM rows ORDER BY id"):
            log, first = id >> POSITIONS, id & (1 << POSITIONS) - 1
            if log in chains:
                chains[log].add(prev, first, events, time)
            else:
                self._report.fault(f"row {id}: there is no log {log}")
        for chain in chains.values():
            chain.end_of_tables()
        for log, prev, first, events, time, _ in self._tail:
            if log in chains:
                chains[log].add(prev, first, events, time)
            else:
                self._report.fault(f"turns: a row is of log {log}, which is not there")
        times = [chain.oldest for chain in chains.values() if chain.rows]
        self._oldest = min(times, default=0)
        self._newest = max([c.newest for c in chains.values() if c.rows], default=0)

    # --- bodies ---------------------------------------------------------------------------

    def _uses(self) -> Iterator[tuple[int, int, int, bool]]:
        """Body, log, events of each row, and whether it is folded; in the order of bodies."""
        lines = self._db.execute("SELECT body, id, events FROM rows ORDER BY body")
        folded = ((body, id >> POSITIONS, events, True) for body, id, events in lines)
        tail = sorted([(body, log, events, False) for log, _, _, events, _, body in self._tail])
        return merge(folded, tail, key=lambda use: use[0])

    def _bodies(self) -> None:
        """Every body is what its rows say, and is there for them."""
        report = self._report
        sizes = dict.fromkeys(self._kept.logs, 0)
        owners = self._owners()
        uses = self._uses()
        use = next(uses, None)
        own = sorted([body for turn in self._kept.turns.values() for body in turn.bodies])
        find = "SELECT 1 FROM bodies WHERE id=?"
        alone = {one[0] for one in own if self._db.execute(find, one[:1]).fetchone() is None}
        before: list[Any] = []
        with closing(self._db.execute(_BODIES)) as bodies:
            for *body, loose in merge(bodies, [(*body, 0) for body in own]):
                if body == before:
                    continue  # In a record and, as a row of it is folded, in the table.
                before = body
                id, refs, data, crc = body
                while use is not None and use[0] < id:
                    report.fault(f"log {use[1]}: body {use[0]} of a row is missing")
                    use = next(uses, None)
                said: Sequence[Event | None] = ()
                try:
                    said = unpack_events(data)
                    events = len(said)
                except BadFrame as error:
                    report.fault(f"body {id}: {error}")
                    events = -1
                if events >= 0 and not intact(data, events, crc):
                    report.fault(f"body {id}: it is not what was stored")
                if events > MAX_EVENTS:
                    report.fault(f"body {id}: {events} events, and readers take {MAX_EVENTS}")
                found = 0
                while use is not None and use[0] == id:
                    found += 1
                    if use[3] and id in alone:
                        report.fault(f"log {use[1]}: body {id} of a row is in a record only")
                    if events not in (-1, use[2]):
                        report.fault(f"body {id}: {events} events, and {use[2]} for log {use[1]}")
                    if use[3] and use[1] in sizes:
                        sizes[use[1]] += ROW_COST + len(data)
                    if use[1] in owners:
                        self._messages += self._count(said, owners[use[1]])
                    use = next(uses, None)
                if not found and not (loose and not refs):
                    report.fault(f"body {id}: no row has it")
                elif found != refs:
                    report.fault(f"body {id}: {found} rows have it, and it says {refs}")
        while use is not None:
            report.fault(f"log {use[1]}: body {use[0]} of a row is missing")
            use = next(uses, None)
        for number, log in self._kept.logs.items():
            if log.size != sizes[number]:
                report.fault(f"log {log.key}: size {log.size}, and its rows take {sizes[number]}")

    def _loose(self) -> None:
        """What is loose is there."""
        try:
            check_loose(self._db)
        except ValueError:
            self._report.fault("loose: a body is not there, or fewer rows have it than are gone")

    def _owners(self) -> dict[int, str]:
        """By the number of each log that is not to go, whose mailbox it is; empty for nobody's."""
        users = {user.log: user.name for user in self._kept.users.values()}
        dropped = self._dropped()
        logs = self._kept.logs.items()
        return {n: users.get(log.key, "") for n, log in logs if log.key not in dropped}

    def _count(self, said: Sequence[Event | None], owner: str) -> int:
        """How many of *said* count where they lie in the mailbox of *owner*, empty for none."""
        if not owner:
            return len(said)
        users = self._kept.users
        copies = [
            True
            for event in said
            if event and event.sender == owner and event.to != owner and event.to in users
        ]
        return len(said) - len(copies)

    # --- people ---------------------------------------------------------------------------

    def _people(self) -> None:
        """Users have a mailbox each, and sessions a user."""
        report, kept = self._report, self._kept
        dropped = self._dropped()
        owners: dict[str, str] = {}
        for user in kept.users.values():
            if user.log in owners:
                report.fault(f"user {user.name}: has the mailbox of {owners[user.log]}")
            owners[user.log] = user.name
            if user.log in dropped:
                report.fault(f"user {user.name}: the mailbox is to go")
            elif user.read > self._heads.get(user.log, 0):
                report.fault(f"user {user.name}: has read more than there is")
        for session in kept.sessions.values():
            if session.user not in kept.users:
                report.fault(f"session {session.id.hex()}: there is no user {session.user}")


_BODIES = """
SELECT id, coalesce(left, refs), data, crc, left IS NOT NULL FROM bodies
LEFT JOIN loose ON body = id ORDER BY id
"""
"""With as many rows as there are to be, and whether some went."""


class _Chain:
    """The rows of one log as they come, in order."""

    def __init__(self, log: KeptLog, report: Report) -> None:
        self._log = log
        self._report = report
        self._head = log.lost
        self.rows = 0
        self.oldest = self.newest = 0

    def _fault(self, words: str) -> None:
        self._report.fault(f"log {self._log.key}: {words}")

    def add(self, prev: int, first: int, events: int, time: int) -> None:
        """The next row."""
        if first != prev + 1 or events < 1:
            self._fault(f"a row of {events} events from {first} on says it follows {prev}")
        if prev > self._head:
            self._fault(f"positions {self._head + 1} to {prev} are missing")
        elif prev < self._head:
            self._fault(f"positions {prev + 1} to {self._head} are there twice")
        if self.rows and time < self.newest:
            self._fault(f"the time falls at position {first}")
        if not self.rows:
            self.oldest = time
        self._head = first + events - 1
        self.newest = time
        self.rows += 1

    def end_of_tables(self) -> None:
        """What comes now is not folded: so far the rows are what the log's line tells of."""
        log = self._log
        if log.head != self._head:
            self._fault(f"head {log.head}, and the rows end at {self._head}")
        if self.rows and (log.oldest, log.newest) != (self.oldest, self.newest):
            self._fault(f"times {log.oldest} to {log.newest}: {self.oldest} to {self.newest} found")


def journal_at(path: Path, file: str) -> Path:
    """The database that *path* means: itself, or *file* in it if it is a folder.

    Raises JournalError if neither is there.
    """
    try:
        found = path / file if path.is_dir() else path
        if not found.exists():
            raise no_journal(found)
    except OSError as error:
        raise JournalError(f"cannot look at {path}: {error.strerror}; {OPENABLE}") from None
    return found
