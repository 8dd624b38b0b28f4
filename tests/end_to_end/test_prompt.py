"""A person at a terminal: what arrives is shown above what is being typed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from pathlib import Path

import pyte
import pytest
import zmq

from chatbroker.wire.codec import Encoder
from chatbroker.wire.messages import Refused

PATIENCE = 30.0


class Terminal:
    """Runs ``chat`` on a terminal of its own, and sees what a person would."""

    def __init__(self, shell, broker, *args, term="xterm", columns=80):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.written = ""
        """All that was written to it."""
        self._screen = pyte.Screen(columns, 24)
        # What a terminal is asked, such as where its cursor is, it answers.
        self._screen.write_process_input = self.type
        self._stream = pyte.ByteStream(self._screen)
        # The session's own terminal: else Ctrl-C reaches nobody.
        self._program = shell.start(
            "setsid", "--ctty", "--wait", "sh", "-c", 'exec "$0" "$@" >&0 2>&0', "chat", *args,
            at=broker, stdin=slave, env={"TERM": term},
        )  # fmt: skip
        os.close(slave)

    @property
    def lines(self):
        """What is on the screen, but for the time of each message."""
        lines = [re.sub(r"^\[..:..:..\] ", "", line.rstrip()) for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def cursor(self):
        """The column of the cursor, in the line where it is."""
        return self._screen.cursor.x

    def type(self, keys):
        os.write(self._master, keys.encode())

    def until(self, condition):
        """Waits until *condition* holds of the screen."""
        until = time.monotonic() + PATIENCE
        while not condition():
            ready = select.select([self._master], [], [], max(0, until - time.monotonic()))[0]
            assert ready, f"it did not come to that: {self.lines}"
            assert self._read(), f"it ended before: {self.lines}"

    def shows(self, *lines):
        """Waits until the screen ends with *lines*."""
        self.until(lambda: self.lines[-len(lines) :] == [*lines])

    def _read(self):
        try:
            data = os.read(self._master, 4096)
        except OSError:  # The other end is closed.
            data = b""
        self._stream.feed(data)
        self.written += data.decode(errors="replace")
        return data

    def status(self, again=""):
        """Its exit status, when it has ended.  *again* is typed until it has: what is typed
        between two prompts may be lost."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if not select.select([self._master], [], [], 0.5)[0]:
                self.type(again)
            elif not self._read():
                return self._program.wait().status
        raise AssertionError(f"it has not ended: {self.lines}")

    def signal(self, number):
        # The program is the child of what gave it the terminal.
        pid = self._program.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(child), number)

    def close(self):
        os.close(self._master)


def joined_as(name, broker):
    return f"joined as {name} on {broker.address}; 'help' lists the commands"


@pytest.fixture
def join(shell, broker):
    """Joins at a terminal and waits for the prompt."""
    terminals = []

    def start(name, *options, at=broker, **terminal):
        terminals.append(Terminal(shell, at, "join", name, *options, **terminal))
        terminals[-1].until(lambda: terminals[-1].lines[-1:] == [">"])
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def test_what_arrives_is_shown_above_what_is_being_typed(join, broker):
    alice = join("alice")
    assert alice.lines == [joined_as("alice", broker), ">"]
    with broker.client("bob") as bob:
        alice.type("echo half a se")
        alice.shows("* bob joined", "> echo half a se")
        bob.send("alice", "excuse me")
        alice.shows("bob -> alice: excuse me", "> echo half a se")
        alice.type("ntence\r")
        alice.shows("> echo half a sentence", "alice: half a sentence", ">")
        assert bob.sync()
        assert [e.text for e in bob.events(0) if hasattr(e, "text")][-1] == "half a sentence"
    alice.type("\x04")
    assert alice.status(again="\x04") == 0


def test_the_cursor_stays_where_it_is_whatever_arrives(join, broker):
    alice = join("alice")
    with broker.client("bob", hear=False) as bob:
        alice.type("echo hello" + "\x1b[D" * 3)
        alice.until(lambda: alice.lines[-1] == "> echo hello" and alice.cursor == 9)
        bob.echo("one")
        alice.shows("bob: one", "> echo hello")
        alice.until(lambda: alice.cursor == 9)
        alice.type("XY\r")
        alice.shows("> echo heXYllo", "alice: heXYllo", ">")


def test_a_line_that_is_longer_than_the_terminal_is_wide_leaves_nothing_behind(join, broker):
    alice = join("alice", columns=40)
    with broker.client("bob", hear=False) as bob:
        typed = "echo " + "0123456789" * 7
        rows = ["> " + typed[:38], typed[38:]]
        alice.type(typed)
        alice.shows(*rows)
        for text in ("one", "two", "three"):
            bob.echo(text)
        alice.shows("bob: one", "bob: two", "bob: three", *rows)


def test_there_is_one_prompt_however_quickly_a_person_types(join):
    alice = join("alice")
    for number in range(15):
        alice.type(f"echo {number}\r")
    alice.until(lambda: "alice: 14" in alice.lines and alice.lines[-1] == ">")
    assert not [line for line in alice.lines if line.count("> ") > 1]
    assert [line for line in alice.lines if line.startswith("alice: ")][-3:] == [
        "alice: 12",
        "alice: 13",
        "alice: 14",
    ]


def test_commands_are_answered_and_mistakes_are_told(join):
    alice = join("alice")
    alice.type("info\r")
    alice.shows("* online: alice", ">")
    alice.type("send nobody hi\r")
    alice.shows("! no such user: nobody", ">")
    alice.type("nonsense\r")
    alice.until(lambda: alice.lines[-2].startswith("! unknown command: nonsense"))
    alice.type("help\r")
    alice.until(lambda: any(line.startswith("send USER MESSAGE") for line in alice.lines))
    alice.type("/quit\r")
    assert alice.status() == 0


def test_ctrl_c_ends_it_with_130(join, shell, broker):
    alice = join("alice")
    alice.type("half a line")
    alice.shows("> half a line")
    alice.type("\x03")
    assert alice.status(again="\x03") == 130
    assert "Traceback" not in alice.written
    assert shell.run("info", at=broker).out == ""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_the_name_is_free(join, shell, broker, number, status):
    alice = join("alice")
    assert shell.run("info", at=broker).out == "alice\n"
    alice.signal(number)
    assert alice.status() == status
    assert "Traceback" not in alice.written
    assert shell.run("info", at=broker).out == ""


def test_a_plain_terminal_gets_no_control_sequences(join, broker):
    alice = join("alice", term="dumb")
    with broker.client("bob") as bob:
        bob.send("alice", "hello \x1b[2J there")
        alice.until(lambda: "bob -> alice: hello \\x1b[2J there" in alice.written)
    alice.type("echo hi\n")
    alice.until(lambda: "alice: hi" in alice.written)
    assert "\x1b" not in alice.written
    alice.type("\x04")
    assert alice.status(again="\x04") == 0


def test_a_taken_name_is_refused_before_any_prompt(shell, broker):
    with broker.client("alice"):
        terminal = Terminal(shell, broker, "join", "alice")
        try:
            assert terminal.status() == 4
            assert "name 'alice' is taken" in terminal.written
            assert "> " not in terminal.written
        finally:
            terminal.close()


def test_a_broker_that_goes_and_comes_back_is_told(join, chatbrokers):
    first = chatbrokers.start()
    alice = join("alice", at=first)
    first.kill()
    alice.shows("* the connection is lost; reconnecting…", ">")
    # What is typed meanwhile is carried out afterwards, and what is being typed stays.
    alice.type("echo one\recho two\rech")
    alice.until(lambda: alice.lines[-1] == "> ech")
    chatbrokers.start(port=first.port, pub_port=first.pub_port)
    alice.until(lambda: "* connected again" in alice.lines)
    alice.shows("alice: one", "alice: two", "> ech")
    alice.type("o still here\r")
    alice.shows("alice: still here", ">")
    alice.type("\x04")
    assert alice.status(again="\x04") == 0


def test_a_broker_that_stays_away_ends_it_without_a_key(join, chatbrokers):
    first = chatbrokers.start()
    alice = join("alice", "--reconnect", "0.5", at=first)
    first.kill()
    assert alice.status() == 3
    assert f"chat: no broker answers at {first.address}" in alice.written


def test_lines_that_are_pasted_are_as_many_commands(join, broker):
    alice = join("alice")
    with broker.client("bob") as bob, broker.client("carol") as carol:
        alice.type("\x1b[200~send bob hi\nsend carol secret\n\x1b[201~\r")
        alice.until(lambda: "alice -> carol: secret" in alice.lines)
        for client, text in ((bob, "hi"), (carol, "secret")):
            assert client.sync()
            assert [e.text for e in client.receive_many(0) if hasattr(e, "text")] == [text]


EVIL = "\x1b[2J\x1b]0;title\x07 \r\n\x9b31m \u202e\x08\x7f end"
SAFE = "\\x1b[2J\\x1b]0;title\\x07 \\r\\n\\x9b31m \\u202e\\x08\\x7f end"


def sequences(written):
    """The escape sequences of a terminal's that are in what was written to it."""
    return set(re.findall("[\x07\x7f\x80-\x9f\u202e]|\x1b(?:\\[2J|\\][^\x07]*)", written))


def test_what_others_say_moves_nothing_on_a_terminal(join, broker):
    alice = join("alice", columns=200)
    with broker.client("mallory") as mallory:
        mallory.send("alice", EVIL)
        mallory.echo(EVIL)
        for line in (f"mallory -> alice: {SAFE}", f"mallory: {SAFE}"):
            alice.until(lambda line=line: line in alice.lines)
    assert not sequences(alice.written)


def test_listen_shows_it_on_a_terminal_as_escapes(shell, broker):
    terminal = Terminal(shell, broker, "listen", "--count", "1", columns=200)
    try:
        with broker.client("mallory") as mallory:
            terminal.until(lambda: "chat: listening" in terminal.written)
            mallory.echo(EVIL)
            terminal.until(lambda: SAFE in terminal.written)
        assert terminal.status() == 0
        assert not sequences(terminal.written)
    finally:
        terminal.close()


@pytest.mark.parametrize("command", [("join", "alice"), ("listen",)], ids=" ".join)
def test_the_words_of_a_hostile_broker_are_shown_as_escapes(shell, command):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        port = router.bind_to_random_port("tcp://127.0.0.1")
        terminal = Terminal(shell, f"tcp://127.0.0.1:{port}", *command, columns=200)
        try:
            assert router.poll(PATIENCE * 1000)
            identity, _ = router.recv_multipart()
            router.send_multipart([identity, Encoder().encode(Refused("name_taken", EVIL))])
            assert terminal.status() == 4
            assert SAFE in terminal.written
            assert not sequences(terminal.written)
        finally:
            terminal.close()
