"""A broker under a fake clock, and people who talk to it.

``world`` is the broker and its connections.  A peer *says* messages, which is one frame and
one turn of the broker, and gets what the broker told it in return::

    alice = world.joins("alice")
    assert alice.says(Info(1, "")) == [Users(1, (User("alice", world.wall),), False)]

or *posts* them, to be read together with other frames in the next ``world.turn()``.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import settings
from journals import EPOCH
from scenes import Scene

from chatbroker.broker import server as server_module
from chatbroker.broker import watch
from chatbroker.broker.config import Config
from chatbroker.broker.core import Broker
from chatbroker.broker.database import FILE
from chatbroker.broker.effects import Deliver, Effect, Note, Publish
from chatbroker.broker.members import Members
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.origin import Origin
from chatbroker.broker.server import Server
from chatbroker.broker.sockets import IO_THREADS
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.broker.user import Settings
from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.limits import MAX_FETCH, MAX_FRAME, MAX_MESSAGES, VERSION
from chatbroker.wire.messages import (
    Ack,
    Batch,
    Cursor,
    Echo,
    Fetch,
    Follow,
    Hello,
    Message,
    Ping,
    Send,
    Start,
    Welcome,
)
from serving import WITHIN, SocketPeer

settings.register_profile("unit", max_examples=50, deadline=None, print_blob=True)
settings.load_profile("unit")

NOON = 1_700_000_000_000
"""The wall clock at the beginning, in milliseconds since 1970."""


class Heard(list):
    """What somebody was told, in order."""

    def of(self, kind: type) -> list:
        return [message for message in self if type(message) is kind]

    @property
    def texts(self) -> list[str]:
        """What was said, by the batches among these."""
        return [event.text for batch in self.of(Batch) for event in batch.events]

    @property
    def codes(self) -> list[str]:
        """Why something was refused, by whatever message."""
        found: list[str] = []
        for message in self:
            if type(message) is Ack:
                found += [refusal.code for refusal in message.refused]
            elif hasattr(message, "code"):
                found.append(message.code)
        return found


class Peer:
    """One connection, and who is at its other end."""

    def __init__(self, world: World, identity: bytes, session: bytes) -> None:
        self.world = world
        self.identity = identity
        self.session = session
        self.name = ""
        self.cseq = 0
        """The last command number given."""
        self.attempt = 0
        """That of the last HELLO."""
        self.welcome: Welcome | None = None
        self.origin = Origin("127.0.0.1")
        self.reachable = True
        """False: its connection is gone, which the broker learns when it sends to it."""
        self.frames: list[bytes] = []
        """What was delivered and not yet looked at."""

    # --- talking in frames ----------------------------------------------------------------

    def posts(self, *messages: Message | bytes) -> None:
        """*messages* in one frame, or in as few as may be, to be read in the next turn."""
        self.world.post(self.identity, messages)

    def says(self, *messages: Message | bytes) -> Heard:
        """One frame of *messages*, and what came back in that turn."""
        self.frames.clear()
        self.posts(*messages)
        self.world.turn()
        return self.hears()

    def hears(self) -> Heard:
        """What was delivered since the last look."""
        frames, self.frames = self.frames, []
        assert all(len(frame) <= MAX_FRAME for frame in frames)
        heard = Heard(m for frame in frames for m in self.world.decoder.decode(frame))
        for welcome in heard.of(Welcome):
            self.welcome, self.cseq = welcome, welcome.cseq
        return heard

    @property
    def resumed(self) -> bool:
        """Whether the session was there before the HELLO that was welcomed last."""
        assert self.welcome is not None
        return self.welcome.born < self.attempt

    # --- talking --------------------------------------------------------------------------

    def hello(
        self,
        name: str | None = None,
        *,
        session: bytes | None = None,
        credential: bytes = b"",
        attempt: int | None = None,
        exclusive: bool = False,
        claim: bool = False,
        replaces: bytes = b"",
        follows: Iterable[str | Follow] | None = None,
    ) -> Hello:
        """A HELLO of this peer's.  It follows both logs from now on, unless told otherwise."""
        self.name = self.name if name is None else name
        self.session = self.session if session is None else session
        if follows is None:
            follows = ("echo", "direct") if self.name else ("echo",)
        wanted = [Follow(f, b"", Start.NOW, 0) if type(f) is str else f for f in follows]
        self.attempt = self.world.attempt(self.session) if attempt is None else attempt
        return Hello(
            VERSION,
            self.name,
            self.session,
            credential,
            self.attempt,
            exclusive,
            claim,
            replaces,
            tuple(wanted),
        )

    def joins(self, name: str | None = None, **how: object) -> Heard:
        return self.says(self.hello(name, **how))

    def send(self, to: str, text: str) -> Send:
        """The next command: a text to one user."""
        self.cseq += 1
        return Send(self.cseq, to, (text,))

    def echo(self, text: str) -> Echo:
        """The next command: a text to everyone."""
        self.cseq += 1
        return Echo(self.cseq, (text,))

    def sends(self, to: str, text: str) -> Heard:
        return self.says(self.send(to, text))

    def echoes(self, text: str) -> Heard:
        return self.says(self.echo(text))

    def pings(self, ref: int = 1, resolved: int | None = None, read: int | None = None) -> Heard:
        """States what it sent, what it knows to be resolved, how far it has read its mail."""
        cursors = () if read is None else (Cursor("direct", self.epoch("direct"), read),)
        known = self.cseq if resolved is None else resolved
        return self.says(Ping(ref, self.cseq, known, cursors))

    def fetches(self, log: str, after: int = 0, budget: int = MAX_FETCH, ref: int = 1) -> Heard:
        return self.says(Fetch(ref, log, self.epoch(log), after, budget))

    def epoch(self, log: str) -> bytes:
        """As the last WELCOME told it."""
        assert self.welcome is not None
        return {reading.log: reading.epoch for reading in self.welcome.readings}[log]


class World:
    """The broker, its clock, and everyone around it."""

    def __init__(
        self, journal: object = None, members: Members | None = None, **chosen: float
    ) -> None:
        self._made = 0
        self.journal = MemoryJournal() if journal is None else journal
        settings = Settings(pub_port=5556, **chosen)
        self.broker = Broker(settings, self.journal, self.fresh, members)
        self.now = 1000.0
        self.wall = NOON
        self.peers: dict[bytes, Peer] = {}
        self.published: list[tuple[bytes, Message]] = []
        """What went to everyone: topic and message."""
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.effects: list[Effect] = []
        """Of the last turn."""
        self.decoder = Decoder(FROM_BROKER)
        self._encode = Encoder().encode
        self._posted: list[tuple[bytes, bytes]] = []
        self._attempts: Counter[bytes] = Counter()

    def attempt(self, session: bytes) -> int:
        """HELLOs of a session are counted, whatever connection they go over."""
        self._attempts[session] += 1
        return self._attempts[session]

    def fresh(self, length: int) -> bytes:
        self._made += 1
        return self._made.to_bytes(length, "big")

    # --- the turns ------------------------------------------------------------------------

    def post(self, identity: bytes, messages: Iterable[Message | bytes]) -> None:
        pieces = [m if type(m) is bytes else self._encode(m) for m in messages]
        for start in range(0, len(pieces), MAX_MESSAGES):
            self._posted.append((identity, b"".join(pieces[start : start + MAX_MESSAGES])))

    def turn(self, after: float = 0.01, all_heard: bool = True) -> None:
        """One turn of the broker, *after* seconds since the last one."""
        self.begin(after)
        if not self.broker.held:
            self.receive()
        self.ends_turn(all_heard)

    def begin(self, after: float = 0.01) -> None:
        self.now += after
        self.wall += round(after * 1000)
        self.broker.begin(self.now, self.wall)

    def receive(self) -> None:
        """Hands over what was posted."""
        posted, self._posted = self._posted, []
        for identity, frame in posted:
            self.broker.receive(identity, frame, self.peers[identity].origin)

    def ends_turn(self, all_heard: bool = True) -> None:
        """What was received is stored, told, and acknowledged."""
        self.effects = []
        self.perform(self.broker.commit(all_heard))
        self.perform(self.broker.acknowledge())

    def perform(self, effects: list[Effect]) -> None:
        """What the sockets would do."""
        self.effects += effects
        for effect in effects:
            match effect:
                case Publish(topic, frame):
                    assert len(frame) <= MAX_FRAME
                    self.published += [(topic, m) for m in self.decoder.decode(frame)]
                case Deliver(identity, frame):
                    if self.peers[identity].reachable:
                        self.peers[identity].frames.append(frame)
                    else:
                        self.broker.lost(identity)
                case Note(what, fields):
                    self.notes.append((what, fields))

    def tidies(self) -> None:
        """What the broker does when nobody waits."""
        self.perform(self.broker.tidy())

    def passes(self, seconds: float, alive: Iterable[Peer] = ()) -> None:
        """Time goes by, in turns of the broker, while those *alive* send signs of life."""
        until = self.now + seconds
        while self.now < until:
            for peer in alive:
                peer.posts(Ping(1, peer.cseq, peer.cseq, ()))
            self.turn(after=min(0.5, until - self.now))

    def shuts_down(self) -> None:
        self.perform(self.broker.shutdown())

    # --- people ---------------------------------------------------------------------------

    def connects(self) -> Peer:
        """Somebody who has not said HELLO yet."""
        number = len(self.peers) + 1
        identity = b"\0" + number.to_bytes(4, "big")
        peer = self.peers[identity] = Peer(self, identity, b"session" + number.to_bytes(9, "big"))
        return peer

    def joins(self, name: str, **how: object) -> Peer:
        """Somebody who is on by the name of *name*; an observer, if it is empty."""
        peer = self.connects()
        heard = peer.joins(name, **how)
        assert heard.of(Welcome), heard
        return peer

    def loses(self, *peers: Peer) -> None:
        """Their connections are gone, and the broker knows."""
        for peer in peers:
            peer.reachable = False
            self.broker.lost(peer.identity)

    def returns(self, peer: Peer, **how: object) -> Peer:
        """*peer* connects again and goes on with its session."""
        again = self.connects()
        again.name, again.session = peer.name, peer.session
        heard = again.joins(**how)
        assert heard.of(Welcome), heard
        return again

    def crowd(self, count: int) -> list[Peer]:
        """*count* users who join in one turn: user0000, user0001, …"""
        peers = [self.connects() for _ in range(count)]
        for number, peer in enumerate(peers):
            peer.posts(peer.hello(f"user{number:04}"))
        self.turn()
        assert all(peer.hears().of(Welcome) for peer in peers)
        return peers

    def hears(self, topic: bytes) -> Heard:
        """What was published under *topic* since the last look."""
        heard = Heard(message for on, message in self.published if on == topic)
        self.published = [(on, message) for on, message in self.published if on != topic]
        return heard


@pytest.fixture(scope="session")
def world_with() -> Callable[..., World]:
    """Makes a world with settings or a journal of the test's own."""
    return World


@pytest.fixture
def world() -> World:
    return World()


class TrackedContext(zmq.Context):  # type: ignore[type-arg]
    """Keeps its sockets until the end of the test: one that nobody holds would be closed."""

    def __init__(self) -> None:
        super().__init__(IO_THREADS)
        self.__dict__["made"] = []

    def socket(self, *args: Any, **options: Any) -> Any:
        self.__dict__["made"].append(super().socket(*args, **options))
        return self.__dict__["made"][-1]


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    """A ZeroMQ context for a broker's sockets; they are closed after the test."""
    context = TrackedContext()
    try:
        yield context
    finally:
        context.destroy(linger=0)


@pytest.fixture
def servers(monkeypatch):
    """Makes servers on free ports; those that run are stopped after the test."""
    monkeypatch.setattr(server_module, "READ_GOODBYE", 0.02)  # These peers read what they have.
    made = []

    def make(**config):
        server = Server(Config(**({"port": 0} | config)), lambda config, port: MemoryJournal())
        server.thread = None
        made.append(server)
        return server

    yield make
    for server in made:
        if server.thread is not None:
            if server.thread.is_alive():
                server.stop()
            server.thread.join(WITHIN)
        else:
            server.close()


@pytest.fixture
def running(servers):
    """Starts a server in a thread."""

    def start(**config):
        server = servers(**config)
        server.thread = threading.Thread(target=server.run, daemon=True)
        server.thread.start()
        return server

    return start


@pytest.fixture
def peers(context):
    made = []

    def connect(server, *args, **options):
        made.append(SocketPeer(context, server, *args, **options))
        return made[-1]

    yield connect
    for peer in made:
        peer.socket.close()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def opened(path):
    """Opens the journal, again if it is open."""
    journals: list[SqliteJournal] = []

    def open_it(*, crash: bool = False, **options: object) -> SqliteJournal:
        if journals:
            # As after kill -9: nothing is folded, nothing is noted.
            journals[-1]._db.close() if crash else journals[-1].close()
        journals.append(SqliteJournal(path, **options))
        journals[-1].kept = journals[-1].load(EPOCH)
        return journals[-1]

    yield open_it
    for journal in journals:
        journal.close()


@pytest.fixture
def journal(opened) -> SqliteJournal:
    return opened()


@pytest.fixture
def make_scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scene]]:
    """Makes a watch, and listeners for it.  ZeroMQ's thread is taken to be busy, so that the watch
    is not at ease."""
    monkeypatch.setattr(watch, "CALM_EVERY", watch.LOOK_EVERY)
    with ExitStack() as made:

        def make(**options: Any) -> Scene:
            scene = Scene(**options)
            made.callback(scene.close)
            return scene

        yield make


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    """One where the watch knows what descriptors there are."""
    scene = make_scene()
    scene.looks(2)
    return scene
