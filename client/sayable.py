"""What a program wants to be said, looked at before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.errors import BadName, BadText, Code, TooLong
from ..wire.names import NAME_RULE, canonical_name, check_texts
from .errors import Refused, UsageError


def checked_recipient(to: object) -> str:
    """The name *to* in its canonical form.  Raises UsageError; Refused, if nobody has it."""
    if not isinstance(to, str):
        raise UsageError(f"a name is a str, not {type(to).__name__}")
    try:
        return canonical_name(to)
    except BadName:
        words = f"no such user: {to[:40]}; {NAME_RULE}"
        raise Refused(Code.NO_SUCH_USER.value, words) from None


def check_sayable(texts: Sequence[object], most: int) -> None:
    """Looks at all of *texts*, which are of *most* bytes of UTF-8 each at most.

    Raises UsageError, Refused."""
    for kind in {*map(type, texts)}:
        if not issubclass(kind, str):
            raise UsageError(f"a text is a str, not {kind.__name__}")
    try:
        check_texts(texts, most)  # type: ignore[arg-type]  # As was just seen.
    except BadText as error:
        # "bad_text" is no code of the protocol's: the codec cannot even carry such a text.
        code = error.code.value if isinstance(error, TooLong) else "bad_text"
        raise Refused(code, str(error)) from None
