"""Metrics and health of a running broker, and what it tells systemd."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatbroker.client import Client
from chatbroker.testing.brokers import BrokerProcess

TESTS = Path(__file__).parents[1]
WITHIN = 30.0
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(address: str) -> tuple[int, str]:
    """The status of an answer, and its text."""
    try:
        with NO_PROXY.open(address, timeout=WITHIN) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def numbers(address: str) -> dict[str, float]:
    """All that is at /metrics: a label's value stands behind its metric's name."""
    status, text = get(address)
    assert status == 200
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def health(address: str) -> tuple[int, str]:
    return get(address.removesuffix("metrics") + "healthz")


@pytest.fixture
def supervisor(tmp_path):
    """What hears where NOTIFY_SOCKET says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WITHIN)
        sock.bind(str(tmp_path / "notify"))
        yield sock


class Disk:
    """The disk of a running broker, which does as the test says."""

    def __init__(self, broker: Any, ready: Path, orders: Path) -> None:
        self.broker = broker
        where = json.loads(ready.read_text())
        self.address: str = where["broker"]
        self.metrics: str = where["metrics"]
        self._orders = orders

    def fills(self, full: bool) -> None:
        draft = self._orders.with_suffix(".draft")
        draft.write_text(json.dumps({"refuse": full}))
        draft.replace(self._orders)

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Each commit waits."""
        os.mkfifo(self._orders)
        yield
        with self._orders.open("w") as orders:
            self._orders.unlink()
            orders.write("{}")


@pytest.fixture
def disk(shell, supervisor, tmp_path, eventually) -> Disk:
    orders, ready = tmp_path / "disk", tmp_path / "ready"
    program = shell.start(
        *(sys.executable, "-m", "torture.slow_broker", "run", "--port", "0", "--metrics-port", "0"),
        *("--data-dir", str(tmp_path / "data"), "--ready-file", str(ready)),
        env={
            "PYTHONPATH": str(TESTS),
            "TORTURE_DISK": str(orders),
            "NOTIFY_SOCKET": supervisor.getsockname(),
            "WATCHDOG_USEC": "2000000",
        },
    )
    eventually(ready.exists, "the broker did not start")
    return Disk(program, ready, orders)


@pytest.fixture
def counted():
    with BrokerProcess("--metrics-port", "0") as broker:
        yield broker


def test_numbers_move_with_what_is_done(counted, eventually):
    before = numbers(counted.metrics_address)
    assert before["chatbroker_messages_total"] == 0
    alice, bob = counted.client("alice"), counted.client("bob")
    alice.echo("hello")
    bob.send("alice", "hi")
    with pytest.raises(Exception, match="no such user"):
        alice.send("nobody", "hi")
    now = numbers(counted.metrics_address)
    assert now["chatbroker_messages_total"] == 2
    assert now["chatbroker_commit_messages_sum"] == 2
    assert now["chatbroker_commit_seconds_count"] >= 2
    assert now["chatbroker_refusals_total no_such_user"] == 1
    assert now["chatbroker_users_on"] == now["chatbroker_users_known"] == 2
    assert now["chatbroker_sessions live"] == 2
    assert now["chatbroker_frames_sent_total all"] > 0
    assert now["chatbroker_frames_sent_total one"] > before["chatbroker_frames_sent_total one"]
    assert now["chatbroker_journal_bytes"] > before["chatbroker_journal_bytes"]
    assert now["chatbroker_held"] == 0
    assert now["process_resident_memory_bytes"] > 0
    bob.close()
    eventually(lambda: numbers(counted.metrics_address)["chatbroker_users_on"] == 1)
    assert health(counted.metrics_address) == (200, "ok\n")


def test_history_that_is_read_is_counted(counted, shell):
    with Client("alice", counted.address) as alice:
        alice.echo("hello")
    before = numbers(counted.metrics_address)["chatbroker_fetches_total"]
    assert "hello" in shell.run("history", at=counted).out
    assert numbers(counted.metrics_address)["chatbroker_fetches_total"] > before


def test_a_broker_that_cannot_store_is_not_well(disk, eventually):
    with Client("alice", disk.address) as alice:
        alice.echo("stored")
        assert health(disk.metrics) == (200, "ok\n")
        assert numbers(disk.metrics)["chatbroker_disk_free_bytes"] > 0
        disk.fills(True)
        with alice.pipeline() as pipe:
            pipe.echo("waits")
            eventually(
                lambda: health(disk.metrics) == (503, "cannot store: this disk is full by order\n")
            )
            held = numbers(disk.metrics)
            assert held["chatbroker_held"] == 1
            assert held["chatbroker_commit_failures_total"] > 0
            assert held["chatbroker_messages_total"] == 1
            disk.broker.says('WARNING cannot_store because="this disk is full by order"')
            disk.fills(False)
        assert health(disk.metrics) == (200, "ok\n")
        disk.broker.says("WARNING storing_again")
        well = numbers(disk.metrics)
        assert well["chatbroker_held"] == 0
        assert well["chatbroker_messages_total"] == 2


def test_nothing_is_served_unless_asked_for(broker):
    assert broker.metrics_address is None


def test_the_address_is_told(shell):
    program = shell.start(
        *(sys.executable, "-m", "chatbroker.broker", "run", "--memory", "--port", "0"),
        *("--metrics-port", "0"),
    )
    program.says("metrics at http://127.0.0.1:")
    address = program.err.partition("metrics at ")[2].split()[0]
    assert numbers(address)["chatbroker_held"] == 0


def test_a_port_in_use_ends_it_and_frees_the_others(counted, shell, tmp_path):
    port = counted.metrics_address.split("/")[2].rpartition(":")[2]
    ended = shell.start(
        *(sys.executable, "-m", "chatbroker.broker", "run", "--memory", "--port", "0"),
        *("--metrics-port", port, "--ready-file", str(tmp_path / "ready")),
    ).wait()
    assert ended.status == 1
    assert ended.err == (
        f"chatbroker: cannot serve metrics on http://127.0.0.1:{port}: address already in use"
        " (--metrics-port chooses another)\n"
    )
    assert ended.out == ""
    assert not (tmp_path / "ready").exists()


def test_without_the_library_it_says_how_to_get_it(shell):
    code = (
        "import sys; sys.modules['prometheus_client'] = None; "
        "from chatbroker.broker.cli import main; sys.argv[0] = 'chatbroker'; main()"
    )
    run = (sys.executable, "-c", code, "run", "--memory", "--port", "0")
    ended = shell.start(*run, "--metrics-port", "0").wait()
    assert ended.status == 1
    assert ended.out == ""
    assert ended.err == (
        "chatbroker: cannot serve metrics: prometheus-client is not installed; "
        "install it with: pip install 'chatbroker[metrics]'\n"
    )
    # Nobody else needs it.
    serving = shell.start(*run)
    serving.shows("chatbroker ready")


def drain(supervisor: socket.socket) -> int:
    """Takes what was told; how much that was."""
    count = 0
    while select.select([supervisor], [], [], 0)[0]:
        supervisor.recv(4096)
        count += 1
    return count


# --- systemd ------------------------------------------------------------------------------


def hear(supervisor: socket.socket, wanted: str) -> list[str]:
    """What is told until *wanted* is, with it."""
    told: list[str] = []
    while wanted not in told:
        told += supervisor.recv(4096).decode().split("\n")
    return told


def test_systemd_hears_that_it_serves_lives_and_stops(shell, supervisor):
    program = shell.start(
        *(sys.executable, "-m", "chatbroker.broker", "run", "--memory", "--port", "0"),
        env={"NOTIFY_SOCKET": supervisor.getsockname(), "WATCHDOG_USEC": "400000"},
    )
    program.shows("chatbroker ready at")
    address = program.lines[0].split()[-1]
    assert hear(supervisor, "READY=1") == ["READY=1", f"STATUS=serving at {address}"]
    for _ in range(3):
        assert hear(supervisor, "WATCHDOG=1") == ["WATCHDOG=1"]
    with Client("alice", address) as alice:
        alice.echo("it serves")
    program.signal(signal.SIGTERM)
    assert hear(supervisor, "STOPPING=1")[-1] == "STATUS=stopping"
    assert program.wait().status == 0


def test_a_loop_that_is_stuck_gives_no_sign_of_life(disk, supervisor, eventually):
    def silent() -> float:
        return numbers(disk.metrics)["chatbroker_turn_age_seconds"]

    with Client("alice", disk.address) as alice, alice.pipeline() as pipe:
        with disk.stuck():
            pipe.echo("waits")
            eventually(lambda: "has not turned for" in health(disk.metrics)[1])
            assert health(disk.metrics)[0] == 503
            # The numbers are there all the same.
            assert silent() > 5
            assert drain(supervisor) > 0
            later = silent() + 1
            eventually(lambda: silent() > later)
            assert drain(supervisor) == 0
        hear(supervisor, "WATCHDOG=1")
        assert health(disk.metrics) == (200, "ok\n")


def test_systemd_hears_what_it_waits_for(disk, supervisor):
    with Client("alice", disk.address) as alice:
        disk.fills(True)
        with alice.pipeline() as pipe:
            pipe.echo("waits")
            hear(supervisor, "STATUS=cannot store: this disk is full by order")
            disk.fills(False)
            hear(supervisor, f"STATUS=serving at {disk.address}")
