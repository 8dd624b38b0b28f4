"""A person at a terminal, without the terminal."""

from __future__ import annotations

import io
import os
import sys
import threading
from types import SimpleNamespace

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from chatbroker.client import prompt
from chatbroker.client.errors import OutcomeUnknown, Refused, Unreachable, UsageError
from chatbroker.client.events import Broadcast, Joined, Missed, Offline, Online, UserInfo
from chatbroker.client.input import BadLine
from chatbroker.client.interrupts import Interrupts
from chatbroker.client.prompt import (
    EditingKeyboard,
    PlainKeyboard,
    Screen,
    _carry_out,
    _line_of,
    converse,
)
from chatbroker.command.status import Status


class Terminal(io.StringIO):
    """stdout that takes itself for a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes stdout a terminal.  To be called in the test: pytest puts its own in before."""

    def make(term="xterm", **variables):
        monkeypatch.setenv("TERM", term)
        monkeypatch.delenv("NO_COLOR", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return make


class People:
    """A client whose broker does what the test says."""

    name, broker, patience = "alice", "tcp://127.0.0.1:5555", 30.0

    def __init__(self, events=(), failure=None):
        self.said = []
        self.failure = failure
        self._events = [list(events)]
        self._closed = threading.Event()

    def send(self, to, text, timeout):
        if to == "nobody":
            raise Refused("no_such_user", "no such user: nobody")
        self.said.append((to, text, timeout))
        return SimpleNamespace(to=to, away=to == "carol")

    def echo(self, text, timeout):
        if self.failure is not None:
            raise self.failure
        self.said.append((None, text, timeout))

    def users(self, timeout):
        return [UserInfo("alice", 0), UserInfo("bob", 0)]

    def began(self, log):
        return 0, 0

    def browse(self, browse):
        return iter(())

    def receive_many(self):
        if self._events:
            return self._events.pop()
        self._closed.wait()
        raise UsageError("the client is closed")

    @property
    def closed(self):
        return self._closed.is_set()

    def close(self):
        self._closed.set()


@pytest.fixture
def types(monkeypatch):
    """What a person types, line by line; then the end of input."""

    def put(*lines):
        waiting = list(lines)

        def ask(self):
            if not waiting:
                raise EOFError
            line = waiting.pop(0)
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr(PlainKeyboard, "ask", ask)

    return put


# --- the screen ---------------------------------------------------------------------------


def test_a_line_is_written_as_it_is(terminal):
    stream = terminal()
    Screen().show("line")
    assert stream.getvalue() == "line\n"


@pytest.fixture
def plain():
    """A keyboard without means, and what presses its keys."""
    reader, writer = os.pipe()
    keyboard = PlainKeyboard(reader)
    keyboard.press = lambda keys: os.write(writer, keys)
    keyboard.end = lambda: os.close(writer)
    yield keyboard
    os.close(reader)


def test_a_plain_keyboard_gives_lines_one_by_one(plain):
    plain.press(b"one\ntwo\nth")
    assert (plain.ask(), plain.ask()) == ("one", "two")
    plain.press(b"ree \xff\n")
    assert plain.ask() == "three \ufffd"
    plain.end()
    with pytest.raises(EOFError):
        plain.ask()


def test_a_plain_keyboard_that_waits_can_be_stopped(plain):
    stops = threading.Timer(0.01, plain.stop)
    stops.start()
    with pytest.raises(EOFError):
        plain.ask()
    stops.join()
    plain.end()


@pytest.fixture
def keyboard():
    """Keys that a test presses, and a screen that nobody sees."""
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keyboard = EditingKeyboard()
        keyboard.press = keys.send_text
        yield keyboard


def test_a_line_can_be_edited(keyboard):
    keyboard.press("echo hello" + "\x1b[D" * 3 + "XY\r")
    assert keyboard.ask() == "echo heXYllo"
    keyboard.press("\x1b[A\r")
    assert keyboard.ask() == "echo heXYllo"


def test_the_end_of_input_and_ctrl_c_are_keys(keyboard):
    keyboard.press("\x04")
    with pytest.raises(EOFError):
        keyboard.ask()
    keyboard.press("half\x03")
    with pytest.raises(KeyboardInterrupt):
        keyboard.ask()


def test_who_is_stopped_before_being_asked_is_not_asked(keyboard):
    keyboard.stop()
    with pytest.raises(EOFError):
        keyboard.ask()


def test_who_is_being_asked_can_be_stopped(keyboard, until):
    def stop():
        until(lambda: keyboard._session.app.is_running)
        keyboard.stop()

    other = threading.Thread(target=stop)
    other.start()
    with pytest.raises(EOFError):
        keyboard.ask()
    other.join()


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_can_do_nothing_gets_plain_lines(terminal, monkeypatch, term):
    stream = terminal(term)
    if not term:
        monkeypatch.delenv("TERM")
    screen = Screen()
    screen.show(screen.bold("line"))
    assert stream.getvalue() == "line\n"
    with screen.keyboard() as keyboard:
        assert type(keyboard) is PlainKeyboard


def test_colour_only_on_a_terminal_and_where_it_is_wanted(terminal):
    terminal()
    assert Screen().bold("x") == "\x1b[1mx\x1b[0m"
    assert Screen().dim("x") == "\x1b[2mx\x1b[0m"
    terminal(NO_COLOR="1")
    assert Screen().bold("x") == Screen().dim("x") == "x"


def test_an_empty_no_color_is_not_set(terminal):
    """no-color.org: "when present and not an empty string"."""
    terminal(NO_COLOR="")
    assert Screen().bold("x") == "\x1b[1mx\x1b[0m"


def test_no_colour_in_a_file(capsys):
    assert Screen().bold("x") == "x"


# --- events -------------------------------------------------------------------------------


@pytest.fixture
def marks():
    return SimpleNamespace(bold=lambda text: f"<{text}>", dim=lambda text: f"({text})")


def test_lines_are_marked_by_what_they_are(marks):
    assert _line_of(Broadcast(1, 0, "bob", "hi"), marks).endswith("] <bob>: hi")
    assert _line_of(Joined(0, "carol"), marks).startswith("([")
    assert _line_of(Missed("echo", 3), marks) == "<* echo: 3 messages are no longer kept>"
    assert _line_of(Offline("lost\x1b"), marks) == "(* lost\\x1b; reconnecting…)"
    assert _line_of(Online("alice", True), marks) == "(* connected again)"
    assert _line_of(Online("alice", False), marks) == ""


def test_a_message_cannot_look_like_a_notice(marks):
    assert not _line_of(Broadcast(1, 0, "b", "] * carol joined"), marks).startswith("(")


# --- the conversation ---------------------------------------------------------------------


def test_commands_are_carried_out_with_patience():
    client, shown = People(), []
    for line in ("send bob hi", "/echo hello", "info", "help", ""):
        assert _carry_out(line, client, shown.append)
    assert client.said == [("bob", "hi", 30.0), (None, "hello", 30.0)]
    assert shown[0] == "* online: alice, bob"
    assert any("send USER MESSAGE" in line for line in shown)
    assert not _carry_out("quit", client, shown.append)


def test_a_person_is_told_that_somebody_will_get_it_later():
    shown = []
    assert _carry_out("send carol hi", People(), shown.append)
    assert shown == ["* carol is away; he will get it"]


def test_what_is_no_command_is_the_persons_mistake():
    with pytest.raises(BadLine):
        _carry_out("nonsense", People(), print)


def test_a_conversation_from_beginning_to_end(types, capsys):
    types("echo one", "nonsense", "send nobody hi", "quit", "echo never")
    client = People([Broadcast(1, 0, "bob", "hi")])
    assert converse(client, Interrupts()) == Status.DONE
    assert client.closed
    assert [text for _, text, _ in client.said] == ["one"]
    out = capsys.readouterr().out
    assert out.startswith("joined as alice on tcp://127.0.0.1:5555")
    assert "bob: hi" in out
    assert "! unknown command: nonsense" in out
    assert "! no such user: nobody" in out


def test_the_end_of_input_is_the_end(types):
    types()
    client = People()
    assert converse(client, Interrupts()) == Status.DONE
    assert client.closed


@pytest.mark.parametrize(
    "error", [OutcomeUnknown("perhaps"), Unreachable("gone"), ZeroDivisionError("a bug")]
)
def test_what_cannot_go_on_ends_with_its_reason(types, error):
    types("echo one", "echo two")
    client = People(failure=error)
    with pytest.raises(type(error)):
        converse(client, Interrupts())
    assert client.closed


def test_an_interrupt_says_goodbye(types):
    types(KeyboardInterrupt())
    client = People()
    with pytest.raises(KeyboardInterrupt):
        converse(client, Interrupts())
    assert client.closed
    assert "commands" not in {thread.name for thread in threading.enumerate()}


def test_a_lost_broker_ends_it_while_nobody_types(monkeypatch):
    stopped = threading.Event()

    def ask(self):
        assert stopped.wait(15)
        raise EOFError

    monkeypatch.setattr(PlainKeyboard, "ask", ask)
    monkeypatch.setattr(PlainKeyboard, "stop", lambda self: stopped.set())

    class Gone(People):
        def receive_many(self):
            raise Unreachable("no broker answers")

    with pytest.raises(Unreachable):
        converse(Gone(), Interrupts())


def test_what_is_typed_while_another_waits_is_carried_out_after_it(types):
    client = People()
    send, went_on = client.echo, threading.Event()

    def slow(text, timeout):
        if text == "first":
            assert went_on.wait(15)
        send(text, timeout)

    client.echo = slow
    types("echo first", "echo second", "echo third")
    threading.Timer(0.01, went_on.set).start()
    assert converse(client, Interrupts()) == Status.DONE
    assert [text for _, text, _ in client.said] == ["first", "second", "third"]


def test_lines_that_are_pasted_together_are_lines(types, capsys):
    types("send bob hi\nnonsense\r\n\nsend carol secret")
    client = People()
    assert converse(client, Interrupts()) == Status.DONE
    assert [(to, text) for to, text, _ in client.said] == [("bob", "hi"), ("carol", "secret")]
    assert "! unknown command: nonsense" in capsys.readouterr().out


def test_the_prompt_is_documented_as_it_is():
    assert prompt.PROMPT == "> "
