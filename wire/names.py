"""What a user name is, and what a text is.

Names are compared after case mapping, in the spirit of the PRECIS profile
UsernameCaseMapped (RFC 8265, section 3.3): ``Alice`` and ``alice`` are one user.  The
alphabet is ASCII, where that mapping is ``str.lower`` and look-alikes of other scripts
cannot arise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .errors import BadName, BadText, TooLong
from .limits import MAX_NAME, MAX_TEXT

_NAME = re.compile(rf"[a-z0-9][a-z0-9_.-]{{0,{MAX_NAME - 1}}}")

SURELY_FITS = MAX_TEXT // 4
"""A text of so many characters fits, whatever they are."""

EVERYONE = "everyone"
"""Nobody's name: a person would take what is said to its user for what is said to all."""

NAME_RULE = (
    f"a name is 1 to {MAX_NAME} of a-z 0-9 _ . -, starts with a letter or a digit, and is not "
    f"{EVERYONE!r}"
)


def canonical_name(name: str) -> str:
    """The form in which *name* is stored, compared and shown.

    Raises BadName, in words for the person who typed it.
    """
    # isascii before lower: the Kelvin sign, for one, lowers to an ASCII k.
    mapped = name.lower() if name.isascii() else name
    if not is_name(mapped):
        shown = name if len(name) <= MAX_NAME else name[:MAX_NAME] + "…"
        raise BadName(f"not a valid name: {shown!r}; {NAME_RULE}")
    return mapped


def is_name(name: str) -> bool:
    """Whether *name* is one, in its canonical form: what else a broker calls a name is shown
    escaped, and is not to be put on anybody's line."""
    return _NAME.fullmatch(name) is not None and name != EVERYONE


def checked_text(text: str, most: int = MAX_TEXT) -> str:
    """*text* itself, if it may be sent: at most *most* bytes of valid UTF-8.

    Any character may occur; a reader escapes what its terminal must not see.
    Raises BadText, and of it TooLong.
    """
    # A quarter of the limit cannot exceed it: spare the common case the encoding, unless
    # it holds what cannot be encoded at all.
    if 4 * len(text) <= most and text.isascii():
        return text
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadText(f"not valid Unicode: {error.reason} at character {error.start}") from None
    if size > most:
        raise TooLong(f"too long: {size} bytes, and {most} are allowed")
    return text


def check_texts(texts: Sequence[str], most: int = MAX_TEXT) -> None:
    """Checks each of *texts* as `checked_text` does, at a third of the cost if all are short
    ASCII."""
    if not "".join(texts).isascii() or 4 * max(map(len, texts), default=0) > most:
        for text in texts:
            checked_text(text, most)


def bytes_at_most(text: str) -> int:
    """A bound of the size of *text* when it is packed, which costs nothing to know."""
    return 5 + (len(text) if text.isascii() else 4 * len(text))


def until_full(texts: Sequence[str], room: float) -> tuple[int, int]:
    """How many of *texts*, from the first on, it takes to fill *room* bytes, or all of them; and a
    bound of their size, as `bytes_at_most` gives it."""
    if sum(map(len, texts)) <= room:  # Else it would be in vain to join them.
        together = bytes_at_most("".join(texts)) + 5 * (len(texts) - 1)
        if together <= room:
            return len(texts), together
    size = 0
    for count, text in enumerate(texts, 1):
        size += bytes_at_most(text)
        if size >= room:
            return count, size
    return len(texts), size


def fits(text: str) -> bool:
    """Whether *text*, decoded from UTF-8, is within MAX_TEXT bytes."""
    return len(text) <= SURELY_FITS or len(text.encode()) <= MAX_TEXT
