"""Keys as people pass them on: 52 letters and digits, which need no quoting anywhere.

The alphabet is base32 in small letters, without padding (RFC 4648, section 6).  Z85, in which
ZeroMQ writes keys, has characters that shells and addresses take for their own, and what
base64url writes may begin with a dash, which a command takes for an option.
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode

from .errors import BadKey
from .limits import KEY_LENGTH

# Of the last character only the first bit counts: the others are 0, so that a key has one
# spelling.
_KEY = re.compile(r"[a-z2-7]{51}[aq]")


def key_text(key: bytes) -> str:
    """*key*, of KEY_LENGTH bytes, as it is written."""
    return b32encode(key).decode().rstrip("=").lower()


def parse_key(text: str) -> bytes:
    """The key that *text* writes.  Raises BadKey, which does not repeat it: it may be secret."""
    if _KEY.fullmatch(text) is None:
        raise BadKey(f"not a key: {KEY_LENGTH} bytes in base32 are 52 of a-z 2-7")
    return b32decode(f"{text.upper()}====")
