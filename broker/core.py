"""The rules of the broker.  Frames in, effects out; no socket, clock or randomness here.

A turn: ``begin`` with the time, ``receive`` each waiting frame, then ``commit``, which
stores what was said and returns the effects.  Receiving *proposes* (validates, appends to
the turn); committing *applies* (journal, then push, then acknowledge), so that nobody hears
of a message that is not stored, and a journal that answers later needs no other core.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from ..wire.codec import FROM_CLIENT, Decoder, Unsendable
from ..wire.errors import BadName, Code, VersionMismatch, WireError
from ..wire.limits import (
    EPOCH_LENGTH,
    MAX_FRAME,
    MAX_TEXT,
    PUSH_WINDOW,
    VERSION,
    WINDOW,
)
from ..wire.messages import (
    DIRECT_LOG,
    ECHO_LOG,
    PRESENCE_TOPIC,
    Bye,
    Echo,
    Farewell,
    Fetch,
    Fetched,
    Hello,
    Info,
    Limits,
    Missed,
    Ping,
    Pong,
    Presence,
    Reading,
    Refused,
    Send,
    Users,
    Welcome,
    topic_of,
)
from ..wire.names import canonical_name
from .effects import Effect
from .journal import Journal
from .log import Log, Row
from .outgoing import Outgoing
from .readers import Readers, pack_batches
from .registry import Contested, FreshBytes, Registry, Settings, User
from .session import Session, State
from .turn import Turn

MOST_ATTENDED = 1.0
"""Seconds that leases lose in one turn at most: a broker that was itself stopped or starved
has not listened, so its clients were not silent."""

MOST_WAITING = 1000
"""HELLOs that may wait to see whether a name's holder is still there."""


class Needs(IntEnum):
    """What a message requires of its sender."""

    NOTHING = 0
    SESSION = 1
    USER = 2


class Rule(NamedTuple):
    needs: Needs
    handle: Callable[[Any, Any, Any], None]


class _Waiting(NamedTuple):
    hello: Hello
    turn: int


class Broker:
    """The whole broker but for its sockets."""

    def __init__(self, settings: Settings, journal: Journal, fresh: FreshBytes) -> None:
        self._settings = settings
        self._journal = journal
        self._registry = Registry(settings, fresh, journal.drop)
        self.accepting = True
        """Whether new sessions may come in; the edge knows how many descriptors are left."""
        self._decoder = Decoder(FROM_CLIENT)
        self._pack_text: Callable[[str], bytes] = msgpack.Packer(autoreset=True).pack
        self.epoch = fresh(EPOCH_LENGTH)
        self._echo = Log(ECHO_LOG, self.epoch)
        self._readers = Readers(self._echo, journal)
        self._out = Outgoing()
        self._bound: dict[bytes, Session] = {}
        self._waiting: dict[bytes, _Waiting] = {}
        self._turn = 0
        self._now: float | None = None
        self._clock = 0.0
        self._swept = 0.0
        self._time = 0
        # Of the current turn:
        self._said = Turn(self._echo)
        self._acks: dict[Session, None] = {}
        self._gaps: dict[Session, None] = {}

    # --- the turn -------------------------------------------------------------------------

    def begin(self, now: float, time: int) -> float:
        """Starts a turn.  *now* is a monotonic clock in seconds, *time* the wall clock in
        milliseconds since 1970, which may step back: the broker's stamps do not.

        Returns by how many seconds the turn before was longer than leases run in one turn."""
        passed = 0.0 if self._now is None else max(now - self._now, 0.0)
        attended = min(passed, MOST_ATTENDED)
        self._clock += attended
        self._now = now
        if time > self._time:
            self._time = time
        self._turn += 1
        return passed - attended

    def receive(self, identity: bytes, frame: bytes) -> None:
        """Takes one frame of a client.  Raises nothing: bad input gets a coded reply."""
        try:
            messages = self._decoder.decode(frame)
        except VersionMismatch as mismatch:
            return self._out.reply(identity, Refused(mismatch.code.value, str(mismatch)))
        except WireError as bad:
            return self._out.reject(identity, bad.code, str(bad))
        session = self._bound.get(identity)
        if session is not None:
            session.expires = self._clock + self._settings.lease
        complained = False
        for message in messages:
            needs, handle = RULES[type(message)]
            if needs is Needs.NOTHING:
                handle(self, identity, message)
                session = self._bound.get(identity)
            elif session is None:
                # Once a frame: a client that lost its session has many commands under way.
                if not complained:
                    self._out.reject(identity, Code.NO_SESSION, "say HELLO first")
                    complained = True
            elif needs is Needs.USER and session.user is None:
                words = "an observer has no name to send as"
                self._out.reject(identity, Code.NOT_ALLOWED, words)
            else:
                handle(self, session, message)
                if session.state is not State.LIVE:
                    session = None
        return None

    def reject(self, identity: bytes, code: Code, words: str) -> None:
        """Answers a connection that is out of protocol below the level of frames."""
        self._out.reject(identity, code, words)

    def lost(self, identity: bytes) -> None:
        """The connection is known to be gone."""
        self._waiting.pop(identity, None)
        session = self._bound.pop(identity, None)
        if session is not None:
            self._registry.lost(session, self._clock)

    def commit(self, drained: bool = True) -> list[Effect]:
        """Ends the turn: stores what was said, and returns what to tell whom.

        *drained*: no more frames were waiting.  Only then does silence mean anything.
        """
        if drained:
            self._expire()
        self._admit_waiting()
        self._apply(self._said.take(self._time))
        return self._out.take()

    def _apply(self, appended: list[tuple[Log, User | None, list[Row]]]) -> None:
        """Stores, then pushes, then acknowledges."""
        if appended:
            self._journal.commit([row for _, _, rows in appended for row in rows])
        for on, name in self._registry.take_changes():
            self._out.publish(PRESENCE_TOPIC, Presence(on, name, self._time))
            self._out.note("joined" if on else "left", user=name)
        for log, user, rows in appended:
            if user is not None:
                self._push(user, rows)
                continue
            for piece in pack_batches(ECHO_LOG, log, rows):
                self._out.put_topic(topic_of(ECHO_LOG), piece)
        for session in self._acks:
            if session.state is State.LIVE:
                for ack in session.acks():
                    self._out.reply(session.identity, ack)
        self._acks.clear()
        for session in self._gaps:
            expected = session.cseq + 1
            words = f"command {expected} is expected next"
            self._out.reject(session.identity, Code.OUT_OF_ORDER, words, expected)
        self._gaps.clear()

    def shutdown(self) -> list[Effect]:
        """Commits what is pending and says goodbye to everyone."""
        effects = self.commit(drained=False)
        goodbye = Farewell(Code.SHUTTING_DOWN.value, "the broker is shutting down")
        for session in self._registry.live():
            self._out.reply(session.identity, goodbye)
        return effects + self._out.take()

    @property
    def pause(self) -> float:
        """Seconds that may pass until the next turn, if nothing comes in."""
        return 0.02 if self._waiting else 0.5

    # --- sessions -------------------------------------------------------------------------

    def _hello(self, identity: bytes, hello: Hello) -> None:
        self._waiting.pop(identity, None)
        bound = self._bound.get(identity)
        if bound is not None and bound.id != hello.session:
            # Another session over the same connection: the former one has no connection now.
            self.lost(identity)
        if not self.accepting and hello.session not in self._registry.sessions:
            words = "the broker has no descriptors left for another session"
            return self._out.reply(identity, Refused(Code.BROKER_FULL.value, words))
        outcome = self._registry.admit(hello, self._time)
        self._said.forget_routes()
        if isinstance(outcome, Session):
            self._welcome(identity, hello, outcome)
        elif isinstance(outcome, Contested) and len(self._waiting) < MOST_WAITING:
            # A holder that was killed may not have been missed yet.  Whatever is sent to it
            # tells: ZeroMQ refuses to send to a connection that is gone.
            for holder in outcome.holders:
                if holder.state is State.LIVE:
                    self._out.reply(holder.identity, Pong(0, self._readers.heads(holder)))
            self._waiting[identity] = _Waiting(hello, self._turn)
        else:
            refused = outcome.refusal if isinstance(outcome, Contested) else outcome
            self._out.reply(identity, refused)
        return None

    def _admit_waiting(self) -> None:
        """Looks again at HELLOs that asked for a name whose holders were probed before."""
        for identity, (hello, turn) in list(self._waiting.items()):
            if turn == self._turn:
                continue
            outcome = self._registry.admit(hello, self._time)
            if isinstance(outcome, Contested):
                if all(holder.state is State.GONE for holder in outcome.holders):
                    continue
                outcome = outcome.refusal
            del self._waiting[identity]
            if isinstance(outcome, Session):
                self._welcome(identity, hello, outcome)
            else:
                self._out.reply(identity, outcome)

    def _welcome(self, identity: bytes, hello: Hello, session: Session) -> None:
        if session.identity and session.identity != identity:
            old = self._bound.pop(session.identity, None)
            if old is not None:
                words = "the session goes on over another connection"
                self._out.reply(session.identity, Farewell(Code.REPLACED.value, words))
        resumed = session.identity != b""
        session.identity = identity
        session.expires = self._clock + self._settings.lease
        session.unconfirmed = 0
        self._bound[identity] = session
        user = session.user
        readings = []
        for follow in hello.follows:
            log = self._readers.find(session, follow.log)
            if log is None:
                del session.follows[follow.log]
                words = f"no such log: {follow.log!r}"
                self._out.reject(identity, Code.NO_SUCH_LOG, words)
            else:
                start = self._readers.start(session, log, follow, self._time)
                readings.append(Reading(follow.log, log.epoch, start, log.head))
        settings = self._settings
        self._out.reply(
            identity,
            Welcome(
                VERSION,
                user.name if user else "",
                self.epoch,
                resumed,
                session.cseq,
                user.credential if user else b"",
                settings.pub_port,
                round(settings.heartbeat * 1000),
                round(settings.lease * 1000),
                Limits(MAX_FRAME, MAX_TEXT, WINDOW, PUSH_WINDOW),
                tuple(readings),
            ),
        )

    def _bye(self, session: Session, message: Bye) -> None:
        del self._bound[session.identity]
        self._out.reply(session.identity, Farewell(Code.LEFT.value, "goodbye"))
        self._registry.leave(session)
        self._said.forget_routes()

    def _expire(self) -> None:
        if self._clock - self._swept < 0.25:
            return
        self._swept = self._clock
        for session in self._registry.expire(self._clock):
            self._bound.pop(session.identity, None)

    # --- commands -------------------------------------------------------------------------

    def _send(self, session: Session, message: Send) -> None:
        cseq, to, text = message
        if cseq != session.cseq + 1:
            return self._unexpected(session, cseq)
        session.cseq = cseq
        self._acks[session] = None
        sender: User = session.user  # type: ignore[assignment]  # Needs.USER
        route = self._said.routes.get((sender, to))
        if route is None:
            recipient = self._find_user(to)
            if recipient is None or not recipient.on:
                return session.refuse(Code.NO_SUCH_USER, f"no such user: {to}")
            route = self._said.route(sender, to, recipient, self._time)
        event = route.head + self._pack_text(text)
        for append in route.appends:
            append(event)
        return None

    def _find_user(self, name: str) -> User | None:
        try:
            return self._registry.users.get(canonical_name(name))
        except BadName:
            return None

    def _say(self, session: Session, message: Echo) -> None:
        cseq, text = message
        if cseq != session.cseq + 1:
            return self._unexpected(session, cseq)
        session.cseq = cseq
        self._acks[session] = None
        sender: User = session.user  # type: ignore[assignment]  # Needs.USER
        said = self._said
        route = said.routes.get((sender, None)) or said.route(sender, None, None, self._time)
        event = route.head + self._pack_text(text)
        for append in route.appends:
            append(event)
        return None

    def _unsendable(self, session: Session, message: Unsendable) -> None:
        if message.cseq != session.cseq + 1:
            return self._unexpected(session, message.cseq)
        session.cseq += 1
        self._acks[session] = None
        return session.refuse(message.code, message.words)

    def _unexpected(self, session: Session, cseq: int) -> None:
        """A duplicate hears its outcome again; a gap hears what is expected, once a turn."""
        if cseq > session.cseq:
            self._gaps[session] = None
        elif session.repeat_from(cseq - 1):
            self._acks[session] = None

    # --- questions ------------------------------------------------------------------------

    def _info(self, session: Session, message: Info) -> None:
        users, more = self._registry.page(message.after)
        self._out.reply(session.identity, Users(message.ref, tuple(users), more))

    def _ping(self, session: Session, message: Ping) -> None:
        session.unconfirmed = 0
        if message.sent > session.cseq:
            self._gaps[session] = None
        if session.repeat_from(message.resolved):
            self._acks[session] = None
        self._readers.confirm(session, message.cursors)
        self._out.reply(session.identity, Pong(message.ref, self._readers.heads(session)))

    def _fetch(self, session: Session, message: Fetch) -> None:
        session.unconfirmed = 0
        log = self._readers.find(session, message.log)
        if log is None or log.epoch != message.epoch:
            words = f"no such log: {message.log!r}, or no longer that epoch of it"
            return self._out.reject(session.identity, Code.NO_SUCH_LOG, words, message.ref)
        page = self._readers.fetch(log, message)
        name, epoch = message.log, log.epoch
        if page.lost:
            missed = Missed(name, epoch, message.after, page.missed_upto, page.lost)
            self._out.reply(session.identity, missed)
        for piece in pack_batches(name, log, page.rows):
            self._out.put(session.identity, piece)
        return self._out.reply(session.identity, Fetched(message.ref, name, epoch, log.head))

    def _push(self, user: User, rows: list[Row]) -> None:
        readers = [s for s in user.sessions if s.state is State.LIVE and DIRECT_LOG in s.follows]
        if not readers:
            return
        for piece in pack_batches(DIRECT_LOG, user.mailbox, rows):
            for session in readers:
                # A reader that gives no sign of reading gets no more: it fetches later.
                if session.unconfirmed <= PUSH_WINDOW:
                    session.unconfirmed += len(piece)
                    self._out.put(session.identity, piece)


RULES: dict[type, Rule] = {
    Hello: Rule(Needs.NOTHING, Broker._hello),
    Send: Rule(Needs.USER, Broker._send),
    Echo: Rule(Needs.USER, Broker._say),
    Unsendable: Rule(Needs.USER, Broker._unsendable),
    Info: Rule(Needs.SESSION, Broker._info),
    Fetch: Rule(Needs.SESSION, Broker._fetch),
    Ping: Rule(Needs.SESSION, Broker._ping),
    Bye: Rule(Needs.SESSION, Broker._bye),
}
