"""Options of ``chatbroker`` whose values have a unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from ..command.quantities import parse_duration, parse_size

MOST = 10**15
"""Seconds or bytes: with larger ones no computer counts, and whoever wants more wants no bound."""


class Seconds(click.FloatRange):
    """Seconds within bounds; nan, which is neither below nor above any, is none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


class _Quantity(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # Newer click has one.
    """A number with a unit; or a word for no bound, if there is one, which gives None."""

    def __init__(
        self, name: str, unbounded: str | None, parse: Callable[[str], float | None], example: str
    ) -> None:
        self.name = name
        self._unbounded = unbounded
        self._parse = parse
        self._example = example

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        if value is None or value == self._unbounded:
            return None
        # As on the command line, a number in the config file needs a unit where a text needs one.
        found = self._parse(str(value))
        if found is None or not 0 < found <= MOST:
            words = f"{value!r} is no {self.name} such as {self._example}"
            if self._unbounded is not None:
                words += f", nor {self._unbounded!r}"
            self.fail(words, param, ctx)
        return found


DURATION = _Quantity("duration", "forever", parse_duration, "90s, 12h or 30d")
SPAN = _Quantity("duration", None, parse_duration, "90s, 12h or 30d")
"""A duration of what has an end."""
SIZE = _Quantity("size", "unlimited", parse_size, "500MB or 1GB")
