"""However a benchmark is ended, nothing that it started goes on, and no folder is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

WITHIN = 30.0

RUNS = {
    "bench": (["bench", "--seconds", "10", "direct"], 3),
    "bench.peers": (
        ["bench.peers", "memory", "--peers", "chatbroker,classic", "--rounds", "99"],
        6,
    ),
}
"""What is run, and how many processes it is when all of it is up."""


def of_session(number):
    """The ids of the processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == number and state != "Z":
                found.append(int(stat.parent.name))
    return found


def tell(process):
    process.terminate()


def close_the_terminal(process):
    """All that run in it hear of it, and some shells say it again."""
    os.killpg(process.pid, signal.SIGHUP)
    process.send_signal(signal.SIGHUP)


def wait_until(is_so):
    deadline = time.monotonic() + WITHIN
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("end", [tell, close_the_terminal])
def test_a_benchmark_that_is_ended_leaves_nothing(tmp_path, name, end):
    arguments, processes = RUNS[name]
    running = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(of_session(running.pid)) >= processes)
        end(running)
        assert running.wait(WITHIN) == 130
        wait_until(lambda: not of_session(running.pid))
        assert list(tmp_path.iterdir()) == []
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
