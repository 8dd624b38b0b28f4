"""Who said too much is cut off, and nobody for what another said."""

from __future__ import annotations

import os
import select
import sys
import threading
from contextlib import suppress

import pytest
from scenes import is_cut

from bench import zmtp
from chatbroker.broker.charges import LEAST, LEAST_SECURE, WITHIN
from chatbroker.broker.handshakes import MOST_AT_FIRST
from chatbroker.broker.watch import LOOK_EVERY, SECURE_OVERHEAD
from chatbroker.wire.limits import CURVE_OVERHEAD

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and TCP_INFO")

WHY = "more was subscribed to than there is"
OVER = WITHIN + LOOK_EVERY


def sent(scene, size):
    """A connection that sent so many bytes."""
    ours, theirs = scene.connects()
    scene.sends(theirs, ours, size)
    return ours, theirs


def charge(scene, ours, taken, frames=1):
    """So much was heard of it, and that is too much."""
    scene.says(ours, frames, taken)
    fd = ours.fileno()
    one = scene.connections.at(fd, os.fstat(fd).st_ino)
    one.subscriptions = 17
    scene.watch.charge(one, WHY, scene.now)
    return one


def test_who_said_too_much_is_cut_off_a_moment_later(scene):
    ours, theirs = sent(scene, LEAST + 51)
    charge(scene, ours, 51)
    scene.looks(after=WITHIN / 2)
    assert not is_cut(theirs)
    scene.looks(after=WITHIN)
    assert is_cut(theirs)


def test_who_has_not_sent_what_it_is_charged_with_is_not(scene):
    ours, theirs = sent(scene, LEAST + 50)
    one = charge(scene, ours, 51)
    scene.looks(after=OVER)
    assert not is_cut(theirs)
    assert one.subscriptions == 0


def test_what_was_anothers_does_not_excuse_what_it_says_itself(scene):
    ours, theirs = sent(scene, LEAST + 50)
    charge(scene, ours, 5000)
    scene.looks(after=OVER)
    scene.sends(theirs, ours, 51)
    charge(scene, ours, 51)
    scene.looks(2, after=OVER)
    assert is_cut(theirs)


def test_a_charge_of_which_the_own_words_are_heard_later_is_dropped(scene):
    ours, theirs = sent(scene, LEAST + 100)
    charge(scene, ours, 51)
    scene.looks(after=LOOK_EVERY)
    scene.says(ours, taken=100)
    scene.looks(2, after=OVER)
    assert not is_cut(theirs)


def test_what_is_not_read_yet_does_not_count(scene):
    ours, theirs = sent(scene, LEAST)
    theirs.send(b"x" * 51)
    select.select([ours], [], [], 10)
    charge(scene, ours, 51)
    scene.looks(2, after=OVER)
    assert not is_cut(theirs)


def test_who_has_much_behind_is_cut_off_at_once(scene):
    """A message of a million parts is not to be followed by another."""
    ours, theirs = sent(scene, LEAST + 51 + MOST_AT_FIRST + 1)
    charge(scene, ours, 51)
    assert is_cut(theirs)


def test_where_the_system_does_not_tell_it_is_cut_off_at_once(scene):
    scene.watch.close()
    ours, theirs = sent(scene, 10)
    charge(scene, ours, 51)
    assert is_cut(theirs)


def test_who_came_after_the_one_that_was_charged_is_not_cut_off(scene):
    ours, _ = sent(scene, LEAST + 51)
    charge(scene, ours, 51)
    later, newcomer = sent(scene, LEAST + 51)
    os.dup2(later.fileno(), ours.fileno())
    later.close()
    scene.looks(2, after=OVER)
    assert not is_cut(newcomer)


@pytest.mark.parametrize("missing", [0, 1])
def test_at_a_secure_broker_frames_and_handshake_are_longer(make_scene, missing):
    scene = make_scene(overhead=SECURE_OVERHEAD)
    scene.looks(2)
    ours, theirs = sent(scene, LEAST_SECURE + 17 * (3 + CURVE_OVERHEAD) - missing)
    charge(scene, ours, 17 * 3, frames=17)
    scene.looks(2, after=OVER)
    assert is_cut(theirs) is not bool(missing)


SUBSCRIPTIONS = b"".join(zmtp.subscribe(b"%d" % number) for number in range(17))
PARTS = 39 * zmtp.frame(b"x", zmtp.MORE) + zmtp.frame(b"x")


@pytest.mark.parametrize("kind", [b"SUB", b"DEALER"])
def test_who_leaves_at_once_has_nobody_else_cut_off(running, kind):
    server = running()
    said = SUBSCRIPTIONS if kind == b"SUB" else PARTS
    ports = {b"SUB": server.pub_address, b"DEALER": server.address}
    over = threading.Event()

    def leave():
        while not over.is_set():
            with suppress(OSError), zmtp.connect(ports[kind], kind).sock as sock:
                sock.sendall(said)

    leavers = [threading.Thread(target=leave) for _ in range(3)]
    for one in leavers:
        one.start()
    honest = 20 * [(b"SUB", zmtp.subscribe(b"echo\0")), (b"DEALER", zmtp.frame(b""))]
    stay, hung_up = [], select.poll()
    try:
        for other, words in honest:
            stay.append(zmtp.connect(ports[other], other).sock)
            stay[-1].sendall(words)
            hung_up.register(stay[-1], select.POLLRDHUP)
        assert not hung_up.poll(4000 * WITHIN)
    finally:
        over.set()
        for one in leavers:
            one.join()
        for sock in stay:
            sock.close()


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_who_was_excused_is_not_cut_off_for_it_by_the_watch(scene, size):
    """What was seen of it meanwhile went by what another had said."""
    ours, theirs = sent(scene, LEAST + 50)
    scene.says(ours, 20, size)
    scene.looks(3)
    charge(scene, ours, 0, frames=0)
    for _ in range(8):
        scene.looks(after=OVER)
    assert not is_cut(theirs)


def test_who_is_cut_off_is_counted_once(scene):
    ours, theirs = sent(scene, LEAST + MOST_AT_FIRST + 100)
    one = charge(scene, ours, 51)
    assert is_cut(theirs)
    for _ in range(5):
        scene.watch.charge(one, WHY, scene.now)
    assert sum(scene.watch._cuts.values()) == 1
