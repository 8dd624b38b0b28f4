"""SEND and ECHO, the two commands: decoded by hand, and together with those that follow them.

They are nearly all there is to decode in a busy broker, and the general way costs more than twice
as much (bench: "decode").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import limits
from .errors import BadFrame
from .messages import Echo, Kind, Send
from .names import SURELY_FITS, fits
from .shape import check_depth, make

_MAX_INT, _MAX_NAME = limits.MAX_INT, limits.MAX_NAME
_SEND, _ECHO = int(Kind.SEND), int(Kind.ECHO)


def parse_send(item: tuple[Any, ...]) -> Send:
    """A decoded SEND.  Raises BadFrame."""
    if len(item) != 4:
        if len(item) < 4:
            raise BadFrame("SEND has 3 fields")
        check_depth(item[4:], 1)
        item = item[:4]
    _, cseq, to, texts = item
    if type(to) is not str:
        raise BadFrame("SEND wants a name")
    if len(to) > _MAX_NAME:
        to = ""  # One bad command does not cost its sender the rest of the frame.
    return make(Send, (cseq, to, _texts(cseq, texts)))


def parse_echo(item: tuple[Any, ...]) -> Echo:
    """A decoded ECHO.  Raises BadFrame."""
    if len(item) != 3:
        if len(item) < 3:
            raise BadFrame("ECHO has 2 fields")
        check_depth(item[3:], 1)
        item = item[:3]
    _, cseq, texts = item
    return make(Echo, (cseq, _texts(cseq, texts)))


def _texts(cseq: object, texts: object) -> tuple[str | None, ...]:
    """The texts that are numbered from *cseq* on, with None for each that is too long."""
    if type(texts) is not tuple or not texts:
        raise BadFrame("an array of at least one text is wanted")
    if type(cseq) is not int or not 0 < cseq <= _MAX_INT - len(texts) + 1:
        raise BadFrame("a command number is from 1 to 2^63-1")
    try:
        # At a tenth of what it costs to look at each whether it is a string, and how long.
        together = "".join(texts)
    except TypeError:
        raise BadFrame("a text is a string") from None
    if len(together) <= (limits.MAX_TEXT if together.isascii() else SURELY_FITS):
        return texts
    if max(map(len, texts)) <= SURELY_FITS:
        return texts
    return tuple([text if fits(text) else None for text in texts])


def parse_joined(items: Iterable[Any]) -> list[Send | Echo]:
    """Decoded messages as commands, those that go on from one another made one: what a client
    says one by one costs little more than what it says together.

    Empty, if anything but commands as this version has them is among *items*.  Raises BadFrame.
    """
    runs: list[tuple[int, int, Any, list[Any]]] = []
    texts: list[Any] = []
    kind: int | None = None
    to: str | None = None
    following = 0
    for item in items:
        name = None
        if type(item) is not tuple:
            return []
        if len(item) == 4:
            number, cseq, name, said = item
            if name is None:  # It stands for everyone here, and an ECHO names nobody.
                return []
        elif len(item) == 3:
            number, cseq, said = item
        else:
            return []
        # 3.0 and True equal 3 and 1.
        if type(number) is not int or type(cseq) is not int or type(said) is not tuple or not said:
            return []
        if cseq != following or name != to or number != kind:
            if number != (_ECHO if name is None else _SEND):
                return []
            texts = []
            runs.append((number, cseq, name, texts))
            kind, to, following = number, name, cseq
        texts += said
        following += len(said)
    return [
        parse_echo((number, cseq, tuple(texts)))
        if name is None
        else parse_send((number, cseq, name, tuple(texts)))
        for number, cseq, name, texts in runs
    ]
