"""Pictures of what was measured: bars with the range over the rounds.  Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..report import Spread
from .results import Measured, Result
from .works import WORKS

OURS, THEIRS = "#2a6fbb", "#9aa5b1"

_LABELS = {
    "rate": ("deliveries a second", 1.0),
    "cost": ("the server's CPU a delivery, µs", 1e6),
    "p50": ("p50, µs", 1e6),
    "p99": ("p99, µs", 1e6),
}


def draw(result: Result, path: Path) -> None:
    """Two measures of *result* side by side, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    # So that the same results make the same file.
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    rows = list(result.runs().values())
    measures = ("p50", "p99") if WORKS[result.name].latency else ("rate", "cost")
    figure, axes = pyplot.subplots(1, 2, sharey=True, figsize=(10, 0.8 + 0.36 * len(rows)))
    for axis, measure in zip(axes, measures, strict=True):
        _bars(axis, rows, measure)
    figure.suptitle(WORKS[result.name].title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(axis: Any, rows: list[Measured], measure: str) -> None:
    label, unit = _LABELS[measure]
    spreads = [Spread.of([value * unit for value in row.series(measure)]) for row in rows]
    middles = [spread.middle for spread in spreads]
    ranges = [
        [spread.middle - spread.low for spread in spreads],
        [spread.high - spread.middle for spread in spreads],
    ]
    colours = [OURS if row.name.startswith("chatbroker") else THEIRS for row in rows]
    names = [row.name for row in rows]
    axis.barh(names, middles, xerr=ranges, color=colours, ecolor="#444444", height=0.6)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlabel(label, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(axis="x", which="major", linewidth=0.4)
    axis.set_axisbelow(True)
