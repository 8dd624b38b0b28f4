"""How the commands begin: an interrupt shows no traceback, however early it comes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

BEGIN = """
import signal, sys

_, when, command, *sys.argv[1:] = sys.argv

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == when:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from chatbroker.command import begin
getattr(begin, command)()
"""


def run(when: str, *command: str, ignored: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Runs *command* and interrupts it when the module *when* is imported."""

    def ignore() -> None:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    args = [sys.executable, "-c", BEGIN, when, *command]
    return subprocess.run(args, capture_output=True, timeout=30, preexec_fn=ignore)


@pytest.mark.parametrize("command", ["chat", "chatbroker"])
@pytest.mark.parametrize("when", ["click", "chatbroker.command.run"])
def test_an_interrupt_while_it_is_imported_ends_it_without_a_word(command: str, when: str) -> None:
    done = run(when, command, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_one_while_it_works_ends_it_with_130() -> None:
    done = run("zmq", "chat", "--port", "1", "info")
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, b"", b"")


def test_one_that_is_ignored_is_ignored() -> None:
    done = run("click", "chat", "--version", ignored=True)
    assert done.returncode == 0
    assert done.stdout.startswith(b"chat, version")
    assert done.stderr == b""


@pytest.mark.parametrize("when", ["chatbroker.broker.server", "chatbroker.broker.opening"])
def test_a_broker_that_is_to_stop_before_it_serves_ends_in_order(when: str) -> None:
    done = run(when, "chatbroker", "run", "--port", "0", "--memory")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_one_that_comes_when_all_is_done_shows_nothing_either() -> None:
    code = "import atexit, signal, sys; from chatbroker.command import begin;"
    code += "sys.argv = ['chat', '--version'];"
    code += "atexit.register(signal.raise_signal, signal.SIGINT); begin.chat()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_obeyed_a_signal_ends_with_its_status_whatever_comes_yet(number: int) -> None:
    """Also when Python takes itself down."""
    code = f"""
import os, signal, sys
from chatbroker.command import begin

class Last:
    def __del__(self, kill=os.kill, number={number:d}, pid=os.getpid()):
        kill(pid, number)

sys.modules["last"] = Last()
signal.signal({number:d}, lambda *_: None)  # As who obeyed one leaves it.
sys.argv = ["chat", "--version"]
begin.chat()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")
