from __future__ import annotations

from io import BytesIO

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.wire import limits
from chatbroker.wire.batch import (
    encode_batch,
    event_head,
    last_position,
    news,
    pack_events,
    pack_runs,
    parse_event,
    parse_events,
    unpack_events,
)
from chatbroker.wire.codec import FROM_BROKER, Decoder
from chatbroker.wire.errors import BadFrame
from chatbroker.wire.messages import Batch, Event, Events

EPOCH = b"epoch-01"
HELLO_ALL = Event(1_700_000_000_000, "alice", "", "hello, all")
HELLO_BOB = Event(1_700_000_000_000, "alice", "bob", "hello, bob")


def unpacked(packed: bytes) -> object:
    return msgpack.unpackb(packed, use_list=False)


def batch_of(count: int, first: int = 11, prev: int = 10) -> Batch:
    said = Events.of(Event(0, "alice", "", str(first + index)) for index in range(count))
    return Batch("echo", EPOCH, prev, first, said)


# --- events -------------------------------------------------------------------------------


def test_a_broadcast_has_no_recipient_on_the_wire():
    assert unpacked(pack_events([HELLO_ALL])) == (1, 1_700_000_000_000, "alice", "hello, all")


def test_a_direct_message_names_both_ends():
    assert unpacked(pack_events([HELLO_BOB])) == (
        2,
        1_700_000_000_000,
        "alice",
        "bob",
        "hello, bob",
    )


def packed_at_once(head: bytes, texts: list[str]) -> bytes:
    ((body, count),) = pack_runs(head, texts)
    assert count == len(texts)
    return body


@pytest.mark.parametrize("event", [HELLO_ALL, HELLO_BOB])
def test_the_head_of_an_event_serves_for_every_text(event):
    head = event_head(*event[:3])
    for text in ("", "short", "x" * 300, "🙂" * 4096):
        packed = packed_at_once(head, [text])
        assert packed == head + msgpack.packb(text)
        assert parse_event(unpacked(packed)) == event._replace(text=text)


@pytest.mark.parametrize("event", [HELLO_ALL, HELLO_BOB])
def test_of_events_that_go_the_same_way_the_first_is_whole_and_the_others_are_texts(event):
    texts = ["", "short", "x" * 300, "🙂" * 2048]
    packed = packed_at_once(event_head(*event[:3]), texts)
    first, *others = msgpack.Unpacker(BytesIO(packed), use_list=False)
    assert parse_event(first) == event._replace(text="")
    assert others == texts[1:]
    assert unpack_events(packed) == tuple([event._replace(text=text) for text in texts])


@pytest.mark.parametrize("text", ["да", "好", "🙂", "no."])
def test_short_texts_of_whatever_letters_go_alone(text):
    body = packed_at_once(event_head(1_700_000_000_000, "alice", "bob"), [text] * 100)
    assert len(body) < 30 + 100 * len(msgpack.packb(text))


def test_short_texts_go_alone_only_if_an_event_takes_its_least_in_the_mean():
    head = event_head(1_700_000_000_000, "alice", "bob")
    # Of three bytes each, so that the head makes up for as many texts as it has bytes.
    text, most = "ok", len(head)
    packed = msgpack.packb(text)
    assert packed_at_once(head, [text] * most) == head + packed * most
    assert packed_at_once(head, [text] * (most + 1)) == (head + packed) * (most + 1)


def test_what_fits_a_frame_as_texts_alone_is_one_run():
    """Although it would not if each were a whole event."""
    head, texts = event_head(1_700_000_000_000, "alice", "bob"), ["x" * 60] * 240
    assert len(texts) * len(head + msgpack.packb(texts[0])) > limits.FRAME_TARGET
    assert len(packed_at_once(head, texts)) <= limits.FRAME_TARGET


def test_a_run_that_only_seems_to_fit_a_frame_is_divided():
    """The first texts whose length takes two bytes, where one is reckoned with."""
    head, text = event_head(1, "alice", ""), "x" * 32
    count = (limits.FRAME_TARGET - len(head)) // (1 + len(text))
    assert len(head) + count * len(msgpack.packb(text)) > limits.FRAME_TARGET
    runs = pack_runs(head, [text] * count)
    assert all(len(body) <= limits.FRAME_TARGET for body, _ in runs)
    events = [event for body, _ in runs for event in unpack_events(body)]
    assert events == [Event(1, "alice", "", text)] * count


def test_of_nothing_no_run_is_made():
    assert pack_runs(event_head(1, "alice", ""), []) == []


# What a text may be beside what anybody types: what bounds go by, and what looks like msgpack.
TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", "1", "ok", "é", "\0", "\x7f" * 9, "x" * 31, "x" * 32, "ü" * 300, "🙂" * 3300]
    ),
    st.integers(0, limits.MAX_TEXT).map(lambda size: "x" * size),
)
COMMANDS = st.lists(st.tuples(TEXTS, st.integers(1, 300)), max_size=8).map(
    lambda parts: [text for text, count in parts for _ in range(count)]
)


@given(COMMANDS, st.sampled_from([("a", ""), ("n" * limits.MAX_NAME, "m" * limits.MAX_NAME)]))
def test_whatever_is_said_at_once_is_in_runs_that_fit_a_frame(texts, way):
    runs = pack_runs(event_head(1, *way), texts)
    found = [unpack_events(body) for body, _ in runs]
    assert [event for events in found for event in events] == [Event(1, *way, t) for t in texts]
    assert [count for _, count in runs] == [*map(len, found)]
    for body, count in runs:
        assert len(body) <= limits.FRAME_TARGET or count == 1
        # So what is put together out of runs holds no more events than a batch may have.
        assert len(body) * limits.MAX_EVENTS >= count * limits.FRAME_TARGET


@given(
    st.lists(
        st.tuples(
            st.integers(0, limits.MAX_INT),
            st.sampled_from(["alice", "bob"]),
            st.sampled_from(["", "bob", "carol"]),
            st.lists(st.text(max_size=40), min_size=1, max_size=20),
        ),
        max_size=5,
    )
)
def test_what_was_said_in_runs_is_read_event_by_event(runs):
    said = [Event(*way, text) for *way, texts in runs for text in texts]
    body = pack_events(said)
    assert unpack_events(body) == tuple(said)
    packed = encode_batch("echo", EPOCH, 0, 1, len(said), body)
    assert Decoder(FROM_BROKER).decode(packed) == [Batch("echo", EPOCH, 0, 1, tuple(said))]


def test_a_text_alone_goes_on_from_the_event_before_it():
    values = ((1, 5, "alice", "one"), "two", (2, 6, "bob", "carol", "three"), "four", "five")
    assert parse_events(values) == (
        Event(5, "alice", "", "one"),
        Event(5, "alice", "", "two"),
        Event(6, "bob", "carol", "three"),
        Event(6, "bob", "carol", "four"),
        Event(6, "bob", "carol", "five"),
    )


def test_a_text_alone_after_an_event_of_a_later_version_is_of_that_version():
    values = (
        (1, 5, "alice", "one"),
        (3, "whatever"),
        "two",
        "three",
        (1, 6, "bob", "four"),
        "five",
    )
    assert parse_events(values) == (
        Event(5, "alice", "", "one"),
        None,
        None,
        None,
        Event(6, "bob", "", "four"),
        Event(6, "bob", "", "five"),
    )


@pytest.mark.parametrize("values", [("one",), ("one", (1, 5, "alice", "two"))])
def test_a_text_alone_that_goes_on_from_nothing_is_refused(values):
    with pytest.raises(BadFrame, match="whole"):
        parse_events(values)


@pytest.mark.parametrize("text", ["t" * (limits.MAX_TEXT + 1), "é" * (limits.MAX_TEXT // 2) + "x"])
def test_a_text_alone_is_bounded(text):
    whole = (1, 5, "alice", "hi")
    assert parse_events((whole, text[1:], text[:-1]))[1:] == (
        Event(5, "alice", "", text[1:]),
        Event(5, "alice", "", text[:-1]),
    )
    for values in ((whole, text), (whole, "hi", text, whole), ((3, "later"), text)):
        with pytest.raises(BadFrame):
            parse_events(values)


@given(
    st.builds(
        Event,
        st.integers(0, limits.MAX_INT),
        st.text(max_size=limits.MAX_NAME),
        st.text(max_size=limits.MAX_NAME),
        st.text(max_size=200),
    )
)
def test_an_event_survives_the_wire(event):
    assert parse_event(unpacked(pack_events([event]))) == event


@pytest.mark.parametrize(
    "value",
    [
        (1, 5, "alice", "hi", "of a later version"),
        (1, 5, "alice", "hi", (("deep",),), None),
    ],
)
def test_what_trails_an_event_is_ignored(value):
    assert parse_event(value) == Event(5, "alice", "", "hi")


def test_what_trails_a_direct_message_is_ignored():
    assert parse_event((2, 5, "alice", "bob", "hi", "more")) == Event(5, "alice", "bob", "hi")


@pytest.mark.parametrize("value", [(3,), (3, "whatever", None), (2**40, (1, (2, (3,))))])
def test_an_event_of_a_later_version_is_none(value):
    assert parse_event(value) is None


MALFORMED = pytest.mark.parametrize(
    "value",
    [
        (),
        None,
        b"\x01abc",
        1,
        ("1", 5, "alice", "hi"),
        (True, 5, "alice", "hi"),
        (1.0, 5, "alice", "hi"),
        (0, 5, "alice", "hi"),
        (-1, 5, "alice", "hi"),
        (1, 5, "alice"),
        (2, 5, "alice", "hi"),
        (1, -1, "alice", "hi"),
        (1, limits.MAX_INT + 1, "alice", "hi"),
        (1, True, "alice", "hi"),
        (1, 5.0, "alice", "hi"),
        (1, 5, b"alice", "hi"),
        (1, 5, "alice", b"hi"),
        (1, 5, None, "hi"),
        (2, 5, "alice", 7, "hi"),
        (2, 5, "alice", None, "hi"),
        (1, 5, "n" * (limits.MAX_NAME + 1), "hi"),
        (2, 5, "alice", "n" * (limits.MAX_NAME + 1), "hi"),
        (1, 5, "alice", "t" * (limits.MAX_TEXT + 1)),
        (1, 5, "alice", "é" * (limits.MAX_TEXT // 2) + "x"),
    ],
)


def test_a_text_alone_is_no_event():
    with pytest.raises(BadFrame):
        parse_event("event")


@MALFORMED
def test_a_malformed_event_is_refused(value):
    with pytest.raises(BadFrame):
        parse_event(value)


@MALFORMED
@pytest.mark.parametrize("well", [(1, 5, "bob", "hi"), (2, 5, "bob", "carol", "hi")])
def test_a_malformed_event_among_others_is_refused(value, well):
    for values in ((value,), (well, value), (value, well, well)):
        with pytest.raises(BadFrame):
            parse_events(values)


BROADCASTS = st.tuples(st.just(1), st.integers(0, limits.MAX_INT), st.text(max_size=9), st.text())
DIRECTS = st.tuples(st.just(2), st.integers(0, 9), st.sampled_from("ab"), st.just("c"), st.text())
TRAILED = st.just((1, 5, "alice", "hi", "of a later version"))
LATER = st.just((3, "whatever", None, 1))


@given(
    st.one_of(
        st.lists(BROADCASTS),
        st.lists(DIRECTS),
        st.lists(st.one_of(BROADCASTS, DIRECTS, TRAILED, LATER)),
    )
)
def test_many_events_are_read_as_each_is(values):
    assert parse_events(tuple(values)) == tuple(map(parse_event, values))


@pytest.mark.parametrize("text", ["t" * limits.MAX_TEXT, "é" * (limits.MAX_TEXT // 2)])
def test_long_texts_are_read_among_others(text):
    values = ((1, 5, "alice", "hi"), (1, 5, "alice", text))
    assert parse_events(values)[1] == Event(5, "alice", "", text)


@pytest.mark.parametrize("known", [(1, 5, "alice", "hi"), (2, 5, "alice", "bob", "hi"), (3,)])
def test_what_trails_an_event_is_bounded_in_depth(known):
    """Its own array, that of the events and that of the message count."""
    deep: tuple = ()
    for _ in range(limits.MAX_DEPTH - 3 - 1):
        deep = (deep,)
    parse_event((*known, deep))
    with pytest.raises(BadFrame, match="nested"):
        parse_event((*known, (deep,)))


# --- batches ------------------------------------------------------------------------------


# 15 and 16: where msgpack's header of an array grows.
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 3000])
def test_a_batch_is_a_header_and_the_bytes_of_its_events(from_broker, count):
    batch = batch_of(count)
    body = pack_events(batch.events)
    packed = encode_batch("echo", EPOCH, 10, 11, count, body)
    assert packed.endswith(body)
    assert from_broker.decode(packed) == [batch]


def test_a_reader_at_prev_sees_the_whole_batch():
    batch = batch_of(3)
    assert news(batch, 10) == (11, batch.events)


@pytest.mark.parametrize(("cursor", "rest"), [(11, ["12", "13"]), (12, ["13"])])
def test_a_reader_inside_the_batch_sees_the_rest(cursor, rest):
    first, events = news(batch_of(3), cursor)
    assert first == cursor + 1
    assert [event.text for event in events] == rest


@pytest.mark.parametrize("cursor", [13, 14, 1000])
def test_a_reader_past_the_batch_sees_nothing(cursor):
    assert not news(batch_of(3), cursor)[1]


def test_positions_need_not_be_contiguous_from_batch_to_batch():
    batch = batch_of(2, first=20, prev=10)
    for cursor in (0, 10, 15, 19):
        assert news(batch, cursor) == (20, batch.events)


def test_an_empty_batch_has_no_news():
    assert not news(batch_of(0), 10)[1]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30), st.integers(0, 100))
def test_news_are_exactly_the_events_after_the_cursor(count, prev, gap, cursor):
    batch = batch_of(count, first=prev + gap, prev=prev)
    first, events = news(batch, cursor)
    seen = [(first + index, event) for index, event in enumerate(events)]
    whole = [(batch.first + index, event) for index, event in enumerate(batch.events)]
    assert seen == [(position, event) for position, event in whole if position > cursor]


def test_the_last_position_is_that_of_the_last_event():
    assert last_position(batch_of(1)) == 11
    assert last_position(batch_of(3)) == 13
    assert last_position(batch_of(3, first=20)) == 22


def test_the_last_position_of_an_empty_batch_is_what_precedes_it():
    assert last_position(batch_of(0)) == 10


# --- unpacking ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 300])
def test_events_are_unpacked(count):
    event = Event(5, "alice", "bob", "hi")
    assert unpack_events(pack_events([event]) * count) == (event,) * count


def test_an_event_of_a_later_version_is_unpacked_too():
    assert unpack_events(msgpack.packb((7, "whatever"))) == (None,)


@pytest.mark.parametrize("bad", [b"\xc1", b"\x94", b"\x01", b"\xff" * 9, b"\xdd\xff\xff\xff\xff"])
def test_what_is_no_event_is_not_unpacked(bad):
    good = pack_events([Event(5, "alice", "", "hi")])
    with pytest.raises(BadFrame):
        unpack_events(good + bad)
    with pytest.raises(BadFrame):
        unpack_events(bad)
