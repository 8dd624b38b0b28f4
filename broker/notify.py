"""What systemd, or whoever started the broker, is told: ready, alive, stopping (sd_notify(3)).

Messages go to the datagram socket that NOTIFY_SOCKET names.  Without that nothing is done.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Mapping

log = logging.getLogger("chatbroker")

PATIENCE = 1.0
"""Seconds to wait until READY or STOPPING is taken, when nobody waits for the broker.  What is told
in between is dropped if it is not taken at once."""

SIGNS = 4
"""Signs of life in each interval of the watchdog: one that is late or lost does no harm."""


class Notifier:
    """The broker's end of sd_notify, as *environment* asks for it.

    One message that cannot be told is worth a warning, and no reason to stop serving.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket: socket.socket | None = None
        self.interval = math.inf
        """Seconds between two signs of life; so often `alive` has to be called at least."""
        self._due = math.inf
        where = environment.get("NOTIFY_SOCKET", "")
        if not where:
            return
        if where[0] not in "/@":
            log.warning("notify address=%s is not understood: nobody is told anything", where)
            return
        # A name that begins with NUL is not in the file system (unix(7), "Abstract").
        self._address = "\0" + where[1:] if where[0] == "@" else where
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for_us = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
        microseconds = environment.get("WATCHDOG_USEC", "")
        if for_us and microseconds.isdecimal() and int(microseconds):
            self.interval = int(microseconds) / 1_000_000 / SIGNS
            self._due = -math.inf

    def ready(self, status: str) -> None:
        """It serves."""
        self._tell(f"READY=1\nSTATUS={status}", PATIENCE)

    def status(self, words: str) -> None:
        """What there is to say of it, on one line."""
        self._tell("STATUS=" + words.replace("\n", " "))

    def alive(self, now: float) -> None:
        """It turned at *now* (monotonic clock, seconds)."""
        if now >= self._due:
            self._due = now + self.interval
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1\nSTATUS=stopping", PATIENCE)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, words: str, patience: float = 0.0) -> None:
        if self._socket is None:
            return
        self._socket.settimeout(patience)
        try:
            self._socket.sendto(words.encode(errors="replace"), self._address)
        except BlockingIOError:
            return  # The supervisor is busy; the next sign of life is a quarter interval away.
        except OSError as error:
            log.warning("notify address=%r cannot be reached: %s", self._address, error)
