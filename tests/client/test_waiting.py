"""Waiting for a user before something is sent."""

from __future__ import annotations

import json
import threading

import pytest

from chatbroker.client import Client, sending, waiting
from chatbroker.client.errors import Unreachable
from chatbroker.client.events import Joined, Left, Offline, UserInfo
from chatbroker.client.options import Shared, Wait
from chatbroker.client.waiting import wait_for_user
from chatbroker.command.status import Status
from chatbroker.testing.brokers import BrokerProcess

WITHIN = 15.0


class Told:
    """A client that is told, in turn, who is on, and what happens in between."""

    timeout = patience = WITHIN

    def __init__(self, *turns):
        self.turns = list(turns)
        self.asked = 0
        self.listened = False
        self.events = []

    def wait_listening(self, timeout):
        self.listened = True

    def users(self, timeout):
        assert self.listened  # Else who comes in between would be missed.
        self.asked += 1
        users, self.events = self.turns.pop(0) if self.turns else ([], [])
        return [UserInfo(name, 0) for name in users]

    @property
    def waiting_events(self):
        return len(self.events)

    def wait_until(self, ready, timeout):
        return ready()

    def receive_many(self, timeout):
        taken, self.events = self.events, []
        return taken


def test_who_is_on_already_is_not_waited_for():
    client = Told((["alice", "bob"], []))
    assert wait_for_user(client, "bob", 0.0, print)
    assert client.asked == 1


def test_when_somebody_joined_it_is_asked_again(monkeypatch):
    monkeypatch.setattr(waiting, "LOOK_AGAIN", (WITHIN, WITHIN))
    happened = [Joined(0, "carol"), Offline("lost"), Joined(0, "bob")]
    reported = []
    client = Told((["alice"], happened), (["alice", "bob"], []))
    assert wait_for_user(client, "bob", WITHIN, reported.append)
    assert client.asked == 2
    assert reported == happened


def test_who_left_again_is_waited_for(monkeypatch):
    monkeypatch.setattr(waiting, "LOOK_AGAIN", (WITHIN, WITHIN))
    came = [Joined(0, "bob"), Left(0, "bob")]
    client = Told(([], came), ([], [Joined(0, "bob")]), (["bob"], []))
    assert wait_for_user(client, "bob", WITHIN, print)
    assert client.asked == 3


def test_a_hint_that_was_lost_is_made_up_for(monkeypatch):
    monkeypatch.setattr(waiting, "LOOK_AGAIN", (0.001, 0.002))
    client = Told(([], []), ([], []), (["bob"], []))
    assert wait_for_user(client, "bob", WITHIN, print)


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_who_does_not_come_in_time_is_not_waited_for_longer(seconds):
    assert not wait_for_user(Told(), "bob", seconds, print)


# --- what the commands make of it -----------------------------------------------------------


@pytest.fixture(scope="module")
def house():
    with BrokerProcess() as broker:
        yield broker


@pytest.fixture
def shared_with(house):
    def make(user=None, json=False):
        return Shared(house.address, user, WITHIN, json)

    return make


def texts(client, count):
    said = (event.text for event in client.events(WITHIN) if hasattr(event, "text"))
    return [next(said) for _ in range(count)]


def test_a_message_is_sent_when_its_reader_is_on(
    house, shared_with, in_thread, capsys, monkeypatch
):
    asked = threading.Event()
    users = Client.users

    def told(self, timeout=None):
        found = users(self, timeout)
        asked.set()
        return found

    monkeypatch.setattr(Client, "users", told)

    def comes_late():
        assert asked.wait(WITHIN)
        with house.client("late") as late:
            return texts(late, 1)

    coming = in_thread(comes_late)
    wait = Wait("late", WITHIN)
    status = sending.send_one(shared_with(json=True), "late", ("hi",), None, WITHIN, wait)
    assert status == Status.DONE
    assert coming.result() == ["hi"]
    assert json.loads(capsys.readouterr().out) == {"type": "accepted", "line": 1}


def test_lines_are_read_when_whom_to_wait_for_is_on(house, shared_with, pipe, monkeypatch):
    descriptor, write, close = pipe
    feed = sending.Feed
    monkeypatch.setattr(
        sending, "Feed", lambda *args, **options: feed(*args, descriptor, **options)
    )
    write(b"one\ntwo\n")
    close()
    with house.client("bob") as bob:
        wait = Wait("bob", WITHIN)
        assert sending.send_lines(shared_with(), None, WITHIN, wait) == Status.DONE
        assert texts(bob, 2) == ["one", "two"]


def test_nothing_is_sent_to_who_did_not_come(house, shared_with, capsys, monkeypatch):
    monkeypatch.setattr(sending, "Feed", None)  # Nor is anything read.
    with house.client("alice") as alice:
        assert alice.wait_listening()
        shared, wait = shared_with(), Wait("bob", 0.0)
        assert sending.send_one(shared, None, ("hi",), None, WITHIN, wait) == Status.OUT_OF_TIME
        assert sending.send_lines(shared, None, WITHIN, wait) == Status.OUT_OF_TIME
        assert alice.sync(WITHIN)
        assert not [event for event in alice.receive_many(0) if hasattr(event, "text")]
    words = "chat: bob was not on within 0 s; nothing was sent\n"
    assert capsys.readouterr() == ("", words * 2)


def test_a_name_is_asked_for_before_anybody_is_waited_for():
    shared = Shared("tcp://127.0.0.1:1", None, 0.1, False)
    with pytest.raises(Unreachable):
        sending.send_one(shared, None, ("hi",), None, WITHIN, Wait("bob", float("inf")))
