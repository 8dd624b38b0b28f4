"""Pictures of what was measured: bars with the range over the rounds.  Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..report import Spread, micro, rate
from .results import Measured, Result
from .works import WORKS

OURS, THEIRS = "#2a6fbb", "#9aa5b1"

SETTINGS: Any = {
    # So that the same results make the same file.
    "svg.hashsalt": "bench",
    "svg.fonttype": "none",
    "font.size": 8,
}

LABELS = {
    "rate": "deliveries a second",
    "cost": "the server's CPU a delivery",
    "p50": "p50",
    "p99": "p99",
}


def draw(result: Result, path: Path) -> None:
    """Two measures of *result* side by side, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    rows = list(result.runs().values())
    measures = ("p50", "p99") if WORKS[result.name].latency else ("rate", "cost")
    with matplotlib.rc_context(SETTINGS):
        size = (10, 0.8 + 0.3 * len(rows))
        figure, axes = pyplot.subplots(1, 2, sharey=True, figsize=size, layout="constrained")
        for axis, measure in zip(axes, measures, strict=True):
            _bars(axis, rows, measure)
        axes[0].invert_yaxis()  # Of both, which share it: the first row is to be at the top.
        figure.suptitle(WORKS[result.name].title)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _bars(axis: Any, rows: list[Measured], measure: str) -> None:
    spreads = [Spread.of(row.series(measure)) for row in rows]
    middles = [spread.middle for spread in spreads]
    ranges = [
        [spread.middle - spread.low for spread in spreads],
        [spread.high - spread.middle for spread in spreads],
    ]
    colours = [OURS if row.name.startswith("chatbroker") else THEIRS for row in rows]
    axis.barh([row.name for row in rows], middles, color=colours, height=0.6)
    places = range(len(rows))
    axis.errorbar(middles, places, xerr=ranges, fmt="none", ecolor="#333333", elinewidth=0.8)
    most = max([spread.high for spread in spreads])
    for place, spread in zip(places, spreads, strict=True):
        told = rate(spread.middle) if measure == "rate" else micro(spread.middle)
        axis.text(spread.high + most / 100, place, told, va="center")
    axis.set_xlim(0, most * 1.15)
    axis.set_xticks([])
    axis.set_xlabel(LABELS[measure])
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)
