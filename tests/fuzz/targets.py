"""What is fuzzed, and from where a fuzzer sets out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from chatbroker.broker.journal import Commit, SessionRecord, UserRecord
from chatbroker.broker.tail import pack_turn
from chatbroker.wire.batch import pack_events
from chatbroker.wire.limits import VERSION
from chatbroker.wire.messages import (
    Bye,
    Cursor,
    Echo,
    Event,
    Fetch,
    Follow,
    Hello,
    Info,
    Message,
    Ping,
    Send,
    Start,
)

from .client_target import client, words
from .core_target import core
from .script import NASTY, Script, encode
from .tail_target import tail
from .wire_target import wire

CORPUS = Path(__file__).parent / "corpus"
"""A folder for each target, with what a fuzzer found worth keeping."""

TARGETS: dict[str, Callable[[bytes], None]] = {
    "wire": wire,
    "core": core,
    "client": client,
    "words": words,
    "tail": tail,
}

_FOLLOWS = (Follow("echo", b"", Start.NOW, 0), Follow("direct", b"", Start.AFTER, 0))
_FROM_CLIENT: tuple[Message, ...] = (
    Hello(VERSION, "alice", b"s" * 16, b"c" * 16, 1, True, True, b"r" * 16, _FOLLOWS),
    Send(1, "bob", ("hi", "")),
    Echo(2**63 - 2, ("é",)),
    Info(1, "bob"),
    Fetch(1, "echo", b"epoch--1", 0, 65536),
    Ping(1, 2, 3, (Cursor("direct", b"epoch--1", 5),)),
    Bye(),
)


def _from_broker() -> Iterator[Message]:
    dice = Random(1)
    found: dict[type, Message] = {}
    while len(found) < 12:
        message = Script(dice.randbytes(60)).from_broker(1, 0)
        if len(encode(message)) < 1000:
            found.setdefault(type(message), message)
    yield from found.values()


def _wire() -> Iterator[bytes]:
    frames = [*map(encode, _FROM_CLIENT), *map(encode, _from_broker())]
    yield from frames
    yield b"".join(map(encode, _FROM_CLIENT))
    event = pack_events([Event(1, "alice", "bob", "hi")])
    yield event + pack_events([Event(1, "alice", "", "hi"), Event(1, "alice", "", "there")])
    for extra in (b"\xc1", b"\x81\x01\x02", b"\xd4\x01x", b"\x91" * 10, b"\xdd\xff\xff\xff\xff"):
        yield frames[0] + extra


def _tail() -> Iterator[bytes]:
    user = UserRecord("alice", b"p" * 32, b"epoch--1", "@alice", True, 1, 2, 3)
    session = SessionRecord(b"s" * 16, "alice", 1, 2, bytes(17), True, True, False)
    yield pack_turn(Commit(), [], [])
    commit = Commit([b"s"], ["bob"], ["@bob"], [user], [session])
    yield pack_turn(commit, [(1, 0, 1, 1, 1700, 9)], [(9, 1, b"packed")])


def _scripts(size: int) -> Iterator[bytes]:
    dice = Random(2)
    for count in (10, 40, size):
        yield from [dice.randbytes(count) for _ in range(4)]


def seeds(name: str) -> Iterator[bytes]:
    """What is known to be of use for target *name*: each kind of message, and scripts."""
    yield b""
    match name:
        case "wire":
            yield from _wire()
        case "words":
            yield from [text.encode() for text in NASTY]
            yield "\udc80".encode("utf-8", "surrogateescape")
        case "tail":
            yield from _tail()
        case _:
            yield from _scripts(400)


def kept(name: str) -> Iterator[tuple[str, bytes]]:
    """Everything that is to be replayed for target *name*: what it is called, and its bytes."""
    for number, data in enumerate(seeds(name)):
        yield f"seed {number}", data
    for path in sorted((CORPUS / name).glob("*")):
        yield str(path), path.read_bytes()
