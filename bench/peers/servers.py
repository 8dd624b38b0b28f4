"""The servers that are compared: each told to be as fast as it can, in a folder of its own.

The settings are those of the servers' own documentation, which is named beside them.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..processes import folder_on_disk, running
from .speech import Listening

INSTALLING = 300.0
"""Seconds that apt-get may take."""


UNKNOWN = "of an unknown version"


class Absent(RuntimeError):
    """A server cannot be had here.  The text says why."""


class Package(NamedTuple):
    """Where a server comes from."""

    binary: str
    debian: str
    version: str
    """The option with which it tells its version."""


NATS = Package("nats-server", "nats-server", "--version")
REDIS = Package("redis-server", "redis-server", "--version")
MOSQUITTO = Package("mosquitto", "mosquitto", "-h")
NGIRCD = Package("ngircd", "ngircd", "--version")


def found(package: Package) -> str | None:
    """The path of the server's program, if it is installed."""
    return shutil.which(package.binary, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")


def program(package: Package) -> str:
    """The path of the server's program, which is installed if it is absent.  Raises `Absent`."""
    path, why_not = _sought(package)
    if path is None:
        raise Absent(why_not)
    return path


# A cache keeps no exception: what failed would be tried again for each row.
@cache
def _sought(package: Package) -> tuple[str | None, str]:
    """The path, or why there is none."""
    path = found(package)
    if path is None:
        try:
            _install(package.debian)
        except Absent as absent:
            return None, str(absent)
        path = found(package)
    return path, f"Debian's package {package.debian} has no {package.binary}"


def _install(debian: str) -> None:
    if shutil.which("apt-get") is None:
        raise Absent("not installed, and there is no apt-get")
    if os.geteuid() and shutil.which("sudo") is None:
        raise Absent("not installed, and only root installs packages")
    # sudo drops what is set in its own environment.
    command = [] if not os.geteuid() else ["sudo", "-n"]
    command += ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c"]
    command += [f"apt-get update && apt-get install --yes {debian}"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALLING
        )
    except subprocess.TimeoutExpired:
        raise Absent(f"apt-get install {debian} took more than {INSTALLING:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise Absent(f"apt-get install {debian} failed: {said[-1]}")


@cache
def version(package: Package) -> str:
    """As the program tells it."""
    command = [program(package), package.version]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return UNKNOWN
    number = re.search(r"\d+\.\d+[.\d]*", said.stdout + said.stderr)
    return number[0].rstrip(".") if number else UNKNOWN


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def _listening(command: Sequence[str], port: int) -> Iterator[Listening]:
    with running(command, lambda: _answers(port)) as pid:
        yield Listening(port, pid)


@contextmanager
def _configured(
    package: Package,
    config: Callable[[int, str], str],
    arguments: Callable[[str], Sequence[str]],
    on_disk: bool = False,
) -> Iterator[Listening]:
    """The server with a *config* made for its port and folder, at the path that *arguments* get."""
    binary = program(package)
    with folder_on_disk() if on_disk else tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        path = Path(folder, "config")
        path.write_text(config(port, folder))
        with _listening([binary, *arguments(str(path))], port) as server:
            yield server


# --- nats-server: https://docs.nats.io/running-a-nats-service/configuration ------------------


def _nats_config(port: int, folder: str) -> str:
    # No TLS, no accounts, no log of messages is how it starts.  The interval keeps its PINGs out.
    return f"listen: 127.0.0.1:{port}\nping_interval: '1h'\nlogfile: '{folder}/log'\n"


def _jetstream_config(port: int, folder: str) -> str:
    return f"{_nats_config(port, folder)}jetstream {{ store_dir: '{folder}' }}\n"


def nats() -> AbstractContextManager[Listening]:
    return _configured(NATS, _nats_config, lambda path: ["-c", path])


def jetstream() -> AbstractContextManager[Listening]:
    return _configured(NATS, _jetstream_config, lambda path: ["-c", path], on_disk=True)


# --- redis-server: the comments in the redis.conf that it comes with -------------------------


def _redis_config(port: int, folder: str) -> str:
    return f"""
bind 127.0.0.1
port {port}
dir {folder}
logfile {folder}/log
save ""
appendonly no
client-output-buffer-limit normal 0 0 0
client-output-buffer-limit pubsub 0 0 0
"""


def _streams_config(port: int, folder: str) -> str:
    # A rewrite of the file would take time from the runs; it is not needed for the guarantee.
    return _redis_config(port, folder).replace(
        "appendonly no",
        "appendonly yes\nappendfsync always\nauto-aof-rewrite-percentage 0",
    )


def redis() -> AbstractContextManager[Listening]:
    return _configured(REDIS, _redis_config, lambda path: [path])


def streams() -> AbstractContextManager[Listening]:
    return _configured(REDIS, _streams_config, lambda path: [path], on_disk=True)


# --- mosquitto: mosquitto.conf(5) ------------------------------------------------------------


def _mosquitto_config(port: int, folder: str) -> str:
    # Without set_tcp_nodelay, as it is by default, several messages share a packet: a third more
    # get through.
    return f"""
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
log_dest none
sys_interval 0
"""


def _persistent_config(port: int, folder: str) -> str:
    # As root it becomes another user, who could not write to the folder.
    user = "user root\n" if not os.geteuid() else ""
    location = f"persistence true\npersistence_location {folder}/\n"
    return _mosquitto_config(port, folder) + location + user


def _prompt(config: Callable[[int, str], str]) -> Callable[[int, str], str]:
    """For single messages: none waits for others to share its packet."""
    return lambda port, folder: f"{config(port, folder)}set_tcp_nodelay true\n"


def mosquitto(prompt: bool = False) -> AbstractContextManager[Listening]:
    config = _prompt(_mosquitto_config) if prompt else _mosquitto_config
    return _configured(MOSQUITTO, config, lambda path: ["-c", path])


def mosquitto_persistent(prompt: bool = False) -> AbstractContextManager[Listening]:
    config = _prompt(_persistent_config) if prompt else _persistent_config
    return _configured(MOSQUITTO, config, lambda path: ["-c", path], on_disk=True)


# --- ngircd: ngircd.conf(5) ------------------------------------------------------------------


def _ngircd_config(port: int, folder: str) -> str:
    return f"""
[Global]
Name = irc.example.net
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = hello
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
"""


def ngircd() -> AbstractContextManager[Listening]:
    return _configured(NGIRCD, _ngircd_config, lambda path: ["--nodaemon", "--config", path])


# --- the classic exercise --------------------------------------------------------------------


@contextmanager
def classic() -> Iterator[Listening]:
    port = _free_port()
    with _listening([sys.executable, "-m", "bench.peers.classic", str(port)], port) as server:
        yield server
