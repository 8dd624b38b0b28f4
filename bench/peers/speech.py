"""How to speak with a server: what each protocol has to tell the load, and the load itself."""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from ..load import PATIENCE, Latency, Run, broadcast, direct, one_by_one
from ..prepared import TEXT, Repeated
from ..processes import Cpu, cpu_of
from ..sessions import WINDOW, Answered, Sender
from ..streams import BUFFER, Counter

PAYLOAD = TEXT.encode()

EVERYONE = "all"
"""What a broadcast is said to: a subject, a topic, a channel."""


class Listening(NamedTuple):
    """A server that runs, and where it listens on the loopback."""

    port: int
    pid: int

    def cpu(self) -> Cpu:
        """What the process has used so far."""
        return cpu_of(self.pid)


class Speaker(NamedTuple):
    """A connection that says the same in every run, more or less often."""

    sock: socket.socket
    said: Repeated
    answers: Counter | None = None
    """Counts acknowledgements, if there are any."""
    window: int = WINDOW
    """Messages that may be under way, if there are none."""

    def sender(self, messages: int) -> Sender:
        """What says *messages* in one run."""
        said = self.said._replace(messages=messages)
        if self.answers is None:
            return Sender(self.sock, said, self.window)
        self.answers.restart()
        return Answered(said, self.answers)


class Speech(ABC):
    """One protocol."""

    @abstractmethod
    def reader(self, port: int, name: str, to: str) -> Counter:
        """A client called *name* that gets what is said to *to*, from now on."""

    @abstractmethod
    def speaker(self, port: int, name: str, to: str) -> Speaker:
        """A client called *name* that is going to speak to *to*."""

    def clear(self, port: int) -> None:  # noqa: B027  Most have nothing to do here.
        """Has the server forget what it stored for runs before."""

    def settle(self, socks: Sequence[socket.socket]) -> None:  # noqa: B027  As above.
        """Takes what clients are told before the first run, when all are there."""


class Crowd(NamedTuple):
    """The clients of one server: they stay for all runs."""

    speech: Speech
    server: Listening
    readers: list[Counter]
    speakers: list[Speaker]

    def direct(self, messages: int) -> Run:
        """*messages* from each speaker to its reader."""
        return direct(self.server, self._senders(messages), self.readers)

    def broadcast(self, messages: int) -> Run:
        """*messages* from each speaker to all readers."""
        return broadcast(self.server, self._senders(messages), self.readers, ())

    def latency(self, messages: int) -> Latency:
        """One message at a time from the first speaker to the first reader."""
        (sender,) = self._senders(messages)
        for one in (sender, self.readers[0]):
            one.sock.settimeout(PATIENCE)
        return one_by_one(sender, self.readers[0])

    def _senders(self, messages: int) -> list[Sender]:
        self.speech.clear(self.server.port)
        for reader in self.readers:
            reader.restart()
        return [speaker.sender(messages) for speaker in self.speakers]


@contextmanager
def pairs(speech: Speech, server: Listening, count: int) -> Iterator[Crowd]:
    """So many speakers, each with a reader of its own."""
    readers = [f"r{number:03}" for number in range(count)]
    with _crowd(speech, server, dict(zip(readers, readers, strict=True)), readers) as crowd:
        yield crowd


@contextmanager
def audience(speech: Speech, server: Listening, speakers: int, fan: int) -> Iterator[Crowd]:
    """So many speakers, and *fan* readers that hear all of them."""
    readers = {f"r{number:03}": EVERYONE for number in range(fan)}
    with _crowd(speech, server, readers, [EVERYONE] * speakers) as crowd:
        yield crowd


@contextmanager
def _crowd(
    speech: Speech, server: Listening, hear: Mapping[str, str], said_to: Sequence[str]
) -> Iterator[Crowd]:
    """Readers by name with what they hear, and speakers by what they speak to."""
    with ExitStack() as stack:
        readers: list[Counter] = []
        speakers: list[Speaker] = []
        for name, to in hear.items():
            readers.append(speech.reader(server.port, name, to))
            stack.callback(readers[-1].sock.close)
        for number, to in enumerate(said_to):
            speakers.append(speech.speaker(server.port, f"s{number:03}", to))
            stack.callback(speakers[-1].sock.close)
        clients: list[Counter | Speaker] = [*readers, *speakers]
        speech.settle([client.sock for client in clients])
        yield Crowd(speech, server, readers, speakers)


def connect(port: int) -> socket.socket:
    """A connection to the loopback, whose calls take `PATIENCE` at most."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def ask(sock: socket.socket, request: bytes, answer: bytes) -> bytes:
    """Says *request*, and reads until the end of what came is *answer*; all that came."""
    sock.sendall(request)
    return hear(sock, answer)


def hear(sock: socket.socket, answer: bytes) -> bytes:
    """Reads until the end of what came is *answer*; all that came."""
    heard = b""
    deadline = time.monotonic() + PATIENCE
    while not heard.endswith(answer):
        got = sock.recv(BUFFER)
        if not got:
            raise ConnectionError(f"closed; said before: {heard[-200:]!r}")
        heard += got
        if time.monotonic() > deadline:
            raise TimeoutError(f"{answer!r} did not come; what came: {heard[-200:]!r}")
    return heard
