"""Messages that are on disk when they are acknowledged, and what a long history costs."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from chatbroker.broker.database import FILE
from chatbroker.broker.journal import Commit
from chatbroker.broker.log import Row
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.batch import pack_events
from chatbroker.wire.limits import EPOCH_LENGTH, MAX_FETCH
from chatbroker.wire.messages import Event

from . import on_broker
from .load import MANY_READERS, MANY_SENDERS, Run
from .prepared import TEXT
from .processes import Server, folder_on_disk

FRAME = 100
"""Events in a row of the prepared history."""

USERS = 100
"""Mailboxes in it; every message lies in two of them."""


def pairs_run(server: Server, a_frame: int) -> Callable[[int], Run]:
    """A run of fifty senders, each to a reader of its own."""
    return lambda messages: on_broker.direct_run(
        server, messages, a_frame, MANY_SENDERS, MANY_READERS
    )


class Costs(NamedTuple):
    """Of one history.  Seconds, but for the bytes."""

    append: float
    """A message in a commit of 36 rows of 100, each in two mailboxes."""
    lone: float
    """A commit of one message."""
    fetch: float
    """A page of a fetch at a random position, from disk."""
    replay: float
    """A message of a log that is read from its beginning to its end."""
    restart: float
    """Opening and loading, as after kill -9."""
    bytes: int
    """A message takes on disk."""


def measure(histories: Sequence[int], rounds: int) -> list[list[Costs]]:
    """Fills a journal with so many messages each, and measures on all of them by turns, so often:
    the costs of each, round by round."""
    with ExitStack() as stack:
        folders = [stack.enter_context(folder_on_disk()) for _ in histories]
        made = [_History(Path(folder, FILE)) for folder in folders]
        for history, messages in zip(made, histories, strict=True):
            history.fill(messages)
            stack.callback(history.close)
        for history in made:
            history.costs()  # Pages are full then, also of the shortest.
        # Else the disk would be busy with the longest one while that is measured.
        os.sync()
        found: list[list[Costs]] = [[] for _ in made]
        for number in range(rounds):
            turns = list(zip(made, found, strict=True))
            for history, costs in turns if number % 2 == 0 else turns[::-1]:
                costs.append(history.costs())
        return found


class _History:
    """A journal of conversations."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._heads = [0] * USERS
        self._bytes = 0
        self._next = 0
        self._dice = random.Random(1)
        event = Event(1 << 40, "sender00", "reader00", TEXT)
        self._bodies = {count: pack_events([event] * count) for count in (1, FRAME)}
        self.open()

    def open(self) -> None:
        self.journal = SqliteJournal(self._path)
        self.journal.load(os.urandom(EPOCH_LENGTH))

    def crash(self) -> None:
        """Leaves the file as kill -9 would."""
        self.journal._db.close()

    def _turn(self, pairs: int, events: int) -> list[Row]:
        rows = []
        for _ in range(pairs):
            self._next = (self._next + 1) % (USERS // 2)
            # Texts differ in life; and what is the same object is stored once.
            body = self._bodies[events][:-8] + self._dice.randbytes(4).hex().encode()
            for user in (self._next, self._next + USERS // 2):
                head = self._heads[user]
                rows.append(Row(f"@user{user}", head, head + 1, events, 1 << 40, body))
                self._heads[user] = head + events
        return rows

    def costs(self) -> Costs:
        """What it costs now."""
        self.crash()
        start = time.perf_counter()
        self.open()
        restart = time.perf_counter() - start
        append = [self.timed_commit(36, FRAME) for _ in range(20)]
        lone = [self.timed_commit(1, 1) for _ in range(100)]
        fetch = [self.timed_fetch() for _ in range(100)]
        each = median(append) / 36 / FRAME
        return Costs(each, median(lone), median(fetch), self.timed_replay(), restart, self._bytes)

    def close(self) -> None:
        self.journal.close()

    def fill(self, messages: int) -> None:
        """In large commits: how it came to be makes no difference to what is measured."""
        left = messages
        while left > 0:
            pairs = min(max(left // FRAME, 1), 200)
            self.journal.commit(Commit(rows=self._turn(pairs, min(FRAME, left))))
            left -= pairs * min(FRAME, left)
        self.journal.close()
        self._bytes = self._path.stat().st_size // messages
        self.open()

    def timed_commit(self, pairs: int, events: int) -> float:
        commit = Commit(rows=self._turn(pairs, events))
        start = time.perf_counter()
        self.journal.commit(commit)
        return time.perf_counter() - start

    def timed_fetch(self) -> float:
        user = self._dice.randrange(USERS)
        after = self._dice.randrange(max(self._heads[user], 1))
        start = time.perf_counter()
        self.journal.fetch(f"@user{user}", after, MAX_FETCH)
        return time.perf_counter() - start

    def timed_replay(self) -> float:
        """Seconds a message, of at most a million."""
        events, user, start = 0, 0, time.perf_counter()
        while events < 1_000_000 and user < USERS:
            after = 0
            while rows := self.journal.fetch(f"@user{user}", after, MAX_FETCH).rows:
                events += sum([row.events for row in rows])
                after = rows[-1].last
            user += 1
        return (time.perf_counter() - start) / max(events, 1)
