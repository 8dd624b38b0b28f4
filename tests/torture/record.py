"""What each process of a run notes of itself, in a file that only grows.

A line is a JSON array that begins with what happened and when (seconds of the machine's
monotonic clock, which all processes share).  Of a sender::

    ["open", at, life]              a session begins; lives are counted over restarts
    ["invoke", at, life, n, to]     text "NAME:n" is about to be sent; to "*": everyone
    ["ok" | "unknown" | "unsent", at, n]
    ["refused", at, n, code]

and of a reader::

    ["open", at, life, echo_from, direct_from]      positions, or "unread"
    ["shown", at, log, seq, sender, to, text]
    ["missed", at, log]

and of both ``["note", at, words]``, ``["turned_away", at, code]`` and, when it has done all that
it was to do, ``["end", at]``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Record:
    """Written with one system call a call: what a process noted before it was killed is there."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            self._write(b"\n")  # The process before was killed in the middle of a line.

    def note(self, what: str, *values: object) -> None:
        self.note_all([(what, *values)])

    def note_all(self, lines: list[tuple[Any, ...]]) -> None:
        """Several lines, each without its time."""
        now = round(time.monotonic(), 6)
        text = "".join([json.dumps([what, now, *rest]) + "\n" for what, *rest in lines])
        self._write(text.encode())

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]


def read_record(path: Path) -> Iterator[list[Any]]:
    """The lines of a record that are whole."""
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines):
        try:
            if line:
                yield json.loads(line)
        except ValueError:
            # Only a kill cuts a line off, so what follows is the next process, or nothing.
            following = [after for after in lines[number + 1 :] if after]
            if following and json.loads(following[0])[0] not in ("open", "note", "turned_away"):
                raise
