"""A connection to a broker that runs in this process, spoken by hand."""

from __future__ import annotations

import os
import socket
import time

import pytest
import zmq

from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.limits import VERSION
from chatbroker.wire.messages import Follow, Hello, Info, Start, Users, Welcome

WITHIN = 15.0
"""Seconds within which what must come comes."""


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="there is no IPv6 here")


class SocketPeer:
    """A connection to the broker, spoken by hand."""

    def __init__(self, context, server, identity=b"", **options):
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        if identity:
            self.socket.setsockopt(zmq.ROUTING_ID, identity)
        for name, value in options.items():
            self.socket.setsockopt(getattr(zmq, name), value)
        self.socket.connect(server.address)
        self._decode = Decoder(FROM_BROKER).decode
        self._heard = []
        self.hello = None

    def says(self, *messages):
        pack = Encoder().encode
        self.socket.send(b"".join(m if type(m) is bytes else pack(m) for m in messages))

    def hears(self, kind, within=WITHIN):
        """The next message of that kind; others wait to be asked for."""
        end = time.monotonic() + within
        while True:
            for message in self._heard:
                if type(message) is kind:
                    self._heard.remove(message)
                    return message
            left = end - time.monotonic()
            assert left > 0, f"no {kind.__name__} came"
            if self.socket.poll(left * 1000):
                self._heard += self._decode(self.socket.recv())

    def heard(self, kind):
        """What came of that kind while others were waited for."""
        heard = [message for message in self._heard if type(message) is kind]
        self._heard = [message for message in self._heard if type(message) is not kind]
        return heard

    def joins(self, name, follows=("direct",)):
        wanted = tuple([Follow(log, b"", Start.AFTER, 0) for log in follows])
        session = name.encode().ljust(16, b"-") if name else os.urandom(16)
        self.hello = Hello(VERSION, name, session, b"", 1, False, False, b"", wanted)
        self.says(self.hello)
        return self.hears(Welcome)

    def serves(self):
        """Whether the broker answers."""
        self.says(Info(1, ""))
        return self.hears(Users).ref == 1
