"""Whether there are descriptors left: libzmq ends the whole process when it gets none."""

from __future__ import annotations

import errno
import resource
import socket
from contextlib import ExitStack

MORE = "allow more ('ulimit -n')"
"""What to do if there are not."""


def descriptors_needed(count: int) -> int:
    """0 if this process may open *count* files or sockets more; else how many it needs, with those
    that it has: the limit by which it may.  Raises OSError if the system grants none for another
    reason than that there are too many."""
    with ExitStack() as taken:
        for found in range(count):
            try:
                taken.enter_context(socket.socket())
            except OSError as error:
                if error.errno == errno.EMFILE:
                    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
                    return limit + count - found
                if error.errno != errno.ENFILE:
                    raise
                return count  # All processes have too many: it is not this one's limit.
    return 0
