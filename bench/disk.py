"""What the disk takes by itself: a page written and flushed, with no server around it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

PAGE = bytes(4096)

PAGES = 1000
"""In the file whose pages are written again: about as many as a write-ahead log has before it is
written from its beginning again."""


def appended(folder: str, flushes: int) -> list[float]:
    """Seconds of each of so many pages that are appended to a file and flushed: its new length is
    written too."""
    with Path(folder, "appended").open("wb", buffering=0) as file:
        return _flushed(file.fileno(), range(flushes))


def in_place(folder: str, flushes: int) -> list[float]:
    """The same in a file that is long enough, as SQLite's write-ahead log is after a while."""
    with Path(folder, "in-place").open("wb", buffering=0) as file:
        file.write(PAGE * PAGES)
        os.fsync(file.fileno())
        return _flushed(file.fileno(), [number % PAGES for number in range(flushes)])


def _flushed(file: int, pages: Iterable[int]) -> list[float]:
    took = []
    for page in pages:
        start = perf_counter()
        os.pwrite(file, PAGE, page * len(PAGE))
        os.fdatasync(file)
        took.append(perf_counter() - start)
    return took
