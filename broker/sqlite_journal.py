"""A journal on disk, in one SQLite file.

A commit appends: the bodies of its rows, and one record of all else that it changed.  The
tables in which rows, heads, users and sessions are looked up take in many such records together
(``tail``, ``folding``).  Nothing that grows with the history is read when it is opened.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from math import inf
from pathlib import Path
from typing import NamedTuple

from ..wire.messages import ECHO_LOG
from .cleaning import Cleaning
from .cutting import ROW_COST
from .database import (
    POSITIONS,
    SYNC,
    boot_id,
    explain,
    open_journal_file,
    rollback,
    transaction,
)
from .folding import A_PART, Fold
from .former import Former, pack_former, unpack_former
from .hints import REPLACE
from .journal import CannotStore, Commit, JournalError, Kept, Page
from .looking_up import Damage, page_after, position_at
from .retention import KeptLog, Retention
from .standing import Standing, standing_journal
from .stored import read_logs, read_people
from .tail import (
    SMALL,
    Body,
    Tail,
    TailRow,
    insert_bodies,
    numbered,
    pack_turn,
    still_kept,
    unpack_turn,
)
from .write_ahead import WriteAheadLog

log = logging.getLogger("chatbroker")

EPOCH = 8

AGAIN = 500
"""Milliseconds after which a part of a fold that could not be written is tried again."""


class _Stored(NamedTuple):
    """What is on disk now, and not noted in memory yet."""

    commit: Commit
    record: int
    """Bytes of its record."""
    bodies: list[Body]
    small: bool
    """Whether the record holds them; else they are in their table."""
    new: list[KeptLog]
    logs: list[KeptLog]
    """Of each row."""
    rows: list[tuple[int, int, int, int, int, int]]


class SqliteJournal:
    """The journal in the file *path*, which no other process may write to.

    *sync*: ``full``, ``normal`` or ``off``; what each may lose: docs/cli.md.
    *keep*: milliseconds after which a message may go; None: never.
    *keep_bytes*: what all messages may take; None: any amount.
    *fresh* gives so many unpredictable bytes.
    *release* is called when it is closed.

    Raises JournalError.
    """

    durable = True

    def __init__(
        self,
        path: Path,
        sync: str = "full",
        keep: int | None = None,
        keep_bytes: int | None = None,
        fresh: Callable[[int], bytes] = os.urandom,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._release = release
        self._path = path
        self._sync = sync
        self._fresh = fresh
        self._db = open_journal_file(path, sync)
        self._logs: dict[str, KeptLog] = {}
        self._next_body = self._next_turn = 1
        self._tail = Tail()
        self._folding: Fold | None = None
        """A fold of which some parts are written."""
        self._behind = False
        """Whether a part could not be written: nothing is committed before all is folded."""
        self._time = self._again = 0
        """Of the last tidying, and from when on such a part is tried again."""
        self._retention = Retention(keep, keep_bytes)
        self._leaving: dict[KeptLog, int] = {}
        """Logs that were dropped, and the turn after that: they may not go before all turns that
        came before it are folded, whose records may name them."""
        self._ahead = WriteAheadLog(self._db, path)
        self._cleaning = Cleaning(self._db, path, self._retention, self._tail, self._ahead)
        self._unsettled: _Stored | None = None
        self._standing: Standing | None = None
        self._damage = Damage()
        self._loaded = False
        """Whether what is stored was taken up.  Else it is left as it is: of what was taken up by
        half, a fold would drop the other half."""
        self._folds_first = False
        """Whether a fold came before retention when it was tidied last."""
        self.commits = 0
        """How many there were."""
        self.events = 0
        """How many they held."""

    @property
    def size(self) -> int:
        return self._retention.size

    @property
    def in_memory(self) -> int:
        return self._tail.data

    @property
    def messages(self) -> int:
        return sum([log.head - log.lost for log in self._logs.values()])

    @property
    def most_bytes(self) -> int | None:
        return self._retention.most_bytes

    def retain(self, keep: float | None, keep_bytes: int | None) -> None:
        self._retention.bound(None if keep is None else round(keep * 1000), keep_bytes)

    # --- opening --------------------------------------------------------------------------

    def load(self, fresh: bytes) -> Kept:
        try:
            # Whether commits may be undone is noted here, and must not be undone with them.
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("BEGIN IMMEDIATE")
            kept = self._load(fresh)
            self._db.execute("COMMIT")
            self._db.execute(f"PRAGMA synchronous={SYNC[self._sync]}")
            self._standing = standing_journal(self._path)
        except (sqlite3.Error, ValueError, OSError) as error:
            rollback(self._db)
            raise explain(error, self._path) from None
        self._loaded = True
        return kept

    def _load(self, fresh: bytes) -> Kept:
        read = self._db.execute
        by_id = read_logs(self._db)
        for log in by_id.values():
            self._retention.add(log, 0)
            if log.dropped:
                self._leaving[log] = 0
            else:
                self._logs[log.key] = log
        numbers = range(1, self._retention.highest)
        self._retention.free_ids = [id for id in numbers if id not in by_id]
        self._take_up_turns(by_id)
        users, sessions = read_people(self._db)
        self._tail.overlay(users, sessions)
        if any(session.user not in users for session in sessions.values()):
            raise ValueError("it is damaged")
        fold = Fold(self._tail, self._retention, self._next_turn, inf)
        fold.write(self._db)
        fold.stored()
        self._cleaning.load()
        self._next_body = 1 + (read("SELECT max(id) FROM bodies").fetchone()[0] or 0)
        meta: dict[str, bytes] = dict(read("SELECT key, value FROM meta").fetchall())
        epoch = self._epoch_of(meta, fresh)
        heads = {key: log.head for key, log in self._logs.items()}
        former = unpack_former(meta.get("former", b""))
        if "epoch" in meta and epoch != meta["epoch"]:
            before = {ECHO_LOG: meta["epoch"]} | {u.log: u.epoch for u in users.values()}
            former = {key: Former(old, heads.get(key, 0)) for key, old in before.items()}
            self._note(former=pack_former(former))
            users = {n: u._replace(epoch=self._fresh(EPOCH)) for n, u in users.items()}
            lines = [(user.epoch, user.name) for user in users.values()]
            self._db.executemany("UPDATE users SET epoch=? WHERE name=?", lines)
        self._note(epoch=epoch, sync=self._sync.encode(), boot=boot_id(), open=b"1", copied=b"")
        newest = max([log.newest for log in self._logs.values()], default=0)
        return Kept(epoch, newest, heads, list(users.values()), list(sessions.values()), former)

    def _take_up_turns(self, by_id: dict[int, KeptLog]) -> None:
        """Reads what was committed and not folded by the process before."""
        read = self._db.execute
        for number, data in read("SELECT id, data FROM turns ORDER BY id").fetchall():
            self._next_turn = number + 1
            turn = still_kept(unpack_turn(data), by_id)
            for key in turn.dropped:
                self._forget(key)
            own = {id: (body,) for id, _, body, _ in turn.bodies}
            for id, prev, first, events, time, body in turn.rows:
                found = own.get(body)
                if found is None:
                    found = read("SELECT data FROM bodies WHERE id=?", (body,)).fetchone()
                if found is None or id not in by_id:
                    raise ValueError("it is damaged")
                if first <= by_id[id].head:
                    # It is in the tables, as part of a fold; and if it is not, nowhere.
                    row = (id << POSITIONS | first, prev, events, time, body)
                    if read(_FOLDED_ROW, row[:1]).fetchone() != row:
                        raise ValueError("it is damaged")
                    continue
                self._take(by_id[id], TailRow(prev, first, events, time, body, *found))
            self._tail.add(turn, len(data))
            for line in turn.bodies:
                found = read(_BODY, line[:1]).fetchone()
                if found is None:
                    self._tail.bodies[line[0]] = line
                elif found != line:
                    raise ValueError("it is damaged")

    def _epoch_of(self, meta: dict[str, bytes], fresh: bytes) -> bytes:
        """The epoch of these data: a new one, if they may have gone back in time.

        What readers know of positions would be wrong then: numbers are given a second time.
        """
        copied = meta.get("copied", b"") != b""
        # A power cut may have undone commits, if they were not waited for.
        unsure = meta.get("open") == b"1" and meta.get("sync") != b"full"
        # Where the system does not tell its starts apart, this may be another one.
        undone = unsure and not (boot_id() and meta.get("boot") == boot_id())
        return fresh if copied or undone else meta.get("epoch", fresh)

    def _note(self, **values: bytes) -> None:
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", list(values.items()))

    # --- committing -----------------------------------------------------------------------

    def commit(self, commit: Commit) -> None:
        if not any(commit):
            return
        self.settle()
        if why := self._astray():
            raise CannotStore(why)
        if self._tail.overdue or self._behind:
            self._fold()
        db = self._db
        logs, new = self._logs_of(commit)
        for row in commit.rows:
            if row.last >> POSITIONS:
                # Its rows would run into another log's.  At 100,000 a second it takes months.
                raise JournalError(f"cannot use {self._path}: log {row.log} is full; {REPLACE}")
        rows, bodies = numbered(commit.rows, logs, self._next_body)
        size = sum([len(body[2]) for body in bodies])
        small = size <= SMALL
        turn = pack_turn(commit, rows, bodies if small else ())
        try:
            if new or not small:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(_INSERT_LOG, [log.line() for log in new])
                insert_bodies(db, () if small else bodies)
                db.execute(_INSERT_TURN, (self._next_turn, turn))
                db.execute("COMMIT")
            else:
                # One statement is a transaction of its own, at two calls less.
                db.execute(_INSERT_TURN, (self._next_turn, turn))
        except sqlite3.Error as error:
            rollback(db)
            # The same commit may come again, and finds all as it was.
            highest = self._retention.highest
            self._retention.free_ids += [log.id for log in new if log.id <= highest]
            raise explain(error, self._path) from None
        self._unsettled = _Stored(commit, len(turn), bodies, small, new, logs, rows)

    def settle(self) -> None:
        """Brings what is in memory up to date with what is on disk."""
        stored, self._unsettled = self._unsettled, None
        if stored is None:
            return
        commit, record, bodies, small, new, logs, rows = stored
        self.commits += 1
        self._next_turn += 1
        self._next_body += len(bodies)
        self._tail.add(commit, record)
        if small:
            self._tail.bodies.update([(body[0], body) for body in bodies])
        else:
            record += sum([len(body[2]) for body in bodies])
        self._ahead.committed(record)
        for key in commit.dropped:
            self._forget(key)
        for log in new:
            self._logs[log.key] = log
        for log, row, line in zip(logs, commit.rows, rows, strict=True):
            _, prev, first, events, time, data = row
            self._take(log, TailRow(prev, first, events, time, line[-1], data))
            self.events += events

    def _logs_of(self, commit: Commit) -> tuple[list[KeptLog], list[KeptLog]]:
        """The log of each row, and those of them that are new."""
        logs = []
        new: dict[str, KeptLog] = {}
        for row in commit.rows:
            log = self._logs.get(row.log) or new.get(row.log)
            if log is None:
                free = self._retention.free_ids
                id = free.pop() if free else self._next_id(len(new))
                log = new[row.log] = KeptLog(id, row.log, row.prev, row.prev, 0, 0, 0, 0)
            logs.append(log)
        return logs, list(new.values())

    def _next_id(self, more: int) -> int:
        return 1 + more + self._retention.highest

    def _take(self, log: KeptLog, row: TailRow) -> None:
        """Notes a row that was stored."""
        self._tail.add_row(log, row)
        log.head = row.first + row.events - 1
        log.newest = row.time
        if not log.size:
            log.oldest = row.time
        self._retention.add(log, ROW_COST + len(row.data))

    def _forget(self, key: str) -> None:
        log = self._logs.pop(key, None)
        if log is not None:
            log.dropped = 1
            self._leaving[log] = self._next_turn
            self._retention.drop(log)

    # --- folding --------------------------------------------------------------------------

    def _fold(self) -> None:
        """Has the tables take in the tail, all of it.  Raises CannotStore, JournalError."""
        if self._tail.turns:
            self._fold_part(Fold(self._tail, self._retention, self._next_turn, inf))

    def _fold_some(self) -> bool:
        """Has them take in a part of it, if it is time; whether it was."""
        if self._behind and self._time < self._again:
            return False
        fold = self._folding
        if fold is None:
            if not (self._tail.full or self._cleaning.waits or self._leaving):
                return False
            fold = Fold(self._tail, self._retention, self._next_turn, A_PART)
        try:
            self._fold_part(fold)
        except JournalError:
            self._behind, self._again = True, self._time + AGAIN
            raise
        return True

    def _fold_part(self, fold: Fold) -> None:
        """Takes the next step of *fold*."""
        with transaction(self._db, self._path):
            fold.write(self._db)
        # Not before it is stored: what fails comes again, and finds all as it was.
        self._behind = False
        self._ahead.wrote(fold.pages)
        if fold.stored():
            self._folding = None
            self._cleaning.all_folded()
            self._let_go(fold)
        else:
            self._folding = fold

    def _let_go(self, fold: Fold) -> None:
        """No record names those that were dropped before the turn up to which *fold* went."""
        for log in [log for log, turn in self._leaving.items() if turn <= fold.turn]:
            del self._leaving[log]
            self._retention.let_go(log)

    # --- reading --------------------------------------------------------------------------

    def fetch(self, log: str, after: int, budget: int) -> Page:
        self.settle()
        kept = self._logs.get(log)
        if kept is None:
            return Page(0, 0, ())
        try:
            tail = self._tail.rows.get(kept, ())
            return page_after(self._db, tail, kept, after, budget, self._damage.tell)
        except sqlite3.Error as error:
            raise explain(error, self._path) from None

    def position_at(self, log: str, time: int) -> int:
        self.settle()
        kept = self._logs.get(log)
        if kept is None:
            return 0
        try:
            return position_at(self._db, self._tail.rows.get(kept, ()), kept, time)
        except sqlite3.Error as error:
            raise explain(error, self._path) from None

    # --- keeping within bounds ------------------------------------------------------------

    def _astray(self) -> str:
        """What is wrong with where its files are; empty if nothing is."""
        return "" if self._standing is None else self._standing.fault()

    def tidy(self, time: int) -> bool:
        self.settle()
        if why := self._astray():
            raise CannotStore(why)
        self._time = time
        self._retention.look(time)
        if self._ahead.long:
            self._ahead.take_in()
            if not (self._retention.late or self._tail.late):
                return True
        steps = [self._cleaning.step, self._fold_some]
        self._folds_first = not self._folds_first
        if self._folds_first:
            steps.reverse()
        # By turns, lest others wait for both; but if retention is late, both.
        went = steps[0]()
        if not went or self._retention.late:
            went = steps[1]() or went
        return went or self._cleaning.shrink()

    def close(self) -> None:
        self.settle()
        if self.commits:
            log.info("journal commits=%d messages=%d", self.commits, self.events)
            self.commits = self.events = 0
        if why := self._astray():
            log.error(
                "journal %s; what it holds is in the file that was open, if that is left", why
            )
        # What was committed is in the file, and the next start would take it up from there.
        with closing(self._db), suppress(sqlite3.Error, JournalError):
            if self._loaded:
                self._leave_in_order()
        self._release()

    def _leave_in_order(self) -> None:
        self._fold()
        # That nothing was undone is true only if all of it is on disk.
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._note(open=b"0")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_FOLDED_ROW = "SELECT rows.* FROM rows JOIN bodies ON bodies.id = rows.body WHERE rows.id=?"
_BODY = """
SELECT id, coalesce(left, refs), data, crc FROM bodies LEFT JOIN loose ON body = id WHERE id=?
"""
_INSERT_TURN = "INSERT INTO turns VALUES(?, ?)"
_INSERT_LOG = "INSERT INTO logs VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
