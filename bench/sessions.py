"""Sessions with the broker, and what sends over them as fast as its window allows."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.limits import ID_LENGTH, VERSION
from chatbroker.wire.messages import (
    Ack,
    Batch,
    Bye,
    Farewell,
    Fetched,
    Follow,
    Hello,
    Message,
    Pong,
    Start,
    Welcome,
)

from . import zmtp
from .prepared import Prepared, Repeated
from .streams import Counter

WINDOW = 1000
"""Messages under way from one sender: within the broker's limit, and whole frames of 100."""


class Unexpected(RuntimeError):
    """The other side said what it should not."""


def hello(name: str, follow: str = "") -> Hello:
    """The HELLO of a new session, which follows the log *follow*, if that is not empty."""
    return Hello(
        version=VERSION,
        name=name,
        session=os.urandom(ID_LENGTH),
        credential=b"",
        attempt=1,
        exclusive=False,
        claim=False,
        replaces=b"",
        follows=(Follow(follow, b"", Start.NOW, 0),) if follow else (),
    )


class Session:
    """A connection that has said HELLO and was let in."""

    def __init__(self, endpoint: str, name: str, follow: str = "") -> None:
        self.inbox = zmtp.connect(endpoint, b"DEALER")
        self.sock = self.inbox.sock
        self._encode = Encoder().encode
        self.decode = Decoder(FROM_BROKER).decode
        self.say(hello(name, follow))
        self.welcome: Welcome = self._expect(Welcome)

    def say(self, message: Message) -> None:
        self.sock.sendall(zmtp.frame(self._encode(message)))

    def _expect(self, kind: type) -> Any:
        while True:
            for _, start, stop in self.inbox.frames():
                for message in self.decode(bytes(self.inbox.buffer[start:stop])):
                    if isinstance(message, kind):
                        return message
                    if not isinstance(message, Ack | Pong | Batch | Fetched):
                        raise Unexpected(f"{kind.__name__} expected, not {message}")
            if not self.inbox.fill():
                raise TimeoutError(f"no {kind.__name__} came")

    def messages(self) -> list[Any]:
        """What the broker said and is waiting, after one receive."""
        said: list[Any] = []
        self.inbox.fill()
        for _, start, stop in self.inbox.frames():
            said += self.decode(bytes(self.inbox.buffer[start:stop]))
        return said

    def close(self) -> None:
        """Leaves, so that the name is free, and closes."""
        with contextlib.suppress(OSError, Unexpected):
            self.sock.settimeout(2.0)
            self.say(Bye())
            self._expect(Farewell)
        self.sock.close()


class Sender:
    """Sends what was prepared, as far as the window allows: *window* messages under way."""

    def __init__(
        self, sock: socket.socket, prepared: Prepared | Repeated, window: int = WINDOW
    ) -> None:
        self.sock = sock
        self._window = window
        self.messages = prepared.messages
        self.acked = self.messages
        """How many are acknowledged.  All of them, where nobody acknowledges."""
        self.full = False
        """The socket would take no more."""
        self._prepared = prepared
        self._a_frame = prepared.a_frame
        self._frames = prepared.messages // prepared.a_frame
        self._sent = 0

    def advance(self, settled: int) -> None:
        """Sends on, until the window beyond *settled* messages is full."""
        frames = min((settled + self._window) // self._a_frame, self._frames)
        allowed = self._prepared.end(frames)
        if allowed > self._sent:
            with contextlib.suppress(BlockingIOError):
                self._sent += self.sock.send(self._prepared.piece(self._sent, allowed))
            self.full = self._sent < allowed

    def step(self, number: int) -> None:
        """Sends the *number*-th frame, the ones before it being sent."""
        end = self._prepared.end
        self.sock.sendall(self._prepared.piece(end(number - 1), end(number)))

    def read(self) -> None:
        raise Unexpected("an answer to a sender that should have none, or the end of its stream")


class Answered(Sender):
    """A sender that is told of each of its messages; *answers* counts."""

    def __init__(self, prepared: Prepared | Repeated, answers: Counter) -> None:
        super().__init__(answers.sock, prepared)
        self._answers = answers
        self.acked = 0

    def read(self) -> None:
        self._answers.read()
        self.acked = self._answers.counted
        if self.acked > self.messages:
            raise Unexpected("more acknowledgements than messages")


class Acknowledged(Sender):
    """A sender that the broker tells what it has."""

    def __init__(self, session: Session, prepared: Prepared) -> None:
        super().__init__(session.sock, prepared)
        self._session = session
        self.acked = 0

    def read(self) -> None:
        for message in self._session.messages():
            if not isinstance(message, Ack) or message.refused or message.after > self.acked:
                raise Unexpected(f"not the acknowledgement of every command: {message}")
            self.acked = message.upto
