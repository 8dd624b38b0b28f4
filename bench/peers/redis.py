"""The protocol of redis-server, RESP: https://redis.io/docs/latest/develop/reference/protocol-spec/."""

from __future__ import annotations

import socket

from ..prepared import repeated
from ..sessions import Unexpected
from ..streams import ByteReader, Counter, LineReader, Replying
from .speech import PAYLOAD, Speaker, Speech, ask, connect

AT_MOST = 1000
"""Entries that a reader takes at once."""

_HEAD = 5
"""Lines of an answer to XREAD before its first entry: *1 *2 $n name *entries."""
_ENTRY = 8
"""Lines of an entry: *2 $n id *2 $1 t $64 text."""


class PubSub(Speech):
    """PUBLISH and SUBSCRIBE.  Who publishes turns answers off."""

    def reader(self, port: int, name: str, to: str) -> Counter:
        sock = connect(port)
        ask(sock, command("SUBSCRIBE", to), b":1\r\n")
        return ByteReader(sock, len(command("message", to, PAYLOAD)))

    def speaker(self, port: int, name: str, to: str) -> Speaker:
        sock = connect(port)
        sock.sendall(command("CLIENT", "REPLY", "OFF"))
        return Speaker(sock, repeated(command("PUBLISH", to, PAYLOAD)))


class Streams(Speech):
    """XADD, whose answer comes when it is on disk, to a stream for each reader, and XREAD."""

    def __init__(self) -> None:
        self._streams: set[str] = set()

    def clear(self, port: int) -> None:
        # A stream that is deleted and made again could give an id twice in one millisecond.
        with connect(port) as sock:
            for stream in self._streams:
                ask(sock, command("XTRIM", stream, "MAXLEN", "0"), b"\r\n")

    def reader(self, port: int, name: str, to: str) -> Counter:
        self._streams.add(to)
        return StreamReader(connect(port), to)

    def speaker(self, port: int, name: str, to: str) -> Speaker:
        sock = connect(port)
        # An answer is the length of the id, and the id.
        return Speaker(sock, repeated(command("XADD", to, "*", "t", PAYLOAD)), LineReader(sock, 2))


class StreamReader(Replying):
    """Asks for what is new in a stream, and again when the answer is there."""

    def __init__(self, sock: socket.socket, stream: str) -> None:
        super().__init__(sock)
        self._stream = stream
        self._answer = b""
        self._total = 0
        self._after = b"0"
        """The entry after which it is going to ask, when it has what it asked for."""
        self.reply()

    @property
    def total(self) -> int:
        return self._total

    def reply(self) -> None:
        if self._after:
            options = ("COUNT", str(AT_MOST), "BLOCK", "0", "STREAMS", self._stream)
            self.sock.sendall(command("XREAD", *options, self._after))
            self._after = b""

    def take(self) -> None:
        self._answer += self.receive()
        head = self._answer.split(b"\r\n", _HEAD)
        if len(head) <= _HEAD:
            return
        if not head[4].startswith(b"*"):
            raise Unexpected(f"not an answer to XREAD: {self._answer[:200]!r}")
        entries = int(head[4][1:])
        lines = self._answer.count(b"\n")
        if lines < _HEAD + _ENTRY * entries:
            return
        if lines > _HEAD + _ENTRY * entries or self._answer.count(PAYLOAD) != entries:
            raise Unexpected("an answer to XREAD that was not asked for")
        self._total += entries
        # Of the last entry: id *2 $1 t $64 text, and the end.
        self._after = self._answer.rsplit(b"\r\n", 7)[1]
        self._answer = b""


def command(*words: str | bytes) -> bytes:
    """A command, or what a server pushes: an array of strings."""
    made = f"*{len(words)}\r\n".encode()
    for word in words:
        body = word.encode() if isinstance(word, str) else word
        made += f"${len(body)}\r\n".encode() + body + b"\r\n"
    return made
