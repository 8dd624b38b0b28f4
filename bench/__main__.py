"""``python -m bench [--quick] [--seconds S] [name …]``"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import sys
import tempfile
from pathlib import Path

import msgpack
import zmq

from chatbroker.command import VERSION

from . import released
from .plan import Both, Found, Plan
from .processes import end_as_after_ctrl_c, running_broker, running_forwarder
from .scenarios import SCENARIOS

FULL = Plan(
    seconds=1.0,
    rounds=5,
    singles=2000,
    starts=11,
    lines=1_000_000,
    pipes=2,
    histories=(1_000, 1_000_000, 10_000_000),
)
QUICK = Plan(
    seconds=0.2,
    rounds=2,
    singles=500,
    starts=3,
    lines=100_000,
    pipes=1,
    histories=(1_000, 100_000),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures core and broker beside a plain pyzmq forwarder.",
    )
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="a smoke test: short, so inexact")
    parser.add_argument("--seconds", type=float, help="that one run should last (default 1)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the ratios, as JSON")
    options = parser.parse_args()
    for name in options.names:
        if name not in SCENARIOS:
            parser.error(f"no such measurement: {name}; there are {', '.join(SCENARIOS)}")
    if options.save is not None and not options.save.absolute().parent.is_dir():
        parser.error(f"--save: there is no folder {options.save.absolute().parent}")
    plan = QUICK if options.quick else FULL
    if options.seconds is not None:
        if not 0 < options.seconds <= 10:
            parser.error("--seconds: more than 0 and at most 10")
        plan = plan._replace(seconds=options.seconds)
    last = released.load(released.FILE)
    end_as_after_ctrl_c()
    with tempfile.TemporaryDirectory() as home:
        # What brokers leave, they leave here, and here the load finds in to a secure one.
        os.environ["CHATBROKER_DATA"] = home
        try:
            found = _measure(options.names or list(SCENARIOS), plan)
        except KeyboardInterrupt:
            sys.exit(130)
    if found.aims:
        print("\nAims")
        for aim in found.aims:
            print(f"  {aim}")
    print(f"\nThe ratios beside those of {last.version}")
    for line in released.compare(last, found.ratios, options.quick, whole=not options.names):
        print(f"  {line}")
    if options.save is not None:
        released.save(options.save, VERSION, options.quick, found.ratios)


def _measure(names: list[str], plan: Plan) -> Found:
    print(
        f"Python {platform.python_version()}, pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()},"
        f" msgpack {'.'.join(map(str, msgpack.version))}, {os.cpu_count()} CPUs."
        f"  {plan.rounds} rounds of about {plan.seconds:g} s, median."
        "  Only the ratios mean anything.",
        flush=True,
    )
    gc.collect()
    gc.freeze()
    found = Found([], [])
    with running_forwarder() as forwarder, running_broker() as broker:
        for name in names:
            aims, ratios = SCENARIOS[name](plan, Both(broker, forwarder))
            found.aims.extend(aims)
            found.ratios.extend(ratios)
    return found


if __name__ == "__main__":
    main()
