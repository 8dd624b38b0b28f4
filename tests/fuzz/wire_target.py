"""The decoder, in both directions: whatever bytes come in, messages or WireError."""

from __future__ import annotations

from collections.abc import Callable

from chatbroker.wire import limits
from chatbroker.wire.batch import unpack_events
from chatbroker.wire.codec import FROM_BROKER, FROM_CLIENT, Decoder, Direction, Encoder
from chatbroker.wire.errors import BadFrame, WireError
from chatbroker.wire.messages import KINDS, Batch, Events

_encode = Encoder().encode


def target_of(
    make: Callable[[Direction], Decoder], direction: Direction
) -> Callable[[bytes], None]:
    """What is to hold of a decoder; *make* makes it."""
    # One that goes on, as that of a broker does: what a bad frame left would spoil the next.
    decoder, witness = make(direction), Decoder(direction)

    def decode(data: bytes) -> None:
        try:
            messages = decoder.decode(data)
        except WireError as bad:
            words = str(bad)
        else:
            words = ""
        # They travel back to the sender.
        assert len(words.encode()) <= limits.MAX_WORDS
        if words:
            return
        assert 0 < len(messages) <= direction.most_messages
        for message in messages:
            assert type(message) in KINDS
            _says_itself_again(message, witness)

    return decode


def _says_itself_again(message: tuple[object, ...], decoder: Decoder) -> None:
    """What was understood is understood the same when it is said again.

    Not, where something stands for what cannot be said: a text that was too long, an event of a
    type that is not known.
    """
    fields = [*message, *(message.events if isinstance(message, Batch) else ())]
    if any(None in field for field in fields if isinstance(field, tuple | Events)):
        return
    packed = _encode(message)  # type: ignore[arg-type]
    # What trailed a known array is not said again; a number in five bytes may be said in one.
    assert len(packed) <= limits.MAX_FRAME
    assert decoder.decode(packed) == [message]


from_client = target_of(Decoder, FROM_CLIENT)
from_broker = target_of(Decoder, FROM_BROKER)


def events(data: bytes) -> None:
    """The events of a batch as they are stored."""
    try:
        found = unpack_events(data)
    except BadFrame:
        return
    assert len(found) <= len(data)


def wire(data: bytes) -> None:
    """All of them, on the same bytes: each knows what the other two do not."""
    from_client(data)
    from_broker(data)
    events(data)
