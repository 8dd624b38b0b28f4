"""What the kernel tells of a connection."""

from __future__ import annotations

import sys
import time

import pytest
from scenes import PATIENCE

from chatbroker.broker.kernel import received_by, unread

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
