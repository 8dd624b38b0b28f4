"""What strangers do to a broker: each returns how much it did, and what ended it.

They speak ZMTP by hand (``bench.zmtp``), as nobody does who means well.  Everything is bounded in
count, bytes and time.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bench import zmtp
from bench.sessions import hello
from chatbroker.client import Client, Unreachable
from chatbroker.wire.limits import MAX_FRAME, MAX_MESSAGES
from chatbroker.wire.messages import DIRECT_LOG, ECHO_LOG, Echo, Fetch, Info, Send

from . import pretenders
from .stage import MIB, Stage
from .tools import (
    MOST_BYTES,
    MOST_SECONDS,
    all_cut,
    crowd,
    dial,
    encode,
    is_answered,
    is_cut,
    peer,
    pour,
)

SLOW = "too much waited that it did not read"

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)

# --- before any message -------------------------------------------------------------------


def garbage_instead_of_a_greeting(stage: Stage) -> tuple[str, str]:
    dice = random.Random(1)
    count = 300 * stage.scale
    openings = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00" + dice.randbytes(500),
        b"\x01\x00" + b"\x03\x00hi" * 20,  # ZMTP 1.
        b"\xff" + bytes(8) + b"\x7f\x01\x05\x00\x00" + b"\x00\x02hi" * 20,  # ZMTP 2.
        b"\xff" + bytes(8) + b"\x7f\x01\x02\x00\x00" + b"\x00\x02\x01x" * 20,
        GREETING + b"\x04\xff" + dice.randbytes(255),
        GREETING + b"\x06" + struct.pack(">Q", 2**63 - 1) + b"x" * 1000,
    ]
    with crowd() as sockets:
        for n in range(count):
            sockets.append(dial((stage.address, stage.pub_address)[n % 2]))
            with suppress(OSError):
                sockets[-1].sendall(dice.choice([*openings, dice.randbytes(1000)]))
    return f"{count} connections", "libzmq refuses; the rest is closed by its owner"


def another_mechanism(stage: Stage) -> tuple[str, str]:
    count = 300 * stage.scale
    with crowd() as sockets:
        for n in range(count):
            sockets.append(dial((stage.address, stage.pub_address)[n % 2]))
            name = (b"PLAIN", b"CURVE", b"GSSAPI", b"XYZZY", b"\0")[n % 5]
            sockets[-1].sendall(GREETING[:12] + name.ljust(20, b"\0") + GREETING[32:])
        all_cut(stage, sockets)
    return f"{count} connections", "libzmq closes them"


def half_open_connections_until_none_is_left(stage: Stage) -> tuple[str, str]:
    """The broker may have 1,000 descriptors."""
    count = 2000 * stage.scale
    newcomers = 0
    with crowd() as sockets:
        for n in range(count):
            try:
                sockets.append(dial((stage.address, stage.pub_address)[n % 2]))
                sockets[-1].sendall(GREETING[: n % 64])
            except OSError:
                continue
            if n % 500 == 499:
                stage.eventually(
                    lambda name=f"newcomer{n}": comes_in(stage, name), "nobody comes in"
                )
                newcomers += 1
        all_cut(stage, sockets)
    assert stage.told("one of too many that say nothing")
    return f"{count} connections, 1000 descriptors", f"the watch; {newcomers} newcomers came in"


def connections_without_a_session_until_none_is_left(stage: Stage) -> tuple[str, str]:
    """They say something, so that they are nobody who says nothing."""
    count = 1200 * stage.scale
    said = zmtp.frame(b"x"), zmtp.frame(b"\1x")
    newcomers = 0
    with crowd() as sockets:
        for n in range(count):
            try:
                kind, at = ((b"DEALER", stage.address), (b"SUB", stage.pub_address))[n % 2]
                sockets.append(peer(at, kind))
                sockets[-1].sendall(said[n % 2])
            except OSError:
                continue
            if n % 400 == 399:
                stage.eventually(
                    lambda name=f"newcomer{n}": comes_in(stage, name), "nobody comes in"
                )
                newcomers += 1
    assert stage.told("one of too many without a session")
    return f"{count} connections, 1000 descriptors", f"the watch; {newcomers} newcomers came in"


def handshakes_that_say_much(stage: Stage) -> tuple[str, str]:
    """ZeroMQ keeps what it is told there, for as long as the connection stands."""
    count = 400 * stage.scale
    ready = zmtp.ready(b"DEALER")
    body = ready[2:] + b"\x01x" + struct.pack(">I", 65_000) + bytes(65_000)
    opening = GREETING + zmtp.frame(body, zmtp.COMMAND)
    with crowd() as sockets:
        for _ in range(count):
            sockets.append(dial(stage.address))
            sockets[-1].sendall(opening + zmtp.frame(b"x"))
        all_cut(stage, sockets)
    assert stage.told("the handshake was too long")
    return f"{count} connections, 65 KB each", "the watch, a moment after the first message"


def comes_in(stage: Stage, name: str) -> bool:
    """Whether somebody can join and say something; they may be told to come again."""
    try:
        with Client(name, stage.address, timeout=MOST_SECONDS) as client:
            client.echo("I am in")
    except Unreachable:
        return False
    return True


def connections_that_say_nothing(stage: Stage) -> tuple[str, str]:
    """They shake hands, and that is all."""
    count = 200 * stage.scale
    with crowd() as sockets:
        for n in range(count):
            kind, at = ((b"DEALER", stage.address), (b"SUB", stage.pub_address))[n % 2]
            sockets.append(peer(at, kind))
        all_cut(stage, sockets)
    return f"{count} connections", "the watch, after 12 s"


def connects_and_disconnects(stage: Stage) -> tuple[str, str]:
    count = 0
    until = time.monotonic() + 2 * stage.scale
    while time.monotonic() < until:
        for at in (stage.address, stage.pub_address):
            with dial(at) as sock:
                if count % 3:
                    sock.sendall(GREETING + zmtp.ready(b"DEALER"))
                if count % 3 == 2:  # A reset.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            count += 1
    return f"{count} connections in {2 * stage.scale} s", "their owner"


# --- what ZeroMQ collects ------------------------------------------------------------------


def a_message_without_end(stage: Stage) -> tuple[str, str]:
    count = 8
    with crowd() as sockets:
        sockets += [peer(stage.address) for _ in range(count)]
        sent = pour(sockets, b"\1\0" * 32768, 100 * MIB * stage.scale)
        all_cut(stage, sockets)
    return f"{count} connections, {sent / 2e6:.1f} M parts", "the watch"


def a_message_without_end_for_the_publisher(stage: Stage) -> tuple[str, str]:
    count = 8
    with crowd() as sockets:
        sockets += [peer(stage.pub_address, b"SUB") for _ in range(count)]
        sent = pour(sockets, b"\1\0" * 32768, 100 * MIB * stage.scale)
        all_cut(stage, sockets)
    return f"{count} connections, {sent / 2e6:.1f} M parts", "the watch"


def messages_of_a_million_parts(stage: Stage) -> tuple[str, str]:
    """Of who never said anything, and of who said hello first and is waited for."""
    message = b"\1\0" * 999_999 + b"\0\0"
    count = 3 * stage.scale
    for number in range(2 * count):
        with crowd() as sockets:
            sockets.append(peer(stage.address))
            if number >= count:
                sockets[0].sendall(zmtp.frame(encode(hello(f"polite{number}"))))
                stage.eventually(lambda sock=sockets[0]: is_answered(sock), "no answer")
            pour(sockets, message, len(message))
            all_cut(stage, sockets)
    return f"{2 * count} messages", "the watch, or the loop at 20 parts"


def messages_of_a_million_parts_among_others(stage: Stage) -> tuple[str, str]:
    """The watch has many to look at, and finds the one all the same."""
    count = 200 * stage.scale
    with crowd() as others:
        for number in range(count):
            others.append(peer(stage.address))
            others[-1].sendall(zmtp.frame(encode(hello(f"other{number}"))))
        size, ended = messages_of_a_million_parts(stage)
        assert not any(is_cut(sock) for sock in others)
    return f"{size}, {count} others", ended


def subscriptions_to_everything(stage: Stage) -> tuple[str, str]:
    dice = random.Random(2)
    topics = b"".join(zmtp.subscribe(dice.randbytes(8)) for _ in range(20_000))
    with crowd() as sockets:
        sockets.append(peer(stage.pub_address, b"SUB"))
        sent = pour(sockets, topics, 4 * MIB * stage.scale)
        all_cut(stage, sockets)
    return f"{sent // 11} topics", "the loop at 16, or the watch"


def subscriptions_by_many(stage: Stage) -> tuple[str, str]:
    dice = random.Random(3)
    count = 50 * stage.scale
    with crowd() as sockets:
        for _ in range(count):
            sockets.append(peer(stage.pub_address, b"SUB"))
        sent = 0
        for sock in sockets:
            topics = b"".join(zmtp.subscribe(dice.randbytes(8)) for _ in range(2000))
            sent += pour([sock], topics, len(topics))
        all_cut(stage, sockets)
    return f"{count} connections, {sent // 11} topics", "the loop at 16, or the watch"


def long_topics(stage: Stage) -> tuple[str, str]:
    dice = random.Random(4)
    count = 50 * stage.scale
    with crowd() as sockets:
        sockets += [peer(stage.pub_address, b"SUB") for _ in range(count)]
        for sock in sockets:
            pour([sock], b"".join(zmtp.subscribe(dice.randbytes(120)) for _ in range(60)), 60 * 130)
        all_cut(stage, sockets)
    return f"{count} connections, 60 topics of 120 bytes each", "the loop at 16, or the watch"


def subscribers_who_leave_at_once(stage: Stage) -> tuple[str, str]:
    """They keep to the limit; libzmq walks through the topics of all for each that goes."""
    dice = random.Random(6)
    count = 50 * stage.scale
    with crowd() as sockets:
        for _ in range(count):
            sockets.append(peer(stage.pub_address, b"SUB"))
            topics = b"".join(zmtp.subscribe(dice.randbytes(120)) for _ in range(16))
            pour(sockets[-1:], topics, len(topics))
        # A message later all of them have been taken in.
        assert comes_in(stage, "newcomer")
    return f"{count} connections, 16 topics of 120 bytes each", "they end themselves"


def subscribers_who_keep_coming(stage: Stage) -> tuple[str, str]:
    """Fifty at a time, with a thousand topics each, as long as it lasts."""
    dice = random.Random(7)
    count = 0
    until = time.monotonic() + 2 * stage.scale
    while time.monotonic() < until:
        topics = b"".join(zmtp.subscribe(dice.randbytes(8)) for _ in range(1000))
        with crowd() as sockets:
            for _ in range(50):
                # The attackers are newcomers, too: the longer they wait, the longer the kernel
                # lets them.
                with suppress(OSError):
                    sockets.append(peer(stage.pub_address, b"SUB", seconds=2.0))
            count += len(sockets)
            pour(sockets, topics, len(topics) * len(sockets), 1.0)
    return f"{count} connections in {2 * stage.scale} s", "newcomers wait while some are cut"


def subscribers_reset_behind_a_heartbeat(stage: Stage) -> tuple[str, str]:
    """Where libzmq has stopped to read, it answers the PING over what it gave up, and aborts."""
    count = 100 * stage.scale
    said = zmtp.subscribe(b"topic") * 10 + zmtp.heartbeat()
    for _ in range(count):
        # What was said by one that is gone may have another cut off that has its descriptor.
        with suppress(OSError), peer(stage.pub_address, b"SUB") as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(said)
    return f"{count} connections", "libzmq reads on until the end"


# --- frames of the protocol, and almost ----------------------------------------------------


def questions_whose_answers_nobody_reads(stage: Stage) -> tuple[str, str]:
    ask = encode(Fetch(1, "echo", b"", 0, 2**18))
    frame = zmtp.frame(ask * MAX_MESSAGES) + zmtp.frame(encode(Info(1, "")) * MAX_MESSAGES)
    with crowd() as sockets:
        for n in range(4):
            sockets.append(peer(stage.address))
            said = encode(hello(f"greedy{n}", "echo")) + encode(Echo(1, ("x" * 16_000,)))
            sockets[-1].sendall(zmtp.frame(said))
        sent = pour(sockets, frame, MOST_BYTES, 3 * stage.scale)
    return f"4 connections, {sent / MIB:.1f} MiB of questions", "TCP holds them back"


def answers_that_hundreds_do_not_read(stage: Stage) -> tuple[str, str]:
    """Each has room for some megabytes, here and in the kernel."""
    count = 300 * stage.scale
    asked = zmtp.frame(b"".join([encode(Fetch(n, ECHO_LOG, b"", 0, 2**18)) for n in range(1, 5)]))
    with crowd() as sockets:
        for n in range(count):
            sockets.append(peer(stage.address))
            sockets[-1].sendall(zmtp.frame(encode(hello(f"greedy{n}", ECHO_LOG))))
        said = [encode(Echo(n, ("x" * 16_000,))) for n in range(1, 101)]
        sockets[0].sendall(b"".join(map(zmtp.frame, said)))
        sent = pour(sockets, asked, MOST_BYTES, 4.0)
    return f"{count} connections, {sent // len(asked)} frames of questions", "they get no more"


def subscribers_who_read_nothing(stage: Stage) -> tuple[str, str]:
    """Each keeps what is published when it comes, which is other words than the others keep."""
    count, said = 20 * stage.scale, 0
    with crowd() as sockets:
        talkers = [peer(stage.address) for _ in range(4)]
        for n, sock in enumerate(talkers):
            sockets.append(sock)
            sock.sendall(zmtp.frame(encode(hello(f"talker{n}", DIRECT_LOG))))
        for _ in range(count):
            sockets.append(peer(stage.pub_address, b"SUB"))
            sockets[-1].sendall(zmtp.frame(b"\1" + ECHO_LOG.encode()))
            for _ in range(125):
                said += 1
                frame = zmtp.frame(encode(Echo(said, ("x" * 16_000,))))
                for sock in talkers:
                    sock.sendall(frame)
        stage.eventually(lambda: stage.told(SLOW), "nobody was cut off")
    return f"{count} connections, 8 MB after each", "the watch, when they keep 128 MiB in all"


def full_frames(stage: Stage) -> tuple[str, str]:
    frame = zmtp.frame(os.urandom(MAX_FRAME))
    with crowd() as sockets:
        sockets += [peer(stage.address) for _ in range(4)]
        sent = pour(sockets, frame, MOST_BYTES, 3 * stage.scale)
    return f"4 connections, {sent // MIB} MiB", "TCP holds them back"


def bombs_of_msgpack(stage: Stage) -> tuple[str, str]:
    bombs = [
        b"\x91" * MAX_FRAME,
        b"\x9f" * MAX_FRAME,
        b"\x80" * MAX_FRAME,
        b"\xdc\xff\xff" + b"\x80" * (MAX_FRAME - 3),
        b"\xdd\xff\xff\xff\xff" + b"\xc0" * (MAX_FRAME - 5),
        b"\xdf\xff\xff\xff\xff" * (MAX_FRAME // 5),
        b"\xc9\xff\xff\xff\xff\x01" * (MAX_FRAME // 6),
        b"\xd6\xff\0\0\0\0" * (MAX_FRAME // 6),
        b"\xdb\x7f\xff\xff\xff" + b"x" * (MAX_FRAME - 5),
        b"\x81\x91" * (MAX_FRAME // 2),
        b"\x9a\x01\x01\xa5" + b"\x80" * (MAX_FRAME - 4),
    ]
    data = b"".join(map(zmtp.frame, bombs))
    with crowd() as sockets:
        sockets += [peer(stage.address) for _ in range(4)]
        sent = pour(sockets, data, MOST_BYTES, 2 * stage.scale)
    return f"{sent // MIB} MiB of bombs", "each is refused by itself"


def messages_to_hundreds_of_others(stage: Stage) -> tuple[str, str]:
    """Each command is a row of its own in two mailboxes."""
    names, cseq = 900, 0
    with crowd() as sockets:
        sockets += [peer(stage.address) for _ in range(names + 1)]
        for n, sock in enumerate(sockets):
            sock.sendall(zmtp.frame(encode(hello(f"many{n}", DIRECT_LOG))))
        stage.eventually(lambda: all(map(is_answered, sockets)), "not all were let in")
        frames = []
        for _ in range(500 * stage.scale):
            sends = [Send(cseq + n, f"many{(cseq + n) % names}", ("x",)) for n in range(1, 201)]
            frames.append(zmtp.frame(b"".join(map(encode, sends))))
            cseq += len(sends)
        said = b"".join(frames)
        sent = pour(sockets[-1:], said, len(said))
        assert sent
    return f"{cseq * sent // len(said)} commands to {names} others", "a turn has room for some 600"


SECURE = ("--secure",)
DURABLE = True

ATTACKS: dict[Callable[[Stage], tuple[str, str]], tuple[Any, ...]] = {
    garbage_instead_of_a_greeting: (),
    another_mechanism: (),
    half_open_connections_until_none_is_left: (1000,),
    connections_without_a_session_until_none_is_left: (1000,),
    connections_that_say_nothing: (),
    handshakes_that_say_much: (),
    connects_and_disconnects: (),
    a_message_without_end: (),
    a_message_without_end_for_the_publisher: (),
    messages_of_a_million_parts: (),
    messages_of_a_million_parts_among_others: (),
    subscriptions_to_everything: (),
    subscriptions_by_many: (),
    long_topics: (),
    subscribers_who_leave_at_once: (),
    subscribers_who_keep_coming: (),
    subscribers_reset_behind_a_heartbeat: (),
    questions_whose_answers_nobody_reads: (),
    answers_that_hundreds_do_not_read: (),
    subscribers_who_read_nothing: (0, (), DURABLE),
    messages_to_hundreds_of_others: (),
    full_frames: (),
    bombs_of_msgpack: (),
    pretenders.planted_routing_ids: (),
    pretenders.frames_of_before: (),
    pretenders.names_that_look_alike: (),
    pretenders.escapes_for_a_terminal: (),
    pretenders.stolen_session_tokens_of_another_key: (0, SECURE),
    pretenders.handshakes_of_strangers: (0, SECURE),
    pretenders.strangers_without_a_key: (0, SECURE),
}
"""Each with the descriptors that the broker may have (0: as many as there are), its options, and
whether it keeps what is said on disk: in memory that is much by itself."""
