"""Waits for what else comes from somebody who says much, so that it goes out together.

libzmq keeps FRAMES_WAITING of one connection.  So who sends one message a frame would be heard some
sixty at a time; and the more goes out together, the less that costs, above all to many readers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sized

import zmq

from .kernel import unread
from .said import Said
from .sockets import FRAMES_WAITING

MUCH = FRAMES_WAITING - 8
"""Frames of one connection from which on it may have more to say than libzmq keeps of it, which
adds some while they are taken."""

ENOUGH, FOR_A_SUBSCRIBER, MOST = 2 * FRAMES_WAITING, 4, 512
"""Frames that are enough, and so many more for each connection that may hear them, but no more than
the last: the more there are, the more is saved by it (docs/decisions.md)."""

LONG_ENOUGH = 0.003
"""Seconds."""


class Together:
    """*waiting*: what was taken from *router*.  *subscribers*: who may hear it."""

    def __init__(
        self, router: zmq.Socket[bytes], waiting: Mapping[bytes, Said], subscribers: Sized
    ) -> None:
        self._router = router
        self._waiting = waiting
        self._subscribers = subscribers

    def wait(self, begun: float, taken: int, last: int) -> bool:
        """Whether more is to be taken, when it is there.

        *taken*: how many frames were since *begun* (monotonic seconds); *last*: at the end."""
        if last < MUCH or time.monotonic() - begun > LONG_ENOUGH:
            return False
        if taken >= min(ENOUGH + FOR_A_SUBSCRIBER * len(self._subscribers), MOST):
            return False
        # The kernel has it, so it will come.
        if not any(len(said) >= MUCH and unread(said.caller.fd) for said in self._waiting.values()):
            return False
        self._router.poll(1)
        return True
