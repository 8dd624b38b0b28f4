"""Who comes in and who goes: HELLO, BYE, connections that are lost, leases that run out."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.errors import BadName, Code
from ..wire.limits import MAX_FRAME, PUSH_WINDOW, VERSION, WINDOW
from ..wire.messages import (
    DIRECT_LOG,
    ECHO_LOG,
    PRESENCE_TOPIC,
    Farewell,
    Follow,
    Hello,
    Limits,
    Notice,
    Pong,
    Presence,
    Reading,
    Refused,
    Welcome,
)
from ..wire.names import canonical_name
from .allowance import Allowance, Place, Places, told
from .brake import milliseconds
from .clock import TurnClock
from .fault import Fault
from .heartbeats import Heartbeats
from .journal import JournalError
from .log import Log
from .origin import Origin
from .outcomes import Outcomes
from .outgoing import Outgoing
from .readers import Readers
from .refusals import Contested
from .registry import Registry
from .session import Liveness, Session, State
from .user import find

MOST_WAITING = 1000
"""HELLOs that may wait to see whether a name's holder is still there."""

MOST_OWNERS_WAITING = 1000
"""The same of owners, beside those."""

MOST_WAITING_FOR_NAME = 8
"""Of these, for one name: only one of them can get it."""

PROBE_HOLDS = 0.05
"""Seconds for which a holder that was probed is taken to be there: shorter than any process
takes to start, and long enough that a flood of HELLOs does not become a flood for the holder."""

SWEEP_EVERY = 0.25
"""Seconds between two looks for leases that ran out."""


class _Waiting(NamedTuple):
    hello: Hello
    origin: Origin
    turn: int


class Door:
    """Binds connections to sessions."""

    def __init__(
        self,
        registry: Registry,
        readers: Readers,
        out: Outgoing,
        outcomes: Outcomes,
        clock: TurnClock,
        lives: tuple[bytes, bytes],
        unread: Fault,
    ) -> None:
        """*lives*: the epochs that WELCOME tells, that of now and the former one.  *unread*: that
        something cannot be read."""
        self._registry = registry
        self._readers = readers
        self._out = out
        self._outcomes = outcomes
        self._clock = clock
        self._epoch, self._former = lives
        self._unread = unread
        self._swept = 0.0
        self._places = Places(registry.settings.allowance)
        self._heartbeats = Heartbeats(registry.settings)
        self._probed: dict[Session, tuple[int, float]] = {}
        """The holders that were probed lately: in which turn, and when."""
        self.bound: dict[bytes, Session] = {}
        """The LIVE session of each connection."""
        self.waiting: dict[bytes, _Waiting] = {}
        self.accepting = True
        """Whether new sessions may come in; the edge knows how many descriptors are left."""

    def allow(self, allowance: Allowance) -> None:
        """Has *allowance* hold for addresses from now on."""
        self._places.allow(allowance)

    def renew(self, session: Session) -> None:
        """The client gave a sign of life."""
        session.expires = expires = self._clock.attended + session.lease
        if expires < self._registry.due:
            self._registry.due = expires

    def pinged(self, session: Session, heartbeat: int) -> Liveness:
        """What a client is to be told that goes by *heartbeat*; see `Heartbeats.answer`."""
        told = self._heartbeats.answer(session, heartbeat, len(self.bound))
        self.renew(session)
        return told

    @property
    def longest_lease(self) -> float:
        """Seconds: no session has a longer one."""
        return self._heartbeats.longest

    def hello(self, identity: bytes, hello: Hello, origin: Origin) -> None:
        """Lets a client in, refuses it, or has it wait."""
        if self._stale(hello):
            return
        self.waiting.pop(identity, None)
        bound = self.bound.get(identity)
        if bound is not None and bound.id != hello.session:
            # One connection, one session: the former one is over, as by BYE.
            self.end(bound)
        if not self.accepting and hello.session not in self._registry.sessions:
            words = "the broker has no descriptors left for another session"
            self._refuse(identity, hello, origin, Refused(Code.BROKER_FULL.value, words))
            return
        outcome = self._admit(hello, origin)
        if isinstance(outcome, Session):
            self._welcome(identity, hello, origin, outcome)
        elif (
            isinstance(outcome, Contested)
            and not self._held(outcome.holders)
            and self._may_wait(hello, outcome)
        ):
            self.waiting[identity] = _Waiting(hello, origin, self._clock.turn)
        else:
            refused = outcome.refusal if isinstance(outcome, Contested) else outcome
            self._refuse(identity, hello, origin, refused)

    def _refuse(self, identity: bytes, hello: Hello, origin: Origin, refused: Refused) -> None:
        try:
            name = canonical_name(hello.name) if hello.name else ""
        except BadName:
            name = ""  # It may be anything, also what somebody wanted to say.
        self._out.refuse(identity, refused, user=name, address=origin.address)

    def _admit(self, hello: Hello, origin: Origin) -> Session | Refused | Contested:
        known = self._registry.sessions.get(hello.session)
        follows = [follow.log for follow in hello.follows]
        # To be there or not is told to everybody, also where a session turns from one to the other.
        turns = known and known.user and (DIRECT_LOG in known.follows) != (DIRECT_LOG in follows)
        joins = known is None or bool(turns)
        user = find(self._registry.users, hello.name)
        claims = hello.claim and hello.name != "" and not (user is not None and user.claimed)
        place = self._places.find(origin.address)
        if known is None and place.live >= self._registry.settings.allowance.address_sessions:
            return Refused(Code.BROKER_FULL.value, "too many sessions from one address")
        too_much = self._too_much(place, joins, claims)
        if too_much is not None:
            return too_much
        dead = self._registry.sessions.get(hello.replaces)
        outcome = self._registry.admit(hello, origin, self._clock.latest)
        if dead is not None:
            self._unbind([dead], "the user's next client took this one for dead")
        if isinstance(outcome, Session):
            outcome.come_from(place)
            place.joins.take(joins, self._clock.now)
            place.claims.take(claims, self._clock.now)
        return outcome

    def _too_much(self, place: Place, joins: bool, claims: bool) -> Refused | None:
        """Why a HELLO from *place* has to wait that *joins*, or that *claims* a name anew."""
        wait_to_join = joins * place.joins.wait(self._clock.now)
        wait = max(wait_to_join, claims * place.claims.wait(self._clock.now))
        if not wait:
            return None
        what = "sessions" if wait_to_join else "names"
        words = f"too many new {what} from one address in a short time"
        return Refused(Code.SLOW_DOWN.value, words, milliseconds(wait))

    def _unbind(self, sessions: list[Session], words: str, code: Code = Code.REPLACED) -> None:
        """Says goodbye to the connections of those of *sessions* that are over."""
        for session in sessions:
            if session.state is State.ENDED and self.bound.get(session.identity) is session:
                del self.bound[session.identity]
                self._outcomes.settle(session)
                self._out.assure(session.identity, Farewell(code.value, words))

    def kick(self, sessions: list[Session], code: Code, words: str) -> int:
        """Ends *sessions*, at an operator's word; how many they were."""
        self._registry.kick(sessions, self._clock.latest)
        self._unbind(sessions, words, code)
        return len(sessions)

    def release(self, name: str) -> bool:
        """Frees *name*, at an operator's word; whether it was anybody's."""
        known, ended = self._registry.release(name)
        words = f"the name {name!r} was released by the broker's operator"
        self._unbind(ended, words, Code.KICKED)
        return known

    def _may_wait(self, hello: Hello, outcome: Contested) -> bool:
        # An owner is answered in the next turn, however many strangers wait.
        if outcome.refusal.code == Code.ALREADY_JOINED:
            return len(self.waiting) < MOST_WAITING + MOST_OWNERS_WAITING
        names = [waiting.hello.name.lower() for waiting in self.waiting.values()]
        return (
            len(self.waiting) < MOST_WAITING
            and names.count(hello.name.lower()) < MOST_WAITING_FOR_NAME
        )

    def _stale(self, hello: Hello) -> bool:
        """Whether *hello* is left over from a former connection: the session has moved on."""
        known = self._registry.sessions.get(hello.session)
        return known is not None and hello.attempt < known.attempt

    def _held(self, holders: list[Session]) -> bool:
        """Whether one of *holders* is there for certain.

        A holder that was killed may not have been missed yet.  So each is probed: whatever is
        sent to it tells, for ZeroMQ refuses to send to a connection that is gone.  The turn
        after knows.
        """
        turn, now = self._clock.turn, self._clock.attended
        unknown = []
        for holder in holders:
            if holder.state is State.LIVE:
                probed_in, when = self._probed.get(holder, (turn - 2, -1.0))
                if probed_in == turn - 1 or (probed_in < turn and now - when <= PROBE_HOLDS):
                    return True
                if probed_in < turn:
                    unknown.append(holder)
        for holder in unknown:
            self._probed[holder] = turn, now
            self._out.reply(holder.identity, Pong(0, self._readers.heads(holder)))
        return False

    def remind(self) -> None:
        """Tells all who follow the public log where it ends, so that they fetch what they lack:
        pushes of it are held up."""
        for session in self._registry.live():
            if ECHO_LOG in session.follows:
                self._out.reply(session.identity, Pong(0, self._readers.heads(session)))

    def admit_waiting(self) -> None:
        """Looks again at HELLOs that asked for a name whose holders were probed before."""
        for identity, (hello, origin, since) in list(self.waiting.items()):
            if since == self._clock.turn:
                continue
            if self._stale(hello):
                del self.waiting[identity]
                continue
            outcome = self._admit(hello, origin)
            if isinstance(outcome, Contested):
                if not self._held(outcome.holders):
                    continue
                outcome = outcome.refusal
            del self.waiting[identity]
            if isinstance(outcome, Session):
                self._welcome(identity, hello, origin, outcome)
            else:
                self._refuse(identity, hello, origin, outcome)

    def _start(self, session: Session, log: Log, follow: Follow) -> int:
        """Where *session* begins to read *log*."""
        try:
            return self._readers.start(session, log, follow, self._clock.time)
        except JournalError as error:
            self._unread.happened(str(error))
            return 0  # Better too much than too little; and the rest goes on.

    def _welcome(self, identity: bytes, hello: Hello, origin: Origin, session: Session) -> None:
        if session.identity != identity and self.bound.get(session.identity) is session:
            del self.bound[session.identity]
            words = "the session goes on over another connection"
            self._out.assure(session.identity, Farewell(Code.REPLACED.value, words))
        session.identity = identity
        self.bound[identity] = session
        liveness = self._heartbeats.welcome(session, hello.attempt, len(self.bound))
        session.attempt = hello.attempt
        session.unconfirmed = session.resolved = 0
        self.renew(session)
        readings = []
        for follow in hello.follows:
            log = self._readers.find(session, follow.log)
            if log is None:
                del session.follows[follow.log]
                self._out.reject(identity, Code.NO_SUCH_LOG, f"no such log: {follow.log!r}")
            else:
                start = self._start(session, log, follow)
                former, upto = log.former or (b"", 0)
                readings.append(Reading(follow.log, log.epoch, start, log.head, former, upto))
        user, settings = session.user, self._registry.settings
        allowance = settings.allowance
        self._out.reply(
            identity,
            Welcome(
                VERSION,
                user.name if user else "",
                self._epoch,
                hello.attempt,
                session.born,
                session.cseq,
                # Whose key it is needs none, and may be another than who proved it.
                b"" if user is None or origin.name else user.credential,
                settings.pub_port,
                *liveness,
                Limits(
                    MAX_FRAME,
                    allowance.text,
                    WINDOW,
                    PUSH_WINDOW,
                    *told(allowance.messages),
                    *told(allowance.bytes),
                ),
                tuple(readings),
                self._former,
            ),
        )
        mute = None if user is None else self._registry.sanctions.mute_on(user.name)
        if mute is not None:  # A refusal says neither why nor until when.
            self._out.reply(identity, Notice(Code.MUTED.value, mute.words()))

    def bye(self, identity: bytes) -> None:
        """The client leaves; it hears so even if it was never let in."""
        self.waiting.pop(identity, None)
        session = self.bound.get(identity)
        if session is not None:
            self.end(session)
        self._out.reply(identity, Farewell(Code.LEFT.value, "goodbye"))

    def end(self, session: Session) -> None:
        """Ends a LIVE session."""
        del self.bound[session.identity]
        self._registry.leave(session, self._clock.latest)

    def tell_changes(self) -> None:
        """Tells who came on and who left."""
        for on, name in self._registry.take_changes():
            self._out.publish(PRESENCE_TOPIC, Presence(on, name, self._clock.time))
            self._out.note("joined" if on else "left", user=name)

    def expel(self, identity: bytes, code: Code, words: str) -> bool:
        """Nothing goes on over the connection any more; whether a session did."""
        self.waiting.pop(identity, None)
        session = self.bound.get(identity)
        if session is not None:
            self.kick([session], code, words)
        return session is not None

    def lost(self, identity: bytes) -> None:
        """The connection is known to be gone."""
        self.waiting.pop(identity, None)
        session = self.bound.pop(identity, None)
        if session is not None:
            self._registry.lost(session, self._clock.attended)

    def ended(self, identity: bytes) -> None:
        """The connection was seen to have ended, and has no more to say.  Its session waits for
        another as long as when they are few: how often clients PING is nothing to it any more."""
        session = self.bound.get(identity)
        if session is not None:
            lease = self._registry.settings.lease
            self._registry.shorten(session, self._clock.attended + lease)

    def expire(self) -> None:
        """Lets go of the silent.  Everybody was heard: no sign of life may be waiting."""
        clock = self._clock
        if clock.attended - self._swept < SWEEP_EVERY:
            return
        self._swept = clock.attended
        self._heartbeats.measure(self.bound.values(), self._swept)
        last = clock.turn - 1
        self._probed = {s: probed for s, probed in self._probed.items() if probed[0] >= last}
        for identity in self.waiting:
            # Whoever gave up meanwhile is found out, and does not get the name.
            self._out.reply(identity, Pong(0, ()))
        for session in self._registry.expire(clock.attended, clock.latest, clock.settled):
            if self.bound.get(session.identity) is session:
                del self.bound[session.identity]
        for name in self._registry.unclaimed:
            self._out.note("claim_lapsed", user=name)
        self._registry.unclaimed.clear()
