"""The protocol of nats-server: https://docs.nats.io/reference/reference-protocols/nats-protocol."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

from ..prepared import repeated
from ..streams import ByteReader, Counter, LineReader
from .speech import PAYLOAD, Speaker, Speech, ask, connect, hear

_PING, _PONG = b"PING\r\n", b"PONG\r\n"
_OPTIONS = {"verbose": False, "pedantic": False, "tls_required": False, "lang": "bench"}
_CONNECT = f"CONNECT {json.dumps(_OPTIONS)}\r\n".encode()


class Core(Speech):
    """What nats-server does by itself: nothing is acknowledged or stored."""

    window = 4000
    """Messages under way that it is fastest with, of 1000 to 16,000: its buffer of what it reads is
    full then.  More is no faster, and at 1000 it takes a tenth less."""

    def reader(self, port: int, name: str, to: str) -> Counter:
        sock = _connected(port)
        ask(sock, f"SUB {to} 1\r\n".encode() + _PING, _PONG)
        return ByteReader(sock, len(delivered(to)))

    def speaker(self, port: int, name: str, to: str) -> Speaker:
        return Speaker(_connected(port), repeated(published(to)), window=self.window)

    def settle(self, socks: Sequence[socket.socket]) -> None:
        # Some two seconds after a client has come the server measures the way to it, whatever
        # ping_interval says.  The next PING is a long time off, so none gets into the count.
        for sock in socks:
            hear(sock, _PING)
            sock.sendall(_PONG)


class JetStream(Core):
    """A stream in a file for each reader; what is acknowledged is the publishing.

    One stream for all of them costs the server half as much again.  Readers are consumers that are
    pushed to and acknowledge nothing: the fastest kind.
    https://docs.nats.io/nats-concepts/jetstream/consumers
    """

    def __init__(self) -> None:
        self._streams: set[str] = set()

    def clear(self, port: int) -> None:
        with _connected(port) as sock:
            for stream in self._streams:
                _request(sock, f"$JS.API.STREAM.PURGE.{stream}", {})

    def reader(self, port: int, name: str, to: str) -> Counter:
        sock = _connected(port)
        ask(sock, f"SUB deliver.{name} 1\r\n".encode() + _PING, _PONG)
        self._streams.add(to)
        stream = {"name": to, "subjects": [_stored(to)], "storage": "file"}
        _request(sock, f"$JS.API.STREAM.CREATE.{to}", stream)
        consumer = {
            "deliver_subject": f"deliver.{name}",
            "deliver_policy": "all",
            "ack_policy": "none",
        }
        request = {"stream_name": to, "config": consumer}
        _request(sock, f"$JS.API.CONSUMER.CREATE.{to}", request)
        # A head with where the message is in the stream, and the message.
        return LineReader(sock, 2)

    def speaker(self, port: int, name: str, to: str) -> Speaker:
        sock = _connected(port)
        ask(sock, f"SUB inbox.{name} 1\r\n".encode() + _PING, _PONG)
        said = published(f"{_stored(to)} inbox.{name}")
        # A head, and where in the stream the message is.
        return Speaker(sock, repeated(said), LineReader(sock, 2))


def _stored(to: str) -> str:
    """The subject of the stream of what is said to *to*."""
    return f"stored.{to}"


def published(subject: str) -> bytes:
    """A message of a run to *subject*, which a subject for the answer may follow."""
    return f"PUB {subject} {len(PAYLOAD)}\r\n".encode() + PAYLOAD + b"\r\n"


def delivered(subject: str) -> bytes:
    """A message of a run as its subscriber, whose subscription is called 1, gets it."""
    return f"MSG {subject} 1 {len(PAYLOAD)}\r\n".encode() + PAYLOAD + b"\r\n"


def _connected(port: int) -> socket.socket:
    sock = connect(port)
    hear(sock, b"\r\n")  # INFO
    ask(sock, _CONNECT + _PING, _PONG)
    return sock


def _request(sock: socket.socket, subject: str, body: dict[str, Any]) -> None:
    """Asks JetStream for something, over a connection that has no other subscription."""
    payload = json.dumps(body).encode()
    inbox = "inbox.request"
    head = f"SUB {inbox} 2\r\nUNSUB 2 1\r\nPUB {subject} {inbox} {len(payload)}\r\n"
    answer = ask(sock, head.encode() + payload + b"\r\n", b"}\r\n")
    found = json.loads(answer[answer.index(b"{") :])
    if "error" in found:
        raise RuntimeError(f"{subject}: {found['error']}")
