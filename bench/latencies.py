"""How long one message takes: alone, under load, beside a flooder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import NamedTuple

from . import disk, flood, on_broker, on_forwarder, paced
from .load import Latency
from .plan import Both, Found, Plan
from .processes import (
    Server,
    durable_broker,
    folder_on_disk,
    running_broker,
    running_forwarder,
)
from .report import Aim, Better, Ratio, alternate, micro, percentiles, rate, ratios, table, times
from .throughput import FORWARDER, OF_IT

OF_ALONE = "of that alone"

MEMORY, DISK = "in memory", "on disk, --sync full"

FLUSHED = "forwarder that flushes a page first"


def _p50_and_p99(
    all_of: Sequence[tuple[float, float]], base: Sequence[tuple[float, float]] | None
) -> list[str]:
    """Four cells: p50 and p99, each with its ratio to that of *base*."""
    cells = []
    for which in (0, 1):
        seconds = [one[which] for one in all_of]
        cells.append(micro(median(seconds)))
        cells.append("" if base is None else times(ratios(seconds, [one[which] for one in base])))
    return cells


# --- idle ---------------------------------------------------------------------------------


def latency(plan: Plan, both: Both) -> Found:
    """One message at a time on an idle broker, and what flushing a page takes meanwhile."""
    broker, forwarder = both
    with (
        durable_broker() as durable,
        folder_on_disk() as folder,
        running_forwarder("flushed") as flushing,
    ):
        variants: dict[str, Callable[[], Latency]] = {
            FORWARDER: lambda: on_forwarder.latency_run(forwarder, plan.singles),
            FLUSHED: lambda: on_forwarder.latency_run(flushing, plan.singles),
            MEMORY: lambda: on_broker.latency_run(broker, plan.singles),
            DISK: lambda: on_broker.latency_run(durable, plan.singles),
            "fsync": lambda: Latency(disk.in_place(folder, plan.singles // 4), []),
        }
        runs = alternate(plan.rounds, variants)
    delivered = {
        name: [percentiles(run.delivered) for run in all_of] for name, all_of in runs.items()
    }
    forwarded = delivered[FORWARDER]
    rows = [
        ("forwarder, delivered", *_p50_and_p99(forwarded, None)),
        (f"{FLUSHED}, delivered", *_p50_and_p99(delivered[FLUSHED], forwarded)),
    ]
    for name in (MEMORY, DISK):
        acknowledged = [percentiles(run.acknowledged) for run in runs[name]]
        rows.append((f"broker {name}, delivered", *_p50_and_p99(delivered[name], forwarded)))
        rows.append((f"broker {name}, acknowledged", *_p50_and_p99(acknowledged, forwarded)))
    rows.append(
        ("a page written in place and flushed (fsync)", *_p50_and_p99(delivered["fsync"], None))
    )
    head = ("", "p50", OF_IT, "p99", OF_IT)
    print(table("Latency, one message at a time", head, rows), flush=True)
    return _latency_aims(delivered)


def _latency_aims(delivered: Mapping[str, Sequence[tuple[float, float]]]) -> Found:
    p50 = {name: [one[0] for one in all_of] for name, all_of in delivered.items()}
    found = Found([], [])
    # What it would be with the forwarder's speed, and one flush for what is stored.
    flushed = [1.6 * a + b for a, b in zip(p50[FORWARDER], p50["fsync"], strict=True)]
    for name, base, what, most in (
        (MEMORY, p50[FORWARDER], "the forwarder's", 1.6),
        (DISK, flushed, "1.6 of the forwarder's and an fsync", 1.0),
    ):
        ratio = ratios(p50[name], base)
        spread = ratios([one[1] for one in delivered[name]], p50[name])
        which = f"latency {name}"
        found.aims.extend(
            [
                Aim(f"{which}, p50, at {most:g} times {what}", times(ratio), ratio.middle <= most),
                Aim(f"{which}, p99, in 3 times p50", times(spread), spread.middle <= 3),
            ]
        )
        found.ratios.extend(
            [
                Ratio(f"latency {name} / {what}: p50", ratio, Better.LESS),
                Ratio(f"latency {name}: p99 / p50", spread, Better.LESS),
            ]
        )
    # An fsync costs a message on its way more than one by itself.
    ratio = ratios(p50[DISK], p50[FLUSHED])
    found.ratios.append(Ratio(f"latency {DISK} / a {FLUSHED}: p50", ratio, Better.LESS))
    return found


# --- under load ---------------------------------------------------------------------------


class _Loaded(NamedTuple):
    """One run of a client that says one thing at a time while others say much."""

    probed: Latency
    rate: float
    """Messages a second of the others."""


class _Others(NamedTuple):
    """What others say meanwhile."""

    rate: float
    """Messages a second."""
    a_frame: int
    whole: float
    """The rate at which they could say it, if they said what they can."""

    def __str__(self) -> str:
        part = f"{self.rate / self.whole * 100:.0f} % of what can be"
        return f"beside {rate(self.rate)}/s, {self.a_frame} a frame, {part}"


def underload(plan: Plan, both: Both) -> Found:
    """One message at a time, alone and while others say 100,000 a second, or half of their most."""
    found = Found([], [])
    with durable_broker() as durable:
        for name, server in ((MEMORY, both.broker), (DISK, durable)):
            _under_load(plan, name, server, found)
    return found


def _others(plan: Plan, server: Server) -> list[_Others]:
    at_ten, at_one = [paced.capacity(server, plan.seconds, a_frame) for a_frame in (10, 1)]
    return [
        _Others(min(paced.WANTED, at_ten / 2), 10, at_ten),
        _Others(min(paced.WANTED, at_one / 2), 1, at_one),
        _Others(at_ten / 2, 10, at_ten),
    ]


def _under_load(plan: Plan, name: str, server: Server, found: Found) -> None:
    probes = plan.singles // 4  # Each takes longer than on an idle broker.

    def loaded(others: _Others) -> _Loaded:
        with paced.running(server, others.rate, others.a_frame) as load:
            probed = on_broker.latency_run(server, probes)
            return _Loaded(probed, load.rate())

    others = _others(plan, server)
    variants: dict[str, Callable[[], _Loaded]] = {
        str(each): partial(loaded, each) for each in others
    }
    runs = alternate(
        plan.rounds,
        {"alone": lambda: _Loaded(on_broker.latency_run(server, probes), 0.0), **variants},
    )
    all_of = {
        each: [percentiles(run.probed.delivered) for run in made] for each, made in runs.items()
    }
    alone = all_of["alone"]
    rows = [
        (each, *_p50_and_p99(made, None if made is alone else alone), _achieved(runs[each]))
        for each, made in all_of.items()
    ]
    head = ("delivered", "p50", OF_ALONE, "p99", OF_ALONE, "the others'/s")
    title = f"A direct message {name} while {len(paced.SENDERS)} others say much"
    print(table(title, head, rows), flush=True)
    for each in variants:
        p99 = [one[1] for one in all_of[each]]
        worst = f"{median(p99) * 1000:.2f} ms ({min(p99) * 1000:.2f}-{max(p99) * 1000:.2f})"
        aim = Aim(f"latency {name}, p99, in 10 ms {each}", worst, median(p99) <= 0.01)
        found.aims.append(aim)
    beside = all_of[str(others[0])]
    for which, percentile in enumerate(("p50", "p99")):
        ratio = ratios([one[which] for one in beside], [one[which] for one in alone])
        found.ratios.append(
            Ratio(f"latency {name}, under load / alone: {percentile}", ratio, Better.LESS)
        )


def _achieved(runs: Sequence[_Loaded]) -> str:
    return rate(median([run.rate for run in runs]))


# --- limits -------------------------------------------------------------------------------


FLOODED = {
    "beside a flooder, no limits": ("messages=unlimited", "bytes=unlimited"),
    "beside a flooder, the default rate": ("messages=100000/100000",),
    "beside a flooder, messages=10000": ("messages=10000/10000",),
}
"""The default rate with a burst of one second and not ten, so that it is soon used up.  The polite
client itself says up to 6000 a second."""


def limits(plan: Plan, both: Both) -> Found:
    """A polite client, alone and beside a flooder."""
    with ExitStack() as stack:
        variants: dict[str, Callable[[], flood.Flood]] = {
            "alone": lambda: flood.alone(both.broker, plan.singles)
        }
        for name, chosen in FLOODED.items():
            options = [word for limit in chosen for word in ("--limit", limit)]
            server = stack.enter_context(running_broker("--memory", *options))
            variants[name] = partial(flood.beside, server, plan.singles)
        runs = alternate(plan.rounds, variants)
    rows, found = [], Found([], [])
    base = [percentiles(run.polite.acknowledged) for run in runs["alone"]]
    for name, all_of in runs.items():
        alone = name == "alone"
        seconds = [percentiles(run.polite.acknowledged) for run in all_of]
        flooded = rate(median([run.rate for run in all_of]))
        rows.append((name, *_p50_and_p99(seconds, None if alone else base), flooded))
        for which, percentile in enumerate(() if alone else ("p50", "p99")):
            ratio = ratios([one[which] for one in seconds], [one[which] for one in base])
            found.ratios.append(Ratio(f"limits, {name} / alone: {percentile}", ratio, Better.LESS))
    head = ("one message at a time, acknowledged", "p50", OF_ALONE, "p99", OF_ALONE, "flooder's/s")
    print(table("A polite client", head, rows), flush=True)
    return found
