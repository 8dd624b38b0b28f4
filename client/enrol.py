"""Hands one's own key over to a secure broker, by the key of an invitation."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import zmq

from ..wire.codec import FROM_BROKER, Decoder, Encoder
from ..wire.errors import WireError
from ..wire.limits import MAX_FRAME, VERSION
from ..wire.messages import Enrol, Enrolled, Error, Refused
from .access import Access
from .address import no_answer
from .errors import NotAuthorised, ProtocolError, Unreachable, session_error
from .link import (
    ATTEMPTS,
    HANDSHAKES,
    present_keys,
    public_key,
    require_descriptors,
    why_refused,
)

ASK_AGAIN = 1.0
"""Seconds after which it is said again."""


def enrol(
    access: Access, secret: bytes, broker: str, timeout: float, hand_over: Callable[[], None]
) -> str:
    """Has the broker admit the key that belongs to *secret*; whose it is then.

    *access*: by the invitation's key.  *broker*: its address, for words.  *hand_over*: called
    before it is told anything; the broker may admit the key from then on.  Raises NotAuthorised,
    Unreachable after *timeout* seconds, ProtocolError; ClientError if no descriptors are left.
    """
    until = time.monotonic() + timeout
    request = Encoder().encode(Enrol(VERSION, public_key(secret)))
    host = f"[{access.host}]" if ":" in access.host else access.host
    require_descriptors()
    with zmq.Context() as context, context.socket(zmq.DEALER) as sock:
        for option, value in ((zmq.LINGER, 0), (zmq.IMMEDIATE, 1), (zmq.MAXMSGSIZE, MAX_FRAME)):
            sock.setsockopt(option, value)
        sock.setsockopt(zmq.IPV6, int(host.startswith("[")))
        present_keys(sock, access)
        with sock.get_monitor_socket(ATTEMPTS | HANDSHAKES) as monitor:
            try:
                sock.connect(f"tcp://{host}:{access.port}")
                return _ask(sock, monitor, request, access, broker, until, hand_over)
            except zmq.ZMQError as error:
                raise Unreachable(
                    f"cannot connect to {broker}: {error}; is the address right?"
                ) from None
            finally:
                sock.disable_monitor()


def _ask(
    sock: zmq.Socket[bytes],
    monitor: zmq.Socket[bytes],
    request: bytes,
    access: Access,
    broker: str,
    until: float,
    hand_over: Callable[[], None],
) -> str:
    poller = zmq.Poller()
    poller.register(sock, zmq.POLLIN)
    poller.register(monitor, zmq.POLLIN)
    failures, say_at, there, said = 0, float("inf"), False, False
    while (now := time.monotonic()) < until:
        if now >= say_at:
            if not said:
                hand_over()
                said = True
            say_at = now + ASK_AGAIN
            try:
                sock.send(request, zmq.NOBLOCK)
            except zmq.Again:
                say_at = now + ASK_AGAIN / 10
        wait = max(min(until, say_at) - now, 0.0)
        ready = dict(poller.poll(int(wait * 1000) + 1))
        if monitor in ready:
            event, value = struct.unpack("=HI", monitor.recv_multipart()[0])
            if event & ATTEMPTS:
                there = event == zmq.EVENT_CONNECTED
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                failures, say_at = 0, 0.0
            else:
                failures += event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
                words = why_refused(event, value, failures, access)
                if words:
                    raise NotAuthorised(f"{words} on {broker}")
        if sock in ready:
            name = _answer(sock.recv(), broker)
            if name:
                return name
    raise no_answer(broker, there)


def _answer(frame: bytes, broker: str) -> str:
    """Whose the key is now; empty, if that is not what *frame* tells."""
    try:
        messages = Decoder(FROM_BROKER).decode(frame)
    except WireError as error:
        raise ProtocolError(f"{broker} sent what is not the protocol: {error}") from None
    for message in messages:
        if isinstance(message, Refused | Error):
            raise session_error(message.code, message.words, broker)
        if isinstance(message, Enrolled):
            return message.name
    return ""
