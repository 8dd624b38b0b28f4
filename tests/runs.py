"""Runs, and the commands that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chatbroker.wire.codec import Run
from chatbroker.wire.messages import Echo, Send


def commands_of(run: Run) -> list[Send | Echo]:
    """The commands of *run*, as they were sent."""
    numbered = enumerate(run.texts, run.first)
    if run.to is None:
        return [Echo(cseq, text) for cseq, text in numbered]
    return [Send(cseq, run.to, text) for cseq, text in numbered]


def taken_apart(messages: Iterable[Any]) -> list[Any]:
    """*messages*, with the commands of a run one by one."""
    apart: list[Any] = []
    for message in messages:
        apart += commands_of(message) if type(message) is Run else [message]
    return apart
