"""Why a client is not let in, or not yet."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.errors import Code
from ..wire.messages import Refused
from .session import Session

NO_MORE_CLAIMS = Refused(Code.BROKER_FULL.value, "the broker cannot keep more names")


class Contested(NamedTuple):
    """The name is held by these sessions; whether all of them still live is to be seen."""

    holders: list[Session]
    refusal: Refused


def already_joined(name: str) -> Refused:
    return Refused(Code.ALREADY_JOINED.value, f"{name!r} is already joined")


def not_allowed(words: str) -> Refused:
    return Refused(Code.NOT_ALLOWED.value, words)
