"""A broker with the one mistake that must not be made: it acknowledges, and stores later.

A commit waits for the next one, or for 50 ms; all else is right.  The checker must find it out.
"""

from __future__ import annotations

import time
from typing import Any

from chatbroker.broker import opening
from chatbroker.broker.cli import main
from chatbroker.broker.config import Config
from chatbroker.broker.journal import Commit, Journal, Page

LATER = 0.05


class LateJournal:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: Commit | None = None
        self._since = 0.0

    def _store(self) -> None:
        if self._waiting is not None:
            self._journal.commit(self._waiting)
            self._waiting = None

    def commit(self, commit: Commit) -> None:
        self._store()
        self._waiting, self._since = commit, time.monotonic()

    def fetch(self, log: str, after: int, budget: int) -> Page:
        self._store()
        return self._journal.fetch(log, after, budget)

    def position_at(self, log: str, time: int) -> int:
        self._store()
        return self._journal.position_at(log, time)

    def tidy(self, now: int) -> bool:
        """Called once a turn."""
        if time.monotonic() - self._since > LATER:
            self._store()
        return self._journal.tidy(now)

    def close(self) -> None:
        self._store()
        self._journal.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


if __name__ == "__main__":
    open_journal = opening.open_journal

    def open_late_journal(config: Config, port: int) -> Any:
        return LateJournal(open_journal(config, port))

    # Before the server is loaded, which takes it for its own.
    opening.open_journal = open_late_journal
    main()
