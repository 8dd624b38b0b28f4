"""Lines of stdin as commands under way: ``--lines`` and line mode.

One thread reads stdin and submits; the main thread reports outcomes and prints what
arrives.  A line is reported by its number, counted from 1.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import termios
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import NamedTuple

from ..command.run import complain
from ..wire.limits import MAX_TEXT
from .client import Client
from .commands import Outcome
from .errors import MAYBE, ClientError, OutcomeUnknown, Refused, Unreachable
from .events import UserInfo
from .input import BadLine
from .pipeline import Pipeline, Receipt, Receipts, unacknowledged

CHUNK = 64 * 1024

LOOK_EVERY = 200
"""Milliseconds of silence after which the reader looks whether it should go on waiting."""

AT_ONCE = 256
"""Lines that are carried out together: as many as a message of the protocol holds."""

LONGEST = 64 * 1024
"""Of a line, so many bytes are kept: more than any text that can be sent."""

MOST_REPORTS = 10_000
"""Lines whose outcome was not reported yet; then reading waits."""


class Answer(NamedTuple):
    """The answer to a line that asked who is on."""

    users: list[UserInfo]


class Help(NamedTuple):
    """A line that asked for help."""


Result = Receipt | BadLine | Refused | Answer | Help
"""What becomes of a line."""


class Entry:
    """Lines that were carried out together, and what becomes of them: one line, or several
    messages."""

    __slots__ = ("line", "results", "told")

    def __init__(self, line: int, results: Sequence[Result]) -> None:
        self.line = line
        """The number of the first one."""
        self.results = results
        self.told = 0
        """Of how many of the first ones it was told what became of them."""

    @property
    def plain(self) -> bool:
        """Whether all are messages that the broker has, with nothing to be told of them; to be
        asked when it is done."""
        if isinstance(self.results, Receipts):
            return self.results.plain
        return all(isinstance(result, Receipt) and result.plain for result in self.results)

    @property
    def begun(self) -> bool:
        """Whether the outcome of the first one is known."""
        return _is_done(self.results[0])

    @property
    def done(self) -> bool:
        return _is_done(self.results[-1])  # Messages are resolved in their order.


class Quit(Exception):
    """The line asked to leave: what follows it is not read."""


Handle = Callable[[str, Client, Pipeline], Receipt | Answer | Help | None]
"""Carries out one line (without its end); None for a line that asks for nothing.

Raises BadLine, Refused, Quit, or what the client raises when it cannot go on."""

SayAll = Callable[[list[str], Pipeline], Receipts | None]
"""Sends what several lines say; None, and nothing is sent, if each is to be carried out by itself.

Raises BadLine or Refused, and sends nothing, if one is none or cannot be sent; or what the client
raises when it cannot go on."""


def read_lines(descriptor: int, room: Callable[[], int] = lambda: CHUNK) -> Iterator[list[bytes]]:
    """The lines of a file descriptor as they come, without their ends; each time all that are
    whole.

    The last one counts without a newline.  Read with os.read, because a thread that waits in
    a buffered reader cannot be left behind when the program ends.  *room* may wait until there
    is something to read; it tells how many bytes to read at most, 0 to make an end.  Then what
    is no whole line yet does not count.  Raises ClientError.
    """
    rest = b""
    while chunk := _read(descriptor, room()):
        lines = chunk.split(b"\n")
        lines[0] = rest + lines[0][: LONGEST - len(rest)]
        rest = lines.pop()
        if lines:
            yield _without_returns(lines)
    if rest and chunk is not None:
        yield _without_returns([rest])


def _without_returns(lines: list[bytes]) -> list[bytes]:
    """*lines* without a carriage return at their end."""
    if b"\r" not in b"".join(lines):
        return lines
    return [line.removesuffix(b"\r") for line in lines]


def _read(descriptor: int, most: int) -> bytes | None:
    """What is there, b"" at its end; None if *most* is 0."""
    try:
        return os.read(descriptor, most) if most else None
    except OSError as error:
        raise ClientError(f"cannot read standard input: {error.strerror}") from None


class Feed:
    """Reads lines and has them carried out, in a thread of its own."""

    def __init__(
        self,
        client: Client,
        handle: Handle,
        descriptor: int = 0,
        *,
        say_all: SayAll | None = None,
    ) -> None:
        """*say_all*: does for several lines what *handle* does for each, if they are messages."""
        self._client = client
        self._handle = handle
        self._say_all = say_all
        self._descriptor = descriptor
        self._entries: deque[Entry] = deque()
        self._put = self._taken = 0
        """Lines that were put into `_entries`, and that were taken out again."""
        self._room = threading.Condition()
        self._failure: BaseException | None = None
        self._unread = 1
        """The first line that was not handed on yet; 0 if all were, and no more will be."""
        self._whole = self._untaken = 1
        """The line after those that were read; and after those that were taken."""
        self._doing = 0
        """The line that is carried out now; 0 if none is."""
        self.finishing = False
        """Whether `finish` was called."""
        self._left: int | None = None
        """How many bytes were there to be read when that was noticed."""
        self.ended = False
        """Whether stdin has ended, or the client cannot go on."""
        self._thread = threading.Thread(target=self._run, name="stdin", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @contextmanager
    def reading(self, tell: Callable[[], None]) -> Iterator[None]:
        """Reads meanwhile.  If a signal ends that, or a stdout that takes no more, has *tell* take
        and tell what is known, and names the first line that is neither stored nor told of."""
        self.start()
        try:
            yield
        except (KeyboardInterrupt, SystemExit, OSError) as error:
            try:
                with suppress(ClientError):
                    tell()
            finally:  # Also if the next signal ends that.
                # The status says why it ends, and this from where to begin again.
                if line := self._begin_again_at(isinstance(error, OSError)):
                    complain("chat", f"line {line} is not known to be stored")
            raise

    def _begin_again_at(self, anyway: bool) -> int:
        """The first line that is not stored and of which nothing was told; 0 if there is none.
        *anyway*: also if all that is there was read, and more may come."""
        unread = self._unread  # Before the others are looked at: what is handed on is one of them.
        line, result = self._first_untold
        if result is not None:
            return line
        # Of those that are handed on together, some may be done with.
        line = max(line, unread)
        there = anyway or line < self._whole or _there_is(self._descriptor) > 0
        return line if unread and there else 0

    def finish(self) -> None:
        """What is there to be read is read and carried out, and nothing more is waited for."""
        self.finishing = True

    def _wait_for_more(self) -> int:
        """Waits for more to read; how much of it to read."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        while not self.finishing:
            # Any event: reading tells an end or an error as well.
            if poll.poll(LOOK_EVERY):
                return CHUNK
        # Whoever writes without end would be read without end.
        if self._left is None:
            self._left = _there_is(self._descriptor)
        room = min(self._left, CHUNK)
        self._left -= room
        return room

    @property
    def ready(self) -> bool:
        """Whether `take` gives something, or the end has come."""
        return bool(self._entries and self._entries[0].begun) or (
            self.ended and (not self._entries or self._failure is not None)
        )

    @property
    def finished(self) -> bool:
        """Whether stdin has ended and every line was taken, and nothing went wrong: what did
        is raised by `take`."""
        return self.ended and not self._entries and self._failure is None

    def wait(self, until: Callable[[], bool], tell: Callable[[], None]) -> None:
        """Has the client wait until then.  Raises what it raises, which names the first line whose
        outcome is not known if the broker was gone for too long.

        *tell*: takes what is known, and tells it; called if the client cannot go on."""
        try:
            self._client.wait_until(until)
        except ClientError as error:
            tell()  # Which raises what says more, if a line was given up.
            raise self._at_line(error) from None

    def take(self) -> Iterator[Entry]:
        """The next lines whose outcome is known, in their order.  Whoever is interrupted before
        they ask for the next ones finds the last ones again.

        Raises OutcomeUnknown or Unreachable for a line that was given up, and what ended
        the reading."""
        taken = 0
        try:
            while self._entries and self._entries[0].begun:
                entry = self._next()
                yield entry
                self._untaken = entry.line + len(entry.results)
                self._entries.popleft()
                taken += len(entry.results)
        finally:
            if taken:
                with self._room:
                    self._taken += taken
                    self._room.notify()
        if self.ended and self._failure is not None:
            raise self._at_line(self._failure)

    def _given_up(self, line: int, result: Result) -> ClientError:
        ended = self._client.ended
        if not isinstance(result, Receipt) or result.outcome is not Outcome.UNSENT:
            why = "" if ended is None else f" ({ended})"
            return OutcomeUnknown(f"line {line} was sent, but not acknowledged{why}: {MAYBE}")
        if ended is not None:
            complain("chat", f"line {line} was not sent")
            return ended
        return Unreachable(f"line {line} was not sent: the broker is gone; go on from there")

    def _at_line(self, failure: BaseException) -> BaseException:
        """*failure* that names the first line whose outcome is not known, if it says nothing else
        than that there is one.

        Whatever was waited for in vain, and whoever noticed it first: if that line was sent, the
        broker may have it."""
        line, result = self._first_untold
        line = self._doing if result is None else line
        if not line or not isinstance(failure, OutcomeUnknown | Unreachable):
            return failure
        if isinstance(failure, Unreachable) and isinstance(result, Receipt) and result.sent:
            failure = unacknowledged(self._client.broker)
        return type(failure)(f"line {line}: {failure}")

    @property
    def _first_untold(self) -> tuple[int, Result | None]:
        """The first line, of those that were carried out, that is not stored and of which nothing
        was told, and what is to become of it; the one after all of them and None if there is none.

        Not the first one of unknown outcome: outcomes come in other threads, also since it was told
        what is known."""
        after = self._untaken
        for entry in list(self._entries):  # At once: another thread adds some.
            for at in range(entry.told, len(entry.results)):
                if not _is_well(entry.results[at]):
                    return entry.line + at, entry.results[at]
            after = entry.line + len(entry.results)
        return after, None

    def _next(self) -> Entry:
        """The first lines, as far as their outcomes are known; they stay the first entry.  Raises
        OutcomeUnknown or Unreachable if the very first was given up."""
        entry = self._entries[0]
        line, results = entry.line, entry.results
        some = results.part(0, results.known) if isinstance(results, Receipts) else results
        known = len(some) if Entry(line, some).plain else _known(some)
        if not known:
            raise self._given_up(line, results[0])
        if isinstance(results, Receipts) and known < len(results):
            entry = Entry(line, results.part(0, known))
            # In this order: what ends it in between has some told twice, and none left out.
            self._entries.appendleft(entry)
            self._entries[1] = Entry(line + known, results.part(known, len(results)))
        return entry

    def _run(self) -> None:
        pipeline = self._client.pipeline(keep_refused=False)
        try:
            with suppress(Quit):
                number = 1
                for lines in read_lines(self._descriptor, self._wait_for_more):
                    self._whole = number + len(lines)
                    for start in range(0, len(lines), AT_ONCE):
                        some = lines[start : start + AT_ONCE]
                        self._some(number, some, pipeline)
                        number = self._unread = number + len(some)
        except BaseException as error:  # noqa: BLE001 - `take` raises it in the main thread
            self._failure = error
        else:
            self._unread = 0
        finally:
            self.ended = True
            self._client.notify()

    def _some(self, number: int, lines: list[bytes], pipeline: Pipeline) -> None:
        receipts = None
        if self._say_all is not None and len(lines) > 1:
            # Where one of them cannot be sent, each is looked at by itself.
            with suppress(BadLine, Refused):
                receipts = self._say_all(decode_lines(lines), pipeline)
        if receipts is not None:
            self._report(Entry(number, receipts))
            return
        for at, raw in enumerate(lines, number):
            self._doing = at
            self._one(at, raw, pipeline)
        self._doing = 0

    def _one(self, number: int, raw: bytes, pipeline: Pipeline) -> None:
        result: Result | None
        try:
            result = self._handle(decode_line(raw), self._client, pipeline)
        except (BadLine, Refused) as refused:
            result = refused
        if result is not None:
            self._report(Entry(number, [result]))

    def _report(self, entry: Entry) -> None:
        self._put += len(entry.results)
        self._entries.append(entry)
        if entry.done:  # Else the client tells when it is.
            self._client.notify()
        if self._put - self._taken >= MOST_REPORTS:
            with self._room:
                self._room.wait_for(lambda: self._put - self._taken < MOST_REPORTS)


def _is_done(result: Result) -> bool:
    return not isinstance(result, Receipt) or result.done


def _is_known(result: Result) -> bool:
    return not isinstance(result, Receipt) or result.outcome not in (
        Outcome.UNKNOWN,
        Outcome.UNSENT,
    )


def _is_well(result: Result) -> bool:
    """Whether it is stored, or says nothing that could be."""
    return isinstance(result, Answer | Help) or (
        isinstance(result, Receipt) and result.outcome is Outcome.ACCEPTED
    )


def _known(results: Sequence[Result]) -> int:
    """Of how many of the first of *results* the outcome is known."""
    return sum(1 for _ in takewhile(lambda one: _is_done(one) and _is_known(one), results))


def _there_is(descriptor: int) -> int:
    """How many bytes can be read without waiting; of a file, all that is left."""
    try:
        there = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
    except OSError:  # Nothing that could be read at all: reading it will say so.
        return CHUNK
    return int.from_bytes(there, sys.byteorder)


def decode_line(raw: bytes) -> str:
    """*raw* as text.  Raises BadLine: nothing is sent that cannot be read."""
    if len(raw) >= LONGEST:
        raise BadLine("too_long", f"too long: at most {MAX_TEXT} bytes are allowed")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadLine("bad_text", f"not UTF-8: {error.reason} at byte {error.start}") from None


def decode_lines(lines: Sequence[bytes]) -> list[str]:
    """*lines*, which hold no newline, as texts.  Raises BadLine for the first one that is none."""
    if lines and max(map(len, lines)) < LONGEST:
        # Which of them is none, and where, is looked for one by one.
        with suppress(UnicodeDecodeError):
            return b"\n".join(lines).decode().split("\n")
    return [*map(decode_line, lines)]
