"""Retention in steps: each is a transaction of its own, between two turns.

What is to go is `Retention`'s to say; how it goes, ``cutting``'s.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .cutting import STEP, Cut, check_loose, collect, cut_oldest, give_back, loose
from .database import explain, transaction
from .retention import Retention
from .tail import Tail
from .write_ahead import WriteAheadLog

MOST_LOOSE = 4096
"""Small rows that go before their bodies do: these wait for their neighbours, and are not free
meanwhile."""

A_PAGE = 16
"""Small rows, about, for each page that is written when they go."""

MOST_LEFT = 4096
"""Loose bodies that wait for the last row that has them, which may stay."""


class Cleaning:
    """Has go from *db*, the journal at *path*, what *retention* tells; *tail*: what the tables do
    not have yet."""

    def __init__(
        self,
        db: sqlite3.Connection,
        path: Path,
        retention: Retention,
        tail: Tail,
        ahead: WriteAheadLog,
    ) -> None:
        self._db = db
        self._path = path
        self._retention = retention
        self._tail = tail
        self._ahead = ahead
        self._loose = 0
        """The `work` of the rows that went since all bodies did that could."""
        self._left = 0
        """Bodies that were loose then, as some row has them."""
        self._shrinking = False
        """Whether there may be pages that nothing uses."""
        self.waits = False
        """Whether something is to go that the tables do not have yet."""

    def load(self) -> None:
        """Takes up what the process before left.  Raises ValueError if that is damaged."""
        check_loose(self._db)
        self._loose = loose(self._db)

    def step(self) -> bool:
        """Takes one; whether there may be more.  Raises CannotStore, JournalError."""
        most, over, tasks = self._retention.step()
        room = most
        many = self._left > MOST_LEFT
        if not (tasks or self._loose or many):
            return False
        cuts: list[Cut] = []
        waited, more = self.waits, False
        collects = self._loose > MOST_LOOSE or many
        with transaction(self._db, self._path):
            if not collects:
                cuts = cut_oldest(self._db, tasks, room, over, self._tail.rows)
                room -= sum([cut.work for cut in cuts])
                # Bodies wait for each other, and no longer than there are rows that are to go.
                collects = len(cuts) == len(tasks) and all(cut.done for cut in cuts)
            if collects:
                more = collect(self._db, room, many)
        for cut in cuts:
            self._note(cut)
        if collects:
            self._shrinking = True
            if not more:
                self._loose, self._left = 0, loose(self._db)
        # What waits goes when the tables have it: that is to do, too.
        went = collects or any(cut.rows or cut.done for cut in cuts)
        if went:
            self._ahead.wrote(most // A_PAGE)
        return went or self.waits > waited

    def all_folded(self) -> None:
        """The tables have all that was waited for."""
        self.waits = False

    def _note(self, cut: Cut) -> None:
        """Brings the account up to date with what is stored."""
        self._loose += cut.work
        self.waits = self.waits or cut.waits
        if cut.ends:
            self._retention.ended(cut.log)
        else:
            self._retention.went(cut.log, cut.lost, cut.size, cut.oldest, cut.done)

    def shrink(self) -> bool:
        """Takes a step of giving pages back, if something went; whether there are more."""
        if self._shrinking:
            try:
                self._shrinking = give_back(self._db)
            except sqlite3.Error as error:
                raise explain(error, self._path) from None
            self._ahead.wrote(STEP)
        return self._shrinking
