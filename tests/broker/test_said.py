"""What connections said and is not handed on yet."""

from __future__ import annotations

from chatbroker.broker.connections import Connection
from chatbroker.broker.origin import Origin
from chatbroker.broker.portion import A_FRAME
from chatbroker.broker.said import Said, Waiting


def said(*frames: bytes) -> Said:
    one = Said(Connection(-1, Origin(), ""))
    one += frames
    return one


def test_each_frame_counts_as_said_once_whatever_is_handed_on_meanwhile() -> None:
    one = said(b"1", b"22")
    one.tell_caller()
    assert (one.caller.frames, one.caller.taken) == (2, 3 + 4)
    one.append(b"333")
    one.drop(2)
    assert one == [b"333"]
    one.tell_caller()
    one.tell_caller()
    assert (one.caller.frames, one.caller.taken) == (3, 3 + 4 + 5)


def test_frames_become_commands_if_they_are_nothing_else() -> None:
    one = said(b"1", b"22")
    one.tell_caller()
    assert not one.decode(lambda frames: [])
    assert (one, one.commands, one.bytes, one.apart) == ([b"1", b"22"], [], 0, False)
    assert one.decode(lambda frames: ["a", "b", "c", "d"])
    assert (one, one.commands, one.bytes) == ([], ["a", "b", "c", "d"], 3)
    one.append(b"333")
    one.tell_caller()
    assert (one.caller.frames, one.caller.taken) == (3, 3 + 4 + 5)


def test_what_waits_is_counted_by_frames_or_by_bytes_whichever_is_more() -> None:
    waiting = Waiting()
    assert waiting.size == 0
    waiting[b"a"] = said(b"1", b"2")
    assert waiting.size == 2 * A_FRAME
    waiting[b"b"] = said(bytes(10 * A_FRAME), b"")
    assert waiting.size == 12 * A_FRAME
    assert waiting[b"b"].decode(lambda frames: list(range(10)))
    del waiting[b"b"].commands[:5]
    assert waiting.size == 7 * A_FRAME
    # Also what came in frames that are tiny, and is decoded by now.
    assert waiting[b"a"].decode(lambda frames: ["a", "b", "c", "d"])
    assert waiting.size == 7 * A_FRAME


def test_whoever_was_heard_in_the_last_turn_comes_after_the_others() -> None:
    waiting = Waiting()
    for name in (b"a", b"b", b"c"):
        waiting[name] = said(b"x")
    assert waiting.by_turns() == [b"a", b"b", b"c"]
    waiting.later(b"a", waiting.pop(b"a"))
    waiting[b"d"] = said(b"new")
    assert waiting.by_turns() == [b"b", b"c", b"d", b"a"]
    # It was not reached, so it is not put off again.
    waiting[b"e"] = said(b"new")
    assert waiting.by_turns() == [b"b", b"c", b"a", b"d", b"e"]


def test_of_those_who_came_together_whoever_is_new_waits_behind_the_others_once() -> None:
    waiting = Waiting()
    for name in (b"new", b"known", b"newer", b"other"):
        waiting[name] = said(b"x")
    known = {b"known", b"other"}.__contains__
    waiting.newcomers_last(0, known)
    assert waiting.by_turns() == [b"known", b"other", b"new", b"newer"]
    for name in (b"newest", b"last"):
        waiting[name] = said(b"x")
    waiting.newcomers_last(4, {b"last"}.__contains__)
    assert waiting.by_turns() == [b"known", b"other", b"new", b"newer", b"last", b"newest"]
