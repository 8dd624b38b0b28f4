"""The record of a turn as it is stored: a turn, or ValueError.

What is in the file is the broker's own, but a disk may have damaged it, and who looks at it
(`chatbroker check`) must say so in words.
"""

from __future__ import annotations

from chatbroker.broker.tail import Tail, unpack_turn


def tail(data: bytes) -> None:
    try:
        turn = unpack_turn(data)
    except ValueError:
        return
    tail = Tail()
    tail.add(turn, len(data))
    tail.overlay({}, {})
