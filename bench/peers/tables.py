"""Tables of what was measured, for a terminal and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from ..report import Spread, micro, rate, ratios, table, times, wide
from .results import Measured, Result
from .works import WORKS

Lines = list[tuple[str, ...]]


def head_and_rows(result: Result) -> tuple[tuple[str, ...], Lines]:
    """The table of *result*: each row with the ratio of ours to it, round by round."""
    work = WORKS[result.name]
    measured = result.runs()
    measures = ("p50", "p99") if work.latency else ("rate", "cost")
    ours = measured.get(work.ours)
    rows: Lines = []
    for row in result.rows:
        if not row.runs:
            rows.append((row.name, f"not measured: {row.missing}", *[""] * 6))
            continue
        cells = [row.name, row.guarantee]
        for measure in measures:
            values = Spread.of(row.series(measure))
            cells.append(rate(values.middle) if measure == "rate" else micro(values.middle))
            cells.append(wide(values))
            cells.append(_ratio(ours, row, measure))
        if not work.latency:
            cells.append(micro(median(row.series("load"))))
        rows.append(tuple(cells))
    of_it = "ours : it"
    if work.latency:
        return ("", "guarantee", "p50", "spread", of_it, "p99", "spread", of_it), rows
    costs = ("CPU a delivery", "spread", of_it, "the load's")
    return ("", "guarantee", "deliveries/s", "spread", of_it, *costs), rows


def _ratio(ours: Measured | None, row: Measured, measure: str) -> str:
    if ours is None or ours is row:
        return ""
    return times(ratios(ours.series(measure), row.series(measure)))


def for_terminal(result: Result) -> str:
    """The table and the goals."""
    head, rows = head_and_rows(result)
    work = WORKS[result.name]
    title = f"{work.title}  (ours: {work.ours})"
    text = [table(title, _last(head), [_last(_padded(row, head)) for row in rows])]
    text += [f"  {aim}" for aim in result.aims()]
    text += [f"  {line}" for line in _fetches(result.runs())]
    return "\n".join(text)


def _last(cells: Sequence[str]) -> list[str]:
    """With the guarantee at the end: the figures are to be seen in a narrow window, too."""
    name, guarantee, *figures = cells
    return [name, *figures, guarantee]


def _padded(row: Sequence[str], head: Sequence[str]) -> list[str]:
    return [*row[: len(head)], *[""] * (len(head) - len(row))]


def _fetches(rows: Mapping[str, Measured]) -> list[str]:
    found = {name: sum([run.get("fetches", 0) for run in row.runs]) for name, row in rows.items()}
    return [
        f"{name}: pushes that were skipped and fetched: {fetches}"
        for name, fetches in found.items()
        if fetches
    ]


def for_docs(result: Result) -> str:
    """The same in Markdown."""
    head, rows = head_and_rows(result)
    lines = [_line(head), _line(["---", "---", *["---:"] * (len(head) - 2)])]
    lines += [_line(_padded(row, head)) for row in rows]
    lines.append("")
    lines += [f"- {aim}" for aim in result.aims()]
    lines += [f"- {line}" for line in _fetches(result.runs())]
    facts = "; ".join(result.facts.values())
    lines += ["", f"{facts[0].upper()}{facts[1:]}."]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
