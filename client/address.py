"""Addresses of brokers: ``tcp://HOST:PORT``, and ``chat://HOST:PORT/KEY`` of a secure one.

An invitation is an address with the name and the token of whom it invites:
``chat://NAME:TOKEN@HOST:PORT/KEY``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..command.hosts import one_spelling
from ..wire.errors import BadKey, BadName
from ..wire.keys import parse_key
from ..wire.names import canonical_name
from .errors import Unreachable, UsageError

DEFAULT = "tcp://127.0.0.1:5555"

_WHERE = r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s/:?#@*\[\]\0]{1,253})):([0-9]{1,5})"
_ADDRESS = re.compile(rf"(tcp|chat)://{_WHERE}(?:/([a-z2-7]*))?")
_INVITATION = re.compile(rf"chat://([^\s/:@]+):([a-z2-7]+)@({_WHERE}/[a-z2-7]+)")


class Address(NamedTuple):
    """Where a broker is."""

    host: str
    port: int
    secure: bool = False
    """Whether it must prove its key; else it need not, but may."""
    server_key: bytes = b""
    """The key that it must prove; empty if that is known from elsewhere."""


class Invitation(NamedTuple):
    """What ``chatbroker invite`` printed."""

    address: Address
    name: str
    token: bytes
    """A secret key that lets in once, to hand over another."""


def parse_address(address: str) -> Address:
    """The parts of *address*; a host in brackets is an IPv6 address.

    Raises UsageError, in words.
    """
    # What is not text (arguments may be any bytes) is no host, and no part of a file's name.
    match = _ADDRESS.fullmatch(address) if address.isprintable() else None
    port = int(match[4]) if match else 0
    secure = match is not None and match[1] == "chat"
    if match is None or not 0 < port < 65536 or (match[5] is not None and not secure):
        if _INVITATION.fullmatch(address):
            raise UsageError("that is an invitation, not an address: 'chat accept' takes it")
        raise UsageError(f"not a broker's address: {address!r}; write it like {DEFAULT}")
    key = match[5]
    try:
        return Address(match[2] or match[3], port, secure, parse_key(key) if key else b"")
    except BadKey as error:
        raise UsageError(f"not a broker's address: {address!r}: {error}") from None


def parse_invitation(line: str) -> Invitation:
    """The parts of an invitation, or of the command that ``chatbroker invite`` prints with it.

    Raises UsageError, which does not repeat it."""
    words = line.removeprefix("chat accept").strip()
    match = _INVITATION.fullmatch(words.removeprefix("'").removesuffix("'"))
    try:
        if match is not None:
            address = parse_address(f"chat://{match[3]}")
            return Invitation(address, canonical_name(match[1]), parse_key(match[2]))
    except (BadKey, BadName, UsageError):
        pass  # Below, in words that do not show the token.
    raise UsageError(
        "not an invitation: it is one line such as chat://NAME:TOKEN@HOST:PORT/KEY, "
        "as 'chatbroker invite NAME' prints it; is it whole?"
    )


def plain_text(address: Address) -> str:
    """*address* without its key, for people."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{'chat' if address.secure else 'tcp'}://{host}:{address.port}"


def no_answer(broker: str, there: bool) -> Unreachable:
    """What to raise when *broker* says nothing; *there*: although something takes connections."""
    host, _, port = broker.rpartition(":")
    own_host, _, usual = DEFAULT.removeprefix("tcp://").rpartition(":")
    more = "" if port == usual else f" --port {port}"
    here = one_spelling(host.removeprefix("tcp://")) == own_host
    if there:
        words = ", though something is there; a broker may be stopped, or unable to store"
        words += f": see 'chatbroker status{more}'" if here else ""
    elif here:
        words = f"; is it running? 'chatbroker run{more}' starts one"
    else:
        words = "; is it running, and is the address right?"
    return Unreachable(f"no broker answers at {broker}{words}")
