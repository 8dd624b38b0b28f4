"""What lies in the process for a connection is seen, and who goes too far is cut off."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from math import inf

import pytest

from chatbroker.broker import memory
from chatbroker.broker import watch as watching
from chatbroker.broker.connections import Connection, Connections
from chatbroker.broker.handshakes import A_MOMENT, MOMENTS, MOST_AT_FIRST
from chatbroker.broker.kernel import received_by, unread
from chatbroker.broker.origin import Origin
from chatbroker.broker.watch import (
    CALM_EVERY,
    LIST_EVERY,
    LOOK_EVERY,
    MOST_SUBSCRIBED,
    MOST_UNFINISHED,
    MOST_WAITING,
    RATE,
    SHORT_EVERY,
    SILENT,
    SLICE,
    Watch,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and TCP_INFO")

QUIET = 60.0
PATIENCE = 10.0
PIECE = b"x" * 4096


class Scene:
    """Two listening ports, a watch over them, and a clock of the test's own."""

    def __init__(self, **chosen):
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        ports = [listener.getsockname()[1] for listener in self.listeners]
        self.connections = Connections()
        options = {"limit": 100_000, "quiet": QUIET} | chosen
        self.watch = Watch(self.connections, *ports, **options)
        self.now = 1000.0
        self.open = []

    def connects(self, sub=False):
        """Both ends of a connection: the broker's and the peer's."""
        listener = self.listeners[sub]
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        theirs.setblocking(False)
        self.open += [ours, theirs]
        return ours, theirs

    def says(self, ours, frames=1, taken=0):
        """Whole frames were taken out of it."""
        fd = ours.fileno()
        found = self.connections.at(fd, os.fstat(fd).st_ino)
        if found is None:
            name = b"%d" % fd
            found = self.connections.meet(name, Connection(fd, Origin("127.0.0.1"), ""))
        found.frames += frames
        found.taken += taken

    def sends(self, theirs, ours, size):
        """*size* bytes arrive and are read, as by libzmq, which tells nobody of them yet."""
        while size > 0:
            sent = theirs.send(PIECE[:size])
            size -= sent
            while sent:
                sent -= len(ours.recv(sent))

    def looks(self, times=1, drained=True, after=LIST_EVERY):
        for _ in range(times):
            self.now += after
            self.watch.look(self.now, drained)

    def close(self):
        self.watch.close()
        for sock in self.open + self.listeners:
            sock.close()


def is_cut(theirs):
    try:
        return theirs.recv(1) == b""
    except BlockingIOError:
        return False


@pytest.fixture(autouse=True)
def busy(monkeypatch):
    """ZeroMQ's thread is taken to be busy, so that the watch is not at ease."""
    monkeypatch.setattr(watching, "CALM_EVERY", LOOK_EVERY)


@pytest.fixture
def make():
    made = []

    def scene(**chosen):
        made.append(Scene(**chosen))
        return made[-1]

    yield scene
    for one in made:
        one.close()


@pytest.fixture
def scene(make):
    scene = make()
    scene.looks(2)
    return scene


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


def test_a_message_that_never_ends_is_cut_off(scene):
    ours, theirs = scene.connects()
    scene.says(ours)
    scene.looks(2)
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.looks()
    assert not is_cut(theirs)  # It may be whole, and taken out by the next look.
    scene.looks()
    assert is_cut(theirs)


def test_it_is_cut_off_too_if_nothing_whole_was_ever_said(scene):
    ours, theirs = scene.connects()
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.looks(3)
    assert is_cut(theirs)


def test_one_that_says_much_is_not(scene):
    ours, theirs = scene.connects()
    for _ in range(10):
        scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
        scene.looks()
        scene.says(ours, taken=MOST_UNFINISHED + 4096)
        scene.looks()
    assert not is_cut(theirs)


def test_what_lies_in_the_kernel_is_not_held_against_it(scene):
    ours, theirs = scene.connects()
    scene.says(ours)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    sent = 0
    while sent <= MOST_UNFINISHED + 4096:
        try:
            sent += theirs.send(PIECE)
        except BlockingIOError:
            break
    until = time.monotonic() + PATIENCE
    while unread(ours.fileno()) < min(sent, MOST_UNFINISHED):
        assert time.monotonic() < until
    scene.looks(4)
    assert not is_cut(theirs)


def test_while_the_broker_is_behind_more_may_wait(scene):
    ours, theirs = scene.connects()
    scene.says(ours)
    scene.looks(2)
    scene.sends(theirs, ours, MOST_UNFINISHED * 3)
    scene.looks(5, drained=False)
    assert not is_cut(theirs)
    scene.sends(theirs, ours, MOST_WAITING)
    scene.looks(2, drained=False)
    assert is_cut(theirs)


def test_heartbeats_are_not_held_against_it(scene):
    ours, theirs = scene.connects()
    for _ in range(40):
        scene.sends(theirs, ours, RATE // 2 * 500)
        scene.says(ours)
        scene.looks(after=500)
    assert not is_cut(theirs)


def test_age_is_no_credit(scene):
    ours, theirs = scene.connects()
    for _ in range(100):
        scene.says(ours)
        scene.looks(after=QUIET - 1)
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.looks(2)
    assert is_cut(theirs)


def test_a_subscriber_that_says_more_than_topics_is_cut_off(scene):
    ours, theirs = scene.connects(sub=True)
    scene.looks(2)
    scene.sends(theirs, ours, MOST_SUBSCRIBED // 2)
    scene.looks(2)
    assert not is_cut(theirs)
    scene.sends(theirs, ours, MOST_SUBSCRIBED)
    scene.looks(2)
    assert is_cut(theirs)


@pytest.mark.parametrize("sub", [False, True])
def test_one_that_says_nothing_is_cut_off(scene, sub):
    _, theirs = scene.connects(sub)
    scene.looks(2)
    scene.looks(2, after=SILENT / 3)
    assert not is_cut(theirs)
    scene.looks(2, after=SILENT / 3)
    assert is_cut(theirs)


def test_one_that_fell_silent_is_cut_off_later(scene):
    ours, theirs = scene.connects()
    scene.says(ours)
    scene.looks(2)
    scene.looks(4, after=QUIET / 5)
    assert not is_cut(theirs)
    scene.looks(3, after=QUIET / 5)
    assert is_cut(theirs)


def test_a_subscriber_may_fall_silent(scene):
    ours, theirs = scene.connects(sub=True)
    fd = ours.fileno()
    scene.connections.subscribers[fd] = Connection(fd, Origin("127.0.0.1"), "")
    scene.looks(20, after=QUIET)
    assert not is_cut(theirs)


def test_a_newcomer_that_sends_more_than_a_hello_is_cut_off_at_the_first_look(scene):
    """Also when nobody is heard: others may send on then."""
    ours, theirs = scene.connects()
    known, known_theirs = scene.connects()
    scene.says(known)
    scene.looks(2, drained=False)
    for end, its in ((theirs, ours), (known_theirs, known)):
        scene.sends(end, its, MOST_UNFINISHED + 4096)
    scene.looks(2, drained=False)
    assert is_cut(theirs)
    assert not is_cut(known_theirs)


def test_of_whom_much_lies_there_is_looked_at_again_the_next_time(scene):
    suspect, theirs = scene.connects()
    scene.says(suspect)
    for _ in range(4 * SLICE):
        scene.says(scene.connects()[0])
    scene.looks(10)
    scene.sends(theirs, suspect, MOST_UNFINISHED + 4096)
    for _ in range(40):
        scene.looks(after=LOOK_EVERY)
        if scene.watch._suspects:
            break
    assert not is_cut(theirs)
    scene.looks(after=LOOK_EVERY)
    assert is_cut(theirs)


def test_silence_is_judged_by_when_all_was_heard_last_however_long_a_turn_takes(scene):
    _, silent = scene.connects()
    scene.looks(2, drained=False)
    scene.watch.drained = scene.now + SILENT
    scene.looks(after=SILENT + 2, drained=False)
    assert not is_cut(silent)
    scene.watch.drained = scene.now
    scene.looks(after=1.0, drained=False)
    assert is_cut(silent)


def test_the_silence_of_subscribers_means_nothing_while_they_are_not_heard(scene):
    _, theirs = scene.connects(sub=True)
    scene.looks(2)
    heard = scene.now
    for _ in range(4):
        scene.now += SILENT
        scene.watch.look(scene.now, True, heard)
    assert not is_cut(theirs)
    scene.looks(2)
    assert is_cut(theirs)


def test_silence_means_nothing_while_nobody_is_heard(scene):
    _, theirs = scene.connects()
    scene.looks(2)
    scene.looks(3, drained=False, after=SILENT)
    assert not is_cut(theirs)


def test_other_descriptors_are_left_alone(scene):
    with socket.create_server(("127.0.0.1", 0)) as other:
        theirs = socket.create_connection(other.getsockname())
        ours, _ = other.accept()
        scene.open += [theirs, ours]
        theirs.setblocking(False)
        scene.sends(theirs, ours, MOST_UNFINISHED * 2)
        scene.looks(10, after=SILENT)
        assert not is_cut(theirs)


def test_a_descriptor_that_is_used_again_begins_anew(scene):
    ours, _ = scene.connects()
    scene.looks(2, after=SILENT / 3)
    later, newcomer = scene.connects()
    os.dup2(later.fileno(), ours.fileno())
    later.close()
    scene.looks(2, after=SILENT / 3)
    assert not is_cut(newcomer)


def test_when_descriptors_run_short_the_silent_make_room(make):
    used = len(os.listdir("/proc/self/fd"))
    scene = make(limit=used + 100)
    speaker = scene.connects()
    scene.says(speaker[0])
    silent = [scene.connects()[1] for _ in range(48)]
    scene.looks(6)
    scene.looks(2, after=watching.SETTLED)
    cut = [is_cut(theirs) for theirs in silent]
    assert any(cut)
    assert cut == sorted(cut, reverse=True)  # The oldest.
    assert not is_cut(speaker[1])


def test_when_descriptors_run_short_who_spoke_and_has_no_session_makes_room(make):
    """After those that said nothing; the newest first, and nobody who just came."""
    expected = []
    used = len(os.listdir("/proc/self/fd")) + 2 + 2 * 60
    scene = make(limit=int(used / 0.85), expected=lambda name: int(name) in expected)
    scene.looks()
    ends = []
    for _ in range(6):
        ends += [scene.connects() for _ in range(10)]
        scene.looks()
    for ours, _ in ends[:50]:
        scene.says(ours)
    expected += [ours.fileno() for ours, _ in ends[:20]]
    scene.looks(4, after=SHORT_EVERY)
    cut = [is_cut(theirs) for _, theirs in ends]
    assert cut[:20] == [False] * 20
    # All that said nothing went, and of the others as many as it takes.
    assert cut[50:] == [True] * 10
    assert cut[20:50] == sorted(cut[20:50])
    used -= sum(cut)
    assert used == int(0.6 * scene.watch._limit)


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
    while unread(ours.fileno()) < 4 * len(PIECE):
        time.sleep(0.001)
    scene.says(ours, taken=100)
    fd = ours.fileno()
    scene.watch.meet(scene.connections.at(fd, os.fstat(fd).st_ino), 100, scene.now)
    scene.looks(2 * MOMENTS, after=A_MOMENT)
    assert not is_cut(theirs)


def crowded(make, share, heard=inf):
    """A scene where *share* of the descriptors is in use, and silent subscribers of it, who were
    there for longer than is given to them then.  *heard*: when subscribers were, by then."""
    subscribers = 40
    used = len(os.listdir("/proc/self/fd")) + 2 + 2 * subscribers  # Two that listen, both ends.
    scene = make(limit=int(used / share))
    silent = [scene.connects(sub=True)[1] for _ in range(subscribers)]
    scene.watch.look(scene.now, True, heard)  # It knows the descriptors,
    scene.watch.look(scene.now + LOOK_EVERY, True, heard)  # and here all of them.
    scene.now += watching.SETTLED_SHORT + 2 * LOOK_EVERY
    return scene, silent


def test_while_descriptors_are_short_and_all_have_said_something_there_is_nobody_to_look_for(
    make, monkeypatch
):
    """To look at 18,000 takes a tenth of a second."""
    used = [200]
    scene = make(limit=250, in_use=lambda: used[0])
    monkeypatch.setattr(scene.watch._memory, "grew", lambda now: False)
    ours, _ = scene.connects()
    looks = []
    at_all = scene.watch._look_at_all
    monkeypatch.setattr(scene.watch, "_look_at_all", lambda now: (looks.append(now), at_all(now)))

    def looked():
        looks.clear()
        for _ in range(10):
            scene.now += watching.SHORT_EVERY / 5
            scene.watch.look(scene.now, False, scene.now - 100.0)
        return len(looks)

    assert looked() == 2  # It has said nothing, and may yet.
    scene.says(ours)
    assert looked() == 1
    assert looked() == 0
    used[0] = 198
    assert looked() == 0
    used[0] = 199
    assert looked() == 1
    newcomer, _ = scene.connects()
    used[0] = 200
    assert looked() == 2
    scene.says(newcomer)
    looked()
    assert looked() == 0


def test_when_descriptors_run_short_who_was_not_heard_yet_stays(make):
    """libzmq may have taken a subscription that its thread has not handed on: it is busy."""
    scene, silent = crowded(make, 0.85)
    heard = scene.now - watching.SETTLED_SHORT - LOOK_EVERY
    for _ in range(20):
        scene.now += watching.SHORT_EVERY
        scene.watch.look(scene.now, True, heard)
    assert not any(is_cut(theirs) for theirs in silent)
    scene.looks(2, after=watching.SHORT_EVERY)
    assert any(is_cut(theirs) for theirs in silent)


def test_when_they_are_all_but_used_up_nobody_waits_for_what_was_not_heard(make):
    never = 0.0
    scene, silent = crowded(make, 0.97, heard=never)
    for _ in range(2):
        scene.now += LOOK_EVERY
        scene.watch.look(scene.now, True, never)
    assert any(is_cut(theirs) for theirs in silent)


def test_that_descriptors_are_used_up_does_not_blind_it(make, monkeypatch):
    scene = make(limit=1000)
    silent = [scene.connects()[1] for _ in range(5)]

    def full(path):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(watching.os, "listdir", full)
    scene.looks(10)
    assert all(is_cut(theirs) for theirs in silent)


def test_so_many_may_be_silent(make, monkeypatch):
    monkeypatch.setattr(watching, "MOST_SILENT", 3)
    scene = make()
    silent = [scene.connects()[1] for _ in range(8)]
    scene.looks(3)
    assert not any(is_cut(theirs) for theirs in silent)
    scene.looks(2, after=watching.SETTLED)
    assert [is_cut(theirs) for theirs in silent] == [True] * 5 + [False] * 3


def test_growth_of_the_process_makes_it_look_at_all(scene, monkeypatch):
    monkeypatch.setattr(watching, "SLICE", 1)
    ours, theirs = scene.connects()
    scene.says(ours)
    held = [memory.JUMP]
    monkeypatch.setattr(memory, "held_by", lambda statm: held[0])
    scene.looks(300)  # It is known.
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    for _ in range(3):
        held[0] += memory.JUMP + 1
        scene.looks(after=10 * LOOK_EVERY)
    assert is_cut(theirs)


def test_growth_by_what_was_stored_does_not(make, monkeypatch):
    monkeypatch.setattr(watching, "SLICE", 1)
    stored = [0]
    monkeypatch.setattr(memory, "held_by", lambda statm: stored[0])
    scene = make(stored=lambda: stored[0])
    ours, theirs = scene.connects()
    scene.says(ours)
    for _ in range(20):
        scene.says(scene.connects()[0])
    scene.looks(300)
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    for _ in range(3):
        stored[0] += 2 * memory.JUMP
        scene.looks(after=LOOK_EVERY)
        assert scene.watch.pause == LOOK_EVERY
    assert not is_cut(theirs)
    scene.looks(300)
    assert is_cut(theirs)


def test_when_somebody_was_cut_off_it_looks_at_all_for_a_while(make, monkeypatch):
    monkeypatch.setattr(watching, "SLICE", 1)
    monkeypatch.setattr(memory, "held_by", lambda statm: 0)  # What was left is used again.
    scene = make()
    pairs = [scene.connects() for _ in range(20)]
    for ours, _ in pairs:
        scene.says(ours)
    scene.looks(300)
    scene.watch.cut(Connection(pairs[0][0].fileno(), Origin("10.0.0.1"), ""), "loud")
    ours, theirs = pairs[7]
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.looks(after=LOOK_EVERY)
    scene.looks(after=LOOK_EVERY)
    assert is_cut(theirs)
    # After that it goes on in its slices.
    ours, theirs = pairs[9]
    scene.looks(after=2 * watching.ALERT)
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.looks(after=LOOK_EVERY)
    scene.looks(after=LOOK_EVERY)
    assert not is_cut(theirs)
    scene.looks(300)
    assert is_cut(theirs)


def alert(make, monkeypatch, quick):
    """A scene where all are known, in which somebody was just cut off; newcomers are looked at
    before the others, of whom nobody is in time if not *quick*."""
    monkeypatch.setattr(watching, "SLICE", 1)
    monkeypatch.setattr(memory, "held_by", lambda statm: 0)
    scene = make()
    pairs = [scene.connects() for _ in range(20)]
    for ours, _ in pairs:
        scene.says(ours)
    scene.looks(300)
    scene.watch.cut(Connection(pairs[0][0].fileno(), Origin("10.0.0.1"), ""), "loud")
    if not quick:
        scene.watch._all_at = scene.now + 1.0
    return scene, pairs


def test_newcomers_are_looked_at_before_all_when_somebody_was_cut_off(make, monkeypatch):
    scene, pairs = alert(make, monkeypatch, quick=False)
    known, known_theirs = pairs[7]
    scene.sends(known_theirs, known, MOST_UNFINISHED + 4096)
    ours, theirs = scene.connects()
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.looks(after=LOOK_EVERY)
    assert is_cut(theirs)
    assert not is_cut(known_theirs)


def test_who_comes_again_by_the_descriptor_of_one_cut_off_is_a_newcomer(make, monkeypatch):
    scene, _ = alert(make, monkeypatch, quick=False)
    ours, theirs = scene.connects()
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.looks(after=LOOK_EVERY)
    assert is_cut(theirs)
    later, again = scene.connects()
    os.dup2(later.fileno(), ours.fileno())
    later.close()
    scene.sends(again, ours, MOST_UNFINISHED + 4096)
    scene.looks(after=LOOK_EVERY)
    assert is_cut(again)


def test_a_look_at_all_looks_closely_at_whom_something_came_from(make, monkeypatch):
    scene, pairs = alert(make, monkeypatch, quick=True)
    closely = []
    look = scene.watch._look_at_one
    monkeypatch.setattr(
        scene.watch, "_look_at_one", lambda fd, now: (closely.append(fd), look(fd, now))[1]
    )
    ours, theirs = pairs[7]
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.watch._look_at_all(scene.now)
    assert {one.fileno() for one, _ in pairs} & set(closely) == {ours.fileno()}


def test_a_look_at_all_sees_another_with_the_descriptor_of_one_that_went(make, monkeypatch):
    scene, pairs = alert(make, monkeypatch, quick=True)
    ours, theirs = pairs[7]
    scene.sends(theirs, ours, 3 * MOST_UNFINISHED)
    scene.says(ours, taken=3 * MOST_UNFINISHED)
    scene.looks(300)
    later, newcomer = scene.connects()
    os.dup2(later.fileno(), ours.fileno())
    later.close()
    scene.sends(newcomer, ours, 2 * MOST_UNFINISHED)  # Less than the former had sent.
    scene.watch._look_at_all(scene.now + 1.0)
    assert is_cut(newcomer)


def test_it_looks_more_rarely_while_nothing_can_grow(scene, monkeypatch):
    """ZeroMQ's thread has to work for what it collects."""
    monkeypatch.setattr(watching, "CALM_EVERY", CALM_EVERY)
    seconds = [0.0]
    monkeypatch.setattr(memory.time, "process_time", lambda: seconds[0])
    monkeypatch.setattr(memory.time, "thread_time", lambda: 0.0)
    scene.looks(after=1.0)
    assert scene.watch.pause == CALM_EVERY
    seconds[0] += 2 * memory.CALM * CALM_EVERY
    scene.looks(after=CALM_EVERY)
    assert scene.watch.pause == LOOK_EVERY
    scene.looks(after=LOOK_EVERY)
    assert scene.watch.pause == CALM_EVERY


def test_it_looks_more_often_while_somebody_goes_too_far(make, monkeypatch):
    scene, _ = alert(make, monkeypatch, quick=True)
    assert scene.watch.pause == LOOK_EVERY
    scene.looks()
    assert scene.watch.pause < LOOK_EVERY
    scene.looks(after=2 * watching.ALERT)
    assert scene.watch.pause == LOOK_EVERY


def test_it_looks_at_all_again_and_again_while_somebody_goes_too_far(make, monkeypatch):
    """Also if nobody was silent at the first of these looks."""
    scene, pairs = alert(make, monkeypatch, quick=True)
    scene.looks(after=LOOK_EVERY)
    ours, theirs = pairs[7]
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.looks(2, after=5 * LOOK_EVERY)
    assert is_cut(theirs)


def test_one_that_says_much_is_not_cut_off_while_another_goes_too_far(make, monkeypatch):
    scene, pairs = alert(make, monkeypatch, quick=True)
    ours, theirs = pairs[7]
    for _ in range(20):
        scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
        scene.looks(after=watching.SOON)
        scene.says(ours, taken=MOST_UNFINISHED + 4096)
        scene.looks(after=watching.SOON)
    assert not is_cut(theirs)


def test_a_flood_is_told_in_few_lines(make, monkeypatch, caplog):
    monkeypatch.setattr(watching, "SLICE", 1000)
    scene = make()
    silent = [scene.connects()[1] for _ in range(50)]
    scene.looks(3)
    with caplog.at_level(logging.INFO, "chatbroker"):
        scene.looks(10, after=SILENT)
    assert all(is_cut(theirs) for theirs in silent)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == 'cut_off address=127.0.0.1 connections=50 because="nothing was said"'


def test_whoever_is_not_named_is_counted(make, monkeypatch):
    monkeypatch.setattr(watching, "MOST_TOLD", 2)
    told = []
    scene = make(note=lambda what, **fields: told.append(tuple(fields.values())))
    for number, reason in enumerate(("loud", "loud", "loud", "quiet", "loud")):
        ours, _ = scene.connects()
        origin = Origin(f"10.0.0.{number}")
        for _ in range(2 if number == 0 else 1):
            scene.watch.cut(Connection(ours.fileno(), origin, ""), reason)
    scene.looks()
    assert told[0] == ("10.0.0.0", 2, "loud")
    assert told[1] == ("10.0.0.1", 1, "loud")
    assert sorted(told[2:]) == [("others", 1, "quiet"), ("others", 2, "loud")]


def test_where_the_system_tells_nothing_it_is_off_and_says_so(make, monkeypatch, caplog):
    monkeypatch.setattr(memory, "_open_statm", lambda: -1)
    with caplog.at_level(logging.WARNING, "chatbroker"):
        scene = make()
    assert [record.getMessage()[:9] for record in caplog.records] == ["watch off"]
    _, theirs = scene.connects()
    scene.looks(10, after=SILENT)
    assert not is_cut(theirs)
