"""stdout: one line per event, flushed before the program waits."""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..command.run import silence_stdout
from .events import Event, UserInfo
from .interrupts import Interrupts
from .render import Renderer, json_line, json_lines, text_lines, users_json, users_line


class Output:
    """Writes lines to stdout in one of the formats of docs/cli.md."""

    def __init__(
        self,
        render: Renderer | None = None,
        *,
        as_json: bool = False,
        end: str = "\n",
        interrupts: Interrupts | None = None,
    ) -> None:
        self.json = as_json
        self.closed = False
        """Whether nobody reads what is written any more; then nothing is."""
        self._lines_of = render or (json_lines if as_json else text_lines)
        self._end = end
        self.told_away: set[str | None] = set()
        """Of whom it was said that they are away, and will get what is sent."""
        self._lines: list[str] = []
        self._interrupts = interrupts or Interrupts()

    def events(self, events: Sequence[Event]) -> None:
        self._lines += self._lines_of(events)

    def users(self, users: Sequence[UserInfo]) -> None:
        """The answer to ``info``."""
        self._lines.append(users_json(users) if self.json else users_line(users))

    def record(self, **fields: Any) -> None:
        """A JSON object that is no event."""
        self._lines.append(json_line(fields))

    def flush(self) -> None:
        """Writes what was collected.  To be called before waiting for anything."""
        if self._lines:
            text = self._end.join(self._lines) + self._end
            self._lines.clear()
            if self.closed:
                return
            # A reader that does not read must not keep Ctrl-C from working.
            try:
                with self._interrupts.exposed():
                    sys.stdout.write(text)
                    sys.stdout.flush()
            except BrokenPipeError:
                self.closed = True
                silence_stdout()


def watch_reader(output: Output, changed: Callable[[], None]) -> None:
    """Notices that whoever read stdout has gone, even while there is nothing to write.

    Without it `chat listen | head -1` would stay until the next message.  *changed* is called,
    in another thread, when *output* was closed for it.
    """

    def watch() -> None:
        poll = select.poll()
        # No event is asked for: an error on the pipe is reported all the same.
        poll.register(sys.stdout.fileno(), 0)
        poll.poll()
        output.closed = True
        changed()

    threading.Thread(target=watch, name="stdout", daemon=True).start()
