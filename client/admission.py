"""The commands by which one gets in to a secure broker: ``accept``, ``keygen``, ``whoami``."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..command.run import complain
from ..command.status import Status
from ..wire.keys import key_text
from .access import (
    Access,
    check_server,
    find_access,
    known_server,
    own_names,
    remember_server,
)
from .address import Address, parse_address, parse_invitation, plain_text
from .client import Client
from .enrol import enrol
from .errors import NotAuthorised, UsageError
from .escape import escape
from .identity import Identity
from .interrupts import Interrupts
from .link import fresh_secret, public_key
from .options import Shared
from .output import Output


def accept(shared: Shared, line: str) -> int:
    """Gets in by an invitation: makes a key, has it admitted, and tries it.

    What was accepted already may be accepted again."""
    address, name, token = parse_invitation(line.strip())
    where = plain_text(address)
    whole = f"{where}/{key_text(address.server_key)}"
    check_server(address)
    identity = Identity.of(where, name)
    access = Access(*address[:2], address.server_key, token, name, invited=True)
    with Interrupts() as interrupts:

        def tries(one: Identity) -> None:
            _try(shared, whole, one, interrupts)

        # Who is joined, by the only key that there is, may say it again.
        if identity.spare or not _gets_in(identity, tries):
            _locked(identity)
            try:
                if not identity.spare or not _gets_in(identity, tries):
                    _enrol(access, identity, where, shared.timeout, tries)
            finally:
                identity.unlock()
    # Not before: whoever is tricked into a wrong invitation still finds the right broker.
    remember_server(address)
    if shared.json:
        _print_who(Output(as_json=True), name, address, identity.key)
    else:
        print(f"you are {name} at {where}")
        at = "" if where == shared.broker else f" --broker {where}"
        print(f"chat: next: chat join {name}{at}", file=sys.stderr)
    return Status.DONE


def _gets_in(identity: Identity, tries: Callable[[Identity], None]) -> bool:
    """Whether a key that there is is admitted; that one alone is kept then."""
    # The spare one is the newer; the other was refused before that was made.
    for key in filter(None, (identity.spare, identity.key)):
        try:
            tries(identity.by(key))
        except NotAuthorised:
            continue
        if identity.spare:
            identity.keep_keys(key)
        return True
    return False


def _enrol(
    access: Access,
    identity: Identity,
    where: str,
    timeout: float,
    tries: Callable[[Identity], None],
) -> None:
    """Has a new key admitted, and tries it.  One that there was may have been taken back because
    somebody else has it, and is not handed over again.

    Whatever ends this, each key that the broker may have admitted is kept."""
    former, invitation = identity.key, public_key(access.secret)
    # One whose admission by this invitation was not heard of is handed over again, so that there
    # are never three.  By another invitation it may have been admitted, and taken back since.
    fresh = identity.spare if identity.spare_for == invitation else fresh_secret()

    def hand_over() -> None:
        if former:
            identity.keep_keys(former, fresh, invitation)
        else:
            identity.keep_keys(fresh)

    try:
        enrol(access, fresh, where, timeout, hand_over)
    except NotAuthorised:
        # What was lost may be the word that it is admitted (docs/protocol.md, section 14.1); or
        # the former may have been admitted meanwhile.
        if not _gets_in(identity, tries):
            if identity.key == fresh:
                # To use none is better than one in vain.
                identity.keep_keys(former, fresh, invitation)
            raise
    else:
        identity.keep_keys(fresh)
        tries(identity)


def _try(shared: Shared, broker: str, identity: Identity, interrupts: Interrupts) -> None:
    Client(
        identity.name,
        broker,
        hear=False,
        timeout=shared.timeout,
        reconnect=shared.timeout,
        identity=identity,
        interrupts=interrupts,
    ).close()


def keygen(shared: Shared, name: str) -> int:
    """Makes a key for *name* at the broker, if there is none, and prints the public one."""
    address = parse_address(shared.broker)
    if address.server_key:
        remember_server(address)
    identity = _with_key(shared.broker, name)
    print(key_text(public_key(identity.key)))
    told = "" if known_server(address) else ", and tells you what that prints"
    complain(
        "chat", f"give it to the broker's operator, who runs 'chatbroker admit {name} KEY'{told}"
    )
    return Status.DONE


def _with_key(broker: str, name: str) -> Identity:
    """The identity of *name* at *broker*, with a key."""
    identity = Identity.of(broker, name)
    if not identity.key:
        _locked(identity)
        try:
            identity.take_key(fresh_secret())
        finally:
            identity.unlock()
    return identity


def _locked(identity: Identity) -> None:
    if not identity.lock():
        words = "is joined, or another accept is at work, at"
        raise UsageError(f"{identity.name!r} {words} {identity.broker}; leave first, or try again")


def whoami(shared: Shared) -> int:
    """Prints the name that one has at the broker, which has confirmed it."""
    address = parse_address(shared.broker)
    name = shared.user
    if name is None:
        names = own_names(address)
        if len(names) != 1:
            several = (
                f"you have several: {', '.join(names)}" if names else "you have none of your own"
            )
            complain("chat", escape(f"no name at {shared.broker}: {several}; give --as NAME"))
            return Status.NAME_REFUSED
        (name,) = names
    identity = Identity.kept(shared.broker, name)
    if identity is None:
        words = f"no name at {shared.broker}: {name!r} was never used here; 'chat join' claims it"
        complain("chat", escape(words))
        return Status.NAME_REFUSED
    with Interrupts() as interrupts:
        _try(shared, shared.broker, identity, interrupts)
    if shared.json:
        key = find_access(address, name, identity).secret if identity.key else b""
        _print_who(Output(as_json=True), identity.name, address, key)
    else:
        print(identity.name)
    return Status.DONE


def _print_who(output: Output, name: str, address: Address, secret: bytes) -> None:
    key = key_text(public_key(secret)) if secret else None
    output.record(type="you", name=name, broker=plain_text(address), key=key)
    output.flush()
