"""Nothing acknowledged is lost, doubled or reordered, whatever befalls broker and clients.

The short runs of `make test`.  ``CHATBROKER_SEED`` repeats a run, ``CHATBROKER_FAULTS`` makes it
longer: `make torture`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from chatbroker.client import Client, Since
from chatbroker.testing.brokers import BrokerProcess
from torture.nemesis import running
from torture.taker import take_all

FAULTS = int(os.environ.get("CHATBROKER_FAULTS", "12"))
SEED = int(os.environ.get("CHATBROKER_SEED", "3"))
MILLION = int(os.environ.get("CHATBROKER_MESSAGES", "40000"))

pytestmark = pytest.mark.timeout(1800)


def test_nothing_is_lost_whatever_happens(tmp_path):
    with running(tmp_path, SEED) as run:
        run.torment(FAULTS)
        breaches = run.finish()
        assert not breaches, run.explain(breaches)


def test_a_broker_that_acknowledges_before_it_stores_is_found_out(tmp_path):
    """The mutation without which nobody knows whether the checker checks."""
    for seed in range(SEED, SEED + 10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with running(folder, seed, "torture.early_ack_broker") as run:
            # One that goes back behind what it said may leave its clients stuck.
            for _ in range(4):
                if not run.await_acknowledgement(10.0):
                    break
                run.kill_broker()
                run.start_broker()
            for program in run.programs.values():
                program.kill()
            run.kill_broker()
            lost = [breach for breach in run.judge() if breach.startswith("lost: ")]
            if lost:
                print(f"found out: {len(lost)} lost, such as {lost[0]}")
                return
    raise AssertionError("the checker has found nothing to complain about")


def test_readers_that_were_stopped_catch_up_on_all_of_it(tmp_path):
    """Far more goes by than all buffers hold between broker and reader.  One reader does not
    take what it is shown; the process of the other is stopped, as by a lid that closes."""
    # The frozen one has claimed no name: without its lease nobody would know it.
    options = ("--keep-bytes", "unlimited", "--lease", "600")
    with (
        BrokerProcess(*options, data_dir=tmp_path / "data") as broker,
        ExitStack() as stack,
    ):
        command = [sys.executable, "-m", "torture.taker", broker.address, "frozen", str(MILLION)]
        frozen = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        stack.callback(frozen.wait)
        stack.callback(frozen.kill)
        assert frozen.stdout is not None
        stack.enter_context(frozen.stdout)
        assert frozen.stdout.readline() == b"listening\n"
        idle = stack.enter_context(
            Client("idle", broker.address, since=Since.all(), since_direct=Since.all())
        )
        before = memory(broker.pid, "VmRSS")
        frozen.send_signal(signal.SIGSTOP)
        flood(broker, ("idle", "frozen"))
        peak = memory(broker.pid, "VmHWM")
        frozen.send_signal(signal.SIGCONT)
        assert take_all(idle, MILLION) == MILLION
        assert frozen.stdout.readline() == f"{MILLION}\n".encode()
        after = memory(broker.pid, "VmHWM")
        print(
            f"{MILLION} messages for each of two readers: "
            f"broker {before} MiB before, {peak} MiB at most while they were sent, "
            f"{after} MiB while they were read"
        )
        assert after < before + 250


def flood(broker: BrokerProcess, names: tuple[str, ...]) -> None:
    """Of three messages that a reader is to see, two are to everyone and one to it alone."""
    with Client("flood", broker.address, hear=False) as sender, sender.pipeline() as pipe:
        said = dict.fromkeys(("", *names), 0)
        for number in range(MILLION):
            for to in ("",) if number % 3 else names:
                if to:
                    pipe.send(to, str(said[to]))
                else:
                    pipe.echo(str(said[to]))
                said[to] += 1


def memory(pid: int, what: str) -> int:
    """MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) // 1024
    raise AssertionError(what)
