"""Counts delivered messages by the headers of batches, without taking events apart.

Texts are equal, and names are equally long: so every event of a run that is whole is of one size,
and so is every one that is its text alone.  That a batch of as many events as its header says ends
where its frame goes on is checked.
"""

from __future__ import annotations

from typing import NamedTuple

from chatbroker.wire.batch import pack_events
from chatbroker.wire.limits import EPOCH_LENGTH
from chatbroker.wire.messages import Event, Kind

from .prepared import TEXT

_HEAD = bytes((0x96, Kind.BATCH))
_BYTES = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}


class Sizes(NamedTuple):
    """Of the events of a run."""

    whole: int
    text: int
    """Of one that is its text alone."""
    begin: bytes
    """The byte with which those begin that are whole; none of a text is that."""


def sizes_of(sender: str, to: str) -> Sizes:
    """The sizes of what *sender* says to *to*.  Any time of this century takes as many bytes."""
    one, two = [pack_events([Event(1 << 40, sender, to, TEXT)] * count) for count in (1, 2)]
    return Sizes(len(one), len(two) - len(one), one[:1])


class Span(NamedTuple):
    """Where a batch belongs in its log, and where in the buffer it ends."""

    prev: int
    first: int
    events: int
    stop: int


def is_batch(buffer: bytes | bytearray, at: int) -> bool:
    return buffer.startswith(_HEAD, at)


def span(buffer: bytes | bytearray, at: int, sizes: Sizes) -> Span:
    """The batch at *at*, whose events are of *sizes*."""
    at += 2
    # The log's name, a string of less than 32 bytes; then the epoch with its two-byte head.
    at += 1 + (buffer[at] & 0x1F)
    at += 2 + EPOCH_LENGTH
    prev, at = _integer(buffer, at)
    first, at = _integer(buffer, at)
    if buffer[at] == 0xDC:
        events = buffer[at + 1] << 8 | buffer[at + 2]
        at += 3
    else:
        events = buffer[at] & 0x0F
        at += 1
    whole, text, begin = sizes
    left = events
    while left:
        at += whole
        left -= 1
        end = at + left * text
        found = buffer.find(begin, at, end)
        if found >= 0:
            left -= (found - at) // text
            at = found
        else:
            at, left = end, 0
    return Span(prev, first, events, at)


def _integer(buffer: bytes | bytearray, at: int) -> tuple[int, int]:
    head = buffer[at]
    if head < 0x80:
        return head, at + 1
    stop = at + 1 + _BYTES[head]
    return int.from_bytes(buffer[at + 1 : stop], "big"), stop


class Tally:
    """One reader's cursor in a log: each event counts once, whichever way it comes."""

    __slots__ = ("counted", "cursor")

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        self.counted = 0

    def add(self, batch: Span) -> bool:
        """Counts what is new in *batch*; False if something before it is missing."""
        prev, first, events, _ = batch
        last = first + events - 1
        if prev > self.cursor:
            return False
        if last > self.cursor:
            self.counted += last - self.cursor if first <= self.cursor else events
            self.cursor = last
        return True
