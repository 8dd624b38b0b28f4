"""What the codec takes, what it refuses and in which words, limit by limit.

What is of one message alone is in test_codec_messages.py; that nothing but WireError ever comes
out, in test_codec_properties.py.
"""

from __future__ import annotations

import tracemalloc

import msgpack
import pytest
from frames import EPOCH, FOLLOW, HELLO, MOST, WELCOME, replaced

from chatbroker.wire import limits
from chatbroker.wire.codec import FROM_CLIENT, Decoder, Encoder, coalesce
from chatbroker.wire.errors import BadFrame, Code, UnknownKind, VersionMismatch
from chatbroker.wire.messages import (
    Ack,
    Bye,
    Echo,
    Info,
    Kind,
    Notice,
    Send,
    User,
    Users,
)

# One well-formed message of each kind, as msgpack sees it.
CLIENT_SAYS = {
    Kind.HELLO: (*HELLO[:9], (FOLLOW,)),
    Kind.SEND: (Kind.SEND, 1, "bob", ("hi", "there")),
    Kind.ECHO: (Kind.ECHO, 1, ("hi",)),
    Kind.INFO: (Kind.INFO, 1, ""),
    Kind.FETCH: (Kind.FETCH, 1, "echo", EPOCH, 0, 1000),
    Kind.PING: (Kind.PING, 1, 0, 0, (("echo", EPOCH, 0),), 9000),
    Kind.BYE: (Kind.BYE,),
}
BROKER_SAYS = {
    Kind.WELCOME: (*WELCOME[:12], (("echo", EPOCH, 0, 0),), EPOCH),
    Kind.REFUSED: (Kind.REFUSED, "name_taken", "words", 0),
    Kind.ACK: (Kind.ACK, 0, 4, ((2, 3, "no_such_user", "words"),), ((4, 4),)),
    Kind.BATCH: (Kind.BATCH, "echo", EPOCH, 0, 1, ((1, 0, "a", "x"), (2, 0, "a", "b", "x"))),
    Kind.FETCHED: (Kind.FETCHED, 1, "echo", EPOCH, 7),
    Kind.MISSED: (Kind.MISSED, "echo", EPOCH, 0, 7, 7),
    Kind.USERS: (Kind.USERS, 1, (("alice", 0),), False),
    Kind.PRESENCE: (Kind.PRESENCE, True, "alice", 0),
    Kind.PONG: (Kind.PONG, 1, (("echo", EPOCH, 0),), 9000, 27000),
    Kind.ERROR: (Kind.ERROR, "bad_frame", "words", 0, 0),
    Kind.FAREWELL: (Kind.FAREWELL, "left", "words"),
    Kind.NOTICE: (Kind.NOTICE, "cannot_store", "words"),
}
ALL = [*CLIENT_SAYS.items(), *BROKER_SAYS.items()]

OPTIONAL = {Kind.PING: 1, Kind.PONG: 2, Kind.WELCOME: 1}
"""How many of the last fields may be missing."""

NOTHING = {Kind.WELCOME: b""}
"""What such a field is that says nothing; else 0."""


@pytest.fixture
def decoder_of(from_client, from_broker):
    """The decoder of who gets messages of a kind."""
    return lambda kind: from_client if kind < 16 else from_broker


def nested(depth: int) -> tuple:
    """*depth* arrays, each in the one before."""
    made: tuple = ()
    for _ in range(depth - 1):
        made = (made,)
    return made


# --- frames -------------------------------------------------------------------------------


def test_a_frame_is_messages_back_to_back(from_client, raw):
    frame = raw(3, 1, ("one",)) + raw(2, 2, "bob", ("two",)) + raw(7)
    assert from_client.decode(frame) == [Echo(1, ("one",)), Send(2, "bob", ("two",)), Bye()]


def test_what_the_encoder_says_the_decoder_hears(from_client):
    encode = Encoder().encode
    said = [Echo(1, ("one",)), Info(1, "alice"), Bye()]
    assert from_client.decode(b"".join(map(encode, said))) == said


def test_an_empty_frame_is_refused(from_client):
    with pytest.raises(BadFrame, match="empty"):
        from_client.decode(b"")


def test_a_frame_of_the_largest_size_is_taken_and_one_byte_more_is_not(from_client, raw):
    # What trails is ignored, so it may be as long as it takes.
    size = limits.MAX_FRAME // 2
    half = raw(Kind.BYE, bytes(size - len(raw(Kind.BYE, bytes(1000))) + 1000))
    assert len(half) == size
    assert from_client.decode(half + half) == [Bye(), Bye()]
    longer = raw(Kind.BYE, bytes(size - len(raw(Kind.BYE, bytes(1000))) + 1001))
    for frame in (half + longer, half + half + raw(Kind.BYE)):
        with pytest.raises(BadFrame, match=f"at most {limits.MAX_FRAME} bytes"):
            from_client.decode(frame)


FEW = {
    "questions": lambda raw, number: raw(Kind.INFO, number, ""),
    "commands": lambda raw, number: raw(Kind.ECHO, number, ("",)),
}


@pytest.mark.parametrize("what", FEW)
def test_a_frame_of_a_client_has_so_many_messages_and_no_more(from_client, raw, what):
    most = limits.MAX_MESSAGES
    messages = [FEW[what](raw, number) for number in range(1, most + 2)]
    assert len(from_client.decode(b"".join(messages[:most]))) == most
    with pytest.raises(BadFrame, match=f"at most {most} messages"):
        from_client.decode(b"".join(messages))
    assert from_client.decode(messages[0])  # The decoder is none the worse for it.


def test_hello_is_the_first_message_of_its_frame(from_client, raw):
    hello, info = raw(*HELLO), raw(Kind.INFO, 1, "")
    assert len(from_client.decode(hello + info)) == 2
    for frame in (info + hello, hello + hello, hello + info + hello):
        with pytest.raises(BadFrame, match="HELLO and ENROL are the first"):
            from_client.decode(frame)


@pytest.mark.parametrize("kind", [1, 3, 7])
def test_bytes_are_no_message_although_they_begin_with_a_kind(from_client, kind):
    for frame in (b"\xc4\x02" + bytes((kind, 5)), b"\xc4\x01" + bytes((kind,))):
        with pytest.raises(BadFrame):
            from_client.decode(frame)


def test_a_frame_of_the_broker_has_as_many_messages_as_fit(from_broker, raw):
    acks = limits.MAX_FRAME // len(raw(Kind.ACK, 0, 0, (), ()))
    assert acks > limits.MAX_MESSAGES
    assert len(from_broker.decode(raw(Kind.ACK, 0, 0, (), ()) * acks)) == acks


@pytest.mark.parametrize(("kind", "elements"), ALL, ids=lambda value: str(value)[:12])
def test_a_frame_cut_at_any_byte_is_refused_and_the_next_is_taken(decoder_of, raw, kind, elements):
    decoder, frame = decoder_of(kind), raw(*elements)
    whole = decoder.decode(frame)
    for end in range(len(frame)):
        with pytest.raises(BadFrame):
            decoder.decode(frame[:end])
        assert decoder.decode(frame) == whole


def test_a_cut_message_costs_its_frame_but_is_not_completed_by_the_next(from_client, raw):
    echo = raw(3, 1, ("hello",))
    with pytest.raises(BadFrame, match="cut short"):
        from_client.decode(raw(7) + echo[:4])
    with pytest.raises(BadFrame):
        from_client.decode(echo[4:])
    assert from_client.decode(echo) == [Echo(1, ("hello",))]


@pytest.mark.parametrize(
    "frame",
    [
        b"\xc1",  # the one byte that msgpack never uses
        b"\xc0",  # nil
        b"\x01",
        b"\xa5hello",
        b"\xc4\x04\x02\x01ab",  # bytes that begin with the number of a kind
        b"\x90",
        b"\x91\x90",
        b"\x91\xa4SEND",
        b"\x91\xc0",
        b"\x91\xcb\x7f\xf8\0\0\0\0\0\0",  # NaN
        b"\x80",
        b"\x91\x80",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 100,
        b"\0" * 100,
    ],
)
def test_what_is_no_message_is_refused(from_client, from_broker, frame):
    for decoder in (from_client, from_broker):
        with pytest.raises(BadFrame):
            decoder.decode(frame)


def test_one_bad_message_costs_the_frame_it_is_in(from_client, raw):
    with pytest.raises(BadFrame):
        from_client.decode(raw(3, 1, ("good",)) + raw(3, 0, ("number 0",)) + raw(3, 2, ("good",)))


def test_after_any_bad_frame_the_next_good_one_is_taken(from_client, raw):
    good = raw(3, 1, ("good",))
    for bad in (
        b"",
        b"\xc1",
        good[:-1],
        raw(99),
        raw(3, 0, ("",)),
        raw(3, 1, ({1: 2},)),
        b"\xdd\xff",
    ):
        with pytest.raises((BadFrame, UnknownKind)):
            from_client.decode(bad)
        assert from_client.decode(good) == [Echo(1, ("good",))]


def test_a_decoder_does_not_wear_out(from_client, raw):
    frame = raw(3, 1, ("x" * 16_000,)) * 4
    for _ in range(100):
        assert len(from_client.decode(frame)) == 4


# --- kinds and versions -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 9, 15, 27, 28, 127, 2**63, 2**64 - 1, -1])
def test_an_unknown_kind_is_told_apart_from_a_bad_frame(from_client, raw, kind):
    with pytest.raises(UnknownKind, match=str(kind)) as caught:
        from_client.decode(raw(kind, "whatever"))
    assert caught.value.code is Code.UNKNOWN_KIND


def test_a_side_does_not_know_the_kinds_that_it_says_itself(from_client, from_broker, raw):
    for elements in CLIENT_SAYS.values():
        with pytest.raises(UnknownKind):
            from_broker.decode(raw(*elements))
    for elements in BROKER_SAYS.values():
        with pytest.raises(UnknownKind):
            from_client.decode(raw(*elements))


@pytest.mark.parametrize(("kind", "elements"), ALL, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("as_type", [float, str, lambda kind: kind == 1])
def test_a_kind_is_an_integer(decoder_of, raw, kind, elements, as_type):
    with pytest.raises(BadFrame):
        decoder_of(kind).decode(raw(as_type(int(kind)), *elements[1:]))


def test_an_older_client_is_told_to_upgrade_itself(from_client, raw):
    with pytest.raises(VersionMismatch, match=r"upgrade your client$") as caught:
        from_client.decode(raw(*replaced(HELLO, 1, limits.VERSION - 1)))
    assert caught.value.code is Code.VERSION
    assert f"version {limits.VERSION - 1} meets version {limits.VERSION}" in str(caught.value)


def test_a_newer_client_is_told_to_upgrade_the_broker(from_client, raw):
    with pytest.raises(VersionMismatch, match=r"upgrade the broker$"):
        from_client.decode(raw(*replaced(HELLO, 1, limits.VERSION + 1)))


def test_of_another_version_nothing_but_the_version_is_looked_at(from_client, raw):
    with pytest.raises(VersionMismatch):
        from_client.decode(raw(Kind.HELLO, limits.VERSION + 1, None, 5, "new", ()))


@pytest.mark.parametrize("version", [-1, True, 1.0, "1", None, MOST + 1])
def test_a_version_is_an_integer(from_client, raw, version):
    with pytest.raises(BadFrame, match="integer"):
        from_client.decode(raw(*replaced(HELLO, 1, version)))


def longest(value: object) -> bytes:
    """*value* in the longest formats that msgpack has."""
    match value:
        case bool():
            return msgpack.packb(value)
        case int():
            return b"\xcf" + value.to_bytes(8, "big")
        case str():
            return b"\xdb" + len(value.encode()).to_bytes(4, "big") + value.encode()
        case bytes():
            return b"\xc6" + len(value).to_bytes(4, "big") + value
        case tuple():
            return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(longest, value))
    raise AssertionError(value)


@pytest.mark.parametrize(("kind", "elements"), ALL, ids=lambda value: str(value)[:12])
def test_every_format_of_a_type_is_accepted(decoder_of, raw, kind, elements):
    decoder = decoder_of(kind)
    assert decoder.decode(longest(elements)) == decoder.decode(raw(*elements))


def test_a_positive_integer_may_come_in_a_signed_format(from_client):
    assert from_client.decode(b"\x93\x03\xd3" + (7).to_bytes(8, "big") + b"\x91\xa0") == [
        Echo(7, ("",))
    ]


# --- what every message has in common -----------------------------------------------------


@pytest.mark.parametrize(("kind", "elements"), ALL, ids=lambda value: str(value)[:12])
def test_a_message_that_lacks_its_last_field_is_refused(decoder_of, raw, kind, elements):
    always = len(elements) - OPTIONAL.get(kind, 0)
    with pytest.raises(BadFrame):
        decoder_of(kind).decode(raw(*elements[: always - 1]))


@pytest.mark.parametrize("kind", OPTIONAL)
def test_an_optional_field_that_says_nothing_is_left_out(decoder_of, raw, kind):
    decoder, elements = decoder_of(kind), dict(ALL)[kind]
    always = elements[: len(elements) - OPTIONAL[kind]]
    for missing in range(OPTIONAL[kind] + 1):
        (message,) = decoder.decode(raw(*always, *(NOTHING.get(kind, 0),) * missing))
        assert Encoder().encode(message) == raw(*always)
    (message,) = decoder.decode(raw(*elements))
    assert Encoder().encode(message) == raw(*elements)


@pytest.mark.parametrize(("kind", "elements"), ALL, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("extra", [None, 0, "new", b"new", -1, 1.5, (), ("new", (1, (2,)))])
def test_what_trails_a_message_is_of_a_later_version_and_ignored(
    decoder_of, raw, kind, elements, extra
):
    decoder = decoder_of(kind)
    assert decoder.decode(raw(*elements, extra, extra)) == decoder.decode(raw(*elements))


# No field of the protocol may be any of these.
@pytest.mark.parametrize("wrong", [None, -1, 1.5, MOST + 1, "x" * 2000, b"odd", (None,), {}])
@pytest.mark.parametrize(("kind", "elements"), ALL, ids=lambda value: str(value)[:12])
def test_no_field_takes_a_value_of_the_wrong_type_or_size(decoder_of, raw, kind, elements, wrong):
    decoder = decoder_of(kind)
    for index in range(1, len(elements)):
        if type(elements[index]) is str and type(wrong) is str and kind in (Kind.SEND, Kind.ECHO):
            continue  # These take their number and are refused by themselves: see below.
        with pytest.raises(BadFrame):
            decoder.decode(raw(*replaced(elements, index, wrong)))


@pytest.mark.parametrize(("kind", "elements"), ALL, ids=lambda value: str(value)[:12])
def test_true_is_no_integer_and_1_is_no_truth(decoder_of, raw, kind, elements):
    decoder = decoder_of(kind)
    for index, value in enumerate(elements[1:], 1):
        if type(value) is int:
            with pytest.raises(BadFrame):
                decoder.decode(raw(*replaced(elements, index, True)))
        if type(value) is bool:
            with pytest.raises(BadFrame):
                decoder.decode(raw(*replaced(elements, index, int(value))))


@pytest.mark.parametrize(("kind", "elements"), ALL, ids=lambda value: str(value)[:12])
def test_text_is_not_bytes_and_bytes_are_not_text(decoder_of, raw, kind, elements):
    decoder = decoder_of(kind)
    for index, value in enumerate(elements):
        if type(value) is str:
            with pytest.raises(BadFrame):
                decoder.decode(raw(*replaced(elements, index, value.encode())))
        if type(value) is bytes:
            with pytest.raises(BadFrame):
                decoder.decode(raw(*replaced(elements, index, value.decode())))


def test_text_that_is_not_utf_8_is_refused(from_client):
    for text in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80"):
        with pytest.raises(BadFrame):
            from_client.decode(b"\x93\x03\x01\x91" + bytes((0xA0 | len(text),)) + text)


@pytest.mark.parametrize("where", [1, 2, 3])
@pytest.mark.parametrize(
    "extension",
    [
        msgpack.ExtType(5, b""),
        msgpack.ExtType(5, b"1"),
        msgpack.ExtType(127, b"four"),
        msgpack.ExtType(5, b"x" * 300),
        msgpack.Timestamp(1),
        msgpack.Timestamp(2**34),
        msgpack.Timestamp(2**62, 5),
    ],
)
def test_extension_types_and_timestamps_are_not_of_the_protocol(from_client, raw, where, extension):
    elements = [3, 1, ("hi",), None]
    elements[where] = extension
    with pytest.raises(BadFrame, match="msgpack"):
        from_client.decode(raw(*elements))


@pytest.mark.parametrize("extra", [{"a": 1}, {1: 2}, {b"k": {}}, ({"a": 1},)])
def test_maps_are_not_of_the_protocol(from_client, raw, extra):
    with pytest.raises(BadFrame, match="not msgpack within the limits"):
        from_client.decode(raw(3, 1, ("hi",), extra))


@pytest.mark.parametrize("head", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"])
@pytest.mark.parametrize("kind", [b"", b"\x95\x03\x01\x91\xa0"])
def test_a_container_that_claims_to_be_huge_is_refused(from_client, head, kind):
    with pytest.raises(BadFrame):
        from_client.decode(kind + head)


@pytest.mark.parametrize("head", [b"\xdb", b"\xc6", b"\xc9"])
def test_a_string_that_claims_to_be_huge_is_refused(from_client, head):
    with pytest.raises(BadFrame):
        from_client.decode(b"\x93\x03\x01\x91" + head + b"\xff\xff\xff\xffabc")


@pytest.mark.parametrize(
    ("claimed", "most"), [(0xFFFF, 1_000_000), (limits.MAX_ELEMENTS, 4_000_000)]
)
def test_a_frame_of_claims_costs_little_memory(from_client, claimed, most):
    frame = (b"\xdc" + claimed.to_bytes(2, "big")) * 1000
    tracemalloc.start()
    try:
        with pytest.raises(BadFrame):
            from_client.decode(frame)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def test_an_array_of_a_client_has_so_many_elements_and_no_more(from_client, raw):
    echo = (Kind.ECHO, 1, ("hi",))
    many = (None,) * limits.MAX_ELEMENTS
    assert from_client.decode(raw(*echo, many)) == [Echo(1, ("hi",))]
    assert from_client.decode(raw(*echo, *many[3:])) == [Echo(1, ("hi",))]
    for frame in (raw(*echo, (*many, None)), raw(*echo, *many[3:], None)):
        with pytest.raises(BadFrame):
            from_client.decode(frame)


def test_a_batch_has_so_many_events_and_no_more(from_broker, raw):
    events = ((1, 0, "a", ""),) * limits.MAX_EVENTS
    (batch,) = from_broker.decode(raw(Kind.BATCH, "echo", EPOCH, 0, 1, events))
    assert len(batch.events) == limits.MAX_EVENTS
    with pytest.raises(BadFrame):
        from_broker.decode(raw(Kind.BATCH, "echo", EPOCH, 0, 1, (*events, events[0])))


# Where something unknown may stand, and how many arrays are around it there.
PLACES = {
    "HELLO": (1, lambda extra: (*HELLO, extra)),
    "a follow": (3, lambda extra: (*HELLO[:9], ((*FOLLOW, extra),))),
    "SEND": (1, lambda extra: (Kind.SEND, 1, "bob", ("hi",), extra)),
    "ECHO": (1, lambda extra: (Kind.ECHO, 1, ("hi",), extra)),
    "PING": (1, lambda extra: (Kind.PING, 1, 0, 0, (), 0, extra)),
    "a cursor": (3, lambda extra: (Kind.PING, 1, 0, 0, (("echo", EPOCH, 0, extra),))),
    "the limits": (2, lambda extra: replaced(WELCOME, 11, (*[1] * 8, extra))),
    "ACK": (1, lambda extra: (Kind.ACK, 0, 1, (), (), extra)),
    "a refusal": (3, lambda extra: (Kind.ACK, 0, 1, ((1, 1, "left", "", extra),), ())),
    "a run": (3, lambda extra: (Kind.ACK, 0, 1, (), ((1, 1, extra),))),
    "NOTICE": (1, lambda extra: (Kind.NOTICE, "storing", "", extra)),
    "a user": (3, lambda extra: (Kind.USERS, 1, (("alice", 0, extra),), False)),
    "BATCH": (1, lambda extra: (Kind.BATCH, "echo", EPOCH, 0, 1, (), extra)),
    "an event": (3, lambda extra: (Kind.BATCH, "echo", EPOCH, 0, 1, ((1, 0, "a", "x", extra),))),
    "a direct message": (
        3,
        lambda extra: (Kind.BATCH, "echo", EPOCH, 0, 1, ((2, 0, "a", "b", "x", extra),)),
    ),
    "a later event": (3, lambda extra: (Kind.BATCH, "echo", EPOCH, 0, 1, ((9, extra),))),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_unknown_may_be_nested_as_deep_as_the_limit_says(decoder_of, raw, place):
    around, make = PLACES[place]
    elements = make(nested(limits.MAX_DEPTH - around))
    assert decoder_of(elements[0]).decode(raw(*elements))


@pytest.mark.parametrize("place", PLACES)
def test_the_unknown_may_be_nested_no_deeper(decoder_of, raw, place):
    around, make = PLACES[place]
    for depth in (limits.MAX_DEPTH + 1, limits.MAX_DEPTH + 2, 100, 500):
        elements = make(nested(depth - around))
        with pytest.raises(BadFrame):
            decoder_of(elements[0]).decode(raw(*elements))


@pytest.mark.parametrize("depth", [1000, 1024, 5000, limits.MAX_FRAME - 1])
def test_the_deepest_nesting_that_a_frame_can_hold_is_refused(from_client, depth):
    with pytest.raises(BadFrame):
        from_client.decode(b"\x91" * depth + b"\x90")


# --- coalescing ---------------------------------------------------------------------------


def test_nothing_makes_no_frame():
    assert coalesce([], 10) == []


def test_pieces_share_a_frame_while_they_fit():
    assert coalesce([b"aaa", b"bbb", b"cccc", b"d"], 10) == [b"aaabbbcccc", b"d"]


def test_a_piece_that_is_too_long_is_a_frame_of_its_own():
    assert coalesce([b"a", b"b" * 11, b"c"], 10) == [b"a", b"b" * 11, b"c"]
    assert coalesce([b"b" * 11], 10) == [b"b" * 11]


def test_coalesced_messages_are_heard_in_order(from_client):
    encode = Encoder().encode
    said = [Echo(number, ("x" * number,)) for number in range(1, 300)]
    frames = coalesce(map(encode, said), 1000)
    assert 300 * 150 / 1000 <= len(frames) < 100
    assert all(len(frame) <= 1000 for frame in frames)
    heard = [message for frame in frames for message in from_client.decode(frame)]
    assert heard == said


def test_a_large_answer_is_decoded_as_it_was_encoded(from_broker):
    users = Users(1, tuple(User(f"user{number}", number) for number in range(500)), True)
    ack = Ack(0, 7, ())
    assert from_broker.decode(Encoder().encode(users) + Encoder().encode(ack)) == [users, ack]


def test_a_notice_is_heard_as_it_was_said(from_broker):
    said = Notice(Code.CANNOT_STORE.value, "disk full")
    assert from_broker.decode(Encoder().encode(said)) == [said]


def test_two_decoders_do_not_disturb_each_other(raw):
    one, other = Decoder(FROM_CLIENT), Decoder(FROM_CLIENT)
    with pytest.raises(BadFrame):
        one.decode(raw(3, 1, "hello")[:5])
    assert other.decode(raw(7)) == [Bye()]
    assert one.decode(raw(7)) == [Bye()]
