"""SEND and ECHO of several frames, taken apart together: as if each were alone."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.wire import limits
from chatbroker.wire.codec import FROM_CLIENT, Decoder, Encoder
from chatbroker.wire.errors import WireError
from chatbroker.wire.messages import Bye, Echo, Hello, Info, Kind, Ping, Send


@pytest.fixture
def decoder():
    return Decoder(FROM_CLIENT)


def packed(*values):
    return msgpack.packb(values)


def send(cseq, to, *texts):
    return Encoder().encode(Send(cseq, to, texts))


def echo(cseq, *texts):
    return Encoder().encode(Echo(cseq, texts))


def test_commands_that_go_on_from_one_another_are_one(decoder):
    frames = [send(7, "bob", "a"), send(8, "bob", "b", "c"), send(10, "bob", "d")]
    assert decoder.decode_commands(frames) == [Send(7, "bob", ("a", "b", "c", "d"))]
    frames = [echo(1, "a"), echo(2, "b") + echo(3, "c")]
    assert decoder.decode_commands(frames) == [Echo(1, ("a", "b", "c"))]


@pytest.mark.parametrize(
    "second",
    [
        Send(3, "bob", ("b",)),
        Send(1, "bob", ("b",)),
        Send(2, "eve", ("b",)),
        Send(2, "", ("b",)),
        Echo(2, ("b",)),
    ],
)
def test_commands_that_do_not_go_on_from_one_another_stay_apart(decoder, second):
    frames = [send(1, "bob", "a"), Encoder().encode(second)]
    assert decoder.decode_commands(frames) == [Send(1, "bob", ("a",)), second]


def test_each_text_that_is_too_long_has_its_place(decoder):
    long = "x" * (limits.MAX_TEXT + 1)
    frames = [send(1, "bob", "a"), send(2, "bob", long), send(3, "bob", "c")]
    assert decoder.decode_commands(frames) == [Send(1, "bob", ("a", None, "c"))]


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"\x93",
        b"\xc1",
        packed(),
        packed(Kind.BYE),
        packed(99, 2, ("b",)),
        packed(0, 0, ("b",)),
        packed(2.0, 2, "bob", ("b",)),
        packed(Kind.SEND, 2.0, "bob", ("b",)),
        packed(Kind.SEND, 2, b"bob", ("b",)),
        packed(Kind.SEND, 2, None, ("b",)),
        packed(Kind.SEND, 2, "bob", "b"),
        packed(Kind.SEND, 2, "bob", ()),
        packed(Kind.SEND, 2, "bob", (1,)),
        packed(Kind.SEND, 2, "bob", ("b",), "of a later version"),
        packed(Kind.ECHO, 2, ("b",), "of a later version"),
        packed(Kind.ECHO, 2, None, ("b",)),
        packed(Kind.ECHO, True, ("b",)),
        packed(Kind.ECHO, 0, ("b",)),
        b"\x94\x02\x02\xa3bob\x91\xa1\xff",  # A text that is not UTF-8.
        b"".join([Encoder().encode(Echo(n, ("",))) for n in range(2, limits.MAX_MESSAGES + 3)]),
        b"x" * limits.MAX_FRAME,
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_beside_anything_else_each_frame_is_looked_at_alone(decoder, other, place):
    frames = [send(1, "bob", "a"), send(2, "bob", "b")]
    frames.insert(place, other)
    assert decoder.decode_commands(frames) == []
    # What was cut short or refused is not in the way of what follows.
    assert decoder.decode(echo(1, "a")) == [Echo(1, ("a",))]


def test_no_more_bytes_are_taken_together_than_one_frame_may_have(decoder):
    most = limits.MAX_FRAME
    texts = ["x" * limits.MAX_TEXT] * 3
    frames = [echo(number, text) for number, text in enumerate(texts, 1)]
    last = "x" * (most - sum(map(len, frames)) - len(echo(4, "x" * 1000)) + 1000)
    assert sum(map(len, [*frames, echo(4, last)])) == most
    assert decoder.decode_commands([*frames, echo(4, last)]) == [Echo(1, (*texts, last))]
    assert decoder.decode_commands([*frames, echo(4, last + "x")]) == []


def test_a_message_does_not_reach_from_one_frame_into_the_next(decoder):
    whole = send(1, "bob", "a") + send(2, "bob", "b")
    for cut in range(1, len(whole)):
        frames = [whole[:cut], whole[cut:]]
        apart = cut == len(send(1, "bob", "a"))
        assert (decoder.decode_commands(frames) != []) is apart


anything = st.one_of(
    st.builds(Send, st.integers(1, 4), st.sampled_from(["bob", "eve"]), st.just(("a",))),
    st.builds(Echo, st.integers(1, 4), st.sampled_from([("a",), ("a", "b")])),
    st.sampled_from([Info(1, ""), Bye(), Ping(1, 0, 0, ())]),
).map(Encoder().encode) | st.binary(max_size=12)


def apart(messages):
    """Commands one by one, as (number, to whom, text)."""
    return [
        (number, getattr(message, "to", None), text)
        for message in messages
        for number, text in enumerate(message.texts, message.cseq)
    ]


@given(st.lists(st.lists(anything, min_size=1, max_size=3).map(b"".join), min_size=2, max_size=5))
def test_together_is_as_one_by_one(frames):
    decoder = Decoder(FROM_CLIENT)
    together = decoder.decode_commands(frames)
    try:
        alone = [message for frame in frames for message in decoder.decode(frame)]
    except WireError:
        assert together == []
        return
    if {*map(type, alone)} <= {Send, Echo}:
        assert apart(together) == apart(alone)
    else:
        assert Hello not in map(type, alone)
        assert together == []
