"""Whose the connections are, and how one is cut off."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import pytest

from chatbroker.broker.connections import (
    LOOK_AGAIN,
    LOOK_EVERY,
    LOOKED_AT,
    SHARE,
    Connection,
    Connections,
)
from chatbroker.broker.origin import Origin

HERE = Origin("127.0.0.1")


@pytest.fixture
def pairs():
    made = []

    def pair():
        made.extend(ends := socket.socketpair())
        return ends

    yield pair
    for end in made:
        end.close()


def test_one_that_is_cut_ends_for_the_peer_and_its_descriptor_stays_open(pairs):
    ours, theirs = pairs()
    connection = Connection(ours.fileno(), HERE, "")
    assert connection.stands
    connection.cut()
    assert theirs.recv(1) == b""
    assert os.fstat(ours.fileno()).st_ino == connection.inode  # Its owner closes it.


@pytest.mark.parametrize("reset", [False, True])
def test_what_the_kernel_has_of_one_that_is_cut_is_lost_if_it_is_reset(reset):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        with theirs:
            ours.setblocking(False)
            sent = got = 0
            with suppress(BlockingIOError):
                while True:
                    sent += ours.send(b"x" * 2**16)
            Connection(ours.fileno(), HERE, "").cut(reset)
            ours.close()
            theirs.settimeout(10)
            with suppress(ConnectionResetError):
                while piece := theirs.recv(2**20):
                    got += len(piece)
            assert (got < sent) is reset


def test_one_whose_descriptor_is_anothers_by_now_is_not_cut(pairs):
    ours, _ = pairs()
    connection = Connection(ours.fileno(), HERE, "")
    other, others_peer = pairs()
    os.dup2(other.fileno(), ours.fileno())
    assert not connection.stands
    connection.cut()
    others_peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        others_peer.recv(1)


@pytest.mark.parametrize(
    "sizes", [(), (0,), (255,), (256,), (40, 50), (255, 256), (200, 55), (256, 0, 65536, 1)]
)
def test_what_was_taken_is_counted_as_it_came(pairs, sizes):
    """With the head that ZMTP puts before each: two bytes, or nine before a long one."""
    connection = Connection(pairs()[0].fileno(), HERE, "")
    connection.took([b"?"])
    connection.took([bytes(size) for size in sizes])
    assert connection.frames == 1 + len(sizes)
    assert connection.taken == 3 + sum(size + (2 if size < 256 else 9) for size in sizes)
    one_by_one = Connection(pairs()[0].fileno(), HERE, "")
    for size in (1, *sizes):
        one_by_one.took_one(bytes(size))
    assert (one_by_one.frames, one_by_one.taken) == (connection.frames, connection.taken)


def test_one_that_had_gone_before_it_was_met_stands_no_more():
    ours, theirs = socket.socketpair()
    fd = ours.fileno()
    ours.close()
    theirs.close()
    connection = Connection(fd, HERE, "")
    assert not connection.stands
    connection.cut()


def tidied(connections, now):
    """The callers that ended, which have no more to say."""
    ended = connections.tidy(now)
    for identity in ended:
        del connections.callers[identity]
    return ended


def test_those_that_are_gone_are_forgotten_each_in_its_turn(pairs):
    connections = Connections()
    kept, _ = pairs()
    gone, _ = pairs()
    for number in range(2 * LOOKED_AT):
        fd = (gone if number % 2 else kept).fileno()
        connections.callers[b"%d" % number] = Connection(fd, HERE, "")
    gone.close()
    now = 0.0
    told = tidied(connections, now)
    assert tidied(connections, now) == []  # Too soon.
    assert len(connections.callers) == 2 * LOOKED_AT - LOOKED_AT // 2
    for _ in range(4):
        now += LOOK_EVERY
        told += tidied(connections, now)
    assert len(connections.callers) == LOOKED_AT
    assert told == [b"%d" % number for number in range(1, 2 * LOOKED_AT, 2)]


def test_while_some_are_gone_it_looks_sooner(pairs):
    connections = Connections()
    kept, _ = pairs()
    gone, _ = pairs()
    for number in range(3 * LOOKED_AT):
        end = gone if LOOKED_AT <= number < 2 * LOOKED_AT else kept
        connections.callers[b"%d" % number] = Connection(end.fileno(), HERE, "")
    gone.close()
    found = [len(tidied(connections, now)) for now in (0.0, LOOK_AGAIN, LOOK_EVERY)]
    assert found == [0, 0, LOOKED_AT]
    later, _ = pairs()
    for number in range(LOOKED_AT):
        connections.callers[b"later %d" % number] = Connection(later.fileno(), HERE, "")
    later.close()
    times = [number * LOOK_EVERY + LOOK_AGAIN for number in (1, 2, 3)]
    assert [len(tidied(connections, now)) for now in times] == [0, 0, LOOKED_AT]


def test_one_that_ended_is_told_once_and_known_as_long_as_it_may_have_more_to_say(pairs):
    connections = Connections()
    gone, _ = pairs()
    connections.callers[b"gone"] = connection = Connection(gone.fileno(), HERE, "")
    gone.close()
    told = [connections.tidy(number * LOOK_EVERY) for number in range(3)]
    assert told == [[b"gone"], [], []]
    assert connections.callers == {b"gone": connection}


def test_one_that_had_gone_when_it_was_met_has_ended(pairs):
    """Its first frame was read when its descriptor was closed already."""
    connections = Connections()
    gone, _ = pairs()
    number = gone.fileno()
    gone.close()
    connections.meet(b"gone", Connection(number, HERE, ""))
    assert [connections.tidy(number * LOOK_EVERY) for number in range(2)] == [[b"gone"], []]


def test_two_that_are_taken_for_one_connection_have_ended_both(pairs):
    """The descriptor of the one was the other's when its frame was read."""
    connections = Connections()
    gone, _ = pairs()
    for identity in (b"former", b"latter"):
        connections.meet(identity, Connection(gone.fileno(), HERE, ""))
    assert connections.tidy(0.0) == []
    gone.close()
    assert connections.tidy(LOOK_EVERY) == [b"former", b"latter"]
    assert connections.tidy(2 * LOOK_EVERY) == []


def test_that_one_ended_is_kept_no_longer_than_it_is_known(pairs):
    connections = Connections()
    gone, _ = pairs()
    connections.meet(b"gone", Connection(gone.fileno(), HERE, ""))
    gone.close()
    assert connections.tidy(0.0) == [b"gone"]
    del connections.callers[b"gone"]
    connections.tidy(LOOK_EVERY)
    assert not connections._ended


def test_of_one_of_which_zeromq_tells_nothing_it_is_not_known_whether_it_ended():
    """Whoever speaks ZMTP 2 is answered each time."""
    connections = Connections()
    connections.callers[b"old"] = Connection(-1, HERE, "")
    assert connections.tidy(0.0) == []
    assert connections.callers == {}


def test_of_many_more_are_looked_at(pairs):
    connections = Connections()
    gone, _ = pairs()
    many = 2 * LOOKED_AT * SHARE
    for number in range(many):
        connections.callers[b"%d" % number] = Connection(gone.fileno(), HERE, "")
    gone.close()
    assert len(connections.tidy(0.0)) == 2 * LOOKED_AT


def test_all_of_a_key_are_found(pairs):
    connections = Connections()
    one, other = pairs()
    mine = Connection(one.fileno(), Origin("127.0.0.1", "alice", b"a"), "a")
    also_mine = Connection(other.fileno(), Origin("127.0.0.1", "alice", b"a"), "a")
    connections.callers[b"1"] = mine
    connections.callers[b"2"] = Connection(one.fileno(), HERE, "")
    connections.subscribers[7] = also_mine
    assert connections.callers_of([b"a", b"b"]) == {b"1": mine}
    assert connections.subscribers_of([b"a", b"b"]) == {7: also_mine}
    assert not connections.callers_of([b"b"])


def test_two_keys_that_seem_to_have_one_socket_are_counted_together(pairs):
    """As the kernel counts what was received."""
    ours, _ = pairs()
    connections = Connections()
    former = connections.meet(b"a", Connection(ours.fileno(), HERE, "a"))
    latter = connections.meet(b"b", Connection(ours.fileno(), HERE, "b"))
    former.took_one(b"x")
    latter.took_one(b"yy")
    assert (former.frames, former.taken) == (latter.frames, latter.taken) == (2, 7)
    other, _ = pairs()
    os.dup2(other.fileno(), ours.fileno())
    assert connections.meet(b"c", Connection(ours.fileno(), HERE, "b")).frames == 0


def test_one_whose_descriptor_is_of_another_port_by_now_had_gone(pairs):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        theirs = socket.create_connection(("127.0.0.1", port))
        ours, _ = listener.accept()
        with theirs, ours:
            met = Connection(ours.fileno(), HERE, "")
            met.belongs_to(port)
            assert met.stands
            met.belongs_to(port + 1)
            assert not met.stands
