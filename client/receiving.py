"""The commands that receive: ``chat join`` and ``chat listen``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ..command.run import complain
from ..command.status import Status
from ..wire.errors import Code
from .client import Client
from .errors import NameRefused
from .events import Broadcast, Direct, Event, Joined, Left, Missed
from .feed import Answer, Feed, Help, Quit
from .identity import Identity
from .input import EchoLine, HelpLine, InfoLine, QuitLine, SendLine, help_lines, parse_line
from .interrupts import Interrupts
from .options import Shared
from .output import Output, watch_reader
from .pipeline import Pipeline, Receipt
from .render import Renderer
from .sending import named, report_change, report_entry
from .starts import Since


class Bounds(NamedTuple):
    """How long to receive.  Seconds; None for no bound."""

    messages: int | None
    total: float | None
    quiet: float | None

    @property
    def given(self) -> bool:
        return any(bound is not None for bound in self)


class Meter:
    """Tells when the bounds are reached."""

    def __init__(self, bounds: Bounds, now: float) -> None:
        self._bounds = bounds
        self._until = None if bounds.total is None else now + bounds.total
        self._last = now
        self._counted = 0

    def count(self, now: float) -> None:
        """A message was printed."""
        self._counted += 1
        self._last = now

    @property
    def left(self) -> int | None:
        """Messages until the count is reached; None without a count."""
        return None if self._bounds.messages is None else self._bounds.messages - self._counted

    @property
    def reached(self) -> bool:
        return self.left is not None and self.left <= 0

    def pause(self, now: float, waiting: int = 0) -> float | None:
        """Seconds until time is up, 0 if it is; None without a bound in time.

        While messages are *waiting* to be printed it is not silent."""
        ends = [] if self._until is None else [self._until]
        if self._bounds.quiet is not None and not waiting:
            ends.append(self._last + self._bounds.quiet)
        return max(min(ends) - now, 0.0) if ends else None

    def restart(self, now: float) -> None:
        """Time counts from now on."""
        self._until = None if self._bounds.total is None else now + self._bounds.total
        self._last = max(self._last, now)

    @property
    def status(self) -> Status:
        """The exit status when time is up."""
        return Status.DONE if self._bounds.messages is None else Status.OUT_OF_TIME


_KINDS: dict[str, tuple[type[Event], ...]] = {
    "direct": (Direct,),
    "broadcast": (Broadcast,),
    "presence": (Joined, Left),
}


class Printer:
    """Prints events, and counts those that are counted."""

    def __init__(self, output: Output, meter: Meter, only: str | None = None) -> None:
        self._output = output
        self._meter = meter
        self._wanted = _KINDS[only] if only else (Broadcast, Direct, Joined, Left)
        # Somebody who waits for a message is not waiting for people who come and go.
        self._counted = _KINDS["presence"] if only == "presence" else (Broadcast, Direct)

    def show(self, event: Event, now: float) -> None:
        if report_change(event):
            return
        if isinstance(event, (Missed, *self._wanted)):
            self._output.event(event)
            if isinstance(event, self._counted):
                self._meter.count(now)


def run_listen(
    shared: Shared,
    reconnect: float,
    bounds: Bounds,
    starts: tuple[Since, Since],
    only: str | None,
    render: Renderer | None,
    end: str,
) -> int:
    """Prints what arrives until a bound is reached."""
    public, direct = starts
    with (
        Interrupts(Status.DONE) as interrupts,
        Client(
            shared.user,
            shared.broker,
            since=public,
            since_direct=direct,
            presence=shared.user is not None or only == "presence",
            timeout=shared.timeout,
            reconnect=reconnect,
            exclusive=False,
            identity=named(shared),
            interrupts=interrupts,
        ) as client,
    ):
        output = Output(render, as_json=shared.json, end=end, interrupts=interrupts)
        meter = Meter(bounds, time.monotonic())
        printer = Printer(output, meter, only)
        watch_reader(output, client.notify)
        announced = False

        def something_new() -> bool:
            news = client.waiting_events > 0 or (client.listening and not announced)
            return news or output.closed

        while not meter.reached:
            pause = meter.pause(time.monotonic(), client.waiting_events)
            if pause == 0:
                return meter.status
            client.wait_until(something_new, pause)
            if output.closed:
                break
            if client.listening and not announced:
                announced = True
                complain("chat", "listening")
            most = 1000 if meter.left is None else min(meter.left, 1000)
            now = time.monotonic()
            for event in client.receive_many(0, most):
                printer.show(event, now)
            output.flush()
    return Status.DONE


def _carry_out(line: str, client: Client, pipeline: Pipeline) -> Receipt | Answer | Help | None:
    """Does what a line of line mode asks for."""
    match parse_line(line):
        case SendLine(to, text):
            return pipeline.send(to, text)
        case EchoLine(text):
            return pipeline.echo(text)
        case InfoLine():
            return Answer(client.users(client.patience))
        case HelpLine():
            return Help()
        case QuitLine():
            raise Quit
    return None


class Joining(NamedTuple):
    """Who joins, and how."""

    name: str
    attach: bool
    """Beside another session of the same user."""
    reconnect: float
    """Seconds to go on trying when the broker is gone."""


@contextmanager
def joined(shared: Shared, joining: Joining, interrupts: Interrupts) -> Iterator[Client]:
    name, attach, reconnect = joining
    identity = Identity.of(shared.broker, name)
    if not attach and not identity.lock():
        words = f"{identity.name!r} is already joined on {shared.broker}"
        raise NameRefused(Code.ALREADY_JOINED.value, words)
    try:
        with Client(
            name,
            shared.broker,
            timeout=shared.timeout,
            reconnect=reconnect,
            exclusive=not attach,
            identity=identity,
            interrupts=interrupts,
        ) as client:
            yield client
    finally:
        identity.unlock()


def run_lines(shared: Shared, joining: Joining, bounds: Bounds, stay: bool) -> int:
    """Line mode: each line of stdin is a command."""
    refused = False
    with Interrupts() as interrupts, joined(shared, joining, interrupts) as client:
        output = Output(as_json=shared.json, interrupts=interrupts)
        meter = Meter(bounds, time.monotonic())
        printer = Printer(output, meter)
        feed = Feed(client, _carry_out)
        feed.start()
        watch_reader(output, client.notify)

        def show_events(most: int | None = None) -> None:
            now = time.monotonic()
            for event in client.receive_many(0, 1000 if most is None else min(most, 1000)):
                printer.show(event, now)
            output.flush()

        def something_new() -> bool:
            gone = output.closed and not feed.finishing
            return feed.ready or client.waiting_events > 0 or gone

        while not feed.finished:
            client.wait_until(something_new)
            if output.closed:
                feed.finish()
            show_events()
            for entry in feed.take():
                if isinstance(entry.result, Answer):
                    output.users(entry.result.users)
                elif isinstance(entry.result, Help):
                    print("\n".join(help_lines()), file=sys.stderr)
                else:
                    refused |= report_entry(entry, output)
            output.flush()
        if stay:
            meter.restart(time.monotonic())
            while not meter.reached:
                pause = meter.pause(time.monotonic(), client.waiting_events)
                if pause == 0:
                    return Status.REFUSED if refused else meter.status
                client.wait_until(lambda: client.waiting_events > 0 or output.closed, pause)
                if output.closed:
                    break
                show_events(meter.left)
        elif not output.closed:
            # What was said up to the last line is shown, one's own messages included; in
            # turns, if there is more than fits.
            while not client.sync(client.patience):
                if not client.waiting_events:
                    complain("chat", "left before all that was said could be shown")
                    break
                show_events()
            while client.waiting_events:
                show_events()
    return Status.REFUSED if refused else Status.DONE
