"""What was measured, as it is kept in a file, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..report import Aim, Spread, ratios, times
from .works import WORKS, Goal

KEPT = Path(__file__).parents[1] / "results" / "peers.json"
"""The results that docs/benchmarks.md shows."""

MEASURES = {
    "rate": lambda run: run["deliveries"] / run["seconds"],
    "cost": lambda run: run["cpu"] / run["deliveries"],
    "load": lambda run: run["load_cpu"] / run["deliveries"],
    "p50": lambda run: run["p50"],
    "p99": lambda run: run["p99"],
}
"""What a run shows: deliveries a second, seconds of CPU a delivery, seconds of latency."""


class Measured(NamedTuple):
    """One row: its runs, or why there are none."""

    name: str
    guarantee: str
    runs: list[dict[str, Any]]
    missing: str = ""

    def series(self, measure: str) -> list[float]:
        """A value of each round."""
        return [MEASURES[measure](run) for run in self.runs]


class Result(NamedTuple):
    """One work."""

    name: str
    facts: dict[str, str]
    """Of the machine, the versions and the plan."""
    rows: list[Measured]

    def runs(self) -> dict[str, Measured]:
        """The rows that were measured, by name."""
        return {row.name: row for row in self.rows if row.runs}

    def aims(self) -> list[Aim]:
        """The goals of the work, and whether these results show them."""
        return [_aim(goal, self.runs()) for goal in WORKS[self.name].goals]


def _aim(goal: Goal, rows: Mapping[str, Measured]) -> Aim:
    what = f"{goal.over}: {goal.what}: {'at most' if goal.at_most else 'at least'} {goal.bound:g} x"
    absent = [name for name in (goal.over, *goal.under) if name not in rows]
    if absent:
        return Aim(what, f"not measured: {', '.join(absent)}", None)
    ratio = compared(rows[goal.over].series(goal.measure), rows, goal)
    holds = ratio.middle <= goal.bound if goal.at_most else ratio.middle >= goal.bound
    return Aim(what, times(ratio), holds)


def compared(over: Sequence[float], rows: Mapping[str, Measured], goal: Goal) -> Spread:
    """The ratio of a goal, round by round."""
    parts = [
        [weight * value for value in rows[name].series(goal.of or goal.measure)]
        for name, weight in goal.under.items()
    ]
    return ratios(over, [sum(values) for values in zip(*parts, strict=True)])


def save(path: Path, results: Sequence[Result]) -> None:
    """Writes *results*; works that were not measured this time stay as they were."""
    kept = {result.name: result for result in load(path)} if path.exists() else {}
    kept |= {result.name: result for result in results}
    path.parent.mkdir(parents=True, exist_ok=True)
    works = []
    for name in WORKS:
        if name in kept:
            _, facts, rows = kept[name]
            works.append({"name": name, "facts": facts, "rows": [row._asdict() for row in rows]})
    unfinished = path.with_suffix(".part")
    unfinished.write_text("[\n" + ",\n".join(map(json.dumps, works)) + "\n]\n")
    unfinished.rename(path)


def load(path: Path) -> list[Result]:
    """What `save` wrote.  Raises OSError, or ValueError if it did not write it."""
    try:
        results = [
            Result(work["name"], work["facts"], [Measured(**row) for row in work["rows"]])
            for work in json.loads(path.read_text())
        ]
        if all(result.name in WORKS for result in results):
            return results
    except (ValueError, TypeError, KeyError):
        pass  # The same is to be said of all that is something else.
    raise ValueError(f"{path} holds something else than runs of this benchmark")
