"""The rules of a client.  Frames in, frames and events out; no socket, clock or randomness.

The edge (``link``) says when the connection came and went, hands in what arrived, and sends
what ``outgoing`` gives.  Times are seconds of a monotonic clock and come in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

from ..wire.codec import FROM_BROKER, Decoder, Encoder, coalesce
from ..wire.errors import Code, WireError
from ..wire.limits import MAX_FRAME, MAX_MESSAGES, VERSION
from ..wire.messages import (
    DIRECT_LOG,
    ECHO_LOG,
    PRESENCE_TOPIC,
    Ack,
    Batch,
    Bye,
    Enrolled,
    Error,
    Farewell,
    Fetched,
    Hello,
    Limits,
    Missed,
    Notice,
    Ping,
    Pong,
    Presence,
    Refused,
    Users,
    Welcome,
    topic_of,
)
from . import events
from .commands import Commands
from .greeting import Greeting
from .heartbeat import Heartbeat
from .inbox import Inbox
from .outbox import Outbox
from .pings import Pings
from .query import Query
from .reader import Reader

PATIENCE = 2.0
"""Seconds after which a question (HELLO, INFO, FETCH) is asked again."""

BACK_OFF = 0.05
"""Seconds that a client waits longer than the broker says, until it says HELLO again; doubled
each time.  Others wait for the same."""

MOST_DOUBLINGS = 4
"""How often these times are doubled for a HELLO."""


class Phase(Enum):
    OFFLINE = auto()
    """No connection."""
    GREETING = auto()
    """Connected; HELLO is sent or about to be."""
    READY = auto()
    """Welcomed."""
    LEAVING = auto()
    """BYE is sent or about to be."""
    OVER = auto()
    """The session has ended, by BYE or by the broker's refusal."""


class ClientCore:
    """Everything about a client but its sockets."""

    def __init__(
        self,
        name: str,
        session: bytes,
        readers: Sequence[Reader] = (),
        *,
        credential: bytes = b"",
        exclusive: bool = False,
        presence: bool = False,
        claim: bool = False,
        replaces: bytes = b"",
    ) -> None:
        self.name = name
        self.credential = credential
        self.outbox = Outbox()
        self.phase = Phase.OFFLINE
        self.limits: Limits | None = None
        self.pub_port: int | None = None
        self.welcomes = 0
        """How many there were."""
        self.last_heard = 0.0
        """When the last frame came over the DEALER."""
        self.heartbeat = Heartbeat()
        self.refusal: Refused | None = None
        """Why the session is over, if the broker ended or refused it."""
        self.put_off = ""
        """Why the broker does not let the client in yet."""
        self.doubted = ""
        """Why the last attempt was turned away, if another one may not be."""
        self.inbox = Inbox(readers)
        self._session = session
        self._exclusive = exclusive
        self._presence = presence
        self._claim = claim
        """Whether the broker is to keep the name while the user is away."""
        self._replaces = replaces
        """An earlier session of the user's that is known to be dead."""
        self._decode = Decoder(FROM_BROKER).decode
        self._encode = Encoder().encode
        self._epoch = b""
        self._queries: dict[int, Query] = {}
        self._ref = 0
        self._ponged = 0
        self._hello_at: float | None = None
        self._pings = Pings(self.heartbeat)
        self.greeting = Greeting()
        self._was_online = False
        self._attempt = 0
        """HELLOs sent so far."""
        self._repeated = 0
        """HELLOs sent over this connection without an answer."""
        self._born = 0
        """Which HELLO made the session, as the last WELCOME told."""
        self._bye_sent = False
        self._greet_again = False

    # --- what the edge reports ------------------------------------------------------------

    @property
    def topics(self) -> list[bytes]:
        """What to subscribe to; empty for a client that hears no broadcasts."""
        topics = [topic_of(ECHO_LOG)] if ECHO_LOG in self.inbox.readers else []
        return [*topics, PRESENCE_TOPIC] if self._presence else topics

    def connected(self, now: float) -> None:
        """A connection stands; nobody at its other end knows this client yet."""
        self.doubted = ""
        if self.phase in (Phase.OFFLINE, Phase.GREETING, Phase.READY):
            self._go_offline("the connection was made anew")
            self._greet(now)

    def disconnected(self) -> None:
        """The connection is lost; the edge tries to make another."""
        if self.phase in (Phase.GREETING, Phase.READY):
            self._go_offline("the connection is lost")
            self.phase = Phase.OFFLINE
        elif self.phase is Phase.LEAVING:
            self.phase = Phase.OVER

    def turned_away(self, words: str) -> None:
        """The broker does not let this client in, and another attempt would meet the same."""
        if self.phase is not Phase.OVER:
            self._end(Refused(Code.NOT_ALLOWED.value, words))

    def received(self, frame: bytes, now: float) -> None:
        """A frame came over the DEALER."""
        self.last_heard = now
        self._take(frame, now)

    def published(self, frame: bytes, now: float) -> None:
        """A frame came over the SUB.  It is no sign that the DEALER's end is alive."""
        self._take(frame, now)

    def greeted(self, now: float) -> None:
        """PUB greeted the SUB: from here on it hears what is published."""
        self._pings.at(self.greeting.come(now))

    def _take(self, frame: bytes, now: float) -> None:
        try:
            messages = self._decode(frame)
        except WireError as bad:
            # A broker that speaks so does not keep its side; going on would guess.
            self._end(Refused(bad.code.value, f"the broker sent what is not the protocol: {bad}"))
            return
        self._pings.heard(len(frame))
        for message in messages:
            if self.phase is not Phase.OVER:
                HANDLERS[type(message)](self, message, now)

    # --- what the program wants -----------------------------------------------------------

    def submit(self, commands: Commands) -> bool:
        """Sends *commands*, which hold their outcomes; whether something is to be sent now."""
        return self.outbox.put(commands)

    def ask_users(self) -> Query:
        """Asks who is on."""
        query = Query(self._next_ref())
        self._queries[query.ref] = query
        return query

    def forget(self, query: Query) -> None:
        """Nobody waits for the answer any more."""
        self._queries.pop(query.ref, None)

    def ask_heads(self) -> int:
        """Sends a PING now; its number."""
        self._pings.at_once()
        return self._ref + 1

    def answered(self, ref: int) -> bool:
        """Whether PING *ref* was."""
        return self._ponged >= ref

    def caught_up(self, ref: int) -> bool:
        """Whether everything said before PING *ref* was answered has been handed on."""
        return self.answered(ref) and self.inbox.caught_up

    def taken(self, now: float) -> bool:
        """The program took or has shown events; whether there is now something to send soon."""
        mailbox = self.inbox.readers.get(DIRECT_LOG)
        return mailbox is not None and self._pings.confirm(mailbox.cursor(), now)

    def leave(self) -> None:
        """Says goodbye; `phase` is OVER when the broker has answered."""
        # While GREETING the session may stand, here or over the former connection, and would
        # hold the name: so it is taken up again to be left.
        self._greet_again = self.phase is Phase.GREETING
        there = self.phase in (Phase.GREETING, Phase.READY)
        self.phase = Phase.LEAVING if there else Phase.OVER

    @property
    def unknown_to_broker(self) -> bool:
        """Whether no broker ever made this session, for certain."""
        refused = self.refusal is not None and not self._was_online
        return self._attempt == 0 or refused

    def silent(self, now: float) -> bool:
        """Whether nobody can be said to be at the other end: not welcomed, or not heard of
        for as long as a lease although PINGs went out."""
        return self.phase is not Phase.READY or now - self.last_heard > self.heartbeat.lease

    @property
    def listening(self) -> bool:
        """Whether everything that is said from now on will be heard."""
        return self.phase is Phase.READY and (self.greeting.heard or not self.topics)

    # --- what is to be sent ---------------------------------------------------------------

    def outgoing(self, now: float) -> list[bytes]:
        """The frames to send now."""
        pieces: list[bytes] = []
        if self.phase is Phase.GREETING and self._hello_at is not None and now >= self._hello_at:
            # Only the answer to the last one counts: on a slow way, one that is always
            # repeated too early would never get it.
            self._hello_at = now + PATIENCE * 2**self._repeated
            self._repeated = min(self._repeated + 1, MOST_DOUBLINGS)
            pieces.append(self._encode(self._hello()))
        elif self.phase is Phase.READY:
            assert self.limits is not None  # READY came with WELCOME.
            if self.topics and self.greeting.is_missed(now):
                words = f"nothing comes from the broker's port {self.pub_port}"
                words += ": broadcasts come late, as long as it cannot be reached"
                self.inbox.notice("no_broadcasts", words)
            self._questions(now, pieces, self.limits.push_window)
            # HELLO aside, a frame holds commands: what fits into one goes out together.
            pieces.extend(self.outbox.due(self.limits.window, MAX_FRAME // 2, now))
        elif self.phase is Phase.LEAVING and not self._bye_sent:
            self._bye_sent = True
            if self._greet_again:
                pieces.append(self._encode(self._hello()))
            elif self.inbox.cursors():
                pieces.append(self._ping())  # What was shown is not unread the next time.
            pieces.append(self._encode(Bye()))
        return coalesce(pieces, MAX_FRAME, MAX_MESSAGES)

    def _hello(self) -> Hello:
        self._attempt += 1
        follows = tuple([reader.follow() for reader in self.inbox.readers.values()])
        return Hello(
            VERSION,
            self.name,
            self._session,
            self.credential,
            self._attempt,
            self._exclusive,
            self._claim,
            self._replaces,
            follows,
        )

    def _questions(self, now: float, pieces: list[bytes], push_window: int) -> None:
        for fetch in self.inbox.fetches(now, self._ref + 1, PATIENCE):
            self._ref = fetch.ref
            pieces.append(self._encode(fetch))
        for query in self._queries.values():
            if now >= query.ask_again:
                pieces.append(self._encode(query.ask(now + PATIENCE)))
        if self._pings.is_due(now, push_window // 4):
            pieces.append(self._ping())

    def _ping(self) -> bytes:
        mailbox = self.inbox.readers.get(DIRECT_LOG)
        self._pings.sent(mailbox.cursor() if mailbox is not None else None)
        sent, resolved, cursors = self.outbox.sent, self.outbox.resolved, self.inbox.cursors()
        return self._encode(Ping(self._next_ref(), sent, resolved, cursors, self.heartbeat.told))

    def pause(self, now: float) -> float:
        """Seconds until `outgoing` may have something to send although nothing happened."""
        times = [now + self.heartbeat.every]
        if self.phase is Phase.GREETING and self._hello_at is not None:
            times.append(self._hello_at)
        elif self.phase is Phase.READY:
            times.extend(self._pings.moments)
            times.extend(query.ask_again for query in self._queries.values())
            times.extend(self.inbox.due(now))
            times.append(self.outbox.held_until)
        return max(min(times) - now, 0.0)

    # --- what the broker says -------------------------------------------------------------

    def _welcome(self, welcome: Welcome, now: float) -> None:
        # What an earlier HELLO found may not be what the one that is on its way will find.
        if self.phase is not Phase.GREETING or welcome.attempt != self._attempt:
            return
        # Data may have gone back.  If they are of the life that this client knows, and not behind
        # it, the session goes on: they have what it was not told of, up to cseq.  If they are, all
        # that is under way is not there.  Those of any other life that was may have it.
        been = self.outbox.enters(welcome.epoch)
        known = welcome.born == self._born
        kin = self._epoch in (welcome.epoch, welcome.former)
        goes_on = known and kin and welcome.cseq >= self.outbox.resolved
        if self._epoch and not goes_on:
            forgotten = known != kin or (not known and (been or welcome.former != b""))
            self.outbox.restart(welcome.cseq, forgotten)
        else:
            self.outbox.rewind()
        again, self._was_online = self._was_online, True
        self._born = welcome.born
        self.welcomes += 1
        self.phase = Phase.READY
        self.name = welcome.name
        # Whom a key lets in is told none: the client's own is as good as before.
        self.credential = welcome.credential or self.credential
        self.put_off = ""
        self.limits = welcome.limits
        self.outbox.pace.keep_to(welcome.limits)
        if self.pub_port not in (None, welcome.pub_port):
            self.greeting.heard = False  # That of another PUB is to come.
        self.pub_port = welcome.pub_port
        self.greeting.expect(now)
        self._epoch = welcome.epoch
        self.heartbeat.go_by(welcome.heartbeat, welcome.lease, 0)
        self._pings.welcomed(now, again)
        self.inbox.tell(events.Online(welcome.name, again))
        self.inbox.welcome(welcome.readings)
        for query in self._queries.values():
            query.ask_again = 0.0

    def _refused(self, refused: Refused, now: float) -> None:
        if self.phase is Phase.GREETING and refused.code == Code.SLOW_DOWN:
            self.put_off = refused.words
            self._hello_at = now + refused.wait / 1000 + BACK_OFF * 2**self._repeated
        elif self.phase is Phase.GREETING:
            self._end(refused)

    def _ack(self, ack: Ack, now: float) -> None:
        if self.phase not in (Phase.READY, Phase.LEAVING):
            return  # Of a connection before this one, and perhaps of another session.
        if not self.outbox.acknowledge(ack):
            self._pings.at_once()

    def _users(self, users: Users, now: float) -> None:
        query = self._queries.get(users.ref)
        if query is not None:
            query.take(users)
            if query.done:
                self.forget(query)

    def _on_presence(self, presence: Presence, now: float) -> None:
        if presence.name == self.name or not self._presence:
            return
        kind = events.Joined if presence.on else events.Left
        self.inbox.tell(kind(presence.time, presence.name))

    def _pong(self, pong: Pong, now: float) -> None:
        self._ponged = max(self._ponged, pong.ref)
        if pong.heartbeat and pong.lease:
            self.heartbeat.go_by(pong.heartbeat, pong.lease, pong.heartbeat)
            self._pings.hasten(now)
        self.inbox.heads(pong.heads)

    def _error(self, error: Error, now: float) -> None:
        if error.code == Code.OUT_OF_ORDER:
            self.outbox.rewind(error.ref)
        elif error.code == Code.SLOW_DOWN:
            self.outbox.rewind(error.ref)
            self.outbox.pace.hold(now + error.wait / 1000)
        elif error.code == Code.FETCH_LATER:
            self.inbox.later(error.ref, now + error.wait / 1000)
        elif error.code == Code.NO_SESSION:
            # The connection or the lease was lost without notice.  While GREETING this is
            # about a frame sent before HELLO, and HELLO is on its way.
            if self.phase is Phase.READY:
                self._go_offline("the broker no longer knew this connection")
                self._greet(now)
            elif self.phase is Phase.LEAVING:
                self.phase = Phase.OVER
        elif error.code == Code.NO_SUCH_LOG and self.inbox.browses.refused(error.ref):
            return  # Whoever browses is told.
        elif error.code == Code.NO_SUCH_LOG:
            # A log that WELCOME offered is gone: say HELLO again, in no hurry, and learn what
            # there is.
            if self.phase is Phase.READY:
                self._go_offline("the broker has another history")
                self._greet(now + PATIENCE)
        else:
            self._end(Refused(error.code, error.words))

    def _notice(self, notice: Notice, now: float) -> None:
        # Each WELCOME has one of a mute, also those that were to a HELLO before the last.
        if notice.code != Code.MUTED or self.phase is Phase.READY:
            self.inbox.notice(notice.code, notice.words)

    def _farewell(self, farewell: Farewell, now: float) -> None:
        if farewell.code == Code.LEFT and self.phase is Phase.LEAVING:
            self.phase = Phase.OVER
        elif farewell.code == Code.SHUTTING_DOWN:
            leaving = self.phase is Phase.LEAVING
            self._go_offline(farewell.words)
            self.phase = Phase.OVER if leaving else Phase.OFFLINE
        else:
            self._end(Refused(farewell.code, farewell.words))

    # --- helpers --------------------------------------------------------------------------

    def _next_ref(self) -> int:
        self._ref += 1
        return self._ref

    def _greet(self, when: float) -> None:
        self.phase = Phase.GREETING
        self._hello_at = when
        self._repeated = 0

    def _go_offline(self, why: str) -> None:
        if self.phase is Phase.READY:
            self.inbox.tell(events.Offline(why))
        self.outbox.rewind()
        self._pings.lost()

    def _end(self, refusal: Refused) -> None:
        self.refusal = refusal
        self.phase = Phase.OVER
        self.outbox.abandon()


HANDLERS: dict[type, Callable[[ClientCore, Any, float], None]] = {
    Welcome: ClientCore._welcome,
    Refused: ClientCore._refused,
    Ack: ClientCore._ack,
    Batch: lambda core, batch, now: core.inbox.batch(batch),
    Missed: lambda core, missed, now: core.inbox.missed(missed),
    Fetched: lambda core, fetched, now: core.inbox.fetched(fetched),
    Users: ClientCore._users,
    Presence: ClientCore._on_presence,
    Pong: ClientCore._pong,
    Error: ClientCore._error,
    Farewell: ClientCore._farewell,
    Enrolled: lambda core, enrolled, now: None,  # Of a session nobody asks for it.
    Notice: ClientCore._notice,
}
