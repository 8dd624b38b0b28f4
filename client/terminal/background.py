"""The threads beside the one that draws: one waits for events, one for answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue

from ..client import Client
from ..errors import ClientError
from ..events import Event
from .conversation import Conversation, Job

MOST_EVENTS = 500
"""Events that are taken from the client at once."""

MOST_CHARACTERS = 16 * 1024
"""Said in events that are shown at once; then keys have their turn.  It takes some hundredths of a
second to make rows of them, at worst."""


class Background:
    """Hands to the thread that draws what the broker says.

    *post* has something done in that thread, soon, and may be called from any; *fail* is called
    there with what ends the conversation.
    """

    def __init__(
        self,
        client: Client,
        post: Callable[[Callable[[], None]], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._client = client
        self._post = post
        self._fail = fail
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._unshown: list[Event] = []
        self._receiving: threading.Thread | None = None
        self._stopping = threading.Event()

    def work(self, job: Job) -> None:
        """Has *job* done, after those before it."""
        self._jobs.put(job)

    def start(self, conversation: Conversation) -> None:
        self._receiving = self._thread("receiving", partial(self._receive, conversation))
        self._receiving.start()
        self._thread("waiting for answers", self._do_jobs).start()

    def _thread(self, name: str, run: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=partial(self._until_it_fails, run), name=name, daemon=True)

    def stop(self) -> list[Event]:
        """Ends what waits for events; gives those that were taken and not shown.  Whatever waits
        for an answer ends when the client is closed."""
        self._stopping.set()
        self._client.notify()
        self._jobs.put(None)
        if self._receiving is not None:
            self._receiving.join()
        return self._unshown

    def _until_it_fails(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001 - told in the thread that draws
            if not (self._client.closed and isinstance(error, ClientError)):
                self._post(partial(self._fail, error))

    def _receive(self, conversation: Conversation) -> None:
        client, unresolved = self._client, conversation.unresolved

        def something_new() -> bool:
            resolved = any(receipt.done for receipt in [*unresolved][:1])
            news = client.waiting_events > 0 or client.greetings != conversation.greetings
            return news or resolved or self._stopping.is_set()

        while client.wait_until(something_new) and not self._stopping.is_set():
            # No more is taken before this is shown: what was not counts as unread.
            self._unshown = client.receive_many(0, MOST_EVENTS)
            shown = threading.Event()
            self._post(partial(self._show, conversation, shown))
            while not shown.wait(0.2) and not self._stopping.is_set():
                continue

    def _show(self, conversation: Conversation, shown: threading.Event) -> None:
        count = _as_many_as_fit(self._unshown)
        events, self._unshown = self._unshown[:count], self._unshown[count:]
        conversation.take(events)
        if self._unshown:
            self._post(partial(self._show, conversation, shown))
        else:
            shown.set()

    def _do_jobs(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._post(job())


def _as_many_as_fit(events: Sequence[Event]) -> int:
    """How many of *events* are shown at once: at least one, if there is one."""
    characters = 0
    for count, event in enumerate(events, 1):
        characters += len(getattr(event, "text", ""))
        if characters >= MOST_CHARACTERS:
            return count
    return len(events)
