"""Who is at the other end of a connection, as far as the transport tells: nothing that a client
says changes it."""

from __future__ import annotations

from typing import NamedTuple


class Origin(NamedTuple):
    """Where a connection comes from."""

    address: str = ""
    """The peer's IP address."""
    name: str = ""
    """The user whose key it is; empty where any name may be asked for."""
    key: bytes = b""
    """The public key that admitted it; empty in plain mode."""
    invited: bool = False
    """Whether the key is that of an invitation, which lets one in only to hand over the user's
    own."""
