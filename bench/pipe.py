"""Lines from end to end: ``seq N | chat echo --lines`` to `chat listen`, and beside it ``seq N``
through two loops in Python."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from .load import Stuck
from .processes import Server

CHAT = str(Path(sys.executable).with_name("chat"))

MOST_SECONDS = 120.0
"""That all lines may take."""

WRITE = "import sys\nfor line in sys.stdin: sys.stdout.write(line)"

LISTENING = "chat: listening"
"""What `chat listen` says when it will miss nothing from then on (docs/cli.md)."""


class Pipe:
    """Has numbered lines go through; each time all of them have to come out, in order."""

    def __init__(self, server: Server, folder: Path, environment: Mapping[str, str]) -> None:
        self._port = str(server.port)
        self._heard = folder / "heard"
        self._environment = environment

    def chat(self, lines: int, number: int) -> float:
        """Seconds from the start of the sender until the listener has ended, having counted all.

        *number*: of this run; each has a sender of its own, as a user may only say so much."""
        listen = [CHAT, "listen", "--port", self._port, "--count", str(lines)]
        listen += ["--only", "broadcast", "--format", "{text}"]
        send = [CHAT, "echo", "--lines", "--port", self._port, "--as", f"sender{number}"]
        with ExitStack() as stack:
            heard = stack.enter_context(self._heard.open("wb"))
            listener = stack.enter_context(self._running(listen, None, heard, True))
            assert listener.stderr is not None  # By how it was started.
            said = listener.stderr.readline().decode().strip()
            if said != LISTENING:
                raise Stuck(f"the listener said: {said}")
            start = time.perf_counter()
            given = self._seq(stack, lines)
            sender = stack.enter_context(self._running(send, given, None))
            seconds = self._end([listener, sender], start)
        return self._checked(lines, seconds)

    def python(self, lines: int) -> float:
        """The same through two loops that read and write lines, with a pipe between them."""
        loop = [sys.executable, "-c", WRITE]
        with ExitStack() as stack:
            heard = stack.enter_context(self._heard.open("wb"))
            start = time.perf_counter()
            given = self._seq(stack, lines)
            first = stack.enter_context(self._running(loop, given, subprocess.PIPE))
            second = stack.enter_context(self._running(loop, first.stdout, heard))
            assert first.stdout is not None
            first.stdout.close()
            seconds = self._end([second, first], start)
        return self._checked(lines, seconds)

    def _seq(self, stack: ExitStack, lines: int) -> IO[bytes]:
        """Where the lines come from."""
        seq = self._running(["seq", str(lines)], None, subprocess.PIPE)
        stdout = stack.enter_context(seq).stdout
        assert stdout is not None
        return stdout

    @contextmanager
    def _running(
        self,
        command: Sequence[str],
        stdin: IO[bytes] | None,
        stdout: IO[bytes] | int | None,
        tells: bool = False,
    ) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(
            command,
            env=self._environment,
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.DEVNULL,
            stderr=subprocess.PIPE if tells else None,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _end(self, processes: Sequence[subprocess.Popen[bytes]], start: float) -> float:
        """Seconds from *start* until the first of *processes* has ended; then the others do."""
        processes[0].wait(MOST_SECONDS)
        seconds = time.perf_counter() - start
        for process in processes:
            if process.wait(MOST_SECONDS):
                raise Stuck(f"a command ended with {process.returncode}")
        return seconds

    def _checked(self, lines: int, seconds: float) -> float:
        if self._heard.read_bytes() != _numbered(lines):
            raise Stuck("what came out is not what went in")
        return seconds


def _numbered(lines: int) -> bytes:
    """What ``seq`` says."""
    return b"".join([b"%d\n" % number for number in range(1, lines + 1)])
