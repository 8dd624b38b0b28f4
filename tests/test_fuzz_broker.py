"""Whatever bytes come in: a coded reply or a closed connection, and nobody else notices.

Each run draws another seed and prints it; FUZZ_SEED=n repeats one.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from contextlib import suppress

import msgpack
import pytest
import zmq

from chatbroker.client import Broadcast
from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import MAX_FRAME, VERSION
from chatbroker.wire.messages import (
    Bye,
    Cursor,
    Echo,
    Error,
    Fetch,
    Follow,
    Hello,
    Info,
    Ping,
    Send,
    Start,
    Welcome,
)

PATIENCE = 30_000
"""Milliseconds that an answer may take; a busy test machine is slow."""

FRAMES = 1500

encode = Encoder().encode


@pytest.fixture
def dice():
    seed = int(os.environ.get("FUZZ_SEED") or random.randrange(2**32))
    print(f"FUZZ_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def broker(chatbrokers):
    # A name that was taken over a connection now used otherwise waits no longer than this.
    return chatbrokers.start("--grace", "0.05")


class Peer:
    """A DEALER that sends what it likes."""

    def __init__(self, context, address, identity=None):
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        if identity is not None:
            self.socket.setsockopt(zmq.IDENTITY, identity)
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.socket.connect(address)
        self._decode = Decoder(FROM_BROKER).decode

    def ask(self, *parts):
        """The messages of the first frame that comes back.  Raises WireError if they are not
        the protocol's."""
        while self.socket.poll(0):
            self._decode(self.socket.recv())  # What more there was to say to the one before.
        self.socket.send_multipart(parts)
        assert self.socket.poll(PATIENCE), f"no answer to {parts!r}"
        return self._decode(self.socket.recv())

    def is_cut(self):
        """Waits until the broker closes the connection."""
        return bool(self.monitor.poll(PATIENCE))


@pytest.fixture
def peers(broker):
    """Connects raw peers to the broker: ``peers()``."""
    context = zmq.Context()
    opened = []

    def connect(**options):
        opened.append(Peer(context, broker.address, **options))
        return opened[-1]

    yield connect
    for peer in opened:
        peer.socket.disable_monitor()
        peer.monitor.close(linger=0)
        peer.socket.close()
    context.destroy(linger=0)


@pytest.fixture
def polite(broker):
    """A user who goes on being served: ``polite()`` says something and hears it.

    At the end the broker must stop in good order, without a word of trouble.
    """
    client = broker.client("polite")
    bystander = broker.client("bystander")
    said = []

    def talk():
        text = f"words {len(said)}"
        client.echo(text, timeout=PATIENCE / 1000)
        client.send("bystander", text, timeout=PATIENCE / 1000)
        said.append(text)

    yield talk
    talk()
    assert bystander.sync(PATIENCE / 1000)
    heard = list(bystander.events(0))
    for direct in (False, True):
        texts = [
            event.text
            for event in heard
            if getattr(event, "sender", "") == "polite" and isinstance(event, Broadcast) != direct
        ]
        assert texts == said
    assert broker.stop() == 0
    assert "Traceback" not in broker.log()


def hello(name, version=VERSION, claim=False, replaces=b""):
    follows = (Follow("echo", b"", Start.NOW, 0), Follow("direct", b"", Start.AFTER, 0))
    return encode(
        Hello(
            version,
            name,
            os.urandom(16),
            b"",
            1,
            True,
            claim,
            replaces,
            follows,
        )
    )


def valid_frames(dice):
    number = dice.choice([1, 2, 3, 1000, 2**40, 2**63 - 1])
    text = dice.choice(["", "hi", "x" * 16_384, "é" * 8_192, "\0\n\x1b", "\U0001f600" * 40])
    log, epoch = dice.choice(["echo", "direct", "@polite"]), dice.randbytes(8)
    return [
        hello(
            dice.choice(["mallory", "", "polite", "trudy"]),
            claim=dice.random() < 0.5,
            replaces=dice.choice([b"", bytes(16)]),
        ),
        hello("mallory", version=dice.choice([0, 2, 2**31])),
        encode(Send(number, dice.choice(["polite", "nobody", "mallory", ""]), (text,))),
        encode(Echo(number, (text,))),
        encode(Info(number, dice.choice(["", "a", "zzz"]))),
        encode(Fetch(number, log, epoch, dice.choice([0, number]), number)),
        encode(Ping(number, number, 0, (Cursor(log, epoch, number),))),
        encode(Bye()),
    ]


def flip_bits(dice, frame):
    mutable = bytearray(frame)
    for _ in range(dice.randint(1, 4)):
        mutable[dice.randrange(len(mutable))] ^= 1 << dice.randrange(8)
    return bytes(mutable)


def cut_short(dice, frame):
    return frame[: dice.randrange(len(frame))]


def splice(dice, frame):
    at = dice.randrange(len(frame) + 1)
    return frame[:at] + dice.randbytes(dice.randint(1, 20)) + frame[at:]


def replace_a_field(dice, frame):
    message = list(msgpack.unpackb(frame, strict_map_key=False))
    message[dice.randrange(len(message))] = dice.choice(
        [None, True, -1, 0, 2**64 - 1, 1.5, "", "x" * 100, b"", b"x" * 100, [], [[[]]], {1: 2}]
    )
    return msgpack.packb(message)


def drop_or_add_a_field(dice, frame):
    message = list(msgpack.unpackb(frame))
    if dice.random() < 0.5:
        del message[dice.randrange(len(message)) :]
    else:
        message += [dice.choice([0, "later", [1, [2, [3]]]])] * dice.randint(1, 5)
    return msgpack.packb(message)


def several_in_one(dice, frame):
    return (frame + dice.choice(valid_frames(dice))) * dice.randint(1, 3)


def huge_array(dice, frame):
    count = dice.choice([16, 65_535, 65_536, 2**31, 2**32 - 1])
    return b"\xdd" + struct.pack(">I", count) + frame


def nested(dice, frame):
    return b"\x91" * dice.choice([5, 9, 100, 5_000]) + frame


def many_small_things(dice, frame):
    return dice.choice([b"\x80", b"\x90", b"\xc0", b"\x01", b"\xa0"]) * dice.randint(1, 60_000)


def extension(dice, frame):
    return dice.choice([b"\xd6\xff\0\0\0\0", b"\xc7\x01\x05x", b"\xd4\x01x", b"\xc1"]) + frame


def noise(dice, frame):
    return dice.randbytes(dice.randint(0, 200))


def as_it_is(dice, frame):
    return frame


MUTATIONS = [
    as_it_is,
    flip_bits,
    flip_bits,
    cut_short,
    splice,
    replace_a_field,
    drop_or_add_a_field,
    several_in_one,
    huge_array,
    nested,
    many_small_things,
    extension,
    noise,
]


def test_every_frame_gets_an_answer_and_nobody_else_notices(broker, peers, polite, dice):
    strangers = [peers() for _ in range(2)]
    sessions = [peers() for _ in range(2)]
    for n in range(FRAMES):
        if n % 100 == 0:
            polite()
            for name, peer in zip(("mallory", ""), sessions, strict=True):
                peer.ask(hello(name))
        frame = dice.choice(MUTATIONS)(dice, dice.choice(valid_frames(dice)))[:MAX_FRAME]
        assert dice.choice(strangers + sessions).ask(frame)


def test_a_message_of_several_parts_is_refused(broker, peers, polite, dice):
    peer = peers()
    for parts in (2, 3, 10):
        for frame in (b"", hello("mallory"), dice.randbytes(50)):
            (error,) = peer.ask(*[frame] * parts)
            assert isinstance(error, Error)
            assert error.code == Code.BAD_FRAME
    (welcome,) = peer.ask(hello("mallory"))
    assert isinstance(welcome, Welcome)
    polite()


def test_a_message_of_many_parts_costs_its_sender_the_connection(broker, peers, polite):
    peer = peers()
    peer.ask(hello("mallory"))
    peer.socket.send_multipart([b""] * 1000)
    assert peer.is_cut()
    polite()


@pytest.mark.parametrize("identity", [b"x", b"alice", b"\x01abcd", b"\x80" * 5, b"x" * 255])
def test_a_routing_id_of_ones_own_is_refused(broker, peers, polite, identity):
    peer = peers(identity=identity)
    for frame in (hello("mallory"), b"\xff"):
        (error,) = peer.ask(frame)
        assert isinstance(error, Error)
        assert error.code == Code.BAD_IDENTITY
    polite()


def test_a_frame_over_the_limit_costs_its_sender_the_connection(broker, peers, polite):
    peer, other = peers(), peers()
    (welcome,) = other.ask(hello("trudy"))
    assert isinstance(welcome, Welcome)
    peer.ask(hello("mallory"))
    peer.socket.send(encode(Echo(1, ("x",))) + b"x" * MAX_FRAME)
    assert peer.is_cut()
    polite()
    assert other.ask(encode(Info(1, "")))


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + b"\0" + bytes(31)
READY = b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"


def test_bytes_that_are_not_zeromq_hurt_nobody(broker, polite, dice):
    held = []
    for n in range(120):
        port = dice.choice([broker.port, broker.pub_port])
        connection = socket.create_connection(("127.0.0.1", port))
        held.append(connection)
        opening = dice.choice([b"", GREETING[: dice.randrange(64)], GREETING, GREETING + READY])
        with suppress(OSError):  # It may be closed by then.
            connection.sendall(opening + dice.randbytes(dice.choice([0, 1, 9, 100, 5_000])))
            if dice.random() < 0.5:
                connection.sendall(b"\x02" + struct.pack(">Q", 2**63 - 1) + b"x" * 100)
            if dice.random() < 0.3:
                connection.close()
        if n % 30 == 0:
            polite()
    for connection in held:
        connection.close()


def test_subscriptions_over_the_limit_hurt_nobody(broker, polite):
    context = zmq.Context()
    sub = context.socket(zmq.SUB)
    sub.linger = 0
    monitor = sub.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    sub.connect(broker.pub_address)
    sub.setsockopt(zmq.SUBSCRIBE, b"x" * 2_000)
    assert monitor.poll(PATIENCE)
    polite()
    sub.disable_monitor()
    monitor.close()
    context.destroy(linger=0)


def test_peers_of_zmtp_1_of_whom_zeromq_tells_nothing_hurt_nobody(broker, polite):
    for port, body in ((broker.pub_port, b"\1echo\0"), (broker.port, encode(Info(1, "")))):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"\1\0" + bytes((1 + len(body), 0)) + body)
            for _ in range(5):
                polite()
