"""Gathers what is to be published while what was published before is on its way.

To send a frame to thousands takes ZeroMQ's thread tens of milliseconds, and each of those who hear
it has to wake for it.  What is said meanwhile would have to wait for that thread: so it goes out in
one frame.
"""

from __future__ import annotations

import math
from itertools import groupby
from operator import attrgetter

from ..wire.codec import coalesce
from ..wire.messages import ECHO_LOG
from .counts import Counts
from .effects import Publish
from .log import pack_batches
from .outgoing import MOST_PUBLISHED
from .publisher import Publisher
from .slow import Slow

A_SUBSCRIBER = 8e-6
"""Seconds that it takes ZeroMQ's thread to send a frame to one of thousands (docs/decisions.md)."""

AT_MOST = 8
"""Times as long it may take, as where others want the processor.  Then it is not waited for."""

LOOK_EVERY = 0.001
"""Seconds after which it is looked again whether it has been sent.  If that takes less, it is not
waited for: a poll cannot."""


class Gathering:
    def __init__(self, publisher: Publisher, slow: Slow, counts: Counts) -> None:
        self._publisher = publisher
        self._slow = slow
        self._counts = counts
        self._waiting: dict[bytes, list[Publish]] = {}
        """By topic."""
        self._size = 0
        """Bytes of it."""
        self._look_at = self._until = 0.0
        """In monotonic seconds: when to look whether what was published last has been sent, and
        until when that is waited for."""

    def add(self, effect: Publish) -> None:
        """Has it published, soon."""
        self._waiting.setdefault(effect.topic, []).append(effect)
        self._size += len(effect.frame)

    def pause(self, now: float) -> float:
        """Seconds until `publish` has something to do; infinite if nothing waits."""
        return max(self._look_at - now, 0.0) if self._waiting else math.inf

    def publish(self, now: float) -> None:
        """Publishes what waits, if it is time or a frame is full.  *now*: monotonic seconds."""
        if not self._waiting or (self._size < MOST_PUBLISHED and self._is_early(now)):
            return
        for topic, effects in self._waiting.items():
            for frame in [effects[0].frame] if len(effects) == 1 else _joined(effects):
                if self._publisher.send(topic, frame):
                    self._counts.published += 1
                    self._slow.publishes(topic, len(frame))
                else:
                    # As by one that does not read: the log has it.
                    self._counts.skipped += 1
        self._waiting.clear()
        self._size = 0
        takes = self._slow.subscribers * A_SUBSCRIBER
        if takes < LOOK_EVERY:
            self._look_at = self._until = 0.0
        elif self._publisher.tells:
            self._look_at, self._until = now + LOOK_EVERY, now + takes * AT_MOST
        else:
            self._look_at = self._until = now + takes

    def _is_early(self, now: float) -> bool:
        """Whether what was published before is on its way yet, as far as is known."""
        if now < self._look_at:
            return True
        if now >= self._until or self._publisher.sent:
            return False
        self._look_at = now + LOOK_EVERY
        return True


def _joined(effects: list[Publish]) -> list[bytes]:
    """The frames of *effects* as few.  Rows of a log become one batch, as those of one turn do: to
    decode a batch costs a client as much as nine events."""
    pieces: list[bytes] = []
    for log, some in groupby(effects, attrgetter("log")):
        if log is None:
            pieces += [effect.frame for effect in some]
        else:
            rows = [row for effect in some for row in effect.rows]
            pieces += pack_batches(ECHO_LOG, log, rows)
    return coalesce(pieces, MOST_PUBLISHED)
