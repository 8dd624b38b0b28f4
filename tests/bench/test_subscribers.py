"""The load's subscribers: each message counts once, whether heard with the others or apart."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from bench import zmtp
from bench.counting import sizes_of
from bench.prepared import TEXT
from bench.sessions import Unexpected
from bench.subscribers import Stream, Subscriber
from chatbroker.wire.batch import encode_batch, event_head, pack_runs
from chatbroker.wire.messages import ECHO_LOG, topic_of

SIZES = sizes_of("sender0", "")
START = 300


def said(prev, events, text=TEXT):
    """What a subscriber hears of so many events after *prev*."""
    head = event_head(1_800_000_000_000, "sender0", "")
    body = b"".join([packed for packed, _ in pack_runs(head, [text] * events)])
    batch = encode_batch(ECHO_LOG, b"e" * 8, prev, prev + 1, events, body)
    return zmtp.frame(topic_of(ECHO_LOG), zmtp.MORE) + zmtp.frame(batch)


class Hall:
    """Subscribers that hear what is put into their sockets, and what they want to be fetched."""

    def __init__(self, stack, count):
        self.wanted = []
        observer = SimpleNamespace(start=START, sizes=SIZES, want=self.wanted.append)
        self.speakers = []
        self.subscribers = []
        for _ in range(count):
            ours, theirs = [stack.enter_context(end) for end in socket.socketpair()]
            ours.setblocking(False)
            self.speakers.append(theirs)
            self.subscribers.append(Subscriber(zmtp.Inbox(ours), observer))
        stream = Stream(START, SIZES)
        for subscriber in self.subscribers:
            subscriber.join(stream)

    def hear(self, which, stream, step=0):
        """Has one of them hear *stream*, so many bytes at a time."""
        for at in range(0, len(stream), step or len(stream)):
            self.speakers[which].sendall(stream[at : at + (step or len(stream))])
            self.subscribers[which].read()

    @property
    def counted(self):
        return [subscriber.counted for subscriber in self.subscribers]


@pytest.fixture
def hall():
    with ExitStack() as stack:
        yield Hall(stack, 3)


@pytest.mark.parametrize("steps", [(0, 0, 0), (777, 13, 0), (1, 0, 4096)])
def test_all_hear_the_same_however_it_is_cut(hall, steps):
    stream = said(START, 20) + said(START + 20, 1) + said(START + 21, 200)
    for which, step in enumerate(steps):
        hall.hear(which, stream, step)
        assert hall.counted == [221] * (which + 1) + [0] * (2 - which)
    assert hall.wanted == []


def test_a_message_counts_when_all_of_it_has_come(hall):
    one = said(START, 1)
    hall.hear(0, one[:-1])
    assert hall.counted == [0, 0, 0]
    hall.hear(1, one)
    hall.hear(0, one[-1:])
    assert hall.counted == [1, 1, 0]


def test_who_misses_something_counts_apart_and_has_it_fetched(hall):
    first, second, third = said(START, 5), said(START + 5, 7), said(START + 12, 2)
    hall.hear(0, first + second + third)
    hall.hear(1, first + third[:40])
    assert (hall.counted, hall.wanted) == ([14, 5, 0], [])
    hall.hear(1, third[40:])
    assert hall.counted == [14, 5, 0]
    assert [tally.cursor for tally in hall.wanted] == [START + 5]
    hall.hear(1, second + third)
    hall.hear(2, first + second, 9)
    assert hall.counted == [14, 14, 12]


def test_what_everybody_misses_is_fetched_for_everybody(hall):
    stream = said(START, 5) + said(START + 12, 2)
    for which in range(3):
        hall.hear(which, stream, 33)
    assert hall.counted == [5, 5, 5]
    assert len(hall.wanted) == 3


def test_silence_has_what_may_be_missing_fetched(hall):
    hall.hear(0, said(START, 5))
    hall.subscribers[0].miss()
    assert [tally.cursor for tally in hall.wanted] == [START + 5]
    hall.hear(0, said(START + 5, 1))
    assert hall.counted == [6, 0, 0]


def test_other_positions_are_not_taken_for_the_same(hall):
    hall.hear(0, said(START, 5))
    hall.hear(1, said(START + 5, 5))
    assert hall.counted == [5, 0, 0]
    assert len(hall.wanted) == 1


def test_messages_of_another_size_are_an_error(hall):
    hall.hear(0, said(START, 5))
    with pytest.raises(Unexpected, match="size"):
        hall.hear(1, said(START, 5, TEXT + "x"))


def test_the_end_of_the_stream_is_an_error(hall):
    hall.speakers[0].close()
    with pytest.raises(ConnectionError):
        hall.subscribers[0].read()
