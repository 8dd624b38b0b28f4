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
from contextlib import suppress
from typing import Any

PATIENCE = 200
"""Milliseconds that words for stderr wait for room there."""


class StdoutClosed(Exception):
    """Whoever read stdout has gone (`| head`)."""


class _Descriptor(io.RawIOBase):
    """A descriptor, which is not closed with it."""

    def __init__(self, number: int) -> None:
        self._number = self._to = number

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def _ready(self, event: int, milliseconds: float | None = None) -> bool:
        """Waits until it is; whether it was in time."""
        poll = select.poll()
        poll.register(self._to, event)
        return bool(poll.poll(milliseconds))


class _Input(_Descriptor):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            try:
                return os.readv(self._number, [buffer])
            except BlockingIOError:
                self._ready(select.POLLIN)


class _Output(_Descriptor):
    """Takes something, or raises StdoutClosed, OSError.  The buffer above keeps the rest: in one
    step, as a signal may raise between two."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        while True:
            try:
                return os.write(self._number, data)
            except BlockingIOError:
                self._ready(select.POLLOUT)
            except BrokenPipeError:
                raise StdoutClosed from None


class _Words(_Descriptor):
    """Of what cannot be said there, or not soon, the exit status still tells."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        if os.isatty(number):
            # A terminal that is ready may have room for a character: this one never waits, and
            # whoever shares it does as before.
            with suppress(OSError):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
                self._to = os.open(os.ttyname(number), flags)
        self._patience = PATIENCE
        """Milliseconds to wait for whoever reads it, who may have stopped."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self._ready(select.POLLOUT, self._patience):
                # A pipe that is ready has room for so much.
                left = left[os.write(self._to, left[: select.PIPE_BUF]) :]
        except BlockingIOError:
            pass  # Less than was said.
        except OSError:
            return size
        # Who kept it waiting once keeps it no more, until there is room again.
        self._patience = 0 if left else PATIENCE
        return size


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
