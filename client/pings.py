"""When a client PINGs beside its heartbeat, and how far it told that its mail was shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..wire.messages import Cursor
from .heartbeat import Heartbeat

CONFIRM_WITHIN = 0.5
"""Seconds after which the broker hears that the program has shown mail.  Of a reader that is
killed, the next shows again what it showed since."""


class Pings:
    """Those of one client.  Times are seconds of a monotonic clock."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self._next = 0.0
        self._extra: deque[float] = deque()
        """When to PING besides."""
        self._confirmed: Cursor | None = None
        """How far in the mailbox the program has read, as the last one told."""
        self._confirming = False
        """Whether one is due soon to tell more."""
        self._heard = 0
        """Bytes received since the last one."""

    @property
    def moments(self) -> list[float]:
        """When the next ones may be due."""
        return [self._next, *list(self._extra)[:1]]

    def heard(self, size: int) -> None:
        """A frame of so many bytes came."""
        self._heard += size

    def welcomed(self, now: float, again: bool) -> None:
        """The broker answers, anew or *again*."""
        self._next = now if again else self._heartbeat.after(now)

    def lost(self) -> None:
        """The connection is: what was to be asked over it is not."""
        self._extra.clear()

    def hasten(self, now: float) -> None:
        """The heartbeat may be a shorter one."""
        self._next = min(self._next, self._heartbeat.after(now))

    def at_once(self) -> None:
        """One is to go out now."""
        self._extra.appendleft(0.0)

    def at(self, moments: Iterable[float]) -> None:
        """One is to go out at each of *moments*."""
        self._extra = deque(sorted([*self._extra, *moments]))

    def confirm(self, read: Cursor | None, now: float) -> bool:
        """The program may have read as far as *read*; whether one is to tell so soon that was not
        due before."""
        if self._confirming or read == self._confirmed:
            return False
        self._confirming = True
        self._next = min(self._next, now + CONFIRM_WITHIN)
        return True

    def is_due(self, now: float, most: int) -> bool:
        """Whether one is to go out now; also if over *most* bytes came since the last one."""
        due = now >= self._next or self._heard > most
        while self._extra and now >= self._extra[0]:
            self._extra.popleft()
            due = True
        if due:
            self._next = self._heartbeat.after(now)
        return due

    def sent(self, read: Cursor | None) -> None:
        """One goes out, and tells how far the program has read."""
        self._heard = 0
        self._confirming = False
        self._confirmed = read
