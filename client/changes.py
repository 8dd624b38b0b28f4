"""Waiting for changes, which a signal's exception may end anywhere.

A `threading.Condition` is Python's: a handler may raise in it when it has the lock already and the
block that gives it back has not begun.  Then whoever wants to leave waits for ever, and so does
everybody else.  A lock by itself is C's, and ``with`` has it and the block as one.
"""

from __future__ import annotations

import threading


class Changes:
    """Something that is looked at under `lock`, and those who wait for it to change."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._waiting: list[threading.Lock] = []

    def ticket(self) -> threading.Lock:
        """A lock that can be had after the next `tell`.  `lock` is held."""
        ticket = threading.Lock()
        ticket.acquire()
        self._waiting.append(ticket)
        return ticket

    def tell(self) -> None:
        """Something changed.  `lock` is held."""
        while self._waiting:  # If a signal ends it, the next one tells the rest.
            self._waiting.pop().release()
