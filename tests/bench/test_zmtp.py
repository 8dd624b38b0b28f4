"""The load's own ZMTP client, against libzmq and in the small."""

from __future__ import annotations

import socket
from itertools import pairwise

import pytest

from bench import on_broker, on_forwarder, zmtp
from bench.counting import Span, Tally, sizes_of, span
from bench.prepared import TEXT, Numbered, for_broker
from bench.processes import running_broker, running_forwarder
from chatbroker.wire.batch import encode_batch, event_head, pack_runs


@pytest.fixture
def wire():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        yield zmtp.Inbox(ours), theirs


def bodies(inbox):
    return [bytes(inbox.buffer[start:stop]) for _, start, stop in inbox.frames()]


def test_frames_survive_being_cut_anywhere(wire):
    inbox, peer = wire
    sent = [b"", b"short", b"x" * 255, b"y" * 256, b"z" * 65536]
    stream = b"".join(map(zmtp.frame, sent))
    got = []
    for at in range(0, len(stream), 777):
        peer.sendall(stream[at : at + 777])
        inbox.fill()
        got += bodies(inbox)
    assert got == sent


def test_commands_are_left_out(wire):
    inbox, peer = wire
    peer.sendall(zmtp.frame(b"\x04PING\0\0", zmtp.COMMAND) + zmtp.frame(b"text"))
    inbox.fill()
    assert bodies(inbox) == [b"text"]


def test_a_peer_that_speaks_something_else_is_refused(wire):
    inbox, peer = wire
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n".ljust(64))
    with pytest.raises(zmtp.HandshakeError):
        zmtp.shake_hands(inbox, b"DEALER")


@pytest.mark.parametrize("runs", [(20,), (1,), (1, 1, 1), (7, 1, 1, 11), (200, 2)])
def test_a_batch_is_counted_by_its_header(runs):
    sizes = sizes_of("sender0", "reader0")
    head = event_head(1_800_000_000_000, "sender0", "reader0")
    body = b"".join([packed for run in runs for packed, _ in pack_runs(head, [TEXT] * run)])
    packed = encode_batch("direct", b"e" * 8, 300, 301, sum(runs), body)
    assert span(bytearray(packed + packed), 0, sizes) == Span(300, 301, sum(runs), len(packed))


def test_an_event_counts_once_and_a_hole_is_seen():
    tally = Tally(10)
    assert tally.add(Span(10, 11, 5, 0))
    assert tally.add(Span(12, 13, 5, 0))
    assert tally.add(Span(10, 11, 2, 0))
    assert tally.counted == 7
    assert not tally.add(Span(18, 19, 1, 0))
    assert tally.counted == 7


def test_frames_are_prepared_back_to_back():
    prepared = for_broker("reader0", 3, 10)
    assert prepared.messages == 30
    assert prepared.ends[-1] == len(prepared.stream)


@pytest.mark.parametrize("a_frame", [1, 10])
def test_numbered_frames_are_those_that_are_encoded(a_frame):
    each = Numbered("reader0", a_frame)
    many = 70_000 // a_frame  # Numbers of one byte, of two, three and five.
    cuts = [0, 1, 13, many]
    made = b"".join([each.frames(a * a_frame, b - a) for a, b in pairwise(cuts)])
    assert made == for_broker("reader0", many, a_frame).stream


def test_the_forwarder_delivers_everything():
    with running_forwarder() as forwarder:
        assert on_forwarder.direct_run(forwarder, 1000).deliveries == 8 * 1000
        assert on_forwarder.broadcast_run(forwarder, 1000, 3).deliveries == 8 * 1000 * 3
        assert len(on_forwarder.latency_run(forwarder, 10).delivered) == 10


def test_the_broker_delivers_everything():
    with running_broker() as broker:
        assert on_broker.direct_run(broker, 2000, 100).deliveries == 8 * 2000
        assert on_broker.broadcast_run(broker, 2000, 1, 3).deliveries == 8 * 2000 * 3
        assert len(on_broker.latency_run(broker, 10).acknowledged) == 10
