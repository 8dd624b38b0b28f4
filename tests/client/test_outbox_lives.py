"""What the outbox knows of data that come back, and of what is over."""

from __future__ import annotations

import pytest

from chatbroker.client.commands import Commands, Outcome
from chatbroker.client.outbox import MOST_LIVES, Outbox
from chatbroker.wire.messages import Ack

HERE, THERE = b"epoch--1", b"epoch--2"


def put(outbox: Outbox, *texts: str) -> Commands:
    commands = Commands(None, texts)
    outbox.put(commands)
    return commands


def send(outbox: Outbox, window: int = 1000) -> None:
    for _ in outbox.due(window, 1 << 30, 0.0):
        continue


@pytest.fixture
def outbox() -> Outbox:
    outbox = Outbox()
    put(outbox, "a", "b", "c")
    return outbox


def test_data_that_something_was_sent_to_are_known_when_they_come_back(outbox):
    assert not outbox.enters(HERE)
    send(outbox)
    outbox.restart(0, forgotten=False)
    assert not outbox.enters(THERE)
    assert outbox.enters(HERE)


def test_data_that_nothing_was_sent_to_may_be_sent_it(outbox):
    outbox.enters(HERE)
    outbox.enters(THERE)
    send(outbox)
    assert not outbox.enters(HERE)


def test_when_all_that_was_sent_is_resolved_no_data_have_more_of_it(outbox):
    outbox.enters(HERE)
    send(outbox, window=2)
    outbox.rewind()
    outbox.enters(THERE)
    send(outbox, window=2)
    outbox.acknowledge(Ack(0, 2, ()))
    send(outbox)
    assert not outbox.enters(HERE)


def test_what_is_said_after_a_session_was_forgotten_no_data_of_before_can_have(outbox):
    """What was sent to them has its outcome."""
    for life in (HERE, THERE):
        outbox.enters(life)
        send(outbox)
        outbox.rewind()
    outbox.enters(THERE)
    outbox.restart(0, forgotten=True)
    put(outbox, "d")
    send(outbox)
    assert not outbox.enters(HERE)


def test_to_come_to_the_same_data_many_times_forgets_no_others(outbox):
    """As over a bad line."""
    outbox.enters(HERE)
    send(outbox)
    outbox.rewind()
    for _ in range(MOST_LIVES + 1):
        outbox.enters(THERE)
    assert outbox.enters(HERE)


def test_what_is_heard_after_the_end_changes_no_outcome(outbox):
    commands = put(outbox, "d")
    send(outbox, window=3)
    outbox.abandon()
    assert outbox.acknowledge(Ack(0, 4, ()))
    assert commands.outcomes == [Outcome.UNSENT]
    assert len(outbox) == 0


def test_what_a_rewind_cut_is_resolved_once(outbox):
    """And what is said after it has outcomes of its own."""
    send(outbox)
    outbox.rewind(2)
    send(outbox)
    assert outbox.acknowledge(Ack(0, 3, ()))
    later = put(outbox, "d", "e")
    send(outbox)
    assert outbox.acknowledge(Ack(3, 4, ()))
    assert later.outcomes == [Outcome.ACCEPTED, Outcome.PENDING]


def test_what_was_never_sent_is_taken_back_and_nothing_else(outbox):
    first = outbox._waiting.parts[0].commands
    second, others = put(outbox, "d", "e"), put(outbox, "f")
    send(outbox, window=2)
    assert first.sent == 2
    outbox.withdraw_unsent([first, second])
    assert first.outcomes == [Outcome.PENDING, Outcome.PENDING, Outcome.UNSENT]
    assert second.outcomes == [Outcome.UNSENT] * 2
    assert others.outcomes == [Outcome.PENDING]
    assert len(outbox) == 3
    # Over the next connection what was sent is under way again, and what was not is not.
    outbox.rewind()
    outbox.withdraw_unsent([first])
    send(outbox)
    outbox.acknowledge(Ack(0, 3, ()))
    assert first.outcomes == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.UNSENT]
    assert others.outcomes == [Outcome.ACCEPTED]
