"""What the codec takes and refuses of each message; what all have in common is in test_codec.py."""

from __future__ import annotations

import pytest
from frames import EPOCH, FOLLOW, HELLO, ID, MOST, WELCOME, replaced

from chatbroker.wire import limits
from chatbroker.wire.codec import Encoder
from chatbroker.wire.errors import BadFrame
from chatbroker.wire.messages import (
    Ack,
    Batch,
    Echo,
    Event,
    Hello,
    Kind,
    Refusal,
    Run,
    Send,
)

# --- HELLO --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "good"),
    [
        (2, ""),
        (2, "n" * limits.MAX_NAME),
        (4, b""),
        (4, ID),
        (5, 1),
        (5, MOST),
        (6, True),
        (6, False),
        (7, True),
        (7, False),
        (8, b""),
        (8, ID[::-1]),
        (9, (FOLLOW,)),
        (9, (("", EPOCH, 3, MOST),)),
        (9, (("l" * limits.MAX_LOG_NAME, EPOCH, 2, 0),)),
        (9, tuple((str(number), b"", 0, 0) for number in range(limits.MAX_FOLLOWS))),
    ],
)
def test_hello_takes_what_is_at_its_limits(from_client, raw, index, good):
    (hello,) = from_client.decode(raw(*replaced(HELLO, index, good)))
    assert type(hello) is Hello
    assert hello[index - 1] == good


@pytest.mark.parametrize(
    ("index", "bad"),
    [
        (2, "n" * (limits.MAX_NAME + 1)),
        (2, "é" * limits.MAX_NAME),
        (3, b""),
        (3, ID[:-1]),
        (3, ID + b"0"),
        (4, b"0"),
        (4, ID[:-1]),
        (5, -1),
        (5, MOST + 1),
        (6, 0),
        (7, 1),
        (7, b""),
        (8, b"0"),
        (8, ID[:-1]),
        (8, ID + b"0"),
        (8, False),
        (9, (("l" * (limits.MAX_LOG_NAME + 1), b"", 0, 0),)),
        (9, (("echo", EPOCH[:-1], 0, 0),)),
        (9, (("echo", b"", 4, 0),)),
        (9, (("echo", b"", -1, 0),)),
        (9, (("echo", b"", 0, -1),)),
        (9, (("echo", b"", 0),)),
        (9, tuple((str(number), b"", 0, 0) for number in range(limits.MAX_FOLLOWS + 1))),
    ],
)
def test_hello_refuses_what_is_past_its_limits(from_client, raw, index, bad):
    with pytest.raises(BadFrame):
        from_client.decode(raw(*replaced(HELLO, index, bad)))


def test_a_log_is_followed_once(from_client, raw):
    with pytest.raises(BadFrame, match="twice"):
        from_client.decode(raw(*HELLO[:9], (FOLLOW, ("direct", b"", 0, 0), FOLLOW)))


# --- SEND and ECHO ------------------------------------------------------------------------


@pytest.mark.parametrize("cseq", [1, 2**32, MOST])
def test_a_command_number_counts_from_1(from_client, raw, cseq):
    frame = raw(2, cseq, "bob", ("hi",)) + raw(3, cseq, ("hi",))
    assert from_client.decode(frame) == [Send(cseq, "bob", ("hi",)), Echo(cseq, ("hi",))]


@pytest.mark.parametrize("cseq", [0, -1, MOST + 1, True, 1.0, "1", None])
def test_a_command_without_a_good_number_costs_its_frame(from_client, raw, cseq):
    for frame in (raw(2, cseq, "bob", ("hi",)), raw(3, cseq, ("hi",))):
        with pytest.raises(BadFrame):
            from_client.decode(frame)


def test_a_command_has_several_texts_and_the_empty_one_is_a_text(from_client, raw):
    said = ("one", "two", "")
    frame = raw(2, 1, "bob", said) + raw(3, 4, said)
    assert from_client.decode(frame) == [Send(1, "bob", said), Echo(4, said)]


def test_the_last_text_has_a_number_too(from_client, raw):
    assert from_client.decode(raw(3, MOST - 1, ("one", "two"))) == [Echo(MOST - 1, ("one", "two"))]
    for frame in (raw(3, MOST, ("one", "two")), raw(2, MOST, "bob", ("one", "two"))):
        with pytest.raises(BadFrame):
            from_client.decode(frame)


def test_a_command_has_at_least_one_text_and_at_most_so_many(from_client, raw):
    most = ("x",) * limits.MAX_TEXTS
    assert from_client.decode(raw(3, 1, most)) == [Echo(1, most)]
    assert from_client.decode(raw(2, 1, "bob", most)) == [Send(1, "bob", most)]
    for texts in ((), (*most, "x")):
        for frame in (raw(3, 1, texts), raw(2, 1, "bob", texts)):
            with pytest.raises(BadFrame):
                from_client.decode(frame)


@pytest.mark.parametrize("odd", [b"x", None, 5, True, ("x",)])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_text_that_is_none_costs_its_frame(from_client, raw, odd, at):
    texts = replaced(("a", "b", "c"), at, odd)
    for frame in (raw(3, 1, texts), raw(2, 1, "bob", texts)):
        with pytest.raises(BadFrame):
            from_client.decode(frame)


@pytest.mark.parametrize("texts", ["x", b"x", None, 1])
def test_texts_stand_in_an_array(from_client, raw, texts):
    for frame in (raw(3, 1, texts), raw(2, 1, "bob", texts)):
        with pytest.raises(BadFrame):
            from_client.decode(frame)


# A text at the limit of each width: the last character ends on the limit, or begins at it.
@pytest.mark.parametrize("character", ["x", "é", "€", "🙂"])
def test_the_longest_text_is_taken(from_client, raw, character):
    width = len(character.encode())
    text = character * (limits.MAX_TEXT // width)
    text += "x" * (limits.MAX_TEXT - len(text.encode()))
    frame = raw(2, 1, "bob", (text,)) + raw(3, 2, ("short", text))
    assert from_client.decode(frame) == [Send(1, "bob", (text,)), Echo(2, ("short", text))]


@pytest.mark.parametrize("character", ["x", "é", "€", "🙂"])
def test_a_longer_text_spares_the_others(from_client, raw, character):
    text = character * (limits.MAX_TEXT // len(character.encode()) + 1)
    frame = raw(3, 1, ("good", text, "good")) + raw(2, 4, "bob", (text,))
    assert from_client.decode(frame) == [Echo(1, ("good", None, "good")), Send(4, "bob", (None,))]


def test_a_recipient_whose_name_is_too_long_is_nobody(from_client, raw):
    nobody = "n" * (limits.MAX_NAME + 1)
    frame = raw(2, 1, nobody[1:], ("hi",)) + raw(2, 2, nobody, ("hi",))
    assert from_client.decode(frame) == [Send(1, nobody[1:], ("hi",)), Send(2, "", ("hi",))]


@pytest.mark.parametrize("recipient", [b"bob", None, 5, ("bob",)])
def test_a_recipient_is_a_name(from_client, raw, recipient):
    with pytest.raises(BadFrame):
        from_client.decode(raw(2, 1, recipient, ("hi",)))


@pytest.mark.parametrize("item", [b"\xa3abc", b"\xc4\x03\x03\x01x", b"\xc0", b"\x03", b"\x90"])
def test_what_is_no_message_is_refused_in_a_frame_of_many_too(from_client, raw, item):
    """A string of three and three bytes have as many items as an ECHO has."""
    for frame in (item * 2, raw(3, 1, ("x",)) + item, item + raw(3, 1, ("x",))):
        with pytest.raises(BadFrame):
            from_client.decode(frame)


# --- what the broker says -----------------------------------------------------------------


@pytest.mark.parametrize("port", [0, 65536, -1, True])
def test_a_port_is_from_1_to_65535(from_broker, raw, port):
    assert from_broker.decode(raw(*replaced(WELCOME, 8, 1)))[0].pub_port == 1
    assert from_broker.decode(raw(*replaced(WELCOME, 8, 65535)))[0].pub_port == 65535
    with pytest.raises(BadFrame):
        from_broker.decode(raw(*replaced(WELCOME, 8, port)))


def test_the_limits_of_the_broker_are_all_there(from_broker, raw):
    with pytest.raises(BadFrame):
        from_broker.decode(raw(*replaced(WELCOME, 11, (1, 2, 3, 4, 5, 6, 7))))


@pytest.mark.parametrize(
    ("most", "make"),
    [
        (limits.MAX_RUNS, lambda n: (Kind.ACK, 0, n, ((1, 1, "left", ""),) * n, ())),
        (limits.MAX_RUNS, lambda n: (Kind.ACK, 0, n, (), ((1, 1),) * n)),
        (limits.MAX_WORDS, lambda n: (Kind.ACK, 0, 1, ((1, 1, "left", "w" * n),), ())),
        (limits.MAX_WORDS, lambda n: (Kind.NOTICE, "storing", "w" * n)),
        (limits.MAX_NAME, lambda n: (Kind.NOTICE, "c" * n, "")),
        (limits.MAX_USERS, lambda n: (Kind.USERS, 0, (("u", 0),) * n, False)),
        (limits.MAX_FOLLOWS, lambda n: (Kind.PONG, 0, (("echo", EPOCH, 0),) * n)),
        (limits.MAX_FOLLOWS, lambda n: replaced(WELCOME, 12, (("echo", EPOCH, 0, 0),) * n)),
        (limits.MAX_WORDS, lambda n: (Kind.ERROR, "left", "w" * n, 0, 0)),
        (limits.MAX_WORDS, lambda n: (Kind.REFUSED, "left", "w" * n, 0)),
        (limits.MAX_WORDS, lambda n: (Kind.FAREWELL, "left", "w" * n)),
        (limits.MAX_NAME, lambda n: (Kind.ERROR, "c" * n, "", 0, 0)),
        (limits.MAX_NAME, lambda n: (Kind.PRESENCE, True, "n" * n, 0)),
        (limits.MAX_LOG_NAME, lambda n: (Kind.FETCHED, 1, "l" * n, EPOCH, 0)),
        (limits.MAX_LOG_NAME, lambda n: (Kind.BATCH, "l" * n, EPOCH, 0, 1, ())),
    ],
)
def test_so_many_and_not_one_more(from_broker, raw, most, make):
    assert from_broker.decode(raw(*make(most)))
    with pytest.raises(BadFrame):
        from_broker.decode(raw(*make(most + 1)))


@pytest.mark.parametrize("number", [0, -1, MOST + 1, True, 1.0, "1", None])
@pytest.mark.parametrize("end", [0, 1])
def test_a_run_is_of_numbers_of_commands(from_broker, raw, number, end):
    run = replaced((1, 1), end, number)
    for ack in (
        (Kind.ACK, 0, 1, ((*run, "left", ""),), ()),
        (Kind.ACK, 0, 1, (), (run,)),
    ):
        with pytest.raises(BadFrame):
            from_broker.decode(raw(*ack))


def test_an_ack_tells_runs_of_what_was_refused_and_of_who_was_away(from_broker, raw):
    refused, away = (2, 3, "no_such_user", "words"), (5, MOST)
    assert from_broker.decode(raw(Kind.ACK, 1, MOST, (refused,), (away,))) == [
        Ack(1, MOST, (Refusal(*refused),), (Run(*away),))
    ]


@pytest.mark.parametrize(
    "lists",
    [
        ((), ((1,),)),
        ((), (1,)),
        ((), None),
        ((), 1),
        ((), "runs"),
        (((1, 1, "left"),), ()),
        (((1, "left", "words"),), ()),
        (((1, 1), (2, 2)), ()),
        (((1, 1, "c" * (limits.MAX_NAME + 1), ""),), ()),
        ((),),
    ],
)
def test_an_ack_that_is_not_of_runs_is_refused(from_broker, raw, lists):
    with pytest.raises(BadFrame):
        from_broker.decode(raw(Kind.ACK, 0, 3, *lists))


def test_a_batch_begins_after_what_precedes_it(from_broker, raw):
    for prev, first in ((0, 0), (5, 5), (5, 4), (MOST, 0)):
        with pytest.raises(BadFrame, match="begins after"):
            from_broker.decode(raw(Kind.BATCH, "echo", EPOCH, prev, first, ()))


def test_no_position_in_a_batch_is_past_the_largest_integer(from_broker, raw):
    event = (1, 0, "alice", "x")
    (batch,) = from_broker.decode(raw(Kind.BATCH, "echo", EPOCH, 0, MOST - 2, (event,) * 2))
    assert batch.first + len(batch.events) - 1 < MOST
    with pytest.raises(BadFrame):
        from_broker.decode(raw(Kind.BATCH, "echo", EPOCH, 0, MOST - 1, (event,) * 2))


def test_an_event_of_a_later_version_keeps_its_position_in_the_batch(from_broker, raw):
    events = ((1, 0, "alice", "one"), (9, "new"), (1, 0, "alice", "three"))
    (batch,) = from_broker.decode(raw(Kind.BATCH, "echo", EPOCH, 0, 1, events))
    one, three = Event(0, "alice", "", "one"), Event(0, "alice", "", "three")
    assert batch == Batch("echo", EPOCH, 0, 1, (one, None, three))


@pytest.mark.parametrize("events", [None, 0, "events", b"events"])
def test_the_events_of_a_batch_are_an_array(from_broker, raw, events):
    with pytest.raises(BadFrame, match="array of events"):
        from_broker.decode(raw(Kind.BATCH, "echo", EPOCH, 0, 1, events))


def test_a_batch_with_an_event_unknown_here_cannot_be_passed_on():
    batch = Batch("echo", EPOCH, 0, 1, (Event(0, "alice", "", "one"), None))
    with pytest.raises(ValueError, match="unknown here"):
        Encoder().encode(batch)
