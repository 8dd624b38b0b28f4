"""Counts delivered messages by the headers of batches, without taking events apart.

Every event of a run is of one size: texts are equal, and names are equally long.  So a
batch ends where its header says how many events it has, and that it does is checked.
"""

from __future__ import annotations

from typing import NamedTuple

from chatbroker.wire.batch import pack_event
from chatbroker.wire.limits import EPOCH_LENGTH
from chatbroker.wire.messages import Event, Kind

from .prepared import TEXT

_HEAD = bytes((0x96, Kind.BATCH))
_BYTES = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}


def event_size(sender: str, to: str) -> int:
    """Bytes of a packed event of a run.  Any time of this century takes as many."""
    return len(pack_event(Event(1 << 40, sender, to, TEXT)))


class Span(NamedTuple):
    """Where a batch belongs in its log, and where in the buffer it ends."""

    prev: int
    first: int
    events: int
    stop: int


def is_batch(buffer: bytes | bytearray, at: int) -> bool:
    return buffer.startswith(_HEAD, at)


def span(buffer: bytes | bytearray, at: int, size: int) -> Span:
    """The batch at *at*, whose events are of *size* bytes each."""
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
    return Span(prev, first, events, at + events * size)


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
