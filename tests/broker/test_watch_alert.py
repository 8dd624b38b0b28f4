"""When memory grows or somebody was cut off, the watch looks at all, and more often."""

from __future__ import annotations

import os
import sys

import pytest
from scenes import is_cut

from chatbroker.broker import memory
from chatbroker.broker import watch as watching
from chatbroker.broker.connections import Connection
from chatbroker.broker.origin import Origin
from chatbroker.broker.watch import CALM_EVERY, LOOK_EVERY, MOST_UNFINISHED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and TCP_INFO")


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


def test_growth_by_what_was_stored_does_not(make_scene, monkeypatch):
    monkeypatch.setattr(watching, "SLICE", 1)
    stored = [0]
    monkeypatch.setattr(memory, "held_by", lambda statm: stored[0])
    scene = make_scene(stored=lambda: stored[0])
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


def test_when_somebody_was_cut_off_it_looks_at_all_for_a_while(make_scene, monkeypatch):
    monkeypatch.setattr(watching, "SLICE", 1)
    monkeypatch.setattr(memory, "held_by", lambda statm: 0)  # What was left is used again.
    scene = make_scene()
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


def alert(make_scene, monkeypatch, quick):
    """A scene where all are known, in which somebody was just cut off; newcomers are looked at
    before the others, of whom nobody is in time if not *quick*."""
    monkeypatch.setattr(watching, "SLICE", 1)
    monkeypatch.setattr(memory, "held_by", lambda statm: 0)
    scene = make_scene()
    pairs = [scene.connects() for _ in range(20)]
    for ours, _ in pairs:
        scene.says(ours)
    scene.looks(300)
    scene.watch.cut(Connection(pairs[0][0].fileno(), Origin("10.0.0.1"), ""), "loud")
    if not quick:
        scene.watch._all_at = scene.now + 1.0
    return scene, pairs


def test_newcomers_are_looked_at_before_all_when_somebody_was_cut_off(make_scene, monkeypatch):
    scene, pairs = alert(make_scene, monkeypatch, quick=False)
    known, known_theirs = pairs[7]
    scene.sends(known_theirs, known, MOST_UNFINISHED + 4096)
    ours, theirs = scene.connects()
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.looks(after=LOOK_EVERY)
    assert is_cut(theirs)
    assert not is_cut(known_theirs)


def test_who_comes_again_by_the_descriptor_of_one_cut_off_is_a_newcomer(make_scene, monkeypatch):
    scene, _ = alert(make_scene, monkeypatch, quick=False)
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


def test_a_look_at_all_looks_closely_at_whom_something_came_from(make_scene, monkeypatch):
    scene, pairs = alert(make_scene, monkeypatch, quick=True)
    closely = []
    look = scene.watch._look_at_one
    monkeypatch.setattr(
        scene.watch, "_look_at_one", lambda fd, now: (closely.append(fd), look(fd, now))[1]
    )
    ours, theirs = pairs[7]
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.watch._look_at_all(scene.now)
    others = {one.fileno() for one, _ in pairs[1:]}  # The first was cut off.
    assert others & set(closely) == {ours.fileno()}


def test_a_look_at_all_sees_another_with_the_descriptor_of_one_that_went(make_scene, monkeypatch):
    scene, pairs = alert(make_scene, monkeypatch, quick=True)
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


def test_it_looks_more_often_while_somebody_goes_too_far(make_scene, monkeypatch):
    scene, _ = alert(make_scene, monkeypatch, quick=True)
    assert scene.watch.pause == LOOK_EVERY
    scene.looks()
    assert scene.watch.pause < LOOK_EVERY
    scene.looks(after=2 * watching.ALERT)
    assert scene.watch.pause == LOOK_EVERY


def test_it_looks_at_all_again_and_again_while_somebody_goes_too_far(make_scene, monkeypatch):
    """Also if nobody was silent at the first of these looks."""
    scene, pairs = alert(make_scene, monkeypatch, quick=True)
    scene.looks(after=LOOK_EVERY)
    ours, theirs = pairs[7]
    scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
    scene.looks(2, after=5 * LOOK_EVERY)
    assert is_cut(theirs)


def test_one_that_says_much_is_not_cut_off_while_another_goes_too_far(make_scene, monkeypatch):
    scene, pairs = alert(make_scene, monkeypatch, quick=True)
    ours, theirs = pairs[7]
    for _ in range(20):
        scene.sends(theirs, ours, MOST_UNFINISHED + 4096)
        scene.looks(after=watching.SOON)
        scene.says(ours, taken=MOST_UNFINISHED + 4096)
        scene.looks(after=watching.SOON)
    assert not is_cut(theirs)
