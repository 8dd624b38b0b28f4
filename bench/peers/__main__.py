"""``python -m bench.peers [--quick] [--rounds N] [--seconds S] [--peers a,b] [work …]``"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from ..processes import end_as_after_ctrl_c
from . import docs
from .child import Failed
from .measure import Plan, measure
from .results import KEPT, Result, load, save
from .tables import for_terminal
from .works import PEERS, WORKS

FULL = Plan(rounds=7, seconds=1.0, singles=2000)
QUICK = Plan(rounds=1, seconds=0.2, singles=300)
RUNS = Path("build", "peers.json")


def main() -> None:
    options = _options()
    if options.render:
        docs.write(options.render)
        return
    # A thousand readers are as many connections, in the servers and in the load.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    end_as_after_ctrl_c()
    with tempfile.TemporaryDirectory() as home:
        os.environ["CHATBROKER_DATA"] = home
        try:
            _measure(options)
        except KeyboardInterrupt:
            sys.exit(130)
        except Failed as failed:
            sys.exit(f"A run failed, and nothing that follows was measured: {failed}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description="Measures chatbroker beside other servers."
    )
    parser.add_argument("works", nargs="*", metavar="work", help=", ".join(WORKS))
    parser.add_argument("--quick", action="store_true", help="a smoke test: short, so inexact")
    parser.add_argument("--rounds", type=int, help="how often each row takes its turn")
    parser.add_argument("--seconds", type=float, help="that one run should last")
    parser.add_argument("--peers", help=f"only these of {','.join(PEERS)}")
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help=f"where to keep all runs, as JSON (default {RUNS})",
    )
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="write docs/benchmarks.md and its pictures, and keep the runs in bench/results",
    )
    parser.add_argument(
        "--render", type=Path, metavar="FILE", help="only write the docs, from results in FILE"
    )
    options = parser.parse_args()
    if (options.write_docs or options.render) and find_spec("matplotlib") is None:
        parser.error("the pictures need matplotlib: pip install -e '.[bench]', or make bench-peers")
    for name in options.works:
        if name not in WORKS:
            parser.error(f"no such work: {name}; there are {', '.join(WORKS)}")
    options.peers = options.peers.split(",") if options.peers else PEERS
    for name in options.peers:
        if name not in PEERS:
            parser.error(f"no such peer: {name}; there are {', '.join(PEERS)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: 1 or more")
    if options.seconds is not None and not 0 < options.seconds <= 10:
        parser.error("--seconds: more than 0 and at most 10")
    # Before anything is measured that could then not be kept.
    if options.render:
        options.render = _kept(parser, "--render", options.render)
    else:
        options.save = options.save or (KEPT if options.write_docs else RUNS)
        if options.save.exists():
            _kept(parser, "--save", options.save)
    return options


def _kept(parser: argparse.ArgumentParser, option: str, file: Path) -> list[Result]:
    """What is in *file*, or the end with a word about it."""
    try:
        return load(file)
    except OSError as error:
        parser.error(f"{option}: {file}: {error.strerror}")
    except ValueError as error:
        parser.error(f"{option}: {error}; choose another file")


def _measure(options: argparse.Namespace) -> None:
    plan = QUICK if options.quick else FULL
    plan = plan._replace(
        rounds=options.rounds or plan.rounds, seconds=options.seconds or plan.seconds
    )
    results: list[Result] = []
    for name in options.works or WORKS:
        results.append(measure(WORKS[name], plan, options.peers))
        if len(results) == 1:
            print(". ".join(results[0].facts.values()), flush=True)
        print(for_terminal(results[-1]), flush=True)
        save(options.save, results)
    print(f"\nAll runs are in {options.save}.")
    if options.write_docs:
        docs.write(load(options.save))


if __name__ == "__main__":
    main()
