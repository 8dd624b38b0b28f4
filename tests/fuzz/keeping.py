"""Which of the inputs that a fuzzer found are worth keeping: those that go where no other goes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
FOLLOWED = tuple([str(ROOT / package) for package in ("wire", "broker", "client")])

Way = tuple[str, int, int]
"""From one line of a module to the next."""

OFTEN = 2
"""Going a way once, and going it so often or more, are things apart."""


def ways(target: Callable[[bytes], None], data: bytes) -> set[tuple[Way, int]]:
    """The ways that *target* goes through the modules that are fuzzed, and how often."""
    found: Counter[Way] = Counter()

    def enter(frame: FrameType, what: str, argument: object) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(FOLLOWED):
            return None
        last = 0

        def step(frame: FrameType, what: str, argument: object) -> Any:
            nonlocal last
            if what == "line":
                found[file, last, frame.f_lineno] += 1
                last = frame.f_lineno
            return step

        return step

    former = sys.gettrace()
    sys.settrace(enter)
    try:
        target(data)
    finally:
        sys.settrace(former)
    return {(way, min(count, OFTEN)) for way, count in found.items()}


def worth_keeping(target: Callable[[bytes], None], inputs: Iterable[bytes]) -> list[bytes]:
    """Of *inputs* those that go new ways, beginning with those that go the most."""
    gone = [(ways(target, data), data) for data in {*inputs}]
    known: set[tuple[Way, int]] = set()
    kept = []
    for found, data in sorted(gone, key=lambda pair: (-len(pair[0]), len(pair[1]), pair[1])):
        if not found <= known:
            known |= found
            kept.append(data)
    return kept
