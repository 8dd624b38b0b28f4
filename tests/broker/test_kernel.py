"""What the kernel tells of a connection."""

from __future__ import annotations

import socket
import sys
import time

import pytest
from scenes import PATIENCE, PIECE

from chatbroker.broker.kernel import confirmed_by, has_ended, received_by, unread

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and TCP_INFO")


def test_the_kernel_tells_what_a_connection_received_and_what_of_it_is_unread(scene):
    ours, theirs = scene.connects()
    theirs.send(b"x" * 100)
    until = time.monotonic() + PATIENCE
    while unread(ours.fileno()) < 100:
        assert time.monotonic() < until
    assert received_by(ours.fileno()) == 100
    ours.recv(60)
    assert unread(ours.fileno()) == 40
    assert received_by(ours.fileno()) == 100


def test_it_tells_what_the_peer_has_confirmed_and_whether_more_waits(scene):
    ours, theirs = scene.connects()
    until = time.monotonic() + PATIENCE
    ours.send(b"x" * 100)
    while confirmed_by(ours.fileno()) != (100, False):
        assert time.monotonic() < until
    ours.setblocking(False)
    sent = 100
    while True:
        try:
            sent += ours.send(PIECE)
        except BlockingIOError:
            break
    confirmed, waits = confirmed_by(ours.fileno())
    assert 100 < confirmed < sent
    assert waits
    while confirmed_by(ours.fileno()) != (sent, False):
        assert time.monotonic() < until
        try:
            theirs.recv(2**20)
        except BlockingIOError:
            time.sleep(0.001)


def test_of_what_is_no_connection_it_tells_nothing():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert confirmed_by(ours.fileno()) is None
        assert received_by(ours.fileno()) is None
    assert unread(ours.fileno()) == 0


def test_whether_it_would_tell_can_be_asked_without_a_connection():
    assert received_by(None) == 0


def test_it_tells_that_a_connection_has_ended_though_nobody_has_read_what_came(scene):
    for end in range(2):
        ours, theirs = scene.connects()
        theirs.send(b"x")
        assert not has_ended(ours.fileno())
        if end:
            ours.shutdown(socket.SHUT_RDWR)
        else:
            theirs.close()
        until = time.monotonic() + PATIENCE
        while not has_ended(ours.fileno()):
            assert time.monotonic() < until
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not has_ended(ours.fileno())
