#!/usr/bin/env python3
"""Says the lines of a log that match, at most so many a second, and counts what it leaves out.

    log_tailer.py --as web --match 'ERROR|CRITICAL' --rate 2 --burst 10 /var/log/app.log
    journalctl -f -o cat -u app | log_tailer.py --as app --match '(?i)error'

A FILE is followed from its end, through rotation and truncation, as `tail -n 0 -F` does; without
one stdin is read to its end.  A broker that goes away is waited for.  SIGTERM ends it with 0,
when the broker has what was read so far.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import signal
import stat
import sys
import time
from contextlib import suppress
from math import inf, isfinite
from types import FrameType
from typing import Protocol

from chatbroker.client import (
    Client,
    ClientError,
    Identity,
    Notice,
    Offline,
    Online,
    Refused,
    UsageError,
    escape,
)

CHUNK = 4096
MOST_UNDER_WAY = 4000
"""Messages that the broker does not have yet; then nothing more is read.  With those of one more
chunk it is less than a client bears without waiting, and so a signal is never waited out."""

FINISH_WITHIN = 5.0
"""Seconds that a signal leaves for what was read before it."""

LOOK_EVERY = 0.1
"""Seconds after which one looks whether there is more."""

LONGEST = 64 * 1024
"""Of a line, so many bytes are kept."""

REFUSED = Refused.status


def parser() -> argparse.ArgumentParser:
    summary, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", metavar="USER", help="whom to tell; default: everyone")
    parser.add_argument("--as", dest="name", default="log", metavar="NAME", help="default: log")
    parser.add_argument(
        "--broker",
        metavar="ADDRESS",
        default=os.environ.get("CHAT_BROKER", "tcp://127.0.0.1:5555"),
        help="default: $CHAT_BROKER, or tcp://127.0.0.1:5555",
    )
    parser.add_argument(
        "--match",
        type=pattern,
        default=".",
        metavar="REGEX",
        help="say only lines in which this is found; default: all that are not empty",
    )
    parser.add_argument(
        "--rate", type=positive, default=1.0, metavar="N", help="messages a second; default: 1"
    )
    parser.add_argument(
        "--burst",
        type=burst,
        default=20.0,
        metavar="N",
        help="messages that may come at once after a silence, at least 2; default: 20",
    )
    parser.add_argument(
        "--reconnect",
        type=float,
        default=inf,
        metavar="SECONDS",
        help="how long to wait for a broker that went away; default: for ever",
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="default: stdin")
    return parser


def pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None


def positive(text: str) -> float:
    number = float(text)
    if not number > 0 or not isfinite(number):
        raise ValueError
    return number


def burst(text: str) -> float:
    number = positive(text)
    if number < 2:  # One for how many were left out, and one for the line after them.
        raise ValueError
    return number


# --- from where lines come ----------------------------------------------------------------


class Source(Protocol):
    """Where bytes come from."""

    def read(self) -> bytes | None:
        """What is there, b"" if there is nothing now, None at the end."""


class Stdin:
    """Standard input, which ends."""

    def read(self) -> bytes | None:
        if not select.select([0], [], [], 0)[0]:
            return b""
        return os.read(0, CHUNK) or None


class Followed:
    """A file by its name: if another is there, or it is shorter, that is read from its start."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._within_line = False
        self._descriptor = self._opened(True)
        if self._descriptor is not None:
            os.lseek(self._descriptor, 0, os.SEEK_END)

    def _opened(self, tell: bool = False) -> int | None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, PermissionError) as error:
            if tell:
                complain(f"{self._path}: {error.strerror}; waiting for it")
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise UsageError(f"{self._path} is no regular file; what is in a pipe goes to stdin")
        return descriptor

    def read(self) -> bytes | None:
        if self._descriptor is None:
            self._descriptor = self._opened()
            return b""
        # Looked at before reading: what was written until it was moved away is still read.
        moved = self._moved()
        if data := os.read(self._descriptor, CHUNK):
            self._within_line = not data.endswith(b"\n")
            return data
        if moved:
            os.close(self._descriptor)
            self._descriptor = self._opened()
        elif os.fstat(self._descriptor).st_size < os.lseek(self._descriptor, 0, os.SEEK_CUR):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        else:
            return b""
        # A line without an end will get none any more.
        cut, self._within_line = self._within_line, False
        return b"\n" if cut else b""

    def _moved(self) -> bool:
        """Whether the name leads to another file by now."""
        assert self._descriptor is not None
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False  # Between two files; the old one may still be written to.
        return not os.path.samestat(there, os.fstat(self._descriptor))


class Lines:
    """Cuts bytes into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LONGEST]
        return [line.removesuffix(b"\r").decode(errors="replace") for line in lines]

    def end(self) -> list[str]:
        """The last one counts without a newline."""
        return self.feed(b"\n") if self._rest else []


# --- what is said of them -----------------------------------------------------------------


class Bucket:
    """Fills with *rate* a second, up to *burst*."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._there = burst
        self._at = now

    def has(self, count: int, now: float) -> bool:
        self._there = min(self._there + (now - self._at) * self._rate, self._burst)
        self._at = now
        return self._there >= count

    def take(self, count: int) -> None:
        self._there -= count


class Tailer:
    """Says lines, and how many were left out."""

    def __init__(self, options: argparse.Namespace, client: Client) -> None:
        self._options = options
        self._client = client
        self._pipe = client.pipeline()
        self._bucket = Bucket(options.rate, options.burst, time.monotonic())
        self._left_out = 0
        self.status = 0

    @property
    def under_way(self) -> int:
        """How many messages the broker does not have yet."""
        return self._pipe.pending

    def take(self, lines: list[str]) -> None:
        for line in filter(self._options.match.search, lines):
            # What was left out before it is told before it.
            needed = 2 if self._left_out else 1
            if self._bucket.has(needed, time.monotonic()):
                self.tell_left_out()
                self._bucket.take(1)
                self._say(line)
            else:
                self._left_out += 1

    def look(self) -> None:
        """Tells what was left out, if it is silent since, and what went wrong."""
        # Room for one more is left: where lines go on to come, it is not all spent on this.
        if self._left_out and self._bucket.has(2, time.monotonic()):
            self.tell_left_out()
        if self._client.waiting_events:
            for event in self._client.receive_many(0):
                report(event)
        for receipt in self._pipe.refused:
            self._refused(receipt.words)
        self._pipe.refused.clear()

    def finish(self, timeout: float) -> None:
        """Returns when the broker has all.  Raises ClientError."""
        self._pipe.flush(timeout)
        self.look()

    def tell_left_out(self) -> None:
        if self._left_out:
            self._bucket.take(1)
            self._say(f"… {self._left_out} line{'s'[: self._left_out > 1]} left out")
            self._left_out = 0

    def _say(self, line: str) -> None:
        # One that is too long is cut, and not lost.
        text = line.encode()[: self._client.max_text].decode(errors="ignore")
        try:
            if self._options.to is None:
                self._pipe.echo(text)
            else:
                self._pipe.send(self._options.to, text)
        except Refused as refused:
            self._refused(str(refused))

    def _refused(self, words: str) -> None:
        complain(words)
        self.status = REFUSED


def report(event: object) -> None:
    if isinstance(event, Offline):
        complain(f"{event.why}; reconnecting")
    elif isinstance(event, Online) and event.again:
        complain("connected again")
    elif isinstance(event, Notice):
        complain(event.line)


# --- the program --------------------------------------------------------------------------


def run(options: argparse.Namespace) -> int:
    source: Source = Stdin() if options.file is None else Followed(options.file)
    with Client(
        options.name,
        options.broker,
        hear=False,
        reconnect=options.reconnect,
        identity=Identity.of(options.broker, options.name),
    ) as client:
        asked: list[int] = []  # The signals that came: what was read is said before it ends.

        def note(number: int, frame: FrameType | None) -> None:
            asked.append(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, note)
        tailer, lines = Tailer(options, client), Lines()
        if options.file is not None:
            complain(f"following {options.file}")
        while not asked and (data := source.read()) is not None:
            tailer.take(lines.feed(data))
            tailer.look()
            if not data:
                pause(client)
            while tailer.under_way >= MOST_UNDER_WAY and not asked:
                pause(client)
        tailer.take(lines.end())
        tailer.tell_left_out()
        while tailer.under_way and not asked:
            client.wait_until(lambda: not tailer.under_way, LOOK_EVERY)
        tailer.finish(FINISH_WITHIN)
    return 130 if signal.SIGINT in asked else tailer.status


def pause(client: Client) -> None:
    """Raises ClientError if there is no use in waiting."""
    client.wait_until(lambda: False, LOOK_EVERY)


def complain(words: str) -> None:
    # Not by print: words that cannot be written would make Python end with a status of its own.
    with suppress(OSError, AttributeError):  # There may be no stderr.
        os.write(
            sys.stderr.fileno(), f"log_tailer: {escape(words)}\n".encode(errors="backslashreplace")
        )


def main() -> int:
    options = parser().parse_args()
    try:
        return run(options)
    except ClientError as error:
        complain(str(error))
        return error.status
    except OSError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
