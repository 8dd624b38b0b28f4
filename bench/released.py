"""The ratios of the last release, and whether those of a run are worse.

Only ratios are kept: both sides of one were measured side by side, so that it means something on
another machine, too.  What differs is told and fails nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .report import Better, Ratio, Spread, times

FILE = Path(__file__).with_name("released.json")

WORSE = 0.2
"""By this share of what it was a ratio may be worse without a word: that is a busy machine."""


class Released(NamedTuple):
    """What was saved of a run."""

    version: str
    """Of the project."""
    quick: bool
    """Whether it was a smoke test, whose ratios are inexact."""
    ratios: dict[str, Ratio]


def save(path: Path, version: str, quick: bool, ratios: Iterable[Ratio]) -> None:
    """Writes *ratios* to *path*, as `load` reads them.

    Raises ValueError if two have the same name."""
    told: dict[str, dict[str, float | str]] = {}
    for name, spread, better in ratios:
        if name in told:
            raise ValueError(f"two ratios are called {name!r}")
        told[name] = {
            "median": _short(spread.middle),
            "low": _short(spread.low),
            "high": _short(spread.high),
            "better": better.value,
        }
    text = json.dumps({"version": version, "quick": quick, "ratios": told}, indent=2)
    path.write_text(text + "\n")


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def load(path: Path) -> Released:
    """What `save` wrote.  Raises OSError, ValueError or KeyError if it did not."""
    told = json.loads(path.read_text())
    ratios = {
        name: Ratio(name, Spread(one["median"], one["low"], one["high"]), Better(one["better"]))
        for name, one in told["ratios"].items()
    }
    return Released(told["version"], told["quick"], ratios)


def worse(now: Ratio, then: Ratio) -> float:
    """By which share of *then* it is worse: 0.5 if a rate is half of it, or a cost half as much
    again; less than 0 if it is better."""
    change = now.spread.middle / then.spread.middle - 1
    return -change if now.better is Better.MORE else change


def compare(
    released: Released, ratios: Sequence[Ratio], quick: bool = False, whole: bool = True
) -> list[str]:
    """What is to be said of *ratios*, a line each.

    *quick*: they are of a smoke test.  *whole*: they are of all measurements, so that it means
    something if one is not there."""
    lines = []
    measured = {one.name: one for one in ratios}
    both = [name for name in released.ratios if name in measured]
    lost = {name: worse(measured[name], released.ratios[name]) for name in both}
    named = [name for name in both if lost[name] > WORSE]
    if quick != released.quick:
        which = "this run" if quick else "the released one"
        lines.append(f"{which} was a smoke test (--quick): expect differences")
    for name in named:
        now, then = measured[name], released.ratios[name]
        went = "fell" if now.better is Better.MORE else "rose"
        line = f"{went} by {lost[name] * 100:.0f} %: {name}: {times(now.spread)}"
        line += f", was {times(then.spread)}"
        if now.spread.low <= then.spread.high and then.spread.low <= now.spread.high:
            line += "; the ranges meet"
        lines.append(line)
    lines += [f"new: {one.name}: {times(one.spread)}" for one in ratios if one.name not in both]
    missing = [name for name in released.ratios if name not in both]
    if whole:
        lines += [f"not measured: {name}" for name in missing]
    elif missing:
        lines.append(f"not measured: {len(missing)} others")
    lines.append(f"{len(both)} compared: {len(named) or 'none'} worse by over {WORSE * 100:.0f} %")
    return lines
