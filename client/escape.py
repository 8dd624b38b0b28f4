"""Makes what others wrote safe for a terminal and for line-wise reading.

Control characters could move the cursor, change colours or titles, or end the line; bidi
overrides could show a text in another order; a tower of combining marks covers its
neighbours.  They are shown as escapes instead.  ``--json`` needs none of this.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# C0, DEL and C1; line and paragraph separators; bidi marks, embeddings, overrides and isolates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+"
)

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

MOST_MARKS = 4
"""Combining marks shown on one character; no written language needs more."""

MOST_HANGERS_ON = 8
"""Characters of every kind that may take no room of their own, shown behind one that does: marks,
joiners, the tags of a flag, the vowels of conjoining Hangul.  The flag of Scotland has six."""

_HANGERS_ON = ("Mn", "Me", "Mc", "Cf")
_HANGUL = re.compile("[\u1160-\u11ff\ud7b0-\ud7fb\u3164\uffa0]")
"""Vowels and final consonants, which stand in the cell of the first one; and the fillers."""


@lru_cache(maxsize=1024)
def _visible(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def escape(text: str) -> str:
    """*text* with everything that a terminal must not see spelled out."""
    if text.isascii():
        # Space to tilde is all that isprintable lets pass in ASCII.
        return text if text.isprintable() else _UNSAFE.sub(_spelled_out, text)
    return _PERHAPS_TOWER.sub(_cap_marks, _UNSAFE.sub(_spelled_out, text))


def _spelled_out(found: re.Match[str]) -> str:
    return "".join(map(_visible, found[0]))


# The first combining mark of Unicode is U+0300, and what is before it begins another character.
# Said by what is not meant: `re` takes 0.1 ms to compile that, and 5 ms for the range of the rest.
_PERHAPS_TOWER = re.compile(f"[^\0-\u02ff]{{{MOST_MARKS + 1},}}")


def _cap_marks(found: re.Match[str]) -> str:
    shown: list[str] = []
    marks = hangers_on = 0
    for character in found[0]:
        kind = unicodedata.category(character)
        if kind in _HANGERS_ON or (kind == "Lo" and _HANGUL.match(character)):
            # A format character, such as a joiner, takes no room: marks after it go on the same.
            mark = kind in ("Mn", "Me")
            marks += mark
            hangers_on += 1
            cut = (mark and marks > MOST_MARKS) or hangers_on > MOST_HANGERS_ON
            shown.append(_visible(character) if cut else character)
            continue
        marks = hangers_on = 0
        shown.append(character)
    return "".join(shown)
