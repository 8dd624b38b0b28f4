"""``chat listen --exec``: a command for each message, which is read when the command has ended.

Messages stay in the client while their commands run.  They are taken from it in their order,
each when its command and those of all before it have ended; only what was taken is confirmed
as read.  So who is killed in between gets the rest again: every message is handled at least
once.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping

from ..command.run import complain
from .action import Action, event_words, failure_words, variables
from .client import Client
from .errors import ClientError
from .escape import escape
from .events import Broadcast, Direct, Event, Missed
from .interrupts import Interrupts
from .meter import Meter, counted_kinds
from .options import Shared
from .render import missed_words
from .sending import report_change

AHEAD = 100
"""Messages that may be handled while the command of one before them still runs.  If this
process is killed then, they are handled again."""


def environment(shared: Shared, name: str) -> dict[bytes, bytes]:
    """This process's, with what has a ``chat`` in the command reach the same broker as *name*.

    An observer has no name: then a ``chat`` finds one as ever."""
    # Beside a broker's address a port would contradict it.
    found = {key: value for key, value in os.environb.items() if key != b"CHAT_PORT"}
    found[b"CHAT_BROKER"] = shared.broker.encode()
    if name:
        found[b"CHAT_USER"] = name.encode()
    if shared.profile is not None:
        found[b"CHAT_PROFILE"] = shared.profile.encode()
    return found


class Job:
    """A command that runs for one message."""

    def __init__(
        self,
        event: Event,
        command: tuple[str, ...],
        given: bytes,
        env: Mapping[bytes, bytes],
        ended: Callable[[], None],
    ) -> None:
        """*given*: for its stdin.  *ended*: called in another thread when it has ended.

        Raises OSError if it cannot be started."""
        self.event = event
        self.status: int | None = None
        """How it ended, as `subprocess` tells; None while it runs."""
        self.handled = False
        """Whether the message is done with."""
        self._ended = ended
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, env=env)
        # It may read nothing for as long as it likes, and its stdin may hold more than a pipe.
        self._thread = threading.Thread(target=self._run, args=(given,), daemon=True)
        self._thread.start()

    def _run(self, given: bytes) -> None:
        self._process.communicate(given)
        self.status = self._process.returncode
        self._ended()

    def wait(self) -> None:
        """Returns when it has ended."""
        self._thread.join()


class Acting:
    """Has the messages that wait in a client handled by commands."""

    def __init__(
        self,
        client: Client,
        action: Action,
        stdin_of: Callable[[Event], str],
        env: Mapping[bytes, bytes],
        *,
        meter: Meter,
        only: str | None,
        interrupts: Interrupts,
    ) -> None:
        self.failed = False
        """Whether a command failed."""
        self._client = client
        self._action = action
        self._stdin_of = stdin_of
        self._env = env
        self._meter = meter
        self._kinds = counted_kinds(only)
        self._interrupts = interrupts
        self._row: deque[Job | None] = deque()
        """The first events that wait in the client: those that were looked at.  None for one
        that nothing is run for."""
        self._running: list[Job] = []

    @property
    def _room(self) -> bool:
        left, running = self._meter.left, len(self._running)
        enough = running >= self._action.jobs or (left is not None and running >= left)
        return not enough and len(self._row) < max(AHEAD, self._action.jobs)

    @property
    def ready(self) -> bool:
        """Whether `step` has something to do."""
        news = self._room and self._client.waiting_events > len(self._row)
        return news or any(job.status is not None for job in self._running)

    def step(self, now: float) -> None:
        """Sees which commands have ended, and begins others.

        Raises what a signal asks for, and ClientError if a command cannot be started: its
        message is not read then, nor what comes after it."""
        self._collect(now)
        while self._room:
            # While there is always something to do, nothing else looks.
            self._interrupts.check()
            events = self._client.waiting(len(self._row), len(self._row) + 1)
            if not events:
                break
            self._row.append(self._begin(events[0]))
        self._take()

    def finish(self, now: Callable[[], float]) -> None:
        """Waits until what runs has ended."""
        for job in self._running:
            job.wait()
        self._collect(now())

    def _begin(self, event: Event) -> Job | None:
        if report_change(event):
            return None
        if isinstance(event, Missed):
            complain("chat", missed_words(event))
            return None
        if not isinstance(event, self._kinds) or self._is_own(event):
            return None
        given = self._stdin_of(event).encode()
        env = {name.encode(): value.encode() for name, value in variables(event).items()}
        command = self._action.command
        try:
            job = Job(event, command, given, {**self._env, **env}, self._client.notify)
        except OSError as error:
            why = f"cannot start {command[0]!r}: {error.strerror or error}"
            raise ClientError(f"exec: {event_words(event)}: {why}") from None
        self._running.append(job)
        return job

    def _is_own(self, event: Event) -> bool:
        # A command that answers would be run for its answer, and answer that.
        return isinstance(event, Broadcast | Direct) and event.sender == self._client.name

    def _collect(self, now: float) -> None:
        """Looks at those that have ended."""
        for job in [job for job in self._running if job.status is not None]:
            self._running.remove(job)
            assert job.status is not None
            # Ctrl-C, or a service manager that stops, ends the command too: then the message
            # was not handled.  A shell tells a signal by a status from 128 on.
            ended_by_itself = 0 <= job.status < 128
            job.handled = ended_by_itself or not self._interrupts.pending
            if not job.handled:
                continue
            if job.status:
                self.failed = True
                words = f"exec: {event_words(job.event)}: {failure_words(job.status)}"
                complain("chat", escape(words))
            self._meter.count(now)
        self._take()

    def _take(self) -> None:
        """Takes from the client what is done with, and everything before it too."""
        done = 0
        while self._row and (self._row[0] is None or self._row[0].handled):
            self._row.popleft()
            done += 1
        if done:
            self._client.handled(done)
