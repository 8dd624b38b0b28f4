"""MQTT 3.1.1: https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html."""

from __future__ import annotations

import contextlib
import socket
from functools import cache

from ..prepared import BLOCK, Repeated, repeated
from ..sessions import Unexpected
from ..streams import ByteReader, Counter, Replying
from .speech import PAYLOAD, Speaker, Speech, ask, connect

CONNECT, PUBLISH, PUBACK, SUBSCRIBE = 0x10, 0x30, 0x40, 0x82
QOS_1 = 0x02
CLEAN_SESSION = 0x02
MOST_IDS = 65_535
"""A packet id has two bytes, and is not 0."""

ACK = 4
"""Bytes of a PUBACK."""


class Mqtt(Speech):
    """With QoS 1 sessions are kept when a client has gone, and so is what was for it."""

    def __init__(self, qos: int) -> None:
        self._qos = qos

    def reader(self, port: int, name: str, to: str) -> Counter:
        sock = self._connected(port, name)
        subscription = b"\0\1" + string(to) + bytes((self._qos,))
        ask(sock, packet(SUBSCRIBE, subscription), bytes((0x90, 3, 0, 1, self._qos)))
        if self._qos:
            return AckingReader(sock, to)
        return ByteReader(sock, len(published(to)))

    def speaker(self, port: int, name: str, to: str) -> Speaker:
        sock = self._connected(port, name)
        if not self._qos:
            return Speaker(sock, repeated(published(to)))
        # An id may be used again when it is acknowledged, which it is long before.
        said = [published(to, number) for number in range(1, BLOCK + 1)]
        return Speaker(sock, Repeated(b"".join(said), len(said[0])), ByteReader(sock, ACK))

    def _connected(self, port: int, name: str) -> socket.socket:
        sock = connect(port)
        flags = 0 if self._qos else CLEAN_SESSION
        body = string("MQTT") + bytes((4, flags, 0, 0)) + string(name)
        ask(sock, packet(CONNECT, body), b"\x20\x02\0\0")
        return sock


class AckingReader(Replying):
    """Acknowledges what it gets with QoS 1.

    Every PUBLISH is as long as the other, and the server numbers those of a connection in turn, so
    that the acknowledgements are made beforehand.  That the numbers are what they should be is
    looked at once in each receive.
    """

    def __init__(self, sock: socket.socket, to: str) -> None:
        super().__init__(sock)
        message = published(to, 1)
        self._size = len(message)
        self._id_at = len(message) - len(PAYLOAD) - 2
        self._rest = b""
        self._total = 0
        self._unsaid = b""

    @property
    def total(self) -> int:
        return self._total

    def take(self) -> None:
        got = self._rest + self.receive()
        whole = len(got) // self._size
        if whole:
            at = (whole - 1) * self._size + self._id_at
            last = (self._total + whole - 1) % MOST_IDS + 1
            if int.from_bytes(got[at : at + 2], "big") != last:
                raise Unexpected("packet ids do not follow each other")
            start = self._total % MOST_IDS * ACK
            self._unsaid += acks()[start : start + whole * ACK]
            self._total += whole
        self._rest = got[whole * self._size :]

    def miss(self) -> None:
        self.reply()

    def reply(self) -> None:
        if self._unsaid:
            with contextlib.suppress(BlockingIOError):
                sent = self.sock.send(self._unsaid)
                self._unsaid = self._unsaid[sent:]


@cache
def acks() -> bytes:
    """A PUBACK for each id in turn, and then for some more."""
    ids = (*range(1, MOST_IDS + 1), *range(1, BLOCK + 1))
    return b"".join([packet(PUBACK, number.to_bytes(2, "big")) for number in ids])


def published(topic: str, number: int = 0) -> bytes:
    """A message of a run: QoS 1 if it has a *number*, else QoS 0."""
    if number:
        return packet(PUBLISH | QOS_1, string(topic) + number.to_bytes(2, "big") + PAYLOAD)
    return packet(PUBLISH, string(topic) + PAYLOAD)


def packet(kind: int, body: bytes) -> bytes:
    """Of less than 128 bytes, so that its length takes one."""
    if len(body) > 127:
        raise ValueError("a packet of a run is short")
    return bytes((kind, len(body))) + body


def string(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()
