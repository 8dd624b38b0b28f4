"""What an operator may ask of a running broker: a table of requests.

A request is an object; ``do`` names the line of the table, which declares the fields that it
takes.  What is wrong with them is told in words, as is what cannot be done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Protocol

from ..wire.errors import BadKey, BadName, Code
from ..wire.keys import key_text, parse_key
from ..wire.limits import MAX_WORDS
from ..wire.names import canonical_name
from .clock import iso
from .effects import Effect
from .hand import Hand
from .members import NotAdmitted
from .sanctions import (
    PAST,
    CannotKeep,
    Kind,
    Sanction,
    Sanctions,
    checked_reason,
    checked_who,
    key_of,
    told,
    until_of,
)

Request = dict[str, Any]
Answer = dict[str, Any]

PAGE = 100
"""Bans or mutes in one answer: 100 KB at most, which the socket takes at once."""

MOST_NAMES = 1000
"""Names in one answer: 40 KB at most."""
KEYS_PAGE = 300
"""Keys or invitations in one answer: 60 KB at most."""

LONGEST = 1000 * 365 * 86400.0
"""Seconds that a ban or a mute may last."""

HELD = "the broker can store nothing now; 'chatbroker status' says why"
UNKNOWN = "this broker cannot do that; is it of another version than this command?"


class Refusal(Exception):
    """What was asked for is not done; the words say why."""


class Asked(NamedTuple):
    """A request whose fields are in order."""

    by: int | None
    """The user id of who asks, where the system tells."""
    time: int
    """Now, in milliseconds since 1970."""
    name: str = ""
    key: bytes = b""
    reason: str = ""
    seconds: float | None = None
    words: str = ""
    begin: str = ""
    only_held: bool = False
    kind: Kind = Kind.BAN
    after: str = ""
    invited: bool = False


class Surroundings(NamedTuple):
    """What of the broker is beyond its core."""

    perform: Callable[[list[Effect]], None]
    part_with: Callable[[Collection[bytes]], list[bytes]]
    """Hears connections no more that one of some public keys admitted, and ends them soon; gives
    those of clients."""
    audit: Callable[..., None]
    status: Callable[[], Answer]
    settled: Callable[[], int]
    """What was over by then may be forgotten (`TurnClock.settled`)."""
    keys: Keys | None = None
    """None for a plain broker."""


class Keys(Protocol):
    """Who is admitted to a secure broker.  All raise NotAdmitted."""

    def invite(self, name: str, key: bytes, seconds: float) -> Answer:
        """Opens an invitation, for so many seconds."""

    def admit(self, name: str, key: bytes) -> Answer:
        """Admits a key."""

    def revoke(self, who: str, key: bytes | None) -> list[bytes]:
        """Takes keys back, as of now: which."""

    def catch_up(self) -> str:
        """Keeps that; if it cannot be kept, why, in words."""

    def listed(self, invited: bool, after: str, most: int) -> list[dict[str, str]]:
        """Up to so many keys, or invitations, in their order."""

    def keys_of(self, name: str) -> list[bytes]:
        """The keys by which the user of *name* comes."""


class Operator:
    """Carries out requests."""

    def __init__(self, hand: Hand, sanctions: Sanctions, around: Surroundings) -> None:
        self._hand = hand
        self._sanctions = sanctions
        self._around = around

    def carry_out(self, request: Request, by: int | None, time: int, held: bool) -> Answer:
        """Does what *request* asks for; the answer.

        *held*: whether the broker can store nothing now, so that most has to wait."""
        name = request.get("do")
        action = ACTIONS.get(name) if isinstance(name, str) else None
        try:
            if action is None:
                raise Refusal(UNKNOWN)
            if held and not action.while_held:
                raise Refusal(HELD)
            fields = {field: check(request.get(field)) for field, check in action.fields.items()}
            return {"ok": True, **action.carry_out(self, Asked(by, time, **fields))}
        except (Refusal, CannotKeep, NotAdmitted) as refusal:
            return {"ok": False, "words": str(refusal)}

    def _release(self, asked: Asked) -> Answer:
        if not self._hand.release(asked.name):
            raise Refusal(unknown(asked.name))
        self._around.audit("release", by=asked.by, user=asked.name)
        return {}

    def _kick(self, asked: Asked) -> Answer:
        why = f" ({asked.reason})" if asked.reason else ""
        words = f"{asked.name!r} was kicked by the broker's operator{why}"
        ended = self._hand.kick(asked.name, Code.KICKED, words)
        if not ended:
            raise Refusal(f"nobody is on as {asked.name!r}; 'chat info' tells who is")
        self._around.audit(
            "kick", by=asked.by, user=asked.name, reason=asked.reason, sessions=ended
        )
        return {"sessions": ended}

    def _ban(self, asked: Asked) -> Answer:
        ban = _sanction(Kind.BAN, asked)
        known = self._known(ban)  # Before it ends the session of who has only borrowed the name.
        self._sanctions.impose(ban, self._around.settled())
        ended = self.enforce(ban)
        self._around.audit("ban", **_audited(ban), sessions=ended)
        return {"sessions": ended} | known

    def enforce(self, ban: Sanction) -> int:
        """Ends the sessions of whom *ban* meets; how many there were."""
        key = key_of(ban.who)
        ended, keys = 0, [key] if key else []
        if key is None:
            ended = self._hand.kick(ban.who, Code.BANNED, ban.words())
            if self._around.keys is not None:
                # Also what they hear by without a name.
                keys = self._around.keys.keys_of(ban.who)
        if keys:  # To look at all connections costs a millisecond, and there may be many bans.
            ended += self._hand.expel(self._around.part_with(keys), Code.BANNED, ban.words())
        return ended

    def _mute(self, asked: Asked) -> Answer:
        mute = _sanction(Kind.MUTE, asked)
        self._sanctions.impose(mute, self._around.settled())
        self.tell_mute(mute)
        self._around.audit("mute", **_audited(mute))
        return self._known(mute)

    def tell_mute(self, mute: Sanction) -> None:
        """Tells whom *mute* is on, if they are here."""
        self._hand.notify(mute.who, Code.MUTED, mute.words())

    def _known(self, sanction: Sanction) -> Answer:
        """Whether whom it is on has been here: a misspelt name has not."""
        return {} if key_of(sanction.who) else {"known": self._hand.knows(sanction.who)}

    def _unban(self, asked: Asked) -> Answer:
        return self._lift(Kind.BAN, "unban", asked)

    def _unmute(self, asked: Asked) -> Answer:
        return self._lift(Kind.MUTE, "unmute", asked)

    def _lift(self, kind: Kind, done: str, asked: Asked) -> Answer:
        lifted = self._sanctions.lift(kind, asked.name, self._around.settled())
        if lifted is None:
            raise Refusal(f"{asked.name!r} is not {PAST[kind]}; 'chatbroker bans' tells who is")
        self._around.audit(done, by=asked.by, **whom(lifted))
        return {}

    def _bans(self, asked: Asked) -> Answer:
        listed = self._sanctions.listed(asked.kind, asked.after, PAGE)
        return {"listed": [told(s) for s in listed], "more": len(listed) == PAGE}

    def _announce(self, asked: Asked) -> Answer:
        effects = self._hand.announce(asked.words)
        self._around.perform(effects)
        self._around.audit("announce", by=asked.by, words=asked.words, sessions=len(effects))
        return {"sessions": len(effects)}

    def _invite(self, asked: Asked) -> Answer:
        if asked.seconds is None:
            raise Refusal("an invitation does not hold for ever; say for how long")
        answer = self._keys().invite(asked.name, asked.key, asked.seconds)
        until = iso(answer["expires"])
        self._around.audit("invite", by=asked.by, user=asked.name, until=until)
        return answer | {"known": self._hand.knows(asked.name)}

    def _admit(self, asked: Asked) -> Answer:
        answer = self._keys().admit(asked.name, asked.key)
        self._around.audit("admit", by=asked.by, user=asked.name, key=key_text(asked.key))
        return answer | {"known": self._hand.knows(asked.name)}

    def _revoke(self, asked: Asked) -> Answer:
        key = key_of(asked.name)
        revoked = self._keys().revoke(asked.name, key)
        words = (
            "the key is admitted no more, by the broker's operator; another invitation may be had"
        )
        self._hand.expel(self._around.part_with(revoked), Code.NOT_ALLOWED, words)
        who = {"key" if key else "user": asked.name}
        self._around.audit("revoke", by=asked.by, **who, keys=len(revoked))
        return {"revoked": len(revoked), "unkept": self._keys().catch_up()}

    def _members(self, asked: Asked) -> Answer:
        listed = self._keys().listed(asked.invited, asked.after, KEYS_PAGE)
        return {"listed": listed, "more": len(listed) == KEYS_PAGE}

    def _keys(self) -> Keys:
        if self._around.keys is None:
            raise Refusal("the broker is not a secure one; start it with --secure")
        return self._around.keys

    def _names(self, asked: Asked) -> Answer:
        names, more = self._hand.names(asked.begin, asked.only_held, MOST_NAMES)
        return {"names": names, "more": more}

    def _status(self, asked: Asked) -> Answer:
        return {"status": self._around.status()}


def unknown(name: str) -> str:
    """That nobody has *name*, in words."""
    return f"nobody has the name {name!r}; 'chatbroker names list' tells which there are"


def _sanction(kind: Kind, asked: Asked) -> Sanction:
    until = until_of(asked.time, asked.seconds)
    return Sanction(kind, asked.name, asked.time, until, asked.reason, asked.by)


def whom(sanction: Sanction) -> dict[str, str]:
    """Whom a sanction is on, as the audit log has it."""
    return {"key" if key_of(sanction.who) else "user": sanction.who}


def _audited(sanction: Sanction) -> dict[str, Any]:
    """A sanction as the audit log has it."""
    until = None if sanction.until is None else iso(sanction.until)
    return {"by": sanction.by, **whom(sanction), "reason": sanction.reason, "until": until}


# --- fields of requests ---------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refusal(UNKNOWN)
    return value


def _name(value: Any) -> str:
    try:
        return canonical_name(_text(value))
    except BadName as error:
        raise Refusal(str(error)) from None


def _who(value: Any) -> str:
    try:
        return checked_who(_text(value))
    except BadName as error:
        raise Refusal(str(error)) from None


def _reason(value: Any) -> str:
    try:
        return "" if value is None else checked_reason(_text(value))
    except ValueError as error:
        raise Refusal(str(error)) from None


def _key(value: Any) -> bytes:
    try:
        return parse_key(_text(value))
    except BadKey as error:
        raise Refusal(str(error)) from None


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value <= LONGEST:
        raise Refusal("how long it lasts is a number of seconds, at most of a thousand years")
    return float(value)


def _words(value: Any) -> str:
    words = _text(value)
    try:
        size = len(words.encode())
    except UnicodeEncodeError:
        raise Refusal("an announcement is Unicode") from None
    if not words.strip():
        raise Refusal("an announcement says something")
    if size > MAX_WORDS:
        raise Refusal(f"an announcement is at most {MAX_WORDS} bytes, and this has {size}")
    return words


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refusal(UNKNOWN)
    return value


def _kind(value: Any) -> Kind:
    if value not in tuple(Kind):
        raise Refusal(UNKNOWN)
    return Kind(value)


class Action(NamedTuple):
    """A line of the table."""

    carry_out: Callable[[Operator, Asked], Answer]
    fields: dict[str, Callable[[Any], Any]]
    """What is wanted of each field; None stands for one that is not given."""
    while_held: bool = False
    """Whether it can be done while nothing can be stored."""
    alone: bool = False
    """Whether it can be done while no broker runs."""


_LASTING = {"reason": _reason, "seconds": _seconds}

ACTIONS: dict[str, Action] = {
    "status": Action(Operator._status, {}, while_held=True),
    "names": Action(Operator._names, {"begin": _text, "only_held": _flag}, while_held=True),
    "announce": Action(Operator._announce, {"words": _words}, while_held=True),
    "kick": Action(Operator._kick, {"name": _name, "reason": _reason}),
    "ban": Action(Operator._ban, {"name": _who, **_LASTING}, alone=True),
    "unban": Action(Operator._unban, {"name": _who}, alone=True),
    "mute": Action(Operator._mute, {"name": _name, **_LASTING}, alone=True),
    "unmute": Action(Operator._unmute, {"name": _name}, alone=True),
    "bans": Action(Operator._bans, {"kind": _kind, "after": _text}, while_held=True, alone=True),
    "release": Action(Operator._release, {"name": _name}),
    "invite": Action(Operator._invite, {"name": _name, "key": _key, "seconds": _seconds}),
    "admit": Action(Operator._admit, {"name": _name, "key": _key}),
    # Who has a key that was stolen is to be put out now, whatever can be stored.
    "revoke": Action(Operator._revoke, {"name": _who}, while_held=True),
    "members": Action(Operator._members, {"invited": _flag, "after": _text}, while_held=True),
}
"""By what ``do`` says."""
