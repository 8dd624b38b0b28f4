"""The standard streams of a command: as if they were files that wait and are there.

Who shared a pipe before may have left it one that never waits (O_NONBLOCK belongs to the open
file): then Python takes half of what comes for all of it, and drops what does not fit.  And what
cannot be said on stderr makes an exit status of Python's own (120) of any other.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any


class StdoutClosed(Exception):
    """Whoever read stdout has gone (`| head`)."""


class _Descriptor(io.RawIOBase):
    """A descriptor, which is not closed with it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._number, event)
        poll.poll()


class _Input(_Descriptor):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            try:
                return os.readv(self._number, [buffer])
            except BlockingIOError:
                self._wait(select.POLLIN)


class _Output(_Descriptor):
    """Takes all that is written to it, or raises StdoutClosed, OSError."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            try:
                left = left[os.write(self._number, left) :]
            except BlockingIOError:
                self._wait(select.POLLOUT)
            except BrokenPipeError:
                raise StdoutClosed from None
        return size


class _Words(_Output):
    """Of what cannot be said there, the exit status still tells."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except (StdoutClosed, OSError):
            return len(memoryview(data).cast("B"))


def prepare_streams() -> None:
    """Gives every standard stream a file, and has none of them fail over a character, over waiting
    or over words that nobody hears.

    From now on stdout raises StdoutClosed when whoever read it has gone."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # Closed by the caller (`>&-`).  Another file would take its number otherwise; the
            # lowest free one is this, as those below are open by now.
            os.open(os.devnull, os.O_RDWR)
        former = getattr(sys, name)
        if former is getattr(sys, f"__{name}__"):  # And not what a program put in its place.
            setattr(sys, name, _stream(number, former))


def _stream(number: int, former: Any) -> io.TextIOWrapper:
    encoding, errors = getattr(former, "encoding", None), getattr(former, "errors", None)
    if number == 0:
        return io.TextIOWrapper(io.BufferedReader(_Input(0)), encoding, errors)
    raw = _Output(1) if number == 1 else _Words(2)
    # As Python has them, but that PYTHONUNBUFFERED is not heeded: all is flushed where it counts.
    by_line = number == 2 or raw.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=by_line
    )


def silence_stdout() -> None:
    """Nobody reads stdout any more: what is written to it goes nowhere, also at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
