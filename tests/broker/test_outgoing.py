from __future__ import annotations

import pytest

from chatbroker.broker.counts import Counts
from chatbroker.broker.effects import Deliver, Note, Publish
from chatbroker.broker.outgoing import MOST_PUBLISHED, MOST_REPLIES, Outgoing
from chatbroker.wire.codec import FROM_BROKER, Decoder
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import FRAME_TARGET
from chatbroker.wire.messages import Ack, Error, Farewell, Pong, Presence

ALICE, BOB = b"\0alice", b"\0bob"


@pytest.fixture
def out() -> Outgoing:
    return Outgoing(Counts())


def messages(frame: bytes) -> list:
    return Decoder(FROM_BROKER).decode(frame)


def test_nothing_said_is_nothing_to_do(out):
    assert out.take() == []


def test_all_that_one_connection_is_told_in_a_turn_is_one_frame(out):
    out.reply(ALICE, Pong(1, ()))
    out.reply(BOB, Pong(2, ()))
    out.reply(ALICE, Pong(3, ()))
    to_alice, to_bob = out.take()
    assert (to_alice.identity, to_bob.identity) == (ALICE, BOB)
    assert messages(to_alice.frame) == [Pong(1, ()), Pong(3, ())]
    assert messages(to_bob.frame) == [Pong(2, ())]


def test_what_is_taken_is_taken_once(out):
    out.reply(ALICE, Pong(1, ()))
    out.publish(b"presence\0", Presence(True, "alice", 0))
    out.note("joined", user="alice")
    assert len(out.take()) == 3
    assert out.take() == []


def test_packed_messages_travel_as_they_are(out):
    out.put(ALICE, b"one")
    out.put(ALICE, b"two")
    out.put_topic(b"echo\0", b"three")
    assert out.take() == [Publish(b"echo\0", b"three"), Deliver(ALICE, b"onetwo")]


def test_a_frame_is_filled_up_to_the_target_and_no_further(out):
    pieces = [bytes([65 + index]) * (FRAME_TARGET // 4) for index in range(9)]
    for piece in pieces:
        out.put(ALICE, piece)
    frames = [effect.frame for effect in out.take()]
    assert [len(frame) for frame in frames] == [FRAME_TARGET, FRAME_TARGET, FRAME_TARGET // 4]
    assert b"".join(frames) == b"".join(pieces)


def test_what_is_for_everyone_is_in_fewer_frames(out):
    pieces = [bytes([65 + index]) * 4096 for index in range(40)]
    for piece in pieces:
        out.put_topic(b"echo\0", piece)
    frames = [effect.frame for effect in out.take() if type(effect) is Publish]
    assert [len(frame) for frame in frames[:-1]] == [MOST_PUBLISHED] * (len(frames) - 1)
    assert b"".join(frames) == b"".join(pieces)


def test_one_connection_is_told_so_much_in_a_turn_and_no_more(out):
    told = 0
    while not out.full(ALICE):
        out.put(ALICE, b"x" * 1000)
        told += 1000
    out.put(ALICE, b"never heard")
    out.put(BOB, b"heard")
    assert not out.full(BOB)
    frames = [effect.frame for effect in out.take() if effect.identity == ALICE]
    assert sum(map(len, frames)) == told
    assert MOST_REPLIES <= told < MOST_REPLIES + 1000


def test_the_next_turn_begins_with_room(out):
    out.put(ALICE, b"x" * MOST_REPLIES)
    assert out.full(ALICE)
    out.take()
    assert not out.full(ALICE)
    out.put(ALICE, b"heard")
    assert out.take() == [Deliver(ALICE, b"heard")]


def test_a_push_takes_no_room_of_replies(out):
    for _ in range(100):
        out.push(ALICE, b"p" * FRAME_TARGET)
    assert not out.full(ALICE)
    out.put(ALICE, b"heard")
    assert b"".join(effect.frame for effect in out.take()).endswith(b"pheard")


def test_a_full_connection_is_still_pushed_to(out):
    out.put(ALICE, b"x" * MOST_REPLIES)
    out.push(ALICE, b"pushed")
    assert b"".join(effect.frame for effect in out.take()).endswith(b"xpushed")


def test_what_nobody_could_ask_for_again_is_said_to_who_was_told_enough(out):
    out.put(ALICE, b"x" * MOST_REPLIES)
    out.assure(ALICE, Ack(0, 1, ()))
    out.assure(ALICE, Farewell("kicked", "words"))
    assert out.replies > MOST_REPLIES
    last = list(out.take())[-1].frame.lstrip(b"x")
    assert messages(last) == [Ack(0, 1, ()), Farewell("kicked", "words")]


def test_what_is_said_to_all_who_asked_is_counted_until_it_is_taken(out):
    assert out.replies == 0
    out.put(ALICE, b"x" * 1000)
    out.put(BOB, b"x" * 500)
    out.push(ALICE, b"asked for by nobody")
    out.put_topic(b"echo\0", b"asked for by nobody")
    assert out.replies == 1500
    out.take()
    assert out.replies == 0


def test_what_one_is_not_told_does_not_count(out):
    out.put(ALICE, b"x" * MOST_REPLIES)
    out.put(ALICE, b"never heard")
    assert out.replies == MOST_REPLIES


def test_each_topic_has_frames_of_its_own(out):
    out.put_topic(b"echo\0", b"1")
    out.put_topic(b"presence\0", b"2")
    out.put_topic(b"echo\0", b"3")
    assert out.take() == [Publish(b"echo\0", b"13"), Publish(b"presence\0", b"2")]


def test_a_rejection_carries_its_code_words_and_reference(out):
    out.reject(ALICE, Code.OUT_OF_ORDER, "command 3 is expected next", 3)
    out.reject(ALICE, Code.BAD_FRAME, "an empty frame")
    (delivery,) = out.take()
    assert messages(delivery.frame) == [
        Error("out_of_order", "command 3 is expected next", 3),
        Error("bad_frame", "an empty frame", 0),
    ]


def test_a_note_is_a_word_and_fields(out):
    out.note("joined", user="alice")
    out.warn("cannot_tidy", because="of the disk")
    assert out.take() == [
        Note("joined", {"user": "alice"}),
        Note("cannot_tidy", {"because": "of the disk"}, grave=True),
    ]


def test_everyone_hears_before_anyone_is_answered(out):
    out.reply(ALICE, Pong(1, ()))
    out.note("left", user="bob")
    out.publish(b"presence\0", Presence(False, "bob", 0))
    assert [type(effect) for effect in out.take()] == [Publish, Deliver, Note]
