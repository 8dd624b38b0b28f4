"""A light process for the load of one row: its memory and its clients are its own.

It is forked, keeps its clients for all runs, and does nothing between them.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_SECONDS = 90.0
"""That setting up may take, or a run with what it makes beforehand."""

_READY = "ready"
_ENDED = "the process of the load has ended"


class Failed(RuntimeError):
    """A run failed.  The text says how."""


class Child(Generic[T]):
    """The process, as its parent sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, messages: int) -> T:
        """What a run of so many messages gave.  Raises `Failed`."""
        try:
            self._connection.send(messages)
        except OSError:
            raise Failed(_ENDED) from None
        given: T = self.take()
        return given

    def take(self) -> T:
        """What the process says next."""
        if not self._connection.poll(MOST_SECONDS):
            raise Failed(f"nothing came for {MOST_SECONDS:.0f} s")
        try:
            kind, given = self._connection.recv()
        except (EOFError, OSError):
            raise Failed(_ENDED) from None
        if kind is Failed:
            raise Failed(given)
        return given  # type: ignore[no-any-return]


@contextmanager
def child(load: Callable[[], AbstractContextManager[Callable[[int], T]]]) -> Iterator[Child[T]]:
    """A process that has entered *load*, and calls what that gives when it is asked to."""
    forking = multiprocessing.get_context("fork")
    ours, theirs = forking.Pipe()
    process = forking.Process(target=_serve, args=(theirs, ours, load), daemon=True)
    process.start()
    theirs.close()
    try:
        served: Child[T] = Child(ours)
        served.take()
        yield served
    finally:
        ours.close()  # At which it ends.
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


def _serve(
    connection: Connection,
    parents: Connection,
    load: Callable[[], AbstractContextManager[Callable[[int], T]]],
) -> None:
    parents.close()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # It ends when its parent does, who hears of a terminal's as well.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()
    gc.freeze()
    try:
        with load() as run:
            connection.send((str, _READY))
            while True:
                try:
                    messages = connection.recv()
                except (EOFError, ConnectionResetError):
                    break
                connection.send((None, run(messages)))
    except Exception as error:  # noqa: BLE001  Whatever it is, the parent says it.
        with contextlib.suppress(BrokenPipeError):  # It has ended meanwhile.
            connection.send((Failed, f"{type(error).__name__}: {error}"))
    # What the parent has registered to be done at its end is not this process's to do.
    connection.close()
    os._exit(0)
