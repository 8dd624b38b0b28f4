"""SIGINT and SIGTERM, raised where it is safe."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from chatbroker.client import Client
from chatbroker.client import interrupts as module
from chatbroker.client.interrupts import Interrupts

SIGNALS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]


@pytest.mark.parametrize(("number", "error"), SIGNALS)
def test_a_signal_waits_for_a_safe_place(number, error):
    with Interrupts() as interrupts:
        interrupts.check()
        assert not interrupts.pending
        signal.raise_signal(number)
        assert interrupts.pending
        with pytest.raises(error):
            interrupts.check()


@pytest.mark.parametrize(("number", "error"), SIGNALS)
def test_what_was_interrupted_at_its_very_end_is_no_success(number, error):
    with pytest.raises(error), Interrupts():
        signal.raise_signal(number)


def test_what_failed_while_it_was_interrupted_fails_with_its_own_reason():
    with pytest.raises(ValueError, match="reason"), Interrupts():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ValueError("reason")


def test_a_terminal_that_is_gone_ends_it(monkeypatch):
    with pytest.raises(SystemExit) as caught, Interrupts(0):
        signal.raise_signal(signal.SIGHUP)
    assert caught.value.code == 128 + signal.SIGHUP


def test_who_is_to_outlive_the_terminal_does():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As nohup does.
    try:
        with Interrupts():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_signal_is_for_the_main_thread():
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        failed = []

        def checks():
            try:
                interrupts.check()
            except KeyboardInterrupt:
                failed.append(True)

        other = threading.Thread(target=checks)
        other.start()
        other.join()
        assert not failed
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


@pytest.mark.parametrize(("number", "error"), SIGNALS)
def test_a_block_that_is_exposed_is_a_safe_place(number, error):
    with Interrupts() as interrupts:
        reached = []
        with pytest.raises(error), interrupts.exposed():  # noqa: PT012
            reached.append("inside")
            signal.raise_signal(number)
            reached.append("after")
        assert reached == ["inside"]


def test_a_signal_that_came_before_is_raised_at_the_door():
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), interrupts.exposed():
            raise AssertionError("it went in")


def test_a_block_is_exposed_no_longer_than_it_lasts():
    with Interrupts() as interrupts:
        with interrupts.exposed():
            pass
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(ValueError, match="mine"), Interrupts().exposed():
            raise ValueError("mine")
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


@pytest.mark.parametrize(
    ("number", "pauses"),
    [
        (signal.SIGINT, (0.02, 0.04)),  # Of which only the first counts.
        (signal.SIGINT, (0.1,)),
        (signal.SIGTERM, (1.1,)),
        (signal.SIGHUP, (0.6, 0.6)),
    ],
)
def test_who_asks_again_after_a_while_does_not_wait(number, pauses, monkeypatch):
    now = [5.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with Interrupts():
        signal.raise_signal(number)
        for pause in pauses[:-1]:
            now[0] += pause
            signal.raise_signal(number)
        now[0] += pauses[-1]
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            signal.raise_signal(number)


@pytest.mark.parametrize("second", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_terminal_that_is_closed_sends_several_at_once(second, monkeypatch):
    """What is raised in the midst of the first one's way out may have that wait for ever."""
    monkeypatch.setattr(module.time, "monotonic", lambda: 5.0)
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(second)
        with pytest.raises(SystemExit) as caught:
            interrupts.check()
    assert caught.value.code == 129


def test_sigterm_ends_with_the_status():
    with Interrupts(7) as interrupts:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SystemExit) as caught:
            interrupts.check()
    assert caught.value.code == 7


def test_sigterm_ends_as_a_shell_would_say_unless_told_otherwise():
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SystemExit) as caught:
            interrupts.check()
    assert caught.value.code == 128 + signal.SIGTERM


def test_afterwards_the_handlers_are_what_they_were():
    before = [signal.getsignal(number) for number, _ in SIGNALS]
    with pytest.raises(ValueError, match="mine"), Interrupts():
        raise ValueError("mine")
    assert [signal.getsignal(number) for number, _ in SIGNALS] == before


@pytest.mark.parametrize("second", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_one_that_is_no_other_wish_is_nothing_afterwards_either(second, monkeypatch):
    """The process would end by it, and not with the status of the first."""
    monkeypatch.setattr(module.time, "monotonic", lambda: 5.0)
    heard = []
    signal.signal(second, lambda *_: heard.append(second))
    with pytest.raises(SystemExit) as caught, Interrupts(0) as interrupts:  # noqa: PT012
        signal.raise_signal(signal.SIGTERM)
        interrupts.check()
    signal.raise_signal(second)
    assert (caught.value.code, heard) == (0, [])


@pytest.mark.parametrize(("number", "error"), SIGNALS)
def test_who_asks_again_after_a_while_is_heeded_afterwards_as_before(number, error, monkeypatch):
    now = [5.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    heard = []
    signal.signal(number, lambda *_: heard.append(number))
    with pytest.raises(error), Interrupts():
        signal.raise_signal(number)
    now[0] += 1.1
    signal.raise_signal(number)
    signal.raise_signal(number)
    assert heard == [number, number]


def test_a_handler_that_was_set_since_is_left_alone():
    def own(number, frame):
        pass

    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt), interrupts:
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGTERM, own)
    interrupts._since -= 60  # It is another wish.
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is own


def test_whatever_waits_is_woken():
    woken = []
    with Interrupts() as interrupts:
        interrupts.on_signal(lambda: woken.append("one"))
        interrupts.on_signal(lambda: woken.append("other"))
        signal.raise_signal(signal.SIGINT)
        assert woken == ["one", "other"]
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


@pytest.mark.parametrize(("number", "error"), SIGNALS)
def test_a_client_that_waits_is_interrupted(chatbroker, number, error):
    with Interrupts() as interrupts:
        client = chatbroker.client("alice", interrupts=interrupts, presence=False)
        assert client.receive(15) is not None
        kill = threading.Timer(0.05, os.kill, (os.getpid(), number))
        kill.start()
        with pytest.raises(error):
            client.receive()
        kill.join()
        client.close()


def test_a_client_that_connects_to_nobody_is_interrupted():
    with Interrupts() as interrupts:
        kill = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        kill.start()
        with pytest.raises(KeyboardInterrupt):
            Client("alice", "tcp://127.0.0.1:1", timeout=15, interrupts=interrupts)
        kill.join()
