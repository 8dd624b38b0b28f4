"""The processes under test: started, measured, and ended by their id whatever happens."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

START = 10.0
"""Seconds that a server may take until it is ready."""

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds: what /proc counts CPU in."""


def end_as_after_ctrl_c() -> None:
    """From now on what was started is ended on the way out also when this process is told to end,
    or its terminal has gone."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup it stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A terminal that closes, or a shell, may say it twice: the way out is gone once.
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


class NotStarted(RuntimeError):
    """A server did not start.  The text says how."""


class Cpu(NamedTuple):
    """Seconds of CPU, user and system."""

    whole: float
    """Of all threads."""
    main: float
    """Of the thread that runs the Python code: what it needs for a message bounds the rate,
    whatever else the machine is doing."""

    def since(self, before: Cpu) -> Cpu:
        return Cpu(self.whole - before.whole, self.main - before.main)


def cpu_of(pid: int) -> Cpu:
    """What a process has used so far, by the scheduler's nanoseconds where the kernel has them."""
    own = Path(f"/proc/{pid}")
    main = own / "task" / str(pid)
    if (main / "schedstat").exists():
        return Cpu(sum(map(_scheduled, (own / "task").iterdir())), _scheduled(main))
    return Cpu(_ticks(own), _ticks(main))


def _scheduled(task: Path) -> float:
    # https://docs.kernel.org/scheduler/sched-stats.html: the first is the time on a processor.
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # A thread that has just ended.


def _ticks(folder: Path) -> float:
    # The command's name, in parentheses, may hold spaces.
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


class Server(NamedTuple):
    """A running broker or forwarder."""

    broker: str
    pub: str
    pid: int

    @property
    def port(self) -> int:
        return int(self.broker.rsplit(":", 1)[1])

    def cpu(self) -> Cpu:
        """What the process has used so far."""
        return cpu_of(self.pid)


@contextmanager
def running(
    command: Sequence[str], is_ready: Callable[[], bool], log: int | None = subprocess.DEVNULL
) -> Iterator[int]:
    """The id of a process that runs *command*, and is ready; *log* takes what it says to stderr.

    Raises `NotStarted`."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
        )
    except OSError as error:
        raise NotStarted(f"cannot be run: {error}") from None
    try:
        deadline = time.monotonic() + START
        while not is_ready():
            if process.poll() is not None:
                raise NotStarted(f"ended with {process.returncode}: {' '.join(command)}")
            if time.monotonic() > deadline:
                raise NotStarted(f"not ready within {START:.0f} s: {' '.join(command)}")
            time.sleep(0.01)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except BaseException:
            process.kill()
            process.wait()
            raise


@contextmanager
def _serving(command: Sequence[str], ready_file: Path, log: int | None = None) -> Iterator[Server]:
    with running(command, ready_file.exists, log) as pid:
        told = json.loads(ready_file.read_text())
        yield Server(told["broker"], told["pub"], pid)


@contextmanager
def running_broker(*options: str) -> Iterator[Server]:
    """The broker, by default with its journal in memory."""
    with tempfile.TemporaryDirectory() as folder:
        ready_file = Path(folder, "ready")
        command = [sys.executable, "-m", "chatbroker.broker", "run", "--port", "0"]
        command += options or ["--memory"]
        with _serving([*command, "--ready-file", str(ready_file)], ready_file) as server:
            yield server


def on_disk() -> str:
    """The folder for what is to be on disk.  Where temporary files go may be memory."""
    build = Path(__file__).parents[1] / "build"
    build.mkdir(exist_ok=True)
    return str(build)


@contextmanager
def folder_on_disk() -> Iterator[str]:
    """A folder there, for a while."""
    with tempfile.TemporaryDirectory(dir=on_disk()) as folder:
        yield folder


class Commits(NamedTuple):
    """What a journal stored from its start to its end."""

    commits: int
    rows: int
    """Events: a direct message is two."""


def count_commits(run: Callable[[Server], float]) -> tuple[Commits, float]:
    """Has *run* load a broker on disk; what its journal stored, and what *run* gave."""
    with folder_on_disk() as folder:
        log = Path(folder, "log")
        command = [sys.executable, "-m", "chatbroker.broker", "run", "-v", "--port", "0"]
        command += ["--data-dir", folder, "--keep-bytes", "unlimited"]
        ready_file = Path(folder, "ready")
        with (
            log.open("wb") as file,
            _serving([*command, "--ready-file", str(ready_file)], ready_file, file.fileno()) as one,
        ):
            given = run(one)
        found = re.search(r"journal commits=(\d+) messages=(\d+)", log.read_text())
        if found is None:
            raise RuntimeError(f"the broker did not tell what it stored: {log.read_text()[-500:]}")
        return Commits(int(found[1]), int(found[2])), given


@contextmanager
def durable_broker(*options: str) -> Iterator[Server]:
    """The broker, with its journal in a folder of its own on disk."""
    with (
        folder_on_disk() as folder,
        running_broker("--data-dir", folder, "--keep-bytes", "unlimited", *options) as server,
    ):
        yield server


@contextmanager
def running_forwarder(form: str = "fast") -> Iterator[Server]:
    """The forwarder that it is compared with; *form*: one of `forwarder.FORMS`."""
    with tempfile.TemporaryDirectory() as folder:
        ready_file = Path(folder, "ready")
        command = [sys.executable, "-m", "bench.forwarder", str(ready_file), form]
        with _serving(command, ready_file) as server:
            yield server


def wall_time(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Seconds from the start to the end of *command*.  Raises if it fails."""
    start = time.perf_counter()
    subprocess.run(
        command,
        env=environment,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=30,
    )
    return time.perf_counter() - start
