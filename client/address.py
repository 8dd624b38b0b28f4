"""Addresses of brokers: ``tcp://HOST:PORT``."""

from __future__ import annotations

import re

from .errors import UsageError

DEFAULT = "tcp://127.0.0.1:5555"

_ADDRESS = re.compile(r"tcp://(?:\[([0-9A-Fa-f:.%]+)\]|([^\s/:?#@\[\]\0]+)):([0-9]{1,5})")


def parse_address(address: str) -> tuple[str, int]:
    """The host and port of *address*; a host in brackets is an IPv6 address.

    Raises UsageError, in words.
    """
    match = _ADDRESS.fullmatch(address)
    port = int(match[3]) if match else 0
    if match is None or not 0 < port < 65536:
        raise UsageError(f"not a broker's address: {address!r}; write it like {DEFAULT}")
    return match[1] or match[2], port
