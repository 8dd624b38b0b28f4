"""stdout: one line per event, flushed before the program waits."""

from __future__ import annotations

import os
import select
import sys
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from itertools import accumulate
from typing import Any

from ..command.run import complain
from ..command.streams import silence_stdout
from .events import Event, UserInfo
from .interrupts import Interrupts
from .render import Renderer, json_line, json_lines, text_lines, users_json, users_line

A_PIECE = select.PIPE_BUF
"""Bytes that a pipe takes without waiting, when it is ready."""

LOOK_EVERY = 200
"""Milliseconds without a reader after which it is looked whether a signal came."""

LOOKS = 5
"""So often it is looked before a signal leaves a line that was begun: its reader may be slow."""


class Output:
    """Writes lines to stdout in one of the formats of docs/cli.md."""

    def __init__(
        self,
        render: Renderer | None = None,
        *,
        as_json: bool = False,
        end: str = "\n",
        interrupts: Interrupts | None = None,
    ) -> None:
        self.json = as_json
        self.closed = False
        """Whether nobody takes what is written any more; then nothing is."""
        self._lines_of = render or (json_lines if as_json else text_lines)
        self._end = end
        self._separator = end.encode()
        self.told_away: set[str | None] = set()
        """Of whom it was said that they are away, and will get what is sent."""
        self._lines: list[str] = []
        self.unwritten = 0
        """How many lines of the last `flush` were not written whole, whatever ended it."""
        self._interrupts = interrupts or Interrupts()

    def events(self, events: Sequence[Event]) -> None:
        self._lines += self._lines_of(events)

    def users(self, users: Sequence[UserInfo]) -> None:
        """The answer to ``info``."""
        self._lines.append(users_json(users) if self.json else users_line(users))

    def record(self, **fields: Any) -> None:
        """A JSON object that is no event."""
        self._lines.append(json_line(fields))

    def flush(self) -> None:
        """Writes what was collected.  To be called before waiting for anything.

        Raises what a signal asks for, when all is written or nobody reads it; of a line that is not
        whole then it is told.  Raises OSError."""
        lines, self._lines = self._lines, []
        self.unwritten = len(lines)
        if not lines or self.closed:
            return
        data = self._encoded(lines)
        begun = _Begun(lambda: [len(self._encoded([line])) for line in lines])
        written = looks = 0
        sys.stdout.flush()
        ready, write = _descriptor()
        try:
            while written < len(data):
                # A reader that does not read must not keep Ctrl-C from working.  But half a line is
                # no line.
                while not ready(self._patience(begun, written)):
                    looks += self._interrupts.pending
                    if looks > LOOKS or not begun.at(written):
                        self._interrupts.check()
                # Whole lines, lest others that write there come in between; and a pipe has each
                # piece whole or not at all.
                end = data.rfind(self._separator, written, written + A_PIECE) + 1
                with suppress(BlockingIOError):  # The other end made it one that never waits.
                    written += write(data[written : end or written + A_PIECE])
        except BrokenPipeError:
            self.closed = True
            silence_stdout()
        except (KeyboardInterrupt, SystemExit):
            if begun.at(written):
                complain("chat", "the last line on stdout is not whole: nobody read it")
            raise
        finally:
            if written < len(data):
                self.unwritten = begun.missing(written)
                # Whatever ended it: what came now would stand behind a gap, or half a line.
                self.closed = True
            else:
                self.unwritten = 0
        self._interrupts.check()

    def _patience(self, begun: _Begun, written: int) -> int:
        """Milliseconds to wait for a reader.  None between two lines, when a signal came: who reads
        slowly and steadily would keep it waiting until all is written."""
        return 0 if self._interrupts.pending and not begun.at(written) else LOOK_EVERY

    def _encoded(self, lines: Sequence[str]) -> bytes:
        text = self._end.join(lines) + self._end
        return text.encode(sys.stdout.encoding, "backslashreplace")


class _Begun:
    """Which of several lines are written whole, when so many bytes of them are.

    *sizes*: tells their bytes; asked once, and only if something keeps them from being written."""

    def __init__(self, sizes: Callable[[], list[int]]) -> None:
        self._sizes = sizes

    @cached_property
    def _ends(self) -> list[int]:
        return [*accumulate(self._sizes())]

    def missing(self, written: int) -> int:
        """How many are not."""
        return len(self._ends) - bisect_right(self._ends, written)

    def at(self, written: int) -> bool:
        """Whether the first of those was begun."""
        whole = bisect_right(self._ends, written)
        return written > (self._ends[whole - 1] if whole else 0)


def _descriptor() -> tuple[Callable[[int], object], Callable[[bytes], int]]:
    """What waits, for so many milliseconds at most, until stdout takes something, which is truth if
    it does; and what writes to it, past its buffer: nobody knows how much of that was written when
    it fails."""
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # It is no file, and never has one wait.
        return bool, sys.stdout.buffer.write
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll.poll, partial(os.write, descriptor)


def watch_reader(output: Output, changed: Callable[[], None]) -> None:
    """Notices that whoever read stdout has gone, even while there is nothing to write.

    Without it `chat listen | head -1` would stay until the next message.  *changed* is called,
    in another thread, when *output* was closed for it.
    """

    def watch() -> None:
        poll = select.poll()
        # No event is asked for: an error on the pipe is reported all the same.
        poll.register(sys.stdout.fileno(), 0)
        poll.poll()
        output.closed = True
        changed()

    threading.Thread(target=watch, name="stdout", daemon=True).start()
