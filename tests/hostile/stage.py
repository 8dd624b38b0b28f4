"""A broker, two polite clients, and the figures of what an attack did to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from chatbroker.testing.brokers import BrokerProcess

PATIENCE = 60.0
MIB = 2**20


class Figures(NamedTuple):
    """What an attack did.  Memory in MiB, times in ms."""

    attack: str
    size: str
    before: int
    peak: int
    after: int
    p50_before: float
    p50_during: float
    max_during: float
    heard: float
    """The longest until another client had a message."""
    served: int
    ended: str

    @property
    def row(self) -> str:
        return (
            f"| {self.attack} | {self.size} | {self.before} / {self.peak} / {self.after} "
            f"| {self.p50_before:.1f} / {self.p50_during:.1f} / {self.max_during:.0f} "
            f"| {self.heard:.0f} | {self.ended} |"
        )


HEADER = (
    "| attack | size | memory before / peak / after, MiB "
    "| acknowledged before p50 / during p50 / max, ms "
    "| heard at the latest after, ms | what ended it |\n"
    "| --- | --- | --- | --- | --- | --- |"
)


class Stage:
    """*descriptors*: how many the broker may have.  *options*: of ``chatbroker run``.  *durable*:
    whether it keeps its data on disk."""

    def __init__(
        self,
        scale: int = 1,
        descriptors: int = 0,
        options: Sequence[str] = (),
        durable: bool = False,
    ) -> None:
        self.scale = scale
        self._data = TemporaryDirectory() if durable else None
        data_dir = None if self._data is None else Path(self._data.name)
        prefix = ("sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh") if descriptors else ()
        self.broker = BrokerProcess(*options, data_dir=data_dir, prefix=prefix)
        self.address, self.pub_address = self.broker.address, self.broker.pub_address

    def run(self, attack: Callable[[Stage], tuple[str, str]]) -> Figures:
        """Carries it out while the polite talk; asserts that they are served and lose nothing,
        and that the broker is itself again afterwards."""
        with subprocess.Popen(
            [sys.executable, "-m", "hostile.polite", self.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.broker.env | {"PYTHONPATH": str(Path(__file__).parents[1])},
        ) as polite:
            try:
                assert polite.stdin is not None
                assert polite.stdout is not None
                assert polite.stdout.readline() == "ready\n"
                until = time.monotonic() + 0.5
                while time.monotonic() < until:  # Some messages in peace, to compare with.
                    time.sleep(0.05)
                before, open_before = self.memory(), self.descriptors()
                Path(f"/proc/{self.broker.pid}/clear_refs").write_text("5")  # Peak begins anew.
                polite.stdin.write("during\n")
                polite.stdin.flush()
                size, ended = attack(self)
                self.eventually(lambda: self.descriptors() <= open_before + 2, "open descriptors")
                out, _ = polite.communicate(timeout=PATIENCE)
            finally:
                if polite.poll() is None:
                    polite.kill()
        assert polite.returncode == 0
        told = json.loads(out)
        calm, harm = told["stored"]
        assert told["whole"], "the polite lost something"
        assert harm, "the polite were not served"
        peak, after = self.memory("VmHWM"), self.memory()
        assert self.broker.stop() == 0, self.broker.log()
        assert "Traceback" not in self.broker.log(), self.broker.log()
        return Figures(
            attack.__name__.replace("_", " "),
            size,
            before // MIB,
            peak // MIB,
            after // MIB,
            median(calm) * 1000,
            median(harm) * 1000,
            max(harm) * 1000,
            max(told["had"][1]) * 1000,
            len(harm),
            ended,
        )

    def memory(self, what: str = "VmRSS") -> int:
        """Bytes that the broker holds."""
        for line in Path(f"/proc/{self.broker.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {what}: the broker has ended: {self.broker.log()}")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.broker.pid}/fd"))

    def told(self, words: str) -> int:
        """How often these words are in the broker's log."""
        return self.broker.log().count(words)

    def eventually(self, ready: Callable[[], object], words: str) -> None:
        """Looks until *ready* is true."""
        until = time.monotonic() + PATIENCE
        while not ready():
            assert time.monotonic() < until, words
            time.sleep(0.05)

    def close(self) -> None:
        self.broker.close()
        if self._data is not None:
            self._data.cleanup()
