from __future__ import annotations

import typing

import pytest

from chatbroker.wire.codec import FROM_BROKER, FROM_CLIENT
from chatbroker.wire.errors import Code
from chatbroker.wire.messages import (
    ECHO_LOG,
    GREETING_TOPIC,
    KINDS,
    PRESENCE_TOPIC,
    Ack,
    Batch,
    BrokerMessage,
    ClientMessage,
    Error,
    Event,
    Events,
    Kind,
    Start,
    error,
    topic_of,
)

FROM_CLIENTS = typing.get_args(ClientMessage)
FROM_BROKERS = typing.get_args(BrokerMessage)


def test_every_message_has_a_kind_of_its_own():
    assert set(KINDS) == {*FROM_CLIENTS, *FROM_BROKERS}
    assert sorted(KINDS.values()) == sorted(Kind)


def test_clients_speak_below_16_and_the_broker_from_16_on():
    assert all(KINDS[message] < 16 for message in FROM_CLIENTS)
    assert all(KINDS[message] >= 16 for message in FROM_BROKERS)


def test_each_side_understands_what_the_other_says_and_nothing_else():
    assert set(FROM_CLIENT.parsers) == {KINDS[message] for message in FROM_CLIENTS}
    assert set(FROM_BROKER.parsers) == {KINDS[message] for message in FROM_BROKERS}


@pytest.mark.parametrize("message", KINDS, ids=lambda message: message.__name__)
def test_a_message_says_what_it_is_for(message):
    assert message.__doc__
    assert not message.__doc__.startswith(f"{message.__name__}(")


@pytest.mark.parametrize("message", KINDS, ids=lambda message: message.__name__)
def test_a_message_is_a_tuple_and_cannot_change(message):
    made = message(*range(len(message._fields)))
    assert made == tuple(range(len(message._fields)))
    for name in message._fields:
        with pytest.raises(AttributeError):
            setattr(made, name, None)


# Numbers travel: whoever changes one of these breaks every client in the field.
def test_the_numbers_of_kinds_and_starts_are_those_of_the_protocol():
    assert {kind.name: kind.value for kind in Kind} == {
        "HELLO": 1,
        "SEND": 2,
        "ECHO": 3,
        "INFO": 4,
        "FETCH": 5,
        "PING": 6,
        "BYE": 7,
        "WELCOME": 16,
        "REFUSED": 17,
        "ACK": 18,
        "BATCH": 19,
        "FETCHED": 20,
        "MISSED": 21,
        "USERS": 22,
        "PRESENCE": 23,
        "PONG": 24,
        "ERROR": 25,
        "FAREWELL": 26,
        "NOTICE": 27,
        "ENROL": 8,
        "ENROLLED": 28,
    }
    assert {start.name: start.value for start in Start} == {
        "NOW": 0,
        "UNREAD": 1,
        "AFTER": 2,
        "AGE": 3,
    }


def test_an_ack_tells_of_nobody_who_was_away_unless_it_says_so():
    assert Ack(0, 1, ()) == (0, 1, (), ())


def test_who_subscribes_to_dev_does_not_hear_devops():
    assert not topic_of("devops").startswith(topic_of("dev"))
    assert topic_of(ECHO_LOG) == b"echo\0"


def test_no_topic_is_the_beginning_of_another():
    topics = [topic_of(ECHO_LOG), PRESENCE_TOPIC, GREETING_TOPIC]
    for topic in topics:
        assert [other for other in topics if other.startswith(topic)] == [topic]


def test_an_error_carries_the_word_of_its_code():
    assert error(Code.NO_SESSION, "say HELLO first") == Error("no_session", "say HELLO first", 0)
    assert type(error(Code.OUT_OF_ORDER, "", 7).code) is str


# --- events by columns ----------------------------------------------------------------------

SAID = (Event(1, "alice", "", "hi"), None, Event(2, "bob", "alice", "ho"))
COLUMNS = ([1, 0, 2], ["alice", "", "bob"], ["", None, "alice"], ["hi", "", "ho"])


def test_events_are_a_sequence_of_what_they_were_made_of():
    events = Events.of(SAID)
    assert (len(events), tuple(events)) == (3, SAID)
    assert [events[at] for at in (0, 1, 2, -1)] == [*SAID, SAID[-1]]
    assert (events[1:], events[::-1]) == (SAID[1:], SAID[::-1])
    with pytest.raises(IndexError):
        events[3]
    assert None in events
    assert Event(1, "alice", "", "hi") in events
    assert not Events.of([])


def test_events_are_equal_if_each_is():
    assert Events.of(SAID) == SAID == Events.of(list(SAID)) == Events(*COLUMNS)
    assert Events.of(SAID) != Events.of(SAID[:2])
    assert Events.of(SAID) != list(SAID)
    assert Batch("echo", b"epoch-01", 0, 1, Events.of(SAID)) == ("echo", b"epoch-01", 0, 1, SAID)
    assert repr(Events.of(SAID[:1])) == f"Events.of({[*SAID[:1]]})"
