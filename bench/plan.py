"""What a measurement is given, and what it gives back."""

from __future__ import annotations

from typing import NamedTuple

from .processes import Server
from .report import Aim, Ratio


class Plan(NamedTuple):
    """How long to measure."""

    seconds: float
    """That one run should last."""
    rounds: int
    singles: int
    """Messages of one round of latencies."""
    starts: int
    """Of each command in the one-shot measurement."""
    lines: int
    """That go through a pipe."""
    pipes: int
    """How often they do."""
    histories: tuple[int, ...]
    """Messages in the histories that are measured."""


class Both(NamedTuple):
    """What is compared."""

    broker: Server
    forwarder: Server


class Found(NamedTuple):
    """What a measurement showed, beside the tables that it printed."""

    aims: list[Aim]
    ratios: list[Ratio]
