"""What is published while what was published before is on its way goes out in one frame."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from chatbroker.broker.counts import Counts
from chatbroker.broker.effects import Publish
from chatbroker.broker.gathering import A_SUBSCRIBER, AT_MOST, LOOK_EVERY, Gathering
from chatbroker.broker.log import Log
from chatbroker.broker.outgoing import MOST_PUBLISHED, Outgoing
from chatbroker.wire.batch import last_position, pack_events
from chatbroker.wire.codec import FROM_BROKER, Decoder
from chatbroker.wire.limits import MAX_TEXT
from chatbroker.wire.messages import Event

MANY = 1000
TAKES = MANY * A_SUBSCRIBER
ECHO, PRESENCE = b"echo\0", b"presence\0"


class Publisher:
    """Takes what it is given, and tells what it is told to."""

    def __init__(self):
        self.frames = []
        self.room = math.inf
        self.tells = True
        self.sent = True

    def send(self, topic, frame):
        if len(self.frames) >= self.room:
            return False
        self.frames.append((topic, frame))
        return True


class Stage:
    def __init__(self):
        self.publisher = Publisher()
        self.counts = Counts()
        self.slow = SimpleNamespace(subscribers=MANY, noted=[])
        self.slow.publishes = lambda topic, size: self.slow.noted.append((topic, size))
        self.gathering = Gathering(self.publisher, self.slow, self.counts)

    def says(self, now, *frames, topic=ECHO):
        """What was published of it, and of what waited."""
        for frame in frames:
            self.gathering.add(Publish(topic, frame))
        return self.looks(now)

    def looks(self, now):
        self.publisher.frames.clear()
        self.gathering.publish(now)
        return [frame for _, frame in self.publisher.frames]


@pytest.fixture
def stage():
    return Stage()


def test_what_comes_alone_goes_out_at_once(stage):
    for now in (10.0, 11.0, 12.0):
        assert stage.says(now, b"a") == [b"a"]
        assert stage.gathering.pause(now) == math.inf


def test_what_comes_meanwhile_goes_out_when_that_was_sent(stage):
    stage.says(10.0, b"a")
    stage.publisher.sent = False
    assert stage.says(10.0 + LOOK_EVERY / 2, b"b") == []
    assert stage.gathering.pause(10.0 + LOOK_EVERY / 2) == pytest.approx(LOOK_EVERY / 2)
    assert stage.says(10.0 + LOOK_EVERY, b"c") == []
    assert stage.gathering.pause(10.0 + LOOK_EVERY) == pytest.approx(LOOK_EVERY)
    stage.publisher.sent = True
    assert stage.looks(10.0 + LOOK_EVERY * 1.5) == []  # It is not looked yet.
    assert stage.looks(10.0 + LOOK_EVERY * 2.5) == [b"bc"]
    assert stage.gathering.pause(10.0 + LOOK_EVERY * 2.5) == math.inf


def test_what_is_never_sent_is_not_waited_for(stage):
    stage.says(10.0, b"a")
    stage.publisher.sent = False
    assert stage.says(10.0 + TAKES * AT_MOST * 0.99, b"b") == []
    assert stage.looks(10.0 + TAKES * AT_MOST * 1.01) == [b"b"]
    assert stage.says(10.0 + TAKES * AT_MOST * 1.02, b"c") == []


def test_a_full_frame_does_not_wait(stage):
    stage.says(10.0, b"a")
    stage.publisher.sent = False
    half = b"x" * (MOST_PUBLISHED // 2)
    assert stage.says(10.0, half) == []
    assert stage.says(10.0, half) == [half + half]
    assert stage.says(10.0, half, half, half) == [half + half, half]


def test_where_nobody_tells_it_goes_by_the_time_that_it_takes(stage):
    stage.publisher.tells = stage.publisher.sent = False
    assert stage.says(10.0, b"a") == [b"a"]
    assert stage.says(10.0 + TAKES / 2, b"b") == []
    assert stage.gathering.pause(10.0 + TAKES / 2) == pytest.approx(TAKES / 2)
    assert stage.looks(10.0 + TAKES * 1.01) == [b"b"]


@pytest.mark.parametrize("subscribers", [0, 1, 100, int(LOOK_EVERY / A_SUBSCRIBER) - 1])
def test_few_are_sent_it_sooner_than_anybody_can_wait(stage, subscribers):
    stage.slow.subscribers = subscribers
    stage.publisher.sent = False
    for frame in (b"a", b"b", b"c"):
        assert stage.says(10.0, frame) == [frame]


def test_each_topic_has_frames_of_its_own_in_the_order_in_which_they_came(stage):
    stage.says(10.0, b"-")
    for number in range(4):
        assert stage.says(10.0, b"%d" % number, topic=(ECHO, PRESENCE)[number % 2]) == []
    stage.looks(11.0)
    assert stage.publisher.frames == [(ECHO, b"02"), (PRESENCE, b"13")]
    assert stage.slow.noted == [(ECHO, 1), (ECHO, 2), (PRESENCE, 2)]
    assert (stage.counts.published, stage.counts.skipped) == (3, 0)


def said(log, *texts):
    """What a turn publishes of *texts*."""
    for text in texts:
        log.pending.append((pack_events([Event(7, "alice", "", text)]), 1))
    out = Outgoing(Counts())
    out.broadcast(log, log.take(7))
    return out.take()


def test_what_turns_said_to_everyone_becomes_one_batch(stage):
    log = Log("echo", b"epoch--1", head=5)
    stage.says(10.0, b"-")
    stage.publisher.sent = False
    for texts in (("a",), ("b", "c"), ("d",)):
        (effect,) = said(log, *texts)
        stage.gathering.add(effect)
    (frame,) = stage.looks(math.inf)
    (batch,) = Decoder(FROM_BROKER).decode(frame)
    assert (batch.log, batch.epoch, batch.prev, batch.first) == ("echo", b"epoch--1", 5, 6)
    assert [*batch.events.texts] == ["a", "b", "c", "d"]


def test_what_a_turn_said_in_many_frames_stays_in_its_place(stage):
    log = Log("echo", b"epoch--1")
    long = "x" * MAX_TEXT
    stage.says(10.0, b"-")
    stage.publisher.sent = False
    effects = [
        *said(log, "a"),
        *said(log, *[long] * (MOST_PUBLISHED // MAX_TEXT + 1)),
        *said(log, "b"),
        *said(log, "c"),
    ]
    assert len(effects) > 4
    for effect in effects:
        stage.gathering.add(effect)
    frames = stage.looks(10.0)
    batches = [batch for frame in frames for batch in Decoder(FROM_BROKER).decode(frame)]
    assert [batch.prev for batch in batches[1:]] == [*map(last_position, batches[:-1])]
    texts = [text for batch in batches for text in batch.events.texts]
    assert texts == ["a", *[long] * (MOST_PUBLISHED // MAX_TEXT + 1), "b", "c"]
    assert [*batches[-1].events.texts] == ["b", "c"]


def test_what_finds_no_room_is_skipped_and_counted(stage):
    stage.publisher.room = 1
    half = b"x" * (MOST_PUBLISHED // 2 + 1)
    assert stage.says(10.0, half, half) == [half]
    assert (stage.counts.published, stage.counts.skipped) == (1, 1)
    assert stage.slow.noted == [(ECHO, len(half))]
    stage.publisher.room = 2
    assert stage.says(11.0, b"a") == [b"a"]


def test_at_the_end_nothing_waits(stage):
    stage.says(10.0, b"a")
    stage.publisher.sent = False
    assert stage.says(10.0, b"b") == []
    assert stage.looks(math.inf) == [b"b"]
