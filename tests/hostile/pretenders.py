"""Attacks of those who pretend to be somebody, and of what others are to read.

As those of ``attacks``: each returns how much it did, and what ended it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import zmq
from zmq.utils import z85

from bench import zmtp
from bench.sessions import hello
from chatbroker.client import Client, NameRefused, Since
from chatbroker.wire.codec import FROM_BROKER, Decoder
from chatbroker.wire.errors import Code
from chatbroker.wire.keys import key_text, parse_key
from chatbroker.wire.messages import Ack, Echo, Error, Info, Refused, Welcome

from .stage import PATIENCE, Stage
from .tools import MOST_SECONDS, crowd, encode, peer, pour


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


def ask(inbox: zmtp.Inbox, said: bytes) -> object:
    """What the broker answers to the frame *said*."""
    inbox.sock.sendall(zmtp.frame(said))
    frames: list[zmtp.Frame] = []
    while not frames:
        assert inbox.fill(), "no answer"
        frames = list(inbox.frames())
    (told,) = Decoder(FROM_BROKER).decode(bytes(inbox.buffer[frames[0].start : frames[0].stop]))
    return told


def names_that_look_alike(stage: Stage) -> tuple[str, str]:
    """Asked for by hand, as no client of ours lets one."""
    count = 20 * stage.scale
    for name in LOOK_ALIKES:
        inbox = zmtp.connect(stage.address, b"DEALER", timeout=MOST_SECONDS)
        with inbox.sock:
            for _ in range(count):
                told = ask(inbox, encode(hello(name)))
                assert isinstance(told, Refused)
                assert told.code == Code.BAD_NAME
                assert told.words.isprintable()
    try:
        with Client("Polite", stage.address):
            raise AssertionError("a second one came in")
    except NameRefused:
        return f"{len(LOOK_ALIKES)} names, {count} times each", "refused"


ESCAPES = "\x1b[2J\x1b]0;owned\a\x9b31m\r\N{RIGHT-TO-LEFT OVERRIDE}\x7f"
"""Clears a screen, sets a title and a colour, goes back, turns the order around."""


def escapes_for_a_terminal(stage: Stage) -> tuple[str, str]:
    """In texts of the largest size, which somebody reads by ``chat listen``; in names; and in
    what the broker answers to frames that are none."""
    count = 60 * stage.scale
    text = (ESCAPES * 2000)[:8000]
    listen = [sys.executable, "-m", "chatbroker.client", "listen", "--count", f"{count}"]
    listen += ["--only", "broadcast", "--as", "reader", "--format", "{from}: {text}"]
    with subprocess.Popen(
        listen, env=stage.broker.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stderr is not None
        assert reader.stderr.readline() == "chat: listening\n"
        with Client("mallory", stage.address) as mallory:
            for _ in range(count):
                mallory.echo(text, timeout=PATIENCE)
        shown, complaints = reader.communicate(timeout=PATIENCE)
    assert reader.returncode == 0, complaints
    assert "mallory: \\x1b[2J\\x1b]0;owned" in shown
    assert shown.replace("\n", "").isprintable()
    inbox = zmtp.connect(stage.address, b"DEALER", timeout=MOST_SECONDS)
    with inbox.sock:
        for _ in range(count):
            for said in (encode(hello(f"mallory{ESCAPES}")), ESCAPES.encode()):
                told = ask(inbox, said)
                assert isinstance(told, (Refused, Error))
                assert told.words.isprintable()
    return f"{count} texts of 8000 characters, {count} names", "shown as escapes; refused"


def stolen_session_tokens_of_another_key(stage: Stage) -> tuple[str, str]:
    """At a secure broker, where mallory is a member, and knows the id of a session of another
    key's and its credential."""
    access = json.loads(access_file(stage).read_text())
    server_key, owner = (z85.encode(parse_key(access[key])) for key in ("server_key", "secret"))
    public, secret = zmq.curve_keypair()
    admit = ["admit", "mallory", key_text(z85.decode(public)), "--port", f"{stage.broker.port}"]
    command = [sys.executable, "-m", "chatbroker.broker", *admit]
    subprocess.run(command, env=stage.broker.env, check=True, capture_output=True)
    count = 400 * stage.scale
    decode = Decoder(FROM_BROKER).decode
    with zmq.Context() as context:

        def comes(secret_key: bytes) -> zmq.Socket[bytes]:
            sock = context.socket(zmq.DEALER)
            sock.setsockopt(zmq.LINGER, 0)
            sock.curve_serverkey = server_key
            sock.curve_publickey, sock.curve_secretkey = zmq.curve_public(secret_key), secret_key
            sock.connect(stage.address)
            return sock

        def hears(sock: zmq.Socket[bytes]) -> list[object]:
            assert sock.poll(PATIENCE * 1000), "no answer"
            return decode(sock.recv())

        with comes(owner) as victim, comes(secret) as mallory:
            said = hello("victim")
            victim.send(encode(said))
            (welcome,) = hears(victim)
            assert isinstance(welcome, Welcome)
            stolen = encode(said._replace(credential=welcome.credential, attempt=2))
            for number in range(count):
                mallory.send(stolen + encode(Echo(number + 1, ("not mine",))))
                told = [m for m in hears(mallory) if isinstance(m, (Refused, Error, Welcome))]
                while len(told) < 2:
                    told += hears(mallory)
                codes = [getattr(m, "code", "welcome") for m in told]
                assert codes == [Code.NOT_ALLOWED, Code.NO_SESSION], told
            # It is the victim's still, and nothing was said in it.
            victim.send(encode(Echo(1, ("mine",))))
            (ack,) = (m for m in hears(victim) if isinstance(m, Ack))
            assert (ack.after, ack.upto, ack.refused) == (0, 1, ())
    return f"{count} times", "each is refused"


def access_file(stage: Stage) -> Path:
    """How the broker's own user finds in."""
    (path,) = Path(stage.broker.env["CHATBROKER_DATA"], "run").glob("*.json")
    return path


def knocks(stage: Stage, keys: Callable[[], tuple[bytes, bytes] | None]) -> int:
    """Handshakes that are refused, as many at a time as there are sockets, for some seconds."""
    server_key = parse_key(json.loads(access_file(stage).read_text())["server_key"])
    failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    failed |= zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    refused = 0
    until = time.monotonic() + 2.0 * stage.scale
    while time.monotonic() < until:
        # Its end waits until ZeroMQ has closed all of them: else descriptors run out here.
        with zmq.Context() as context:
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
