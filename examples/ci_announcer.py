#!/usr/bin/env python3
"""Runs a command, such as a build, and tells the chat when it starts and how it ends.

    ci_announcer.py --as ci --title "nightly tests" -- make test

The command's output and its exit status are passed on as they are, whatever becomes of the
chat: if the broker cannot be told, there is a warning on stderr.  Where the command does not
start, the exit status is the shell's, 127 or 126; where a signal ended it, 128 and its number.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from types import FrameType

from chatbroker.client import Client, ClientError, Identity, escape

CHUNK = 64 * 1024
LOOK_EVERY = 0.2
"""Seconds after which one looks whether the command is over, while its output is still open."""

COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def parser() -> argparse.ArgumentParser:
    summary, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", metavar="USER", help="whom to tell; default: everyone")
    parser.add_argument("--as", dest="name", default="ci", metavar="NAME", help="default: ci")
    parser.add_argument(
        "--broker",
        metavar="ADDRESS",
        default=os.environ.get("CHAT_BROKER", "tcp://127.0.0.1:5555"),
        help="default: $CHAT_BROKER, or tcp://127.0.0.1:5555",
    )
    parser.add_argument(
        "--title", help="what the job is called; default: the command, as it was typed"
    )
    parser.add_argument(
        "--tail",
        type=int,
        choices=range(1001),
        default=10,
        metavar="N",
        help="how many lines of the output to say if it fails, at most 1000; default: 10",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how long the broker may take to let it in, and to store what is said; default: 5",
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    return parser


class Announcer:
    """Says things, or warns that it cannot."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def say(self, *texts: str) -> None:
        # A connection each time: the build may take hours, and the broker may come and go.
        options = self._options
        try:
            with (
                Client(
                    options.name,
                    options.broker,
                    hear=False,
                    timeout=options.timeout,
                    reconnect=options.timeout,
                    identity=Identity.of(options.broker, options.name),
                ) as client,
                client.pipeline() as pipe,
            ):
                for text in texts:
                    whole = clipped(text, client.max_text)
                    if options.to is None:
                        pipe.echo(whole)
                    else:
                        pipe.send(options.to, whole)
                # A broker whose disk is full lets its senders wait; a build must not.
                pipe.flush(options.timeout)
        except ClientError as error:
            warn(f"not announced: {error}")


class Job:
    """The command while it runs.  Signals go on to it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: list[int] = []
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._asked.append(number)
        # Ctrl-C at a terminal reaches the command by itself.
        if self._process is not None and not (number == signal.SIGINT and os.isatty(0)):
            self._process.send_signal(number)

    def run(self, command: list[str], tail: deque[str]) -> int:
        """Runs *command*; its exit status as a shell has it."""
        if self._asked:  # While the start was announced.
            return 128 + self._asked[0]
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            words = f"cannot run {command[0]}: {error.strerror}"
            tail.append(words)
            warn(words)
            return 127 if isinstance(error, FileNotFoundError) else 126
        with process:
            self._process = process
            if self._asked:
                process.send_signal(self._asked[0])
            pass_on(process, tail)
            status = process.wait()
        return status if status >= 0 else 128 - status


def pass_on(process: subprocess.Popen[bytes], tail: deque[str]) -> None:
    """Writes what the command writes, to where it wanted it, and keeps the last lines."""
    assert process.stdout is not None
    assert process.stderr is not None
    pipes = {1: process.stdout, 2: process.stderr}
    rests = {1: b"", 2: b""}
    with selectors.DefaultSelector() as selector:
        for descriptor, pipe in pipes.items():
            selector.register(pipe, selectors.EVENT_READ, descriptor)
        while selector.get_map():
            over = process.poll() is not None
            ready = selector.select(LOOK_EVERY)
            if over and not ready:
                break  # A process that it left behind keeps the pipe open.
            for key, _ in ready:
                descriptor = key.data
                chunk = os.read(key.fd, CHUNK)
                *lines, rest = (rests[descriptor] + chunk).split(b"\n")
                rests[descriptor] = rest[-CHUNK:]
                tail.extend(map(readable, lines))
                if not chunk or not written(descriptor, chunk):
                    selector.unregister(key.fileobj)
                    pipes[descriptor].close()  # Where nobody reads, the command has to notice.
    tail.extend([readable(rest) for rest in rests.values() if rest])


def written(descriptor: int, data: bytes) -> bool:
    """Whether *data* could be written."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return False
    return True


def readable(line: bytes) -> str:
    """A line as text, without colours, and of a progress bar the last state."""
    return COLOURS.sub("", line.decode(errors="replace").rstrip("\r").rpartition("\r")[2])


def clipped(text: str, most: int) -> str:
    """*text*, or as much of it as *most* bytes hold."""
    raw = text.encode(errors="replace")
    return raw[:most].decode(errors="ignore")


def took(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join([f"{count} {unit}" for count, unit in parts if count]) or "less than 1 s"


def verdict(title: str, status: int, seconds: float) -> str:
    if status == 0:
        return f"ok: {title} ({took(seconds)})"
    how = f"exit status {status}"
    with suppress(ValueError):  # No signal, or one without a name.
        how += f", {signal.Signals(status - 128).name}"
    return f"FAILED: {title}, {how} ({took(seconds)})"


def warn(words: str) -> None:
    # Not by print: words that cannot be written would make Python end with a status of its own.
    with suppress(OSError, AttributeError):  # There may be no stderr.
        os.write(
            sys.stderr.fileno(),
            f"ci_announcer: {escape(words)}\n".encode(errors="backslashreplace"),
        )


def main() -> int:
    options = parser().parse_args()
    title = options.title or shlex.join(options.command)
    announcer, job = Announcer(options), Job()
    announcer.say(f"started: {title}")
    tail: deque[str] = deque(maxlen=options.tail)
    began = time.monotonic()
    status = job.run(options.command, tail)
    seconds = time.monotonic() - began
    announcer.say(verdict(title, status, seconds), *[f"| {line}" for line in tail if status])
    return status


if __name__ == "__main__":
    sys.exit(main())
