"""What is shown to a person, row by row: pieces of text that have a style.

Whatever others wrote is escaped here, before it gets anywhere near a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import NamedTuple
from zlib import crc32

from ...wire.messages import DIRECT_LOG, ECHO_LOG
from ..escape import escape
from ..events import (
    LAST_SECOND,
    Broadcast,
    Direct,
    Event,
    Joined,
    Left,
    Message,
    Missed,
    Notice,
    Offline,
    Online,
)
from ..render import missed_words

Piece = tuple[str, str]

ACTION = "/me "
"""A text that begins so is said of its sender, as in XEP-0245."""

STAMP_WIDTH = len("[12:03:44] ")
"""What is broken goes on below the text, not below the time."""

NICK_COLOURS = 12
"""How many colours there are for names; `style.py` has them."""

URL = "class:url."

MOST_URLS = 50
"""Addresses of one message that are marked; who writes thousands wants no reader."""

_URL = re.compile(r"https?://[!-\[\]-~]+", re.IGNORECASE)
"""Up to a space, or a backslash, by which what is escaped begins."""
_AFTER_URL = ".,;:!?'\")]}>"
"""What follows an address in a sentence more often than it belongs to it."""


WEIGHT_OF_PIECE = 100


class Place(NamedTuple):
    """Where something that was said can be had again."""

    log: str
    position: int
    life: int
    """Which one of the histories that the broker had meanwhile; a position is good in its own."""


class Row(NamedTuple):
    """One thing that is shown; on a narrow terminal it takes several lines."""

    pieces: tuple[Piece, ...]
    day: date | None = None
    """When it was said, in local time; None for what has no time."""
    counts: bool = False
    """Whether it is a message, which can be unread."""
    indent: int = 0
    place: Place | None = None

    @property
    def urls(self) -> list[str]:
        """The addresses in it; a piece of the style ``class:url.N`` is, or is of, the N-th."""
        return [text for style, text in self.pieces if URL in style]

    @property
    def weight(self) -> int:
        """About how many characters it is as large as, in memory."""
        return sum(WEIGHT_OF_PIECE + len(text) for _, text in self.pieces)

    @property
    def text(self) -> str:
        """All of it, without styles."""
        return "".join(text for _, text in self.pieces)


def nick_style(name: str) -> str:
    """The style of a name: the same in each session, everywhere."""
    return f"class:nick.{crc32(name.encode()) % NICK_COLOURS}"


def urls(text: str) -> list[tuple[int, int]]:
    """Where the addresses of web pages in *text* begin and end."""
    found = []
    for match in _URL.finditer(text):
        address = match[0]
        end = len(address)
        # A bracket that closes one of the address belongs to it.
        unopened = address.count(")") - address.count("(")
        while address[end - 1] in _AFTER_URL and (address[end - 1] != ")" or unopened > 0):
            unopened -= address[end - 1] == ")"
            end -= 1
        if address[end - 1] != "/" or not address.endswith("//", 0, end):
            found.append((match.start(), match.start() + end))
    return found


def _text(text: str, style: str) -> Iterator[Piece]:
    """What somebody wrote, with its addresses marked."""
    shown = escape(text)
    at = 0
    for number, (start, end) in enumerate(urls(shown)[:MOST_URLS]):
        if start > at:
            yield style, shown[at:start]
        yield f"{style} {URL}{number}", shown[start:end]
        at = end
    if at < len(shown):
        yield style, shown[at:]


def mentions(text: str, name: str) -> bool:
    """Whether *text* has *name* as a word of its own."""
    if name not in text.lower():
        return False
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", text.lower()) is not None


def _moment(time: int) -> datetime:
    return datetime.fromtimestamp(min(time // 1000, LAST_SECOND))


def _name(name: str, me: str) -> Piece:
    return ("class:own" if name == me else nick_style(name)), escape(name)


def said_row(event: Message, me: str, life: int) -> Row:
    """A message that is stored, as *me* sees it; *life* as in `Place`."""
    moment = _moment(event.time)
    to = event.to if isinstance(event, Direct) else None
    mentioned = event.sender != me and mentions(event.text, me)
    said = [*_said(event.sender, to, event.text, me)]
    if mentioned:
        # The name of whoever mentions one is marked, and all of it stands out.
        said = [
            (f"{style} class:{'caller' if text == event.sender else 'mention'}", text)
            for style, text in said
        ]
    pieces = [("class:time", f"[{moment:%H:%M:%S}] "), *said]
    place = Place(ECHO_LOG if to is None else DIRECT_LOG, event.seq, life)
    return Row(tuple(pieces), moment.date(), counts=True, indent=STAMP_WIDTH, place=place)


def pending_row(to: str | None, text: str, me: str, state: str) -> Row:
    """A message that is under way; *state* is at most eight cells wide."""
    stamp = ("class:pending", f"[{state:^8}] ")
    pieces = [(f"{style} class:pending", part) for style, part in _said(me, to, text, me)]
    return Row((stamp, *pieces), indent=STAMP_WIDTH)


def _said(sender: str, to: str | None, text: str, me: str) -> Iterator[Piece]:
    style = "" if to is None else "class:direct"
    acts = text.startswith(ACTION)
    if acts:
        # Two stars, so that nobody can say of themselves what the broker says with one.
        yield style, "** "
    yield _name(sender, me)
    if to is not None:
        yield style, " -> "
        yield _name(to, me)
    yield style, " " if acts else ": "
    yield from _text(text.removeprefix(ACTION) if acts else text, style)


def told_row(words: str, style: str = "class:told") -> Row:
    """Something that the program or the broker says."""
    return Row(((style, escape(words)),), indent=2)


def day_row(day: date) -> Row:
    return Row((("class:mark", f"--- {day:%A}, {day:%Y-%m-%d}"),), day)


def mark_row(words: str) -> Row:
    """A line between what was before and what comes."""
    return Row((("class:mark", f"--- {words}"),))


def event_row(event: Event, me: str, life: int = 0) -> Row | None:
    """What is shown of *event*; None if it is nothing to be told.  *life* as in `Place`."""
    match event:
        case Broadcast() | Direct():
            return said_row(event, me, life)
        case Joined(time, user) | Left(time, user):
            moment = _moment(time)
            does = "joined" if isinstance(event, Joined) else "left"
            words = f"[{moment:%H:%M:%S}] * {escape(user)} {does}"
            return Row((("class:presence", words),), moment.date(), indent=STAMP_WIDTH)
        case Missed():
            return told_row(f"* {missed_words(event)}", "class:warning")
        case Offline(why):
            return told_row(f"* {why}; reconnecting…", "class:warning")
        case Online(again=again):
            return told_row("* connected again", "class:warning") if again else None
        case Notice():
            return told_row(f"* {event.line}", "class:warning")
