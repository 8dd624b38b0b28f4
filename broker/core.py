"""The rules of the broker.  Frames in, effects out; no socket, clock or randomness here.

A turn: ``begin`` with the time, ``receive`` each waiting frame, then ``commit``, which
stores what was said and returns the effects, then ``acknowledge``, which returns those that are
for who said it.  Receiving *proposes* (validates, appends to the turn); committing *applies*
(journal, then push, then acknowledge), so that nobody hears of a message that is not stored, and
a journal that answers later needs no other core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from ..wire.batch import pack_runs
from ..wire.errors import Code, VersionMismatch, WireError
from ..wire.keys import key_text
from ..wire.limits import EPOCH_LENGTH, MAX_MESSAGES, PUSH_WINDOW
from ..wire.messages import (
    DIRECT_LOG,
    ECHO_LOG,
    Bye,
    Echo,
    Enrol,
    Enrolled,
    Farewell,
    Fetch,
    Hello,
    Info,
    Notice,
    Ping,
    Pong,
    Refused,
    Send,
)
from ..wire.shape import make
from .allowance import Decoding
from .answers import Answers
from .brake import Brake
from .clock import TurnClock
from .counts import Census, Counts
from .door import Door
from .effects import Deliver, Effect
from .fault import Fault
from .hand import Hand
from .hold import RETRY, Hold
from .journal import CannotStore, Commit, Journal
from .log import Log, Row, pack_batches
from .members import Members, NotAdmitted, nobody_in_particular, refusal
from .origin import Origin
from .outcomes import Outcomes
from .outgoing import Outgoing
from .readers import Readers
from .registry import FreshBytes, Registry
from .sanctions import Sanctions
from .session import Session, State
from .turn import Route, Turn
from .user import Settings, User, find

ENOUGH_EVENTS = 60_000
"""Commands after which no frame is begun in a turn: one may hold 60,000 of empty texts."""

ENOUGH_REPLIES = 4 * 1024 * 1024
"""Bytes of replies after which none is: three hundred observers that fetch at once ask for 300 MiB.
Nothing is lost by it; the next turn goes on."""


ANYWHERE = Origin()


class Needs(IntEnum):
    """What a message requires of its sender."""

    NOTHING = 0
    SESSION = 1
    USER = 2


class Rule(NamedTuple):
    needs: Needs
    handle: Callable[..., Any]
    """Takes the broker, the connection or the session, and the message."""


class _Unstored(NamedTuple):
    """A turn that the journal does not have yet."""

    commit: Commit
    effects: list[Effect]
    """What is to be told when it has."""
    messages: int
    """How many messages it stores, each once."""


class Broker:
    """The whole broker but for its sockets.  Raises JournalError when made."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        fresh: FreshBytes,
        members: Members | None = None,
        sanctions: Sanctions | None = None,
    ) -> None:
        """*members*: who is admitted; None for everyone.  *sanctions*: who is kept out."""
        kept = journal.load(fresh(EPOCH_LENGTH))
        self.epoch = kept.epoch
        self._journal = journal
        self._decoding = Decoding(settings.allowance)
        self._echo = kept.log(ECHO_LOG, self.epoch)
        self._members = members or nobody_in_particular()
        self._registry = Registry(settings, fresh, kept, self._members, sanctions)
        self._readers = Readers(self._echo, journal, self._registry)
        self.counts = Counts()
        self._out = Outgoing(self.counts)
        self.clock = TurnClock(kept.time, max([user.seen for user in kept.users], default=0))
        self._brake = Brake(self._out, self.clock)
        unread = Fault(self._out.warn, self.clock, "cannot_read")
        self._answers = Answers(
            self._registry, self._readers, self._out, self._brake, self.clock, unread
        )
        self.leave_out = self._answers.leave_out
        self._unstored: _Unstored | None = None
        self._stored = False
        """Whether what was said in this turn is."""
        self._messages = 0
        """How many messages that were, until they are counted."""
        self._hold = Hold(self.clock)
        self.untidy = False
        """Whether there is more to tidy."""
        self._untidied = Fault(self._hold.warn, self.clock, "cannot_tidy")
        former = kept.former[ECHO_LOG].epoch if ECHO_LOG in kept.former else b""
        lives = self.epoch, former
        self._outcomes = Outcomes(self._out, self._brake, self.counts)
        self._door = Door(
            self._registry, self._readers, self._out, self._outcomes, self.clock, lives, unread
        )
        self.remind, self.ended = self._door.remind, self._door.ended
        # Of the current turn:
        self._said = Turn(self._echo)
        self.hand = Hand(
            self._registry, self._door, self._out, self._said, self._decoding, self._tell_all
        )

    # --- the turn -------------------------------------------------------------------------

    def begin(self, now: float, time: int) -> float:
        """Starts a turn; see `TurnClock.begin`."""
        self._stored = False
        return self.clock.begin(now, time)

    def accept_sessions(self, accept: bool) -> None:
        """Whether new sessions may come in; the edge knows how many descriptors are left."""
        self._door.accepting = accept

    def receive(self, identity: bytes, frame: bytes, origin: Origin = ANYWHERE) -> None:
        """Takes one frame of a client, from a connection that comes from *origin*.

        Bad input gets a coded reply."""
        try:
            messages = self._decoding.decode(frame)
        except VersionMismatch as mismatch:
            refused = Refused(mismatch.code.value, str(mismatch))
            return self._out.refuse(identity, refused, address=origin.address)
        except WireError as bad:
            return self._out.reject(identity, bad.code, str(bad))
        if type(messages[0]) is Hello:
            self._hello(identity, messages.pop(0), origin)
        self._carry_out(identity, messages, len(frame), origin)
        return None

    def commands_in(self, frames: Sequence[bytes]) -> list[Any]:
        """The commands of *frames* of one client, at a fraction of the cost, if they hold nothing
        else; otherwise none."""
        return self._decoding.decode_commands(frames)

    def receive_commands(
        self, identity: bytes, commands: list[Any], size: int, origin: Origin = ANYWHERE
    ) -> tuple[list[Any], int]:
        """Takes *commands*, which came in *size* bytes, until the turn has enough to do: those that
        are left, and how many bytes nobody paid for yet."""
        taken = 0
        while True:
            some = commands[taken : taken + MAX_MESSAGES]
            if self._carry_out(identity, some, size, origin):
                size = 0
            taken += len(some)
            if taken == len(commands) or self.full:
                return commands[taken:], size

    def _carry_out(self, identity: bytes, messages: list[Any], size: int, origin: Origin) -> bool:
        """Does what *messages* say, which came in *size* bytes; whether these are paid for."""
        session = speaker = self._door.bound.get(identity)
        heard, spent = 0, None
        if session is not None:
            self._door.renew(session)
            if session.user is not None:
                heard, spent = session.cseq, session.user.spent
                if spent.until > self.clock.now:
                    messages = self._brake.hold_back(session, messages)
        complaint = ""
        for message in messages:
            needs, handle = RULES[type(message)]
            if needs is Needs.NOTHING:
                handle(self, identity, message, origin)
                session = self._door.bound.get(identity)
            elif session is not None and (needs is Needs.SESSION or session.user is not None):
                handle(self, session, message)
            elif not complaint:
                # Once a frame: a client that lost its session has many commands under way.
                if session is None:
                    code, complaint = Code.NO_SESSION, "say HELLO first"
                else:
                    code, complaint = Code.NOT_ALLOWED, "an observer has no name to send as"
                self._out.reject(identity, code, complaint)
        if spent is not None and speaker is not None and speaker.cseq != heard:
            # For what took a number: what is repeated costs nothing.
            if not spent.messages:
                self._brake.spenders.append(spent)
            spent.messages += speaker.cseq - heard
            spent.bytes += size
            return True
        return False

    def reject(self, identity: bytes, code: Code, words: str) -> None:
        """Answers a connection that is out of protocol below the level of frames."""
        self._out.reject(identity, code, words)

    def expects(self, identity: bytes) -> bool:
        """Whether a session goes on over the connection, or a HELLO of it waits for an answer."""
        return identity in self._door.bound or identity in self._door.waiting

    def lost(self, identity: bytes) -> None:
        """The connection is known to be gone."""
        self._door.lost(identity)

    def commit(self, all_heard: bool = True) -> list[Effect]:
        """Ends the turn: stores what was said, and returns what to tell whom; `acknowledge` has
        the rest.

        If the journal cannot store now, the turn is *held*: nothing of it is told, and nothing
        may be received, until another turn's commit has stored it.

        Raises JournalError; then nothing of the turn was told, and this broker is not to be
        used again: its numbers are ahead of what is stored.

        *all_heard*: every connection that had something to say was heard since it was last
        so.  Only then does silence mean anything.
        """
        if self._unstored is None:
            self._unstored = self._close(all_heard)
        commit, effects, messages = self._unstored
        if any(commit):
            try:
                self._journal.commit(commit)
            except CannotStore as error:
                return self._tell_all(self._hold.begin(str(error)))
        self._unstored, self._stored, self._messages = None, True, messages
        return self._tell_all(self._hold.end()) + effects if self._hold.because else effects

    def _tell_all(self, notices: list[Notice]) -> list[Effect]:
        frames = [self._out.pack(notice) for notice in notices]
        found = list(self._registry.live())
        effects: list[Effect] = [Deliver(s.identity, frame) for frame in frames for s in found]
        return effects + self._hold.notes()

    def _close(self, all_heard: bool) -> _Unstored:
        """Ends the turn: what it wants stored, and what to tell then."""
        # What has nothing to do is not called: a turn of one message would call a dozen of them.
        if all_heard:
            self._door.expire()
        if self._door.waiting:
            self._door.admit_waiting()
        messages = self._said.messages
        said = self._said.take(self.clock.time)
        for user, before, head in self._said.own:
            # What one said oneself is no news: a script would get its question for an answer.
            if user.read == before:
                self._registry.read(user, head)
        rows = [row for _, _, rows in said for row in rows]
        commit = self._registry.take_commit(rows, self._journal.durable)
        self._tell(said)
        return make(_Unstored, (commit, self._out.take(), messages))

    @property
    def held(self) -> bool:
        """Whether the last turn could not be stored yet, so that nothing may be received."""
        return self._unstored is not None

    @property
    def held_because(self) -> str:
        """Why nothing could be stored at the last attempt; empty if it could."""
        return self._hold.because

    def tidy(self) -> list[Effect]:
        """One small step of what nobody waits for: what to tell of it.  Raises JournalError."""
        if self.held:
            return []
        try:
            self.untidy = self._journal.tidy(self.clock.settled)
        except CannotStore as error:
            self.untidy = False
            self._untidied.happened(str(error))
        return [*self._hold.notes()]

    def _tell(self, said: list[tuple[Log, User | None, list[Row]]]) -> None:
        """Pushes what was said, and acknowledges it to who hears anything else."""
        if self._registry.changes:
            self._door.tell_changes()
        for log, user, rows in said:
            if user is None:
                self._out.broadcast(log, rows)
            else:
                self._push(user, rows)
        self._outcomes.join()

    def acknowledge(self) -> list[Effect]:
        """Ends the turn for those who spoke in it, when the effects of `commit` were performed:
        what to tell them yet, which is nothing while it is held.

        What was said is on its way to its readers by then: this takes a fifth of what a lone
        message costs."""
        self._brake.settle()
        self._journal.settle()
        if self._messages:
            self.counts.batches.add(self._messages)
            self._messages = 0
        return self._outcomes.tell() if self._stored else []

    def shutdown(self) -> list[Effect]:
        """Commits what is pending, if that can be, and says goodbye to everyone."""
        effects = self.commit(all_heard=False) + self.acknowledge()
        if self.held:
            self._out.take()  # What an operator did since tells of what is not stored.
        goodbye = Farewell(Code.SHUTTING_DOWN.value, "the broker is shutting down")
        for session in self._registry.live():
            self._out.reply(session.identity, goodbye)
        return effects + self._out.take()

    @property
    def longest_lease(self) -> float:
        """Seconds: no session has a longer one."""
        return self._door.longest_lease

    def census(self) -> Census:
        """How many there are of what the broker knows.  May be called from any thread."""
        return self._registry.census(len(self._door.bound))

    @property
    def pause(self) -> float:
        """Seconds that may pass until the next turn, if nothing comes in."""
        if self.held:
            return RETRY
        if self.untidy:
            return 0.0
        return 0.02 if self._door.waiting else 0.5

    @property
    def full(self) -> bool:
        """Whether the turn has enough to do: what else is waiting should wait for the next."""
        return self._said.work > ENOUGH_EVENTS or self._out.replies > ENOUGH_REPLIES

    # --- coming and going -----------------------------------------------------------------

    def _hello(self, identity: bytes, message: Hello, origin: Origin) -> None:
        self._door.hello(identity, message, origin)
        self._said.forget_routes()

    def _bye(self, identity: bytes, message: Bye, origin: Origin) -> None:
        if self._out.full(identity):
            return
        self._door.bye(identity)
        self._said.forget_routes()

    def _enrol(self, identity: bytes, message: Enrol, origin: Origin) -> None:
        """Admits a key in place of an invitation.  It is kept before this answers."""
        try:
            name = self._members.enrol(origin, message.key, self.clock.wall)
        except NotAdmitted as why:
            return self._out.refuse(identity, refusal(why), address=origin.address)
        self._out.note("enrolled", user=name, address=origin.address, key=key_text(message.key))
        return self._out.reply(identity, Enrolled(name))

    # --- commands -------------------------------------------------------------------------

    def _say_to_all(self, session: Session, message: Echo) -> None:
        self._say(session, (message.cseq, None, message.texts))

    def _say(
        self, session: Session, message: tuple[int, str | None, tuple[str | None, ...]]
    ) -> None:
        """Carries out a SEND, or what is one but that it goes to everyone (None)."""
        cseq, to, texts = message
        if cseq != session.cseq + 1:
            texts = self._outcomes.unheard(session, cseq, texts)
            if not texts:
                return
        self._outcomes.owed[session] = None
        self._registry.said(session)
        first = session.cseq + 1
        session.cseq += len(texts)
        route = self._said.routes.get((session.user, to))  # type: ignore[arg-type]  # Needs.USER
        if route is None:
            found = self._find_route(session.user, to)  # type: ignore[arg-type]
            if isinstance(found, Code):
                self._outcomes.refuse(session, first, session.cseq, found)
                return
            route = found
        self._said.events += len(texts)
        known: Sequence[Any] = texts
        if None in texts:
            known = [text for text in texts if text is not None]
        for run in pack_runs(route.head, known):
            for pending in route.pending:
                pending.append(run)
        if len(known) < len(texts):
            self._said.too_long += len(texts) - len(known)
            self._outcomes.note(session, first, texts, route.away)
        elif route.away:
            session.note_away(first, session.cseq)

    def _find_route(self, sender: User, to: str | None) -> Route | Code:
        """The way of what *sender* says, or why there is none."""
        if self._registry.sanctions.mute_on(sender.name) is not None:
            return Code.MUTED
        recipient = None if to is None else find(self._registry.users, to)
        if to is not None and (recipient is None or not (recipient.on or recipient.claimed)):
            return Code.NO_SUCH_USER
        return self._said.route(sender, to, recipient, self.clock.time)

    # --- questions ------------------------------------------------------------------------

    def _info(self, session: Session, message: Info) -> None:
        self._answers.info(session, message)

    def _fetch(self, session: Session, message: Fetch) -> None:
        session.unconfirmed = 0
        self._answers.fetch(session, message)

    def _ping(self, session: Session, message: Ping) -> None:
        session.unconfirmed = 0
        if self._out.full(session.identity):
            return
        if message.sent > session.cseq:
            self._outcomes.gaps[session] = None
        session.resolved = message.resolved
        self._outcomes.repeat(session, message.resolved)
        self._readers.confirm(session, message.cursors)
        told = self._door.pinged(session, message.heartbeat)
        self._out.reply(session.identity, Pong(message.ref, self._readers.heads(session), *told))

    def _push(self, user: User, rows: list[Row]) -> None:
        if not user.on:
            return
        readers = [s for s in user.sessions if s.state is State.LIVE and DIRECT_LOG in s.follows]
        if not readers:
            return
        for piece in pack_batches(DIRECT_LOG, user.mailbox, rows):
            for session in readers:
                # A reader that gives no sign of reading gets no more: it fetches later.
                if session.unconfirmed <= PUSH_WINDOW:
                    session.unconfirmed += len(piece)
                    self._out.push(session.identity, piece)


RULES: dict[type, Rule] = {
    Hello: Rule(Needs.NOTHING, Broker._hello),
    Send: Rule(Needs.USER, Broker._say),
    Echo: Rule(Needs.USER, Broker._say_to_all),
    Info: Rule(Needs.SESSION, Broker._info),
    Fetch: Rule(Needs.SESSION, Broker._fetch),
    Ping: Rule(Needs.SESSION, Broker._ping),
    Bye: Rule(Needs.NOTHING, Broker._bye),
    Enrol: Rule(Needs.NOTHING, Broker._enrol),
}
