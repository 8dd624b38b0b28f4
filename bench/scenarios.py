"""The measurements, each with its table.  Broker and forwarder take turns in every one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from subprocess import CalledProcessError
from typing import NamedTuple

from chatbroker.wire.messages import DIRECT_LOG, Ping

from . import durable, flood, on_broker, on_forwarder, pure_core, secure
from .load import MANY_SENDERS, READERS, SENDERS, Latency, Run
from .processes import TICK, Server, count_commits, durable_broker, running_broker, wall_time
from .report import Aim, Spread, alternate, micro, rate, ratios, table, times, wide


class Plan(NamedTuple):
    """How long to measure."""

    seconds: float
    """That one run should last."""
    rounds: int
    singles: int
    """Messages of one round of latencies."""
    starts: int
    """Of each command in the one-shot measurement."""
    histories: tuple[int, ...]
    """Messages in the histories that are measured."""


class Both(NamedTuple):
    """What is compared."""

    broker: Server
    forwarder: Server


SEND, IMPORTS = "chat send", "python -c 'import zmq, msgpack'"

OF_IT = "of the forwarder's"

OF_ALONE = "of that alone"

FORWARDER, ONE, HUNDRED = "forwarder", "broker, 1 a frame", "broker, 100 a frame"

WARM_UP = 1000
"""Messages of each sender in a warm-up, from which the size of a run is reckoned."""

MOST = 250_000
"""Messages of each sender in a run: their bytes are made beforehand and take memory."""


# --- the pure core ------------------------------------------------------------------------


CORE: tuple[tuple[str, Callable[[int, int], float], int], ...] = (
    ("decode, 1 a frame", pure_core.decode, 1),
    ("decode, 100 a frame", pure_core.decode, 100),
    ("direct, 1 a frame, 1 a turn", pure_core.lone, 1),
    ("direct, 1 a frame", pure_core.direct, 1),
    ("direct, 100 a frame", pure_core.direct, 100),
    ("echo, 1 a frame", pure_core.echo, 1),
    ("echo, 100 a frame", pure_core.echo, 100),
)


def core(plan: Plan, both: Both) -> list[Aim]:
    """Decoder and Broker without sockets."""
    rows = []
    for name, work, a_frame in CORE:
        messages = _whole(8 * WARM_UP / work(8 * WARM_UP, a_frame) * plan.seconds / 2)
        runs = [work(messages, a_frame) for _ in range(plan.rounds)]
        spread = Spread.of([messages / seconds for seconds in runs])
        rows.append((name, rate(spread.middle), wide(spread), f"{1e9 / spread.middle:.0f} ns"))
    print(table("The pure core", ("", "messages/s", "spread", "a message"), rows), flush=True)
    return []


def _whole(messages: float) -> int:
    """A number of messages that eight senders can send in frames of 100."""
    return min(max(int(messages / 800), 1) * 800, 8 * MOST)


# --- the running broker -------------------------------------------------------------------


def direct(plan: Plan, both: Both) -> list[Aim]:
    """Eight senders, a reader each."""
    broker, forwarder = both
    runs = _rounds(
        plan,
        {
            FORWARDER: lambda messages: on_forwarder.direct_run(forwarder, messages),
            ONE: lambda messages: on_broker.direct_run(broker, messages, 1),
            HUNDRED: lambda messages: on_broker.direct_run(broker, messages, 100),
        },
    )
    print(_table("Direct messages, delivered, and by the broker acknowledged", runs), flush=True)
    ratio = _ratio(runs, HUNDRED)
    what = "direct messages, 100 a frame, acknowledged, at 3 times the forwarder's rate"
    return [Aim(what, times(ratio), ratio.middle >= 3)]


def broadcast(plan: Plan, both: Both) -> list[Aim]:
    """Eight senders, 1, 10 and 100 readers that all hear all."""
    aims = []
    for fan in (1, 10, 100):
        runs = _rounds(plan, _broadcasts(both, fan))
        print(_table(f"Broadcast to {fan}, deliveries", runs), flush=True)
        if fan == 100:
            for name in (ONE, HUNDRED):
                ratio = _ratio(runs, name)
                what = f"broadcast to 100 at the forwarder's rate ({name})"
                aims.append(Aim(what, times(ratio), ratio.middle >= 1))
    return aims


def _broadcasts(both: Both, fan: int) -> dict[str, Callable[[int], Run]]:
    broker, forwarder = both
    return {
        FORWARDER: lambda messages: on_forwarder.broadcast_run(forwarder, messages, fan),
        ONE: lambda messages: on_broker.broadcast_run(broker, messages, 1, fan),
        HUNDRED: lambda messages: on_broker.broadcast_run(broker, messages, 100, fan),
    }


def _rounds(
    plan: Plan, variants: Mapping[str, Callable[[int], Run]], senders: int = len(SENDERS)
) -> dict[str, list[Run]]:
    def sized(run: Callable[[int], Run]) -> Callable[[], Run]:
        first = run(WARM_UP)
        # The second, of the first's size or more, is warm; the first one pays for the start.
        again = run(_share(first, plan.seconds / 4, senders))
        messages = _share(again, plan.seconds, senders)
        return lambda: run(messages)

    return alternate(plan.rounds, {name: sized(run) for name, run in variants.items()})


def _share(run: Run, seconds: float, senders: int) -> int:
    """Messages of each of *senders* that would last for *seconds*, in whole frames of 100."""
    each = run.messages / run.seconds * seconds / senders
    return min(max(round(each / 100) * 100, WARM_UP), MOST)


def _ratio(runs: Mapping[str, list[Run]], name: str) -> Spread:
    """Of *name* to the first of *runs*."""
    base = next(iter(runs.values()))
    return ratios([run.rate for run in runs[name]], [run.rate for run in base])


def _table(title: str, runs: Mapping[str, list[Run]]) -> str:
    first, base = next(iter(runs.items()))
    of_it = OF_IT if first == FORWARDER else "of the first's"
    rows = []
    for name, all_of in runs.items():
        spread = Spread.of([run.rate for run in all_of])
        rows.append(
            (
                name,
                rate(spread.middle),
                wide(spread),
                "" if name == first else times(_ratio(runs, name)),
                micro(median(_costs(all_of))),
                "" if name == first else times(ratios(_costs(all_of), _costs(base))),
                micro(median([run.cpu.main / run.messages for run in all_of])),
                micro(median([run.cpu.whole / run.deliveries for run in all_of])),
                micro(median([run.load_cpu / run.messages for run in all_of])),
            )
        )
    head = ("", "a second", "spread", of_it, "CPU a message", of_it, "main thread", "a delivery")
    text = table(title, (*head, "the load's"), rows)
    fetches = sum([run.fetches for all_of in runs.values() for run in all_of])
    return f"{text}\n  Pushes that were skipped and fetched: {fetches}" if fetches else text


def _costs(runs: Sequence[Run]) -> list[float]:
    # At least a tick of the clock that counts it: a short run may not show one.
    return [max(run.cpu.whole, TICK) / run.messages for run in runs]


def latency(plan: Plan, both: Both) -> list[Aim]:
    """One message at a time on an idle broker."""
    broker, forwarder = both
    runs: dict[str, list[Latency]] = alternate(
        plan.rounds,
        {
            FORWARDER: lambda: on_forwarder.latency_run(forwarder, plan.singles),
            "broker": lambda: on_broker.latency_run(broker, plan.singles),
        },
    )
    series = {f"{name}, delivered": [run.delivered for run in runs[name]] for name in runs}
    series["broker, acknowledged"] = [run.acknowledged for run in runs["broker"]]
    base = [_percentiles(one) for one in series[f"{FORWARDER}, delivered"]]
    rows = []
    for name, all_of in series.items():
        found = [_percentiles(one) for one in all_of]
        row = [name]
        for which in (0, 1):
            row.append(micro(median([one[which] for one in found])))
            ratio = ratios([one[which] for one in found], [one[which] for one in base])
            row.append("" if FORWARDER in name else times(ratio))
        rows.append(row)
    head = ("", "p50", OF_IT, "p99", OF_IT)
    print(table("Latency, one message at a time", head, rows), flush=True)
    return []


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    found = quantiles(seconds, n=100)
    return found[49], found[98]


# --- on disk ------------------------------------------------------------------------------


def on_disk(plan: Plan, both: Both) -> list[Aim]:
    """Fifty senders, a reader each: in memory, and on disk before it is acknowledged."""
    memory, aims = both.broker, []
    with durable_broker() as full, durable_broker("--sync", "normal") as normal:
        for a_frame in (1, 100):
            runs = _rounds(
                plan,
                {
                    "in memory": durable.pairs_run(memory, a_frame),
                    "on disk, --sync full": durable.pairs_run(full, a_frame),
                    "on disk, --sync normal": durable.pairs_run(normal, a_frame),
                },
                len(MANY_SENDERS),
            )
            title = f"Direct messages, acknowledged, 50 senders to 50 readers, {a_frame} a frame"
            print(_table(title, runs), flush=True)
            if a_frame == 100:
                ratio = _ratio(runs, "on disk, --sync full")
                what = "direct messages on disk, 100 a frame, at 0.6 times the rate in memory"
                aims.append(Aim(what, times(ratio), ratio.middle >= 0.6))
    return aims


def group(plan: Plan, both: Both) -> list[Aim]:
    """How many messages share a commit, and how many commits there are."""
    rows = []
    for a_frame in (1, 100):

        def run(server: Server, a_frame: int = a_frame) -> float:
            load = durable.pairs_run(server, a_frame)
            first = load(WARM_UP)
            messages = _share(first, plan.seconds, len(MANY_SENDERS))
            return first.seconds + load(messages).seconds

        stored, seconds = count_commits(run)
        rows.append(
            (
                f"{a_frame} a frame",
                rate(stored.commits / seconds),
                rate(stored.rows / 2 / seconds),
                f"{stored.rows / 2 / stored.commits:.0f}",
            )
        )
    head = ("50 senders to 50 readers", "commits/s", "messages/s", "messages a commit")
    print(table("Group commit, --sync full", head, rows), flush=True)
    return []


def history(plan: Plan, both: Both) -> list[Aim]:
    """What a message, a page and a start cost as the history grows."""
    rows, found = [], []
    for messages in plan.histories:
        costs = durable.measure(messages, plan.rounds)
        found.append(costs)
        rows.append(
            (
                rate(messages),
                micro(costs.append),
                micro(costs.lone),
                micro(costs.fetch),
                rate(1 / costs.replay),
                f"{costs.restart * 1000:.1f} ms",
                f"{costs.bytes}",
            )
        )
    head = ("messages", "append", "lone commit", "page", "replayed/s", "restart", "bytes a message")
    print(table("The journal, as its history grows", head, rows), flush=True)
    growth = found[-1].append / found[0].append
    most = f"{plan.histories[-1]:,}".replace(",", " ")
    what = f"a message costs the same with {most} stored as with {plan.histories[0]} (within 1.3)"
    return [Aim(what, f"{growth:.2f} x", growth <= 1.3)]


# --- one-shot commands --------------------------------------------------------------------


def oneshot(plan: Plan, both: Both) -> list[Aim]:
    """`chat send` from its start to its end, beside what Python itself takes."""
    python = [sys.executable, "-c"]
    commands = {
        "python -c pass": [*python, "pass"],
        IMPORTS: [*python, "import zmq, msgpack"],
        "python -c 'import zmq, msgpack, click'": [*python, "import zmq, msgpack, click"],
    }
    chat = str(Path(sys.executable).with_name("chat"))
    send = [chat, "send", READERS[0], "hello", "--port", str(both.broker.port)]
    with on_broker.sessions(both.broker, READERS[:1], DIRECT_LOG) as (reader,):

        def timed(command: list[str]) -> Callable[[], float]:
            def run() -> float:
                # A sign of life: whoever is sent to must be on.
                reader.say(Ping(1, 0, 0, ()))
                return wall_time(command)

            run()
            return run

        variants = {name: timed(command) for name, command in commands.items()}
        try:
            variants[SEND] = timed(send)
        except (OSError, CalledProcessError) as error:
            print(f"\n`chat send` is not measured: {error}", flush=True)
        runs = alternate(plan.starts, variants)
    rows = [
        (name, f"{median(all_of) * 1000:.0f} ms", wide(Spread.of(all_of)))
        for name, all_of in runs.items()
    ]
    print(table("One-shot commands, wall time", ("", "median", "spread"), rows), flush=True)
    if SEND not in runs:
        return []
    whole, start = median(runs[SEND]), median(runs[IMPORTS])
    found = f"{whole * 1000:.0f} ms, of which {start / whole * 100:.0f} % Python and its imports"
    return [Aim("`chat send` in less than 150 ms", found, whole < 0.15)]


# --- limits -------------------------------------------------------------------------------


FLOODED = {
    "beside a flooder, no limits": ("messages=unlimited", "bytes=unlimited"),
    "beside a flooder, the default rate": ("messages=100000/100000",),
    "beside a flooder, messages=10000": ("messages=10000/10000",),
}
"""The default rate with a burst of one second and not ten, so that it is soon used up.  The polite
client itself says up to 6000 a second."""


def limits(plan: Plan, both: Both) -> list[Aim]:
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
    rows = []
    base = [_percentiles(run.polite.acknowledged) for run in runs["alone"]]
    for name, all_of in runs.items():
        found = [_percentiles(run.polite.acknowledged) for run in all_of]
        row = [name]
        for which in (0, 1):
            row.append(micro(median([one[which] for one in found])))
            ratio = ratios([one[which] for one in found], [one[which] for one in base])
            row.append("" if name == "alone" else times(ratio))
        row.append(rate(median([run.rate for run in all_of])))
        rows.append(row)
    head = ("one message at a time, acknowledged", "p50", OF_ALONE, "p99", OF_ALONE, "flooder's/s")
    print(table("A polite client", head, rows), flush=True)
    return []


def secure_mode(plan: Plan, both: Both) -> list[Aim]:
    """What encryption costs the broker."""
    with running_broker("--memory", "--secure") as gated:
        variants = {"plain": both.broker, "secure": gated}

        def cost(server: Server, messages: int) -> float:
            sent, cpu = secure.direct_run(server, messages)
            return cpu.whole / sent

        # Warm-up, and how much fills the time.
        first = max(cost(server, 8 * WARM_UP) for server in variants.values())
        messages = _whole(max(plan.seconds, 100 * TICK) / max(first, 1e-6))
        runs = alternate(
            plan.rounds, {name: partial(cost, one, messages) for name, one in variants.items()}
        )
    ratio = ratios(runs["secure"], runs["plain"])
    rows = [
        (
            name,
            micro(median(costs)),
            wide(Spread.of(costs)),
            "" if name == "plain" else times(ratio),
        )
        for name, costs in runs.items()
    ]
    head = ("", "CPU a message", "spread", "of plain's")
    print(table("Direct messages, 100 a frame, over ZeroMQ's sockets", head, rows), flush=True)
    what = "secure mode at 2.5 times the broker's CPU a message in plain mode, at 100 a frame"
    return [Aim(what, times(ratio), ratio.middle <= 2.5)]


SCENARIOS: dict[str, Callable[[Plan, Both], list[Aim]]] = {
    "core": core,
    "direct": direct,
    "broadcast": broadcast,
    "latency": latency,
    "disk": on_disk,
    "group": group,
    "history": history,
    "oneshot": oneshot,
    "limits": limits,
    "secure": secure_mode,
}
