"""What is said while a broadcast is on its way to all who hear it, on real sockets."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
import zmq

from chatbroker.broker import gathering as gathering_module
from chatbroker.wire.codec import FROM_BROKER, Decoder
from chatbroker.wire.messages import Ack, Echo
from serving import WITHIN


class Stage:
    """A server, one who speaks, and one who hears broadcasts; *thread*: as ZeroMQ's that sends."""

    def __init__(self, server, alice, sub):
        self.server = server
        self.thread = SimpleNamespace(told=True, asleep=True, close=lambda: None)
        server._publisher._io_thread = self.thread
        self._alice = alice
        self._sub = sub
        self._cseq = 0
        # PUB takes the subscription a moment after its greeting.
        while not sub.poll(20):
            self.says("begin")
        while self._sub.poll(200):
            self.hears()

    def says(self, text):
        """It is stored."""
        self._cseq += 1
        self._alice.says(Echo(self._cseq, (text,)))
        assert self._alice.hears(Ack).upto == self._cseq

    def hears(self):
        """The texts of the next frame."""
        assert self._sub.poll(WITHIN * 1000)
        _, frame = self._sub.recv_multipart()
        batches = Decoder(FROM_BROKER).decode(frame)
        return [event.text for batch in batches for event in batch.events]

    def hears_nothing(self):
        return not self._sub.poll(50)


@pytest.fixture
def stage(running, peers, context, monkeypatch):
    server = running()
    alice = peers(server)
    alice.joins("alice")
    with context.socket(zmq.SUB) as sub:
        sub.setsockopt(zmq.SUBSCRIBE, b"echo\0")
        sub.connect(server.pub_address)
        stage = Stage(server, alice, sub)
        # To send it to this one takes as long as to thousands.
        monkeypatch.setattr(gathering_module, "A_SUBSCRIBER", 60.0)
        stage.says("first")
        assert stage.hears() == ["first"]
        yield stage


def test_it_goes_out_together_when_that_was_sent(stage):
    stage.thread.asleep = False
    for text in ("a", "b", "c"):
        stage.says(text)
    assert stage.hears_nothing()
    stage.thread.asleep = True
    assert stage.hears() == ["a", "b", "c"]


def test_it_goes_out_when_the_broker_stops(stage):
    stage.thread.asleep = False
    stage.says("a")
    assert stage.hears_nothing()
    stage.server.stop()
    assert stage.hears() == ["a"]
    stage.server.thread.join(WITHIN)
    assert not stage.server.thread.is_alive()


def test_the_loop_sleeps_while_it_waits_for_that(stage, monkeypatch):
    """It looks a thousand times a second, and not as often as it can."""
    stage.thread.asleep = False
    stage.says("a")
    turns, over = [], threading.Event()
    begin = stage.server._begin

    def begins():
        turns.append(time.monotonic())
        begin()
        if len(turns) == 50:
            over.set()

    monkeypatch.setattr(stage.server, "_begin", begins)
    assert over.wait(WITHIN)
    assert turns[49] - turns[0] > 0.02
    assert stage.hears_nothing()
