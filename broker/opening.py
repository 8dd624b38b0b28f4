"""Which journal a broker gets, by its configuration."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .config import Config, StartError
from .database import FILE
from .folder import DataFolder, folder_of
from .journal import Journal
from .keyring import keeps_keys
from .memory_journal import MemoryJournal
from .sqlite_journal import SqliteJournal


def folder_for(config: Config, port: int) -> Path | None:
    """Where the broker that listens on *port* keeps its data; None: nowhere."""
    if config.memory:
        return None
    return config.data_dir if config.data_dir is not None else folder_of(port)


def open_journal(config: Config, port: int) -> Journal:
    """The journal of the broker that listens on *port*.  Raises StartError, JournalError."""
    path = folder_for(config, port)
    if path is None:
        return MemoryJournal()
    if keeps_keys(path) and not (config.secure or config.insecure):
        # A line that is missing in a config file would let in everyone, unencrypted.
        raise StartError(
            f"the data in {path} are a secure broker's; run it with --secure, "
            "or with --insecure to let in everyone"
        )
    return own_journal(
        path,
        sync=config.sync,
        keep=None if config.keep is None else round(config.keep * 1000),
        keep_bytes=config.keep_bytes,
    )


def own_journal(path: Path, **settings: Any) -> SqliteJournal:
    """The journal in the data folder at *path*, for this process alone.  *settings*: those of
    `SqliteJournal`.  Raises StartError, JournalError."""
    folder, file = DataFolder(path), path / FILE
    with ExitStack() as undone:
        undone.callback(folder.close)
        there = file.exists()
        if there:  # Before it is brought up to date, which may be another's affair.
            folder.hold(file)
        journal = SqliteJournal(file, release=folder.close, **settings)
        undone.callback(journal.close)
        if not there:
            folder.hold(file)
        undone.pop_all()
    return journal
