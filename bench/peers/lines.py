"""The protocols whose messages are lines: IRC, and the classic server's JSON."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence

from ..prepared import TEXT, repeated
from ..streams import ByteReader, Counter, LineReader
from .speech import EVERYONE, Speaker, Speech, ask, connect

_MARK = "calm"


class Irc(Speech):
    """RFC 2812.  Who speaks to a channel need not be in it, as it has no mode ``n``."""

    def reader(self, port: int, name: str, to: str) -> Counter:
        sock = connect(port)
        ask(sock, _register(name), _pong())
        if to != name:
            ask(sock, f"JOIN {_target(to)}\r\nPING {_MARK}\r\n".encode(), _pong())
        return LineReader(sock)

    def speaker(self, port: int, name: str, to: str) -> Speaker:
        sock = connect(port)
        ask(sock, _register(name), _pong())
        return Speaker(sock, repeated(f"PRIVMSG {_target(to)} :{TEXT}\r\n".encode()))

    def settle(self, socks: Sequence[socket.socket]) -> None:
        # Everyone was told of each that joined after.
        for sock in socks:
            ask(sock, f"PING {_MARK}\r\n".encode(), _pong())


def _target(to: str) -> str:
    return f"#{to}" if to == EVERYONE else to


def _register(name: str) -> bytes:
    return f"NICK {name}\r\nUSER {name} 0 * :{name}\r\nPING {_MARK}\r\n".encode()


def _pong() -> bytes:
    return f" :{_MARK}\r\n".encode()


class Classic(Speech):
    """The server in classic.py."""

    def reader(self, port: int, name: str, to: str) -> Counter:
        sock = connect(port)
        ask(sock, _line({"name": name}), _line({"welcome": name}))
        # Names are equally long: so is each line.
        return ByteReader(sock, len(_line({"from": name, "text": TEXT})))

    def speaker(self, port: int, name: str, to: str) -> Speaker:
        sock = connect(port)
        ask(sock, _line({"name": name, "quiet": True}), _line({"welcome": name}))
        said = {"text": TEXT} if to == EVERYONE else {"to": to, "text": TEXT}
        return Speaker(sock, repeated(_line(said)))


def _line(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"
