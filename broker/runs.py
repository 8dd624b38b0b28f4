"""Outcomes of commands as they are stored: runs of those of which there is more to say than that
they are stored, one after the other."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from ..wire.limits import WINDOW

_RUN = struct.Struct("<QQB")
"""The first and the last command, and what became of them."""

KINDS = 4
"""How many things may become of a command that are told apart (``session.WORDS``, and one more)."""


def pack(runs: Iterable[tuple[int, int, int]]) -> bytes:
    """The bytes of *runs*."""
    return b"".join([_RUN.pack(*run) for run in runs])


def unpack(stored: bytes) -> Iterator[tuple[int, int, int]]:
    """The opposite of `pack`."""
    return _RUN.iter_unpack(stored)


def check(stored: bytes, cseq: int) -> None:
    """Raises ValueError unless *stored* are bytes of runs, of commands up to *cseq*."""
    if len(stored) % _RUN.size:
        raise ValueError("not runs of outcomes")
    before = 0
    for first, last, kind in unpack(stored):
        if not (before < first <= last <= cseq and kind < KINDS):
            raise ValueError("not runs of outcomes")
        before = last


def merge(before: bytes, news: bytes, cseq: int) -> bytes:
    """*before* with *news*: runs that came since, the first of which may be the last one of before
    that has grown.  Of commands up to *cseq*, as far back as WINDOW.

    To do so again, with what already has these and later ones, and then with the later ones,
    gives the same in the end."""
    begin, end, size = 0, len(before), _RUN.size
    if news:
        first = _RUN.unpack_from(news)[0]
        while end and _RUN.unpack_from(before, end - size)[0] >= first:
            end -= size
    while begin < end and _RUN.unpack_from(before, begin)[1] <= cseq - WINDOW:
        begin += size
    return before[begin:end] + news
