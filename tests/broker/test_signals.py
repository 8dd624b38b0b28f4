"""How signals end a broker, or have it look again."""

from __future__ import annotations

import signal
import socket
from contextlib import contextmanager

import pytest

from chatbroker.broker import signals as module
from chatbroker.broker.signals import Signals, ended_in_order


class Stopped:
    """Stands for a server."""

    def __init__(self, wake_fd):
        self.reread = False
        self.reasons = []
        self.wake_fd = wake_fd

    def stop(self, why):
        self.reasons.append(why)


class Watchdog:
    """Stands for a timer; `fire` is what it would do."""

    def __init__(self, seconds, fire):
        self.seconds, self.fire = seconds, fire
        self.started = self.cancelled = 0
        self.daemon = False
        Watchdog.made = self

    def start(self):
        self.started += 1

    def cancel(self):
        self.cancelled += 1


@contextmanager
def signals(server, *cut_short):
    with Signals() as asked, asked.attend(server, *cut_short):
        yield


@pytest.fixture(autouse=True)
def watchdog(monkeypatch):
    monkeypatch.setattr(module.threading, "Timer", Watchdog)


@pytest.fixture
def woken():
    """The end that signals write to, and the one where it shows."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    with reader, writer:
        yield reader, writer


@pytest.fixture
def server(woken):
    return Stopped(woken[1].fileno())


@pytest.fixture
def terminals(monkeypatch):
    """Which of the standard streams are terminals now."""
    open_ones = set()
    monkeypatch.setattr(module.os, "isatty", open_ones.__contains__)
    return open_ones


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_is_stopped_by_name_and_woken(server, woken, number):
    with signals(server):
        signal.raise_signal(number)
        assert server.reasons == [number.name]
        assert woken[0].recv(9) == bytes([number])
        assert Watchdog.made.started == 1


def test_a_second_signal_does_not_put_off_the_end(server):
    with signals(server):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert server.reasons == ["SIGTERM", "SIGINT"]
        assert Watchdog.made.started == 1
    assert Watchdog.made.cancelled == 1


def test_a_stop_that_is_held_up_is_cut_short_after_a_last_word(server, monkeypatch):
    done = []
    monkeypatch.setattr(module.os, "_exit", lambda status: done.append(status))
    with signals(server, lambda: done.append("told")):
        signal.raise_signal(signal.SIGTERM)
        Watchdog.made.fire()
    assert done == ["told", 0]
    assert Watchdog.made.seconds < 2  # As docs/cli.md promises.


def test_sighup_has_it_look_again(server, terminals):
    with signals(server):
        assert not server.reread
        signal.raise_signal(signal.SIGHUP)
        assert (server.reread, server.reasons) == (True, [])


def test_sighup_of_a_terminal_that_stands_has_it_look_again(server, terminals):
    terminals |= {0, 1, 2}
    with signals(server):
        terminals -= {1}
        signal.raise_signal(signal.SIGHUP)
        assert (server.reread, server.reasons) == (True, [])


def test_a_terminal_that_was_closed_ends_it(server, terminals):
    terminals |= {2}
    with signals(server):
        terminals.clear()
        signal.raise_signal(signal.SIGHUP)
        assert server.reasons == ["SIGHUP"]
        assert Watchdog.made.started == 1


def test_afterwards_all_is_as_it_was(server, woken):
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    with pytest.raises(KeyError), signals(server):
        raise KeyError
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(descriptor) == descriptor


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_asks_it_to_stop_before_it_is_there_is_not_forgotten(server, number):
    with Signals() as asked:
        signal.raise_signal(number)
        assert Watchdog.made.started == 1
        with asked.attend(server):
            assert server.reasons == [number.name]
            assert not server.reread
        signal.raise_signal(number)  # It is closing.
        assert server.reasons == [number.name]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_another_one_after_all_was_done_is_nothing(server, number):
    """The process would end by it, and not with 0."""
    heard = []
    signal.signal(number, lambda *_: heard.append(number))
    with signals(server):
        signal.raise_signal(number)
    signal.raise_signal(number)
    assert heard == []


def test_a_server_that_comes_after_a_sighup_looks_again(server, terminals):
    with Signals() as asked:
        signal.raise_signal(signal.SIGHUP)
        with asked.attend(server):
            assert (server.reread, server.reasons) == (True, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_undoes_what_it_began_also_if_asked_twice(number):
    before = signal.getsignal(number)
    undone = []

    def ended():
        with ended_in_order():
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(number)
                undone.append(number)

    with pytest.raises(SystemExit) as status:
        ended()
    assert (status.value.code, undone) == (128 + number, [number])
    assert signal.getsignal(number) == before


def test_a_command_goes_on_behind_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_in_order():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
