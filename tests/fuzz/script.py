"""Bytes of a fuzzer as a script: which of several things to do, with which values.

A byte decides each choice, so that a fuzzer that changes a byte changes one thing.  When there
are no more bytes, every choice is the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from chatbroker.wire.codec import Encoder
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import MAX_INT, MAX_TEXT, VERSION
from chatbroker.wire.messages import (
    Ack,
    Batch,
    BrokerMessage,
    Cursor,
    Error,
    Event,
    Events,
    Farewell,
    Fetched,
    Limits,
    Missed,
    Notice,
    Pong,
    Presence,
    Reading,
    Refusal,
    Refused,
    Run,
    User,
    Users,
    Welcome,
)

T = TypeVar("T")

LOGS = ("echo", "direct", "@alice", "")
EPOCHS = (bytes(8), bytes(7) + b"\1", bytes(7) + b"\2", b"long ago")
NUMBERS = (0, 1, 2, 3, 7, 1000, 2**32, MAX_INT - 1, MAX_INT)
CODES = (*[code.value for code in Code], "code of a later version"[:32])
NASTY = ("hi", "", "\x1b[2J\r\n", "\u202e\u2028\x9b", "e" + "\u0301" * 9, "\U0001f600\ufeff")

encode = Encoder().encode


class Script:
    """Takes *data* apart from its beginning."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """The next byte; 0 at the end."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def take(self, count: int) -> bytes:
        """The next *count* bytes, or as many as there are."""
        self._at += count
        return self._data[self._at - count : self._at]

    def raw(self) -> bytes:
        """Bytes as they are, as many as the byte before them says."""
        return self.take(self.byte())

    def chance(self) -> bool:
        return bool(self.byte() & 1)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.byte() % len(options)]

    def log(self) -> str:
        """More often than not one that is followed."""
        what = self.byte()
        return LOGS[what & 1] if what < 192 else LOGS[what % len(LOGS)]

    def epoch(self) -> bytes:
        """More often than not that of the log."""
        what = self.byte()
        return EPOCHS[0] if what < 192 else EPOCHS[what % len(EPOCHS)]

    def number(self, near: int = 0) -> int:
        """An integer of the protocol: *near* or about it, one at a limit, or any small one."""
        what = self.byte()
        if what < 96:
            return near
        if what < 128:
            return min(max(near + what % 8 - 3, 0), MAX_INT)
        return NUMBERS[what - 128] if what - 128 < len(NUMBERS) else what

    def several(self, item: Callable[[], T], most: int = 4) -> tuple[T, ...]:
        return tuple([item() for _ in range(self.byte() % (most + 1))])

    def text(self) -> str:
        """Words, nasty ones, too many of them, or whatever the bytes say."""
        what = self.byte()
        if what < 128:
            return NASTY[what % len(NASTY)]
        if what < 160:
            return "x" * (MAX_TEXT - 2 + what % 8)
        return self.take(what - 160).decode("utf-8", "replace")

    def words(self, most: int) -> str:
        """A text of at most *most* bytes."""
        return self.text().encode()[:most].decode("utf-8", "ignore")

    def cursor(self) -> Cursor:
        return Cursor(self.log(), self.epoch(), self.number())

    # --- what a broker says ---------------------------------------------------------------

    def from_broker(self, attempt: int, position: int) -> BrokerMessage:
        """A message to a client whose last HELLO was *attempt* and which has read up to
        *position*: more often than not one that it takes."""
        number, log, epoch = self.number, self.log(), self.epoch()
        match self.byte() % 12:
            case 0:
                return Welcome(
                    VERSION,
                    self.pick(("alice", "", "\x1b[0m", "bob")),
                    epoch,
                    number(attempt),
                    number(1),
                    number(),
                    self.pick((b"", b"c" * 16)),
                    1 + self.byte(),
                    number(5000),
                    number(15000),
                    Limits(number(65536), number(16384), number(2048), number(1 << 20)),
                    self.several(lambda: Reading(self.log(), self.epoch(), number(), number())),
                )
            case 1:
                return Refused(self.pick(CODES), self.words(1024))
            case 2:
                runs = self.several(lambda: (max(number(), 1), max(number(), 1)))
                refused = [Refusal(*run, self.pick(CODES), self.words(1024)) for run in runs]
                away = self.several(lambda: Run(max(number(), 1), max(number(), 1)))
                return Ack(number(), number(), tuple(refused), away)
            case 3:
                prev = min(number(position), MAX_INT - 300)
                first = prev + 1 + self.byte() % 3
                return Batch(log, epoch, prev, first, Events.of(self.several(self._event, 40)))
            case 4:
                return Fetched(number(1), log, epoch, number(position))
            case 5:
                return Missed(log, epoch, number(position), number(position), number())
            case 6:
                users = self.several(lambda: User(self.words(32), number()))
                return Users(number(1), users, self.chance())
            case 7:
                return Presence(self.chance(), self.words(32), number())
            case 8:
                return Pong(number(1), self.several(self.cursor))
            case 9:
                return Error(self.pick(CODES), self.words(1024), number(1))
            case 10:
                return Farewell(self.pick(CODES), self.words(1024))
        return Notice(self.pick(CODES), self.words(1024))

    def _event(self) -> Event:
        text = self.words(MAX_TEXT)
        return Event(self.number(1_700_000_000_000), self.words(32), self.words(32), text)
