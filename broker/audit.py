"""The audit log: what was decided, by whom, about whom.  Never what a user said.

One JSON object a line, appended to a file that only its owner may read, and to the log as well.
A flood of refusals makes a few lines a second and one that counts the rest.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ..command.files import open_shared
from .clock import TurnClock, iso
from .logs import log, say

FILE = "audit.log"
"""Its name in the data folder."""

MOST = 10
"""Lines of one kind that are written within `WITHIN` seconds; the others are counted."""

WITHIN = 1.0


class _Kind:
    """What was written lately of one kind of decision."""

    __slots__ = ("began", "suppressed", "written")

    def __init__(self, began: float) -> None:
        self.began = began
        self.written = 0
        self.suppressed = 0


GRAVE = frozenset({"cut_off"})
"""What an operator is to see in the log without asking for more."""


class Audit:
    """Writes decisions to *path*; None: to the log alone.  *clock*: tells when.

    It never fails: what cannot be written is said in the log, once for as long as it lasts.
    """

    def __init__(self, path: Path | None, clock: TurnClock) -> None:
        self._path = path
        self._clock = clock
        self._file = -1
        self._torn = False
        """Whether the last line may be there in part."""
        self._failing = False
        self._kinds: dict[tuple[str, Any], _Kind] = {}
        """Few: there are so many events and codes."""
        self._open()

    def tidy(self) -> None:
        """Sums up what was suppressed, when its second is over."""
        for kind, lately in list(self._kinds.items()):
            if self._clock.now - lately.began >= WITHIN:
                self._sum_up(kind)

    def note(self, event: str, **fields: Any) -> None:
        """Writes that *event* was decided.  Of one event and ``code`` it writes so many lines a
        second."""
        kind = event, fields.get("code")
        lately = self._kinds.get(kind)
        if lately is None:
            lately = self._kinds[kind] = _Kind(self._clock.now)
        if lately.written >= MOST:
            lately.suppressed += 1
            return
        lately.written += 1
        self._write(event, fields)

    def _sum_up(self, kind: tuple[str, Any]) -> None:
        lately = self._kinds.pop(kind)
        if lately.suppressed:
            event, code = kind
            fields = {} if code is None else {"code": code}
            self._write(event, fields | {"suppressed": lately.suppressed})

    def _write(self, event: str, fields: dict[str, Any]) -> None:
        say(event, event in GRAVE, **fields)
        if self._file < 0:
            return
        decision = {"time": iso(self._clock.wall), "event": event, **fields}
        line = json.dumps(decision).encode() + b"\n"
        if self._torn:
            line = b"\n" + line
        try:
            self._torn = os.write(self._file, line) < len(line)
            failed = "it is full" if self._torn else ""
        except OSError as error:
            failed = error.strerror or str(error)
        self._tell(failed)

    def _tell(self, failed: str) -> None:
        if failed and not self._failing:
            log.warning("audit path=%s cannot be written: %s", self._path, failed)
        self._failing = bool(failed)

    # --- the file -------------------------------------------------------------------------

    def _open(self) -> None:
        if self._path is None:
            return
        try:
            # It may be a pipe, which would have the broker wait for who reads it.
            how = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK
            self._file = open_shared(self._path, how)
            self._tell("")
        except OSError as error:
            self._tell(error.strerror or str(error))

    def reopen(self) -> None:
        """Goes on in a new file, if the one before was moved away.  If it cannot be opened, in the
        one before."""
        before = self._file
        self._open()
        if before >= 0 and self._file != before:
            # It may be the same one: then what is torn still is.
            self._torn = self._torn and os.path.sameopenfile(before, self._file)
            os.close(before)

    def _shut(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._torn = False

    def close(self) -> None:
        """Sums up, and closes the file.  Again: nothing."""
        for kind in list(self._kinds):
            self._sum_up(kind)
        self._shut()


def note_once(folder: Path, event: str, **fields: Any) -> None:
    """Writes what was decided without a broker, about the data in *folder*, by whoever runs this
    process."""
    written = Audit(folder / FILE, TurnClock(time.time_ns() // 1_000_000))
    try:
        written.note(event, **{"by": os.getuid()} | fields)
    finally:
        written.close()
