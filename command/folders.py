"""The folders of the platform that both commands keep things in."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote


def data_folder() -> Path:
    """Where the platform keeps a user's data: …/chatbroker.

    The variable CHATBROKER_DATA names another folder."""
    named = os.environ.get("CHATBROKER_DATA")
    if named:
        return Path(named)
    # Here, because --help and shell completion need no folder.
    from platformdirs import user_data_path

    return user_data_path("chatbroker", appauthor=False)


def one_spelling(host: str) -> str:
    """*host*, in the one spelling of those by which surely the same is meant."""
    # As a broker listens there, and a client connects: by IPv4.
    known = {"localhost": "127.0.0.1", "*": "0.0.0.0"}.get(host.lower(), host.lower())
    with suppress(ValueError):  # Not an IP address, so a name.
        return ip_address(known).compressed
    return known


def file_name(host: str, port: int) -> str:
    """What stands for the broker at *host* and *port* in the name of a file."""
    return f"{quote(one_spelling(host), safe='')}_{port}"
