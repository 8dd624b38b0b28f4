"""Addresses of web pages that stay clickable when a line is broken (OSC 8).

What is drawn is drawn cell by cell, and only where it changed.  So each cell of an address has
marks that tell which one it belongs to, and the output makes a link of it.  The marks are
characters of no width, which `escape` lets nobody else put on a screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TextIO

from prompt_toolkit.output.vt100 import Vt100_Output

from .rows import URL, Piece
from .view import Line

_MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
MOST = len(_MARKS) ** 2
"""Addresses on one screen; those beyond are text only."""


class Links:
    """The addresses on the screen."""

    def __init__(self) -> None:
        self._urls: list[str] = []

    def mark(self, lines: Sequence[Line]) -> list[list[Piece]]:
        """*lines*, which the screen is to show now, with the marks in them."""
        self._urls = []
        return [[self._marked(piece, line) for piece in line.pieces] for line in lines]

    def _marked(self, piece: Piece, line: Line) -> Piece:
        style, text = piece
        if URL not in style:
            return piece
        url = line.row.urls[int(style.partition(URL)[2].split()[0])]
        if url not in self._urls:
            if len(self._urls) == MOST:
                return piece
            self._urls.append(url)
        high, low = divmod(self._urls.index(url), len(_MARKS))
        return style, "".join(f"{cell}{_MARKS[high]}{_MARKS[low]}" for cell in text)

    def drawn(self, cell: str) -> str:
        """What to write for *cell*, which ends with a mark.

        In the line that is typed in there may be marks that were pasted: they are not shown."""
        shown = cell.rstrip(_MARKS)
        high, low = (_MARKS.find(mark) for mark in cell[-2:].rjust(2))
        number = high * len(_MARKS) + low
        if len(cell) - len(shown) != 2 or number >= len(self._urls):
            return shown.replace("\x1b", "?")
        return f"\x1b]8;;{self._urls[number]}\x1b\\{shown}\x1b]8;;\x1b\\"


class LinkingOutput(Vt100_Output):
    """A terminal on which marked cells are links."""

    def __init__(self, stdout: TextIO, size: Callable[[], object], links: Links, term: str) -> None:
        super().__init__(stdout, size, term=term)  # type: ignore[arg-type]
        self._links = links

    def write(self, data: str) -> None:
        if data and data[-1] in _MARKS:
            self.write_raw(self._links.drawn(data))
        else:
            super().write(data)
