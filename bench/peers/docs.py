"""Writes what was measured into docs/benchmarks.md: tables between its markers, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import plots
from .results import Result
from .tables import for_docs
from .works import WORKS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "benchmarks.md"
PICTURES = DOCS / "benchmarks"


def write(results: Sequence[Result]) -> None:
    """The page and its pictures, as far as *results* go."""
    PAGE.write_text(filled(PAGE.read_text(), results))
    PICTURES.mkdir(exist_ok=True)
    for result in results:
        plots.draw(result, PICTURES / f"{result.name}.svg")


def filled(page: str, results: Sequence[Result]) -> str:
    """*page* with the tables of *results* between its markers."""
    for result in results:
        begin, end = f"<!-- {result.name}: begin -->", f"<!-- {result.name}: end -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"docs/benchmarks.md has no place for {result.name}")
        picture = f"![{WORKS[result.name].title}](benchmarks/{result.name}.svg)"
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        page = f"{head}{begin}\n{for_docs(result)}\n\n{picture}\n{end}{tail}"
    return page
