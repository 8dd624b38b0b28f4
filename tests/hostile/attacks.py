"""What strangers do to a broker: each returns how much it did, and what ended it.

They speak ZMTP by hand (``bench.zmtp``), as nobody does who means well.  Everything is bounded in
count, bytes and time.
"""

from __future__ import annotations

import json
import os
import random
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import zmq
from zmq.utils import z85

from bench import zmtp
from bench.sessions import hello
from chatbroker.client import Client, NameRefused, Since, Unreachable
from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.errors import Code
from chatbroker.wire.keys import parse_key
from chatbroker.wire.limits import MAX_FRAME, MAX_MESSAGES
from chatbroker.wire.messages import Echo, Fetch, Info, Refused

from .stage import MIB, PATIENCE, Stage

encode = Encoder().encode

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
MOST_BYTES = 10_000 * MIB
MOST_SECONDS = 20.0
"""What an attack of the plain size may take at most."""


@contextmanager
def crowd() -> Iterator[list[socket.socket]]:
    """Sockets that are closed in the end."""
    sockets: list[socket.socket] = []
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def dial(endpoint: str) -> socket.socket:
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), MOST_SECONDS)


def peer(endpoint: str, kind: bytes = b"DEALER", identity: bytes = b"") -> socket.socket:
    """A connection after its handshake."""
    return zmtp.connect(endpoint, kind, identity, MOST_SECONDS).sock


def pour(
    sockets: list[socket.socket], data: bytes, most: int, seconds: float = MOST_SECONDS
) -> int:
    """Sends *data* over and over by all of *sockets* in turn until each is cut off, *most* bytes
    went, or *seconds* are over.  Returns how many bytes went."""
    sent, left = 0, list(sockets)
    offsets = dict.fromkeys(sockets, 0)
    for sock in sockets:
        sock.setblocking(False)
    until = time.monotonic() + seconds
    while left and sent < most and time.monotonic() < until:
        for sock in list(left):
            try:
                done = sock.send(memoryview(data)[offsets[sock] :])
            except BlockingIOError:
                done = 0
            except OSError:
                done = -1
            if done < 0 or (done == 0 and is_cut(sock)):
                left.remove(sock)
                continue
            sent += done
            offsets[sock] = (offsets[sock] + done) % len(data)
    return sent


def is_cut(sock: socket.socket) -> bool:
    """Whether the broker has ended it.  Nothing is taken out of it: nobody reads answers."""
    events = select.poll()
    events.register(sock, select.POLLRDHUP)
    return bool(events.poll(0))


def all_cut(stage: Stage, sockets: list[socket.socket]) -> None:
    stage.eventually(lambda: all(is_cut(sock) for sock in sockets), "connections stand")


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
    message = b"\1\0" * 999_999 + b"\0\0"
    count = 3 * stage.scale
    for _ in range(count):
        with crowd() as sockets:
            sockets.append(peer(stage.address))
            pour(sockets, message, len(message))
            all_cut(stage, sockets)
    return f"{count} messages", "the watch, or the loop at 16 parts"


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


# --- who it pretends to be -----------------------------------------------------------------


def planted_routing_ids(stage: Stage) -> tuple[str, str]:
    """Of any form; also of the one that libzmq draws."""
    dice = random.Random(5)
    count = 400 * stage.scale
    with crowd() as sockets:
        for n in range(count):
            own = (b"\0" + dice.randbytes(4), dice.randbytes(5), b"alice", b"\0", b"x" * 255)[n % 5]
            sockets.append(peer(stage.address, identity=own))
            sockets[-1].sendall(zmtp.frame(encode(Info(1, ""))))
        last = sockets[1::5][-1]
        last.settimeout(MOST_SECONDS)
        assert last.recv(1)  # Refused, in words.
    return f"{count} connections", "refused where the form is not libzmq's own"


def frames_of_before(stage: Stage) -> tuple[str, str]:
    """Everything that was said is said again, over the same connection and over others."""
    with crowd() as sockets:
        sockets.append(peer(stage.address))
        said = [encode(hello("echoing", "echo")), *(encode(Echo(n, (f"{n}",))) for n in (1, 2, 3))]
        data = b"".join(map(zmtp.frame, said))
        sockets[0].sendall(data)
        count = 500 * stage.scale
        pour(sockets[:1], b"".join(map(zmtp.frame, said[1:])), count * 20)
        for _ in range(20 * stage.scale):
            sockets.append(peer(stage.address))
            sockets[-1].sendall(data * 5)
        with Client(None, stage.address, since=Since.all(), timeout=MOST_SECONDS) as observer:
            assert observer.sync(MOST_SECONDS)
            heard = [e.text for e in observer.events(0) if getattr(e, "sender", "") == "echoing"]
    assert heard == ["1", "2", "3"]
    return f"{count} times, and by {20 * stage.scale} others", "each command counts once"


LOOK_ALIKES = [
    "ｐｏｌｉｔｅ",  # Full width.
    "p\N{CYRILLIC SMALL LETTER O}lite",
    "polite\N{COMBINING ACUTE ACCENT}",
    "polite\N{ZERO WIDTH SPACE}",
    "pol\N{LATIN SMALL LETTER DOTLESS I}te",
    "\N{RIGHT-TO-LEFT OVERRIDE}etilop",
    "polite ",
    "polite\x1b[2J",
    "\N{KELVIN SIGN}",
]


def names_that_look_alike(stage: Stage) -> tuple[str, str]:
    """Asked for by hand, as no client of ours lets one."""
    count = 20 * stage.scale
    decode = Decoder(FROM_BROKER).decode
    for name in LOOK_ALIKES:
        inbox = zmtp.connect(stage.address, b"DEALER", timeout=MOST_SECONDS)
        with inbox.sock:
            for _ in range(count):
                inbox.sock.sendall(zmtp.frame(encode(hello(name))))
                frames: list[zmtp.Frame] = []
                while not frames:
                    assert inbox.fill(), "no answer"
                    frames = list(inbox.frames())
                (told,) = decode(bytes(inbox.buffer[frames[0].start : frames[0].stop]))
                assert isinstance(told, Refused)
                assert told.code == Code.BAD_NAME
                assert told.words.isprintable()
    try:
        with Client("Polite", stage.address):
            raise AssertionError("a second one came in")
    except NameRefused:
        return f"{len(LOOK_ALIKES)} names, {count} times each", "refused"


def knocks(stage: Stage, keys: Callable[[], tuple[bytes, bytes] | None]) -> int:
    """Handshakes that are refused, as many at a time as there are sockets, for some seconds."""
    (access,) = Path(stage.broker.env["CHATBROKER_DATA"], "run").glob("*.json")
    server_key = parse_key(json.loads(access.read_text())["server_key"])
    failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    failed |= zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    refused = 0
    until = time.monotonic() + 2.0 * stage.scale
    with zmq.Context() as context:
        while time.monotonic() < until:
            knocking = []
            for number in range(32):
                sock = context.socket(zmq.SUB if number % 4 == 3 else zmq.DEALER)
                sock.setsockopt(zmq.LINGER, 0)
                sock.setsockopt(zmq.RECONNECT_IVL, -1)
                pair = keys()
                if pair is not None:
                    sock.curve_serverkey = z85.encode(server_key)
                    sock.curve_publickey, sock.curve_secretkey = pair
                knocking.append((sock, sock.get_monitor_socket(failed)))
                sock.connect(stage.pub_address if number % 4 == 3 else stage.address)
            for sock, monitor in knocking:
                assert monitor.poll(PATIENCE * 1000), "a stranger was not refused"
                refused += 1
                sock.disable_monitor()
                monitor.close(0)
                sock.close(0)
    return refused


def handshakes_of_strangers(stage: Stage) -> tuple[str, str]:
    """At a secure broker, which has to take each one's key in before it can refuse it."""
    pair = zmq.curve_keypair()
    return f"{knocks(stage, lambda: pair)} handshakes", "the gate refuses each"


def strangers_without_a_key(stage: Stage) -> tuple[str, str]:
    """At a secure broker."""
    return f"{knocks(stage, lambda: None)} handshakes", "libzmq refuses each"


SECURE = ("--secure",)

ATTACKS: dict[Callable[[Stage], tuple[str, str]], tuple[Any, ...]] = {
    garbage_instead_of_a_greeting: (),
    another_mechanism: (),
    half_open_connections_until_none_is_left: (1000,),
    connections_that_say_nothing: (),
    connects_and_disconnects: (),
    a_message_without_end: (),
    a_message_without_end_for_the_publisher: (),
    messages_of_a_million_parts: (),
    subscriptions_to_everything: (),
    subscriptions_by_many: (),
    long_topics: (),
    questions_whose_answers_nobody_reads: (),
    full_frames: (),
    bombs_of_msgpack: (),
    planted_routing_ids: (),
    frames_of_before: (),
    names_that_look_alike: (),
    handshakes_of_strangers: (0, SECURE),
    strangers_without_a_key: (0, SECURE),
}
"""Each with the descriptors that the broker may have (0: as many as there are), and its options."""
