"""The classic exercise: a chat server of one thread, with a JSON object on each line.

The first line of a client gives its name: ``{"name": "alice"}``; the answer is
``{"welcome": "alice"}``.  Then ``{"text": "hello"}`` goes to everyone else, and
``{"to": "bob", "text": "hello"}`` to one.  Others get ``{"from": "alice", "text": "hello"}``.
Who gives its name with ``"quiet": true`` is sent what is said to it alone.  Nothing is
acknowledged, stored or sent again.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
from typing import Any

AT_ONCE = 64 * 1024


class Client:
    """One connection: what came and is no whole line yet, and what is still to go."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.name = ""
        self.quiet = False
        self.inbox = b""
        self.outbox = bytearray()


class ChatServer:
    """Accepts, reads lines, passes them on; for ever."""

    def __init__(self, port: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._by_name: dict[str, Client] = {}

    def serve(self) -> None:
        while True:
            for key, events in self._selector.select():
                if key.data is None:
                    self._accept()
                    continue
                client = key.data
                if events & selectors.EVENT_READ:
                    self._read(client)
                if events & selectors.EVENT_WRITE and client.sock.fileno() >= 0:
                    self._write(client)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(sock, selectors.EVENT_READ, Client(sock))

    def _read(self, client: Client) -> None:
        try:
            got = client.sock.recv(AT_ONCE)
        except BlockingIOError:
            return
        except ConnectionError:
            got = b""
        if not got:
            self._leave(client)
            return
        *lines, client.inbox = (client.inbox + got).split(b"\n")
        for line in lines:
            try:
                self._line(client, json.loads(line))
            except (ValueError, KeyError, AttributeError):
                self._leave(client)
                return

    def _line(self, client: Client, said: dict[str, Any]) -> None:
        if not client.name:
            if said["name"] in self._by_name:
                raise ValueError("this name is taken")
            client.name, client.quiet = said["name"], said.get("quiet", False)
            self._by_name[client.name] = client
            self._queue(client, {"welcome": client.name})
            return
        message = {"from": client.name, "text": said["text"]}
        if "to" in said:
            to = self._by_name.get(said["to"])
            if to:
                self._queue(to, message)
            return
        line = _encoded(message)
        for other in self._by_name.values():
            if other is not client and not other.quiet:
                self._queue_line(other, line)

    def _queue(self, client: Client, message: dict[str, Any]) -> None:
        self._queue_line(client, _encoded(message))

    def _queue_line(self, client: Client, line: bytes) -> None:
        if not client.outbox:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(client.sock, both, client)
        client.outbox += line

    def _write(self, client: Client) -> None:
        try:
            sent = client.sock.send(client.outbox)
        except BlockingIOError:
            return
        except ConnectionError:
            self._leave(client)
            return
        del client.outbox[:sent]
        if not client.outbox:
            self._selector.modify(client.sock, selectors.EVENT_READ, client)

    def _leave(self, client: Client) -> None:
        if client.name:
            del self._by_name[client.name]
        self._selector.unregister(client.sock)
        client.sock.close()


def _encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


if __name__ == "__main__":
    ChatServer(int(sys.argv[1])).serve()
