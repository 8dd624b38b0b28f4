"""Text in pieces, each of one style, broken to the width of a terminal.

Widths are those of the cells of a terminal: a wide character takes two, a combining mark none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prompt_toolkit.utils import get_cwidth

Piece = tuple[str, str]
"""A style, in the words of prompt_toolkit, and the text that has it."""

LEAST_ROOM = 20
"""Cells.  Where an indentation would leave less for the text, there is none."""


class _Cell(NamedTuple):
    style: str
    text: str
    width: int


def wrap(pieces: Sequence[Piece], width: int, indent: int) -> list[list[Piece]]:
    """*pieces* as lines of at most *width* cells; all but the first are indented by *indent*.

    A line ends at a space where there is one, and the spaces there go.  What is longer than a
    whole line begins where it stands, and is broken where the line is full.
    """
    indent = indent if width - indent >= LEAST_ROOM else 0
    if all(text.isascii() for _, text in pieces) and sum(len(t) for _, t in pieces) <= width:
        return [list(pieces)]  # The common line, without a look at each character.
    cells = list(_cells(pieces))
    lines: list[list[Piece]] = []
    start = 0
    while start < len(cells) or not lines:
        room = width - indent if lines else width
        end, following = _cut(cells, start, room, width - indent)
        line = _joined(cells[start:end])
        lines.append([("", " " * indent), *line] if lines and indent else line)
        start = following
    return lines


def _cells(pieces: Sequence[Piece]) -> Iterator[_Cell]:
    """Each character with the marks that stand on it."""
    for style, text in pieces:
        held = ""
        for character in text:
            if held and get_cwidth(character) == 0:
                held += character
                continue
            if held:
                yield _Cell(style, held, get_cwidth(held[0]))
            held = character
        if held:
            yield _Cell(style, held, get_cwidth(held[0]))


def _cut(cells: Sequence[_Cell], start: int, room: int, whole: int) -> tuple[int, int]:
    """Where the line that begins at *start* ends, and where the next begins."""
    end, used = start, 0
    while end < len(cells) and used + cells[end].width <= room:
        used += cells[end].width
        end += 1
    if end == len(cells):
        return end, end
    if cells[end].text == " ":
        return end, _after_spaces(cells, end)
    word = end
    while word > start and cells[word - 1].text != " ":
        word -= 1
    if word > start and _word_width(cells, word, whole) <= whole:
        return _before_spaces(cells, word, start), word
    end = max(
        end, start + 1
    )  # Wider than a whole line, as a character may be: goes on all the same.
    return end, end


def _after_spaces(cells: Sequence[_Cell], at: int) -> int:
    while at < len(cells) and cells[at].text == " ":
        at += 1
    return at


def _before_spaces(cells: Sequence[_Cell], at: int, start: int) -> int:
    end = at
    while end > start and cells[end - 1].text == " ":
        end -= 1
    return end if end > start else at  # A line of spaces only stays one.


def _word_width(cells: Sequence[_Cell], at: int, enough: int) -> int:
    """The cells of the word at *at*, counted until it is clear that they are too many."""
    width = 0
    while at < len(cells) and cells[at].text != " " and width <= enough:
        width += cells[at].width
        at += 1
    return width


def _joined(cells: Sequence[_Cell]) -> list[Piece]:
    """Neighbours of one style as one piece."""
    pieces: list[Piece] = []
    for style, text, _ in cells:
        if pieces and pieces[-1][0] == style:
            pieces[-1] = (style, pieces[-1][1] + text)
        else:
            pieces.append((style, text))
    return pieces


def clipped(text: str, width: int) -> str:
    """As much of *text* as fits in *width* cells; what does not is told by a "…"."""
    if get_cwidth(text) <= width:
        return text
    shown, used = "", 0
    for cell in _cells([("", text)]):
        if used + cell.width > width - 1:
            break
        shown += cell.text
        used += cell.width
    return shown + "…" if width > 0 else ""
