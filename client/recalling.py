"""The command that looks back: ``chat history``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from ..wire.errors import BadName
from ..wire.messages import DIRECT_LOG, ECHO_LOG, Start
from ..wire.names import canonical_name
from .client import Client
from .errors import UsageError
from .events import Event, Missed
from .history import History, Wanted, between, containing, last
from .identity import Identity
from .interrupts import Interrupts
from .options import Shared
from .output import Output
from .render import Renderer
from .starts import Since

A_PAGE = 1000
"""Events that are written together."""


class Question(NamedTuple):
    """What of the past is wanted."""

    partner: str | None
    """Only what was said in private with this user."""
    since: Since
    """From where on."""
    limit: int | None
    """Only the newest so many."""
    grep: str | None
    """Only what holds this text."""
    only: str | None
    """``direct`` or ``broadcast``; None: both."""


def run_history(shared: Shared, asked: Question, render: Renderer | None, end: str) -> int:
    """Prints what was said, the oldest first."""
    identity = None if shared.user is None else Identity.of(shared.broker, shared.user)
    with (
        Interrupts() as interrupts,
        Client(
            shared.user,
            shared.broker,
            hear=False,
            timeout=shared.timeout,
            reconnect=shared.timeout,
            identity=identity,
            interrupts=interrupts,
        ) as client,
    ):
        output = Output(render, as_json=shared.json, end=end, interrupts=interrupts)
        events = iter(_events(client, asked))
        while not output.closed and (page := list(islice(events, A_PAGE))):
            output.events(page)
            output.flush()
    return 0


def _events(client: Client, asked: Question) -> Iterable[Event]:
    history = History(client)
    wanted = _filter(asked, client.name)
    logs = []
    if asked.only != "direct" and asked.partner is None:
        logs.append(ECHO_LOG)
    if asked.only != "broadcast" and client.name:
        logs.append(DIRECT_LOG)
    history.hold(logs)
    walks: list[Iterable[Event]] = []
    for log in logs:
        after = _start(history, log, asked.since)
        if after is None:
            continue
        if asked.limit is None:
            walks.append(_some(history.walk(log, after), wanted))
        else:
            walks.append(history.newest(log, asked.limit, wanted, after))
    merged = history.merged(walks)
    if asked.limit is None:
        return merged
    return last(list(merged), asked.limit)


def _some(walk: Iterator[Event], wanted: Wanted) -> Iterator[Event]:
    return (event for event in walk if isinstance(event, Missed) or wanted(event))


def _start(history: History, log: str, since: Since) -> int | None:
    """The position to begin after; None for nothing at all."""
    match since.start:
        case Start.AFTER:
            return since.value
        case Start.AGE:
            return history.position_at(log, time.time_ns() // 1_000_000 - since.value)
    return None


def _filter(asked: Question, name: str) -> Wanted:
    tests: list[Wanted] = []
    if asked.partner is not None:
        try:
            tests.append(between(canonical_name(asked.partner), name))
        except BadName as error:
            raise UsageError(f"--with: {error}") from None
    if asked.grep is not None:
        tests.append(containing(asked.grep))
    return lambda event: all(test(event) for test in tests)
