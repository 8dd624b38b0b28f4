"""What the tests of the client share.

``talk`` is a client core and the broker's side of the conversation, word by word, under a
clock that the test moves::

    talk = talk_with()
    assert [type(m) for m in talk.connects()] == [Hello]
    talk.hears(talk.welcome())

``puppet`` is a broker on real sockets that says only what the test has it say.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest
import zmq
from feeds import echoes
from hypothesis import settings
from tickets import one

from chatbroker.client import Client, link
from chatbroker.client import client as client_module
from chatbroker.client.access import Access
from chatbroker.client.commands import Ticket
from chatbroker.client.core import ClientCore
from chatbroker.client.feed import Feed
from chatbroker.client.link import Link
from chatbroker.client.reader import Reader
from chatbroker.client.starts import Since
from chatbroker.testing.brokers import BrokerProcess
from chatbroker.wire.codec import FROM_CLIENT, Decoder, Encoder
from chatbroker.wire.limits import VERSION
from chatbroker.wire.messages import (
    GREETING_TOPIC,
    Batch,
    Event,
    Events,
    Hello,
    Limits,
    Message,
    Reading,
    Welcome,
)

settings.register_profile("unit", max_examples=50, deadline=None, print_blob=True)
settings.load_profile("unit")

PATIENCE = 15.0
"""Seconds after which a test gives up on a condition; a busy test machine is slow."""

EPOCH = b"epoch--1"
LOG_EPOCHS = {"echo": b"echo---1", "direct": b"direct-1"}
NOON = 1_700_000_000_000


def pack(*messages: Message) -> bytes:
    """One frame."""
    return b"".join(map(Encoder().encode, messages))


def batch_of(log: str, first: int, *texts: str, prev: int | None = None, **changed: Any) -> Batch:
    """Texts as they lie in a log, from position *first* on."""
    to = "alice" if log == "direct" else ""
    events = Events.of([Event(NOON, "bob", to, text) for text in texts])
    batch = Batch(log, LOG_EPOCHS[log], first - 1 if prev is None else prev, first, events)
    return batch._replace(**changed)


class Heard(list):
    """Messages, in order."""

    def of(self, kind: type) -> list:
        return [message for message in self if type(message) is kind]


class Talk:
    """A client core, and what its broker hears and says."""

    HEARTBEAT = 5.0
    """Seconds, as WELCOME tells."""

    def __init__(self, name: str = "alice", logs: Iterable[str] | None = None, **options) -> None:
        logs = (("echo", "direct") if name else ("echo",)) if logs is None else logs
        readers = [Reader(log, Since.now()) for log in logs]
        self.core = ClientCore(name, b"session-of-alice", readers, **options)
        self.now = 100.0
        self._decode = Decoder(FROM_CLIENT).decode

    def says(self) -> Heard:
        """What the client sends now."""
        frames = self.core.outgoing(self.now)
        return Heard(message for frame in frames for message in self._decode(frame))

    def submits(self, *texts: str) -> list[Ticket]:
        """The program says *texts* to everyone."""
        tickets = [one(None, text) for text in texts]
        for ticket in tickets:
            self.core.submit(ticket.commands)
        return tickets

    def connects(self) -> Heard:
        self.core.connected(self.now)
        return self.says()

    def hears(self, *messages: Message) -> Heard:
        """The broker says *messages* in one frame; what the client answers."""
        self.core.received(pack(*messages), self.now)
        return self.says()

    def passes(self, seconds: float) -> Heard:
        self.now += seconds
        return self.says()

    def welcome(self, heads: dict[str, int] | None = None, **changed: Any) -> Welcome:
        """The answer to the last HELLO; *heads*: of the logs, which are also read from there."""
        readings = tuple(
            [
                Reading(log, LOG_EPOCHS[log], (heads or {}).get(log, 0), (heads or {}).get(log, 0))
                for log in self.core.inbox.readers
            ]
        )
        welcome = Welcome(
            version=VERSION,
            name=self.core.name,
            epoch=EPOCH,
            attempt=self.core._attempt,
            born=1,
            cseq=0,
            credential=b"c" * 16 if self.core.name else b"",
            pub_port=5556,
            heartbeat=round(self.HEARTBEAT * 1000),
            lease=15000,
            limits=Limits(65536, 16384, 1024, 1 << 20),
            readings=readings,
        )
        return welcome._replace(**changed)

    def joins(self) -> Talk:
        """Connected, welcomed; what happened so far is forgotten."""
        self.connects()
        self.hears(self.welcome())
        self.events()
        return self

    def events(self) -> list:
        """What the program would receive; taken and shown."""
        return self.show(len(self.core.inbox.events))

    def show(self, most: int) -> list:
        """The program takes so many and comes back for more."""
        taken = self.core.inbox.take(most)
        self.core.inbox.shown()
        return taken

    def texts(self) -> list[str]:
        return [event.text for event in self.events() if hasattr(event, "text")]


class Puppet:
    """A ROUTER and a PUB that do as they are told.

    *script*: called with the puppet, an identity and each message of a client; a frame is
    sent back by `tells`.  Without a script HELLO is welcomed and nothing else answered.
    """

    def __init__(
        self, script: Callable[[Puppet, bytes, Any], None] | None = None, port: int = 0
    ) -> None:
        self.heard = Heard()
        self.hellos = 0
        self._script = script or Puppet.welcomes
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 0)
        self._router.setsockopt(zmq.RCVHWM, 2)  # Whoever is not read from shall notice.
        self._router.bind(f"tcp://127.0.0.1:{port or '*'}")
        self.port = int(
            self._router.getsockopt(zmq.LAST_ENDPOINT).rpartition(b":")[2].rstrip(b"\0")
        )
        self.pub = self._context.socket(zmq.XPUB)
        self.pub.setsockopt(zmq.LINGER, 0)
        self.pub.setsockopt(zmq.XPUB_WELCOME_MSG, GREETING_TOPIC)
        self.pub_port = self.pub.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._decode = Decoder(FROM_CLIENT).decode
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def welcomes(self, identity: bytes, message: Any, **changed: Any) -> None:
        """Lets the client in."""
        if isinstance(message, Hello):
            self.hellos += 1
            readings = tuple([Reading(f.log, LOG_EPOCHS[f.log], 0, 0) for f in message.follows])
            limits = Limits(65536, 16384, 1024, 1 << 20)
            secret = b"c" * 16 if message.name else b""
            fields = (EPOCH, message.attempt, 1, 0, secret, self.pub_port, 5000, 15000)
            welcome = Welcome(VERSION, message.name, *fields, limits, readings)
            self.tells(identity, welcome._replace(**changed))

    def tells(self, identity: bytes, *messages: Message | bytes) -> None:
        pieces = [m if isinstance(m, bytes) else pack(m) for m in messages]
        self._router.send_multipart([identity, b"".join(pieces)])

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self.pub, zmq.POLLIN)
        while not self._over.is_set():
            ready = dict(poller.poll(20))
            if self.pub in ready:
                self.pub.recv()
            if self._router in ready:
                identity, frame = self._router.recv_multipart()
                for message in self._decode(frame):
                    self.heard.append(message)
                    self._script(self, identity, message)

    def close(self) -> None:
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        self._router.close()
        self.pub.close()
        self._context.term()


@pytest.fixture(scope="module")
def house():
    """A broker that the tests of a module share; each cleans up its clients."""
    with BrokerProcess("--grace", "0.2") as broker:
        yield broker


@pytest.fixture
def connect(house):
    """Clients of the house, closed after the test."""
    made = []

    def client(name=None, **options):
        made.append(Client(name, house.address, **options))
        return made[-1]

    yield client
    for client_ in made:
        client_.close()


@pytest.fixture(autouse=True)
def _quick_to_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here is one of a herd."""
    monkeypatch.setattr(link, "RECONNECT_AFTER", (10, 20))


@pytest.fixture
def short_goodbyes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who closes does not wait long for a broker that is stopped."""
    monkeypatch.setattr(client_module, "GOODBYE", 0.01)


@pytest.fixture
def talk_with() -> type[Talk]:
    """Makes conversations with a client core."""
    return Talk


@pytest.fixture
def talk() -> Talk:
    """Alice, online, who follows both logs."""
    return Talk().joins()


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """Makes batches: ``batch("echo", 1, "hi")``."""
    return batch_of


@pytest.fixture
def puppets() -> Iterator[Callable[..., Puppet]]:
    """Starts brokers that do as they are told."""
    started: list[Puppet] = []

    def start(*args: Any, **options: Any) -> Puppet:
        started.append(Puppet(*args, **options))
        return started[-1]

    yield start
    for puppet in started:
        puppet.close()


@pytest.fixture
def links():
    """Makes links that are closed after the test."""
    made = []

    def make(port, host="127.0.0.1", logs=("echo",), find=None, **options):
        core = ClientCore("alice", b"session-of-alice", [Reader(log, Since.now()) for log in logs])
        for name, value in options.items():
            setattr(core, name, value)
        made.append(Link(core, find or partial(Access, host, port), threading.Lock()))
        made[-1].core = core
        return made[-1]

    yield make
    for one_made in made:
        if one_made._own_context and not one_made._context.closed:
            one_made.close()


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits for a condition, not for ever."""

    def wait(condition: Callable[[], Any], within: float = PATIENCE) -> None:
        end = time.monotonic() + within
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.005)

    return wait


@pytest.fixture
def in_thread() -> Iterator[Callable[..., Any]]:
    """Runs a function in a thread; ``result()`` waits for it and gives or raises what it did."""
    started: list[threading.Thread] = []

    class Running:
        def __init__(self, function: Callable[[], Any]) -> None:
            self.outcome: Any = None
            self.error: BaseException | None = None
            self._function = function
            self.thread = threading.Thread(target=self._run, daemon=True)
            self.thread.start()
            started.append(self.thread)

        def _run(self) -> None:
            try:
                self.outcome = self._function()
            except BaseException as error:  # noqa: BLE001 - handed on by `result`
                self.error = error

        def result(self) -> Any:
            self.thread.join(PATIENCE)
            assert not self.thread.is_alive(), "it still waits"
            if self.error is not None:
                raise self.error
            return self.outcome

    yield Running
    for thread in started:
        thread.join(PATIENCE)


@pytest.fixture
def pipe() -> Iterator[tuple[int, Callable[[bytes], None], Callable[[], None]]]:
    """The end to read from, a function that writes, and one that closes the other end."""
    reader, writer = os.pipe()
    open_ends = [writer]

    def write(data: bytes) -> None:
        while data:
            data = data[os.write(writer, data) :]

    def close() -> None:
        while open_ends:
            os.close(open_ends.pop())

    yield reader, write, close
    close()
    os.close(reader)


@pytest.fixture
def feed_of(client: Any, pipe: Any) -> Iterator[Callable[..., Feed]]:
    """A feed that reads *data*; *handle* carries out a line."""
    descriptor, write, close = pipe
    started: list[Feed] = []

    def start(data: bytes = b"", handle: Any = echoes, end: bool = True, **options: Any) -> Feed:
        feed = Feed(client, handle, descriptor, **options)
        feed.start()
        started.append(feed)
        write(data)
        if end:
            close()
        return feed

    yield start
    close()
    for feed in started:  # Before the number of the descriptor may be another's.
        feed._thread.join(PATIENCE)
