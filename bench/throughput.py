"""How much goes through: the pure core, and the broker in turn with the forwarder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from . import durable, on_broker, on_forwarder, pure_core
from .load import MANY_SENDERS, SENDERS, Run
from .plan import Both, Found, Plan
from .processes import TICK, Server, count_commits, durable_broker
from .report import Aim, Better, Ratio, Spread, alternate, micro, rate, ratios, table, times, wide

OF_IT = "of the forwarder's"

FORWARDER, ONE, HUNDRED = "forwarder", "broker, 1 a frame", "broker, 100 a frame"

WARM_UP = 1000
"""Messages of each sender in a warm-up, from which the size of a run is reckoned."""

MOST = 250_000
"""Messages of each sender in a run: their bytes are made beforehand and take memory."""


CORE: tuple[tuple[str, Callable[[int, int], float], int], ...] = (
    ("decode, 1 a frame", pure_core.decode, 1),
    ("decode, 100 a frame", pure_core.decode, 100),
    ("direct, 1 a frame, 1 a turn", pure_core.lone, 1),
    ("direct, 1 a frame", pure_core.direct, 1),
    ("direct, 100 a frame", pure_core.direct, 100),
    ("echo, 1 a frame", pure_core.echo, 1),
    ("echo, 100 a frame", pure_core.echo, 100),
)


def core(plan: Plan, both: Both) -> Found:
    """Decoder and Broker without sockets."""
    rows = []
    for name, work, a_frame in CORE:
        messages = whole(8 * WARM_UP / work(8 * WARM_UP, a_frame) * plan.seconds / 2)
        runs = [work(messages, a_frame) for _ in range(plan.rounds)]
        spread = Spread.of([messages / seconds for seconds in runs])
        rows.append((name, rate(spread.middle), wide(spread), f"{1e9 / spread.middle:.0f} ns"))
    print(table("The pure core", ("", "messages/s", "spread", "a message"), rows), flush=True)
    return Found([], [])


def whole(messages: float) -> int:
    """A number of messages that eight senders can send in frames of 100."""
    return min(max(int(messages / 800), 1) * 800, 8 * MOST)


def direct(plan: Plan, both: Both) -> Found:
    """Eight senders, a reader each."""
    broker, forwarder = both
    runs = in_rounds(
        plan,
        {
            FORWARDER: lambda messages: on_forwarder.direct_run(forwarder, messages),
            ONE: lambda messages: on_broker.direct_run(broker, messages, 1),
            HUNDRED: lambda messages: on_broker.direct_run(broker, messages, 100),
        },
    )
    print(
        runs_table("Direct messages, delivered, and by the broker acknowledged", runs), flush=True
    )
    aims = []
    for name, least in ((ONE, 0.8), (HUNDRED, 5)):
        ratio = _ratio(runs, name)
        what = f"direct messages, acknowledged, at {least} times the forwarder's rate ({name})"
        aims.append(Aim(what, times(ratio), ratio.middle >= least))
    return Found(aims, compared("direct", runs))


def broadcast(plan: Plan, both: Both) -> Found:
    """Eight senders, 1, 10 and 100 readers that all hear all."""
    found = Found([], [])
    for fan in (1, 10, 100):
        runs = in_rounds(plan, _broadcasts(both, fan))
        print(runs_table(f"Broadcast to {fan}, deliveries", runs), flush=True)
        found.ratios.extend(compared(f"broadcast to {fan}", runs))
        if fan == 100:
            for name in (ONE, HUNDRED):
                ratio = _ratio(runs, name)
                what = f"broadcast to 100 at the forwarder's rate ({name})"
                found.aims.append(Aim(what, times(ratio), ratio.middle >= 1))
    return found


def _broadcasts(both: Both, fan: int) -> dict[str, Callable[[int], Run]]:
    broker, forwarder = both
    return {
        FORWARDER: lambda messages: on_forwarder.broadcast_run(forwarder, messages, fan),
        ONE: lambda messages: on_broker.broadcast_run(broker, messages, 1, fan),
        HUNDRED: lambda messages: on_broker.broadcast_run(broker, messages, 100, fan),
    }


def in_rounds(
    plan: Plan, variants: Mapping[str, Callable[[int], Run]], senders: int = len(SENDERS)
) -> dict[str, list[Run]]:
    """Runs of *variants* in turn, of so many messages that each lasts as long as is planned."""

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


def compared(what: str, runs: Mapping[str, list[Run]]) -> list[Ratio]:
    """The ratios of all but the first of *runs* to the first."""
    first, base = next(iter(runs.items()))
    found = []
    for name in list(runs)[1:]:
        cost = ratios(costs(runs[name]), costs(base))
        found += [
            Ratio(f"{what}, {name} / {first}: rate", _ratio(runs, name), Better.MORE),
            Ratio(f"{what}, {name} / {first}: CPU a message", cost, Better.LESS),
        ]
    return found


def runs_table(title: str, runs: Mapping[str, list[Run]]) -> str:
    """*runs*, and how all but the first compare with the first."""
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
                micro(median(costs(all_of))),
                "" if name == first else times(ratios(costs(all_of), costs(base))),
                micro(median([run.cpu.main / run.messages for run in all_of])),
                micro(median([run.cpu.whole / run.deliveries for run in all_of])),
                micro(median([run.load_cpu / run.messages for run in all_of])),
            )
        )
    head = ("", "a second", "spread", of_it, "CPU a message", of_it, "main thread", "a delivery")
    text = table(title, (*head, "the load's"), rows)
    fetches = sum([run.fetches for all_of in runs.values() for run in all_of])
    return f"{text}\n  Pushes that were skipped and fetched: {fetches}" if fetches else text


def costs(runs: Sequence[Run]) -> list[float]:
    """The server's CPU for a message, in seconds, of each of *runs*."""
    # At least a tick of the clock that counts it: a short run may not show one.
    return [max(run.cpu.whole, TICK) / run.messages for run in runs]


def on_disk(plan: Plan, both: Both) -> Found:
    """Fifty senders, a reader each: in memory, and on disk before it is acknowledged."""
    memory, found = both.broker, Found([], [])
    with durable_broker() as full, durable_broker("--sync", "normal") as normal:
        for a_frame in (1, 100):
            runs = in_rounds(
                plan,
                {
                    "in memory": durable.pairs_run(memory, a_frame),
                    "on disk, --sync full": durable.pairs_run(full, a_frame),
                    "on disk, --sync normal": durable.pairs_run(normal, a_frame),
                },
                len(MANY_SENDERS),
            )
            title = f"Direct messages, acknowledged, 50 senders to 50 readers, {a_frame} a frame"
            print(runs_table(title, runs), flush=True)
            found.ratios.extend(compared(f"disk, {a_frame} a frame", runs))
            if a_frame == 100:
                ratio = _ratio(runs, "on disk, --sync full")
                what = "direct messages on disk, 100 a frame, at 0.6 times the rate in memory"
                found.aims.append(Aim(what, times(ratio), ratio.middle >= 0.6))
    return found


def group(plan: Plan, both: Both) -> Found:
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
    return Found([], [])
