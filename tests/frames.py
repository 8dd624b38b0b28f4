"""Messages as msgpack sees them, which the tests of the codec send and spoil."""

from __future__ import annotations

from chatbroker.wire import limits
from chatbroker.wire.messages import Kind

ID = b"0123456789abcdef"
EPOCH = b"epoch-01"
MOST = limits.MAX_INT
HELLO = (Kind.HELLO, limits.VERSION, "alice", ID, b"", 1, False, True, ID, ())
FOLLOW = ("echo", b"", 0, 0)
WELCOME = (
    *(Kind.WELCOME, limits.VERSION, "alice", EPOCH, 1, 1, 0, ID, 5556, 5000, 15000),
    (65536, 16384, 1024, 1048576, 100_000, 1_000_000, 1 << 25, 10 << 25),
    (),
)


def replaced(elements: tuple, index: int, value: object) -> tuple:
    return (*elements[:index], value, *elements[index + 1 :])
