"""The gate of a secure broker, on real sockets in this process."""

from __future__ import annotations

import struct
import threading
import time

import pytest
import zmq

from chatbroker.broker import gate as gate_module
from chatbroker.broker.config import StartError
from chatbroker.broker.gate import HEAR, MARK, TALK, Gate, KeyPair
from chatbroker.broker.origin import Origin
from chatbroker.broker.sockets import bind_pub, bind_router, bound_to
from chatbroker.client.access import Access
from chatbroker.client.link import present_keys
from chatbroker.wire.keys import key_text
from chatbroker.wire.limits import MAX_FRAME

WITHIN = 15.0

SERVER, OWNER, ALICE, TOKEN, STRANGER = (KeyPair.fresh() for _ in range(5))


def admit(key, address):
    return {
        OWNER.public: Origin(address, "", key),
        ALICE.public: Origin(address, "alice", key),
        TOKEN.public: Origin(address, "bob", key, invited=True),
    }.get(key)


class Gated:
    """A gate and the two sockets behind it, which a thread looks after."""

    def __init__(self, context, admit=admit, guarded=True):
        self.noted = []
        self.gate = Gate(context, SERVER, admit, self._note)
        secure = self.gate.secure if guarded else lambda domain: None
        self.router = bind_router(context, "127.0.0.1", 0, secure(TALK))
        self.pub = bind_pub(context, "127.0.0.1", 0, secure(HEAR))

    def _note(self, what, **fields):
        self.noted.append((what, fields))


@pytest.fixture
def gated(context):
    return Gated(context)


def knock(context, gated, keys, kind=zmq.DEALER, server=SERVER, **options):
    """How a handshake ends, and the socket it was for."""
    endpoint = bound_to(gated.router if kind == zmq.DEALER else gated.pub)
    sock = context.socket(kind)
    for name, value in options.items():
        sock.setsockopt(getattr(zmq, name), value)
    if keys is not None:
        sock.setsockopt(zmq.CURVE_SERVERKEY, server.public)
        sock.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        sock.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    monitor = sock.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_SUCCEEDED
        | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    )
    sock.connect(endpoint)
    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        gated.gate.hear()
        gated.pub.poll(0)
        gated.router.poll(0)
        if monitor.poll(10):
            event, _ = struct.unpack("=HI", monitor.recv_multipart()[0])
            sock.disable_monitor()
            monitor.close(linger=0)
            return zmq.Event(event), sock
    pytest.fail("the handshake did not end")


FAILED = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
}


@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.SUB])
def test_who_is_admitted_comes_in_and_nobody_else(context, gated, kind):
    assert knock(context, gated, ALICE, kind)[0] == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert knock(context, gated, OWNER, kind)[0] == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert knock(context, gated, STRANGER, kind)[0] == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert knock(context, gated, None, kind)[0] in FAILED
    assert knock(context, gated, ALICE, kind, server=STRANGER)[0] in FAILED


def test_an_invitation_is_good_for_the_router_alone(context, gated):
    assert knock(context, gated, TOKEN, zmq.DEALER)[0] == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert knock(context, gated, TOKEN, zmq.SUB)[0] == zmq.EVENT_HANDSHAKE_FAILED_AUTH


def test_whose_a_message_is_the_gate_tells_and_not_the_peer(context, gated):
    claims = {"METADATA": b"X-Key:" + OWNER.public.hex().encode()}
    event, sock = knock(context, gated, ALICE, **claims)
    assert event == zmq.EVENT_HANDSHAKE_SUCCEEDED
    sock.send(b"hello")
    assert gated.router.poll(WITHIN * 1000)
    gated.router.recv()
    part = gated.router.recv(copy=False)
    assert part.bytes == b"hello"
    assert part.get("User-Id") == "alice"
    assert gated.gate.origin(part.get(MARK), "10.0.0.1") == Origin(
        "10.0.0.1", "alice", ALICE.public
    )


def test_a_frame_may_be_as_long_as_where_nothing_is_encrypted(context, gated):
    """ZeroMQ holds the encrypted size against what it is told to be the most."""
    sock = context.socket(zmq.DEALER)
    present_keys(sock, Access("127.0.0.1", 0, server_key=SERVER.public, secret=ALICE.secret))
    sock.connect(bound_to(gated.router))
    with sock, sock.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
        sock.send(b"x" * MAX_FRAME)
        until = time.monotonic() + WITHIN
        while not gated.router.poll(10):
            assert time.monotonic() < until
            gated.gate.hear()
        identity, frame = gated.router.recv_multipart()
        assert len(frame) == MAX_FRAME
        gated.router.send_multipart([identity, frame])
        assert sock.poll(WITHIN * 1000)
        assert sock.recv() == frame
        sock.send(b"x" * (MAX_FRAME + 1))
        assert monitor.poll(WITHIN * 1000)
        sock.disable_monitor()


def test_a_key_that_was_taken_back_is_nobodys(context):
    admitted = {ALICE.public: Origin("10.0.0.1", "alice", ALICE.public)}
    gated = Gated(context, lambda key, address: admitted.get(key))
    assert knock(context, gated, ALICE)[0] == zmq.EVENT_HANDSHAKE_SUCCEEDED
    admitted.clear()
    assert gated.gate.origin(ALICE.public.hex(), "10.0.0.1") is None
    assert knock(context, gated, ALICE)[0] == zmq.EVENT_HANDSHAKE_FAILED_AUTH


def test_refusals_are_noted_with_the_key_as_people_know_it(context, gated):
    knock(context, gated, STRANGER)
    told = {"address": "127.0.0.1", "key": key_text(STRANGER.public)}
    assert gated.noted == [("refused_key", told)]


# --- the trial at the start ---------------------------------------------------------------


def prove(gated):
    gated.gate.prove(bound_to(gated.router), bound_to(gated.pub), OWNER)


def test_a_gate_that_holds_is_proved_without_a_word(gated):
    prove(gated)
    assert not gated.noted


def test_strangers_who_knock_during_the_trial_do_not_disturb_it(context, gated):
    """What it is to be noted with is not there yet when a broker starts."""
    sock = context.socket(zmq.DEALER)
    sock.setsockopt(zmq.CURVE_SERVERKEY, SERVER.public)
    sock.setsockopt(zmq.CURVE_PUBLICKEY, STRANGER.public)
    sock.setsockopt(zmq.CURVE_SECRETKEY, STRANGER.secret)
    sock.connect(bound_to(gated.router))
    assert gated.gate.socket.poll(WITHIN * 1000)
    prove(gated)
    assert not gated.noted
    knock(context, gated, STRANGER)
    assert len(gated.noted) == 1


@pytest.mark.parametrize("end", ["FAILED_PROTOCOL", "FAILED_NO_DETAIL", "SUCCEEDED"])
def test_who_has_no_key_may_see_the_connection_end_first(gated, monkeypatch, end):
    """Either end may find out first."""
    tried = gated.gate._try

    def meet(endpoint, kind, keys):
        return tried(endpoint, kind, keys) if keys else zmq.Event[f"HANDSHAKE_{end}"]

    monkeypatch.setattr(gated.gate, "_try", meet)
    if end.startswith("FAILED"):
        prove(gated)
        return
    words = r"a client without a key met HANDSHAKE_SUCCEEDED instead of \w+PROTOCOL or \w+DETAIL;"
    with pytest.raises(StartError, match=words):
        prove(gated)


def test_a_gate_that_lets_everyone_in_is_found_out(context):
    gated = Gated(context, lambda key, address: Origin(address, "anyone", key))
    with pytest.raises(StartError, match="a key that nobody knows met HANDSHAKE_SUCCEEDED"):
        prove(gated)


def test_a_gate_that_is_not_asked_is_found_out(context):
    with pytest.raises(StartError, match="does not start"):
        prove(Gated(context, guarded=False))


def test_a_gate_that_lets_nobody_in_is_found_out(context):
    gated = Gated(context, lambda key, address: None)
    with pytest.raises(StartError, match="the broker's own user met HANDSHAKE_FAILED_AUTH"):
        prove(gated)


def test_a_pub_that_stands_open_is_found_out(context):
    gated = Gated(context)
    gated.pub.close()
    gated.pub = bind_pub(context, "127.0.0.1", 0, None)
    with pytest.raises(StartError, match=r"does not hold at tcp://127\.0\.0\.1"):
        prove(gated)


def test_a_handshake_that_never_ends_is_found_out(context, monkeypatch):
    monkeypatch.setattr(gate_module, "PROVE_WITHIN", 0.3)
    gated = Gated(context)
    monkeypatch.setattr(gated.gate, "hear", lambda: None)
    with pytest.raises(StartError, match="met nothing"):
        prove(gated)


def test_a_pair_belongs_to_its_secret():
    assert KeyPair.of(ALICE.secret) == ALICE
    assert len({KeyPair.fresh().secret for _ in range(10)}) == 10


def test_only_so_many_handshakes_are_answered_in_a_turn(context, monkeypatch):
    monkeypatch.setattr(gate_module, "MOST_ANSWERS", 2)
    asked = []
    gated = Gated(context, lambda key, address: asked.append(key))
    for _ in range(5):
        sock = context.socket(zmq.DEALER)
        sock.setsockopt(zmq.CURVE_SERVERKEY, SERVER.public)
        sock.setsockopt(zmq.CURVE_PUBLICKEY, STRANGER.public)
        sock.setsockopt(zmq.CURVE_SECRETKEY, STRANGER.secret)
        sock.connect(bound_to(gated.router))
    until = time.monotonic() + WITHIN
    while len(asked) < 5 and time.monotonic() < until:
        before = len(asked)
        gated.gate.hear()
        assert len(asked) - before <= 2
        threading.Event().wait(0.01)
    assert len(asked) == 5
