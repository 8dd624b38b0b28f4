"""Driving a link by hand."""

from __future__ import annotations

from chatbroker.client.core import Phase

STEPS = 2000


def steps(link, condition, again=lambda: None):
    """Steps until *condition*, and not for ever.  *again* is called before each step: PUB may
    greet a moment before it takes the subscription, and what it says then is not heard."""
    for _ in range(STEPS):
        if condition():
            return
        again()
        link.step(0.01)
    raise AssertionError("it did not happen")


def joins(link):
    steps(link, lambda: link.core.phase is Phase.READY)
