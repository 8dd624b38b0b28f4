"""A message that comes alone, and is taken to be the only one."""

from __future__ import annotations

import errno

import pytest
import zmq
from intakes import A, B, Heard, reused_descriptor, secure_server, waiting

from chatbroker.broker import intake as intake_module
from chatbroker.wire.errors import Code


@pytest.fixture
def server():
    with secure_server() as server:
        yield server


@pytest.fixture
def reused():
    with reused_descriptor() as descriptor:
        yield descriptor


@pytest.fixture
def alone(server, monkeypatch, reused):
    """A message came alone, and it was looked whether there was another."""
    heard = Heard(server, monkeypatch, together=False)
    server._descriptors.used = 100

    def waits(*texts):
        waiting(server, monkeypatch, reused, *[("alice", A, text) for text in texts])

    waits(b"alone")
    assert server._intake.drain()
    assert server._intake._lone
    return heard, waits


def test_after_one_that_came_alone_the_next_is_taken_to_be_alone(server, alone):
    """The next poll tells whether it was; but that all were heard is not known."""
    heard, waits = alone
    waits(b"1", b"2", b"3")
    assert server._intake.drain(slept=True)
    assert [frame for _, frame in heard.alone] == [b"alone", b"1"]
    assert not server._intake.all_heard()
    assert server._intake.drain(slept=False)
    assert [frame for _, frame in heard.alone[1:]] == [b"1", b"2", b"3"]
    assert server._intake.all_heard()
    assert not server._intake._lone


def test_that_nothing_else_waits_is_looked_for_now_and_then(server, alone, monkeypatch):
    heard, waits = alone
    monkeypatch.setattr(intake_module, "SURE_FOR", -1.0)
    waits(b"1", b"2", b"3")
    assert server._intake.drain(slept=True)
    assert len(heard.alone) == 4
    assert server._intake.all_heard()


def test_of_what_did_not_come_alone_all_is_taken(server, alone):
    heard, waits = alone
    waits(b"1", b"2")
    assert server._intake.drain(slept=False)
    waits(b"3", b"4")
    assert server._intake.drain(slept=True)
    assert len(heard.alone) == 5


def test_a_message_of_several_parts_that_is_taken_to_be_alone_is_refused(
    server, alone, monkeypatch, reused
):
    heard, _ = alone
    waiting(server, monkeypatch, reused, ("alice", A, b"1", b"2", b"3"), ("alice", A, b"4"))
    assert server._intake.drain(slept=True)
    assert heard.alone[1:] == [(Code.BAD_FRAME, "a message is one part"), ("alice", b"4")]
    assert not server._intake._lone


def test_what_is_taken_to_be_alone_waits_behind_the_rest_of_a_message(
    server, alone, monkeypatch, reused
):
    """Such a message ended the turn before."""
    heard, _ = alone
    waiting(server, monkeypatch, reused, ("alice", A, b"1", b"2", b"3"), ("alice", A, b"4"))
    with monkeypatch.context() as hurry:
        hurry.setattr(intake_module, "DISCARD_SECONDS", -1.0)
        assert not server._intake.drain()
    server._intake._lone = A
    assert server._intake.drain(slept=True)
    assert heard.alone[1:] == [(Code.BAD_FRAME, "a message is one part"), ("alice", b"4")]


def test_nothing_is_taken_to_be_alone_while_something_waits(server, alone, monkeypatch, reused):
    heard, waits = alone
    heard.full = True
    waits(b"1")
    assert not server._intake.drain()
    server._intake._lone = A
    heard.full = False
    waits(b"2")
    assert server._intake.drain(slept=True)
    assert [frame for _, frame in heard.alone] == [b"alone", b"1", b"2"]


def test_two_who_answer_each_other_are_each_taken_to_be_alone(server, alone, monkeypatch, reused):
    heard, _ = alone
    for said in (("bob", B, b"1"), ("alice", A, b"2"), ("bob", B, b"3")):
        waiting(server, monkeypatch, reused, said)
        assert server._intake.drain(slept=True)
        assert not server._intake.dialogue
        assert not server._intake._drained
    assert heard.alone[1:] == [("bob", b"1"), ("alice", b"2"), ("bob", b"3")]
    assert not server._intake._router


def test_who_chose_the_routing_id_is_refused_also_if_alone(server, alone, monkeypatch, reused):
    heard, _ = alone
    waiting(server, monkeypatch, reused, ("bob", b"mine", b"1"))
    assert server._intake.drain(slept=True)
    assert heard.alone[1:] == [(Code.BAD_IDENTITY, "set no routing id of your own")]
    assert not server._intake._waiting


@pytest.mark.parametrize("peer", ["gone", "old"])
def test_nobody_hears_who_may_say_nothing_also_if_alone(server, alone, monkeypatch, reused, peer):
    """A connection that was cut off, and one of ZMTP 2, of which ZeroMQ tells nothing."""
    heard, _ = alone
    waiting(server, monkeypatch, reused, ("bob", B, b"1"))
    if peer == "gone":
        server._intake._gone[B] = None
    else:
        (_, part) = server._intake._router._frames

        def get(what):
            raise zmq.ZMQError(errno.EINVAL)

        part.get = get
    assert server._intake.drain(slept=True)
    assert heard.alone[1:] == ([] if peer == "gone" else [(Code.BAD_FRAME, "ZMTP 3 is needed")])
    assert not server._intake._waiting


def test_of_those_that_come_alone_too_all_were_heard_after_as_many_as_there_can_be(server, alone):
    _, waits = alone
    server._descriptors.used = 3
    assert server._intake.all_heard()
    said = []
    for number in range(5):
        waits(b"%d" % number)
        assert server._intake.drain(slept=True)
        said.append(server._intake.all_heard())
    assert said == [False, False, False, True, False]
    assert server._intake.dialogue


def test_what_is_taken_to_be_alone_counts(server, alone, monkeypatch, reused):
    _, waits = alone
    caller = server._intake._connections.callers[A]
    frames, taken = caller.frames, caller.taken
    waits(b"x" * 300)
    assert server._intake.drain(slept=True)
    assert (caller.frames, caller.taken) == (frames + 1, taken + 309)


def test_if_nothing_waits_none_came_alone(server, alone):
    _, waits = alone
    waits()
    assert server._intake.drain(slept=True)
    assert not server._intake._lone
    assert server._intake.all_heard()


def test_a_dialogue_is_of_one_who_says_one_thing_after_the_other(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch, together=False)
    intake = server._intake
    for said, dialogue in (
        ([("alice", A)], False),
        ([("alice", A)], True),
        ([("bob", B)], False),
        ([("alice", A)], False),
        ([("alice", A)], True),
        ([("alice", A)] * 2, False),
        ([("alice", A)], False),
        ([("alice", A)], True),
        ([], False),
        ([("alice", A)], False),
    ):
        waiting(server, monkeypatch, reused, *[(*who, b"x") for who in said])
        assert intake.drain()
        assert intake.dialogue == dialogue
    assert len(heard.alone) == 11 - 1
