"""Numbers over several rounds, and tables of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from statistics import median, quantiles
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Spread(NamedTuple):
    """A median and what it is the median of."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))


def alternate(rounds: int, variants: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Runs the *variants* in turn, *rounds* times, so that what disturbs one disturbs all."""
    results: dict[str, list[T]] = {name: [] for name in variants}
    for number in range(rounds):
        # There and back: none is always the first after a pause.
        for name in list(variants)[:: -1 if number % 2 else 1]:
            results[name].append(variants[name]())
    return results


def ratios(over: Sequence[float], under: Sequence[float]) -> Spread:
    """The ratio of two series, round by round."""
    return Spread.of([a / b for a, b in zip(over, under, strict=True)])


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99."""
    found = quantiles(seconds, n=100)
    return found[49], found[98]


def rate(value: float) -> str:
    """A number a second, in three figures or more."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{_figures(value / size)} {unit}"
    return f"{value:.0f}"


def wide(spread: Spread) -> str:
    """How far the rounds lie apart, in per cent of their median."""
    return f"±{(spread.high - spread.low) / 2 / spread.middle * 100:.0f} %"


def times(spread: Spread) -> str:
    """A ratio and its range over the rounds."""
    return f"{spread.middle:.2f} x ({spread.low:.2f}-{spread.high:.2f})"


def micro(seconds: float) -> str:
    """Microseconds."""
    return f"{_figures(seconds * 1e6)} µs"


def _figures(value: float) -> str:
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their heads, the first to the left and the others to the right."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [f"\n{title}"]
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text.append("  " + "  ".join(cells).rstrip())
    return "\n".join(text)


class Better(Enum):
    """Which way a ratio is to go."""

    MORE = "more"
    LESS = "less"


class Ratio(NamedTuple):
    """Two things that were measured side by side.  Its name stays the same from run to run."""

    name: str
    spread: Spread
    better: Better


class Aim(NamedTuple):
    """What the project wants of a number, and whether this run shows it."""

    what: str
    found: str
    holds: bool | None
    """None, if it was not measured."""

    def __str__(self) -> str:
        verdict = {True: ": holds", False: ": does not hold", None: ""}[self.holds]
        return f"{self.what}: {self.found}{verdict}"
