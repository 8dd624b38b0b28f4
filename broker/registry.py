"""Users and their sessions: who may have a name, who is on.

A *user* is a name and a credential.  A user is *on* while a session of theirs that follows
their mailbox holds the name: then ``info`` lists them.  A one-shot sender holds its name
without being on.

A name is *claimed*, if a client asked for it: then it stays its user's, and what is said to
them is kept for them, while no session holds it.  Else it is borrowed: the user is gone with
the last session.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import inf
from typing import Any, NamedTuple

from ..wire.errors import BadName, Code
from ..wire.limits import EPOCH_LENGTH, ID_LENGTH, MAX_USERS
from ..wire.messages import DIRECT_LOG, Hello, Refused
from ..wire.messages import User as Listed
from ..wire.names import canonical_name
from ..wire.shape import make
from .allowance import Spent
from .away import Away
from .counts import Census
from .journal import Commit, Kept
from .log import Log, Row
from .members import Members
from .origin import Origin
from .refusals import NO_MORE_CLAIMS, Contested, already_joined, not_allowed
from .sanctions import Sanctions
from .session import Happening, Session, State
from .user import Settings, User, proof_of

FreshBytes = Callable[[int], bytes]
"""Gives that many unpredictable bytes."""


class Change(NamedTuple):
    """Somebody came on or left."""

    on: bool
    name: str


class Registry:
    """Finds, admits and forgets users and sessions.

    *clock* in its methods is the lease clock in seconds; *time* is now, in milliseconds since
    1970 (`TurnClock.latest`).
    """

    def __init__(
        self,
        settings: Settings,
        fresh: FreshBytes,
        kept: Kept,
        members: Members,
        sanctions: Sanctions | None = None,
    ) -> None:
        self.settings = settings
        self.sanctions = sanctions or Sanctions()
        self._fresh = fresh
        self._members = members
        self.users: dict[str, User] = {}
        self.sessions: dict[bytes, Session] = {}
        self._lapsed: OrderedDict[bytes, float] = OrderedDict()
        """When each lapsed session is forgotten, the next one first."""
        self._empty: OrderedDict[bytes, None] = OrderedDict()
        """Those of them that left neither outcomes nor mail when they lapsed."""
        self.due = 0.0
        """No session lapses before this (lease clock): to look at thousands takes its time."""
        self._absent = Away()
        """The claimed users whose names nobody holds."""
        self._claims = 0
        """How many users have claimed their names."""
        self._names: list[str] = []
        """Of the users who are on, sorted."""
        self.changes: list[Change] = []
        """Who came on and left since `take_changes`."""
        self.unclaimed: list[str] = []
        """Names whose claims lapsed, until somebody tells of it and clears this."""
        # What is to be stored:
        self._new_users: dict[User, None] = {}
        self._new_sessions: dict[Session, None] = {}
        self._ended: list[bytes] = []
        self._gone: list[str] = []
        self._dropped: list[str] = []
        self._restore(kept)

    def _restore(self, kept: Kept) -> None:
        """Takes up what an earlier process left.  Whoever held a name has a lease to return:
        nobody is taken to have left because the broker was started again."""
        for stored in sorted(kept.users, key=lambda record: record.seen):
            mailbox = kept.log(stored.log, stored.epoch)
            user = User(stored.name, stored.proof, mailbox, stored.created, self.settings.allowance)
            user.claimed, user.read, user.seen = stored.claimed, stored.read, stored.seen
            self.users[user.name] = user
        for record in kept.sessions:
            session = Session.restored(record, self.users[record.user])
            self.sessions[session.id] = session
            self.users[record.user].sessions.add(session)
            if session.holding:
                session.expires = self.settings.lease
            else:
                self._lapsed[session.id] = self.settings.forget
                if session.left_nothing:
                    self._empty[session.id] = None
        self._claims = sum([user.claimed for user in self.users.values()])
        self._absent = Away([u for u in self.users.values() if u.claimed and not u.holders()])
        for user in self.users.values():
            self._settle(user, kept.time)
        self.changes.clear()
        self._new_users.clear()

    # --- coming ---------------------------------------------------------------------------

    def admit(self, hello: Hello, origin: Origin, time: int) -> Session | Refused | Contested:
        """The session that *hello* asks for, found or made, or why not."""
        try:
            name = canonical_name(hello.name) if hello.name else ""
        except BadName as error:
            return Refused(error.code.value, str(error))
        ban = self.sanctions.ban_on(name, origin.key)
        if ban is not None:
            return Refused(Code.BANNED.value, ban.words())
        if origin.invited:
            return not_allowed("an invitation lets nobody in; it is there to be accepted")
        if origin.name and name not in ("", origin.name):
            return not_allowed(f"the key is that of {origin.name!r}, not of {name!r}")
        session = self.sessions.get(hello.session)
        dead = None
        if session is not None:
            if (session.user.name if session.user else "") != name:
                return not_allowed("the session belongs to another name")
            if session.key not in (None, origin.key):
                return not_allowed("the session belongs to another key")
            # The session id is the client's own secret of 128 bits; nobody else can name it.
            rivals = self._rivals(session, hello)
            if rivals:
                return Contested(rivals, already_joined(name))
            if session.user is not None and self._claims_too_many(session.user, hello, origin):
                return NO_MORE_CLAIMS
            session.happen(Happening.HELLO)
            self._take_out(session)
        else:
            if len(self.sessions) - len(self._lapsed) >= self.settings.most_sessions:
                return Refused(Code.BROKER_FULL.value, "the broker cannot take more sessions")
            user = self._find_or_make(name, hello, origin, time) if name else None
            if isinstance(user, Contested | Refused):
                return user
            if user is not None:
                if self._claims_too_many(user, hello, origin):
                    return NO_MORE_CLAIMS
                # Before the session itself is there: it does not replace itself.
                dead = self._replaced(user, hello)
                most = self.settings.allowance.sessions
                if len([s for s in user.holders() if s is not dead]) >= most:
                    return Refused(Code.BROKER_FULL.value, f"{name!r} has too many sessions")
            session = Session(hello.session, user, hello.attempt)
            self.sessions[hello.session] = session
            if user is not None:
                user.sessions.add(session)
        session.key = origin.key
        session.exclusive = hello.exclusive
        session.follows = {follow.log: follow for follow in hello.follows}
        if session.user is not None:
            self._own(session.user, hello, origin)
            self._new_sessions[session] = None
        if dead is not None:
            dead.happen(Happening.REPLACED)
            self._take_out(dead)
            self._remove(dead, time)
        self._settle(session.user, time)
        if session.user is not None:
            self._crowd_out(session.user, time)
        return session

    def _own(self, user: User, hello: Hello, origin: Origin) -> None:
        """Notes what a session of *user* says about the ownership of the name."""
        by_key = bool(origin.name)
        if not by_key and not user.credential and not user.prove(hello.credential):
            # Since the broker was started nobody presented it; this client never learned it, as
            # the WELCOME that told it was lost.  Whoever is welcomed is told one that is good.
            user.credential = self._fresh(ID_LENGTH)
            user.proof = proof_of(user.credential)
            self._new_users[user] = None
        if (hello.claim or by_key) and not user.claimed:
            user.claimed = True
            self._claims += 1
            self._new_users[user] = None

    def _find_or_make(
        self, name: str, hello: Hello, origin: Origin, time: int
    ) -> User | Contested | Refused:
        user = self.users.get(name)
        by_key = bool(origin.name)
        if user is not None:
            holders = user.holders()
            # Whose key it is, owns the name that is claimed; who borrowed it may not know yet.
            if user.prove(hello.credential) or (by_key and user.claimed):
                # Whoever proves to be the user need not wait for sessions of their own that
                # are known to be gone.
                dead = self._replaced(user, hello)
                rivals = [s for s in holders if hello.exclusive and s is not dead and _bars(s)]
                return Contested(rivals, already_joined(name)) if rivals else user
            if user.claimed:
                code, words = (
                    (Code.NAME_TAKEN, f"name {name!r} is taken")
                    if holders
                    else (Code.NAME_CLAIMED, f"name {name!r} is claimed by somebody who is away")
                )
                return Refused(code.value, words)
            if holders:
                words = f"name {name!r} is taken"
                return Contested(holders, Refused(Code.NAME_TAKEN.value, words))
        if self._members.has(name) and not by_key:
            words = f"name {name!r} is claimed by somebody who comes by a key"
            return Refused(Code.NAME_CLAIMED.value, words)
        if len(self.users) - (user is not None) >= self.settings.most_users:
            return Refused(Code.BROKER_FULL.value, "the broker cannot take more names")
        if self._claims_too_many(None, hello, origin):
            return NO_MORE_CLAIMS
        if user is not None:
            # Nobody holds the name: who borrowed it has lapsed and makes room.
            self._drop(user)
        credential = hello.credential or self._fresh(ID_LENGTH)
        epoch = self._fresh(EPOCH_LENGTH)
        # The key holds the epoch: what a former owner of the name left is never found under it.
        mailbox = Log(f"@{name}:{epoch.hex()}", epoch)
        user = User(name, proof_of(credential), mailbox, time, self.settings.allowance)
        user.credential = credential
        self.users[name] = user
        self._new_users[user] = None
        return user

    def _claims_too_many(self, user: User | None, hello: Hello, origin: Origin) -> bool:
        """Whether *hello* claims one more name than may be, be it new or borrowed so far."""
        wanted = hello.claim or bool(origin.name)
        more = wanted and (user is None or not user.claimed)
        return more and self._claims >= self.settings.most_claims

    def _replaced(self, user: User, hello: Hello) -> Session | None:
        """The session of *user* that *hello* vouches to be dead."""
        dead = self.sessions.get(hello.replaces)
        return dead if dead is not None and dead.user is user else None

    def _crowd_out(self, user: User, time: int) -> None:
        """Forgets a lapsed session of a user who has too many: looking at all of a user's
        sessions must stay cheap."""
        lapsed = [session for session in user.sessions if session.id in self._lapsed]
        if len(user.sessions) > self.settings.allowance.sessions and lapsed:
            self._forget(min(lapsed, key=lambda s: (self._lapsed[s.id], s.expires)), time)

    def _rivals(self, session: Session, hello: Hello) -> list[Session]:
        """The sessions of the same user beside which *session* cannot be exclusive."""
        if session.user is None or not hello.exclusive:
            return []
        return [s for s in session.user.holders() if s is not session and _bars(s)]

    # --- going ----------------------------------------------------------------------------

    def lost(self, session: Session, clock: float) -> None:
        """The session's connection is known to be gone."""
        session.happen(Happening.LOST)
        self.shorten(session, clock + self.settings.grace)

    def shorten(self, session: Session, expires: float) -> None:
        """The session lapses at *expires* (lease clock) at the latest, if it is silent."""
        session.expires = min(session.expires, expires)
        self.due = min(self.due, session.expires)

    def leave(self, session: Session, time: int) -> None:
        """The client said BYE."""
        session.happen(Happening.BYE)
        self._remove(session, time)

    def release(self, name: str) -> tuple[bool, list[Session]]:
        """Frees *name*, at an operator's word: whether it was anybody's, and the sessions that
        ended with it."""
        user = self.users.get(name)
        if user is None:
            return False, []
        ended = list(user.sessions)
        self._drop(user)
        return True, ended

    def holders(self, name: str) -> list[Session]:
        """The sessions that hold *name*."""
        user = self.users.get(name)
        return user.holders() if user is not None else []

    def kick(self, sessions: list[Session], time: int) -> None:
        """Ends *sessions*, which hold their names, at an operator's word."""
        for session in sessions:
            session.happen(Happening.REPLACED)
            self._remove(session, time)

    def adjust(self, **changed: Any) -> None:
        """Has other settings from now on, by their names in `Settings`; not within a turn."""
        self.settings = self.settings._replace(**changed)
        if "allowance" in changed:
            for user in self.users.values():
                user.spent = Spent(self.settings.allowance)

    def expire(self, clock: float, time: int, settled: int) -> list[Session]:
        """Lets lapse what is overdue, forgets what lapsed long ago; returns the former.

        *settled*: the time by which claims lapse (`TurnClock.settled`)."""
        overdue = []
        if clock >= self.due:
            # The clock first: few are overdue, and `holding` takes nine times as long.
            overdue = [s for s in self.sessions.values() if s.expires <= clock and s.holding]
            others = [s.expires for s in self.sessions.values() if s.expires > clock]
            self.due = min(others, default=inf)
        for session in overdue:
            session.happen(Happening.EXPIRED)
            self._lapsed[session.id] = clock + self.settings.forget
            if session.left_nothing:
                self._empty[session.id] = None
            if session.user is not None:
                self._new_sessions[session] = None
            self._settle(session.user, time)
            if not session.worth_keeping:
                self._forget(session, time)
        while self._lapsed:
            id, when = next(iter(self._lapsed.items()))
            if when > clock:
                if len(self._lapsed) <= self.settings.most_lapsed:
                    break
                # A crowd of those who come and go does not push out what somebody left.
                while self._empty:
                    empty, _ = self._empty.popitem(last=False)
                    # Mail may have come since: into the mailbox of a user who was on elsewhere,
                    # or in this very turn.
                    if self.sessions[empty].left_nothing:
                        id = empty
                        break
            self._forget(self.sessions[id], time)
        oldest = settled - round(self.settings.claim_ttl * 1000)
        self._new_users |= dict.fromkeys(self._absent.put_right(time))
        for user in self._absent.overdue(oldest):
            self._drop(user)
            self.unclaimed.append(user.name)
        return overdue

    def _forget(self, session: Session, time: int) -> None:
        session.happen(Happening.FORGOTTEN)
        self._take_out(session)
        self._remove(session, time)

    def _take_out(self, session: Session) -> None:
        """The session is no longer one that lapsed."""
        self._lapsed.pop(session.id, None)
        self._empty.pop(session.id, None)

    def _remove(self, session: Session, time: int) -> None:
        del self.sessions[session.id]
        self._new_sessions.pop(session, None)
        user = session.user
        if user is None:
            return
        self._ended.append(session.id)
        user.sessions.discard(session)
        self._settle(user, time)
        if not user.sessions and not user.claimed:
            self._drop(user)

    def _drop(self, user: User) -> None:
        """The user is gone for good, with mailbox and sessions."""
        if user.gone:
            return
        user.gone = True
        self._claims -= user.claimed
        for session in list(user.sessions):
            del self.sessions[session.id]
            self._take_out(session)
            self._new_sessions.pop(session, None)
            session.happen(Happening.REPLACED)
        user.sessions.clear()
        self._settle(user, 0)
        self._absent.come(user)
        self._new_users.pop(user, None)
        del self.users[user.name]
        self._gone.append(user.name)
        self._dropped.append(user.mailbox.key)

    # --- who is on ------------------------------------------------------------------------

    def _settle(self, user: User | None, time: int) -> None:
        """Notes it if *user* came on or left by what just happened to a session."""
        if user is None:
            return
        holders = user.holders()
        if holders:
            self._absent.come(user)
        elif user.claimed and user not in self._absent and not user.gone:
            self._new_users |= dict.fromkeys(self._absent.leave(user, time))
        on = any(DIRECT_LOG in session.follows for session in holders)
        if on == user.on:
            return
        user.on = on
        self.changes.append(Change(on, user.name))
        if on:
            user.since = time
            insort(self._names, user.name)
        else:
            del self._names[bisect_right(self._names, user.name) - 1]

    def take_changes(self) -> list[Change]:
        """Who came on and left since the last call, in order.

        The last two changes of a name tell all there is: somebody left and another came.  Of
        who came and left meanwhile, nothing: a flood of them would stop those who listen.
        """
        of_name: dict[str, list[Change]] = {}
        for change in self.changes:
            of_name.setdefault(change.name, []).append(change)
        self.changes.clear()
        told: list[Change] = []
        for first, *_, last in [(changes[0], *changes) for changes in of_name.values()]:
            told += [first] * (not first.on) + [last] * last.on
        return told

    def page(self, after: str) -> tuple[list[Listed], bool]:
        """The users who are on, from the first name after *after*, and whether more follow."""
        start = bisect_right(self._names, after)
        names = self._names[start : start + MAX_USERS]
        more = start + len(names) < len(self._names)
        return [Listed(name, self.users[name].since) for name in names], more

    def live(self) -> Iterator[Session]:
        return (s for s in self.sessions.values() if s.state is State.LIVE)

    def census(self, live: int) -> Census:
        """How many there are; *live*: of the sessions.  May be called from any thread, as it
        takes lengths only."""
        lapsed = len(self._lapsed)
        gone = max(len(self.sessions) - live - lapsed, 0)
        return Census(live, gone, lapsed, len(self._names), len(self.users), self._claims)

    # --- what is to be stored -------------------------------------------------------------

    def read(self, user: User, position: int) -> None:
        """The user confirmed to have read the mailbox up to *position*."""
        if position > user.read:
            user.read = position
            self._new_users[user] = None

    def said(self, session: Session) -> None:
        """The session gave commands that had not been heard before."""
        self._new_sessions[session] = None

    def take_commit(self, rows: list[Row], durable: bool) -> Commit:
        """What changed since the last call, with *rows*; of users and sessions only if the
        journal keeps them (*durable*)."""
        if durable:
            users = [user.record() for user in self._new_users]
            sessions = [session.news() for session in self._new_sessions]
            commit = Commit(self._ended, self._gone, self._dropped, users, sessions, rows)
        else:
            commit = make(Commit, ((), (), self._dropped, (), (), rows))
        self._new_users.clear()
        self._new_sessions.clear()
        # New ones: what happens while a commit is held belongs into the next.
        self._ended, self._gone, self._dropped = [], [], []
        return commit


def _bars(session: Session) -> bool:
    """Whether a session keeps others of its user from being exclusive."""
    return session.exclusive and session.state is State.LIVE
