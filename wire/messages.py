"""The messages of the protocol: one small immutable type each.

A message travels as a msgpack array ``[kind, field, …]`` with the fields in the order in
which they stand here.  ``codec`` turns bytes into these and back; nobody else packs.
docs/protocol.md describes each of them for people who write another client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple, overload

from .errors import Code

ECHO_LOG = "echo"
"""The public log: what everyone hears."""
DIRECT_LOG = "direct"
"""The session's own mailbox.  Each user sees only their own under this name, so no message
can ask for somebody else's."""

PRESENCE_TOPIC = b"presence\0"
GREETING_TOPIC = b"greeting\0"
"""The single-part message with which PUB greets a new connection."""


def topic_of(log: str) -> bytes:
    """The PUB topic of *log*: its name and NUL, so that ``dev`` does not match ``devops``."""
    return log.encode() + b"\0"


class Kind(IntEnum):
    """The first element of a message.  Below 16 clients speak, from 16 on the broker."""

    HELLO = 1
    SEND = 2
    ECHO = 3
    INFO = 4
    FETCH = 5
    PING = 6
    BYE = 7
    ENROL = 8
    WELCOME = 16
    REFUSED = 17
    ACK = 18
    BATCH = 19
    FETCHED = 20
    MISSED = 21
    USERS = 22
    PRESENCE = 23
    PONG = 24
    ERROR = 25
    FAREWELL = 26
    NOTICE = 27
    ENROLLED = 28


class Start(IntEnum):
    """Where a session begins to read a log that it follows."""

    NOW = 0
    """After the newest event; the value is ignored."""
    UNREAD = 1
    """After the last position that the user confirmed in a PING; the value is ignored."""
    AFTER = 2
    """After the position ``value``, if the epoch matches or is empty; 0 is everything kept."""
    AGE = 3
    """At the first event of the last ``value`` milliseconds, by the broker's clock."""


class Follow(NamedTuple):
    """One log that a session wants to read, and from where."""

    log: str
    epoch: bytes
    start: Start
    value: int


class Cursor(NamedTuple):
    """A position in one life of a log: how far a reader is, or where the log's head is."""

    log: str
    epoch: bytes
    position: int


class Reading(NamedTuple):
    """What WELCOME says of a followed log: read on after ``start``; ``head`` is the newest."""

    log: str
    epoch: bytes
    start: int
    head: int
    former: bytes = b""
    """The epoch of the life that the log had before, if its data went back."""
    upto: int = 0
    """Up to there both lives are the same."""


class Refusal(NamedTuple):
    """Commands ``first`` to ``last`` were not carried out."""

    first: int
    last: int
    code: str
    words: str


class Run(NamedTuple):
    """Commands ``first`` to ``last``."""

    first: int
    last: int


class Limits(NamedTuple):
    """What the broker bears, in WELCOME.  Bytes, but for ``window``: commands."""

    max_frame: int
    max_text: int
    window: int
    push_window: int
    messages_per_second: int = 0
    """Commands that all sessions of the user may give; 0: any number."""
    messages_burst: int = 0
    """After a rest, so many at once."""
    bytes_per_second: int = 0
    """In frames with commands; 0: any number."""
    bytes_burst: int = 0


class Event(NamedTuple):
    """Something said, as it lies in a log.  ``to`` is empty for a broadcast."""

    time: int
    """Milliseconds since 1970-01-01 UTC, by the broker's clock; never falls within a log."""
    sender: str
    to: str
    text: str


class Events(Sequence[Event | None]):
    """Events column by column, of equal length; each is made when it is looked at.

    None stands for an event of a type that this version does not know.  Hundreds come at a
    time: to take 600 texts apart and check them costs 0.1 us for each so, and 0.3 us with an
    object for each.
    """

    __slots__ = ("senders", "texts", "times", "tos")

    def __init__(
        self,
        times: Sequence[int],
        senders: Sequence[str],
        tos: Sequence[str | None],
        texts: Sequence[str],
    ) -> None:
        """*tos*: None where the event is of an unknown type; the rest of it means nothing."""
        self.times, self.senders, self.tos, self.texts = times, senders, tos, texts

    @classmethod
    def of(cls, events: Iterable[Event | None]) -> Events:
        columns = [(0, "", None, "") if event is None else event for event in events]
        return cls(*zip(*columns, strict=True)) if columns else cls((), (), (), ())

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Event | None]:
        for time, sender, to, text in zip(
            self.times, self.senders, self.tos, self.texts, strict=True
        ):
            yield None if to is None else Event(time, sender, to, text)

    @overload
    def __getitem__(self, at: int) -> Event | None: ...
    @overload
    def __getitem__(self, at: slice) -> Events: ...
    def __getitem__(self, at: int | slice) -> Event | Events | None:
        if isinstance(at, slice):
            return Events(self.times[at], self.senders[at], self.tos[at], self.texts[at])
        to = self.tos[at]
        return None if to is None else Event(self.times[at], self.senders[at], to, self.texts[at])

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Events | tuple) else NotImplemented

    def __repr__(self) -> str:
        return f"Events.of({list(self)})"


# --- client to broker ---------------------------------------------------------------------


class Hello(NamedTuple):
    """Binds this connection to a session.  The first message on every connection."""

    version: int
    name: str
    """Empty for an observer, who reads the public log and sends nothing."""
    session: bytes
    credential: bytes
    """The client's own secret, or what WELCOME gave earlier, or empty."""
    attempt: int
    """1, 2, 3 … over all HELLOs of this session, on whatever connection."""
    exclusive: bool
    """Refuse, if the user has another exclusive session (a person's ``join``)."""
    claim: bool
    """Keep the name, and what is said to it, while the user is away.  For a client that keeps
    its credential."""
    replaces: bytes
    """A session of the same user that the client knows to be dead, or empty: it is over."""
    follows: tuple[Follow, ...]


class Send(NamedTuple):
    """Texts to one user: as many commands, with consecutive numbers."""

    cseq: int
    """The number of the first."""
    to: str
    """Decoded, it is empty if it is longer than any name."""
    texts: tuple[str | None, ...]
    """Decoded, None stands for one that is too long."""


class Echo(NamedTuple):
    """Texts to everyone: as many commands, with consecutive numbers."""

    cseq: int
    """The number of the first."""
    texts: tuple[str | None, ...]
    """Decoded, None stands for one that is too long."""


class Info(NamedTuple):
    """Who is on, from the first name after ``after``?"""

    ref: int
    after: str


class Fetch(NamedTuple):
    """The events of a log after a position, up to about ``budget`` bytes.

    An empty ``epoch`` is that of the life that the log has now."""

    ref: int
    log: str
    epoch: bytes
    after: int
    budget: int


class Ping(NamedTuple):
    """A sign of life that states all the client has: the answer tells what it lacks."""

    ref: int
    sent: int
    """The highest command number sent."""
    resolved: int
    """The highest command number whose outcome is known, with all before it."""
    cursors: tuple[Cursor, ...]
    heartbeat: int = 0
    """Milliseconds between two PINGs, if a PONG told them; 0: those of WELCOME."""


class Bye(NamedTuple):
    """The session is over; its name is free at once.  Answered by FAREWELL."""


class Enrol(NamedTuple):
    """Admit this key from now on, in place of the invitation's, by which one came in.

    Answered by ENROLLED or REFUSED."""

    version: int
    key: bytes
    """The public key of the user's own, which nobody else was ever told the secret of."""


# --- broker to client ---------------------------------------------------------------------


class Welcome(NamedTuple):
    """The answer to HELLO."""

    version: int
    name: str
    epoch: bytes
    attempt: int
    """That of the HELLO which this answers."""
    born: int
    """The attempt of the HELLO that made the session.  If the last WELCOME told another one,
    the session is not the one that it was."""
    cseq: int
    """The last command number that the session carried out or refused."""
    credential: bytes
    pub_port: int
    heartbeat: int
    """Milliseconds between two PINGs."""
    lease: int
    """Milliseconds of silence after which the session's name is free."""
    limits: Limits
    readings: tuple[Reading, ...]
    former: bytes = b""
    """The epoch that these data had before, if they had one: then they may hold what was said in
    that life."""


class Refused(NamedTuple):
    """HELLO was refused."""

    code: str
    words: str
    wait: int = 0
    """``slow_down``: milliseconds until it is worth another try."""


class Ack(NamedTuple):
    """Commands ``after`` + 1 to ``upto`` are resolved: stored, but for those in ``refused``."""

    after: int
    upto: int
    refused: tuple[Refusal, ...] = ()
    away: tuple[Run, ...] = ()
    """Those that were stored for somebody who was not on."""


class Batch(NamedTuple):
    """Consecutive events of a log.  The i-th (from 0) is at position ``first`` + i."""

    log: str
    epoch: bytes
    prev: int
    """The position of the last event before these, 0 for none."""
    first: int
    events: Events


class Fetched(NamedTuple):
    """The end of the answer to FETCH."""

    ref: int
    log: str
    epoch: bytes
    head: int


class Missed(NamedTuple):
    """``lost`` events after ``after`` and up to ``upto`` are no longer kept."""

    log: str
    epoch: bytes
    after: int
    upto: int
    lost: int


class User(NamedTuple):
    """One line of ``info``.  ``since`` is milliseconds since 1970."""

    name: str
    since: int


class Users(NamedTuple):
    """Who is on, in the order of names.  ``more``: ask again after the last name."""

    ref: int
    users: tuple[User, ...]
    more: bool


class Presence(NamedTuple):
    """Somebody came on or left.  Not logged: INFO is the truth."""

    on: bool
    name: str
    time: int


class Pong(NamedTuple):
    """The answer to PING, or with ``ref`` 0 unasked: where the followed logs' heads are."""

    ref: int
    heads: tuple[Cursor, ...]
    heartbeat: int = 0
    """As in WELCOME, from now on; 0: as before."""
    lease: int = 0


class Error(NamedTuple):
    """A frame or a request was not understood or not granted.

    ``ref`` is the request's, or the command number expected (``out_of_order``, ``slow_down``),
    or 0.
    """

    code: str
    words: str
    ref: int
    wait: int = 0
    """``slow_down``, ``fetch_later``: milliseconds until it is worth another try."""


class Farewell(NamedTuple):
    """The broker ends the session, or the connection's part in it."""

    code: str
    words: str


class Notice(NamedTuple):
    """What the broker has to say of itself; nothing follows from it."""

    code: str
    words: str


class Enrolled(NamedTuple):
    """The key is admitted, and stored."""

    name: str
    """Whose it is."""


ClientMessage = Hello | Send | Echo | Info | Fetch | Ping | Bye | Enrol
BrokerMessage = (
    Welcome
    | Refused
    | Ack
    | Batch
    | Fetched
    | Missed
    | Users
    | Presence
    | Pong
    | Error
    | Farewell
    | Notice
    | Enrolled
)
Message = ClientMessage | BrokerMessage

KINDS: dict[type, Kind] = {
    Hello: Kind.HELLO,
    Send: Kind.SEND,
    Echo: Kind.ECHO,
    Info: Kind.INFO,
    Fetch: Kind.FETCH,
    Ping: Kind.PING,
    Bye: Kind.BYE,
    Enrol: Kind.ENROL,
    Welcome: Kind.WELCOME,
    Refused: Kind.REFUSED,
    Ack: Kind.ACK,
    Batch: Kind.BATCH,
    Fetched: Kind.FETCHED,
    Missed: Kind.MISSED,
    Users: Kind.USERS,
    Presence: Kind.PRESENCE,
    Pong: Kind.PONG,
    Error: Kind.ERROR,
    Farewell: Kind.FAREWELL,
    Notice: Kind.NOTICE,
    Enrolled: Kind.ENROLLED,
}


def error(code: Code, words: str, ref: int = 0, wait: int = 0) -> Error:
    """An ERROR with its code as it travels."""
    return Error(code.value, words, ref, wait)
