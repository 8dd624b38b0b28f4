"""Log batches: how events are packed, put together, and trimmed to a reader's cursor.

An event is packed once, when the broker accepts it, and never unpacked by the broker: a
batch is a header and the bytes of its events, as they are stored, pushed and replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgpack

from . import limits
from .errors import BadFrame
from .messages import Batch, Event, Kind
from .names import fits
from .shape import check_depth

BROADCAST = 1
DIRECT = 2

# packb would make a Packer for each call: 200 ns.
_pack: Callable[[object], bytes] = msgpack.Packer(autoreset=True).pack
pack_text: Callable[[str], bytes] = _pack
"""The last field of an event, which follows its head."""

_BATCH = bytes((0x96, Kind.BATCH))


def event_head(time: int, sender: str, to: str) -> bytes:
    """All of a packed event but its text, which `pack_text` packs.

    Equal for a run of messages, so worth keeping.
    """
    if to:
        return b"\x95" + _pack(DIRECT) + _pack(time) + _pack(sender) + _pack(to)
    return b"\x94" + _pack(BROADCAST) + _pack(time) + _pack(sender)


def pack_event(event: Event) -> bytes:
    """The bytes of *event*: ``[1, time, sender, text]`` or ``[2, time, sender, to, text]``."""
    return event_head(event.time, event.sender, event.to) + pack_text(event.text)


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


def count_events(body: bytes) -> int:
    """How many packed events *body* is.  Raises BadFrame, if it is anything else."""
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=len(body) + 1)
    count = 0
    try:
        unpacker.feed(body)
        for value in unpacker:
            parse_event(value)
            count += 1
        # The unpacker keeps the beginning of an event that is cut short, and tells nobody.
        unpacker.feed(b"\xc0")
        whole = next(unpacker, 0) is None
    except BadFrame:
        raise
    except Exception as error:  # noqa: BLE001 - msgpack raises several kinds; none may pass
        raise BadFrame(f"not msgpack: {type(error).__name__}") from None
    if not whole:
        raise BadFrame("the last event is cut short")
    return count


def encode_batch(log: str, epoch: bytes, prev: int, first: int, count: int, body: bytes) -> bytes:
    """A BATCH message of *count* events whose packed bytes are *body*."""
    head = _BATCH + _pack(log) + _pack(epoch) + _pack(prev) + _pack(first)
    length = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return head + length + body


def news(batch: Batch, cursor: int) -> tuple[int, Sequence[Event | None]]:
    """The part of *batch* after *cursor*: the position of its first event, and the events."""
    seen = cursor + 1 - batch.first
    if seen <= 0:
        return batch.first, batch.events
    return cursor + 1, batch.events[seen:]


def last_position(batch: Batch) -> int:
    """The position of the last event of *batch*, or of the one before it if it is empty."""
    return batch.first + len(batch.events) - 1 if batch.events else batch.prev
