"""The option ``--limit NAME=VALUE`` of ``chatbroker run``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import click

from ..command.quantities import parse_size
from ..wire.bucket import UNLIMITED, Rate
from ..wire.limits import FRAME_TARGET, MAX_TEXT
from .allowance import DEFAULTS, UNBOUNDED, Allowance

MOST = 10**15
"""The largest number: whoever wants more wants no bound."""


class _Kind(NamedTuple):
    """How the value of a limit is written."""

    field: str
    """Of Allowance."""
    per: float = 0.0
    """Seconds in which a rate counts; 0 if it is none."""
    size: bool = False
    """Whether it is a number of bytes, and may have a unit."""
    least: int = 1
    most: int = MOST
    """Less than MOST: there has to be a bound."""


KINDS = {
    "messages": _Kind("messages", per=1),
    # At the least, a text of any length has to be waited for a second.
    "bytes": _Kind("bytes", per=1, size=True, least=MAX_TEXT),
    "history": _Kind("history", per=1, size=True, least=FRAME_TARGET),
    "joins": _Kind("joins", per=60),
    "claims": _Kind("claims", per=60),
    "sessions": _Kind("sessions"),
    "address-sessions": _Kind("address_sessions"),
    "text": _Kind("text", size=True, most=MAX_TEXT),
    "subscriptions": _Kind("subscriptions", least=3),
}


class Limit(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # Newer click has one.
    """One ``NAME=VALUE``, as the field of Allowance and its value."""

    name = "limit"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Rate | int]:
        if isinstance(value, tuple):
            return value  # Converted before.
        name, equals, wanted = str(value).partition("=")
        kind = KINDS.get(name)
        if not equals or kind is None:
            words = f"{value!r} is no limit such as messages=1000; there are {', '.join(KINDS)}"
            self.fail(words, param, ctx)
        try:
            return kind.field, _parse(kind, wanted)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def allowance(limits: Iterable[tuple[str, Any]]) -> Allowance:
    """The defaults, with *limits* instead of some; of two for the same, the last."""
    return DEFAULTS._replace(**dict(limits))


def _parse(kind: _Kind, text: str) -> Rate | int:
    if text == "unlimited" and kind.most == MOST:
        return UNLIMITED if kind.per else UNBOUNDED
    if not kind.per:
        return _number(kind, text)
    first, slash, second = text.partition("/")
    per_second = _number(kind, first) / kind.per
    if slash:
        return Rate(per_second, _number(kind._replace(least=1), second))
    # After a rest, as many seconds' worth as by default.
    default: Rate = getattr(DEFAULTS, kind.field)
    return Rate(per_second, max(1, round(per_second * default.burst / default.per_second)))


def _number(kind: _Kind, text: str) -> int:
    number = parse_size(text) if kind.size else int(text) if re.fullmatch("[0-9]+", text) else None
    if number is None:
        wanted = "a size such as 64KiB or 1MB" if kind.size else "a number"
        if kind.per:
            wanted += ", or two with a slash between them,"
        if kind.most == MOST:
            wanted += " or 'unlimited'"
        raise ValueError(f"{wanted} is wanted")
    if not kind.least <= number <= kind.most:
        raise ValueError(f"from {kind.least} to {kind.most} are possible")
    return number
