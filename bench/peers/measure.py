"""Measures a work: starts what it needs, has the rows take turns, ends everything."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from ..load import Latency, Run
from ..processes import NotStarted
from ..report import alternate, percentiles
from . import servers
from .child import Child, Failed, child
from .results import Measured, Result
from .works import SERVERS, Row, Work

LEAST, MOST = 10, 3_000_000
"""Messages of each sender in a run, and of all together.  Their bytes are made before, and take
memory."""

CALM, LOOK, LOOKS = 0.05, 0.02, 10
"""A server is calm when it uses less than this part of a core while it is looked at for so many
seconds, so many times in a row: what it puts off it does bit by bit."""

CALM_SECONDS = 20.0
"""So long it may take to be.  A durable broker, which deletes the mailboxes of those who have gone,
takes some seconds."""


class Plan(NamedTuple):
    """How long to measure."""

    rounds: int
    seconds: float
    """That one run should last."""
    singles: int
    """Messages of one round of latencies."""


def measure(work: Work, plan: Plan, peers: Collection[str]) -> Result:
    """The rows of *work* that are of *peers*.  Raises `Failed` if a run is not whole."""
    with ExitStack() as stack:
        up: dict[str, Any] = {}
        down: dict[str, str] = {}
        variants: dict[str, Callable[[], dict[str, Any]]] = {}
        rows = [row for row in work.rows if row.peer in peers]
        for row in rows:
            if row.server not in up and row.server not in down:
                try:
                    up[row.server] = stack.enter_context(SERVERS[row.server]())
                except (servers.Absent, NotStarted) as reason:
                    down[row.server] = str(reason)
            if row.server in down:
                continue
            with _named(work, row):
                loader = stack.enter_context(child(partial(row.load, up[row.server])))
            variants[row.name] = _sized(work, row, plan, loader, up[row.server])
        runs = alternate(plan.rounds, variants)
    found = [
        Measured(row.name, row.guarantee, runs.get(row.name, []), down.get(row.server, ""))
        for row in rows
    ]
    return Result(work.name, _facts(plan, work), found)


@contextmanager
def _named(work: Work, row: Row) -> Iterator[None]:
    """Says of what fails which row it is."""
    try:
        yield
    except Failed as failed:
        raise Failed(f"{work.name}, {row.name}: {failed}") from None


def _sized(
    work: Work, row: Row, plan: Plan, loader: Child[Any], server: Any
) -> Callable[[], dict[str, Any]]:
    """A run of the size that lasts as long as it should; made warm."""

    def run(messages: int) -> dict[str, Any]:
        with _named(work, row):
            given = loader.run(messages)
        _calm(server)
        return _kept(given)

    if work.latency:
        run(work.first)
        return partial(run, plan.singles)
    first = run(_whole(work.first, work, row))
    # The second is warm; the first one pays for the start.
    again = run(_share(first, plan.seconds / 4, work, row))
    return partial(run, _share(again, plan.seconds, work, row))


def _share(run: dict[str, Any], seconds: float, work: Work, row: Row) -> int:
    """Messages of each sender that would last for *seconds*."""
    return _whole(run["messages"] / run["seconds"] * seconds / work.senders, work, row)


def _whole(messages: float, work: Work, row: Row) -> int:
    """In whole frames."""
    frames = round(min(max(messages, LEAST), MOST / work.senders) / row.a_frame)
    return max(frames, 1) * row.a_frame


def _kept(given: Run | Latency) -> dict[str, Any]:
    if isinstance(given, Latency):
        p50, p99 = percentiles(given.delivered)
        return {"messages": len(given.delivered), "p50": p50, "p99": p99}
    kept = given._asdict()
    return kept | {"cpu": given.cpu.whole}


def _calm(server: Any) -> None:
    """Waits until *server* has nothing more to do, so that the next row's run is alone."""
    if not hasattr(server, "cpu"):
        return
    deadline = time.monotonic() + CALM_SECONDS
    calm = 0
    while calm < LOOKS and time.monotonic() < deadline:
        before = server.cpu().whole
        time.sleep(LOOK)
        calm = calm + 1 if server.cpu().whole - before < CALM * LOOK else 0


def _facts(plan: Plan, work: Work) -> dict[str, str]:
    packages = {
        "nats-server": servers.NATS,
        "redis-server": servers.REDIS,
        "mosquitto": servers.MOSQUITTO,
        "ngircd": servers.NGIRCD,
    }
    versions = [
        f"{name} {servers.version(package)}"
        for name, package in packages.items()
        if servers.found(package)
    ]
    # Which build it is makes a difference of a quarter.
    whose = " (the system's)" if sys.base_prefix == "/usr" else ""
    zeromq = f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}"
    each = f"{plan.singles} messages" if work.latency else f"about {plan.seconds:g} s"
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": _machine(),
        "versions": ", ".join([f"Python {platform.python_version()}{whose}", zeromq, *versions]),
        "plan": f"{plan.rounds} round{'s' if plan.rounds > 1 else ''} of {each}, median",
    }


def _machine() -> str:
    model = "an unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GB, {platform.system()} {kernel}"
