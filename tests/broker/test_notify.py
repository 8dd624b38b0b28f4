"""sd_notify on real datagram sockets."""

from __future__ import annotations

import logging
import math
import os
import socket

import pytest

from chatbroker.broker import notify
from chatbroker.broker.notify import Notifier

WITHIN = 15.0


class Supervisor:
    """Who listens where NOTIFY_SOCKET says."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(WITHIN)
        self.socket.bind(address)

    def hears(self):
        return self.socket.recv(4096).decode().split("\n")

    def hears_nothing(self):
        """Datagrams of one process arrive at once and in order."""
        self.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            self.socket.recv(4096)
        self.socket.settimeout(WITHIN)


@pytest.fixture
def supervisor(tmp_path):
    supervisor = Supervisor(str(tmp_path / "notify"))
    yield supervisor
    supervisor.socket.close()


@pytest.fixture
def notifiers(tmp_path):
    made = []

    def make(**environment):
        made.append(Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")} | environment))
        return made[-1]

    yield make
    for notifier in made:
        notifier.close()


def test_without_a_socket_nothing_is_done():
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})
    assert notifier.interval == math.inf
    notifier.ready("serving")
    notifier.alive(1e9)
    notifier.stopping()
    notifier.close()


def test_it_is_ready_has_a_status_and_stops(supervisor, notifiers):
    notifier = notifiers()
    notifier.ready("serving at tcp://127.0.0.1:5555")
    assert supervisor.hears() == ["READY=1", "STATUS=serving at tcp://127.0.0.1:5555"]
    notifier.status("cannot store:\nREADY=0")
    assert supervisor.hears() == ["STATUS=cannot store: READY=0"]
    notifier.stopping()
    assert supervisor.hears() == ["STOPPING=1", "STATUS=stopping"]


def test_a_name_that_is_not_in_the_file_system_is_found(notifiers):
    name = f"chatbroker-test-{os.getpid()}"
    supervisor = Supervisor(f"\0{name}")
    try:
        notifiers(NOTIFY_SOCKET=f"@{name}").ready("serving")
        assert supervisor.hears()[0] == "READY=1"
    finally:
        supervisor.socket.close()


def test_signs_of_life_come_several_times_in_an_interval(supervisor, notifiers):
    notifier = notifiers(WATCHDOG_USEC="2000000")
    assert notifier.interval == 0.5
    for now in (100.0, 100.4, 100.5, 100.9, 101.1):
        notifier.alive(now)
    for _ in range(3):
        assert supervisor.hears() == ["WATCHDOG=1"]
    supervisor.hears_nothing()


@pytest.mark.parametrize("asked", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}])
def test_without_a_watchdog_it_gives_no_sign_of_life(supervisor, notifiers, asked):
    notifier = notifiers(**asked)
    assert notifier.interval == math.inf
    notifier.alive(1e9)
    supervisor.hears_nothing()


def test_a_watchdog_of_another_process_is_none_of_its_affair(supervisor, notifiers):
    mine = notifiers(WATCHDOG_USEC="2000000", WATCHDOG_PID=str(os.getpid()))
    assert mine.interval == 0.5
    others = notifiers(WATCHDOG_USEC="2000000", WATCHDOG_PID=str(os.getppid()))
    assert others.interval == math.inf


def test_nobody_there_is_a_warning_and_no_failure(notifiers, caplog):
    notifiers().ready("serving")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "cannot be reached" in caplog.text


def test_a_supervisor_that_does_not_read_holds_up_nothing_but_the_end(
    supervisor, notifiers, caplog, monkeypatch
):
    monkeypatch.setattr(notify, "PATIENCE", 0.01)
    notifier = notifiers(WATCHDOG_USEC="2000000")
    monkeypatch.setattr(socket.socket, "settimeout", timeouts := Timeouts())
    for now in range(1000):
        notifier.status("the same again")
        notifier.alive(float(now))
    assert timeouts.asked == {0.0}
    assert not caplog.records
    notifier.stopping()
    assert timeouts.asked == {0.0, 0.01}
    assert "timed out" in caplog.text


class Timeouts:
    """Notes how long a socket may wait."""

    def __init__(self):
        self.asked = set()
        self._set = socket.socket.settimeout

    def __get__(self, sock, kind):
        return lambda seconds: (self.asked.add(seconds), self._set(sock, seconds))


def test_an_address_of_another_kind_is_told_and_not_used(notifiers, caplog):
    notifiers(NOTIFY_SOCKET="vsock:2:1234").ready("serving")
    assert "is not understood" in caplog.text
