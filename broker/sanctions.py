"""Who is kept out and who may not speak: the rules.

A *ban* keeps a name, or a public key, out.  A *mute* lets its user hear and not speak.  Either
lasts until it is lifted or its time is over; `Sanctions.at` is told the time, so that to look
one up is to look into a dict.  What holds after the broker ends goes out through a port, before
it holds at all.  What is over stays what is kept until the next change: the clock by which it is
over may be wrong.
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


class Turned(NamedTuple):
    """What a look at the clock changed."""

    over: list[Sanction]
    again: list[Sanction]
    """They were over by a clock that was ahead, and hold again."""


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


Place = tuple[Kind, str]
"""There is one sanction of a kind on a name or key."""


class Sanctions:
    """The bans and mutes in force."""

    def __init__(self, keep: Keep = lambda text: None, kept: str = "") -> None:
        """*kept*: what `Keep` was given last.  Raises ValueError if it was something else."""
        self._keep = keep
        self._kept: dict[Place, Sanction] = {}
        """All that `Keep` was given last, also what is over."""
        self._over: dict[Place, Sanction] = {}
        """Of them, those that are over as far as it was told."""
        self._bans: dict[str, Sanction] = {}
        self._mutes: dict[str, Sanction] = {}
        """The others, to be looked up."""
        self._keys: frozenset[bytes] = frozenset()
        self.span: tuple[float, float] = -inf, inf
        """The times from and before which all this is so (milliseconds since 1970): at another `at`
        has something to do."""
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

    def impose(self, sanction: Sanction, settled: int = 0) -> None:
        """Puts it in the place of one that is on the same name or key.  Raises CannotKeep.

        *settled*: what was over by then goes for good (`TurnClock.settled`)."""
        place, kept = (sanction.kind, sanction.who), self._without(settled)
        others = [kind for kind, who in kept if kind is sanction.kind and who != sanction.who]
        if len(others) >= MOST:
            raise CannotKeep(f"there are {MOST} of them already; lift some")
        self._change(kept | {place: sanction})

    def lift(self, kind: Kind, who: str, settled: int = 0) -> Sanction | None:
        """Takes one that is in force away: the one that there was.  Raises CannotKeep.

        *settled*: as above."""
        lifted = self._of(kind).get(who)
        if lifted is not None:
            kept = self._without(settled)
            kept.pop((kind, who), None)
            self._change(kept)
        return lifted

    def at(self, time: int) -> Turned:
        """Has those hold that hold at *time* (milliseconds since 1970); what that changed.

        It needs no keeping: who reads what is kept is told the time, too."""
        over = {place: one for place, one in self._kept.items() if _is_over(one, time)}
        before, self._over = self._over, over
        self._index()
        return Turned(
            [one for place, one in over.items() if place not in before],
            [one for place, one in before.items() if place not in over],
        )

    def take_up(self, kept: str) -> None:
        """Has what *kept* tells in the place of all there is.  What is over by now holds until
        `at` is told the time.  Raises ValueError."""
        found = _read(kept) if kept else []
        self._kept, self._over = {(one.kind, one.who): one for one in found}, {}
        self._index()

    def _without(self, settled: int) -> dict[Place, Sanction]:
        return {place: one for place, one in self._kept.items() if not _is_over(one, settled)}

    def _change(self, kept: dict[Place, Sanction]) -> None:
        self._keep(_written(list(kept.values())))
        self._kept = kept
        self._over = {place: one for place, one in self._over.items() if kept.get(place) is one}
        self._index()

    def _of(self, kind: Kind) -> dict[str, Sanction]:
        return self._bans if kind is Kind.BAN else self._mutes

    def _index(self) -> None:
        self._bans, self._mutes = {}, {}
        for (kind, who), one in self._kept.items():
            if (kind, who) not in self._over:
                self._of(kind)[who] = one
        keys = [key_of(who) for who in self._bans]
        self._keys = frozenset([key for key in keys if key])
        ends = [one.until for one in (*self._bans.values(), *self._mutes.values())]
        gone = [one.until for one in self._over.values()]
        self.span = (
            max([end for end in gone if end is not None], default=-inf),
            min([end for end in ends if end is not None], default=inf),
        )


def _is_over(sanction: Sanction, time: int) -> bool:
    return sanction.until is not None and sanction.until <= time


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
