"""What this process holds in memory: growth that the broker cannot explain is ZeroMQ's.

Linux only, as the watch that asks.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable

JUMP = 4 * 2**20
"""Bytes by which what the process holds grew between two looks, beside what was stored, that are
a sign of somebody who goes too far."""

COUNT_SHARE = 0.02
"""Of the time, that counting memory may take."""

WORK = 0.002
"""Seconds of CPU that ZeroMQ's thread needs at least to make memory grow by JUMP."""

CALM = 0.1
"""Of a core, that ZeroMQ's thread takes less of while nobody can be filling memory fast."""

WORK_SHARE = 0.1
"""Of that thread's CPU, that counting may take: with thousands of idle clients it takes 2 ms, and
nothing grows."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Memory:
    """What the process holds, and whether it grew.

    *stored*: tells how many bytes of it the broker itself keeps.
    """

    def __init__(self, stored: Callable[[], int]) -> None:
        self._stored = stored
        self._statm = _open_statm()
        self._held = self._explained = 0
        self._asked = self._worked = 0.0
        self.calm = False
        """Whether ZeroMQ's thread did little between the last two times that `grew` was asked."""
        self._count_at = 0.0
        self._count_from = 0.0
        """Seconds of CPU that other threads will have used when it is worth while to count."""

    @property
    def told(self) -> bool:
        """Whether the system tells what this process holds."""
        return self._statm >= 0

    def grew(self, now: float) -> bool:
        """Whether this process holds much more than when that was last asked, and not because it
        stored as much.  *now*: seconds of a monotonic clock."""
        # Of CPU, as that it had to wait for it shall not make it blind.
        started = time.thread_time()
        worked = time.process_time() - started
        self.calm = worked - self._worked < CALM * (now - self._asked)
        self._worked, self._asked = worked, now
        if now < self._count_at or worked < self._count_from:
            return False
        held = held_by(self._statm)
        # Where memory is in very many pieces, to count it takes its time.
        taken = time.thread_time() - started
        self._count_at = now + taken / COUNT_SHARE
        self._count_from = worked + max(WORK, taken / WORK_SHARE)
        explained = self._stored()
        # What is no longer stored need not have been given back: it hides and adds nothing.
        grew = held - self._held - max(explained - self._explained, 0) > JUMP
        self._held, self._explained = held, explained
        return grew

    def close(self) -> None:
        """Again: nothing."""
        if self._statm >= 0:
            os.close(self._statm)
        self._statm = -1


def _open_statm() -> int:
    """Where the system tells how much memory this process holds; -1 if it does not."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


class _MallInfo(ctypes.Structure):
    """struct mallinfo2 of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


_mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc 2.33
if _mallinfo2 is not None:
    _mallinfo2.restype = _MallInfo


def held_by(statm: int) -> int:
    """Bytes of memory that this process has in use; where the system does not tell, those that it
    was ever given: what one attack has left, the next one takes without being seen."""
    if _mallinfo2 is None:
        return int(os.pread(statm, 100, 0).split()[1]) * _PAGE
    info = _mallinfo2()
    return int(info.uordblks + info.hblkhd)
