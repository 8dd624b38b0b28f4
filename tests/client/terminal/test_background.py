"""The threads beside the one that draws, which here is the test's."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from chatbroker.client.errors import Unreachable, UsageError
from chatbroker.client.events import Broadcast, Notice
from chatbroker.client.terminal.background import MOST_CHARACTERS, MOST_EVENTS, Background

PATIENCE = 15.0


class Shown:
    """A conversation of which only is asked what it took."""

    def __init__(self):
        self.took = []
        self.unresolved = []
        self.greetings = 0

    def take(self, events):
        self.took.append(list(events))
        self.unresolved.clear()
        self.greetings = 1


class Stage:
    def __init__(self, client):
        self.client, self.conversation = client, Shown()
        self.calls = SimpleQueue()
        self.failures = []
        self.background = Background(client, self.calls.put, self.failures.append)

    def draw(self):
        """Does the next thing that was posted."""
        self.calls.get(timeout=PATIENCE)()


@pytest.fixture
def stage(live):
    stage = Stage(live)
    yield stage
    stage.background.stop()


def notices(*words):
    return [Notice("x", word) for word in words]


def test_a_greeting_of_the_port_of_broadcasts_is_seen_to_though_nothing_else_comes(stage):
    stage.background.start(stage.conversation)
    stage.client.greetings = 1
    stage.client.notify()
    stage.draw()
    assert stage.conversation.took == [[]]


def test_events_are_shown_in_their_order_and_no_more_are_taken_meanwhile(stage):
    first, second = notices(*map(str, range(MOST_EVENTS))), notices("last")
    stage.client.comes(*first, *second)
    stage.background.start(stage.conversation)
    call = stage.calls.get(timeout=PATIENCE)
    assert stage.client.waiting_events == 1
    assert stage.calls.empty()
    call()
    stage.draw()
    assert stage.conversation.took == [first, second]


def test_between_long_messages_keys_have_their_turn(stage):
    half = "x" * (MOST_CHARACTERS // 2)
    events = [Broadcast(n, 0, "bob", half) for n in range(5)]
    stage.client.comes(*events)
    stage.background.start(stage.conversation)
    stage.draw()
    assert stage.conversation.took == [events[:2]]
    stage.draw()
    assert stage.conversation.took == [events[:2], events[2:4]]
    # Whoever leaves now has not seen the last.
    assert stage.background.stop() == events[4:]


def test_what_was_not_shown_is_given_back(stage):
    events = notices("a", "b")
    stage.client.comes(*events)
    stage.background.start(stage.conversation)
    call = stage.calls.get(timeout=PATIENCE)  # Posted, and never done.
    assert stage.background.stop() == events
    assert stage.conversation.took == []
    assert call is not None


def test_what_was_shown_is_not_given_back(stage):
    stage.client.comes(*notices("a"))
    stage.background.start(stage.conversation)
    stage.draw()
    assert stage.background.stop() == []


def test_what_came_and_was_not_taken_stays_unread(stage):
    stage.client.comes(*notices("a"))
    stage.background.start(stage.conversation)
    stage.calls.get(timeout=PATIENCE)
    stage.client.comes(*notices("b"))
    assert stage.background.stop() == notices("a")
    assert stage.client.coming == notices("b")


def test_that_a_message_is_resolved_is_shown_without_an_event(stage):
    stage.background.start(stage.conversation)
    ticket = stage.client._send("bob", "hi")
    stage.conversation.unresolved.append(ticket)
    stage.client.resolve()
    stage.draw()
    assert stage.conversation.took == [[]]


def test_jobs_are_done_one_after_the_other_and_their_answers_where_one_draws(stage):
    did = []
    for number in range(3):
        stage.background.work(lambda number=number: lambda: did.append(number))
    stage.background.start(stage.conversation)
    for _ in range(3):
        stage.draw()
    assert did == [0, 1, 2]


def test_a_job_that_fails_is_told(stage):
    def job():
        raise Unreachable("gone")

    stage.background.work(job)
    stage.background.start(stage.conversation)
    stage.draw()
    assert [str(error) for error in stage.failures] == ["gone"]


def test_a_connection_that_fails_is_told(stage):
    stage.background.start(stage.conversation)
    stage.client.fails(Unreachable("gone for good"))
    stage.draw()
    assert [str(error) for error in stage.failures] == ["gone for good"]


def test_a_bug_is_told_even_if_the_client_is_closed(stage):
    stage.client.closed = True
    stage.background.work(lambda: 1 / 0)
    stage.background.start(stage.conversation)
    stage.draw()
    assert isinstance(stage.failures[0], ZeroDivisionError)


def test_that_the_client_is_closed_is_no_failure(stage, until):
    def job():
        raise UsageError("the client is closed")

    stage.client.closed = True
    stage.background.work(job)
    stage.background.start(stage.conversation)
    until(lambda: "waiting for answers" not in [t.name for t in threading.enumerate()])
    assert stage.calls.empty()


def test_it_can_be_stopped_before_it_began(live):
    assert Stage(live).background.stop() == []
