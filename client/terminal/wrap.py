"""Text in pieces, each of one style, broken to the width of a terminal.

Widths are those of the cells of a terminal: a wide character takes two, a combining mark none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from prompt_toolkit.utils import get_cwidth

Piece = tuple[str, str]
"""A style, in the words of prompt_toolkit, and the text that has it."""

LEAST_ROOM = 20
"""Cells.  Where an indentation would leave less for the text, there is none."""


_SYMBOL = "[\u2190-\u2bff\U0001f000-\U0001faff]"

_JOINS = re.compile(f"\u200d(?={_SYMBOL})|\ufe0f|(?<={_SYMBOL})[\U0001f3fb-\U0001f3ff]")
"""What makes one picture of two, another of one, or its skin another."""

_FLAGS = {0x1F1E6 + n: ord("A") + n for n in range(26)}
"""Two regional indicators are a flag."""


def apart(text: str) -> str:
    """*text* without what some terminals draw as one picture and others as several: as nobody can
    say how many cells it takes, all that is drawn behind it would be drawn in the wrong place."""
    return _JOINS.sub("", text).translate(_FLAGS)


class _Cells:
    """Characters, each with the marks that stand on it.  In lists, as an object for each would
    take longer than all the rest: a message may be spelled out in a hundred thousand."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.texts: list[str] = []
        self.widths: list[int] = []
        self.styles: list[str] = []
        for style, text in pieces:
            before = len(self.texts)
            if text.isascii():
                self.texts.extend(text)
                self.widths.extend([1] * len(text))
            else:
                self._add(text, before)
            self.styles.extend([style] * (len(self.texts) - before))

    def _add(self, text: str, first: int) -> None:
        texts, widths = self.texts, self.widths
        for character in apart(text):
            width = get_cwidth(character)
            if width == 0 and len(texts) > first:
                texts[-1] += character
            else:
                texts.append(character)
                widths.append(width)

    def __len__(self) -> int:
        return len(self.texts)

    def joined(self, start: int, end: int) -> list[Piece]:
        """Neighbours of one style as one piece."""
        pieces: list[Piece] = []
        styles = self.styles
        while start < end:
            at = start + 1
            while at < end and styles[at] == styles[start]:
                at += 1
            pieces.append((styles[start], "".join(self.texts[start:at])))
            start = at
        return pieces


def wrap(pieces: Sequence[Piece], width: int, indent: int) -> list[list[Piece]]:
    """*pieces* as lines of at most *width* cells; all but the first are indented by *indent*.

    A line ends at a space where there is one, and the spaces there go.  What is longer than a
    whole line begins where it stands, and is broken where the line is full.
    """
    indent = indent if width - indent >= LEAST_ROOM else 0
    if all(text.isascii() for _, text in pieces) and sum(len(t) for _, t in pieces) <= width:
        return [list(pieces)]  # The common line, without a look at each character.
    cells = _Cells(pieces)
    lines: list[list[Piece]] = []
    start = 0
    while start < len(cells) or not lines:
        room = width - indent if lines else width
        end, following = _cut(cells, start, room, width - indent)
        line = cells.joined(start, end)
        lines.append([("", " " * indent), *line] if lines and indent else line)
        start = following
    return lines


def _cut(cells: _Cells, start: int, room: int, whole: int) -> tuple[int, int]:
    """Where the line that begins at *start* ends, and where the next begins."""
    end, used = start, 0
    texts, widths = cells.texts, cells.widths
    while end < len(texts) and used + widths[end] <= room:
        used += widths[end]
        end += 1
    if end == len(texts):
        return end, end
    if texts[end] == " ":
        return _before_spaces(texts, end, start), _after_spaces(texts, end)
    word = end
    while word > start and texts[word - 1] != " ":
        word -= 1
    if word > start and _word_width(cells, word, whole) <= whole:
        return _before_spaces(texts, word, start), word
    end = max(end, start + 1)  # A character wider than a whole line goes on all the same.
    return end, end


def _after_spaces(texts: Sequence[str], at: int) -> int:
    while at < len(texts) and texts[at] == " ":
        at += 1
    return at


def _before_spaces(texts: Sequence[str], at: int, start: int) -> int:
    end = at
    while end > start and texts[end - 1] == " ":
        end -= 1
    return end if end > start else at  # A line of spaces only stays one.


def _word_width(cells: _Cells, at: int, enough: int) -> int:
    """The cells of the word at *at*, counted until it is clear that they are too many."""
    width = 0
    while at < len(cells) and cells.texts[at] != " " and width <= enough:
        width += cells.widths[at]
        at += 1
    return width


def clipped(text: str, width: int) -> str:
    """As much of *text* as fits in *width* cells; what does not is told by a "…"."""
    if get_cwidth(text) <= width:
        return text
    shown, used = "", 0
    cells = _Cells([("", text)])
    for cell, room in zip(cells.texts, cells.widths, strict=True):
        if used + room > width - 1:
            break
        shown += cell
        used += room
    return shown + "…" if width > 0 else ""
