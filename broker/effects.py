"""What the core wants done: values that ``server`` performs, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .log import Log, Row


class Deliver(NamedTuple):
    """A frame for one connection.  If its pipe is full, it is skipped: everything in it can
    be asked for again.  If the connection is gone, the core wants to know (`Broker.lost`)."""

    identity: bytes
    frame: bytes


class Publish(NamedTuple):
    """A frame for everyone who subscribed to *topic*."""

    topic: bytes
    frame: bytes
    log: Log | None = None
    rows: Sequence[Row] = ()
    """What the frame tells, if it is rows of *log*: so they can be joined with those of the next
    turns."""


class Note(NamedTuple):
    """A line for the broker's log: a word of a small vocabulary, and fields."""

    what: str
    fields: dict[str, object]
    grave: bool = False
    """Whether an operator who does not ask for more (``-v``) is told, too."""


Effect = Deliver | Publish | Note
