"""``chatbroker run`` on a disk that is slow or full when a file says so.

The file, named by TORTURE_DISK, holds JSON: ``{"delay": SECONDS, "refuse": BOOL}``; a commit takes
up to SECONDS longer by chance, or cannot be stored for now.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

from chatbroker.broker import opening
from chatbroker.broker.cli import main
from chatbroker.broker.config import Config
from chatbroker.broker.journal import CannotStore, Commit, Journal


class SlowJournal:
    """A journal, and before each commit what the file says."""

    def __init__(self, journal: Journal, orders: Path) -> None:
        self._journal = journal
        self._orders = orders

    def commit(self, commit: Commit) -> None:
        try:
            orders = json.loads(self._orders.read_text())
        except FileNotFoundError:
            orders = {}
        if orders.get("refuse"):
            raise CannotStore("this disk is full by order")
        if orders.get("delay"):
            time.sleep(random.uniform(0, orders["delay"]))
        self._journal.commit(commit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


if __name__ == "__main__":
    open_journal = opening.open_journal

    def open_slow_journal(config: Config, port: int) -> Any:
        return SlowJournal(open_journal(config, port), Path(os.environ["TORTURE_DISK"]))

    # Before the server is loaded, which takes it for its own.
    opening.open_journal = open_slow_journal
    main()
