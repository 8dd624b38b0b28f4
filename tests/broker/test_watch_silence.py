"""Who says nothing is cut off, and makes room when descriptors run short."""

from __future__ import annotations

import os
import sys
from math import inf

import pytest
from scenes import QUIET, is_cut

from chatbroker.broker import watch as watching
from chatbroker.broker.connections import Connection
from chatbroker.broker.origin import Origin
from chatbroker.broker.watch import LOOK_EVERY, SHORT_EVERY, SILENT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and TCP_INFO")


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


def test_when_descriptors_run_short_the_silent_make_room(make_scene):
    used = len(os.listdir("/proc/self/fd"))
    scene = make_scene(limit=used + 100)
    speaker = scene.connects()
    scene.says(speaker[0])
    silent = [scene.connects()[1] for _ in range(48)]
    scene.looks(6)
    scene.looks(2, after=watching.SETTLED)
    cut = [is_cut(theirs) for theirs in silent]
    assert any(cut)
    assert cut == sorted(cut, reverse=True)  # The oldest.
    assert not is_cut(speaker[1])


def test_when_descriptors_run_short_who_spoke_and_has_no_session_makes_room(
    make_scene, monkeypatch
):
    """After those that said nothing; the newest first, and no more than it takes."""
    expected = []
    used = 2 + 60  # With two that listen.
    scene = make_scene(expected=lambda name: int(name) in expected)
    ends = []

    def listed(path):
        """A broker's; what else the process has open may be closing yet."""
        ours = [ours for ours, theirs in ends if not is_cut(theirs)]
        return [str(sock.fileno()) for sock in scene.listeners + ours]

    monkeypatch.setattr(watching.os, "listdir", listed)
    scene.looks()
    for _ in range(6):
        ends += [scene.connects() for _ in range(10)]
        scene.looks(3)  # It knows them.
    scene.watch._limit = int(used / 0.85)
    for ours, _ in ends[:50]:
        scene.says(ours)
    expected += [ours.fileno() for ours, _ in ends[:20]]
    scene.looks(4, after=SHORT_EVERY)
    cut = [is_cut(theirs) for _, theirs in ends]
    assert cut[:20] == [False] * 20
    # All that said nothing went, and of the others as many as it takes.
    assert cut[50:] == [True] * 10
    of_those_who_came_together = [sum(cut[at : at + 10]) for at in range(20, 50, 10)]
    assert of_those_who_came_together == [0, 0, 9]
    assert used - sum(cut) == int(0.6 * scene.watch._limit)


def crowded(make_scene, share, heard=inf):
    """A scene where *share* of the descriptors is in use, and silent subscribers of it, who were
    there for longer than is given to them then.  *heard*: when subscribers were, by then."""
    subscribers = 40
    used = len(os.listdir("/proc/self/fd")) + 2 + 2 * subscribers  # Two that listen, both ends.
    scene = make_scene(limit=int(used / share))
    silent = [scene.connects(sub=True)[1] for _ in range(subscribers)]
    scene.watch.look(scene.now, True, heard)  # It knows the descriptors,
    scene.watch.look(scene.now + LOOK_EVERY, True, heard)  # and here all of them.
    scene.now += watching.SETTLED_SHORT + 2 * LOOK_EVERY
    return scene, silent


def test_while_descriptors_are_short_and_all_have_said_something_there_is_nobody_to_look_for(
    make_scene, monkeypatch
):
    """To look at 18,000 takes a tenth of a second."""
    used = [200]
    scene = make_scene(limit=250, in_use=lambda: used[0])
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


def test_when_descriptors_run_short_who_was_not_heard_yet_stays(make_scene):
    """libzmq may have taken a subscription that its thread has not handed on: it is busy."""
    scene, silent = crowded(make_scene, 0.85)
    heard = scene.now - watching.SETTLED_SHORT - LOOK_EVERY
    for _ in range(20):
        scene.now += watching.SHORT_EVERY
        scene.watch.look(scene.now, True, heard)
    assert not any(is_cut(theirs) for theirs in silent)
    scene.looks(2, after=watching.SHORT_EVERY)
    assert any(is_cut(theirs) for theirs in silent)


def test_when_they_are_all_but_used_up_nobody_waits_for_what_was_not_heard(make_scene):
    never = 0.0
    scene, silent = crowded(make_scene, 0.97, heard=never)
    for _ in range(2):
        scene.now += LOOK_EVERY
        scene.watch.look(scene.now, True, never)
    assert any(is_cut(theirs) for theirs in silent)


def test_that_descriptors_are_used_up_does_not_blind_it(make_scene, monkeypatch):
    scene = make_scene(limit=1000)
    silent = [scene.connects()[1] for _ in range(5)]

    def full(path):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(watching.os, "listdir", full)
    scene.looks(10)
    assert all(is_cut(theirs) for theirs in silent)


def test_so_many_may_be_silent(make_scene, monkeypatch):
    monkeypatch.setattr(watching, "MOST_SILENT", 3)
    scene = make_scene()
    silent = [scene.connects()[1] for _ in range(8)]
    scene.looks(3)
    assert not any(is_cut(theirs) for theirs in silent)
    scene.looks(2, after=watching.SETTLED)
    assert [is_cut(theirs) for theirs in silent] == [True] * 5 + [False] * 3
