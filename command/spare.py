"""Whether there are descriptors left: libzmq ends the whole process when it gets none."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

MORE = "allow more ('ulimit -n')"
"""What to do if there are not."""


def spare_descriptors(count: int) -> bool:
    """Whether this process may open *count* files or sockets more.  Raises OSError if the system
    grants none for another reason than that there are too many."""
    with ExitStack() as taken:
        try:
            for _ in range(count):
                taken.enter_context(socket.socket())
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            return False
    return True
