"""What one connection said and is not handed on yet."""

from __future__ import annotations

from chatbroker.broker.connections import Connection
from chatbroker.broker.origin import Origin
from chatbroker.broker.said import Said


def test_each_frame_counts_as_said_once_whatever_is_handed_on_meanwhile() -> None:
    said = Said([b"1", b"22"])
    said.caller, said.apart, said.counted = Connection(-1, Origin(), ""), False, 0
    said.tell_caller()
    assert (said.caller.frames, said.caller.taken) == (2, 3 + 4)
    said.append(b"333")
    said.drop(2)
    assert said == [b"333"]
    said.tell_caller()
    said.tell_caller()
    assert (said.caller.frames, said.caller.taken) == (3, 3 + 4 + 5)
