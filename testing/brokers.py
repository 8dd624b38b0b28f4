"""Brokers in processes of their own, on free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from ..client import Client

START_WITHIN = 20.0
"""Seconds that a broker may take to serve; a busy test machine is slow."""

STOP_WITHIN = 10.0


class BrokerProcess:
    """A running ``chatbroker run``.

    *port*, *pub_port*: 0 for any free one.  *data_dir*: the folder to keep the data in; None:
    nothing is kept.  *options*: more arguments for the command.  *prefix*: what the command is
    started by, such as ``("nice",)``; it has to become it.
    """

    def __init__(
        self,
        *options: str,
        port: int = 0,
        pub_port: int = 0,
        data_dir: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self._clients: list[Client] = []
        self._folder = tempfile.TemporaryDirectory(prefix="chatbroker-")
        ready_file = Path(self._folder.name) / "ready"
        self._log = Path(self._folder.name) / "log"
        # Whatever is set around the test, in variables or in a file, is for somebody else's broker.
        self._own = {"CHATBROKER_DATA": str(Path(self._folder.name) / "data")}
        self._own |= {"CHATBROKER_CONFIG": os.devnull}
        command = [*prefix, sys.executable, "-m", "chatbroker.broker", "run"]
        command += ["--memory"] if data_dir is None else ["--data-dir", str(data_dir)]
        command += ["--port", str(port), "--pub-port", str(pub_port)]
        command += ["--ready-file", str(ready_file), *options]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=self._around,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            until = time.monotonic() + START_WITHIN
            while not ready_file.exists():
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the broker did not start: {self.log()}")
                time.sleep(0.01)
        except BaseException:
            # Also if a signal ends the wait: nobody has it yet who could close it.
            self.kill()
            self._folder.cleanup()
            raise
        ready = json.loads(ready_file.read_text())
        self.address: str = ready["broker"]
        """``tcp://HOST:PORT``, for ``Client`` and for ``chat --broker``."""
        self.pub_address: str = ready["pub"]
        self.metrics_address: str | None = ready.get("metrics")
        """Where it serves metrics, if ``--metrics-port`` is among the *options*."""
        self.port = _port(self.address)
        self.pub_port = _port(self.pub_address)
        self.pid = self._process.pid

    @property
    def env(self) -> dict[str, str]:
        """This process's environment with CHAT_BROKER set, for a ``subprocess``; and with
        CHATBROKER_DATA, so that the identities of its users are gone with the broker, and
        ``chatbroker status --port`` and the like find it.  What else it sets for the commands, in
        CHAT_… and CHATBROKER_…, is left out, and so is the config file."""
        return self._around | {"CHAT_BROKER": self.address}

    @property
    def _around(self) -> dict[str, str]:
        ours = ("CHAT_", "CHATBROKER_")
        here = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return here | self._own

    def client(self, name: str | None = None, **options: Any) -> Client:
        """A connected client; closed with the broker.  *options* as for ``Client``."""
        client = Client(name, self.address, **options)
        self._clients.append(client)
        return client

    def log(self) -> str:
        """What the broker wrote to stderr."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """Ends the broker as ``kill -9`` does."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Stops the broker as SIGTERM does; returns its exit status."""
        self._process.terminate()
        return self._process.wait(STOP_WITHIN)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, such as SIGSTOP."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Closes the clients and ends the broker, whatever state it is in."""
        with ExitStack() as ending:  # All of it, whatever fails.
            ending.callback(self._folder.cleanup)
            ending.callback(self._end)
            for client in self._clients:
                ending.callback(client.close)

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Brokers:
    """Starts brokers, and ends all of them."""

    def __init__(self) -> None:
        self._started = ExitStack()

    def start(
        self, *options: str, port: int = 0, pub_port: int = 0, data_dir: Path | None = None
    ) -> BrokerProcess:
        """A new broker on free ports; several run side by side."""
        broker = BrokerProcess(*options, port=port, pub_port=pub_port, data_dir=data_dir)
        return self._started.enter_context(broker)

    def close(self) -> None:
        self._started.close()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
