"""Durations and sizes as people write them."""

from __future__ import annotations

import math
import re

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|[smhdw]))+")

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt]?)(i?)b?", re.I | re.A)


def parse_duration(text: str) -> float | None:
    """The seconds in a duration such as ``90s``, ``1h30m`` or ``2d``; None if it is none, has so
    many digits that it is infinite, or is less than a millisecond and not nothing."""
    if not _DURATION.fullmatch(text):
        return None
    parts = re.findall(r"([0-9.]+)(ms|[smhdw])", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return seconds if seconds == 0 or 0.001 <= seconds < math.inf else None


def parse_size(text: str) -> int | None:
    """The bytes in a size such as ``500MB``, ``1GB`` or ``2GiB``; None if it is none, or has so
    many digits that it is infinite.

    ``k``, ``M``, ``G`` and ``T`` are powers of 1000, and of 1024 with an ``i``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    number, unit, binary = match.groups()
    power = "kmgt".find(unit.lower()) + 1 if unit else 0
    factor: int = (1024 if binary else 1000) ** power
    size = float(number) * factor
    return round(size) if math.isfinite(size) else None
