"""A watch over two listening ports, and who connects to them."""

from __future__ import annotations

import os
import socket

from chatbroker.broker.connections import Connection, Connections
from chatbroker.broker.origin import Origin
from chatbroker.broker.watch import LIST_EVERY, Watch

QUIET = 60.0
PATIENCE = 10.0
PIECE = b"x" * 4096


class Scene:
    """Two listening ports, a watch over them, and a clock of the test's own."""

    def __init__(self, **chosen):
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        ports = [listener.getsockname()[1] for listener in self.listeners]
        self.connections = Connections()
        options = {"limit": 100_000, "quiet": QUIET} | chosen
        self.watch = Watch(self.connections, *ports, **options)
        self.now = 1000.0
        self.open = []

    def connects(self, sub=False):
        """Both ends of a connection: the broker's and the peer's."""
        listener = self.listeners[sub]
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        theirs.setblocking(False)
        self.open += [ours, theirs]
        return ours, theirs

    def says(self, ours, frames=1, taken=0):
        """Whole frames were taken out of it."""
        fd = ours.fileno()
        found = self.connections.at(fd, os.fstat(fd).st_ino)
        if found is None:
            name = b"%d" % fd
            found = self.connections.meet(name, Connection(fd, Origin("127.0.0.1"), ""))
        found.said.frames += frames
        found.said.bytes += taken

    def sends(self, theirs, ours, size):
        """*size* bytes arrive and are read, as by libzmq, which tells nobody of them yet."""
        while size > 0:
            sent = theirs.send(PIECE[:size])
            size -= sent
            while sent:
                sent -= len(ours.recv(sent))

    def looks(self, times=1, drained=True, after=LIST_EVERY):
        for _ in range(times):
            self.now += after
            self.watch.look(self.now, drained)

    def close(self):
        self.watch.close()
        for sock in self.open + self.listeners:
            sock.close()


def is_cut(theirs):
    try:
        return theirs.recv(1) == b""
    except BlockingIOError:
        return False
