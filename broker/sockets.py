"""The broker's two sockets: their options, and how they are bound.

The options and the reasons for them are those of docs/architecture.md, "Sockets".
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

import zmq

from ..command.spare import MORE, descriptors_needed
from ..wire.limits import CURVE_OVERHEAD, MAX_FRAME
from ..wire.messages import GREETING_TOPIC
from .config import StartError
from .io_thread import IoThread, threads

ZERO_COPY_RECV = 10
"""A context's option, of which pyzmq does not know the name: whether messages stay in the buffer
that they were received into."""

DESCRIPTORS = 40
"""Of a broker, beside those that it was started with: 21 to 29, and some of clients.  A fifth of
all is not for sessions (``descriptors``)."""

IO_THREADS = 2
"""ZeroMQ's, one for each socket: else nobody is heard while something is sent to all who hear it,
for 70 ms if they are 9,000 (docs/decisions.md)."""

ROUTER_THREAD, PUB_THREAD = range(IO_THREADS)
"""Which of them serves which."""

FRAMES_WAITING = 64
"""Frames of one connection that wait to be heard."""

FRAMES_FOR_A_SUBSCRIBER = 1000
"""Frames that wait for one that does not read; what is published then, it misses."""

# ROUTER_NOTIFY and the like are draft options that the wheel of pyzmq lacks: the broker learns
# that a peer is gone when it sends to it (ROUTER_MANDATORY) or by its silence.
OPTIONS: dict[int, int] = {
    zmq.BACKLOG: 4096,
    zmq.HANDSHAKE_IVL: 10_000,
    zmq.TCP_MAXRT: 10_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.LINGER: 1000,
}
ROUTER_OPTIONS = OPTIONS | {
    zmq.AFFINITY: 1 << ROUTER_THREAD,
    zmq.ROUTER_MANDATORY: 1,
    zmq.ROUTER_HANDOVER: 0,
    # Frames of at most MAX_FRAME, so 4 MiB from one that sends faster than it is heard; then
    # TCP holds it back.
    zmq.RCVHWM: FRAMES_WAITING,
    # Frames of FRAME_TARGET, so 2 MiB for one that does not read.  What it would be pushed
    # beyond that it fetches; a reader that keeps up has far less under way.
    zmq.SNDHWM: 128,
    zmq.MAXMSGSIZE: MAX_FRAME,
}
# What a subscriber sends is subscriptions, and topics are short.  An XPUB hands them on, and a
# PUB would not: so the broker knows whom to cut off, and how many topics each has.  It takes
# all that wait before it tells of any, and walks through all topics when a subscriber goes: so
# the kernel holds as few as it can, and none is longer than the name of a log.  How many may wait
# in libzmq is for the watch to bound, by bytes: where libzmq stops to read at a number of them, a
# reset of the connection may end the process (docs/decisions.md).
PUB_OPTIONS = OPTIONS | {
    zmq.AFFINITY: 1 << PUB_THREAD,
    zmq.SNDHWM: FRAMES_FOR_A_SUBSCRIBER,
    zmq.RCVHWM: 0,
    zmq.RCVBUF: 2304,
    # What lies there is another copy for each subscriber; left to itself the kernel keeps 2.6 MB
    # for one that does not read.  It doubles this.
    zmq.SNDBUF: 128 * 1024,
    zmq.MAXMSGSIZE: 128,
    zmq.XPUB_VERBOSE: 1,
}

NOWHERE = "no such address on this machine"

Secure = Callable[["zmq.Socket[bytes]"], None]
"""Makes a socket admit only whom it may, before it is bound."""


def seed_routing_ids() -> None:
    """libzmq draws routing ids from libc's rand() and never seeds it: the ids of a process
    would be the same at every start, and an id is all that tells connections apart."""
    ctypes.CDLL(None).srand(int.from_bytes(os.urandom(4), "little"))


def lean_frames() -> None:
    """Has pyzmq take frames as those of its backend, for the rest of this process.

    That which it adds to them is a repr and a way to write ``get``, at a seventh of all that the
    loop needs for a message that comes in a frame of its own: it is a class of Python's."""
    zmq.Frame = zmq.backend.Frame  # type: ignore[misc,assignment]


def fresh_context() -> tuple[zmq.Context[zmq.Socket[bytes]], IoThread]:
    """A context for the two, whose connections take less memory (docs/decisions.md, "Messages are
    copied out of what was received"), and its thread for what is published.  Raises StartError if
    there are no descriptors for it."""
    if needed := descriptors_needed(DESCRIPTORS):
        raise StartError(f"too many open files: a broker needs some {needed}; {MORE}")
    known = threads()
    context = zmq.Context(IO_THREADS)
    # A libzmq without it does as it always does.
    with suppress(zmq.ZMQError):
        context.set(ZERO_COPY_RECV, 0)
    context.socket(zmq.PAIR).close()  # With the first one its threads begin.
    return context, IoThread(PUB_THREAD, threads() - known)


def bind_router(
    context: zmq.Context[zmq.Socket[bytes]], host: str, port: int, secure: Secure | None
) -> zmq.Socket[bytes]:
    """The ROUTER, where clients talk.  Raises StartError."""
    longest = MAX_FRAME + CURVE_OVERHEAD
    options = ROUTER_OPTIONS if secure is None else ROUTER_OPTIONS | {zmq.MAXMSGSIZE: longest}
    return _bind(context.socket(zmq.ROUTER), options, host, port, secure, "")


def bind_pub(
    context: zmq.Context[zmq.Socket[bytes]], host: str, port: int, secure: Secure | None
) -> zmq.Socket[bytes]:
    """The socket that publishes.  Raises StartError."""
    pub: zmq.Socket[bytes] = context.socket(zmq.XPUB)
    pub.setsockopt(zmq.XPUB_WELCOME_MSG, GREETING_TOPIC)
    # The handshake of CURVE takes messages of some 300 bytes.
    options = PUB_OPTIONS if secure is None else PUB_OPTIONS | {zmq.MAXMSGSIZE: 384}
    hint = " (for broadcasts; --pub-port chooses another)"
    return _bind(pub, options, host, port, secure, hint)


def _bind(
    sock: zmq.Socket[bytes],
    options: dict[int, int],
    host: str,
    port: int,
    secure: Secure | None,
    hint: str,
) -> zmq.Socket[bytes]:
    for option, value in options.items():
        sock.setsockopt(option, value)
    if secure is not None:
        secure(sock)
    if ":" in host:
        sock.setsockopt(zmq.IPV6, 1)
    try:
        where = endpoint(_resolve(host), port)
        sock.bind(where if port else f"{where[:-1]}*")
    except (zmq.ZMQError, OSError) as error:
        words = f"cannot listen on {endpoint(host, port)}: {reason_of(error)}{hint}"
        raise StartError(words) from None
    return sock


def reason_of(error: zmq.ZMQError | OSError) -> str:
    """Why nothing can listen where it was to."""
    number = error.errno if error.errno is not None else 0
    if isinstance(error, socket.gaierror) or number in (errno.ENODEV, errno.EADDRNOTAVAIL):
        return NOWHERE
    return os.strerror(number).lower() if number in errno.errorcode else str(error)


def free_port(host: str) -> int:
    """A port of *host* that is free at this moment.  Raises StartError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((_resolve(host).replace("*", ""), 0))
            return int(sock.getsockname()[1])
    except OSError as error:
        raise StartError(f"cannot listen on {endpoint(host, 0)}: {reason_of(error)}") from None


def loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on *host*, or nothing can listen there."""
    try:
        return ip_address(_resolve(host).replace("*", "0.0.0.0")).is_loopback
    except (ValueError, OSError):
        return True


def _resolve(host: str) -> str:
    """*host* as an address: ZeroMQ binds to numbers and interfaces, not to names.

    Raises OSError."""
    if host in ("*", "0.0.0.0", "::"):
        return host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if "\0" in host:
            raise UnicodeError  # What follows would be left out, and the rest looked up.
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    except UnicodeError:
        # It has parts of no letters or of more than 63, as no name has (RFC 1035, 2.3.4).
        raise socket.gaierror(socket.EAI_NONAME, NOWHERE) from None
    return str(found[0][4][0])


def endpoint(host: str, port: int) -> str:
    """*host* and *port* as an address."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def port_of(sock: zmq.Socket[bytes]) -> int:
    """The port that *sock* is bound to."""
    return int(bound_to(sock).rpartition(":")[2])


def bound_to(sock: zmq.Socket[bytes]) -> str:
    """Where *sock* is bound, in numbers."""
    address = sock.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(address, bytes)  # By the option's type; for the type checker.
    return address.rstrip(b"\0").decode()


def told_of(part: zmq.Frame, what: str) -> str:
    """What ZeroMQ tells of the connection that *part* came by; empty if it tells nothing."""
    try:
        return str(part.get(what))
    except zmq.ZMQError:
        return ""


def is_own(identity: bytes) -> bool:
    """Whether a client chose its routing id itself: ZeroMQ's are a NUL and four bytes."""
    return len(identity) != 5 or identity[0] != 0
