"""The edge of a client: a DEALER, a SUB and their connections.  Only here zmq is imported.

A ``Link`` is driven by one thread that calls `step` again and again.
"""

from __future__ import annotations

import errno
import random
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from math import inf

import zmq
from zmq.utils import z85

from ..command.spare import MORE, descriptors_needed
from ..wire.limits import CURVE_OVERHEAD, MAX_FRAME
from ..wire.messages import GREETING_TOPIC
from .access import Access
from .core import ClientCore, Phase
from .errors import ClientError, Unreachable
from .inbox import MOST_EVENTS

DESCRIPTORS = 24
"""Of a client on its own context: both sockets, their connections and ZeroMQ's threads take 13, and
what is opened beside it some more, such as a terminal or the pipes of a command."""

MOST_FRAMES = 256
"""Frames taken from one socket before the other has its turn."""

FULL_FOR = 1.0
"""Seconds for which what is published is left where it is when there is no room for it: a program
that is busy makes some soon.  One that takes less than half of what there is room for in that time
rests, and fetches it later: the broker cuts off who keeps too much waiting."""

# Heartbeats are the client's side of the bargain: the broker sets none (a broker that stalls
# must not lose healthy clients), so a connection that died without a word shows here.  The kernel
# tells of most, as a PING of the protocol is not confirmed or a probe of TCP; ZMTP's heartbeats
# find those that somebody in between keeps up, and each costs the broker more than a probe.
OPTIONS: dict[int, int] = {
    zmq.HEARTBEAT_TIMEOUT: 15_000,
    zmq.TCP_MAXRT: 15_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 15,
    zmq.TCP_KEEPALIVE_INTVL: 5,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.MAXMSGSIZE: MAX_FRAME,
}
DEALER_OPTIONS: dict[int, int] = {
    zmq.HEARTBEAT_IVL: 60_000,
    # Without a connection nothing is queued: what waited in a queue would reach the
    # connection's successor before its HELLO.  The outbox keeps what is to be sent.
    zmq.IMMEDIATE: 1,
    zmq.SNDHWM: 64,
    zmq.RCVHWM: 1000,
    zmq.LINGER: 500,
}
# Frames of up to 60 KiB, so 90 MB at most for a program that takes nothing while much is said.
SUB_OPTIONS: dict[int, int] = {zmq.RCVHWM: 1500, zmq.LINGER: 0}

LEAST_HEARTBEAT = 15.0
"""Seconds between two heartbeats of a SUB; more if the broker wants fewer PINGs than that."""

MOST_HEARTBEAT = 86_400.0
"""The same at most: ZeroMQ counts them in an int of milliseconds."""

HANDSHAKES = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

ATTEMPTS = zmq.EVENT_CONNECTED | zmq.EVENT_CLOSED
"""How attempts to connect end: something takes the connection, or nothing is there."""

RECONNECT_AFTER = 200, 1000
"""Milliseconds between which each socket draws how long it waits before it tries again.  Fixed, it
would make a herd of all clients when a broker comes back; libzmq adds up to as much again at
random, so the wait is 0.2 to 2 s."""

PEEK_WITHIN = 1.0
"""Seconds for a look at how the broker greets."""

MOST_FAILURES = 3
"""Handshakes that may break off in a row before the broker is taken for another one.  One alone
may have been cut by a broker that stopped."""

LOOK_EVERY = 0.1
"""Seconds between two looks for a way in that a broker left for its own user meanwhile."""

LOOKS = 20
"""So many at a broker that was not there at first: it listens a moment before it leaves that."""


def require_descriptors() -> None:
    """Raises ClientError if there are none left for a client's sockets."""
    if needed := descriptors_needed(DESCRIPTORS):
        raise ClientError(f"too many open files: a client needs some {needed}; {MORE}")


class Link:
    """The sockets of one client core.  Raises ClientError or Unreachable."""

    def __init__(
        self,
        core: ClientCore,
        find: Callable[[], Access],
        lock: AbstractContextManager[object],
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        """*find*: tells the way in; what it raises is raised."""
        self._core = core
        self._find = find
        self._access = access = find()
        self._looks: int | None = None
        """How many more looks for a way in are worth it; None if the broker was always there."""
        self._again_at = inf
        """When to connect anew, after such a look."""
        self._host = f"[{access.host}]" if ":" in access.host else access.host
        self._failures = 0
        """Handshakes in a row that the broker broke off."""
        self.there = False
        """Whether something took the last connection, be it a broker that works or not."""
        self._stood = False
        """Whether that got as far as to be used."""
        self._lock = lock
        """Held while the core is used, and never while waiting or sending."""
        require_descriptors()
        self._own_context = context is None
        self._context = context or zmq.Context()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._poller = zmq.Poller()
        self._poller.register(self._wake_reader, zmq.POLLIN)
        self._sub: zmq.Socket[bytes] | None = None
        self._sub_port: int | None = None
        self._sub_life = 0
        """How many WELCOMEs there had been when it was made."""
        self._published: deque[list[bytes]] = deque()
        """What was taken from it and waits for room."""
        self._full_since = -FULL_FOR
        """When there was no room, after the program had taken so many."""
        self._taken = -MOST_EVENTS
        """How many events it had taken then."""
        self._unsent: list[bytes] = []
        self._dealer = self._socket(zmq.DEALER, DEALER_OPTIONS)
        self._monitor: zmq.Socket[bytes] = self._dealer.get_monitor_socket(
            ATTEMPTS | HANDSHAKES | zmq.EVENT_DISCONNECTED
        )
        self._poller.register(self._dealer, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            self._connect(self._dealer, access.port)
        except Unreachable:
            self.close()
            raise

    def _socket(self, kind: int, options: dict[int, int]) -> zmq.Socket[bytes]:
        sock: zmq.Socket[bytes] = self._context.socket(kind)
        try:
            for option, value in (OPTIONS | options).items():
                sock.setsockopt(option, value)
            present_keys(sock, self._access)
            if self._host.startswith("["):
                sock.setsockopt(zmq.IPV6, 1)
            # RECONNECT_IVL_MAX would remove what libzmq adds, so it is not set.
            sock.setsockopt(zmq.RECONNECT_IVL, random.randint(*RECONNECT_AFTER))
        except BaseException:
            sock.close(0)  # The end of the context would wait for it for ever.
            raise
        return sock

    def _connect(self, sock: zmq.Socket[bytes], port: int | None) -> None:
        try:
            sock.connect(f"tcp://{self._host}:{port}")
        except zmq.ZMQError as error:
            raise Unreachable(
                f"cannot connect to {self._host}:{port}: {error}; is the address right?"
            ) from None

    def wake(self) -> None:
        """Ends a `step` that waits.  May be called from any thread."""
        try:
            self._wake_writer.send(b"\0")
        except OSError:
            # Full of earlier calls, which wake it just as well; or closed, and nobody waits.
            return

    def step(self, longest: float) -> None:
        """Waits up to *longest* seconds for something to do, and does it."""
        pause = longest
        # While the connection takes no more, nothing new is asked of the core: what is overdue
        # there would have this spin.
        if not self._unsent:
            with self._lock:
                pause = min(self._core.pause(time.monotonic()), longest)
        now = time.monotonic()
        pause = max(min(pause, self._again_at - now), 0.0)
        if (full := self._full(now)) or self._published:
            pause = min(pause, full)
        self._hear_pub(not full)
        ready = dict(self._poller.poll(int(pause * 1000) + 1 if pause > 0 else 0))
        if self._wake_reader.fileno() in ready:
            self._wake_reader.recv(4096)
        changes = _drain(self._monitor) if self._monitor in ready else []
        # All frames before a change of connection: what the old one brought still counts, and
        # must not be taken for the new one's.
        most = sys.maxsize if changes else MOST_FRAMES
        frames = _drain(self._dealer, most) if self._dealer in ready or changes else []
        if self._sub is not None and self._sub in ready and not self._published:
            self._published.extend(_drain(self._sub))
        now = time.monotonic()
        with self._lock:
            core = self._core
            for frame, *more in frames:
                # What has several parts is no frame, whatever the first of them may be.
                core.received(b"" if more else frame, now)
            if core.welcomes != self._sub_life:
                self._published.clear()
            while self._published and not self._full(now):
                topic, *rest = self._published.popleft()
                if rest:
                    core.published(rest[0], now)
                elif topic == GREETING_TOPIC:
                    core.greeted(now)
            for change in changes:
                event, value = struct.unpack("=HI", change[0])
                self._take_change(event, value, now)
        if now >= self._again_at:
            self._connect_again()
        self._follow_pub()
        self._send(now)

    def _full(self, now: float) -> float:
        """Seconds for which nothing that was published is taken, as there is no room."""
        inbox = self._core.inbox
        if inbox.has_room:
            return 0.0
        if inbox.taken - self._taken >= MOST_EVENTS // 2:
            self._full_since, self._taken = now, inbox.taken
        return max(self._full_since + FULL_FOR - now, 0.0)

    def _hear_pub(self, wanted: bool) -> None:
        """Has the next `step` wake for what is published, or leave it where it is."""
        if self._sub is not None and (self._sub in self._poller) != wanted:
            self._poller.modify(self._sub, zmq.POLLIN if wanted else 0)

    def _take_change(self, event: int, value: int, now: float) -> None:
        """The connection came, went, or was refused."""
        if self._again_at < inf:
            return  # It is given up.
        if event & ATTEMPTS:
            self.there = event == zmq.EVENT_CONNECTED
            if not self.there and self._looks is None:
                self._looks = LOOKS
            return
        self._unsent.clear()
        if event == zmq.EVENT_DISCONNECTED:
            # Whoever cuts each connection at its beginning is there; of a broker that was, nobody
            # knows before the next attempt, which may come too late for whoever gives up.
            self.there, self._stood = self.there and not self._stood, False
            self._core.disconnected()
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._failures, self._stood = 0, True
            # Anew with each connection: one of the clocks may have been set, or have stood still.
            self._core.heartbeat.phase = time.time() - now
            self._core.connected(now)
        else:
            self._failures += event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            words = why_refused(event, value, self._failures, self._access)
            if words and self._finds_another(now):
                self._core.doubted = words
            elif words:
                self._core.turned_away(words)

    def _finds_another(self, now: float) -> bool:
        """Whether there is another way in than the one by which this was refused, or may be soon.

        A secure broker tells its own user of one when it serves; whoever began before went by what
        was there then.  Who was let in once has met the broker, and takes no other for it."""
        if self._core.pub_port is not None:
            return False
        try:
            found = self._find()
        except ClientError:
            return False  # Why this one failed says more.
        if found != self._access and found.server_key:
            self._access, self._failures = found, 0
        elif self._looks and not self._access.server_key:
            self._looks -= 1
        else:
            return False
        self._again_at = now + LOOK_EVERY
        return True

    def _connect_again(self) -> None:
        """ZeroMQ does not, when the mechanisms differ."""
        self._again_at = inf
        with suppress(zmq.ZMQError):  # Of what it gave up it may know nothing.
            self._dealer.disconnect(f"tcp://{self._host}:{self._access.port}")
        present_keys(self._dealer, self._access)
        self._connect(self._dealer, self._access.port)

    def _send(self, now: float) -> None:
        """Sends what is due until the connection takes no more."""
        send = self._dealer.send
        while True:
            if not self._unsent:
                with self._lock:
                    self._unsent = self._core.outgoing(now)
                if not self._unsent:
                    self._poller.modify(self._dealer, zmq.POLLIN)
                    return
            try:
                while self._unsent:
                    send(self._unsent[0], zmq.NOBLOCK)
                    del self._unsent[0]
            except zmq.Again:
                self._poller.modify(self._dealer, zmq.POLLIN | zmq.POLLOUT)
                return

    def _follow_pub(self) -> None:
        """Subscribes where WELCOME says, and anew with each: data may have been put back by hand,
        and what waits in the SUB be of positions that have other messages by now."""
        port, life = self._core.pub_port, self._core.welcomes
        if (port, life) == (self._sub_port, self._sub_life) or not self._core.topics:
            return
        self._close_sub()
        every = min(max(self._core.heartbeat.every, LEAST_HEARTBEAT), MOST_HEARTBEAT)
        heartbeat = round(every * 1000)
        try:
            self._sub = self._socket(zmq.SUB, SUB_OPTIONS | {zmq.HEARTBEAT_IVL: heartbeat})
        except zmq.ZMQError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                return  # It is tried again; what is said meanwhile is fetched.
            raise
        for topic in (GREETING_TOPIC, *self._core.topics):
            self._sub.setsockopt(zmq.SUBSCRIBE, topic)
        self._connect(self._sub, port)
        self._sub_port, self._sub_life = port, life

    def _close_sub(self) -> None:
        if self._sub is not None:
            self._hear_pub(False)
            self._sub.close()
            self._published.clear()
            self._sub = self._sub_port = None

    def close(self) -> None:
        """Closes the sockets; a last frame gets LINGER to leave."""
        self._close_sub()
        self._dealer.disable_monitor()
        self._monitor.close(linger=0)
        # Only a BYE is worth waiting for, and only if there is somebody to take it.
        self._dealer.close(linger=None if self._core.phase is Phase.LEAVING else 0)
        self._wake_reader.close()
        self._wake_writer.close()
        if self._own_context:
            self._context.term()


def _drain(sock: zmq.Socket[bytes], most: int = MOST_FRAMES) -> list[list[bytes]]:
    """What is waiting on *sock*, as lists of parts, up to *most* of them."""
    messages: list[list[bytes]] = []
    receive = sock.recv_multipart
    try:
        while len(messages) < most:
            messages.append(receive(zmq.NOBLOCK))
    except zmq.Again:
        return messages
    return messages


def fresh_secret() -> bytes:
    """A new secret key."""
    secret: bytes = z85.decode(zmq.curve_keypair()[1])
    return secret


def public_key(secret: bytes) -> bytes:
    """The public key that belongs to *secret*."""
    public: bytes = z85.decode(zmq.curve_public(z85.encode(secret)))
    return public


def present_keys(sock: zmq.Socket[bytes], access: Access) -> None:
    """Has *sock* prove its key, and want the broker to prove its own; nothing for a plain one."""
    if access.server_key:
        sock.setsockopt(zmq.CURVE_SERVERKEY, access.server_key)
        sock.setsockopt(zmq.CURVE_SECRETKEY, access.secret)
        sock.setsockopt(zmq.CURVE_PUBLICKEY, public_key(access.secret))
        sock.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME + CURVE_OVERHEAD)


def why_refused(event: int, value: int, failures: int, access: Access) -> str:
    """Why a handshake failed, in words; empty if it may succeed the next time."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return access.not_admitted if value == 400 else ""
    mechanisms = zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == mechanisms:
        return access.other_mode
    if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        # The end that finds that the mechanisms differ hangs up, and may be the faster one.
        mechanism = mechanism_of(access.host, access.port)
        if mechanism and mechanism != (b"CURVE" if access.server_key else b"NULL"):
            return access.other_mode
        if mechanism == b"CURVE" and failures >= MOST_FAILURES:
            return access.wrong_key
    return ""


def mechanism_of(host: str, port: int) -> bytes:
    """The security mechanism of who listens there, as the greeting of ZMTP tells
    (rfc.zeromq.org/spec/23); empty if nobody says."""
    greeting = b""
    try:
        with socket.create_connection((host, port), PEEK_WITHIN) as sock:
            # As much of one's own as has the other end tell the rest of its.
            sock.sendall(b"\xff" + bytes(8) + b"\x7f\x03")
            while len(greeting) < 32 and (some := sock.recv(64)):
                greeting += some
    except OSError:
        return b""
    return greeting[12:32].rstrip(b"\0")
