"""The gate of a secure broker: ZeroMQ asks here whether a key may come in.

The broker's sockets speak CURVE (rfc.zeromq.org/spec/26) and ask by ZAP
(rfc.zeromq.org/spec/27) at each handshake.  The answer is given in the broker's own loop: a
handler in another thread that died of an exception would have every handshake hang.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import NamedTuple

import zmq
from zmq.utils import z85

from ..wire.keys import key_text
from ..wire.limits import KEY_LENGTH
from .config import StartError
from .connections import NO_FD, Connection
from .origin import Origin
from .sockets import told_of

ZAP = "inproc://zeromq.zap.01"

TALK, HEAR = b"chatbroker.talk", b"chatbroker.hear"
"""The ZAP domains of the ROUTER and of the PUB.  An invitation is good for the first only."""

MARK = "X-Key"
"""The property by which ZeroMQ then tells of each message whose it is: the key, in hex.  It
comes from the answer given here, and nothing that a peer says of itself replaces it."""

MOST_ANSWERS = 64
"""Handshakes that are answered in one turn."""

PROVE_WITHIN = 10.0
"""Seconds that the trial at the start may take; it takes some milliseconds."""

WITHOUT_KEY = [zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL]
"""What one without a key meets: that the gate wants one, or, if the gate sees first that it has
none, the end of the connection."""

Admit = Callable[[bytes, str], Origin | None]
"""Who comes by a key from an address; None: nobody that is admitted."""


class KeyPair(NamedTuple):
    """A CURVE key pair, in bytes."""

    public: bytes
    secret: bytes

    @classmethod
    def fresh(cls) -> KeyPair:
        """A new pair."""
        public, secret = zmq.curve_keypair()
        return cls(_decoded(public), _decoded(secret))

    @classmethod
    def of(cls, secret: bytes) -> KeyPair:
        """The pair to which *secret* belongs."""
        return cls(_decoded(zmq.curve_public(_encoded(secret))), secret)


class Gate:
    """Answers whether a key may come in.  Raises zmq.ZMQError if it cannot be made."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: KeyPair,
        admit: Admit,
        note: Callable[..., None],
    ) -> None:
        self._context = context
        self._keys = keys
        self._admit = admit
        self._note = note
        """Writes a decision down."""
        self._on_trial = False
        """Whether the broker does not serve yet: then nothing is written down."""
        self.socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        # It must be there before the sockets are bound: without a handler libzmq would let in
        # any key at all.
        self.socket.bind(ZAP)

    def secure(self, domain: bytes) -> Callable[[zmq.Socket[bytes]], None]:
        """What makes a socket ask here, before it is bound."""

        def make(sock: zmq.Socket[bytes]) -> None:
            sock.setsockopt(zmq.CURVE_SERVER, 1)
            sock.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret)
            sock.setsockopt(zmq.ZAP_DOMAIN, domain)
            sock.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

        return make

    def hear(self) -> None:
        """Answers the handshakes that wait."""
        for _ in range(MOST_ANSWERS):
            try:
                request = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.socket.send_multipart(self._answer(request))

    def origin(self, mark: str, address: str) -> Origin | None:
        """Who a message with *mark* is from; None, if the key is admitted no more."""
        return self._admit(bytes.fromhex(mark), address)

    def _answer(self, request: list[bytes]) -> list[bytes]:
        # Libzmq itself asks, in this process: the form is as the specification says.
        sender, empty, version, id, domain, peer, _routing_id, mechanism, *credentials = request
        origin = None
        address = peer.decode(errors="replace")
        key = credentials[0] if len(credentials) == 1 else b""
        if mechanism == b"CURVE" and len(key) == KEY_LENGTH and domain in (TALK, HEAR):
            origin = self._admit(key, address)
            if origin is not None and origin.invited and domain != TALK:
                origin = None
        status, name, properties = b"400", b"", b""
        if origin is not None:
            status, name, properties = b"200", origin.name.encode(), _property(MARK, key.hex())
        elif not self._on_trial:
            self._note("refused_key", address=address, key=key_text(key))
        return [sender, empty, version, id, status, b"OK", name, properties]

    # --- the trial ------------------------------------------------------------------------

    def prove(self, talk: str, hear: str, owner: KeyPair) -> None:
        """Tries the gate at both endpoints before anyone is told of them: a key that nobody knows
        and a client without one must be refused, and the broker's *owner* let in.

        Raises StartError: then the broker must not serve.
        """
        self._on_trial = True
        stranger = KeyPair.fresh()
        for endpoint, kind in ((talk, zmq.DEALER), (hear, zmq.SUB)):
            for who, keys, wanted in (
                ("a key that nobody knows", stranger, [zmq.EVENT_HANDSHAKE_FAILED_AUTH]),
                ("a client without a key", None, WITHOUT_KEY),
                ("the broker's own user", owner, [zmq.EVENT_HANDSHAKE_SUCCEEDED]),
            ):
                seen = self._try(endpoint, kind, keys)
                if seen not in wanted:
                    expected = " or ".join([zmq.Event(one).name or "" for one in wanted])
                    happened = zmq.Event(seen).name if seen else "nothing"
                    raise StartError(
                        f"the broker's gate does not hold at {endpoint}: {who} met {happened} "
                        f"instead of {expected}; so it does not start"
                    )
        self._on_trial = False

    def _try(self, endpoint: str, kind: int, keys: KeyPair | None) -> int:
        """How a handshake with *keys* ends; 0 if it does not."""
        ends = (
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        with self._context.socket(kind) as visitor:
            visitor.setsockopt(zmq.LINGER, 0)
            visitor.setsockopt(zmq.IPV6, 1)
            if keys is not None:
                visitor.setsockopt(zmq.CURVE_SERVERKEY, self._keys.public)
                visitor.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
                visitor.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
            monitor: zmq.Socket[bytes] = visitor.get_monitor_socket(ends)
            visitor.connect(endpoint)
            poller = zmq.Poller()
            poller.register(monitor, zmq.POLLIN)
            poller.register(self.socket, zmq.POLLIN)
            until = time.monotonic() + PROVE_WITHIN
            seen = 0
            while not seen and time.monotonic() < until:
                ready = dict(poller.poll(100))
                self.hear()
                if monitor in ready:
                    (seen, _value) = struct.unpack("=HI", monitor.recv_multipart()[0])
            visitor.disable_monitor()
            monitor.close(linger=0)
        return seen

    def close(self) -> None:
        """Closes the gate: no handshake succeeds any more."""
        self.socket.close(linger=0)


def meet(part: zmq.Frame, gate: Gate | None) -> tuple[Connection, bool]:
    """The connection that *part* came by, one without a descriptor if ZeroMQ does not tell;
    and whether *gate* admits it still."""
    try:
        fd = int(part.get(zmq.SRCFD))
    except zmq.ZMQError:
        # The peer speaks ZMTP 2 or older, of which ZeroMQ tells nothing, and which has no
        # encryption.
        return Connection(NO_FD, Origin(), ""), True
    # Empty, if it was gone before ZeroMQ asked.
    address = told_of(part, "Peer-Address")
    if gate is None:
        return Connection(fd, Origin(address), ""), True
    mark = told_of(part, MARK)
    admitted = gate.origin(mark, address)
    if admitted is None:
        return Connection(fd, Origin(address), mark), False
    return Connection(fd, admitted, mark), True


def _property(name: str, value: str) -> bytes:
    """A property of a connection, as ZAP's metadata has it."""
    return bytes([len(name)]) + name.encode() + struct.pack(">I", len(value)) + value.encode()


def _encoded(key: bytes) -> bytes:
    return z85.encode(key)


def _decoded(key: bytes) -> bytes:
    return z85.decode(key)
