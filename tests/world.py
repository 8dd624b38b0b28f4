"""Broker and clients in memory, under a fake clock: everything but the sockets.

The edges (``broker/server.py``, ``client/link.py``) are played here, as they are where that
matters and less kindly where it may: frames are lost even within a connection, pipes are
full, a connection dies without a word.  Chance comes from one seed; time passes in `run`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import NamedTuple

import msgpack

from chatbroker.broker.core import Broker
from chatbroker.broker.effects import Deliver, Effect, Publish
from chatbroker.broker.journal import CannotStore, Commit, Kept, SessionRecord, UserRecord
from chatbroker.broker.log import Row
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.registry import Registry
from chatbroker.broker.user import Settings
from chatbroker.client.commands import Commands, Ticket
from chatbroker.client.core import ClientCore, Phase
from chatbroker.client.events import Broadcast, Direct, Missed
from chatbroker.client.events import Event as Told
from chatbroker.client.reader import Reader
from chatbroker.client.starts import Since
from chatbroker.wire.batch import unpack_events
from chatbroker.wire.limits import ID_LENGTH
from chatbroker.wire.messages import DIRECT_LOG, ECHO_LOG, Event, Kind, Reading

LATENCY = 0.001
"""Seconds that a frame takes, and the shortest step of time."""

TCP_MAXRT = 10.0
"""Seconds after which the broker's side gives up a connection that died without a word."""

GOODBYE = 0.5
"""Seconds that a client waits for the answer to its BYE before it closes its sockets."""

PUB_PORT = 5556


class Noise(NamedTuple):
    """What befalls frames, each as a probability."""

    lose: float = 0.0
    double: float = 0.0
    late: float = 0.0
    """Delayed by up to ``delay`` seconds; those behind it on the same connection wait."""
    delay: float = 1.0


QUIET = Noise()


class Pipe:
    """Frames on their way in one direction, in order, each with the time when it arrives."""

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames: deque[tuple[float, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def due(self) -> float:
        """When the next frame arrives."""
        return self._frames[0][0] if self._frames else inf

    def put(self, due: float, frame: bytes) -> None:
        if self._frames:
            due = max(due, self._frames[-1][0])
        self._frames.append((due, frame))

    def pop(self) -> bytes:
        return self._frames.popleft()[1]

    def arrived(self, now: float) -> Iterator[bytes]:
        while self._frames and self._frames[0][0] <= now:
            yield self._frames.popleft()[1]

    def cut(self, keep: int) -> None:
        """All but the first *keep* frames are lost."""
        while len(self._frames) > keep:
            self._frames.pop()


class Connection:
    """A DEALER's connection to the ROUTER."""

    __slots__ = ("down", "gone_at", "identity", "open", "peer", "up")

    def __init__(self, identity: bytes, peer: Peer) -> None:
        self.identity = identity
        self.peer = peer
        self.up = Pipe()
        self.down = Pipe()
        self.open = True
        self.gone_at = inf
        """From then on the ROUTER refuses to send to it."""


class Subscription:
    """A SUB's connection to the PUB."""

    __slots__ = ("in_force", "pipe")

    def __init__(self, in_force: float) -> None:
        self.pipe = Pipe()
        self.in_force = in_force
        """From then on PUB knows what is subscribed to; it greets the connection before."""


class Begun(NamedTuple):
    """A reader began to read a log, at first or because the log is another one."""

    epoch: bytes
    start: int


class WatchedReader(Reader):
    """A reader that remembers where it began."""

    def __init__(self, log: str, since: Since) -> None:
        super().__init__(log, since)
        self.begun: list[Begun] = []

    def welcome(self, reading: Reading) -> bool:
        first = not self.epoch
        another = super().welcome(reading)
        if first or another:
            self.begun.append(Begun(self.epoch, self.position))
        return another


class Said(Ticket):
    """A command, who gave it, and what could be seen of it when its outcome came."""

    def __init__(self, peer: Peer, to: str | None, text: str) -> None:
        super().__init__(Commands(to, (text,)))
        self.peer = peer
        self.checked = False

    def __repr__(self) -> str:
        return (
            f"<{self.peer.core.name} to {self.to or 'all'}: {self.text[:40]} {self.outcome.name}>"
        )


class Life:
    """One life of the broker's data, and what the journal was given."""

    def __init__(self) -> None:
        self.logs: dict[str, list[list[Event]]] = {}
        """By the journal's key: the lives of that log, each from its first event on."""
        self.homes: dict[str, set[str]] = {}
        """The logs in which a text was stored, by the journal's keys."""
        self.dropped: dict[str, int] = {}
        """By the journal's key: the position of the newest event that is no longer kept."""
        self.breaches: list[str] = []
        self.forgotten: set[bytes] = set()
        """Sessions that the broker knew and forgot, BYE or not."""
        self.known: set[bytes] = set()


class WitnessedJournal(MemoryJournal):
    """A journal that outlives its broker, notes down what it is given, and that no row is out
    of line."""

    durable = True

    def __init__(self, life: Life, events: int) -> None:
        super().__init__(events)
        self._life = life
        self.limit = events
        self.full = False
        self.epoch = b""
        self.time = 0
        self.heads: dict[str, int] = {}
        self.users: dict[str, UserRecord] = {}
        self.sessions: dict[bytes, SessionRecord] = {}

    def load(self, fresh: bytes) -> Kept:
        self.epoch = self.epoch or fresh
        users, sessions = list(self.users.values()), list(self.sessions.values())
        return Kept(self.epoch, self.time, dict(self.heads), users, sessions)

    def commit(self, commit: Commit) -> None:
        if self.full:
            raise CannotStore("disk full")
        super().commit(commit)
        for id in commit.ended:
            self.sessions.pop(id, None)
        for name in commit.gone:
            self.users.pop(name, None)
            for id in [id for id, record in self.sessions.items() if record.user == name]:
                del self.sessions[id]
        for log in commit.dropped:
            self.heads.pop(log, None)
        self.users.update((user.name, user) for user in commit.users)
        for session in commit.sessions:
            self.sessions[session.id] = session.over(self.sessions.get(session.id))
        self._witness(commit.rows)

    def _witness(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.heads[row.log] = row.last
            self.time = max(self.time, row.time)
            events = unpack_events(row.body)
            lives = self._life.logs.setdefault(row.log, [])
            if row.prev == 0:
                lives.append([])
            if not lives or row.prev != len(lives[-1]) or row.first != row.prev + 1:
                self._life.breaches.append(f"{row[:4]} does not follow what is stored")
            elif len(events) != row.events:
                self._life.breaches.append(f"{row[:4]} holds {len(events)} events")
            else:
                lives[-1] += events
            for event in events:
                self._life.homes.setdefault(event.text, set()).add(row.log)

    def settle(self) -> None:
        super().settle()
        for key, kept in self._logs.items():
            self._life.dropped[key] = kept.lost


class Peer:
    """A client: its core, its edge, and the program that uses it."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        credential: bytes = b"",
        claim: bool = False,
        replaces: bytes = b"",
        exclusive: bool = True,
        hear: bool = True,
        presence: bool = False,
        since: Since | None = None,
        since_direct: Since | None = None,
    ) -> None:
        self.world = world
        self.session = world.fresh(ID_LENGTH)
        self.founder = not credential
        """Whether it proves nothing: no other session may hold the name."""
        self.readers: dict[str, WatchedReader] = {}
        if hear:
            self.readers[ECHO_LOG] = WatchedReader(ECHO_LOG, since or Since.now())
            if name:
                start = since_direct or Since.unread()
                self.readers[DIRECT_LOG] = WatchedReader(DIRECT_LOG, start)
        self.core = ClientCore(
            name,
            self.session,
            list(self.readers.values()),
            credential=credential,
            exclusive=exclusive and hear and bool(name),
            presence=presence,
            claim=claim,
            replaces=replaces,
        )
        self.core.heartbeat.phase = self.session[0] / 256  # Their clocks differ.
        self.alive = True
        self.killed = False
        self.frozen = False
        self.taking = True
        """Whether the program takes its events."""
        self.taken: list[Told] = []
        self.said: list[Said] = []
        self.syncs: list[tuple[int, dict[str, tuple[bytes, int]]]] = []
        self.losing: list[Kind] = []
        """Kinds of which the next frame is lost, whoever sends it."""
        self.conn: Connection | None = None
        self.sub: Subscription | None = None
        self.lag = 0.0
        """Seconds by which its edge hears of a new connection after the first may use it."""
        self.joining_slowly = 0.0
        """Seconds between PUB's greeting and the moment when a subscription is in force."""
        self._unsent: list[bytes] = []
        self._inbox: deque[bytes] = deque()
        """What a connection brought before it was cut."""
        self._changes: deque[tuple[float, bool]] = deque()
        self._connect_at = world.now
        self._subscribe_at = world.now
        self._close_at = inf

    def __repr__(self) -> str:
        return f"<{self.core.name or 'an observer'}, {self.core.phase.name}>"

    # --- what the program does ------------------------------------------------------------

    def echo(self, text: str) -> Said:
        return self._say(None, text)

    def send(self, to: str, text: str) -> Said:
        return self._say(to, text)

    def _say(self, to: str | None, text: str) -> Said:
        said = Said(self, to, text)
        self.said.append(said)
        self.core.submit(said.commands)
        return said

    @property
    def can_speak(self) -> bool:
        over = (Phase.LEAVING, Phase.OVER)
        return self.alive and bool(self.core.name) and self.core.phase not in over

    def sync(self) -> None:
        """Asks to be caught up with what is stored by now."""
        self.syncs.append((self.core.ask_heads(), self.world.heads(self)))

    def leave(self) -> None:
        """Closes the client, which says BYE if it can."""
        self.core.leave()
        self._close_at = min(self._close_at, self.world.now + GOODBYE)

    @property
    def heard(self) -> list[str]:
        """What the program was told of logs, as lines of a transcript."""
        lines = []
        for event in self.taken:
            if isinstance(event, Broadcast):
                lines.append(f"{event.sender}: {event.text}")
            elif isinstance(event, Direct):
                lines.append(f"{event.sender} > {event.to}: {event.text}")
            elif isinstance(event, Missed):
                lines.append(f"(missed {'?' if event.lost is None else event.lost} of {event.log})")
        return lines

    def told(self, kind: type[Told]) -> list[Told]:
        """The events of one type that the program took."""
        return [event for event in self.taken if isinstance(event, kind)]

    # --- what befalls it ------------------------------------------------------------------

    def lose(self, *kinds: Kind) -> None:
        """The next frame with a message of each of these kinds will be lost."""
        self.losing += kinds

    def cut(
        self, *, broker_hears: bool = True, hears_after: float = 0.0, lossless: bool = False
    ) -> None:
        """Cuts its connection.

        *broker_hears*: else it is half open, and for a while the broker sends into the void.
        *hears_after*: seconds until the client notices.
        *lossless*: what is under way still arrives; else chance tells how much of it.
        """
        conn, now = self.conn, self.world.now
        if conn is None or not conn.open:
            return
        conn.open = False
        conn.gone_at = now if broker_hears else now + TCP_MAXRT
        # What the other side's ZeroMQ had taken in still comes; at the broker perhaps long
        # after the next connection's first frames.
        for pipe in (conn.up, conn.down):
            pipe.cut(len(pipe) if lossless else self.world.chance(len(pipe)))
        self._inbox.extend(conn.down.arrived(inf))
        self._changes.append((now + hears_after, False))
        self._connect_at = now + hears_after + self.world.between(0.2, 2.0)

    def cut_broadcasts(self) -> None:
        """Cuts the connection of its SUB, which makes another."""
        self.sub = None
        self._subscribe_at = self.world.now + self.world.between(0.2, 2.0)

    def freeze(self) -> None:
        """As by SIGSTOP, or by a lid that closes."""
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False

    def kill(self) -> None:
        """As by kill -9: no BYE, and what was under way may or may not arrive."""
        self.killed = self.killed or self.alive
        self._exit()

    def _exit(self) -> None:
        self.cut()
        self.sub = None
        self.alive = False

    # --- its edge -------------------------------------------------------------------------

    @property
    def due(self) -> float:
        """When something is to be done."""
        if not self.alive or self.frozen:
            return inf
        now = self.world.now
        if self._inbox:
            return now
        due = self._close_at
        if not self._unsent:
            due = min(due, now + self.core.pause(now))
        if self.conn is not None and self.conn.open:
            due = min(due, self.conn.down.due)
        else:
            due = min(due, max(self._connect_at, self.world.up_at))
        if self.sub is not None:
            due = min(due, self.sub.pipe.due)
        elif self.core.topics and self.core.pub_port:
            due = min(due, max(self._subscribe_at, self.world.up_at))
        return min(due, self._changes[0][0]) if self._changes else due

    def step(self) -> None:
        """One turn of its loop, and what ZeroMQ's thread does meanwhile."""
        if not self.alive or self.frozen:
            return
        now, core = self.world.now, self.core
        self._connect(now)
        while self._inbox:
            core.received(self._inbox.popleft(), now)
        if self.conn is not None:
            for frame in self.conn.down.arrived(now):
                core.received(frame, now)
        if self.sub is not None:
            for frame in self.sub.pipe.arrived(now):
                if frame:
                    core.published(frame, now)
                else:
                    core.greeted(now)
        while self._changes and self._changes[0][0] <= now:
            if self._changes.popleft()[1]:
                core.connected(now)
            else:
                core.disconnected()
            self._unsent.clear()
        self._send(now)
        self._take()
        if core.phase is Phase.OVER or now >= self._close_at:
            core.outbox.abandon()
            self._exit()

    def _connect(self, now: float) -> None:
        world = self.world
        if now < world.up_at:
            return
        if (self.conn is None or not self.conn.open) and now >= self._connect_at:
            self.conn = world.accept(self)
            self._changes.append((now + self.lag, True))
        if (
            self.sub is None
            and self.core.topics
            and self.core.pub_port
            and now >= self._subscribe_at
        ):
            self.sub = Subscription(now + self.joining_slowly)
            self.sub.pipe.put(now + LATENCY, b"")

    def _send(self, now: float) -> None:
        sent = 0
        while True:
            if not self._unsent:
                self._unsent = self.core.outgoing(now)
                if not self._unsent:
                    return
            conn = self.conn
            while self._unsent:
                if conn is None or len(conn.up) >= self.world.capacity:
                    return
                if conn.open:
                    self.world.carry(self, conn.up, self._unsent[0])
                del self._unsent[0]
                sent += 1
                assert sent < 10_000, f"{self} never stops sending"

    def _take(self) -> None:
        if self.taking:
            self.taken += self.core.inbox.take(len(self.core.inbox.events))
            self.core.inbox.shown()


class World:
    """One broker, its clients and what lies between them."""

    def __init__(self, seed: int = 0, *, events: int = 1_000_000, **settings: object) -> None:
        self._rng = random.Random(seed)
        self.now = 1000.0
        self.skew = 0
        """Milliseconds by which somebody set the broker's wall clock."""
        self.noise = QUIET
        self.capacity = 1000
        """Frames that wait in a pipe at most."""
        self.most_frames = 512
        """Frames that the broker drains in a turn at most."""
        self.watch: Callable[[World], None] = lambda world: None
        """Called after each step."""
        self.settings = Settings(PUB_PORT, **settings)  # type: ignore[arg-type]
        self.events = events
        self.peers: list[Peer] = []
        self.lives: list[Life] = []
        self.epochs: dict[bytes, Life] = {}
        self.up_at = self.now
        self._stalled_until = self.now
        self._turn_at = self.now
        self._connections: dict[bytes, Connection] = {}
        self._unheard: set[bytes] = set()
        """The connections that have had something to say since all were last heard."""
        self._count = 0
        self._start_broker()

    # --- chance ---------------------------------------------------------------------------

    def fresh(self, length: int) -> bytes:
        return self._rng.randbytes(length)

    def chance(self, most: int) -> int:
        """A number from 0 to *most*."""
        return self._rng.randint(0, most)

    def between(self, low: float, high: float) -> float:
        return self._rng.uniform(low, high)

    # --- who is there ---------------------------------------------------------------------

    def start(self, name: str = "", **options: object) -> Peer:
        """A client that begins to connect."""
        peer = Peer(self, name, **options)  # type: ignore[arg-type]
        self.peers.append(peer)
        return peer

    def join(self, name: str = "", **options: object) -> Peer:
        """A client that is welcomed and listens."""
        peer = self.start(name, **options)
        self.settle()
        assert peer.core.listening, peer.core.refusal
        return peer

    def observe(self, **options: object) -> Peer:
        return self.join("", **options)

    @property
    def life(self) -> Life:
        return self.lives[-1]

    def heads(self, peer: Peer) -> dict[str, tuple[bytes, int]]:
        """Epoch and head of each log that *peer* reads, as the broker has them stored."""
        session = self.broker._registry.sessions.get(peer.session)
        if session is None:
            return {}
        return {log: (epoch, head) for log, epoch, head in self.broker._readers.heads(session)}

    # --- what befalls the broker ----------------------------------------------------------

    def _start_broker(self) -> None:
        life = Life()
        self.lives.append(life)
        self.journal = WitnessedJournal(life, self.events)
        self.broker = Broker(self.settings, self.journal, self.fresh)
        self.epochs[self.broker.epoch] = life

    def _start_again(self) -> None:
        """Starts a broker on the journal of the one before."""
        before, held = self.broker._registry, self.broker.held
        self.broker = Broker(self.settings, self.journal, self.fresh)
        after = self.broker._registry
        if not held and (_stored(before) != _stored(after)):
            self.life.breaches.append(f"a restart made {_stored(after)} of {_stored(before)}")

    def restart(self, *, clean: bool = False, down: float = 0.0, keep: bool = False) -> None:
        """Stops the broker, by SIGTERM if *clean*, else by kill -9, and starts another one *down*
        seconds later: on its journal, if *keep*, or with an empty one."""
        if clean:
            self.broker.begin(self.now, self.wall)
            self._perform(self.broker.shutdown())
        for peer in self.peers:
            peer.cut()
            if peer.sub is not None:
                peer.cut_broadcasts()
        self._connections.clear()
        self._unheard.clear()
        if keep:
            self._start_again()
        else:
            self._start_broker()
        self.up_at = self._turn_at = self.now + down

    def stall(self, seconds: float) -> None:
        """The broker does nothing for so long: a slow disk, or SIGSTOP."""
        self._stalled_until = self.now + seconds

    @property
    def wall(self) -> int:
        return 1_700_000_000_000 + int(self.now * 1000) + self.skew

    # --- what lies between ----------------------------------------------------------------

    def accept(self, peer: Peer) -> Connection:
        self._count += 1
        conn = Connection(b"\0" + self._count.to_bytes(4, "big"), peer)
        self._connections[conn.identity] = conn
        return conn

    def carry(self, peer: Peer, pipe: Pipe, frame: bytes) -> None:
        """Puts *frame* on its way, with what may befall it."""
        if peer.losing and self._lost(peer, frame):
            return
        noise, due = self.noise, self.now + LATENCY
        if noise is QUIET:
            pipe.put(due, frame)
            return
        chance = self._rng.random
        if chance() < noise.lose:
            return
        if chance() < noise.late:
            due += chance() * noise.delay
        pipe.put(due, frame)
        if chance() < noise.double:
            pipe.put(due, frame)

    def _lost(self, peer: Peer, frame: bytes) -> bool:
        unpacker = msgpack.Unpacker(use_list=False)
        unpacker.feed(frame)
        kinds = {message[0] for message in unpacker} & set(peer.losing)
        for kind in kinds:
            peer.losing.remove(kind)
        return bool(kinds)

    # --- time -----------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Lets time pass."""
        end = self.now + seconds
        while True:
            self._step()
            if self.now >= end:
                return
            self.now = min(max(self._next(), self.now + LATENCY), end)

    def settle(self, limit: float = 60.0) -> bool:
        """Lets time pass until nothing is under way; False if *limit* seconds are too few."""
        end = self.now + limit
        while True:
            self._step()
            if self.quiet:
                return True
            if self.now >= end:
                return False
            self.now = min(max(self._next(), self.now + LATENCY), end)

    @property
    def quiet(self) -> bool:
        """Whether all who can be are welcomed, have nothing under way, and lack nothing."""
        if self.broker.held:
            return False
        return all(not conn.up and not conn.down for conn in self._connections.values()) and all(
            self._rests(peer) for peer in self.peers if peer.alive
        )

    def _rests(self, peer: Peer) -> bool:
        core = peer.core
        return peer.frozen or (
            core.listening
            and (peer.sub is not None or not core.topics)
            and (peer.sub is None or (not peer.sub.pipe and peer.sub.in_force <= self.now))
            and not peer._unsent
            and not peer._changes
            and not len(core.outbox)
            and not core._queries
            and not core._pings._extra
            and self.caught_up(peer)
        )

    def caught_up(self, peer: Peer) -> bool:
        heads = self.heads(peer)
        return len(heads) == len(peer.readers) and all(
            heads[log] == (reader.epoch, reader.position) for log, reader in peer.readers.items()
        )

    def _next(self) -> float:
        broker = max(self._turn_at, self.up_at)
        if self._connections and not self.broker.held:
            broker = min(broker, min([conn.up.due for conn in self._connections.values()]))
        return min([max(broker, self._stalled_until), *[peer.due for peer in self.peers]])

    def _step(self) -> None:
        if self.now >= self._stalled_until and self.now >= self.up_at:
            ready = [conn for conn in self._connections.values() if conn.up.due <= self.now]
            if (ready and not self.broker.held) or self.now >= self._turn_at:
                self._turn(ready)
        for peer in self.peers:
            peer.step()
        self.watch(self)

    def _turn(self, ready: list[Connection]) -> None:
        """One turn of the broker's loop."""
        broker = self.broker
        broker.begin(self.now, self.wall)
        held = broker.held
        for _ in range(0 if held else self.most_frames):
            if not ready:
                break
            # In order within a connection, and in any order between two.
            conn = self._rng.choice(ready)
            frames = [conn.up.pop()]
            # The edge hands on together what one connection sent, as far as that has come.
            while conn.up.due <= self.now and self._rng.random() < 0.5:
                frames.append(conn.up.pop())
            commands = broker.commands_in(frames) if len(frames) > 1 else []
            size = sum(map(len, frames))
            for frame in [] if commands else frames:
                broker.receive(conn.identity, frame)
            while commands:
                commands, size = broker.receive_commands(conn.identity, commands, size)
            self._unheard.discard(conn.identity)
            if conn.up.due > self.now:
                ready.remove(conn)
        waiting = {conn.identity for conn in ready}
        self._unheard &= waiting
        all_heard = not self._unheard
        if all_heard:
            self._unheard = waiting
        effects = broker.commit(all_heard and not held)
        life, sessions = self.life, broker._registry.sessions
        life.forgotten |= life.known - sessions.keys()
        life.known = set(sessions)
        self._perform(effects)
        self._perform(broker.acknowledge())
        self._turn_at = self.now + (broker.pause if broker.held or not ready else 0.0)
        for identity, conn in list(self._connections.items()):
            if conn.gone_at <= self.now and not conn.up:
                del self._connections[identity]

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Deliver):
                conn = self._connections.get(effect.identity)
                if conn is None or conn.gone_at <= self.now:
                    self.broker.lost(effect.identity)
                elif conn.open and len(conn.down) < self.capacity:
                    self.carry(conn.peer, conn.down, effect.frame)
            elif isinstance(effect, Publish):
                for peer in self.peers:
                    sub = peer.sub
                    if (
                        sub is not None
                        and sub.in_force <= self.now
                        and effect.topic in peer.core.topics
                        and len(sub.pipe) < self.capacity
                    ):
                        self.carry(peer, sub.pipe, effect.frame)


def _stored(registry: Registry) -> dict[str, object]:
    """What of *registry* is stored between two turns: all but observers."""
    return {
        "sessions": {s.id.hex(): s.cseq for s in registry.sessions.values() if s.user is not None},
        "users": {name: (user.mailbox.head, user.read) for name, user in registry.users.items()},
    }
