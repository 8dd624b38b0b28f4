"""Whether a thread of ZeroMQ's has done all that it was given: then it sleeps until there is more.

ZeroMQ does not tell, and Linux does.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


def threads() -> set[int]:
    """The ids of the threads of this process; none where the system does not tell."""
    with suppress(OSError):
        return set(map(int, os.listdir(_TASKS)))
    return set()


class IoThread:
    """The I/O thread *number* of a context.  *candidates*: the threads that were started with it,
    by their ids."""

    def __init__(self, number: int, candidates: Collection[int]) -> None:
        self._end = f"/IO/{number}\n"
        """How libzmq names it, from 4.3 on."""
        self._candidates = candidates
        self._stat = -1

    @property
    def told(self) -> bool:
        """Whether the system tells of it."""
        if self._stat < 0 and self._candidates:
            self._find()
        return self._stat >= 0

    def _find(self) -> None:
        found = []
        for candidate in self._candidates:
            with suppress(OSError):  # It was another's, and has ended.
                if (_TASKS / f"{candidate}/comm").read_text().endswith(self._end):
                    found.append(candidate)
        if found:  # A thread names itself, when it has begun to run.
            self._candidates = ()
        if len(found) == 1:  # Else another context was made at the same time.
            with suppress(OSError):
                self._stat = os.open(_TASKS / f"{found[0]}/stat", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def asleep(self) -> bool:
        """Whether it waits for something to do; False if nobody tells."""
        if not self.told:
            return False
        # The state follows the name, which is in parentheses and may have any (proc(5)).
        return os.pread(self._stat, 256, 0).rpartition(b") ")[2][:1] == b"S"

    def close(self) -> None:
        """Tells nothing any more.  Again: nothing."""
        self._candidates = ()
        if self._stat >= 0:
            os.close(self._stat)
            self._stat = -1
