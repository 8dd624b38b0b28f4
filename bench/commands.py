"""The commands as a user starts them: wall time."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median

from chatbroker.wire.messages import DIRECT_LOG, Ping

from . import on_broker
from .load import READERS
from .pipe import CHAT, Pipe
from .plan import Both, Found, Plan
from .processes import durable_broker, folder_on_disk, wall_time
from .report import Aim, Better, Ratio, Spread, alternate, rate, ratios, table, times, wide

SEND, IMPORTS = "chat send", "python -c 'import zmq, msgpack'"


@contextmanager
def cached_bytecode() -> Iterator[dict[str, str]]:
    """An environment in which commands keep their bytecode, as a user's do from the second start
    on, whatever this process was told."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        yield environment


def oneshot(plan: Plan, both: Both) -> Found:
    """`chat send` from its start to its end, beside what Python itself takes."""
    python = [sys.executable, "-c"]
    commands = {
        "python -c pass": [*python, "pass"],
        IMPORTS: [*python, "import zmq, msgpack"],
        "python -c 'import zmq, msgpack, click'": [*python, "import zmq, msgpack, click"],
        SEND: [CHAT, "send", READERS[0], "hello", "--port", str(both.broker.port)],
    }
    with (
        on_broker.sessions(both.broker, READERS[:1], DIRECT_LOG) as (reader,),
        cached_bytecode() as environment,
    ):

        def timed(command: list[str]) -> Callable[[], float]:
            def run() -> float:
                # A sign of life: whoever is sent to must be on.
                reader.say(Ping(1, 0, 0, ()))
                return wall_time(command, environment)

            run()  # Which writes the bytecode.
            return run

        variants = {name: timed(command) for name, command in commands.items()}
        runs = alternate(plan.starts, variants)
    rows = [
        (
            name,
            f"{median(all_of) * 1000:.0f} ms",
            wide(Spread.of(all_of)),
            "" if name == IMPORTS else times(ratios(all_of, runs[IMPORTS])),
        )
        for name, all_of in runs.items()
    ]
    head = ("", "median", "spread", "of the imports'")
    print(table("One-shot commands, wall time", head, rows), flush=True)
    ratio = ratios(runs[SEND], runs[IMPORTS])
    aim = Aim(f"`chat send` in 3 times what {IMPORTS} takes", times(ratio), ratio.middle <= 3)
    return Found([aim], [Ratio("chat send / imports: wall time", ratio, Better.LESS)])


def pipe(plan: Plan, both: Both) -> Found:
    """Lines from a pipe through `chat echo` and the broker to `chat listen`, all of them."""
    numbers = count(1)
    with durable_broker() as server, folder_on_disk() as folder, cached_bytecode() as environment:
        through = Pipe(server, Path(folder), environment)
        through.chat(1000, next(numbers))  # Which writes the bytecode.
        runs = alternate(
            plan.pipes,
            {
                "chat echo, broker on disk, chat listen": lambda: through.chat(
                    plan.lines, next(numbers)
                ),
                "two loops in Python and a pipe": lambda: through.python(plan.lines),
            },
        )
    rates = {name: [plan.lines / seconds for seconds in all_of] for name, all_of in runs.items()}
    chat, python = rates.values()
    ratio = ratios(chat, python)
    rows = [
        (
            name,
            rate(median(all_of)),
            wide(Spread.of(all_of)),
            times(ratio) if all_of is chat else "",
        )
        for name, all_of in rates.items()
    ]
    head = ("", "lines/s", "spread", "of the loops'")
    print(table(f"{plan.lines} lines from end to end", head, rows), flush=True)
    aim = Aim("lines through a pipe at 300 k/s", rate(median(chat)), median(chat) >= 300_000)
    return Found([aim], [Ratio("pipe / loops in Python: lines a second", ratio, Better.MORE)])
