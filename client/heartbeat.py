"""When a client PINGs: as often as the broker told, and in the same moments as others.

What the PING of somebody idle costs a broker is that it wakes for it.  So those of many clients
come together, as timers do elsewhere that need not be exact (Linux's ``round_jiffies``, glib's
``g_timeout_add_seconds``).
"""

from __future__ import annotations

BEAT = 0.5
"""Seconds between two moments in which clients PING."""

BEATS = 10
"""So many of these moments, at least, are in a heartbeat; in a short one they are closer."""


class Heartbeat:
    """What the broker told last, or what is usual.  Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.phase = 0.0
        """What the clock that all clients share is ahead of it."""
        self.every, self.lease = 5.0, 15.0
        """Seconds between two PINGs, and of silence after which broker and client take each other
        for lost."""
        self.told = 0
        """Milliseconds between two, as the last PONG told that told any since WELCOME; else 0."""

    def go_by(self, heartbeat: int, lease: int, told: int) -> None:
        """The broker told both, in milliseconds; *told*: the first if by a PONG, else 0."""
        self.every = max(heartbeat / 1000, 0.01)
        self.lease = max(lease / 1000, 0.02)
        self.told = told

    def after(self, now: float) -> float:
        """When to PING next if it was done just *now*: in the last of the moments that come
        before the heartbeat is over."""
        due = now + self.every
        return due - (due + self.phase) % min(BEAT, self.every / BEATS)
