"""Real processes and sockets, on the loopback interface only.

Everything that a test starts is ended by its id when the test ends, in whatever state it is.
Waits are for conditions, and bounded by PATIENCE; no test asserts how long anything took.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chatbroker.testing.brokers import BrokerProcess

PATIENCE = 30.0
"""Seconds after which a test gives up on a condition; a busy test machine is slow."""

FAST_LEASES = ("--heartbeat", "0.2", "--lease", "1", "--grace", "0.3")
"""Broker options with which nobody waits long for a lease to run out."""

COMMANDS = Path(sys.executable).parent


class Finished(NamedTuple):
    """How a program ended."""

    status: int
    out: str
    err: str


class Stream:
    """What a program writes to one of its pipes, as it comes."""

    def __init__(self, pipe: Any, changed: threading.Condition) -> None:
        self.data = b""
        self.ended = False
        self._pipe = pipe
        self._changed = changed
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        pieces = []
        while chunk := os.read(self._pipe.fileno(), 1 << 16):
            pieces.append(chunk)
            with self._changed:
                self.data += chunk
                self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    @property
    def text(self) -> str:
        return self.data.decode()

    @property
    def lines(self) -> list[str]:
        """The lines that are whole."""
        return self.text.split("\n")[:-1]

    def close(self) -> None:
        self._thread.join(PATIENCE)
        self._pipe.close()


class Program:
    """A running command with pipes on its three standard streams."""

    def __init__(self, command: list[str], env: dict[str, str], stdin: Any) -> None:
        self._words = " ".join(command)
        # A session of its own: a pipeline is ended as a whole, and by its id.
        self._process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.PIPE if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._changed = threading.Condition()
        self._out = Stream(self._process.stdout, self._changed)
        self._err = Stream(self._process.stderr, self._changed)

    @property
    def out(self) -> str:
        return self._out.text

    @property
    def err(self) -> str:
        return self._err.text

    @property
    def lines(self) -> list[str]:
        return self._out.lines

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def type(self, *lines: str) -> None:
        """Writes lines to its stdin."""
        self.feed("".join([f"{line}\n" for line in lines]).encode())

    def feed(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def end_input(self) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def shows(self, pattern: str, times: int = 1) -> None:
        """Waits until its stdout has *pattern*, a regular expression, so many times."""
        self._await(self._out, lambda text: len(re.findall(pattern, text, re.M)) >= times, pattern)

    def says(self, pattern: str, times: int = 1) -> None:
        """Waits until its stderr has *pattern*."""
        self._await(self._err, lambda text: len(re.findall(pattern, text, re.M)) >= times, pattern)

    def shows_lines(self, count: int) -> None:
        """Waits until its stdout has so many lines."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._out.data.count(b"\n") >= count or self._out.ended, PATIENCE
            )
            enough = self._out.data.count(b"\n") >= count
        assert done, self._report(f"did not show {count} lines")
        assert enough, self._report(f"ended before it showed {count} lines")

    def _await(self, stream: Stream, ready: Callable[[str], bool], what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: ready(stream.text) or stream.ended, PATIENCE)
            met = ready(stream.text)
        assert met, self._report(f"did not write {what!r}")

    def _report(self, words: str) -> str:
        return f"{self._words}: {words}\nstdout: {_tail(self.out)}\nstderr: {_tail(self.err)}"

    def wait(self) -> Finished:
        """Waits until it has ended by itself."""
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(self._report("did not end"))
        self._close()
        return Finished(status, self.out, self.err)

    def finish(self) -> Finished:
        """Ends its input and waits until it has ended."""
        self.end_input()
        return self.wait()

    def kill(self) -> None:
        """Ends it, and what it started, as ``kill -9`` does."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._close()

    def _close(self) -> None:
        self.end_input()
        self._out.close()
        self._err.close()


def _tail(text: str) -> str:
    """The end of what a program wrote: it may be long."""
    lines = text.split("\n")
    return "\n".join(lines[-12:]) if len(lines) < 13 else "\n".join(["…", *lines[-12:]])


class Shell:
    """Starts commands, and ends all of them."""

    def __init__(self, folder: Path) -> None:
        self._programs: list[Program] = []
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CHAT_", "CHATBROKER_"))}
        self.env = kept | {
            "PATH": f"{COMMANDS}{os.pathsep}{os.environ['PATH']}",
            "CHATBROKER_CONFIG": os.devnull,
            "CHATBROKER_DATA": os.environ["CHATBROKER_DATA"],
            "PYTHONWARNINGS": "error",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }

    def start(
        self,
        *command: str,
        at: BrokerProcess | str | None = None,
        stdin: Any = None,
        env: dict[str, str] | None = None,
    ) -> Program:
        """Starts a command; *at*: the broker that it finds in CHAT_BROKER."""
        address = at if isinstance(at, str) or at is None else at.address
        extra = {} if address is None else {"CHAT_BROKER": address}
        program = Program(list(command), self.env | extra | (env or {}), stdin)
        self._programs.append(program)
        return program

    def chat(self, *args: str, **options: Any) -> Program:
        """Starts ``chat``; its input stays open."""
        return self.start(str(COMMANDS / "chat"), *args, **options)

    def run(self, *args: str, input: str | bytes = b"", **options: Any) -> Finished:
        """Runs ``chat`` with *input* on stdin until it ends."""
        program = self.chat(*args, **options)
        program.feed(input.encode() if isinstance(input, str) else input)
        return program.finish()

    def run_all(self, *commands: Iterable[str], **options: Any) -> list[Finished]:
        """Runs several ``chat`` side by side, each with an empty input."""
        programs = [self.chat(*command, **options) for command in commands]
        for program in programs:
            program.end_input()
        return [program.wait() for program in programs]

    def script(self, text: str, **options: Any) -> Finished:
        """Runs a shell script in which ``chat`` and ``chatbroker`` are found."""
        return self.start("bash", "-c", text, **options).finish()

    def close(self) -> None:
        for program in self._programs:
            program.kill()


class Proxy:
    """Forwards both ports of a broker from another loopback address, and cuts connections.

    A client takes the port for broadcasts from WELCOME and the host from the address that it
    was given: so the proxy has the same ports on another host.
    """

    HOST = "127.0.0.2"

    def __init__(
        self, broker: BrokerProcess, cut_at: Iterable[int] = (), broadcasts: bool = True
    ) -> None:
        """*cut_at*: every connection is cut when so many bytes were forwarded in all.
        *broadcasts*: whether their port is forwarded too."""
        self.address = f"tcp://{self.HOST}:{broker.port}"
        self.cuts = 0
        self._cut_at = sorted(cut_at)
        self.forwarded = 0
        self.seen: bytearray | None = None
        """What was forwarded, either way, if somebody wants to see it."""
        self._open: set[socket.socket] = set()
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listeners = [
            socket.create_server((self.HOST, port))
            for port in (broker.port, broker.pub_port)[: 1 + broadcasts]
        ]
        for listener in self._listeners:
            self._begin(self._accept, listener)

    def _begin(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", port))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
                self._ends += (near, far)
            self._begin(self._forward, near, far)
            self._begin(self._forward, far, near)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                target.sendall(data)
                if self.seen is not None:
                    self.seen += data
                self._count(len(data))
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _count(self, size: int) -> None:
        with self._lock:
            self.forwarded += size
            due = bool(self._cut_at) and self.forwarded >= self._cut_at[0]
            if due:
                del self._cut_at[0]
        if due:
            self.cut()

    def cut(self) -> None:
        """Ends every connection there is; new ones are accepted."""
        with self._lock:
            self.cuts += 1
            ends, self._open = self._open, set()
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE)
        for end in self._ends:
            end.close()


def _eventually(ready: Callable[[], object], words: str = "the condition was not met") -> None:
    """Looks until *ready* is true."""
    until = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < until, words
        time.sleep(0.02)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Runs commands; all are ended after the test."""
    shell = Shell(tmp_path)
    try:
        yield shell
    finally:
        shell.close()


@pytest.fixture
def broker() -> Iterator[BrokerProcess]:
    """A broker that knows nobody: names and mail outlive those who came in another test."""
    with BrokerProcess(*FAST_LEASES) as broker:
        yield broker


@pytest.fixture
def proxies() -> Iterator[Callable[..., Proxy]]:
    """Starts proxies: ``proxies(broker, cut_at=[…])``."""
    started: list[Proxy] = []

    def start(broker: BrokerProcess, *args: Any, **options: Any) -> Proxy:
        started.append(Proxy(broker, *args, **options))
        return started[-1]

    try:
        yield start
    finally:
        for proxy in started:
            proxy.close()


@pytest.fixture
def eventually() -> Callable[..., None]:
    return _eventually


@pytest.fixture
def fast_leases() -> tuple[str, ...]:
    return FAST_LEASES


@pytest.fixture
def memory_of() -> Callable[[int], int]:
    """How many bytes of memory a process holds."""

    def resident(pid: int) -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        match = re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)
        assert match is not None
        return int(match[1]) * 1024

    return resident
