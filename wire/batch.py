"""Log batches: how events are packed, put together, and trimmed to a reader's cursor.

An event is packed once, when the broker accepts it, and never unpacked by the broker: a
batch is a header and the bytes of its events, as they are stored, pushed and replayed.

Of events that go the same way, one after the other, the first is whole and the others are their
texts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby, pairwise, repeat
from operator import itemgetter
from typing import Any

import msgpack

from . import limits
from .errors import BadFrame
from .limits import FRAME_TARGET
from .messages import Batch, Event, Events, Kind
from .names import SURELY_FITS, fits
from .shape import check_depth

BROADCAST = 1
DIRECT = 2

LEAST = 4
"""Bytes that an event of a run takes at the least, in the mean: so what fits a frame of
FRAME_TARGET has no more than MAX_EVENTS."""

# packb would make a Packer for each call: 200 ns.
_pack: Callable[[object], bytes] = msgpack.Packer(autoreset=True).pack

_KIND = int(Kind.BATCH)

Packed = tuple[bytes, int]
"""Packed events, and how many they are.  The same bytes go into each log that they belong in."""


def event_head(time: int, sender: str, to: str) -> bytes:
    """All of a packed event but its text, which follows: of what *sender* says to *to*, empty for
    everyone, at *time*.

    Equal for a run of messages, so worth keeping.
    """
    # Packed at once, as an array without its last element, which is to follow.
    if to:
        return b"\x95" + _pack((DIRECT, time, sender, to))[1:]
    return b"\x94" + _pack((BROADCAST, time, sender))[1:]


def pack_runs(head: bytes, texts: Sequence[str]) -> list[Packed]:
    """Events of *texts* behind the same *head*: runs within FRAME_TARGET, or of a single event."""
    count = len(texts)
    if count < 2:
        return [(head + _pack(text), 1) for text in texts]
    together = "".join(texts)
    # What they take at the least: what is packed in vain costs as much as what is not.
    alone = count + len(together if together.isascii() else together.encode())
    whole = len(head) + alone < LEAST * count
    size = len(head) * (count if whole else 1) + alone
    if size <= FRAME_TARGET:
        if whole:
            body = head + head.join(map(_pack, texts))
        else:
            body = b"".join((head, memoryview(_pack(texts))[len(_head_of_array(count)) :]))
        size = len(body)
        if size <= FRAME_TARGET:
            return [(body, count)]
    runs: list[Packed] = []
    each = -(-count // -(-size // FRAME_TARGET))
    for first in range(0, count, each):
        # Where their lengths differ, a part may be too long yet.
        runs += pack_runs(head, texts[first : first + each])
    return runs


def pack_events(events: Iterable[Event]) -> bytes:
    """The bytes of *events*, as the broker packs them."""
    runs: list[Packed] = []
    for way, said in groupby(events, itemgetter(slice(3))):
        runs += pack_runs(event_head(*way), [event.text for event in said])
    return b"".join([body for body, _ in runs])


def parse_event(value: object) -> Event | None:
    """The event in a decoded array, or None for a type of a later version.

    Raises BadFrame.
    """
    if type(value) is not tuple or not value:
        raise BadFrame("an event is an array that begins with its type")
    kind, size = value[0], len(value)
    if type(kind) is not int:
        raise BadFrame("an event is an array that begins with its type")
    if kind == DIRECT and size >= 5:
        _, time, sender, to, text = value if size == 5 else value[:5]
        check_depth(value[5:], 3)
    elif kind == BROADCAST and size >= 4:
        _, time, sender, text = value if size == 4 else value[:4]
        check_depth(value[4:], 3)
        to = ""
    elif kind > DIRECT:
        check_depth(value, 3)
        return None
    else:
        raise BadFrame("an event of a known type lacks fields")
    if (
        type(time) is not int
        or not 0 <= time <= limits.MAX_INT
        or type(sender) is not str
        or len(sender) > limits.MAX_NAME
        or type(to) is not str
        or len(to) > limits.MAX_NAME
        or type(text) is not str
        or not fits(text)
    ):
        raise BadFrame("an event has a field of the wrong type or size")
    return Event(time, sender, to, text)


def parse_events(values: tuple[Any, ...]) -> Events:
    """The events in *values*, an array of which each is one.

    A string is the text of an event that is like the one before it otherwise.  Raises BadFrame.
    """
    places = [at for at, value in enumerate(values) if type(value) is not str]
    whole = values if len(places) == len(values) else [values[at] for at in places]
    events = _parse_alike(whole) or Events.of(map(parse_event, whole))
    return events if whole is values else _with_texts(values, places, events)


def _with_texts(values: tuple[Any, ...], places: list[int], whole: Events) -> Events:
    """The events in *values*, of which those at *places* are *whole* and the others their texts
    alone."""
    if not places or places[0]:
        raise BadFrame("the first event of a batch is whole")
    texts = [*values]
    for at, text in zip(places, whole.texts, strict=True):
        texts[at] = text
    if max(map(len, texts)) > SURELY_FITS and not all(map(fits, texts)):
        raise BadFrame("an event has a field of the wrong type or size")
    lengths = [end - at for at, end in pairwise([*places, len(values)])]

    def each(column: Sequence[Any]) -> list[Any]:
        return list(chain.from_iterable(map(repeat, column, lengths)))

    return Events(each(whole.times), each(whole.senders), each(whole.tos), texts)


def _parse_alike(values: Sequence[Any]) -> Events | None:
    """The events in *values*, if all are of one known type and surely well formed; else None.

    Looked at column by column an event costs half of what it costs by itself."""
    if {*map(type, values)} != {tuple}:
        return None
    lengths = {*map(len, values)}
    if lengths == {4}:
        known, (kinds, times, senders, texts) = BROADCAST, zip(*values, strict=True)
        tos: tuple[str, ...] = ("",) * len(values)
        names = {*senders}
    elif lengths == {5}:
        known, (kinds, times, senders, tos, texts) = DIRECT, zip(*values, strict=True)
        names = {*senders, *tos}
    else:
        return None
    if (
        {*map(type, kinds), *map(type, times)} != {int}
        or {*map(type, names), *map(type, texts)} != {str}
        or {*kinds} != {known}
        or min(times) < 0
        or max(times) > limits.MAX_INT
        or max(map(len, names)) > limits.MAX_NAME
        or max(map(len, texts)) > SURELY_FITS
    ):
        return None
    return Events(times, senders, tos, texts)


def unpack_events(body: bytes) -> Events:
    """The packed events that *body* is.  Raises BadFrame, if it is anything else."""
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=len(body) + 1)
    try:
        unpacker.feed(body)
        events = parse_events(tuple(unpacker))
        # The unpacker keeps the beginning of an event that is cut short, and tells nobody.
        unpacker.feed(b"\xc0")
        whole = next(unpacker, 0) is None
    except BadFrame:
        raise
    except Exception as error:  # noqa: BLE001 - msgpack raises several kinds; none may pass
        raise BadFrame(f"not msgpack: {type(error).__name__}") from None
    if not whole:
        raise BadFrame("the last event is cut short")
    return events


def encode_batch(log: str, epoch: bytes, prev: int, first: int, count: int, body: bytes) -> bytes:
    """A BATCH message of *count* events whose packed bytes are *body*."""
    head = b"\x96" + _pack((_KIND, log, epoch, prev, first))[1:]
    return head + _head_of_array(count) + body


def _head_of_array(count: int) -> bytes:
    return bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")


def news(batch: Batch, cursor: int) -> tuple[int, Events]:
    """The part of *batch* after *cursor*: the position of its first event, and the events."""
    seen = cursor + 1 - batch.first
    if seen <= 0:
        return batch.first, batch.events
    return cursor + 1, batch.events[seen:]


def last_position(batch: Batch) -> int:
    """The position of the last event of *batch*, or of the one before it if it is empty."""
    return batch.first + len(batch.events) - 1 if batch.events else batch.prev
