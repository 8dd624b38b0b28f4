"""Nothing acknowledged is lost, doubled or reordered, whatever befalls broker and clients.

The short runs of `make test`.  ``CHATBROKER_SEED`` repeats a run, ``CHATBROKER_FAULTS`` makes it
longer: `make torture`.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from chatbroker.client import Broadcast, Client, Direct, Since
from chatbroker.testing.brokers import BrokerProcess
from torture.nemesis import SENDERS, Run, running

FAULTS = int(os.environ.get("CHATBROKER_FAULTS", "12"))
SEED = int(os.environ.get("CHATBROKER_SEED", "3"))
MILLION = int(os.environ.get("CHATBROKER_MESSAGES", "40000"))

pytestmark = pytest.mark.timeout(1800)


def test_nothing_is_lost_whatever_happens(tmp_path):
    with running(tmp_path, SEED) as run:
        run.torment(FAULTS)
        breaches = run.finish()
        assert breaches == [], f"{run.summary()}\n" + "\n".join(breaches[:20])


def test_a_broker_that_acknowledges_before_it_stores_is_found_out(tmp_path):
    """The mutation without which nobody knows whether the checker checks."""
    for seed in range(SEED, SEED + 10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with running(folder, seed, "torture.early_ack_broker") as run:
            for _ in range(3):
                _wait_for_acknowledgements(run)
                run.kill_broker()
                run.start_broker()
            _wait_for_acknowledgements(run)
            for program in run.programs.values():
                program.kill()
            run.kill_broker()
            if any(breach.startswith("lost: ") for breach in run.judge()):
                return
    raise AssertionError("the checker has found nothing to complain about")


def _wait_for_acknowledgements(run: Run) -> None:
    """Until one more message was acknowledged: then the next may be so at this moment.

    Not for ever: whose commands were undone may be at odds with the broker for good."""

    def acknowledged() -> int:
        paths = [run.record(name) for name in SENDERS]
        return sum([path.read_bytes().count(b'["ok"') for path in paths if path.exists()])

    before, until = acknowledged(), time.monotonic() + 10.0
    while acknowledged() == before and time.monotonic() < until:
        time.sleep(0.005)


def test_a_reader_that_was_stopped_catches_up_on_all_of_it(tmp_path):
    """Far more goes by than all buffers between them hold."""
    with BrokerProcess("--keep-bytes", "unlimited", data_dir=tmp_path / "data") as broker:
        reader = Client("reader", broker.address, since=Since.all(), since_direct=Since.all())
        sender = Client("sender", broker.address, hear=False)
        try:
            reader.wait_listening()
            before = _memory(broker.pid, "VmRSS")
            with sender.pipeline() as pipe:
                for number in range(MILLION // 2):
                    pipe.echo(f"{number}")
                    pipe.send("reader", f"{number}")
            peak = _memory(broker.pid, "VmHWM")
            print(f"{MILLION} messages: broker {before} MiB before, {peak} MiB at most")
            assert peak < before + 250
            expected = {Broadcast: 0, Direct: 0}
            while sum(expected.values()) < MILLION:
                events = reader.receive_many(60.0, 5000)
                assert events, f"nothing more comes: {expected}"
                for event in events:
                    if isinstance(event, Broadcast | Direct):
                        assert event.text == str(expected[type(event)])
                        expected[type(event)] += 1
                        assert event.seq == expected[type(event)]
        finally:
            reader.close()
            sender.close()


def _memory(pid: int, what: str) -> int:
    """MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) // 1024
    raise AssertionError(what)


def test_a_reader_that_was_frozen_catches_up_on_all_of_it(tmp_path):
    """As by a lid that closes: its process is stopped, its sockets fill."""
    with running(tmp_path, SEED, "chatbroker.broker") as run:
        reader = run.programs["rae"]
        reader.signal(signal.SIGSTOP)
        with Client("flood", run.address("sue"), hear=False) as flood, flood.pipeline() as pipe:
            for number in range(MILLION // 10):
                pipe.echo(f"flood:{number}")
        reader.signal(signal.SIGCONT)
        breaches = [b for b in run.finish() if "flood" not in b]
        assert breaches == []
