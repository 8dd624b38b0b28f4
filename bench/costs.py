"""What a message costs when other things grow: the history, the users, secrecy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from operator import attrgetter
from statistics import median

from . import durable, on_broker, secure
from .crowd import Crowd, crowd
from .load import Run
from .plan import Both, Found, Plan
from .processes import TICK, Server, running_broker
from .report import Aim, Better, Ratio, Spread, alternate, micro, rate, ratios, table, times, wide
from .throughput import WARM_UP, costs, in_rounds, runs_table, whole


def history(plan: Plan, both: Both) -> Found:
    """What a message, a page and a start cost as the history grows."""
    found = durable.measure(plan.histories, plan.rounds)
    rows = []
    for messages, each in zip(plan.histories, found, strict=True):
        append, lone, fetch, replay, restart, size = map(median, zip(*each, strict=True))
        rows.append(
            (
                rate(messages),
                micro(append),
                micro(lone),
                micro(fetch),
                rate(1 / replay),
                f"{restart * 1000:.1f} ms",
                f"{size:.0f}",
            )
        )
    head = ("messages", "append", "lone commit", "page", "replayed/s", "restart", "bytes a message")
    print(table("The journal, as its history grows", head, rows), flush=True)
    growth = ratios([cost.append for cost in found[-1]], [cost.append for cost in found[0]])
    most = f"{plan.histories[-1]:,}".replace(",", " ")
    what = f"a message costs the same with {most} stored as with {plan.histories[0]} (within 1.3)"
    aim = Aim(what, times(growth), growth.middle <= 1.3)
    return Found([aim], list(_growth(plan.histories, found)))


def _growth(histories: Sequence[int], found: Sequence[list[durable.Costs]]) -> Iterator[Ratio]:
    """The costs of the longer *histories* to those of the shortest."""
    for messages, each in zip(histories[1:], found[1:], strict=True):
        which = f"history of {rate(messages)} / {rate(histories[0])}"
        for what, of in (
            ("append", attrgetter("append")),
            ("lone commit", attrgetter("lone")),
            ("page", attrgetter("fetch")),
            ("restart", attrgetter("restart")),
        ):
            ratio = ratios([*map(of, each)], [*map(of, found[0])])
            yield Ratio(f"{which}: {what}", ratio, Better.LESS)


USERS = (10, 1000, 9000)


def users(plan: Plan, both: Both) -> Found:
    """What a message costs when many others are on, who say nothing."""
    found = Found([], [])
    with ExitStack() as stack:
        servers = {}
        for number in USERS:
            server = stack.enter_context(running_broker("--memory"))
            idle = stack.enter_context(crowd(server, number))
            idle.ask("join")
            servers[number] = server, idle
        for a_frame in (1, 100):
            runs = in_rounds(
                plan,
                {
                    f"{number} users": partial(_among, *pair, a_frame)
                    for number, pair in servers.items()
                },
            )
            title = f"Direct messages, {a_frame} a frame, while others are on and say nothing"
            print(runs_table(title, runs), flush=True)
            few, *more = map(costs, runs.values())
            for number, many in zip(USERS[1:], more, strict=True):
                ratio = ratios(many, few)
                what = f"{number} users / {USERS[0]}, {a_frame} a frame: CPU a message"
                found.ratios.append(Ratio(what, ratio, Better.LESS))
            what = f"a message costs the same with {USERS[-1]} users on as with {USERS[0]}"
            aim = Aim(f"{what}, {a_frame} a frame (within 1.3)", times(ratio), ratio.middle <= 1.3)
            found.aims.append(aim)
    return found


def _among(server: Server, idle: Crowd, a_frame: int, messages: int) -> Run:
    # What their signs of life cost is another thing to measure.
    idle.ask("quiet")
    run = on_broker.direct_run(server, messages, a_frame)
    idle.ask("ping")
    return run


def secure_mode(plan: Plan, both: Both) -> Found:
    """What encryption costs the broker."""
    with running_broker("--memory", "--secure") as gated:
        variants = {"plain": both.broker, "secure": gated}

        def cost(server: Server, messages: int) -> float:
            sent, cpu = secure.direct_run(server, messages)
            return cpu.whole / sent

        # Warm-up, and how much fills the time.
        first = max(cost(server, 8 * WARM_UP) for server in variants.values())
        messages = whole(max(plan.seconds, 100 * TICK) / max(first, 1e-6))
        runs = alternate(
            plan.rounds, {name: partial(cost, one, messages) for name, one in variants.items()}
        )
    ratio = ratios(runs["secure"], runs["plain"])
    rows = [
        (
            name,
            micro(median(all_of)),
            wide(Spread.of(all_of)),
            "" if name == "plain" else times(ratio),
        )
        for name, all_of in runs.items()
    ]
    head = ("", "CPU a message", "spread", "of plain's")
    print(table("Direct messages, 100 a frame, over ZeroMQ's sockets", head, rows), flush=True)
    what = "secure mode at 2.5 times the broker's CPU a message in plain mode, at 100 a frame"
    aim = Aim(what, times(ratio), ratio.middle <= 2.5)
    return Found([aim], [Ratio("secure / plain, 100 a frame: CPU a message", ratio, Better.LESS)])
