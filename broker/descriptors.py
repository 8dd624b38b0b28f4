"""File descriptors: as many as the system grants, and a watch on how many are left.

At the limit ZeroMQ's I/O thread spins on accept(); so the broker refuses sessions before.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import time
from contextlib import suppress

log = logging.getLogger("chatbroker")

REFUSE_AT = 0.8
"""New sessions are refused when this share of the descriptors is in use."""

LOOK_EVERY = 1.0
"""Seconds between two counts.  Before Linux 6.2 one costs about 1 µs a descriptor."""

LOOK_AGAIN = 0.2
"""The same while sessions are refused: those that say nothing are about to be cut off."""

MOST = 1_000_000
"""More than this is not asked for: some systems grant what then costs memory to track."""


class Descriptors:
    """Raises the soft limit to the hard one when made."""

    def __init__(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                soft = wanted
            except (ValueError, OSError) as error:
                log.warning("descriptors limit=%d could not be raised: %s", soft, error)
        self.limit = MOST if soft == resource.RLIM_INFINITY else soft
        self.used = 0
        """How many were in use at the last look."""
        self._enough = True
        self._next_look = 0.0

    def in_use(self) -> int:
        """How many this process has open, or 0 where the system does not tell."""
        with suppress(OSError):
            # Linux 6.2 and later: the number, without a list of 18,000, which takes 18 ms.
            if counted := os.stat("/proc/self/fd").st_size:
                return counted
        for folder in ("/proc/self/fd", "/dev/fd"):
            try:
                return len(os.listdir(folder))
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    return self.limit  # Not one is left to look with.
        return 0

    def enough(self) -> bool:
        """Whether another session may come in."""
        now = time.monotonic()
        if now >= self._next_look:
            self.used = used = self.in_use()
            enough = used < REFUSE_AT * self.limit
            if enough != self._enough:
                log.warning(
                    "descriptors used=%d limit=%d: new sessions are %s",
                    used,
                    self.limit,
                    "accepted again" if enough else "refused",
                )
            self._enough = enough
            self._next_look = now + (LOOK_EVERY if enough else LOOK_AGAIN)
        return self._enough
