"""Checks of decoded values, from which the parsers of messages are made.

Each takes what msgpack gave and returns it in its proper type, or raises BadFrame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import limits
from .errors import BadFrame

Field = Callable[[object], Any]
make = tuple.__new__
"""Makes a NamedTuple of a tuple of its fields, without the Python function that is its constructor
and takes three times as long."""

# `type(x) is int` and not isinstance: True is an int to isinstance.


def integer(value: object) -> int:
    if type(value) is not int or not 0 <= value <= limits.MAX_INT:
        raise BadFrame("an integer from 0 to 2^63-1 is wanted")
    return value


def boolean(value: object) -> bool:
    if type(value) is not bool:
        raise BadFrame("a boolean is wanted")
    return value


def string(longest: int) -> Callable[[object], str]:
    def check(value: object) -> str:
        if type(value) is not str:
            raise BadFrame("a string is wanted")
        if len(value) > longest or (not value.isascii() and len(value.encode()) > longest):
            raise BadFrame(f"a string is longer than {longest} bytes")
        return value

    return check


def binary(*lengths: int) -> Callable[[object], bytes]:
    def check(value: object) -> bytes:
        if type(value) is not bytes or len(value) not in lengths:
            wanted = " or ".join(str(length) for length in lengths)
            raise BadFrame(f"{wanted} bytes are wanted")
        return value

    return check


def record(
    kind: type[tuple[Any, ...]], *fields: Field, around: int = 3, optional: int = 0, after: int = 0
) -> Field:
    """An array of fixed fields, which makes a NamedTuple; what trails them is of a later version
    and ignored.

    *around*: how deep it stands, itself included; 3 for a record in an array in a message.
    *optional*: how many of the last fields may be missing; *kind* knows what they are then.
    *after*: how many elements before them are known already.
    """
    known = len(fields)
    wanted, most = after + known - optional, after + known

    def check(value: object) -> Any:
        if type(value) is not tuple or len(value) < wanted:
            raise BadFrame(f"an array of {wanted} elements is wanted")
        if len(value) > most:
            check_depth(value[most:], around)
        given = value[after:] if after else value
        made = [field(item) for field, item in zip(fields, given, strict=False)]
        return make(kind, made) if len(made) == known else kind(*made)

    return check


def array(most: int, item: Field) -> Callable[[object], tuple[Any, ...]]:
    def check(value: object) -> tuple[Any, ...]:
        if type(value) is not tuple or len(value) > most:
            raise BadFrame(f"an array of at most {most} elements is wanted")
        return tuple([item(element) for element in value])

    return check


def check_depth(extra: tuple[object, ...], around: int) -> None:
    """Bounds the nesting of elements that nothing else looks at; *around* is how many arrays
    they stand in."""
    for element in extra:
        if type(element) is tuple:
            if around == limits.MAX_DEPTH:
                raise BadFrame(f"nested deeper than {limits.MAX_DEPTH}")
            check_depth(element, around + 1)
