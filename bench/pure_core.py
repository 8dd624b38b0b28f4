"""The broker's core without sockets: prepared frames in, effects out."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence

from chatbroker.broker.core import Broker
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.user import Settings
from chatbroker.wire.codec import FROM_CLIENT, Decoder, Encoder
from chatbroker.wire.messages import DIRECT_LOG, Ping

from .load import READERS, SENDERS
from .prepared import commands
from .sessions import hello

TURN = {1: 2048, 100: 80}
"""Frames in a turn, by messages a frame: what the running broker drains under the loads of
this package.  With one message a frame its limit, with 100 all that the senders may have
under way."""


def decode(messages: int, a_frame: int) -> float:
    """CPU seconds for the frames of *messages* commands to one user."""
    frames = commands(READERS[0], messages // a_frame, a_frame)
    take = Decoder(FROM_CLIENT).decode

    def run() -> None:
        for frame in frames:
            take(frame)

    return _timed(run)


def direct(messages: int, a_frame: int) -> float:
    """CPU seconds for *messages*, from eight senders to a reader each."""
    said = [commands(name, messages // a_frame // 8, a_frame) for name in READERS]
    return _turns(said, TURN[a_frame])


def lone(messages: int, a_frame: int) -> float:
    """The same, each frame in a turn of its own: what an idle broker does."""
    said = [commands(name, messages // a_frame // 8, a_frame) for name in READERS]
    return _turns(said, 1)


def echo(messages: int, a_frame: int) -> float:
    """CPU seconds for *messages* of eight senders to everyone."""
    said = commands("", messages // a_frame // 8, a_frame)
    return _turns([said] * len(SENDERS), TURN[a_frame])


def _turns(said: Sequence[Sequence[bytes]], turn_size: int) -> float:
    broker = Broker(Settings(pub_port=1), MemoryJournal(), os.urandom)
    encode = Encoder().encode
    broker.begin(0.0, 0)
    senders, readers = ([name.encode() for name in names] for names in (SENDERS, READERS))
    for identity in (*senders, *readers):
        follow = DIRECT_LOG if identity in readers else ""
        broker.receive(identity, encode(hello(identity.decode(), follow)))
    broker.commit()
    broker.acknowledge()
    frames = [pair for each in zip(*said, strict=True) for pair in zip(senders, each, strict=True)]
    turns = [_grouped(frames[at : at + turn_size]) for at in range(0, len(frames), turn_size)]
    # Signs of life, without which the broker would stop pushing.
    sign = encode(Ping(1, 0, 0, ()))
    seldom = max(1, 500 // turn_size)
    wall = 1_800_000_000_000

    def run() -> None:
        for number, turn in enumerate(turns, 1):
            broker.begin(number / 1000, wall + number)
            for identity, group in turn:
                # As the edge does.
                commands = broker.commands_in(group) if len(group) > 1 else []
                if commands:
                    size = sum(map(len, group))
                    left, _ = broker.receive_commands(identity, commands, size)
                    assert not left, "more than a turn has room for"
                    continue
                for frame in group:
                    broker.receive(identity, frame)
            if number % seldom == 0:
                for identity in readers:
                    broker.receive(identity, sign)
            broker.commit()
            broker.acknowledge()

    return _timed(run)


def _grouped(frames: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, list[bytes]]]:
    """The frames of a turn by connection."""
    groups: dict[bytes, list[bytes]] = {}
    for identity, frame in frames:
        groups.setdefault(identity, []).append(frame)
    return list(groups.items())


def _timed(run: Callable[[], None]) -> float:
    # CPU time: one thread that waits for nothing, and whatever else the machine is doing.
    gc.collect()
    gc.freeze()
    start = time.process_time()
    run()
    seconds = time.process_time() - start
    gc.unfreeze()
    return seconds
