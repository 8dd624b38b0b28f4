"""Who says much in the handshake is cut off."""

from __future__ import annotations

import os
import sys
import time

import pytest
from scenes import PATIENCE, PIECE, is_cut

from chatbroker.broker.handshakes import A_MOMENT, MOMENTS, MOST_AT_FIRST
from chatbroker.broker.kernel import unread

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and TCP_INFO")


def met(scene, before=0):
    """A DEALER that said its first message, of 100 bytes, and so much before that."""
    ours, theirs = scene.connects()
    scene.sends(theirs, ours, before + 100)
    scene.says(ours, taken=100)
    fd = ours.fileno()
    one = scene.connections.at(fd, os.fstat(fd).st_ino)
    scene.watch.meet(one, 100, scene.now)
    return ours, theirs


@pytest.mark.parametrize(("size", "goes"), [(MOST_AT_FIRST, False), (MOST_AT_FIRST + 1, True)])
def test_one_whose_handshake_was_long_is_cut_off(scene, size, goes):
    ours, theirs = met(scene, size)
    for _ in range(MOMENTS):
        scene.looks(after=A_MOMENT * 1.1)
        assert not is_cut(theirs)
        scene.sends(theirs, ours, 200)  # Heartbeats.
    scene.looks(after=A_MOMENT * 1.1)
    assert is_cut(theirs) is goes


def test_who_says_more_behind_a_first_message_is_looked_at_again(scene):
    """Until what came of a message was taken out."""
    ours, theirs = met(scene, MOST_AT_FIRST + 1)
    scene.looks(MOMENTS, after=A_MOMENT * 1.1)
    scene.says(ours, taken=MOST_AT_FIRST)
    scene.looks(after=A_MOMENT * 1.1)
    scene.sends(theirs, ours, 50_000)
    scene.looks(1 + MOMENTS, after=A_MOMENT * 1.1)
    assert not is_cut(theirs)


def test_what_came_of_a_later_message_is_no_handshake_however_long_it_stays(scene):
    ours, theirs = met(scene)
    scene.sends(theirs, ours, 50_000)
    scene.looks(3 * MOMENTS, after=A_MOMENT * 1.1)
    assert not is_cut(theirs)


def test_what_waits_while_nothing_is_taken_out_is_no_handshake(scene):
    ours, theirs = met(scene, MOST_AT_FIRST + 1)
    scene.looks(3 * MOMENTS, after=A_MOMENT, drained=False)
    scene.says(ours, taken=MOST_AT_FIRST)
    scene.looks(MOMENTS, after=A_MOMENT)
    assert not is_cut(theirs)


def test_what_is_not_read_yet_is_no_handshake(scene):
    ours, theirs = scene.connects()
    scene.sends(theirs, ours, 100)
    for _ in range(4):
        theirs.send(PIECE)
    until = time.monotonic() + PATIENCE
    while unread(ours.fileno()) < 4 * len(PIECE):
        assert time.monotonic() < until
        time.sleep(0.001)
    scene.says(ours, taken=100)
    fd = ours.fileno()
    scene.watch.meet(scene.connections.at(fd, os.fstat(fd).st_ino), 100, scene.now)
    scene.looks(2 * MOMENTS, after=A_MOMENT)
    assert not is_cut(theirs)
