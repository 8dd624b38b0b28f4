"""A broker ends: when it is told to, and by signals."""

from __future__ import annotations

import logging
import os
import signal
import threading

import pytest

from chatbroker.broker import server as server_module
from chatbroker.broker import signals as signals_module
from chatbroker.broker.signals import Signals
from chatbroker.wire.messages import Ack, Echo, Farewell
from serving import WITHIN

# --- stopping -----------------------------------------------------------------------------


def test_another_thread_may_stop_it_and_everyone_is_told(running, peers):
    server = running()
    alice = peers(server)
    alice.joins("alice")
    server.stop()
    farewell = alice.hears(Farewell)
    assert farewell.code == "shutting_down"
    server.thread.join(WITHIN)
    assert not server.thread.is_alive()


def test_what_was_sent_before_the_end_is_acknowledged(running, peers):
    server = running()
    alice = peers(server)
    alice.joins("alice")
    for cseq in range(1, 101):
        alice.says(Echo(cseq, ("hi",)))
    acknowledged = alice.hears(Ack).upto
    server.stop()
    while acknowledged < 100:
        message = alice.hears(Ack)
        assert message.after == acknowledged
        acknowledged = message.upto


def test_clients_get_the_time_to_read_the_goodbye_before_their_connections_end(
    running, peers, monkeypatch
):
    server = running()
    alice = peers(server)
    alice.joins("alice")
    done, perform, close = [], server._perform, server.close

    def performs(effects):
        if effects:
            done.append("tells")
        perform(effects)

    monkeypatch.setattr(server_module.time, "sleep", done.append)
    server._perform, server.close = performs, lambda: (done.append("closes"), close())
    server.stop()
    server.thread.join(WITHIN)
    assert alice.hears(Farewell).code == "shutting_down"
    assert done[-3:] == ["tells", server_module.READ_GOODBYE, "closes"]


def test_stopping_before_the_start_and_again_is_stopping(servers):
    server = servers()
    for _ in range(3):
        server.stop()
    server.run()


def test_stopping_what_has_stopped_is_harmless(servers):
    """A second signal may come at any moment, also after the last socket was closed."""
    server = servers()
    server.stop()
    server.run()
    server.stop()


def test_stopping_many_times_waits_for_nobody(servers):
    server = servers()
    for _ in range(100_000):
        server.stop()  # More than the pipe that wakes it can hold.
    server.run()


def test_the_ports_are_free_afterwards(running, servers):
    server = running()
    server.stop()
    server.thread.join(WITHIN)
    pub_port = int(server.pub_address.rpartition(":")[2])
    again = servers(port=server.port, pub_port=pub_port)
    assert again.address == server.address


def test_nothing_is_left_open_afterwards(servers):
    servers().close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        server = servers()
        server.stop()
        server.run()
    assert len(os.listdir("/proc/self/fd")) == before


# --- signals ------------------------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch):
    """The watchdog would end this process; it shall have no reason to, nor the time."""
    monkeypatch.setattr(signals_module, "STOP_WITHIN", 3600.0)
    yield
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_wakes_it_and_stops_it(servers, caplog, number):
    caplog.set_level(logging.INFO, "chatbroker")
    server = servers()
    with Signals() as signals, signals.attend(server):
        kill = threading.Timer(0.05, os.kill, (os.getpid(), number))
        kill.start()
        server.run()
        kill.join()
    assert f"stopping reason={signal.Signals(number).name}" in caplog.text


@pytest.mark.usefixtures("patient")
def test_the_watchdog_does_not_outlive_what_it_watches(servers):
    """A program that goes on after its broker would be ended in the middle of its work."""
    server = servers()
    with Signals() as signals, signals.attend(server):
        signal.raise_signal(signal.SIGTERM)
        server.run()
    left = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    assert [timer for timer in left if not timer.finished.is_set()] == []


@pytest.mark.usefixtures("patient")
def test_a_signal_of_somebody_else_does_not_make_it_spin(servers):
    """It wakes the loop through the same pipe, once, and not for ever."""
    server = servers()
    turns = []
    begin = server._begin

    def counted():
        turns.append(True)
        if len(turns) == 1:
            signal.raise_signal(signal.SIGUSR1)
        if len(turns) == 200:
            server.stop()
        begin()

    server._begin = counted
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    stop = threading.Timer(0.5, server.stop)
    stop.start()
    try:
        with Signals() as signals, signals.attend(server):
            server.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
        stop.cancel()
    assert len(turns) < 50  # Two a second without a client.
