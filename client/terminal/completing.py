"""What Tab offers: commands with what they take, and the names of users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ...wire.names import EVERYONE
from .typed import COMMANDS, NAMES_AFTER


class Offer(NamedTuple):
    text: str
    """What is put in the place of the word that was begun."""
    replaces: int
    """The length of that."""
    shown: str
    hint: str


def offers(before: str, names: Iterable[str]) -> Iterator[Offer]:
    """What may follow *before*, the line up to the cursor."""
    words = before.split(" ")
    begun = words[-1]
    if len(words) == 1:
        slash = "/" if begun.startswith("/") else ""
        for name, command in COMMANDS.items():
            if name.startswith(begun.removeprefix("/")):
                takes = command.usage != name
                yield Offer(
                    f"{slash}{name}{' ' * takes}", len(begun), command.usage, command.summary
                )
        if not slash and begun:
            yield from _names(begun, names, ": ")
    elif len(words) == 2 and words[0].removeprefix("/") in NAMES_AFTER:
        to = words[0].removeprefix("/") == "to"
        yield from _names(begun, [*names, EVERYONE] if to else names, "" if to else " ")
    elif begun:
        yield from _names(begun, names, "")


def _names(begun: str, names: Iterable[str], then: str) -> Iterator[Offer]:
    for name in sorted(names):
        if name.startswith(begun.lower()):
            yield Offer(f"{name}{then}", len(begun), name, "")


def common(texts: Sequence[str]) -> str:
    """What all *texts* begin with."""
    shortest, longest = min(texts), max(texts)
    for at, character in enumerate(shortest):
        if longest[at] != character:
            return shortest[:at]
    return shortest
