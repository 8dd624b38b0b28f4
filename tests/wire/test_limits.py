"""The limits fit into each other: nobody is made to send what another limit forbids."""

from __future__ import annotations

import pytest

from chatbroker.broker.session import WORDS
from chatbroker.wire import limits
from chatbroker.wire.batch import LEAST
from chatbroker.wire.codec import FROM_BROKER, FROM_CLIENT, Decoder, Encoder
from chatbroker.wire.messages import (
    Ack,
    Batch,
    Cursor,
    Event,
    Follow,
    Hello,
    Ping,
    Reading,
    Refusal,
    Run,
    Send,
    Start,
    User,
    Users,
    Welcome,
)
from chatbroker.wire.messages import Limits as Told

NAME = "n" * limits.MAX_NAME
TEXT = "t" * limits.MAX_TEXT
MOST = limits.MAX_INT
EPOCH = bytes(limits.EPOCH_LENGTH)
ID = bytes(limits.ID_LENGTH)


def logs() -> list[str]:
    return [f"{number:0{limits.MAX_LOG_NAME}}" for number in range(limits.MAX_FOLLOWS)]


@pytest.mark.parametrize(
    "message",
    [
        Hello(
            limits.VERSION,
            NAME,
            ID,
            ID,
            MOST,
            True,
            True,
            ID,
            tuple(Follow(log, EPOCH, Start.AGE, MOST) for log in logs()),
        ),
        Send(MOST, NAME, (TEXT,)),
        Ping(MOST, MOST, MOST, tuple(Cursor(log, EPOCH, MOST) for log in logs())),
    ],
    ids=lambda message: type(message).__name__,
)
def test_the_largest_message_of_a_client_fits_a_frame(message):
    packed = Encoder().encode(message)
    assert Decoder(FROM_CLIENT).decode(packed) == [message]


@pytest.mark.parametrize(
    "message",
    [
        Welcome(
            limits.VERSION,
            NAME,
            EPOCH,
            MOST,
            MOST,
            MOST,
            ID,
            65535,
            MOST,
            MOST,
            Told(*[MOST] * 8),
            tuple(Reading(log, EPOCH, MOST, MOST, EPOCH, MOST) for log in logs()),
        ),
        Ack(
            MOST - limits.MAX_RUNS,
            MOST,
            (Refusal(MOST, MOST, "no_such_user", max(WORDS.values(), key=len)),) * limits.MAX_RUNS,
            (Run(MOST, MOST),) * limits.MAX_RUNS,
        ),
        Users(MOST, tuple(User(NAME, MOST) for _ in range(limits.MAX_USERS)), True),
        Batch(logs()[0], EPOCH, MOST - 3, MOST - 2, (Event(MOST, NAME, NAME, TEXT),)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_the_largest_message_of_the_broker_fits_a_frame_beside_what_waits_in_it(message):
    packed = Encoder().encode(message)
    assert Decoder(FROM_BROKER).decode(packed) == [message]
    assert limits.FRAME_TARGET + len(packed) <= limits.MAX_FRAME


def test_a_window_of_refusals_is_told_in_a_handful_of_acks():
    assert limits.WINDOW / limits.MAX_RUNS < 32


def test_a_full_frame_of_the_shortest_messages_is_one_batch():
    assert limits.FRAME_TARGET // LEAST <= limits.MAX_EVENTS


def test_the_lists_of_a_message_are_no_longer_than_an_array_may_be():
    assert limits.MAX_FOLLOWS <= limits.MAX_ELEMENTS
    assert max(limits.MAX_USERS, limits.MAX_RUNS) <= limits.MAX_EVENTS


def test_a_fetch_gives_no_more_than_may_be_pushed():
    assert limits.MAX_FETCH <= limits.PUSH_WINDOW
