"""Who is kept out and who may not speak: the rules.

A *ban* keeps a name, or a public key, out.  A *mute* lets its user hear and not speak.  Either
lasts until it is lifted or its time is over; `Sanctions.expire` is told the time, so that to look
one up is to look into a dict.  What holds after the broker ends goes out through a port, before
it holds at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from itertools import islice
from math import inf
from typing import Any, NamedTuple

from ..wire.errors import BadKey
from ..wire.keys import key_text, parse_key
from ..wire.names import canonical_name
from .clock import iso

MOST = 10_000
"""Of bans and of mutes: each change writes all of them, some megabytes at most."""

MAX_REASON = 200
"""Bytes of UTF-8."""


LATEST = 253_402_300_799_999
"""The end of the year 9999, in milliseconds since 1970: no later time can be written."""


class Kind(StrEnum):
    BAN = "ban"
    MUTE = "mute"


PAST = {Kind.BAN: "banned", Kind.MUTE: "muted"}
"""How whoever is met by it is called."""


class Sanction(NamedTuple):
    """Times are milliseconds since 1970."""

    kind: Kind
    who: str
    """A name in its canonical form; or, of a ban, a public key as it is written."""
    since: int
    until: int | None = None
    """None: until it is lifted."""
    reason: str = ""
    by: int | None = None
    """The user id of the operator who imposed it, where the system tells."""

    def words(self) -> str:
        """What is done to whom, why and for how long: for the user whom it meets."""
        why = f" ({self.reason})" if self.reason else ""
        end = "" if self.until is None else f" until {iso(self.until)}"
        met = "this key" if key_of(self.who) else f"{self.who!r}"
        return f"{met} is {PAST[self.kind]}{end}{why}"


class CannotKeep(Exception):
    """What was to be kept is not; nothing changed.  The words say why, on one line."""


Keep = Callable[[str], None]
"""Keeps a text in the place of the one before.  When it returns, it holds through a crash of the
machine.  Raises CannotKeep."""


def key_of(who: str) -> bytes | None:
    """The public key that *who* writes; None if it is none, but a name perhaps: no name is so
    long."""
    try:
        return parse_key(who)
    except BadKey:
        return None


def checked_who(who: str) -> str:
    """The name or the key that *who* is, in its canonical form.  Raises BadName."""
    return who if key_of(who) else canonical_name(who)


def checked_reason(reason: str) -> str:
    """*reason* itself.  Raises ValueError if it is too long, or not to be shown as it is."""
    if not reason.isprintable():
        raise ValueError("a reason is one line of printable characters")
    if len(reason.encode()) > MAX_REASON:
        raise ValueError(f"a reason is at most {MAX_REASON} bytes")
    return reason


class Sanctions:
    """The bans and mutes in force."""

    def __init__(self, keep: Keep = lambda text: None, kept: str = "") -> None:
        """*kept*: what `Keep` was given last.  Raises ValueError if it was something else."""
        self._keep = keep
        self._bans: dict[str, Sanction] = {}
        self._mutes: dict[str, Sanction] = {}
        self._keys: frozenset[bytes] = frozenset()
        self.next_end: float = inf
        """When the next one is over (milliseconds since 1970)."""
        self.take_up(kept)

    # --- asking ---------------------------------------------------------------------------

    def ban_on(self, name: str, key: bytes = b"") -> Sanction | None:
        """What keeps *name* out (in its canonical form; empty for an observer), or whoever
        comes with the public key *key*."""
        if key and key in self._keys:
            return self._bans[key_text(key)]
        return self._bans.get(name)

    def mute_on(self, name: str) -> Sanction | None:
        """What keeps *name* (in its canonical form) from speaking."""
        return self._mutes.get(name)

    def listed(self, kind: Kind, after: str = "", most: int = MOST) -> list[Sanction]:
        """Those of one kind, by whom they are on, from the first after *after*."""
        held = self._of(kind)
        return [held[who] for who in islice(sorted(w for w in held if w > after), most)]

    # --- changing -------------------------------------------------------------------------

    def impose(self, sanction: Sanction) -> None:
        """Puts it in the place of one that is on the same name or key.  Raises CannotKeep."""
        held = self._of(sanction.kind)
        if len(held) >= MOST and sanction.who not in held:
            raise CannotKeep(f"there are {MOST} of them already; lift some")
        self._change(sanction.kind, held | {sanction.who: sanction})

    def lift(self, kind: Kind, who: str) -> Sanction | None:
        """Takes it away: the one that there was.  Raises CannotKeep."""
        lifted = self._of(kind).get(who)
        if lifted is not None:
            self._change(kind, {w: s for w, s in self._of(kind).items() if w != who})
        return lifted

    def expire(self, time: int) -> list[Sanction]:
        """Lets go of what is over at *time* (milliseconds since 1970); returns it.

        That needs no keeping: it will be over for whoever reads what is kept."""
        over = [s for s in self._all() if s.until is not None and s.until <= time]
        for sanction in over:
            del self._of(sanction.kind)[sanction.who]
        self._index()
        return over

    def take_up(self, kept: str) -> None:
        """Has what *kept* tells in the place of all there is.  Raises ValueError."""
        found: dict[Kind, dict[str, Sanction]] = {Kind.BAN: {}, Kind.MUTE: {}}
        for sanction in _read(kept) if kept else ():
            found[sanction.kind][sanction.who] = sanction
        self._bans, self._mutes = found[Kind.BAN], found[Kind.MUTE]
        self._index()

    def _of(self, kind: Kind) -> dict[str, Sanction]:
        return self._bans if kind is Kind.BAN else self._mutes

    def _all(self) -> list[Sanction]:
        return [*self._bans.values(), *self._mutes.values()]

    def _change(self, kind: Kind, held: dict[str, Sanction]) -> None:
        other = self._mutes if kind is Kind.BAN else self._bans
        self._keep(_written([*held.values(), *other.values()]))
        if kind is Kind.BAN:
            self._bans = held
        else:
            self._mutes = held
        self._index()

    def _index(self) -> None:
        keys = [key_of(who) for who in self._bans]
        self._keys = frozenset([key for key in keys if key])
        ends = [s.until for s in self._all() if s.until is not None]
        self.next_end = min(ends, default=inf)


def told(sanction: Sanction) -> dict[str, Any]:
    """The sanction for people and programs to read."""
    until = None if sanction.until is None else iso(sanction.until)
    which = "key" if key_of(sanction.who) else "name"
    return {
        "kind": sanction.kind.value,
        which: sanction.who,
        "since": iso(sanction.since),
        "until": until,
        "reason": sanction.reason,
        "by": sanction.by,
    }


def _written(sanctions: list[Sanction]) -> str:
    """One a line, so that an operator can read and mend it."""
    lines = [
        json.dumps(s._asdict()) for s in sorted(sanctions, key=lambda s: (s.kind.value, s.who))
    ]
    return '{"sanctions": [\n' + ",\n".join(lines) + "\n]}\n"


def _read(text: str) -> list[Sanction]:
    try:
        entries = list(json.loads(text)["sanctions"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("it has no list of sanctions") from None
    return [_one(number, entry) for number, entry in enumerate(entries, 1)]


def _one(number: int, entry: Any) -> Sanction:
    try:
        kept = Sanction(**entry)
        kind, who = Kind(kept.kind), kept.who
        sound = (
            (checked_who(who) if kind is Kind.BAN else canonical_name(who)) == who
            and checked_reason(kept.reason) == kept.reason
            and _is_time(kept.since)
            and (kept.until is None or _is_time(kept.until))
            and type(kept.by) in (int, type(None))
        )
    except (TypeError, ValueError, AttributeError):
        sound = False
    if not sound:
        raise ValueError(f"entry {number} is no ban and no mute")
    return kept._replace(kind=kind)


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LATEST


def until_of(time: int, seconds: float | None) -> int | None:
    """When what begins at *time* (milliseconds since 1970) is over after *seconds*."""
    return None if seconds is None else time + round(seconds * 1000)
