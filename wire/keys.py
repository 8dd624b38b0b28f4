"""Keys as people pass them on: 43 characters that need no quoting anywhere.

The alphabet is base64url without padding (RFC 4648, section 5).  Z85, in which ZeroMQ writes
keys, has characters that shells and addresses take for their own.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from .errors import BadKey
from .limits import KEY_LENGTH

# Of the last character four bits count: the other two are 0, so that a key has one spelling.
_KEY = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


def key_text(key: bytes) -> str:
    """*key*, of KEY_LENGTH bytes, as it is written."""
    return urlsafe_b64encode(key).decode().rstrip("=")


def parse_key(text: str) -> bytes:
    """The key that *text* writes.  Raises BadKey, which does not repeat it: it may be secret."""
    if _KEY.fullmatch(text) is None:
        raise BadKey(f"not a key: {KEY_LENGTH} bytes in base64url are 43 of A-Z a-z 0-9 _ -")
    return urlsafe_b64decode(f"{text}=")
