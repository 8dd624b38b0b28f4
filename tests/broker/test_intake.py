"""What comes in, on real sockets: whose it is, in a secure broker."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import zmq

from chatbroker.broker import intake as intake_module
from chatbroker.broker.config import Config
from chatbroker.broker.gate import MARK, KeyPair
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.server import Server
from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import VERSION
from chatbroker.wire.messages import Echo, Farewell, Hello, Info, Welcome

WITHIN = 15.0

ALICE, BOB = KeyPair.fresh(), KeyPair.fresh()


@pytest.fixture
def server():
    server = Server(Config(port=0, secure=True, memory=True), lambda config, port: MemoryJournal())
    members = server._core._members
    members.admit("alice", ALICE.public, 0)
    members.admit("bob", BOB.public, 0)
    yield server
    server.close()


@pytest.fixture
def running(server):
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server
    server.stop()
    thread.join(WITHIN)


@pytest.fixture
def connect(server, context):
    def make(keys, kind=zmq.DEALER, identity=b""):
        sock = context.socket(kind)
        sock.setsockopt(zmq.CURVE_SERVERKEY, server._secure.keys.public)
        sock.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        sock.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        if identity:
            sock.setsockopt(zmq.ROUTING_ID, identity)
        if kind == zmq.SUB:
            sock.subscribe(b"greeting\0")
        sock.connect(server.address if kind == zmq.DEALER else server.pub_address)
        return sock

    return make


def hello(name):
    return Encoder().encode(
        Hello(VERSION, name, name.encode().ljust(16, b"-"), b"", 1, False, False, b"", ())
    )


def hears(sock, kind):
    decode = Decoder(FROM_BROKER).decode
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        if sock.poll(100):
            for message in decode(sock.recv()):
                if type(message) is kind:
                    return message
    pytest.fail(f"no {kind.__name__} came")


def test_each_connection_has_the_origin_of_its_key(running, connect):
    for name, keys in (("alice", ALICE), ("bob", BOB)):
        sock = connect(keys)
        sock.send(hello(name))
        assert hears(sock, Welcome).name == name
    origins = {c.origin.name: c.origin for c in running._intake._connections.callers.values()}
    assert {name: o.key for name, o in origins.items()} == {
        "alice": ALICE.public,
        "bob": BOB.public,
    }
    assert {o.address for o in origins.values()} == {"127.0.0.1"}


def reachable(server, identity):
    try:
        server._router.send_multipart([identity, b""], zmq.NOBLOCK)
    except zmq.ZMQError as error:
        return error.errno != zmq.EHOSTUNREACH  # Not so where there only is no room.
    return True


def test_a_frame_under_anothers_routing_id_is_not_anothers(server, connect, monkeypatch):
    """libzmq lets a peer plant an id.  With a key of its own it still speaks for itself."""
    said = []
    monkeypatch.setattr(
        server._core, "receive", lambda identity, frame, origin: said.append(origin.name)
    )
    lost = []
    monkeypatch.setattr(server._core, "lost", lost.append)
    alice = connect(ALICE, identity=b"planted")
    alice.send(b"one")
    end = time.monotonic() + WITHIN
    monkeypatch.setattr(intake_module, "_is_own", lambda identity: False)
    while len(said) < 1 and time.monotonic() < end:
        server._gate.hear()
        server._intake.drain()
    alice.close()
    # Until it is gone, the second of a routing id gets no answer at all.
    while reachable(server, b"planted"):
        assert time.monotonic() < end
        server._router.poll(10)
    # It may be on its way out still; then this one gets no answer ever, and another is to try.
    while len(said) < 2:
        assert time.monotonic() < end
        bob = connect(BOB, identity=b"planted")
        bob.send(b"two")
        another = time.monotonic() + 1.0
        while len(said) < 2 and time.monotonic() < another:
            server._gate.hear()
            server._intake.drain()
            server._router.poll(10)
        bob.close(linger=0)
    assert said == ["alice", "bob"]
    assert lost == [b"planted"]


class Said:
    """A frame, as ZeroMQ hands it on: of a key, by a descriptor that may be another's by now."""

    more = False

    def __init__(self, keys, fd, data):
        self.bytes = data
        self._told = {zmq.SRCFD: fd, "Peer-Address": "127.0.0.1", MARK: keys.public.hex()}
        self.get = self._told.__getitem__


class Queue:
    """A socket with frames that wait."""

    def __init__(self, frames):
        self._frames = frames

    def recv(self, flags=0, copy=True):
        if not self._frames:
            raise zmq.Again
        return self._frames.pop(0)


@pytest.fixture
def reused():
    """A descriptor that two connections had, one after the other."""
    ends = socket.socketpair()
    yield ends[0].fileno()
    for end in ends:
        end.close()


@pytest.mark.parametrize("first", ["bob", "alice"])
def test_a_frame_of_a_connection_that_is_gone_is_not_of_who_has_its_descriptor(
    server, monkeypatch, reused, first
):
    """Nor is what that one says of the former: whichever comes first."""
    said = []
    monkeypatch.setattr(
        server._core, "receive", lambda identity, frame, origin: said.append((frame, origin.name))
    )
    who = {"alice": (b"\0aaaa", ALICE), "bob": (b"\0bbbb", BOB)}
    order = [first, *who.keys() - {first}] * 2
    frames = []
    for name in order:
        identity, keys = who[name]
        frames += [identity, Said(keys, reused, name.encode())]
    monkeypatch.setattr(server._intake, "_router", Queue(frames))
    assert server._intake.drain()
    assert said == [(name.encode(), name) for name in order]


@pytest.mark.parametrize("keys", [ALICE, BOB], ids=["alice", "bob"])
def test_a_subscription_of_a_connection_that_is_gone_is_not_of_who_has_its_descriptor(
    server, monkeypatch, reused, keys
):
    """So the key of who came last is found when it is taken back."""
    former = BOB if keys is ALICE else ALICE
    frames = [Said(one, reused, b"\1greeting\0") for one in (former, keys)]
    monkeypatch.setattr(server._publisher, "take", lambda: frames)
    server._intake.hear_subscribers()
    connections = server._intake._connections
    assert list(connections.subscribers_of([keys.public])) == [reused]
    assert not connections.subscribers_of([former.public])


def test_what_a_dismissed_key_says_is_not_heard_and_its_connections_end(
    running, connect, monkeypatch
):
    alice, listener, bob = connect(ALICE), connect(ALICE, zmq.SUB), connect(BOB)
    alice.send(hello("alice"))
    hears(alice, Welcome)
    bob.send(hello("bob"))
    hears(bob, Welcome)
    assert listener.poll(WITHIN * 1000)
    gone = [s.get_monitor_socket(zmq.EVENT_DISCONNECTED) for s in (alice, listener)]
    heard = []
    receive = running._core.receive

    def watched(identity, frame, origin):
        heard.append(origin.name)
        receive(identity, frame, origin)

    monkeypatch.setattr(running._core, "receive", watched)
    begin = running._begin

    def revoked():
        monkeypatch.setattr(running, "_begin", begin)
        begin()
        keys = running._core._members.revoke("alice")
        parted = running._intake.part_with(keys)
        running._core.hand.expel(parted, Code.NOT_ALLOWED, "no more")
        alice.send(Encoder().encode(Echo(1, ("too late",))))

    monkeypatch.setattr(running, "_begin", revoked)
    bob.send(Encoder().encode(Info(1, "")))
    assert hears(alice, Farewell).code == "not_allowed"
    for monitor in gone:
        assert monitor.poll(WITHIN * 1000)
    for sock in (alice, listener):
        sock.disable_monitor()
    assert "alice" not in heard
    assert running._core._echo.head == 0
