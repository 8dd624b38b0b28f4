"""What was said before one joined, from the newest to the oldest, as it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..events import Event, Missed
from ..history import History

PAGE = 100
"""Messages of a log that are fetched at once."""


class Backlog:
    """Both logs by time, read backwards from where the client began to follow them."""

    def __init__(self, history: History, began: Iterable[tuple[str, int]]) -> None:
        self._history = history
        self._ends = dict(began)
        """Of each log, the newest position that was not fetched yet; 0 when there is none."""
        self._fetched: dict[str, list[Event]] = {log: [] for log in self._ends}

    @property
    def exhausted(self) -> bool:
        """Whether there is no more."""
        return not any(self._ends.values()) and not any(self._fetched.values())

    def more(self, count: int) -> list[Event]:
        """The *count* messages before those that were given already, the oldest first.

        Raises NewHistory, Unreachable."""
        given: list[Event] = []
        messages = 0
        while messages < count:
            for log in self._ends:
                self._fetch(log, max(count, PAGE))
            fetched = [events for events in self._fetched.values() if events]
            if not fetched:
                break
            event = max(fetched, key=lambda events: getattr(events[-1], "time", 0)).pop()
            given.append(event)
            messages += not isinstance(event, Missed)
        return given[::-1]

    @property
    def ends(self) -> dict[str, int]:
        """Of each log, the newest position that was not given yet; 0 when there is none."""
        return {
            log: getattr(fetched[-1], "seq", 0) if (fetched := self._fetched[log]) else end
            for log, end in self._ends.items()
        }

    def rewind(self, given: Mapping[str, int]) -> None:
        """What was given of each log up to that position is to be given again."""
        for log, position in given.items():
            self._ends[log] = max(position, self._ends[log])
            self._fetched[log] = []  # All of it is older.

    def _fetch(self, log: str, count: int) -> None:
        end = self._ends[log]
        if not end or self._fetched[log]:
            return
        self._fetched[log], self._ends[log] = self._history.older(log, count, upto=end)
