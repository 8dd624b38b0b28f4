"""What is told of a run: how long the broker was away for, and what befell a message."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_LINES = 80


def longest_recovery(mended: Iterable[float], acks: Iterable[float]) -> float:
    """The longest time, in seconds, from the end of a fault to the next acknowledgement."""
    acks = sorted(acks)
    waits = [0.0]
    for time in mended:
        at = bisect_left(acks, time)
        if at < len(acks):
            waits.append(acks[at] - time)
    return max(waits)


def trace(breach: str, records: Mapping[str, Iterable[Sequence[Any]]]) -> str:
    """*breach*, and by their time the lines of *records* that are about its message, with the
    faults before and after."""
    about = re.search(r"\b([a-z]+):([0-9]+)\b", breach)
    if about is None:
        return breach
    text, sender, number = about[0], about[1], int(about[2])
    lines = []
    for name, record in records.items():
        for what, at, *values in record:
            own = name == sender and (
                (what == "invoke" and values[1] == number)
                or (what in ("ok", "refused", "unknown", "unsent") and values[0] == number)
            )
            if own or (what == "shown" and values[-1] == text):
                lines.append((at, name, what, values))
    if not lines:
        return breach
    first, last = min(lines)[0] - 5, max(lines)[0] + 5
    for name, record in records.items():
        for what, at, *values in record:
            if first < at < last and what in ("begins", "mended", "open", "note", "turned_away"):
                lines.append((at, name, what, values))
    told = [f"{at:12.3f} {name}: {what} {values}" for at, name, what, values in sorted(lines)]
    return "\n    ".join([breach, *told[:MOST_LINES]])
