"""Whatever bytes come in: messages or WireError.  Whatever is said: heard as it was said."""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.wire import limits
from chatbroker.wire.codec import (
    FROM_BROKER,
    FROM_CLIENT,
    Decoder,
    Direction,
    Encoder,
    coalesce,
)
from chatbroker.wire.errors import Code, WireError
from chatbroker.wire.messages import (
    KINDS,
    Ack,
    Batch,
    Bye,
    Cursor,
    Echo,
    Enrol,
    Enrolled,
    Error,
    Event,
    Farewell,
    Fetch,
    Fetched,
    Follow,
    Hello,
    Info,
    Kind,
    Limits,
    Missed,
    Notice,
    Ping,
    Pong,
    Presence,
    Reading,
    Refusal,
    Refused,
    Run,
    Send,
    Start,
    User,
    Users,
    Welcome,
)

DIRECTIONS = pytest.mark.parametrize(
    "kinds", [FROM_CLIENT, FROM_BROKER], ids=["from client", "from broker"]
)


# --- every message ------------------------------------------------------------------------


# Small values, and those at their limit: what lies between costs time and finds nothing.
def text_of(most: int) -> st.SearchStrategy[str]:
    """Strings of at most *most* bytes."""
    return st.text(max_size=min(most // 4, 12)) | st.just("~" * most)


def few(item: st.SearchStrategy) -> st.SearchStrategy[tuple]:
    return st.lists(item, max_size=3).map(tuple)


integers = st.integers(0, limits.MAX_INT)
numbers = st.integers(1, limits.MAX_INT)
names = text_of(limits.MAX_NAME)
logs = text_of(limits.MAX_LOG_NAME)
codes = st.sampled_from([code.value for code in Code]) | text_of(limits.MAX_NAME)
words = text_of(limits.MAX_WORDS)
texts = text_of(limits.MAX_TEXT) | st.just("🙂" * (limits.MAX_TEXT // 4))
several = st.lists(texts, min_size=1, max_size=3).map(tuple) | texts.map(
    lambda text: (text[:9],) * 200
)
commands = st.integers(1, limits.MAX_INT - 200)
epochs = st.binary(min_size=limits.EPOCH_LENGTH, max_size=limits.EPOCH_LENGTH)
formers = st.just(b"") | epochs
ids = st.binary(min_size=limits.ID_LENGTH, max_size=limits.ID_LENGTH)
cursors = few(st.builds(Cursor, logs, epochs, integers))
follows = st.lists(
    st.builds(Follow, logs, st.just(b"") | epochs, st.sampled_from(Start), integers),
    max_size=3,
    unique_by=lambda follow: follow.log,
).map(tuple)
event = st.builds(Event, integers, names, st.just("") | names, texts)
# Some batches are longer than what the shortest header of an array can count.
events = few(event) | event.map(lambda said: (said._replace(text="short"),) * 16)


@st.composite
def batches(draw: Callable) -> Batch:
    said = draw(events)
    prev = draw(st.integers(0, limits.MAX_INT - 100))
    first = draw(st.integers(prev + 1, limits.MAX_INT - 50))
    return Batch(draw(logs), draw(epochs), prev, first, said)


MESSAGES: dict[type, st.SearchStrategy] = {
    Hello: st.builds(
        Hello,
        st.just(limits.VERSION),
        names,
        ids,
        st.just(b"") | ids,
        numbers,
        st.booleans(),
        st.booleans(),
        st.just(b"") | ids,
        follows,
    ),
    Send: st.builds(Send, commands, names, several),
    Echo: st.builds(Echo, commands, several),
    Info: st.builds(Info, integers, names),
    Fetch: st.builds(Fetch, integers, logs, epochs, integers, integers),
    Ping: st.builds(Ping, integers, integers, integers, cursors, integers),
    Bye: st.just(Bye()),
    Enrol: st.builds(Enrol, st.just(limits.VERSION), st.binary(min_size=32, max_size=32)),
    Enrolled: st.builds(Enrolled, names),
    Welcome: st.builds(
        Welcome,
        integers,
        names,
        epochs,
        integers,
        integers,
        integers,
        st.just(b"") | ids,
        st.integers(1, 65535),
        integers,
        integers,
        st.builds(Limits, *[integers] * 8),
        few(st.builds(Reading, logs, epochs, integers, integers, formers, integers)),
        st.just(b"") | epochs,
    ),
    Refused: st.builds(Refused, codes, words, integers),
    Ack: st.builds(
        Ack,
        integers,
        integers,
        few(st.builds(Refusal, numbers, numbers, codes, words)),
        few(st.builds(Run, numbers, numbers)),
    ),
    Batch: batches(),
    Fetched: st.builds(Fetched, integers, logs, epochs, integers),
    Missed: st.builds(Missed, logs, epochs, integers, integers, integers),
    Users: st.builds(Users, integers, few(st.builds(User, names, integers)), st.booleans()),
    Presence: st.builds(Presence, st.booleans(), names, integers),
    Pong: st.builds(Pong, integers, cursors, integers, integers),
    Error: st.builds(Error, codes, words, integers, integers),
    Farewell: st.builds(Farewell, codes, words),
    Notice: st.builds(Notice, codes, words),
}


def said_in(kinds: Direction) -> st.SearchStrategy:
    """Any message of one direction."""
    return st.one_of(
        [MESSAGES[message] for message, kind in KINDS.items() if kind in kinds.parsers]
    )


def test_every_message_has_a_strategy():
    assert set(MESSAGES) == set(KINDS)


@pytest.mark.parametrize("message", KINDS, ids=lambda message: message.__name__)
@given(data=st.data())
def test_a_message_survives_the_wire(message, data):
    said = data.draw(MESSAGES[message])
    decoder = Decoder(FROM_CLIENT if KINDS[message] < 16 else FROM_BROKER)
    packed = Encoder().encode(said)
    if len(packed) > limits.MAX_FRAME:  # Of the random ones, a batch of long texts may be.
        with pytest.raises(WireError):
            decoder.decode(packed)
        return
    (heard,) = decoder.decode(packed)
    assert heard == said
    assert type(heard) is message


@DIRECTIONS
@given(data=st.data())
def test_messages_in_one_frame_are_heard_in_order(kinds, data):
    said = data.draw(st.lists(said_in(kinds), min_size=1, max_size=8))
    # HELLO and ENROL may only be the first.
    said = said[:1] + [message for message in said[1:] if type(message) not in (Hello, Enrol)]
    encode, decode = Encoder().encode, Decoder(kinds).decode
    frames = coalesce(map(encode, said), limits.FRAME_TARGET)
    if all(len(frame) <= limits.MAX_FRAME for frame in frames):
        assert [message for frame in frames for message in decode(frame)] == said


# --- a hostile peer -----------------------------------------------------------------------


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(0, 30)
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=20)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=17))
    | st.builds(msgpack.Timestamp, st.integers(0, 2**40), st.integers(0, 999_999_999)),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)
lookalikes = st.builds(
    lambda kind, fields: msgpack.packb([kind, *fields]),
    st.sampled_from([int(kind) for kind in Kind]) | st.integers(-2, 200),
    st.lists(values, max_size=12),
)


@st.composite
def mutants(draw: Callable, kinds: Direction) -> bytes:
    """Valid frames after a few accidents."""
    said = draw(st.lists(said_in(kinds), min_size=1, max_size=3))
    frame = bytearray(b"".join(map(Encoder().encode, said))[: limits.MAX_FRAME])
    for _ in range(draw(st.integers(1, 4))):
        # Most of what matters stands at the front; texts may be long.
        at = draw(st.integers(0, len(frame)) | st.integers(0, min(len(frame), 40)))
        much = draw(st.integers(0, 4))
        match draw(st.sampled_from(["replace", "delete", "insert", "repeat", "cut"])):
            case "replace":
                frame[at : at + much] = draw(st.binary(min_size=much, max_size=much))
            case "delete":
                del frame[at : at + much]
            case "insert":
                frame[at:at] = draw(st.binary(max_size=6))
            case "repeat":
                frame[at:at] = frame[at : at + much * 5]
            case "cut":
                del frame[at:]
    return bytes(frame)


def check(decoder: Decoder, frame: bytes) -> None:
    """*frame* gives well-formed messages or a WireError, and the decoder stays sound."""
    try:
        heard = decoder.decode(frame)
    except WireError as refused:
        error = refused
    else:
        assert heard
        for message in heard:
            assert type(message) in KINDS
            # What was heard could have been said: nothing of a wrong type slipped in.
            if None not in (*getattr(message, "events", ()), *getattr(message, "texts", ())):
                assert decoder.decode(Encoder().encode(message)) == [message]
        return
    assert type(error.code) is Code
    assert 0 < len(str(error)) < limits.MAX_WORDS


@DIRECTIONS
@given(frame=st.binary(max_size=300))
def test_random_bytes_are_messages_or_a_wire_error(kinds, frame):
    check(Decoder(kinds), frame)


@DIRECTIONS
@given(frame=st.lists(lookalikes, min_size=1, max_size=3).map(b"".join))
def test_what_looks_like_a_message_is_one_or_a_wire_error(kinds, frame):
    check(Decoder(kinds), frame)


@DIRECTIONS
@given(data=st.data())
def test_a_mutated_frame_is_messages_or_a_wire_error(kinds, data):
    check(Decoder(kinds), data.draw(mutants(kinds)))


@DIRECTIONS
@given(data=st.data())
def test_no_frame_spoils_the_next_one(kinds, data):
    decoder = Decoder(kinds)
    good = data.draw(said_in(kinds))
    packed = Encoder().encode(good)[: limits.MAX_FRAME + 1]
    sound = len(packed) <= limits.MAX_FRAME
    for bad in data.draw(st.lists(st.binary(max_size=50) | mutants(kinds), max_size=4)):
        check(decoder, bad)
        if sound:
            assert decoder.decode(packed) == [good]


@DIRECTIONS
@given(data=st.data())
def test_what_trails_is_ignored_whatever_it_is(kinds, data):
    message = data.draw(said_in(kinds).filter(lambda said: type(said) is not Batch))
    extra = data.draw(
        st.lists(
            st.none() | st.booleans() | integers | st.floats() | texts | ids | few(integers),
            max_size=3,
        )
    )
    packed = msgpack.packb((KINDS[type(message)], *message, *extra))
    if len(packed) <= limits.MAX_FRAME:
        assert Decoder(kinds).decode(packed) == [message]
