"""The broker core under a script: hostile connections, time, a disk that fails, restarts."""

from __future__ import annotations

from chatbroker.broker.core import Broker
from chatbroker.broker.door import MOST_WAITING
from chatbroker.broker.effects import Deliver, Effect, Note, Publish
from chatbroker.broker.journal import CannotStore, Commit, Kept, SessionRecord, UserRecord
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.outgoing import MOST_REPLIES
from chatbroker.broker.session import Session, State
from chatbroker.broker.user import Settings
from chatbroker.wire.batch import unpack_events
from chatbroker.wire.codec import FROM_BROKER, Decoder
from chatbroker.wire.limits import MAX_FRAME, MAX_TEXT, PUSH_WINDOW, VERSION, WINDOW
from chatbroker.wire.messages import (
    Ack,
    Bye,
    ClientMessage,
    Echo,
    Fetch,
    Follow,
    Hello,
    Info,
    Ping,
    Send,
    Start,
    Welcome,
)

from .script import EPOCHS, LOGS, NASTY, Script, encode

MOST_STEPS = 150
CONNECTIONS = 4

NAMES = ("alice", "Bob", "carol", "", "not a name", "ålice", "dave", "erin", "frank", "grace")
SECRETS = tuple([b"a client's secret"[:15] + bytes([n]) for n in range(6)])
SESSIONS = tuple([b"a session of one"[:15] + bytes([n]) for n in range(12)])

SMALL = Settings(
    5556,
    forget=40.0,
    claim_ttl=60.0,
    most_lapsed=3,
    most_sessions=5,
    most_users=6,
    most_claims=3,
)
ROOMY = Settings(5556, forget=40.0, claim_ttl=60.0)

MARK = "said in life "
"""What no frame of chance begins a text with."""


class Witness(MemoryJournal):
    """A journal that outlives its broker and looks at what it is given."""

    durable = True

    def __init__(self) -> None:
        super().__init__(events=2000, size=4 * 1024 * 1024)
        self.failing = 0
        self.epoch = b""
        self.time = 0
        self.heads: dict[str, int] = {}
        self.users: dict[str, UserRecord] = {}
        self.sessions: dict[bytes, SessionRecord] = {}
        self.texts: dict[str, set[str]] = {}
        """By log: the texts of which each is said once."""
        self.last: dict[tuple[str, str], int] = {}
        """By log and life: the number of the last command in it."""
        self.over: set[str] = set()
        """Logs that were dropped and never come again."""

    def load(self, fresh: bytes) -> Kept:
        self.epoch = self.epoch or fresh
        users, sessions = list(self.users.values()), list(self.sessions.values())
        return Kept(self.epoch, self.time, dict(self.heads), users, sessions)

    def commit(self, commit: Commit) -> None:
        if self.failing:
            self.failing -= 1
            raise CannotStore("disk full")
        super().commit(commit)
        for id in commit.ended:
            self.sessions.pop(id, None)
        for name in commit.gone:
            self.users.pop(name, None)
            self.sessions = {i: s for i, s in self.sessions.items() if s.user != name}
        for log in commit.dropped:
            self.heads.pop(log, None)
            self.over.add(log)
        self.users.update((user.name, user) for user in commit.users)
        for session in commit.sessions:
            self.sessions[session.id] = session.over(self.sessions.get(session.id))
        for session in self.sessions.values():
            assert session.user in self.users, "a stored session of nobody"
        for row in commit.rows:
            assert row.log not in self.over, "a log that was dropped is written to"
            assert row.prev == self.heads.get(row.log, 0), "a row does not follow what is stored"
            assert row.first == row.prev + 1
            assert row.time >= self.time, "time falls"
            self.heads[row.log], self.time = row.last, row.time
            events = unpack_events(row.body)
            assert len(events) == row.events > 0
            for event in events:
                assert event is not None
                if event.text.startswith(MARK):
                    self._once(row.log, event.text)

    def _once(self, log: str, text: str) -> None:
        """Promise 1: not doubled, and in the order of its sender."""
        texts = self.texts.setdefault(log, set())
        assert text not in texts, f"{text!r} is stored twice in {log}"
        texts.add(text)
        life, _, number = text.removeprefix(MARK).partition(" command ")
        assert int(number) > self.last.get((log, life), 0), f"{text!r} comes too late in {log}"
        self.last[log, life] = int(number)

    def has(self, text: str) -> bool:
        return any(text in texts for texts in self.texts.values())


class Stage:
    """A broker, its connections, and what they were told."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.settings = script.pick((SMALL, ROOMY))
        self.journal = Witness()
        self.now, self.wall = 1000.0, 1_700_000_000_000
        self.decoder = Decoder(FROM_BROKER)
        self.made = 0
        self.opened = 0
        self.attempts: dict[bytes, int] = {}
        self.lives: dict[Session, int] = {}
        """Of the sessions: what tells one from another that had the same id."""
        self.marked: dict[tuple[Session, int], str] = {}
        """The text of the command that was heard under that number, where that is known."""
        self.offered: dict[tuple[Session, int], str] = {}
        """Of the next frame."""
        self.credentials: dict[str, bytes] = {}
        self.open()

    # --- the edge's part ------------------------------------------------------------------

    def open(self) -> None:
        """A broker starts on the journal, and all connections are made anew."""
        self.broker = Broker(self.settings, self.journal, self._fresh)
        self.connections = [self._connect() for _ in range(CONNECTIONS)]
        self.known = {*self.connections}
        self.last_frames: dict[bytes, tuple[Session | None, bytes]] = {}
        self.broker.begin(self.now, self.wall)

    def _fresh(self, length: int) -> bytes:
        self.made += 1
        return self.made.to_bytes(length, "big")

    def _connect(self) -> bytes:
        self.opened += 1
        return b"\0" + self.opened.to_bytes(4, "big")

    def receive(self, identity: bytes, frame: bytes) -> None:
        """The one place where a frame goes in.  Nobody else's session is over by it."""
        if self.broker.held:
            return
        before = dict(self.broker._door.bound)
        session = before.get(identity)
        self.last_frames[identity] = session, frame
        heard = session.cseq if session is not None else 0
        self.broker.receive(identity, frame)
        if session is not None:
            for number in range(heard + 1, session.cseq + 1):
                if (session, number) in self.offered:
                    self.marked[session, number] = self.offered[session, number]
        self.offered.clear()
        for other, session in before.items():
            # Promise 2: whoever has the session's id has its secret; nobody else evicts it.
            if other != identity and session.id not in frame:
                assert self.broker._door.bound.get(other) is session, "somebody was evicted"

    def turn(self, after: float) -> None:
        effects = self.broker.commit(all_heard=self.script.byte() < 240)
        if self.broker.held:
            assert all(isinstance(e, Note) or b"cannot_store" in e.frame for e in effects)
        self.perform(effects)
        self.perform(self.broker.acknowledge())
        self.check()
        self.now += after
        self.wall += round(after * 1000)
        self.broker.begin(self.now, self.wall)

    def perform(self, effects: list[Effect]) -> None:
        told: dict[bytes, int] = {}
        for effect in effects:
            match effect:
                case Publish(topic, frame):
                    assert topic.endswith(b"\0")
                    assert self._decode(frame)
                case Deliver(identity, frame):
                    assert identity in self.known, "told to nobody who ever came"
                    told[identity] = told.get(identity, 0) + len(frame)
                    for message in self._decode(frame):
                        self._told(identity, message)
                case Note(what, fields):
                    assert what.isidentifier()
                    for text in (*NASTY[1:], MARK):
                        assert not text or text not in str(fields), "a user's text in the log"
        # Promise 3: no more than an answer of its own size over the limit, and what was pushed.
        most = MOST_REPLIES + PUSH_WINDOW + 4 * MAX_FRAME
        assert all(size <= most for size in told.values()), told

    def _decode(self, frame: bytes) -> list[object]:
        assert len(frame) <= MAX_FRAME
        return self.decoder.decode(frame)

    def _told(self, identity: bytes, message: object) -> None:
        session = self.broker._door.bound.get(identity)
        if isinstance(message, Welcome) and message.name:
            self.credentials[message.name] = message.credential
        if isinstance(message, Ack) and session is not None:
            assert message.upto <= session.cseq
            refused = [range(run.first, run.last + 1) for run in message.refused]
            for number in range(message.after + 1, message.upto + 1):
                text = self.marked.get((session, number))
                if text is not None and not any(number in run for run in refused):
                    assert self.journal.has(text), f"{text!r} is acknowledged and not stored"

    # --- the script -----------------------------------------------------------------------

    def step(self) -> None:
        script = self.script
        place = script.byte() % CONNECTIONS
        identity = self.connections[place]
        match script.byte() % 16:
            case 0 | 1 | 2 | 3 | 4 | 5:
                self._talk(identity)
            case 6:
                self.receive(identity, script.raw())
            case 7:
                session, frame = self.last_frames.get(identity, (None, b""))
                if frame and session is self.broker._door.bound.get(identity):
                    for _ in range(1 + script.byte() % 3):
                        self.receive(identity, frame)
            case 8:
                self.broker.lost(identity)
                self.connections[place] = self._connect()
                self.known.add(self.connections[place])
            case 9 | 10 | 11:
                self.turn(script.pick((0.01, 0.06, 0.3, 1.0)))
            case 12:
                for _ in range(script.byte() % 70):
                    self.turn(1.0)
            case 13:
                self.wall += script.pick((-10_000, 100_000, -100_000_000))
            case 14:
                self._operate()
            case 15 if script.byte() < 64:
                self._restart()

    def _operate(self) -> None:
        script = self.script
        match script.byte() % 4:
            case 0:
                self.journal.failing = script.byte() % 4
            case 1 if not self.broker.held:
                self.broker.hand.release(script.pick(NAMES))
            case 2:
                self.broker.accept_sessions(script.chance())
            case _:
                self.perform(self.broker.tidy())

    def _restart(self) -> None:
        """With what the journal has: by a clean end, or by a crash before it."""
        if self.script.chance() and not self.broker.held:
            self.perform(self.broker.shutdown())
        former = self.broker._registry.sessions
        self.open()
        for id, session in self.broker._registry.sessions.items():
            if id in former:
                # It goes on: the texts of its numbers must not come again.
                self.lives[session] = self._life(former[id])

    def _life(self, session: Session) -> int:
        return self.lives.setdefault(session, len(self.lives) + self.made * 1000)

    def _talk(self, identity: bytes) -> None:
        """One frame of a few messages."""
        self.offered.clear()
        session = self.broker._door.bound.get(identity)
        kinds = [self.script.byte() for _ in range(1 + self.script.byte() % 3)]
        if session is None and kinds[0] < 192:
            kinds[0] = 0
        fresh = any(kind % 8 == 0 or kind >= 248 for kind in kinds)
        if fresh:
            # Another session may be bound in the middle of the frame.
            session = None
        expected = session.cseq if session is not None else 0
        messages = []
        for kind in kinds:
            message = self._message(kind, session, expected)
            if isinstance(message, Send | Echo) and message.cseq == expected + 1:
                expected += len(message.texts)
            messages.append(message)
        messages.sort(key=lambda message: not isinstance(message, Hello))
        frame = b"".join(map(encode, messages))
        if len(frame) <= MAX_FRAME:
            self.receive(identity, frame)
        for session in self.broker._registry.sessions.values():
            self._life(session)

    def _message(self, kind: int, session: Session | None, expected: int) -> ClientMessage:
        script = self.script
        if kind >= 248:
            return Bye()
        match kind % 8:
            case 0:
                return self._hello()
            case 1 | 2:
                cseq = max(script.number(expected + 1), 1)
                return Echo(cseq, self._texts(session, cseq))
            case 3:
                cseq = max(script.number(expected + 1), 1)
                return Send(cseq, script.pick(NAMES), self._texts(session, cseq))
            case 4:
                budget = script.number(64 * 1024)
                log = script.pick(LOGS)
                return Fetch(script.number(), log, self._epoch(), script.number(), budget)
            case 5:
                cursors = script.several(script.cursor)
                return Ping(script.number(), script.number(expected), script.number(), cursors)
        return Info(script.number(), script.pick(NAMES))

    def _texts(self, session: Session | None, cseq: int) -> tuple[str, ...]:
        texts = []
        count = 1 + self.script.byte() % 4
        for number in range(min(cseq, 2**63 - 1 - count), min(cseq, 2**63 - 1 - count) + count):
            if self.script.byte() > 240:
                texts.append("x" * (MAX_TEXT + 1))
            elif session is None:
                texts.append(self.script.pick(NASTY))
            else:
                text = f"{MARK}{self._life(session)} command {number}"
                self.offered[session, number] = text
                texts.append(text)
        return tuple(texts)

    def _epoch(self) -> bytes:
        known = [user.mailbox.epoch for user in self.broker._registry.users.values()]
        return self.script.pick((b"", self.journal.epoch, *EPOCHS, *known))

    def _hello(self) -> Hello:
        script = self.script
        # More often than not somebody who can come in; the rest is for clashes.
        who = script.byte()
        name = NAMES[who % 3] if who < 128 else script.pick(NAMES)
        id = SESSIONS[who % 3] if who % 16 < 8 else script.pick(SESSIONS)
        what = script.byte()
        attempt = self.attempts.get(id, 0) + 1 if what < 200 else 1 + what % 5
        self.attempts[id] = max(attempt, self.attempts.get(id, 0))
        told = self.credentials.get(name.lower(), b"")
        flags = script.byte()
        follows = [
            Follow(log, self._epoch(), script.pick(tuple(Start)), script.number())
            for log in script.pick((("echo", "direct"), (), ("direct",), ("echo",), LOGS))
        ]
        return Hello(
            VERSION if flags < 250 else flags,
            name,
            id,
            script.pick((told, b"", told, *SECRETS)),
            attempt,
            bool(flags & 1),
            bool(flags & 2),
            script.pick(SESSIONS) if flags & 4 else b"",
            tuple(follows),
        )

    # --- what always holds ----------------------------------------------------------------

    def check(self) -> None:
        settings, door, registry = self.settings, self.broker._door, self.broker._registry
        sessions, users = registry.sessions, registry.users
        for identity, session in door.bound.items():
            assert session.state is State.LIVE
            assert session.identity == identity
            assert sessions.get(session.id) is session
        bound = {*door.bound.values()}
        for id, session in sessions.items():
            assert session.id == id
            assert session.state is not State.ENDED
            assert (session.state is State.LIVE) == (session in bound)
            assert (session.state is State.LAPSED) == (id in registry._lapsed)
            assert session.unconfirmed <= PUSH_WINDOW + MAX_FRAME
            assert len(session._kinds) <= WINDOW
            assert session.user is None or session in session.user.sessions
        for name, user in users.items():
            assert user.name == name
            assert not user.gone
            assert all(sessions.get(session.id) is session for session in user.sessions)
            assert user.claimed or user.sessions, "a name that nobody has or wants"
            assert (user in registry._absent) == (user.claimed and not user.holders())
            assert user.read <= user.mailbox.head
        assert registry._names == sorted(user.name for user in users.values() if user.on)
        assert registry._claims == sum(user.claimed for user in users.values())
        assert registry._empty.keys() <= registry._lapsed.keys()
        # What many who come and go may take of it.
        assert len(sessions) - len(registry._lapsed) <= settings.most_sessions + CONNECTIONS
        assert len(users) <= settings.most_users
        assert registry._claims <= settings.most_claims
        assert len(door.waiting) <= MOST_WAITING


def core(data: bytes) -> None:
    """A broker through what *data* makes of its clients, its disk and its time."""
    stage = Stage(Script(data))
    for _ in range(MOST_STEPS):
        if not stage.script:
            break
        stage.step()
    stage.turn(0.01)
    stage.journal.failing = 0
    stage.turn(0.01)
    stage.perform(stage.broker.shutdown())
    assert not stage.broker.held
