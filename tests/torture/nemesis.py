"""A run: a broker on disk, senders, readers, and faults drawn by chance from one seed."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from chatbroker.broker.check import check_journal
from chatbroker.broker.database import FILE
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.batch import unpack_events

from .record import Record, read_record
from .report import longest_recovery, trace
from .verdict import Stored, judge, outcomes

TESTS = Path(__file__).parents[1]
START_WITHIN = 30.0
END_WITHIN = 150.0
SENDERS = ("sam", "sue", "sid")
READERS = {"rae": "position", "rob": "unread", "ruth": "position"}
LEASES = (
    ("--heartbeat", "0.2", "--lease", "0.8", "--grace", "0.3"),
    ("--heartbeat", "1", "--lease", "4", "--grace", "2"),
)
"""Shorter than some faults last, so that the broker takes many for lost who are not, or longer
than all."""


def free_ports() -> tuple[int, int]:
    """Two ports that are free for the broker and for the proxy.

    Below those that the system gives to connections: while the broker is down, a client that
    tries again and again to connect to such a port may be given that very one, meet itself, and
    keep the broker from coming back.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        port = random.randrange(lowest // 2, lowest - 1)
        with ExitStack() as taken, suppress(OSError):
            for host in ("127.0.0.1", Proxy.HOST):
                for number in (port, port + 1):
                    taken.enter_context(socket.create_server((host, number)))
            return port, port + 1
    raise AssertionError(f"no free ports below {lowest}")


class Proxy:
    """Forwards both ports of a broker from another loopback address; cuts and holds."""

    HOST = "127.0.0.3"

    def __init__(self, ports: tuple[int, int]) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.delay = 0.0
        """Seconds by which everything comes later."""
        self._flows = {"up": threading.Event(), "down": threading.Event()}
        for flow in self._flows.values():
            flow.set()
        self._threads: list[threading.Thread] = []
        self._listeners = [socket.create_server((self.HOST, port)) for port in ports]
        for listener in self._listeners:
            self._begin(self._accept, listener)

    def _begin(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
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
                far = socket.create_connection(("127.0.0.1", port), 5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            self._begin(self._carry, near, far)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        down = threading.Thread(target=self._forward, args=(far, near, "down"), daemon=True)
        down.start()
        self._forward(near, far, "up")
        down.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _forward(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with suppress(OSError):
            while data := source.recv(16384):
                self._flows[way].wait(30)
                time.sleep(self.delay)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def hold(self, *ways: str) -> None:
        """Nothing comes through any more, and nobody is told: half open."""
        for way in ways:
            self._flows[way].clear()

    def flow(self) -> None:
        for flow in self._flows.values():
            flow.set()

    def cut(self) -> None:
        with self._lock:
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.flow()
        self.cut()
        for thread in self._threads:
            thread.join(10)


class Program:
    """A sender or a reader, started again whenever it was killed."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._command = command
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self._command],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )

    @property
    def ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def signal(self, number: int) -> None:
        assert self._process is not None
        if not self.ended:
            self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def order(self, word: str) -> None:
        """``finish`` or ``leave``."""
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(END_WITHIN)

    def close(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self.kill()
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):
                self._process.stdin.close()


class Run:
    """Everything of one run, in *folder*.  *broker*: the module that is run as the broker."""

    def __init__(self, folder: Path, seed: int, broker: str = "torture.slow_broker") -> None:
        self.folder = folder
        self.seed = seed
        self.rng = random.Random(seed)
        self._leases = self.rng.choice(LEASES)
        self.faults: Counter[str] = Counter()
        self._notes = Record(folder / "nemesis.record")
        self._bag: list[str] = []
        self._looked_at = dict.fromkeys(SENDERS, 0)
        """How much of each sender's record was counted."""
        self._acks = 0
        self.data = folder / "data"
        self._module = broker
        self._disk = folder / "disk"
        self._ready = folder / "ready"
        self._stack = ExitStack()
        paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
        self._env = os.environ | {
            "PYTHONPATH": os.pathsep.join([path for path in paths if path]),
            "CHATBROKER_DATA": str(folder / "home"),
            "TORTURE_DISK": str(self._disk),
        }
        self._broker: subprocess.Popen[bytes] | None = None
        self._ports = free_ports()
        self.programs: dict[str, Program] = {}

    def __enter__(self) -> Self:
        self._stack.callback(self._end_broker)
        try:
            self.start_broker()
            self.proxy = Proxy(self._ports)
            self._stack.callback(self.proxy.close)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    # --- the broker -----------------------------------------------------------------------

    def start_broker(self) -> None:
        self._ready.unlink(missing_ok=True)
        port, pub_port = self._ports
        command = [sys.executable, "-m", self._module, "run", "--data-dir", str(self.data)]
        command += ["--port", str(port), "--pub-port", str(pub_port), *self._leases]
        command += ["--keep-bytes", "unlimited", "--ready-file", str(self._ready)]
        with (self.folder / "broker.log").open("ab") as log:
            self._broker = subprocess.Popen(
                command, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until = time.monotonic() + START_WITHIN
        while not self._ready.exists():
            if self._broker.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the broker does not start: {self.log()}")
            time.sleep(0.01)

    def log(self) -> str:
        """The end of what the broker wrote."""
        return (self.folder / "broker.log").read_text(errors="replace")[-3000:]

    @property
    def broker(self) -> subprocess.Popen[bytes]:
        assert self._broker is not None
        return self._broker

    def kill_broker(self) -> None:
        self.broker.kill()
        self.broker.wait()

    def stop_broker(self) -> None:
        self.broker.terminate()
        assert self.broker.wait(START_WITHIN) == 0, self.log()

    def _end_broker(self) -> None:
        if self._broker is not None and self._broker.poll() is None:
            self._broker.send_signal(signal.SIGCONT)
            self.kill_broker()

    # --- the programs ---------------------------------------------------------------------

    def address(self, name: str) -> str:
        """Every other one goes through the proxy."""
        names = [*SENDERS, *READERS]
        host = Proxy.HOST if names.index(name) % 2 == 0 else "127.0.0.1"
        return f"tcp://{host}:{self._ports[0]}"

    def record(self, name: str) -> Path:
        return self.folder / f"{name}.record"

    def start_programs(self) -> None:
        for name, how in READERS.items():
            self._start(name, ["torture.reader", name, self.address(name), "", how])
        # Who is written to has to be known.
        for name in READERS:
            until = time.monotonic() + START_WITHIN
            while not any(line[0] == "open" for line in read_record(self.record(name))):
                assert time.monotonic() < until, f"{name} does not get in: {self.log()}"
                time.sleep(0.05)
        for number, name in enumerate(SENDERS):
            hears = "hears" if number == 0 else "deaf"
            self._start(
                name,
                ["torture.sender", name, self.address(name), "", str(self.seed), hears, *READERS],
            )

    def _start(self, name: str, command: list[str]) -> None:
        command[3] = str(self.record(name))
        self.programs[name] = Program(command, self._env)
        self._stack.callback(self.programs[name].close)

    # --- faults ---------------------------------------------------------------------------

    def kinds(self) -> dict[str, Callable[[], Callable[[], None]]]:
        """The faults: each begins one, and gives what ends it."""

        def gone(end: Callable[[], None]) -> Callable[[], Callable[[], None]]:
            def begin() -> Callable[[], None]:
                end()
                return self.start_broker

            return begin

        def stopped(signal_it: Callable[[int], None]) -> Callable[[], None]:
            signal_it(signal.SIGSTOP)
            return lambda: signal_it(signal.SIGCONT)

        def pick(names: Any) -> Program:
            return self.programs[self.rng.choice(sorted(names))]

        def killed(names: Any) -> Callable[[], None]:
            program = pick(names)
            program.kill()
            return program.start

        def half_open() -> Callable[[], None]:
            ways = self.rng.choice([("up",), ("down",), ("up", "down")])
            cut = self.rng.random() < 0.5
            self.proxy.hold(*ways)

            def end() -> None:
                if cut:
                    self.proxy.cut()
                self.proxy.flow()

            return end

        def disk(**orders: Any) -> Callable[[], Callable[[], None]]:
            def begin() -> Callable[[], None]:
                self._order(orders)
                return lambda: self._order({})

            return begin

        def cut() -> Callable[[], None]:
            self.proxy.cut()
            return lambda: None

        def delayed() -> Callable[[], None]:
            self.proxy.delay = self.rng.uniform(0.01, 0.1)

            def end() -> None:
                self.proxy.delay = 0.0

            return end

        def away() -> Callable[[], None]:
            program = pick(READERS)
            program.order("leave")
            program.wait()
            return program.start

        def killed_while_paused() -> Callable[[], None]:
            self.broker.send_signal(signal.SIGSTOP)

            def end() -> None:
                self.kill_broker()
                self.start_broker()

            return end

        return {
            "broker killed": gone(self.kill_broker),
            "broker stopped and started": gone(self.stop_broker),
            "broker paused": lambda: stopped(self.broker.send_signal),
            "broker killed while paused": killed_while_paused,
            "sender killed": lambda: killed(SENDERS),
            "reader killed": lambda: killed(READERS),
            "reader away": away,
            "sender paused": lambda: stopped(pick(SENDERS).signal),
            "reader paused": lambda: stopped(pick(READERS).signal),
            "connections cut": cut,
            "connections half open": half_open,
            "connections slow": delayed,
            "disk slow": disk(delay=0.1),
            "disk refuses": disk(refuse=True),
            "disk full": self._fill_disk,
        }

    def _order(self, orders: dict[str, Any]) -> None:
        draft = self._disk.with_suffix(".new")
        draft.write_text(json.dumps(orders))
        draft.replace(self._disk)

    def _fill_disk(self) -> Callable[[], None]:
        broker = self.broker
        size = max([file.stat().st_size for file in self.data.iterdir()])
        before = resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (size, -1))

        def end() -> None:
            with suppress(ProcessLookupError):
                resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, before)

        return end

    def torment(self, faults: int) -> None:
        """So many faults, alone and up to three at a time."""
        kinds = self.kinds()
        while self.faults.total() < faults:
            some = self._draw(min(self.rng.choice([1, 1, 1, 2, 3]), faults - self.faults.total()))
            ends = []
            for kind in some:
                self.faults[kind] += 1
                self._notes.note("begins", kind)
                ends.append((kind, kinds[kind]()))
                time.sleep(self.rng.choice([0.0, 0.0, 0.05]))
            time.sleep(self.rng.uniform(0.02, self.rng.choice([0.3, 0.8, 2.0])))
            for kind, end in reversed(ends):
                end()
                self._notes.note("mended", kind)
            assert self.broker.poll() is None, f"the broker ended by itself: {self.log()}"
            for name, program in self.programs.items():
                assert not program.ended, f"{name} ended by itself"
            # Mostly a fault befalls a system that works again, but not always.
            if self.rng.random() < 0.7:
                assert self.await_acknowledgement(), f"nothing is acknowledged: {self.log()}"

    def _draw(self, count: int) -> list[str]:
        """Kinds of faults from a bag, so that each has its turn; the broker's come last, and are
        mended first."""
        drawn: list[str] = []
        while len(drawn) < count:
            if not self._bag:
                # What most of all must do no harm comes twice.
                self._bag = sorted([*self.kinds(), "broker killed"])
                self.rng.shuffle(self._bag)
            fits = [kind for kind in self._bag if not any(_clash(kind, one) for one in drawn)]
            if not fits:
                break
            self._bag.remove(fits[0])
            drawn.append(fits[0])
        return sorted(drawn, key=lambda kind: kind.startswith("broker"))

    def await_acknowledgement(self, patience: float = 60.0) -> bool:
        """Waits until one more message was acknowledged to anybody; False if none was for too
        long."""
        before, until = self._acknowledged(), time.monotonic() + patience
        while self._acknowledged() == before:
            if time.monotonic() > until:
                return False
            time.sleep(0.005)
        return True

    def _acknowledged(self) -> int:
        for name in SENDERS:
            path = self.record(name)
            if path.exists():
                with path.open("rb") as file:
                    file.seek(self._looked_at[name])
                    self._acks += file.read().count(b'["ok"')
                    self._looked_at[name] = file.tell()
        return self._acks

    # --- the end --------------------------------------------------------------------------

    def finish(self) -> list[str]:
        """Ends all trouble, lets everybody finish, and judges."""
        for names in (SENDERS, READERS):
            for name in names:
                self.programs[name].order("finish")
            for name in names:
                assert self.programs[name].wait() == 0, f"{name} failed"
        for name in (*SENDERS, *READERS):
            audit = Program(
                ["torture.reader", name, self.address(name), str(self._audit(name)), "audit"],
                self._env,
            )
            self._stack.callback(audit.close)
            assert audit.wait() == 0
        self.stop_broker()
        return self.judge()

    def _audit(self, name: str) -> Path:
        return self.folder / f"{name}.audit"

    def judge(self) -> list[str]:
        """The breaches that the records and the data show; the broker must not be running."""
        stored = read_stored(self.data)
        senders = {name: list(read_record(self.record(name))) for name in SENDERS}
        readers = {name: list(read_record(self.record(name))) for name in READERS}
        # Whoever asks for all of it in the end is a reader like others.
        for name in (*SENDERS, *READERS):
            if self._audit(name).exists():
                readers[f"{name} in the end"] = list(read_record(self._audit(name)))
        breaches = [f"check: {fault}" for fault in check_journal(self.data / FILE).faults]
        return breaches + judge(senders, readers, stored)

    def explain(self, breaches: list[str]) -> str:
        """The breaches, and all that anybody noted of what the first ones are about."""
        records = {path.stem: list(read_record(path)) for path in self.folder.glob("*.record")}
        traces = [trace(breach, records) for breach in breaches[:3]]
        more = [f"… {len(breaches)} in all"] if len(breaches) > 3 else []
        return "\n".join([self.summary(), *traces, *more])

    def summary(self) -> str:
        senders = {name: list(read_record(self.record(name))) for name in SENDERS}
        invoked, heard = outcomes(senders)
        told = Counter(heard.values())
        notes = read_record(self.folder / "nemesis.record")
        mended = [at for what, at, *_ in notes if what == "mended"]
        acks = [at for record in senders.values() for what, at, *_ in record if what == "ok"]
        return (
            f"seed {self.seed}: {self.faults.total()} faults {dict(sorted(self.faults.items()))}; "
            f"{len(invoked)} messages, {dict(told)}, "
            f"{len(invoked) - len(heard)} of killed senders; "
            f"longest recovery {longest_recovery(mended, acks):.1f} s"
        )


def _clash(one: str, other: str) -> bool:
    """Whether two faults are of the same kind of thing, and cannot be at the same time."""
    return one.split()[0] == other.split()[0]


def read_stored(folder: Path) -> dict[str, list[Stored]]:
    """All that is stored: the public log and, by their owners' names, the mailboxes."""
    journal = SqliteJournal(folder / FILE)
    try:
        kept = journal.load(bytes(8))
        keys = {"echo": "echo"} | {user.name: user.log for user in kept.users}
        return {name: list(_read_log(journal, key)) for name, key in keys.items()}
    finally:
        journal.close()


def _read_log(journal: SqliteJournal, key: str) -> Iterator[Stored]:
    after = 0
    while rows := journal.fetch(key, after, 1 << 20).rows:
        for row in rows:
            for seq, event in enumerate(unpack_events(row.body), row.first):
                assert event is not None
                yield Stored(seq, event.sender, event.to, event.text)
            after = row.last


@contextmanager
def running(folder: Path, seed: int, broker: str = "torture.slow_broker") -> Iterator[Run]:
    """A run whose programs have begun."""
    print(f"seed {seed}")
    with Run(folder, seed, broker) as run:
        run.start_programs()
        yield run
        print(run.summary())
