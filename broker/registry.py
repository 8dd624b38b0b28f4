"""Users and their sessions: who may have a name, who is on.

A *user* is a name and a credential.  A user is *on* while a session of theirs that follows
their mailbox holds the name: then ``info`` lists them and messages reach them.  A one-shot
sender holds its name without being on.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator
from hmac import compare_digest
from typing import NamedTuple

from ..wire.errors import BadName, Code
from ..wire.limits import EPOCH_LENGTH, ID_LENGTH, MAX_USERS
from ..wire.messages import DIRECT_LOG, Hello, Refused
from ..wire.messages import User as Listed
from ..wire.names import canonical_name
from .log import Log
from .session import Happening, Session, State

FreshBytes = Callable[[int], bytes]
"""Gives that many unpredictable bytes."""


MOST_OF_USER = 64
"""Sessions of one user, lapsed ones included."""


class Settings(NamedTuple):
    """What an operator or a test may set.  Times are seconds."""

    pub_port: int
    heartbeat: float = 5.0
    """Between two PINGs of a client."""
    lease: float = 15.0
    """A session that is silent for so long lapses."""
    grace: float = 3.0
    """A name waits so long for a client whose connection is known to be lost.  Longer than
    ZeroMQ's interval between two attempts to reconnect (client/link.py)."""
    forget: float = 3600.0
    """A lapsed session's outcomes are kept so long."""
    most_lapsed: int = 10_000
    most_sessions: int = 100_000


class User:
    """A name and who owns it."""

    __slots__ = ("credential", "mailbox", "name", "on", "read", "sessions", "since")

    def __init__(self, name: str, credential: bytes, mailbox: Log) -> None:
        self.name = name
        self.credential = credential
        self.mailbox = mailbox
        self.sessions: set[Session] = set()
        self.on = False
        self.since = 0
        """When the user came on, in milliseconds since 1970."""
        self.read = 0
        """The position in the mailbox up to which the user confirmed to have read."""

    def holders(self) -> list[Session]:
        return [session for session in self.sessions if session.holding]


class Contested(NamedTuple):
    """The name is held by these sessions; whether all of them still live is to be seen."""

    holders: list[Session]
    refusal: Refused


class Change(NamedTuple):
    """Somebody came on or left."""

    on: bool
    name: str


class Registry:
    """Finds, admits and forgets users and sessions.  Times are on the lease clock."""

    def __init__(
        self, settings: Settings, fresh: FreshBytes, drop_log: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._fresh = fresh
        self._drop_log = drop_log
        self.users: dict[str, User] = {}
        self.sessions: dict[bytes, Session] = {}
        self._lapsed: OrderedDict[bytes, float] = OrderedDict()
        """When each lapsed session is forgotten, the next one first."""
        self._empty: OrderedDict[bytes, None] = OrderedDict()
        """Those of them that left neither outcomes nor mail when they lapsed."""
        self._names: list[str] = []
        """Of the users who are on, sorted."""
        self._changes: list[Change] = []

    # --- coming ---------------------------------------------------------------------------

    def admit(self, hello: Hello, time: int) -> Session | Refused | Contested:
        """The session that *hello* asks for, found or made, or why not.

        *time* is when the user comes on, in milliseconds since 1970.
        """
        try:
            name = canonical_name(hello.name) if hello.name else ""
        except BadName as error:
            return Refused(error.code.value, str(error))
        session = self.sessions.get(hello.session)
        if session is not None:
            if (session.user.name if session.user else "") != name:
                return Refused(Code.NOT_ALLOWED.value, "the session belongs to another name")
            # The session id is the client's own secret of 128 bits; nobody else can name it.
            rivals = self._rivals(session, hello)
            if rivals:
                return Contested(rivals, _already_joined(name))
            session.happen(Happening.HELLO)
            self._take_out(session)
        else:
            if len(self.sessions) - len(self._lapsed) >= self._settings.most_sessions:
                return Refused(Code.BROKER_FULL.value, "the broker cannot take more sessions")
            user = self._claim(name, hello) if name else None
            if isinstance(user, Contested):
                return user
            if user is not None and len(user.holders()) >= MOST_OF_USER:
                return Refused(Code.BROKER_FULL.value, f"{name!r} has too many sessions")
            session = Session(hello.session, user, hello.attempt)
            self.sessions[hello.session] = session
            if user is not None:
                user.sessions.add(session)
                self._crowd_out(user)
        session.exclusive = hello.exclusive
        session.follows = {follow.log: follow for follow in hello.follows}
        self._settle(session.user, time)
        return session

    def _claim(self, name: str, hello: Hello) -> User | Contested:
        user = self.users.get(name)
        if user is not None:
            holders = user.holders()
            if compare_digest(user.credential, hello.credential):
                # Whoever proves to be the user need not wait for sessions of their own that
                # are known to be gone.
                rivals = [s for s in holders if hello.exclusive and _bars(s)]
                return Contested(rivals, _already_joined(name)) if rivals else user
            if holders:
                words = f"name {name!r} is taken"
                return Contested(holders, Refused(Code.NAME_TAKEN.value, words))
            # Nobody holds the name: its last owner has lapsed and makes room.
            for session in list(user.sessions):
                self._forget(session)
        credential = hello.credential or self._fresh(ID_LENGTH)
        epoch = self._fresh(EPOCH_LENGTH)
        # The key holds the epoch: what a former owner of the name left is never found under it.
        user = User(name, credential, Log(f"@{name}:{epoch.hex()}", epoch))
        self.users[name] = user
        return user

    def _crowd_out(self, user: User) -> None:
        """Forgets a lapsed session of a user who has too many: looking at all of a user's
        sessions must stay cheap."""
        lapsed = [session for session in user.sessions if session.id in self._lapsed]
        if len(user.sessions) > MOST_OF_USER and lapsed:
            self._forget(min(lapsed, key=lambda s: (self._lapsed[s.id], s.expires)))

    def _rivals(self, session: Session, hello: Hello) -> list[Session]:
        """The sessions of the same user beside which *session* cannot be exclusive."""
        if session.user is None or not hello.exclusive:
            return []
        return [s for s in session.user.holders() if s is not session and _bars(s)]

    # --- going ----------------------------------------------------------------------------

    def lost(self, session: Session, clock: float) -> None:
        """The session's connection is known to be gone."""
        session.happen(Happening.LOST)
        session.expires = min(session.expires, clock + self._settings.grace)

    def leave(self, session: Session) -> None:
        """The client said BYE."""
        session.happen(Happening.BYE)
        self._remove(session)

    def expire(self, clock: float) -> list[Session]:
        """Lets lapse what is overdue, forgets what lapsed long ago; returns the former."""
        overdue = [s for s in self.sessions.values() if s.holding and s.expires <= clock]
        for session in overdue:
            session.happen(Happening.EXPIRED)
            self._lapsed[session.id] = clock + self._settings.forget
            if session.left_nothing:
                self._empty[session.id] = None
            self._settle(session.user, 0)
            if not session.worth_keeping:
                self._forget(session)
        while self._lapsed:
            id, when = next(iter(self._lapsed.items()))
            if when > clock:
                if len(self._lapsed) <= self._settings.most_lapsed:
                    break
                # A crowd of those who come and go does not push out what somebody left.
                while self._empty:
                    empty, _ = self._empty.popitem(last=False)
                    # Mail may have come since: into the mailbox of a user who was on elsewhere,
                    # or in this very turn.
                    if self.sessions[empty].left_nothing:
                        id = empty
                        break
            self._forget(self.sessions[id])
        return overdue

    def _forget(self, session: Session) -> None:
        session.happen(Happening.FORGOTTEN)
        self._take_out(session)
        self._remove(session)

    def _take_out(self, session: Session) -> None:
        """The session is no longer one that lapsed."""
        self._lapsed.pop(session.id, None)
        self._empty.pop(session.id, None)

    def _remove(self, session: Session) -> None:
        del self.sessions[session.id]
        user = session.user
        if user is None:
            return
        user.sessions.discard(session)
        self._settle(user, 0)
        if not user.sessions:
            del self.users[user.name]
            self._drop_log(user.mailbox.key)

    # --- who is on ------------------------------------------------------------------------

    def _settle(self, user: User | None, time: int) -> None:
        """Notes it if *user* came on or left by what just happened to a session."""
        if user is None:
            return
        on = any(DIRECT_LOG in session.follows for session in user.holders())
        if on == user.on:
            return
        user.on = on
        self._changes.append(Change(on, user.name))
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
        for change in self._changes:
            of_name.setdefault(change.name, []).append(change)
        self._changes.clear()
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


def _bars(session: Session) -> bool:
    """Whether a session keeps others of its user from being exclusive."""
    return session.exclusive and session.state is State.LIVE


def _already_joined(name: str) -> Refused:
    return Refused(Code.ALREADY_JOINED.value, f"{name!r} is already joined")
