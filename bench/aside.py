"""A load in a process of its own, which is told what to do by lines and answers each by a line."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .load import Stuck

PATIENCE = 60.0
"""Seconds that an answer may take."""

LEAVE = 30.0
"""Seconds that it may take to end by itself."""


class Aside:
    """A running ``python -m bench.NAME``."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._rest = b""

    def tell(self, line: str) -> None:
        """Has it do something; `answer` tells when it has."""
        assert self._process.stdin is not None  # By how it was started; for the type checker.
        try:
            self._process.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            raise Stuck(f"the load beside ended with {self._process.wait(5)}") from None

    def answer(self) -> str:
        """The next line.  Raises Stuck if none comes."""
        assert self._process.stdout is not None
        until = time.monotonic() + PATIENCE
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left < 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise Stuck("the load beside does not answer")
            read = os.read(self._process.stdout.fileno(), 4096)
            if not read:
                raise Stuck(f"the load beside ended with {self._process.wait(5)}")
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def ask(self, line: str) -> str:
        """`tell` and `answer`."""
        self.tell(line)
        return self.answer()


@contextmanager
def beside(name: str, *arguments: str) -> Iterator[Aside]:
    """Runs ``python -m bench.NAME`` with *arguments*.  It ends by the end of its input, or is
    ended."""
    command = [sys.executable, "-m", f"bench.{name}", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        try:
            yield Aside(process)
            assert process.stdin is not None
            process.stdin.close()
            process.wait(LEAVE)
        finally:
            process.kill()
