"""What lies in the process for a connection is seen, and who goes too far is cut off."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time

import pytest
from scenes import PATIENCE, PIECE, QUIET, is_cut

from chatbroker.broker import memory
from chatbroker.broker import watch as watching
from chatbroker.broker.connections import Connection
from chatbroker.broker.kernel import unread
from chatbroker.broker.origin import Origin
from chatbroker.broker.watch import (
    LOOK_EVERY,
    MOST_SUBSCRIBED,
    MOST_UNFINISHED,
    MOST_WAITING,
    RATE,
    SILENT,
    SLICE,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and TCP_INFO")


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


def test_what_arrives_while_the_watch_looks_is_not_held_against_it(scene, monkeypatch):
    """The kernel is asked two questions, and in between a client that pours may send on."""
    buffer = 1024 * 1024
    scene.listeners[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    ours, theirs = scene.connects()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    scene.says(ours)
    scene.looks(2)
    scene.sends(theirs, ours, 60_000)
    much = 240_000

    def arrives_first(fd):
        theirs.setblocking(True)
        theirs.sendall(bytes(much))
        theirs.setblocking(False)
        until = time.monotonic() + PATIENCE
        while unread(fd) < much:
            assert time.monotonic() < until
            time.sleep(0.001)
        return unread(fd)

    with monkeypatch.context() as patch:
        patch.setattr(watching, "unread", arrives_first)
        scene.looks()
    while unread(ours.fileno()):
        ours.recv(much)
    scene.says(ours, frames=5, taken=60_000 + much)
    scene.looks(3)
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


def test_a_flood_is_told_in_few_lines(make_scene, monkeypatch, caplog):
    monkeypatch.setattr(watching, "SLICE", 1000)
    scene = make_scene()
    silent = [scene.connects()[1] for _ in range(50)]
    scene.looks(3)
    with caplog.at_level(logging.INFO, "chatbroker"):
        scene.looks(10, after=SILENT)
    assert all(is_cut(theirs) for theirs in silent)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == 'cut_off address=127.0.0.1 connections=50 because="nothing was said"'


def test_whoever_is_not_named_is_counted(make_scene, monkeypatch):
    monkeypatch.setattr(watching, "MOST_TOLD", 2)
    told = []
    scene = make_scene(note=lambda what, **fields: told.append(tuple(fields.values())))
    for number, reason in enumerate(("loud", "loud", "loud", "quiet", "loud")):
        origin = Origin(f"10.0.0.{number}")
        for _ in range(2 if number == 0 else 1):
            ours, _ = scene.connects()
            scene.watch.cut(Connection(ours.fileno(), origin, ""), reason)
    scene.looks()
    assert told[0] == ("10.0.0.0", 2, "loud")
    assert told[1] == ("10.0.0.1", 1, "loud")
    assert sorted(told[2:]) == [("others", 1, "quiet"), ("others", 2, "loud")]


def test_where_the_system_tells_nothing_it_is_off_and_says_so(make_scene, monkeypatch, caplog):
    monkeypatch.setattr(memory, "_open_statm", lambda: -1)
    with caplog.at_level(logging.WARNING, "chatbroker"):
        scene = make_scene()
    assert [record.getMessage()[:9] for record in caplog.records] == ["watch off"]
    _, theirs = scene.connects()
    scene.looks(10, after=SILENT)
    assert not is_cut(theirs)
