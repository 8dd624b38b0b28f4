"""Which journal a broker gets, by its configuration."""

from __future__ import annotations

from pathlib import Path

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
    folder = DataFolder(path)
    try:
        return SqliteJournal(
            path / FILE,
            config.sync,
            None if config.keep is None else round(config.keep * 1000),
            config.keep_bytes,
            release=folder.close,
        )
    except BaseException:
        folder.close()
        raise
