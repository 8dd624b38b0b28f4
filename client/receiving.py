"""The commands that receive: ``chat join`` and ``chat listen``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import NamedTuple

from ..command.run import complain
from ..command.status import Status
from ..wire.errors import Code
from .acting import Acting, environment
from .action import Action, exact_texts
from .client import Client
from .errors import NameRefused
from .events import Broadcast, Direct, Joined, Left, Missed, Notice, Offline, Online
from .feed import Answer, Feed, Help, Quit
from .identity import Identity
from .input import EchoLine, HelpLine, InfoLine, QuitLine, SendLine, help_lines, parse_line
from .interrupts import Interrupts
from .meter import KINDS, Bounds, Meter, counted_kinds
from .options import Shared
from .output import Output, watch_reader
from .pipeline import Pipeline, Receipt, Receipts
from .render import Renderer, json_lines
from .sending import named, report_change, report_entry
from .starts import Since

A_STEP = 1000
"""Events that are printed together."""

_SPOKEN_OF = frozenset({Offline, Online, Notice})
"""What `report_change` tells of."""


class Printer:
    """Prints events, and counts those that are counted."""

    def __init__(self, output: Output, meter: Meter, only: str | None = None) -> None:
        self._output = output
        self._meter = meter
        wanted = KINDS[only] if only else (Broadcast, Direct, Joined, Left)
        self._printed = {Missed, *wanted}
        self._counted = counted_kinds(only)

    def print_from(self, client: Client, most: int | None, now: float) -> None:
        """Prints what waits in *client*, up to *most* events, and takes what is printed: the rest
        is unread the next time, whatever ends this."""
        events = client.waiting(0, A_STEP if most is None else min(most, A_STEP))
        kinds = [*map(type, events)]
        for event in events if _SPOKEN_OF.intersection(kinds) else ():
            report_change(event)
        printed = events
        if not self._printed.issuperset(kinds):
            printed = [event for event in events if type(event) in self._printed]
        self._output.events(printed)
        counted = sum(map(kinds.count, self._counted))
        if counted:
            self._meter.count(now, counted)
        handled = len(events)
        try:
            self._output.flush()
        finally:
            if self._output.unwritten:
                first = printed[len(printed) - self._output.unwritten]
                handled = next(at for at, event in enumerate(events) if event is first)
            client.handled(handled)


class Printing:
    """Has what waits in a client printed."""

    failed = False

    def __init__(self, client: Client, output: Output, meter: Meter, only: str | None) -> None:
        self._client = client
        self._meter = meter
        self._printer = Printer(output, meter, only)

    @property
    def ready(self) -> bool:
        """Whether `step` has something to do."""
        return self._client.waiting_events > 0

    def step(self, now: float) -> None:
        self._printer.print_from(self._client, self._meter.left, now)

    def finish(self, now: Callable[[], float]) -> None:
        """Nothing is under way between two steps."""


def run_listen(
    shared: Shared,
    reconnect: float,
    bounds: Bounds,
    starts: tuple[Since, Since],
    only: str | None,
    render: Renderer | None,
    end: str,
    action: Action | None = None,
) -> int:
    """Prints what arrives, or has *action* done for it, until a bound is reached."""
    public, direct = starts
    with (
        Interrupts(Status.DONE) as interrupts,
        Client(
            shared.user,
            shared.broker,
            since=public,
            since_direct=direct,
            mail=only in (None, "direct"),  # What is not printed stays unread.
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
        taker: Printing | Acting
        if action is None:
            taker = Printing(client, output, meter, only)
        else:
            lines_of = render or (json_lines if shared.json else exact_texts)
            taker = Acting(
                client,
                action,
                lambda event: lines_of([event])[0] + end,
                environment(shared, client.name),
                meter=meter,
                only=only,
                interrupts=interrupts,
            )
        watch_reader(output, client.notify)
        status = Status.DONE
        try:
            status = _listen(client, output, meter, taker)
        finally:
            # Also if a signal ends it.  The next one does not wait for this.
            taker.finish(time.monotonic)
        if taker.failed:
            return Status.FAILURE
        return Status.DONE if meter.reached else status


def _listen(client: Client, output: Output, meter: Meter, taker: Printing | Acting) -> Status:
    """Has what arrives taken until a bound is reached, or nobody reads the output any more."""
    announced = False

    def something_new() -> bool:
        news = taker.ready or (client.listening and not announced)
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
        taker.step(time.monotonic())
    return Status.DONE


def _carry_out(line: str, client: Client, pipeline: Pipeline) -> Receipt | Answer | Help | None:
    """Does what a line of line mode asks for."""
    match parse_line(line):
        case SendLine(to, text):
            return pipeline.send(to, text)
        case EchoLine(text):
            return pipeline.echo(text)
        case InfoLine():
            # As long as what was sent before it would be waited for.
            return Answer(client.users(inf))
        case HelpLine():
            return Help()
        case QuitLine():
            raise Quit
    return None


def _say_all(lines: list[str], pipeline: Pipeline) -> Receipts | None:
    """Sends what lines say to everyone, or to one user; None if it is not the same for all."""
    requests = [parse_line(line) for line in lines]
    echoes = [request.text for request in requests if isinstance(request, EchoLine)]
    if len(echoes) == len(lines):
        return pipeline.echo_many(echoes)
    sends = [request for request in requests if isinstance(request, SendLine)]
    recipients = {to for to, _ in sends}
    if len(sends) == len(lines) and len(recipients) == 1:
        return pipeline.send_many(recipients.pop(), [text for _, text in sends])
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
        feed = Feed(client, _carry_out, say_all=_say_all)
        watch_reader(output, client.notify)

        def show_events(most: int | None = None) -> None:
            if not output.closed:
                printer.print_from(client, most, time.monotonic())

        def something_new() -> bool:
            if output.closed:
                return feed.ready or not feed.finishing
            return feed.ready or client.waiting_events > 0

        def tell() -> None:
            nonlocal refused
            try:
                for entry in feed.take():
                    match entry.results:
                        case [Answer(users)]:
                            output.users(users)
                        case [Help()]:
                            print("\n".join(help_lines()), file=sys.stderr)
                        case _:
                            refused |= report_entry(entry, output)
            finally:
                output.flush()

        with feed.reading(tell):
            while not feed.finished:
                feed.wait(something_new, tell)
                if output.closed:
                    feed.finish()
                show_events()
                tell()
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
            while not client.sync(client.patience) and not output.closed:
                if not client.waiting_events:
                    complain("chat", "left before all that was said could be shown")
                    break
                show_events()
            while client.waiting_events and not output.closed:
                show_events()
    return Status.REFUSED if refused else Status.DONE
