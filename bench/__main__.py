"""``python -m bench [--quick] [--seconds S] [name …]``"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import signal
import sys
import tempfile
from types import FrameType

import msgpack
import zmq

from .processes import running_broker, running_forwarder
from .report import Aim
from .scenarios import SCENARIOS, Both, Plan

FULL = Plan(1.0, rounds=5, singles=2000, starts=11, histories=(1_000, 1_000_000, 10_000_000))
QUICK = Plan(0.2, rounds=2, singles=500, starts=3, histories=(1_000, 100_000))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures core and broker beside a plain pyzmq forwarder.",
    )
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="a smoke test: short, so inexact")
    parser.add_argument("--seconds", type=float, help="that one run should last (default 1)")
    options = parser.parse_args()
    for name in options.names:
        if name not in SCENARIOS:
            parser.error(f"no such measurement: {name}; there are {', '.join(SCENARIOS)}")
    plan = QUICK if options.quick else FULL
    if options.seconds is not None:
        if not 0 < options.seconds <= 10:
            parser.error("--seconds: more than 0 and at most 10")
        plan = plan._replace(seconds=options.seconds)
    # As after Ctrl-C: what was started is ended on the way out.
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory() as home:
        # What brokers leave, they leave here, and here the load finds in to a secure one.
        os.environ["CHATBROKER_DATA"] = home
        try:
            _measure(options.names or list(SCENARIOS), plan)
        except KeyboardInterrupt:
            sys.exit(130)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _measure(names: list[str], plan: Plan) -> None:
    print(
        f"Python {platform.python_version()}, pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()},"
        f" msgpack {'.'.join(map(str, msgpack.version))}, {os.cpu_count()} CPUs."
        f"  {plan.rounds} rounds of about {plan.seconds:g} s, median."
        "  Only the ratios mean anything.",
        flush=True,
    )
    gc.collect()
    gc.freeze()
    aims: list[Aim] = []
    with running_forwarder() as forwarder, running_broker() as broker:
        for name in names:
            aims += SCENARIOS[name](plan, Both(broker, forwarder))
    if aims:
        print("\nAims")
        for aim in aims:
            print(f"  {aim}")


if __name__ == "__main__":
    main()
