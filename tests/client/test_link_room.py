"""A program that takes less than is published, and what waits for it in the SUB."""

from __future__ import annotations

import time
from collections import deque
from functools import partial

import pytest
from stepping import steps

from chatbroker.client import inbox as inbox_module
from chatbroker.client import link as link_module
from chatbroker.client.events import Joined
from chatbroker.client.link import FULL_FOR
from chatbroker.wire.codec import Encoder
from chatbroker.wire.messages import ECHO_LOG, Fetch, topic_of

ROOM = 4


@pytest.fixture
def crammed(links, puppets, monkeypatch, batch):
    """A puppet and a link, with room for a few events; ten more than that were published."""
    monkeypatch.setattr(inbox_module, "MOST_EVENTS", ROOM)
    monkeypatch.setattr(inbox_module, "IN_A_FRAME", 0)
    monkeypatch.setattr(link_module, "MOST_EVENTS", ROOM)
    puppet = puppets()
    link = links(puppet.port)
    steps(link, lambda: link.core.listening)
    link.core.inbox.take(ROOM)
    encode = Encoder().encode
    head = batch("echo", 1, "head")

    def say():
        puppet.pub.send_multipart([topic_of(ECHO_LOG), encode(head)])

    steps(link, lambda: link.core.inbox.events, again=say)
    for position in range(2, 2 + ROOM + 9):
        frame = encode(batch("echo", position, str(position)))
        puppet.pub.send_multipart([topic_of(ECHO_LOG), frame])
    return puppet, link


def has(link, events):
    return len(link.core.inbox.events) >= events


def takes(link, number):
    with link._lock:
        return [event.seq for event in link.core.inbox.take(number)]


def test_what_is_published_waits_for_a_program_that_is_busy(crammed, monkeypatch):
    monkeypatch.setattr(link_module, "FULL_FOR", 60.0)
    puppet, link = crammed
    taken = []
    while len(taken) < 10 + ROOM:
        wanted = min(ROOM, 10 + ROOM - len(taken))
        steps(link, partial(has, link, wanted))
        for _ in range(3):
            link.step(0.001)
        assert len(link.core.inbox.events) <= ROOM
        taken += takes(link, ROOM - 1)
    assert taken == list(range(1, 11 + ROOM))
    assert not puppet.heard.of(Fetch)


def test_what_is_published_does_not_wait_for_a_program_that_rests(crammed, monkeypatch):
    monkeypatch.setattr(link_module, "FULL_FOR", 0.05)
    puppet, link = crammed
    steps(link, lambda: link.core.inbox.readers["echo"].head == 10 + ROOM)
    assert takes(link, ROOM) == list(range(1, 1 + ROOM))
    steps(link, lambda: puppet.heard.of(Fetch))
    assert puppet.heard.of(Fetch)[0].after == ROOM


def test_what_was_published_of_data_that_are_gone_is_not_taken(crammed, monkeypatch):
    """The positions of it are of other messages by now, and so are those that wait in the SUB."""
    monkeypatch.setattr(link_module, "FULL_FOR", 60.0)
    _, link = crammed
    steps(link, lambda: link._published)
    sub = link._sub
    link.core.welcomes += 1
    takes(link, ROOM)
    link.step(0)
    assert link.core.inbox.events == deque()
    steps(link, lambda: link.core.greeting.heard)
    assert link._sub is not sub
    assert not link._published


def test_who_waits_for_room_is_not_busy(crammed, monkeypatch, in_thread):
    monkeypatch.setattr(link_module, "FULL_FOR", 60.0)
    _, link = crammed
    steps(link, lambda: link._full(time.monotonic()))
    waits = []
    poll = link._poller.poll
    monkeypatch.setattr(link._poller, "poll", lambda wait: waits.append(wait) or poll(wait))
    for _ in range(3):
        link.step(0.02)
    assert any(wait > 0 for wait in waits)  # A PING may have been due in one.
    waiting = in_thread(lambda: link.step(1000.0))
    takes(link, ROOM)
    link.wake()
    waiting.result()
    steps(link, lambda: link.core.inbox.events)


def test_a_program_is_busy_that_takes_half_of_it_in_time(links, monkeypatch):
    monkeypatch.setattr(inbox_module, "MOST_EVENTS", ROOM)
    monkeypatch.setattr(link_module, "MOST_EVENTS", ROOM)
    link = links(1)
    inbox = link.core.inbox

    def full_again(taken, now):
        inbox.take(taken)
        assert link._full(now) == 0
        inbox.events.extend([Joined(1, "bob")] * (ROOM - len(inbox.events)))
        return link._full(now)

    assert full_again(0, 0.0) == FULL_FOR
    assert link._full(FULL_FOR / 4) == FULL_FOR * 3 / 4
    assert link._full(FULL_FOR) == 0
    assert full_again(ROOM // 2 - 1, FULL_FOR) == 0
    assert full_again(1, FULL_FOR) == FULL_FOR
