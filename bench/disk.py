"""What the disk takes by itself: a page written and flushed, with no server around it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from time import perf_counter

PAGE = bytes(4096)

PAGES = 1000
"""In the file whose pages are written again: about as many as a write-ahead log has before it is
written from its beginning again."""


def appended(folder: str, flushes: int) -> list[float]:
    """Seconds of each of so many pages that are appended to a file and flushed: its new length is
    written too."""
    with _file(folder, 0) as file:
        return _timed(partial(_flush, file, number) for number in range(flushes))


def in_place(folder: str, flushes: int) -> list[float]:
    """The same in a file that is long enough, as SQLite's write-ahead log is after a while."""
    with pages_in_place(folder) as flush:
        return _timed([flush] * flushes)


@contextmanager
def pages_in_place(folder: str) -> Iterator[Callable[[], None]]:
    """What flushes the next page of such a file."""
    with _file(folder, PAGES) as file:
        numbers = cycle(range(PAGES))
        yield lambda: _flush(file, next(numbers))


@contextmanager
def _file(folder: str, pages: int) -> Iterator[int]:
    # Without a name: nothing is left of it, however this process ends.
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(PAGE * pages)
        os.fsync(file.fileno())
        yield file.fileno()


def _flush(file: int, page: int) -> None:
    os.pwrite(file, PAGE, page * len(PAGE))
    os.fdatasync(file)


def _timed(flushes: Iterable[Callable[[], None]]) -> list[float]:
    took = []
    for flush in flushes:
        start = perf_counter()
        flush()
        took.append(perf_counter() - start)
    return took
