"""The commands that send and leave, as functions."""

from __future__ import annotations

import getpass
import io
import json
import sys

import click
import pytest
from tickets import resolve

from chatbroker.client import sending
from chatbroker.client.commands import Commands, Outcome
from chatbroker.client.errors import ClientError, NameRefused, Refused, Unreachable
from chatbroker.client.events import Broadcast, Offline, Online
from chatbroker.client.feed import Answer, Entry, Help
from chatbroker.client.input import BadLine
from chatbroker.client.options import Shared
from chatbroker.client.output import Output
from chatbroker.client.pipeline import Receipt
from chatbroker.command.status import Status
from chatbroker.wire.messages import Hello
from chatbroker.wire.messages import Refused as RefusedHello
from chatbroker.wire.names import canonical_name


@pytest.fixture
def shared_with(house):
    """Shared options, as if given on the command line."""

    def make(user=None, json=False, timeout=15.0):
        return Shared(house.address, user, timeout, json)

    return make


@pytest.fixture
def stdin(monkeypatch):
    def put(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return put


@pytest.fixture
def stdin_pipe(pipe, monkeypatch):
    """Data on descriptor 0, as ``--lines`` reads it."""
    descriptor, write, close = pipe
    feed = sending.Feed
    monkeypatch.setattr(
        sending, "Feed", lambda *args, **options: feed(*args, descriptor, **options)
    )

    def put(data):
        write(data)
        close()

    return put


def heard(client, count):
    found = []
    for event in client.events(15):
        if hasattr(event, "text"):
            found.append(event)
            if len(found) == count:
                break
    return found


# --- names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "login", ["root", "Jane.Doe", "_apt", "-", "", "ünï", "DOMAIN\\jane", "x" * 100, "日本"]
)
def test_a_free_name_is_a_name_whatever_the_login_is(monkeypatch, login):
    monkeypatch.setattr(getpass, "getuser", lambda: login)
    name = sending.free_name()
    assert canonical_name(name) == name


@pytest.mark.parametrize("error", [KeyError("uid"), OSError("no user")])
def test_a_free_name_needs_no_login(monkeypatch, error):
    def fails():
        raise error

    monkeypatch.setattr(getpass, "getuser", fails)
    assert sending.free_name().startswith("user-")


def test_two_copies_of_a_script_differ(monkeypatch):
    assert len({sending.free_name() for _ in range(20)}) > 1


def names(monkeypatch, *free):
    waiting = list(free)
    monkeypatch.setattr(sending, "free_name", lambda: waiting.pop(0))
    return waiting


def test_a_free_name_that_is_taken_is_followed_by_another(house, shared_with, monkeypatch):
    with house.client("taken-1"), house.client("taken-2"):
        waiting = names(monkeypatch, "taken-1", "taken-2", "free-3")
        assert sending.send_one(shared_with(), None, ("hi",), None) == Status.DONE
        assert waiting == []


def test_it_gives_up_when_every_free_name_is_taken(house, shared_with, monkeypatch):
    with house.client("taken"):
        names(monkeypatch, *["taken"] * sending.ATTEMPTS)
        with pytest.raises(NameRefused):
            sending.send_one(shared_with(), None, ("hi",), None)


def test_a_name_that_was_asked_for_is_not_replaced(house, shared_with):
    with house.client("alice"), pytest.raises(NameRefused):
        sending.send_one(shared_with("alice"), None, ("hi",), None)


# --- the message --------------------------------------------------------------------------


def test_arguments_are_joined_by_spaces():
    assert sending.message_from(("two", " words"), None) == "two  words"
    assert sending.message_from(("",), None) == ""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"one\ntwo\n", "one\ntwo"),
        (b"one", "one"),
        (b"one\n\n", "one\n"),
        (b"\n", ""),
        (b"", None),
        ("zażółć\n".encode(), "zażółć"),
        (b"one\r\n", "one"),
        (b"one\r", "one\r"),
        (b"one\r\r\n", "one\r"),
    ],
)
def test_all_of_stdin_is_one_message(stdin, data, message):
    stdin(data)
    assert sending.message_from(("-",), None) == message


def test_a_dash_among_words_is_a_dash():
    assert sending.message_from(("a", "-"), None) == "a -"


def test_a_file_is_one_message(tmp_path):
    path = tmp_path / "message"
    path.write_bytes(b"one\ntwo\n")
    assert sending.message_from((), path) == "one\ntwo"


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path):
    with pytest.raises(click.UsageError, match="cannot read"):
        sending.message_from((), tmp_path)


def test_what_is_not_utf_8_is_refused_as_the_client_refuses(stdin):
    """As an exception of the client's, so that the command ends with a status and words."""
    stdin(b"ab\xff")
    with pytest.raises(Refused, match="not UTF-8"):
        sending.message_from(("-",), None)


def test_typed_bytes_that_the_locale_does_not_know_are_taken_as_utf_8():
    typed = "grüße".encode().decode("ascii", "surrogateescape")
    assert sending.message_from(("viele", typed), None) == "viele grüße"
    with pytest.raises(Refused, match=r"not UTF-8.*at byte 1"):
        sending.message_from(("a\udcff",), None)


# --- one message --------------------------------------------------------------------------


def test_one_message_to_one_user(house, shared_with, capsys):
    with house.client("bob") as bob:
        assert sending.send_one(shared_with("alice"), "bob", ("hi",), None) == Status.DONE
        assert heard(bob, 1)[0][2:] == ("alice", "bob", "hi")
    assert capsys.readouterr() == ("", "")


def test_one_message_to_everyone_as_json(house, shared_with, capsys):
    assert sending.send_one(shared_with(json=True), None, ("hi",), None) == Status.DONE
    assert json.loads(capsys.readouterr().out) == {"type": "accepted", "line": 1}


def test_no_message_is_done_without_a_broker(monkeypatch):
    monkeypatch.setattr(sending, "message_from", lambda text, path: None)
    assert sending.send_one(Shared("tcp://127.0.0.1:1", None, 0.1, False), None, ("-",), None) == 0


def test_what_cannot_be_read_as_a_text_is_refused_in_json_too(shared_with, capsys, tmp_path):
    (tmp_path / "text").write_bytes(b"\xff")
    with pytest.raises(Refused, match="not UTF-8"):
        sending.send_one(shared_with(json=True), None, (), tmp_path / "text")
    assert json.loads(capsys.readouterr().out)["code"] == "bad_text"


def test_a_refused_message(shared_with, capsys):
    with pytest.raises(Refused, match="no such user: nobody"):
        sending.send_one(shared_with(), "nobody", ("hi",), None)
    with pytest.raises(Refused, match="no such user: nobody"):
        sending.send_one(shared_with(json=True), "nobody", ("hi",), None)
    assert json.loads(capsys.readouterr().out) == {
        "type": "refused",
        "line": 1,
        "code": "no_such_user",
        "text": "no such user: nobody",
    }


def test_nobody_there():
    with pytest.raises(Unreachable):
        sending.send_one(Shared("tcp://127.0.0.1:1", None, 0.1, False), None, ("hi",), None)


# --- many lines ---------------------------------------------------------------------------


def test_lines_are_messages_in_order(house, shared_with, stdin_pipe, capsys):
    with house.client("bob") as bob:
        stdin_pipe(b"".join(b"%d\n" % number for number in range(3000)) + b"last")
        assert sending.send_lines(shared_with(), "bob", 15.0) == Status.DONE
        assert [event.text for event in heard(bob, 3001)] == [*map(str, range(3000)), "last"]
    assert capsys.readouterr() == ("", "")


def test_a_blank_line_is_a_message_without_words(house, shared_with, stdin_pipe):
    with house.client("bob") as bob:
        stdin_pipe(b"one\n\nthree\n")
        assert sending.send_lines(shared_with(), "bob", 15.0) == Status.DONE
        assert [event.text for event in heard(bob, 3)] == ["one", "", "three"]


def test_empty_input_sends_nothing(shared_with, stdin_pipe):
    stdin_pipe(b"")
    assert sending.send_lines(shared_with(), None, 15.0) == Status.DONE


def test_a_line_that_is_refused_is_named_and_the_rest_goes_on(shared_with, stdin_pipe, capsys):
    stdin_pipe(b"fine\n" + b"x" * 16_385 + b"\n\xff\nfine\n")
    assert sending.send_lines(shared_with(), None, 15.0) == Status.REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("chat: line 2: too long: 16385 bytes")
    assert second.startswith("chat: line 3: not UTF-8")


def test_lines_as_json(shared_with, stdin_pipe, capsys):
    stdin_pipe(b"fine\n\xff\nfine\n")
    assert sending.send_lines(shared_with(json=True), None, 15.0) == Status.REFUSED
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert [(item["type"], item["line"]) for item in found] == [
        ("accepted", 1),
        ("refused", 2),
        ("accepted", 3),
    ]
    assert err.startswith("chat: line 2: not UTF-8")


def test_an_input_that_cannot_be_read_is_no_success(shared_with, monkeypatch):
    def fails(descriptor, most):
        raise IsADirectoryError(21, "Is a directory")

    monkeypatch.setattr(sending.Feed._run.__globals__["os"], "read", fails)
    with pytest.raises(ClientError, match="cannot read"):
        sending.send_lines(shared_with(), None, 15.0)


# --- reports ------------------------------------------------------------------------------


def entry(result):
    return Entry(7, [result])


def receipt(outcome, code="", words=""):
    made = Receipt(None, Commands(None, ("hi",)))
    resolve(made, outcome, code, words)
    return made


@pytest.mark.parametrize("result", [receipt(Outcome.ACCEPTED), Answer([]), Help()])
def test_what_went_well_is_no_refusal_and_not_spoken_of(result, capsys):
    output = Output()
    assert sending.report_entry(entry(result), output) is False
    output.flush()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "result",
    [
        receipt(Outcome.REFUSED, "code", "evil \x1b[2J words"),
        BadLine("code", "evil \x1b[2J words"),
        Refused("code", "evil \x1b[2J words"),
    ],
)
def test_a_refusal_is_one_safe_line_on_stderr(result, capsys):
    output = Output()
    assert sending.report_entry(entry(result), output) is True
    output.flush()
    assert capsys.readouterr() == ("", "chat: line 7: evil \\x1b[2J words\n")


def test_a_refusal_in_json_is_exact_and_on_stdout_too(capsys):
    output = Output(as_json=True)
    assert sending.report_entry(entry(Refused("code", "evil \x1b words")), output) is True
    output.flush()
    out, err = capsys.readouterr()
    assert json.loads(out)["text"] == "evil \x1b words"
    assert err == "chat: line 7: evil \\x1b words\n"


def test_the_state_of_the_connection_is_told_on_stderr(capsys):
    assert sending.report_change(Offline("lost\x1b"))
    assert sending.report_change(Online("alice", True))
    assert sending.report_change(Online("alice", False))
    assert not sending.report_change(Broadcast(1, 0, "bob", "hi"))
    assert capsys.readouterr() == ("", "chat: lost\\x1b; reconnecting\nchat: connected again\n")


# --- who is on ----------------------------------------------------------------------------


def test_who_is_on_one_name_a_line(house, shared_with, capsys):
    with house.client("kate"), house.client("jane"):
        sending.show_users(shared_with())
        assert capsys.readouterr() == ("jane\nkate\n", "")
        sending.show_users(shared_with(json=True))
        found = json.loads(capsys.readouterr().out)
        assert [user["name"] for user in found["users"]] == ["jane", "kate"]


def test_nobody_is_on(shared_with, capsys):
    sending.show_users(shared_with())
    assert capsys.readouterr() == ("", "")


# --- a broker that is none of ours --------------------------------------------------------


def refusing(times):
    """The script of a broker that refuses the first HELLOs by their names, and then is silent."""

    def script(puppet, identity, message):
        if isinstance(message, Hello):
            puppet.hellos += 1
            if puppet.hellos <= times:
                puppet.tells(identity, RefusedHello("name_taken", "no"))

    return script


@pytest.mark.parametrize(
    ("user", "refusals", "raised", "hellos"),
    [
        ("alice", 1, NameRefused, 1),
        (None, 99, NameRefused, sending.ATTEMPTS),
        # It is asked for another free name, and nobody answers that.
        (None, 1, Unreachable, 2),
    ],
)
def test_a_refusal_is_told_from_silence(puppets, data_folder, user, refusals, raised, hellos):
    puppet = puppets(refusing(refusals))
    timeout = 0.5 if raised is Unreachable else 15.0
    with pytest.raises(raised):
        sending.send_one(Shared(puppet.address, user, timeout, False), None, ("hi",), None)
    assert len({hello.name for hello in puppet.heard.of(Hello)}) == hellos
