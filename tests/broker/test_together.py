"""What is waited for, so that it goes out together with what came before it."""

from __future__ import annotations

import itertools
import socket

import pytest

from chatbroker.broker import together as module
from chatbroker.broker.connections import Connection
from chatbroker.broker.intake import Intake
from chatbroker.broker.origin import Origin
from chatbroker.broker.said import Said, Waiting
from chatbroker.broker.sockets import FRAMES_WAITING
from chatbroker.broker.together import ENOUGH, FOR_A_SUBSCRIBER, LONG_ENOUGH, MOST, MUCH, Together
from chatbroker.wire.messages import Ack, Echo


class Router:
    polls = 0

    def poll(self, milliseconds):
        assert milliseconds == 1
        self.polls += 1


class Stage:
    """Somebody of whom much was taken, and of whom more is in the kernel; after 1 ms."""

    def __init__(self, fd):
        self.router, self.waiting, self.subscribers = Router(), Waiting(), []
        self.said = self.waiting[b"alice"] = Said(Connection(fd, Origin(), ""))
        self.said += [b"frame"] * FRAMES_WAITING
        self.together = Together(self.router, self.waiting, self.subscribers)

    def waits(self, taken=FRAMES_WAITING, last=FRAMES_WAITING):
        before = self.router.polls
        waits = self.together.wait(99.0, taken, last)
        assert self.router.polls == before + waits
        return waits


@pytest.fixture
def stage(monkeypatch):
    ours, theirs = socket.socketpair()
    theirs.send(b"more")
    monkeypatch.setattr(module.time, "monotonic", lambda: 99.001)
    with ours, theirs:
        yield Stage(ours.fileno())


def test_what_the_kernel_has_of_who_says_much_is_waited_for(stage):
    assert stage.waits()
    assert stage.waits(last=MUCH)


def test_who_has_said_all_is_not_waited_for(stage):
    """Else whoever says sixty things at a time would lose a millisecond with each of them."""
    with socket.socket(fileno=stage.said.caller.fd) as ours:
        assert ours.recv(100) == b"more"
        assert not stage.waits()
        ours.detach()


@pytest.mark.parametrize("fd", [-1, 10**6])
def test_of_whom_the_kernel_tells_nothing_nothing_is_waited_for(stage, fd):
    stage.said.caller.fd = fd
    assert not stage.waits()


def test_nobody_is_waited_for_when_many_say_little(stage):
    del stage.said[MUCH - 1 :]
    for number in range(9):
        stage.waiting[b"%d" % number] = Said(stage.said.caller)
        stage.waiting[b"%d" % number] += [b"frame"] * (MUCH - 1)
    assert not stage.waits(last=9 * MUCH)


def test_who_has_said_little_at_last_is_not_waited_for(stage):
    assert not stage.waits(last=MUCH - 1)


@pytest.mark.parametrize(
    ("subscribers", "enough"),
    [(0, ENOUGH), (10, ENOUGH + 10 * FOR_A_SUBSCRIBER), (1000, MOST)],
)
def test_more_is_enough_the_more_may_hear_it(stage, subscribers, enough):
    stage.subscribers += range(subscribers)
    assert stage.waits(taken=enough - 1)
    assert not stage.waits(taken=enough)


def test_others_are_not_kept_waiting_for_long(stage, monkeypatch):
    monkeypatch.setattr(module.time, "monotonic", lambda: 99.0 + LONG_ENOUGH + 0.001)
    assert not stage.waits()


def test_what_one_says_in_many_frames_is_stored_and_acknowledged_in_few_turns(
    running, peers, monkeypatch
):
    """All in order, whatever was taken when."""
    server = running()
    alice = peers(server)
    alice.joins("alice")
    turns = itertools.count()
    drain = Intake.drain
    monkeypatch.setattr(Intake, "drain", lambda self, *args: (next(turns), drain(self, *args))[1])
    for cseq in range(1, 1001):
        alice.says(Echo(cseq, (str(cseq),)))
    upto = 0
    while upto < 1000:
        ack = alice.hears(Ack)
        assert ack.after == upto
        upto = ack.upto
    assert server._core._echo.head == 1000
    assert next(turns) < 500
