"""Rows on a screen: which lines of them are seen, and what lies below unread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

from .rows import Piece, Row, day_row
from .wrap import wrap

MOST_ROWS = 10_000
"""What is older the broker has."""

MOST_BELOW = 50_000
"""While one looks further up nothing that one may see is dropped, up to so many rows."""

MOST_WEIGHT = 8 << 20
"""Characters of all rows, as ten thousand rows of people have; of the longest that there may be it
is some hundred."""

MOST_WEIGHT_BELOW = 5 * MOST_WEIGHT
"""While one looks further up."""

MANY = 1 << 30
"""More lines than any row has."""

SPARE = 1_000
"""Rows dropped at once, so that it need not be done for each row; a tenth of the weight, too."""


class Line(NamedTuple):
    pieces: list[Piece]
    row: Row
    """What it is a part of."""


class _Broken:
    """A row, and its lines at the width of the last time."""

    __slots__ = ("_lines", "_width", "row", "weight")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.weight = row.weight
        self._width = 0
        self._lines: list[Line] = []

    def lines(self, width: int) -> list[Line]:
        if width != self._width:
            broken = wrap(self.row.pieces, width, self.row.indent)
            self._width, self._lines = width, [Line(pieces, self.row) for pieces in broken]
        return self._lines


class View:
    """The newest rows at the bottom, unless one looks further up."""

    def __init__(self) -> None:
        self._rows: list[_Broken] = []
        self._weight = 0
        """Of all rows."""
        self._pending: list[_Broken] = []
        """Below all rows: what is under way."""
        self._bottom: tuple[_Broken, int] | None = None
        """The row that the lowest line belongs to, and how many of its lines are seen; None
        for the newest, whatever it is."""
        self.unread = 0
        """Messages that came while one looked further up."""

    # --- what there is --------------------------------------------------------------------

    def add(self, row: Row) -> list[Row]:
        """*row* is the newest.  Gives the oldest rows if they had to go."""
        if row.day is not None and row.day != self._day_of(reversed(self._rows)):
            self._rows.append(_Broken(day_row(row.day)))
            self._weight += self._rows[-1].weight
        self._rows.append(_Broken(row))
        self._weight += self._rows[-1].weight
        if not self.follows:
            self.unread += row.counts
        excess = self._excess()
        if not excess:
            return []
        dropped, kept = self._rows[:excess], self._rows[excess:]
        self._rows = kept
        if self._bottom is not None and self._bottom[0] in dropped:
            self._bottom = (kept[0], 1)
        first = next((broken.row for broken in kept if broken.row.day is not None), None)
        if first is not None and first.day is not None and first != day_row(first.day):
            kept.insert(0, _Broken(day_row(first.day)))  # The one before it was dropped.
        self._weight = sum(broken.weight for broken in kept)
        return [broken.row for broken in dropped]

    def _excess(self) -> int:
        """How many of the oldest rows have to go."""
        rows, weight = len(self._rows), self._weight
        most, heaviest = (
            (MOST_ROWS, MOST_WEIGHT) if self.follows else (MOST_BELOW, MOST_WEIGHT_BELOW)
        )
        if rows <= most and weight <= heaviest:
            return 0
        excess = 0
        while excess < rows - 1 and (
            rows - excess > most - SPARE or weight > heaviest - heaviest // 10
        ):
            weight -= self._rows[excess].weight
            excess += 1
        return excess

    def add_past(self, rows: Sequence[Row]) -> None:
        """*rows* are older than all others, the oldest first."""
        placed: list[_Broken] = []
        day: date | None = None
        for row in rows:
            if row.day is not None and row.day != day:
                placed.append(_Broken(day_row(row.day)))
                day = row.day
            placed.append(_Broken(row))
        first = next((i for i, b in enumerate(self._rows) if b.row.day is not None), None)
        if first is not None and day is not None and self._rows[first].row == day_row(day):
            if self._bottom is not None and self._bottom[0] is self._rows[first]:
                self._bottom = ([*placed, *self._rows[:first]][-1], MANY)
            self._weight -= self._rows[first].weight
            del self._rows[first]  # It stands further up now.
        self._rows[:0] = placed
        self._weight += sum(broken.weight for broken in placed)

    def set_pending(self, rows: Sequence[Row]) -> None:
        """What is under way, the oldest first."""
        before = {id(broken.row): broken for broken in self._pending}
        self._pending = [before.get(id(row)) or _Broken(row) for row in rows]

    @staticmethod
    def _day_of(rows: Iterable[_Broken]) -> date | None:
        return next((broken.row.day for broken in rows if broken.row.day is not None), None)

    # --- what is seen ---------------------------------------------------------------------

    def visible(self, width: int, height: int) -> list[Line]:
        """The lines on a screen of that size, from the top; fewer if there are no more."""
        lines = self._lines(width, height)
        if len(lines) < height and not self.follows:
            # There was more above when one looked up, or the screen was smaller.
            self.down(height - len(lines), width)
            lines = self._lines(width, height)
        return lines

    def _lines(self, width: int, height: int) -> list[Line]:
        every = self._rows + self._pending if self._bottom is None else self._rows
        at, count = self._lowest(every, width)
        lines: list[Line] = []
        while at >= 0 and len(lines) < height:
            of_row = every[at].lines(width)[:count]
            lines[:0] = of_row[-(height - len(lines)) :]
            at, count = at - 1, MANY
        return lines

    def _lowest(self, every: list[_Broken], width: int) -> tuple[int, int]:
        if self._bottom is None:
            return len(every) - 1, MANY
        broken, count = self._bottom
        return self._index(broken), min(count, len(broken.lines(width)))

    def _index(self, broken: _Broken) -> int:
        return next(i for i in range(len(self._rows) - 1, -1, -1) if self._rows[i] is broken)

    @property
    def follows(self) -> bool:
        """Whether the newest is seen."""
        return self._bottom is None

    def up(self, lines: int, width: int, height: int) -> int:
        """Looks *lines* further up, as far as there is something; how many it was."""
        if not self._rows:
            return 0
        at, count = self._lowest(self._rows, width)
        count = min(count, len(self._rows[at].lines(width)))
        above = self._above(at, count, width, height + lines)
        if above < height:
            return 0
        # What is under way is below all rows, and is seen only by who looks at the newest.
        hidden = 0
        if self.follows:
            hidden = min(lines, sum(len(broken.lines(width)) for broken in self._pending))
        # What is above the lowest line must be enough to fill the screen.
        moved = min(lines - hidden, above - height)
        left = moved
        while left >= count:
            left -= count
            at -= 1
            count = len(self._rows[at].lines(width))
        if hidden + moved:
            self._bottom = (self._rows[at], count - left)
        return hidden + moved

    def _above(self, at: int, count: int, width: int, enough: int) -> int:
        """The lines from the top to that one, counted until it is clear that they are *enough*."""
        total = count
        while at > 0 and total < enough:
            at -= 1
            total += len(self._rows[at].lines(width))
        return total

    def down(self, lines: int, width: int) -> None:
        """Looks *lines* further down; at the end it follows what comes."""
        if self._bottom is None:
            return
        at, count = self._lowest(self._rows, width)
        while at < len(self._rows):
            there = len(self._rows[at].lines(width)) - count
            if lines <= there:
                count += lines
                break
            lines -= there
            at, count = at + 1, 0
        if at >= len(self._rows) - 1 and (
            at >= len(self._rows) or count >= len(self._rows[at].lines(width))
        ):
            self.follow()
        else:
            self._bottom = (self._rows[at], count)

    def follow(self) -> None:
        """Looks at the newest."""
        self._bottom = None
        self.unread = 0
