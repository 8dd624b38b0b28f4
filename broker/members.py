"""Who is admitted to a secure broker: keys, each of one user, and invitations.

The rules; ``keyring`` keeps them in a file.  A key that is none of these is refused at the
handshake.  An *invitation* is a key too, whose secret the invited user was told: it lets one in
only to hand over a key of the user's own, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import nsmallest
from typing import NamedTuple

from ..wire.errors import Code
from ..wire.keys import key_text
from ..wire.messages import Refused
from .clock import iso
from .origin import Origin

MOST_INVITATIONS = 10_000
"""Open at a time."""

MOST_KEYS = 100_000
"""Of all users together."""


class Member(NamedTuple):
    """A key, and whose it is."""

    name: str
    key: bytes
    since: int
    """Milliseconds since 1970."""


class Invitation(NamedTuple):
    """A key that admits another one, once."""

    name: str
    key: bytes
    expires: int
    """Milliseconds since 1970."""


class Roll(NamedTuple):
    """All of it, as it is kept."""

    members: tuple[Member, ...] = ()
    invitations: tuple[Invitation, ...] = ()


class NotAdmitted(Exception):
    """Why somebody is not admitted, in words."""


class NotKept(NotAdmitted):
    """It cannot be stored.  The words are the operator's, who can see to that."""


def refusal(why: NotAdmitted) -> Refused:
    """What whoever asked to be admitted is told."""
    if isinstance(why, NotKept):
        return Refused(Code.CANNOT_STORE.value, "the key cannot be stored now")
    return Refused(Code.NOT_ALLOWED.value, str(why))


def told(one: Member | Invitation) -> dict[str, str]:
    """A member or an invitation as people and programs read it."""
    if isinstance(one, Member):
        kind, when = "member", {"since": iso(one.since)}
    else:
        kind, when = "invitation", {"expires": iso(one.expires)}
    return {"type": kind, "name": one.name, "key": key_text(one.key), **when}


class Members:
    """The keys that are admitted.  What admits somebody is kept before it holds; what is taken
    back is so at once, and kept by `catch_up`.

    *keep* stores a Roll; what it raises is raised, and then nothing has changed.
    *owner*: the key of the broker's own user, by which any name may be asked for; or empty.
    """

    def __init__(self, roll: Roll, keep: Callable[[Roll], None], owner: bytes = b"") -> None:
        self._keep = keep
        self._owner = owner
        self._unkept: dict[bytes, Member | Invitation] = {}
        """What is taken back, and that is not kept yet."""
        self._take(roll)

    def _take(self, roll: Roll) -> None:
        self._members = {member.key: member for member in roll.members}
        self._invitations = {invitation.key: invitation for invitation in roll.invitations}
        self._names: dict[str, list[bytes]] = {}
        for member in self._members.values():
            self._names.setdefault(member.name, []).append(member.key)

    def _change(self, members: dict[bytes, Member], invitations: dict[bytes, Invitation]) -> None:
        roll = Roll(tuple(members.values()), tuple(invitations.values()))
        self._keep(roll)
        self._unkept = {}
        self._take(roll)

    @property
    def behind(self) -> bool:
        """Whether something is taken back that is not kept yet."""
        return bool(self._unkept)

    def catch_up(self) -> None:
        """Keeps what is not kept yet."""
        if self.behind:
            self._change(self._members, self._invitations)

    # --- questions ------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def invitations(self, time: int) -> list[Invitation]:
        """Those that are open at *time* (milliseconds since 1970)."""
        return [one for one in self._invitations.values() if one.expires > time]

    def origin(self, key: bytes, address: str, time: int) -> Origin | None:
        """Who comes by *key* at *time*; None: nobody that is admitted."""
        member = self._members.get(key)
        if member is not None:
            return Origin(address, member.name, key)
        invitation = self._invitations.get(key)
        if invitation is not None:
            open_still = invitation.expires > time
            return Origin(address, invitation.name, key, True) if open_still else None
        return Origin(address, "", key) if key == self._owner and key else None

    def has(self, name: str) -> bool:
        """Whether *name* is that of a key."""
        return name in self._names

    def listed(self, invited: bool, after: str, most: int, time: int) -> list[dict[str, str]]:
        """Up to *most* members, or invitations that are open at *time*, as `told`: sorted, those
        behind the one whose name and key, with a space between, are *after*."""
        found = [told(one) for one in (self.invitations(time) if invited else self)]
        return nsmallest(most, [one for one in found if place_of(one) > after], place_of)

    def keys_of(self, name: str) -> list[bytes]:
        """The keys of *name*."""
        return list(self._names.get(name, ()))

    # --- changes --------------------------------------------------------------------------

    def invite(self, name: str, key: bytes, expires: int, time: int) -> None:
        """Opens an invitation.  Raises NotAdmitted."""
        invitations = {one.key: one for one in self.invitations(time)}
        if len(invitations) >= MOST_INVITATIONS:
            raise NotAdmitted(f"{MOST_INVITATIONS} invitations are open; revoke some")
        self._check_new(key)
        invitations[key] = Invitation(name, key, expires)
        self._change(self._members, invitations)

    def admit(self, name: str, key: bytes, time: int) -> None:
        """Admits *key* as that of *name*; nothing if it is that already.  Raises NotAdmitted."""
        known = self._members.get(key)
        if known is None:
            self._check_new(key)
        elif known.name != name:
            raise NotAdmitted(f"the key is that of {known.name!r}; revoke it first")
        else:
            return
        self._change(self._with(name, key, time), self._invitations)

    def enrol(self, origin: Origin, key: bytes, time: int) -> str:
        """Admits *key* in place of the invitation by which *origin* came; whose it is then.

        Once it was done for the same key, it may be asked for again.  Raises NotAdmitted.
        """
        if not origin.invited:
            raise NotAdmitted("only an invitation admits a key")
        known = self._members.get(key)
        if known is not None and known.name == origin.name:
            return origin.name
        invitation = self._invitations.get(origin.key)
        if invitation is None or invitation.expires <= time:
            raise NotAdmitted("the invitation was used, or is out of date; ask for another")
        self._check_new(key)
        left = {one.key: one for one in self.invitations(time) if one.key != origin.key}
        self._change(self._with(origin.name, key, time), left)
        return origin.name

    def revoke(self, name: str) -> list[bytes]:
        """Takes all keys and invitations of *name* back: which these were.  See `catch_up`.

        Until that is kept it may be asked for again."""
        return self._take_back({key: one for key, one in self._all().items() if one.name == name})

    def revoke_key(self, key: bytes) -> list[bytes]:
        """Takes *key* back, in the same way: in a list, or nothing if it was not admitted."""
        return self._take_back({k: one for k, one in self._all().items() if k == key})

    def _all(self) -> dict[bytes, Member | Invitation]:
        return self._unkept | self._members | self._invitations

    def _take_back(self, keys: dict[bytes, Member | Invitation]) -> list[bytes]:
        if keys:
            # Not kept first: on a full disk, whoever has a stolen key would stay in.
            self._unkept = self._unkept | keys
            members = [one for one in self if one.key not in keys]
            invitations = [one for key, one in self._invitations.items() if key not in keys]
            self._take(Roll(tuple(members), tuple(invitations)))
        return sorted(keys)

    def _with(self, name: str, key: bytes, time: int) -> dict[bytes, Member]:
        if len(self._members) >= MOST_KEYS:
            raise NotAdmitted(f"{MOST_KEYS} keys are admitted; revoke some")
        return self._members | {key: Member(name, key, time)}

    def _check_new(self, key: bytes) -> None:
        if key in self._members or key in self._invitations or key == self._owner:
            raise NotAdmitted("the key is in use already; make another")


def place_of(told: dict[str, str]) -> str:
    """By what lists of those that are `told` are sorted: no name has a space."""
    return f"{told['name']} {told['key']}"


def nobody_in_particular() -> Members:
    """The members of a broker that everyone may come to."""
    return Members(Roll(), lambda roll: None)
