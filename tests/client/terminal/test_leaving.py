"""Leaving while something is under way."""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace

import pytest
from tickets import one, resolve

from chatbroker.client.commands import Outcome
from chatbroker.client.errors import OutcomeUnknown, Refused, Unreachable
from chatbroker.client.interrupts import Interrupts
from chatbroker.client.terminal import leaving
from chatbroker.client.terminal.leaving import (
    MOST_TOLD,
    MOST_WORDS,
    telling_what_is_lost,
    wait_for_answers,
)


@pytest.fixture
def leave(live, monkeypatch):
    """Leaves with messages under way; *when* is done once the person was told of the waiting."""
    told = []

    def call(*outcomes, when=None, interrupts=None):
        monkeypatch.setattr(leaving, "GRACE", 0.01)

        def complain(program, words):
            told.append(words)
            if when is not None and len(told) == 1:
                threading.Thread(target=when).start()

        monkeypatch.setattr(leaving, "complain", complain)
        for number, outcome in enumerate(outcomes):
            ticket = live._send("bob", f"m{number}")
            why = ("no_such_user", "no such user: bob")
            resolve(ticket, outcome, *(why if outcome is Outcome.REFUSED else ()))
        conversation = SimpleNamespace(unresolved=deque(live.sent))
        wait_for_answers(live, interrupts or Interrupts(), conversation)

    call.told = told
    return call


def test_nothing_under_way_needs_no_waiting(leave):
    leave()
    leave(Outcome.ACCEPTED)
    assert leave.told == []


def test_a_person_is_told_what_is_waited_for(leave, live):
    leave(Outcome.PENDING, when=live.resolve)
    assert leave.told == ["1 message is not stored yet; waiting (Ctrl-C does not wait)"]


def test_only_what_is_not_stored_is_counted(leave, live):
    def resolve():
        live.resolve(1)
        live.resolve(2)

    leave(Outcome.ACCEPTED, Outcome.PENDING, Outcome.PENDING, when=resolve)
    assert leave.told == ["2 messages are not stored yet; waiting (Ctrl-C does not wait)"]


def test_what_is_refused_while_one_waits_is_told_and_no_success(leave, live):
    def refuse():
        live.resolve(0, Outcome.REFUSED, "no such user: x\x1b", "no_such_user")

    with pytest.raises(Refused) as error:
        leave(Outcome.PENDING, when=refuse)
    assert error.value.code == "no_such_user"
    assert leave.told[1:] == ["no such user: x\\x1b (not sent: m0)"]


def test_a_refusal_that_came_and_was_shown_to_nobody_is_no_success(leave):
    with pytest.raises(Refused):
        leave(Outcome.REFUSED, Outcome.ACCEPTED)
    assert leave.told == ["no such user: bob (not sent: m0)"]


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.UNSENT])
def test_what_nobody_knows_is_no_success(leave, outcome):
    with pytest.raises(OutcomeUnknown):
        leave(Outcome.ACCEPTED, outcome)


def test_a_broker_that_is_gone_ends_the_waiting(leave, live):
    with pytest.raises(Unreachable):
        leave(Outcome.PENDING, when=lambda: live.fails(Unreachable("gone")))


def test_who_does_not_want_to_wait_need_not(leave, live):
    interrupts = Interrupts()

    def press():
        interrupts._pending = KeyboardInterrupt()
        live.resolve()

    with pytest.raises(KeyboardInterrupt):
        leave(Outcome.PENDING, when=press, interrupts=interrupts)


def conversation_with(*messages):
    """One in which these were typed: to whom, what, whether it was sent, what became of it."""
    tickets = []
    for to, text, sent, outcome in messages:
        ticket = one(to, text)
        ticket.commands.sent = int(sent)
        resolve(ticket, outcome)
        tickets.append(ticket)
    return SimpleNamespace(unresolved=deque(tickets), in_doubt=False)


def test_what_was_typed_and_is_lost_is_told_when_an_exception_ends_it(capsys):
    conversation = conversation_with(
        (None, "stored", True, Outcome.ACCEPTED),
        (None, "under way\x1b[2J", True, Outcome.PENDING),
        ("bob", "typed", False, Outcome.UNSENT),
        (None, "x" * (MOST_WORDS + 1), True, Outcome.UNKNOWN),
    )
    with pytest.raises(RuntimeError), telling_what_is_lost(conversation):
        raise RuntimeError("a bug")
    assert capsys.readouterr().err.splitlines() == [
        "chat: sent, not acknowledged: under way\\x1b[2J",
        "chat: not sent to bob: typed",
        f"chat: sent, not acknowledged: {'x' * MOST_WORDS}…",
    ]


@pytest.mark.parametrize(
    ("sent", "in_doubt", "error"),
    [
        (True, False, OutcomeUnknown),
        (False, True, OutcomeUnknown),
        (False, False, Unreachable),
    ],
)
def test_what_the_broker_may_have_is_never_said_to_be_unreachable(sent, in_doubt, error):
    conversation = conversation_with((None, "hi", sent, Outcome.PENDING))
    conversation.in_doubt = in_doubt
    with pytest.raises(error), telling_what_is_lost(conversation):
        raise Unreachable("whatever it was that waited")


def test_of_very_many_that_are_lost_the_first_are_told(capsys):
    waiting = [(None, f"m{n}", False, Outcome.PENDING) for n in range(MOST_TOLD + 2)]
    with pytest.raises(KeyboardInterrupt), telling_what_is_lost(conversation_with(*waiting)):
        raise KeyboardInterrupt
    told = capsys.readouterr().err.splitlines()
    assert told[-2:] == [f"chat: not sent: m{MOST_TOLD - 1}", "chat: … and 2 more"]


def test_what_nobody_knew_in_between_is_no_success(capsys):
    conversation = conversation_with()
    with telling_what_is_lost(conversation):
        pass
    conversation.in_doubt = True
    with pytest.raises(OutcomeUnknown), telling_what_is_lost(conversation):
        pass
    assert capsys.readouterr().err == ""
