"""A person at a terminal: what arrives is shown above what is being typed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

import pytest

PATIENCE = 30.0


class Terminal:
    """Runs ``chat`` on a terminal of its own."""

    def __init__(self, shell, broker, *args, term="xterm"):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.screen = ""
        """All that was written to it."""
        # The session's own terminal: else Ctrl-C reaches nobody.
        self._program = shell.start(
            "setsid", "--ctty", "--wait", "sh", "-c", 'exec "$0" "$@" >&0 2>&0', "chat", *args,
            at=broker, stdin=slave, env={"TERM": term, "INPUTRC": "/dev/null"},
        )  # fmt: skip
        os.close(slave)

    def type(self, keys):
        os.write(self._master, keys.encode())

    def shows(self, pattern, times=1):
        """Waits until the regular expression was written so many times."""
        until = time.monotonic() + PATIENCE
        while len(re.findall(pattern, self.screen)) < times:
            assert select.select([self._master], [], [], max(0, until - time.monotonic()))[0], (
                f"no {pattern!r} in {self.screen!r}"
            )
            assert self._read(), f"it ended before {pattern!r} in {self.screen!r}"

    def _read(self):
        try:
            data = os.read(self._master, 4096)
        except OSError:  # The other end is closed.
            data = b""
        self.screen += data.decode(errors="replace")
        return data

    def status(self, again=""):
        """Its exit status, when it has ended.  *again* is typed until it has: what is typed
        between two prompts, when readline does not have the terminal, may be lost."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if not select.select([self._master], [], [], 0.5)[0]:
                self.type(again)
            elif not self._read():
                return self._program.wait().status
        raise AssertionError(f"it has not ended: {self.screen!r}")

    def close(self):
        os.close(self._master)


@pytest.fixture
def join(shell, broker):
    """Joins at a terminal and waits for the prompt."""
    terminals = []

    def start(name, **options):
        terminals.append(Terminal(shell, broker, "join", name, **options))
        terminals[-1].shows(f"joined as {name}")
        terminals[-1].shows("> ")
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def test_what_arrives_is_shown_above_what_is_being_typed(join, broker):
    alice = join("alice")
    with broker.client("bob") as bob:
        alice.type("echo half a se")
        alice.shows("half a se$")
        bob.send("alice", "excuse me")
        # The line is put where the prompt was, and the prompt comes back with the text.
        alice.shows(r"\r\x1b\[J\[..:..:..\] .*bob.* -> .*alice.*: excuse me\r?\n> echo half a se$")
        alice.type("ntence\n")
        alice.shows("alice.*: half a sentence")
        assert bob.sync()
        assert [e.text for e in bob.events(0) if hasattr(e, "text")][-1] == "half a sentence"
    alice.type("\x04")
    assert alice.status(again="\x04") == 0


def test_commands_are_answered_and_mistakes_are_told(join):
    alice = join("alice")
    alice.type("info\n")
    alice.shows(r"\* online: alice")
    alice.type("send nobody hi\n")
    alice.shows("! no such user: nobody")
    alice.type("nonsense\n")
    alice.shows("! unknown command: nonsense")
    alice.type("help\n")
    alice.shows("send USER MESSAGE")
    alice.type("/quit\n")
    assert alice.status() == 0


def test_ctrl_c_ends_it_with_130(join, shell, broker):
    alice = join("alice")
    alice.type("half a line")
    alice.shows("half a line$")
    alice.type("\x03")
    assert alice.status(again="\x03") == 130
    assert "Traceback" not in alice.screen
    assert shell.run("info", at=broker).out == ""


def test_a_plain_terminal_gets_no_control_sequences(join, broker):
    alice = join("alice", term="dumb")
    with broker.client("bob") as bob:
        bob.send("alice", "hello \x1b[2J there")
        alice.shows(r"bob -> alice: hello \\x1b\[2J there\r?\n")
    alice.type("echo hi\n")
    alice.shows(r"alice: hi\r?\n")
    assert "\x1b" not in alice.screen
    alice.type("\x04")
    assert alice.status(again="\x04") == 0


def test_a_taken_name_is_refused_before_any_prompt(shell, broker):
    with broker.client("alice"):
        terminal = Terminal(shell, broker, "join", "alice")
        try:
            assert terminal.status() == 4
            assert "name 'alice' is taken" in terminal.screen
            assert "> " not in terminal.screen
        finally:
            terminal.close()


def test_a_broker_that_goes_and_comes_back_is_told(shell, chatbrokers):
    first = chatbrokers.start()
    terminal = Terminal(shell, first, "join", "alice")
    try:
        terminal.shows("> ")
        first.kill()
        terminal.shows("reconnecting")
        chatbrokers.start(port=first.port, pub_port=first.pub_port)
        terminal.shows("connected again")
        terminal.type("echo still here\n")
        terminal.shows("alice.*: still here")
        terminal.type("\x04")
        assert terminal.status(again="\x04") == 0
    finally:
        terminal.close()
