"""How hosts are spelled, and which of them are this machine."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import ip_address


def checked_host(host: str) -> str:
    """*host*, as others may be told of it: one of IPv6 without its brackets, and without a scope,
    which holds on one machine only.

    Raises ValueError for what is no host."""
    bare = host[1:-1] if (host[:1], host[-1:]) == ("[", "]") else host
    with suppress(ValueError):
        if ip_address(bare).version == 6 and "%" not in bare:
            return bare
    if not re.fullmatch(r"[\w.-]+", host):
        raise ValueError("a host is a name or an IP address, without a port")
    return host


def one_spelling(host: str) -> str:
    """*host*, in the one spelling of those by which surely the same is meant."""
    # As a broker listens there, and a client connects: by IPv4.
    known = {"localhost": "127.0.0.1", "*": "0.0.0.0"}.get(host.lower(), host.lower())
    with suppress(ValueError):  # Not an IP address, so a name.
        return ip_address(known).compressed
    return known


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches *host*, as far as its spelling tells."""
    try:
        return ip_address(one_spelling(host)).is_loopback
    except ValueError:
        return False
