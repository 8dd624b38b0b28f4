"""The command ``chat``: usage, help, statuses."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from chatbroker.client import cli
from chatbroker.client.cli import _explain, _starts, chat
from chatbroker.client.errors import (
    ClientError,
    NameRefused,
    NotAuthorised,
    OutcomeUnknown,
    ProtocolError,
    Refused,
    Unreachable,
    UsageError,
)
from chatbroker.client.starts import Since
from chatbroker.command.status import Status

NOBODY = ("--port", "1", "--timeout", "0.02")
"""A broker that is not there: what comes so far would have connected."""


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs ``chat`` here, without a broker and with a config file of the test's own."""
    for name in list(os.environ):
        if name.startswith("CHAT_"):
            monkeypatch.delenv(name)
    config = tmp_path / "config.toml"
    config.touch()
    monkeypatch.setenv("CHATBROKER_CONFIG", str(config))

    def invoke(*args, stdin=None, file=None):
        if file is not None:
            config.write_text(file)
        return CliRunner().invoke(chat, args, input=stdin)

    return invoke


@pytest.fixture
def process(monkeypatch, tmp_path):
    """Runs ``chat`` as a process."""

    def start(*args, stdin=b""):
        env = os.environ | {"CHATBROKER_CONFIG": os.devnull}
        return subprocess.run(
            [sys.executable, "-m", "chatbroker.client", *args],
            input=stdin,
            capture_output=True,
            timeout=30,
            check=False,
            env=env,
        )

    return start


# --- help ---------------------------------------------------------------------------------


def test_help_lists_every_command(run):
    result = run("--help")
    assert result.exit_code == 0
    for name, command in chat.commands.items():
        assert f"  {name}" in result.output
        assert command.get_short_help_str(200).rstrip(".") in result.output


@pytest.mark.parametrize("args", [["--help"], *[[name, "--help"] for name in chat.commands]])
def test_help_has_a_summary_and_an_example(run, args):
    result = run(*args)
    assert result.exit_code == 0
    assert "Example: " in result.output
    assert result.output == run(*args[:-1], "-h").output


@pytest.mark.parametrize("command", chat.commands.values(), ids=lambda c: c.name)
def test_every_option_says_what_it_is_for(command):
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_help_needs_no_zeromq(process):
    code = (
        "import sys; from chatbroker.client.cli import main; sys.argv = ['chat', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "sys.exit('zmq' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0


def test_version(run):
    result = run("--version")
    assert result.exit_code == 0
    assert "version" in result.output


# --- usage --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["join"],
        ["join", "alice", "bob"],
        ["join", "alice", "--count", "0"],
        ["join", "alice", "--idle", "-1"],
        ["join", "alice", "--as", "bob"],
        ["send"],
        ["send", "bob"],
        ["send", "bob", "hi", "--lines"],
        ["send", "bob", "--file", "/nonexistent"],
        ["echo"],
        ["echo", "hi", "--file", __file__],
        ["echo", "--lines", "--file", __file__],
        ["echo", "-", "--lines"],
        ["info", "--as", "bob"],
        ["--as", "bob", "info"],
        ["--as", "bob", "join", "alice"],
        ["info", "extra"],
        ["listen", "extra"],
        ["listen", "--only", "nonsense"],
        ["listen", "--only", "direct"],
        ["listen", "--format", "{nope}"],
        ["listen", "--format", "{"],
        ["listen", "--format", "{text}", "--json"],
        ["listen", "--since", "yesterday"],
        ["listen", "--since", "-5"],
        ["listen", "--since", "9" * 400 + "d"],
        ["listen", "--since", "999999999999999999d"],
        ["listen", "--for", "x"],
        ["listen", "--exec", ""],
        ["listen", "--exec", "no-such-command-at-all"],
        ["listen", "--jobs", "2"],
        ["send", "bob", "hi", "--wait", "3"],
        ["echo", "hi", "--wait-for-user", "b o b"],
        ["--profile", "nope", "info"],
        ["echo", "hi", "--broker", "nonsense"],
        ["echo", "hi", "--reconnect", "-1"],
    ],
    ids=lambda args: " ".join(args)[:40],
)
def test_a_wrong_command_line_is_refused_before_anything_connects(run, args):
    result = run(*NOBODY, *args)
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr


@pytest.mark.parametrize(
    ("file", "args"),
    [
        ('[chat.listen]\nformat = "{nope}"', ["listen"]),
        ('[chat.listen]\nonly = "direct"', ["listen"]),
        ('[chat.listen]\nsince = "yesterday"', ["listen"]),
        ("[chat.listen]\ncount = 0", ["listen"]),
        ("[chat.listen]\nidle = -1", ["listen"]),
        ("[chat.listen]\nfor = -1", ["listen"]),
        ("[chat.echo]\nreconnect = -1", ["echo", "hi"]),
    ],
)
def test_a_key_of_the_config_file_is_an_options_name(run, file, args):
    """Each of these options is refused where it is looked at."""
    assert run(*args, *NOBODY, file=file).exit_code == 2


@pytest.mark.parametrize("since", ["3", "'3'", "0"])
@pytest.mark.parametrize("command", ["listen", "history"])
def test_a_position_of_the_config_file_needs_no_quotes(run, command, since):
    ended = run(command, *NOBODY, file=f"[chat.{command}]\nsince = {since}")
    assert isinstance(ended.exception, Unreachable)


@pytest.mark.parametrize("since", ["3.0", "true", "-3"])
def test_what_is_no_position_in_the_config_file_is_refused(run, since):
    assert run("listen", *NOBODY, file=f"[chat.listen]\nsince = {since}").exit_code == 2


@pytest.mark.parametrize(
    "args",
    [
        ["echo", "hi"],
        ["send", "bob", "hi"],
        ["send", "bob", "-"],
        ["echo", "--lines"],
        ["echo", "--file", __file__],
        ["info"],
        ["listen"],
        ["listen", "--only", "direct", "--as", "bob"],
        ["listen", "--since", "all"],
        ["listen", "--since", "10m"],
        ["listen", "--since", "12"],
        ["listen", "--format", "{text}", "-0"],
        ["listen", "--exec", "cat -v", "--jobs", "2", "--json"],
        ["listen", "--exec", "cat | cat", "--shell"],
        ["send", "bob", "hi", "--wait-for-user", "bob", "--wait", "1"],
        ["echo", "--lines", "--wait-for-user", "bob"],
        ["join", "alice", "--stay", "--count", "1", "--idle", "1", "--for", "1"],
    ],
    ids=" ".join,
)
def test_a_right_command_line_gets_as_far_as_the_broker(run, args):
    result = run(*args, *NOBODY, stdin="hi\n")
    assert isinstance(result.exception, Unreachable)


# --- since --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "only", "public", "direct"),
    [
        ("now", None, Since.now(), Since.unread()),
        ("all", None, Since.all(), Since.all()),
        ("10m", None, Since.last(600), Since.last(600)),
        ("1h30m", "direct", Since.last(5400), Since.last(5400)),
        ("12", None, Since.after(12), Since.unread()),
        ("12", "direct", Since.now(), Since.after(12)),
        ("0", None, Since.after(0), Since.unread()),
    ],
)
def test_since_when(since, only, public, direct):
    assert _starts(since, only) == (public, direct)


@pytest.mark.parametrize("since", ["", "then", "-1", "1.5", "10 m", "٣", "9" * 19, "Now"])
def test_since_nonsense_is_named(since):
    with pytest.raises(click.UsageError) as caught:
        _starts(since, None)
    assert repr(since) in str(caught.value)


# --- statuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ClientError("words"), 1),
        (ProtocolError("words"), 1),
        (UsageError("words"), 2),
        (Unreachable("words"), 3),
        (NameRefused("name_taken", "words"), 4),
        (NameRefused("already_joined", "words"), 4),
        (NameRefused("bad_name", "words"), 4),
        (NotAuthorised("words"), 5),
        (Refused("no_such_user", "words"), 6),
        (OutcomeUnknown("words"), 7),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_has_its_status_and_its_words(error, status):
    found = _explain(error)
    assert found is not None
    assert (int(found[0]), found[1].startswith("words")) == (status, True)


def test_a_taken_name_says_what_to_do():
    words = _explain(NameRefused("name_taken", "name 'alice' is taken on tcp://host:1"))[1]
    assert words == (
        "name 'alice' is taken on tcp://host:1; choose another, or see who is on with 'chat info'"
    )


def test_a_claimed_name_says_what_to_do():
    status, words = _explain(NameRefused("name_claimed", "name 'alice' is claimed on tcp://host:1"))
    assert status == Status.NAME_REFUSED
    assert words.startswith("name 'alice' is claimed on tcp://host:1; choose another, or ")


def test_who_is_joined_already_can_be_joined():
    status, words = _explain(
        NameRefused("already_joined", "'alice' is already joined on tcp://h:1")
    )
    assert status == Status.NAME_REFUSED
    assert words == "'alice' is already joined on tcp://h:1; --attach shares it"


def test_what_a_broker_says_is_escaped_before_it_is_shown():
    assert _explain(Refused("code", "evil \x1b[2J\n"))[1] == "evil \\x1b[2J\\n"


def test_a_bug_is_not_explained_away():
    assert _explain(RuntimeError("bug")) is None


def test_the_status_of_the_process_is_the_status(process):
    done = process("echo", "hi", *NOBODY)
    assert done.returncode == Status.UNREACHABLE
    assert done.stdout == b""
    assert done.stderr.startswith(b"chat: no broker answers at tcp://127.0.0.1:1; is it running?")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("args", [["echo", "-"], ["send", "bob", "-"]])
def test_a_message_that_is_not_utf_8_is_refused_in_words(process, args):
    done = process(*args, *NOBODY, stdin=b"ab\xff")
    assert b"Traceback" not in done.stderr
    assert b"not UTF-8" in done.stderr
    assert done.returncode == Status.REFUSED


def test_an_empty_message_from_stdin_needs_no_broker(process):
    assert process("echo", "-", *NOBODY).returncode == Status.DONE


def test_the_commands_are_those_of_the_contract():
    commands = {"join", "send", "echo", "info", "listen", "history"}
    commands |= {"accept", "keygen", "whoami"}
    assert set(cli.chat.commands) == commands


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (("send", "bob", "-dash"), True),
        (("echo", "--- done ---"), True),
        (("info", "-dash"), False),
        (("-dash",), False),
    ],
)
def test_a_text_that_is_taken_for_an_option_is_told_of(process, args, hint):
    done = process(*args)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert (b"; '--' stands before a text that begins with a dash\n" in done.stderr) == hint
