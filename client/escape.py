"""Makes what others wrote safe for a terminal and for line-wise reading.

Control characters could move the cursor, change colours or titles, or end the line; bidi
overrides could show a text in another order; a tower of combining marks covers its
neighbours.  They are shown as escapes instead.  ``--json`` needs none of this.
"""

from __future__ import annotations

import re
import unicodedata

# C0, DEL and C1; line and paragraph separators; bidi marks, embeddings, overrides and isolates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

MOST_MARKS = 4
"""Combining marks shown on one character; no written language needs more."""


def _visible(character: str) -> str:
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def escape(text: str) -> str:
    """*text* with everything that a terminal must not see spelled out."""
    if text.isascii():
        # Space to tilde is all that isprintable lets pass in ASCII.
        return text if text.isprintable() else _UNSAFE.sub(lambda m: _visible(m[0]), text)
    return _cap_marks(_UNSAFE.sub(lambda m: _visible(m[0]), text))


def _cap_marks(text: str) -> str:
    shown: list[str] = []
    marks = 0
    for character in text:
        # The first combining mark of Unicode is U+0300.
        kind = unicodedata.category(character) if character >= "\u0300" else ""
        if kind in ("Mn", "Me"):
            marks += 1
            shown.append(character if marks <= MOST_MARKS else _visible(character))
            continue
        # A format character, such as a joiner, takes no room: marks after it go on the same.
        marks = marks if kind == "Cf" else 0
        shown.append(character)
    return "".join(shown)
