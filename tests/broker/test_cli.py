"""The command ``chatbroker``: usage, readiness, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chatbroker.broker.cli import Rereading, _explain, chatbroker
from chatbroker.broker.config import StartError
from chatbroker.client import Client

WITHIN = 20.0


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs it here, for as long as it takes to refuse."""
    for name in list(os.environ):
        if name.startswith("CHATBROKER_"):
            monkeypatch.delenv(name)
    config = tmp_path / "config.toml"
    config.touch()
    monkeypatch.setenv("CHATBROKER_CONFIG", str(config))

    def invoke(*args, file=None):
        if file is not None:
            config.write_text(file)
        return CliRunner().invoke(chatbroker, args)

    return invoke


@pytest.fixture
def processes(tmp_path):
    """Starts ``chatbroker`` as processes, which are ended after the test."""
    started = []

    def start(*args, code=None, **options):
        env = os.environ | {"CHATBROKER_CONFIG": os.devnull}
        begin = ["-m", "chatbroker.broker"] if code is None else ["-c", code]
        command = [sys.executable, *begin, *args]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, **options
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ends(process):
    out, err = process.communicate(timeout=WITHIN)
    return process.returncode, out.decode(), err.decode()


def ready(process):
    """Where it serves, from its first line."""
    line = process.stdout.readline().decode()
    assert line.startswith("chatbroker ready at "), line
    return line.removeprefix("chatbroker ready at ").strip()


# --- reading the config file again --------------------------------------------------------


@pytest.fixture
def reads_again(monkeypatch, tmp_path):
    """The config file, and what reads the settings again that it was in when asked for."""
    path = tmp_path / "config.toml"
    monkeypatch.delenv("CHATBROKER_CONFIG", raising=False)
    monkeypatch.setattr(click, "get_app_dir", lambda name: str(tmp_path))

    def begin():
        group = chatbroker.make_context("chatbroker", ["run"])
        return Rereading(chatbroker.commands["run"].make_context("run", [], group))

    return path, begin


def test_a_config_file_that_is_gone_changes_nothing_and_an_empty_one_does(reads_again):
    path, begin = reads_again
    path.write_text('[chatbroker.run]\nkeep = "forever"\n')
    again = begin()
    assert again().keep is None
    path.unlink()
    for _ in range(2):
        with pytest.raises(StartError, match="is gone; an empty file has the defaults hold"):
            again()
    path.touch()
    assert again().keep == 30 * 86400


def test_without_a_config_file_there_is_nothing_to_miss_until_there_is_one(reads_again):
    path, begin = reads_again
    again = begin()
    assert again().keep == 30 * 86400
    path.write_text('[chatbroker.run]\nkeep = "7d"\n')
    assert again().keep == 7 * 86400
    path.unlink()
    with pytest.raises(StartError, match="is gone"):
        again()


def test_a_pipe_is_read_at_the_start_and_not_again(reads_again, monkeypatch):
    _path, begin = reads_again
    reader, writer = os.pipe()
    os.write(writer, b'[chatbroker.run]\nkeep = "forever"\n')
    os.close(writer)
    monkeypatch.setenv("CHATBROKER_CONFIG", f"/dev/fd/{reader}")
    again = begin()
    with pytest.raises(StartError, match="is no regular file; a restart reads it"):
        again()
    os.close(reader)


def test_what_has_no_end_or_never_begins_is_not_read_again(reads_again, monkeypatch):
    path, begin = reads_again
    again = begin()
    os.mkfifo(path)
    with pytest.raises(StartError, match=f"cannot read {path} again: it is no regular file"):
        again()
    monkeypatch.setenv("CHATBROKER_CONFIG", "/dev/zero")
    with pytest.raises(StartError, match="cannot read /dev/zero again"):
        again()
    path.unlink()
    path.write_text('[chatbroker.run]\nkeep = "7d"\n')
    monkeypatch.setenv("CHATBROKER_CONFIG", str(path))
    assert again().keep == 7 * 86400


# --- help and usage -----------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"]])
def test_help_has_a_summary_and_an_example(run, args):
    result = run(*args)
    assert result.exit_code == 0
    assert "Example: chatbroker run" in result.output
    assert run(*args[:-1], "-h").output == result.output


@pytest.mark.parametrize("command", chatbroker.commands.values(), ids=lambda c: c.name)
def test_every_option_says_what_it_is_for(command):
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, parameter.name


def test_version(run):
    assert "version" in run("--version").output


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["run", "extra"],
        ["run", "--port", "x"],
        ["run", "--port", "-1"],
        ["run", "--port", "65536"],
        ["run", "--pub-port", "65536"],
        ["run", "--data-dir", "data", "--memory"],
        ["run", "--memory", "--keep", "5d"],
        ["run", "--memory", "--keep-bytes", "1GB"],
        ["run", "--memory", "--sync", "full"],
        ["run", "--lease", "0"],
        ["run", "--heartbeat", "0"],
        ["run", "--lease", "nan"],
        ["run", "--heartbeat", "nan"],
        ["run", "--grace", "nan"],
        ["run", "--keep", "9" * 400 + "d"],
        ["run", "--claim-ttl", "9" * 300 + "d"],
        ["run", "--keep-bytes", "9" * 400],
        ["run", "--limit", "text=" + "9" * 400],
        ["run", "--ready-file", "/"],
    ],
    ids=lambda args: " ".join(args)[:40],
)
def test_a_wrong_command_line_is_refused(run, args):
    result = run(*args)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert result.stderr


def test_what_is_about_the_disk_is_refused_of_memory_if_it_was_asked_for_there(run, monkeypatch):
    assert "--keep-bytes is about the disk" in run("run", "--memory", "--keep-bytes", "1GB").stderr
    # Elsewhere it may be meant for other brokers: what is told is the next thing that is wrong.
    monkeypatch.setenv("CHATBROKER_SYNC", "full")
    file = '[chatbroker.run]\nkeep = "5d"'
    assert "--ready-file" in run("run", "--memory", "--ready-file", "/", file=file).stderr


def test_options_may_stand_in_the_config_file(run):
    result = run("run", file="[chatbroker.run]\nport = -1")
    assert result.exit_code == 2
    assert "port" in result.stderr


@pytest.mark.parametrize("value", ["true", "30", '"30"', "1.5"])
def test_how_long_messages_are_kept_needs_a_unit_in_the_config_file_too(run, value):
    # A second, or half a minute, is what nobody means who writes that.
    result = run("run", "--port", "0", "--memory", file=f"[chatbroker.run]\nkeep = {value}")
    assert result.exit_code == 2
    assert "keep" in result.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("verbose = 1", "[chatbroker.run] verbose wants true or false, not 1"),
        ("secure = 1", "[chatbroker.run] secure wants true or false, not 1"),
        ("memory = 1", "[chatbroker.run] memory wants true or false, not 1"),
        ("port = 21555.0", "[chatbroker.run] port wants a whole number, not 21555.0"),
        ("ready-file = 3", "[chatbroker.run] ready-file wants a text in quotes, not 3"),
        ("data-dir = 5", "[chatbroker.run] data-dir wants a text in quotes, not 5"),
        ("keep = 2024-01-01", "keep wants a number, or a text in quotes, not 2024-01-01"),
        ('limit = "joins=1 text=9"', "limit wants a list of texts, or a table, not 'joins=1 t"),
        (f'keep = "{"9" * 400}d"', "9d' is no duration such as 90s, 12h or 30d, nor 'forever'"),
        (f'claim-ttl = "{"9" * 300}d"', "9d' is no duration such as 90s, 12h or 30d"),
        (f'keep-bytes = "{"9" * 400}"', "9' is no size such as 500MB or 1GB, nor 'unlimited'"),
        (f'limit = {{text="{"9" * 400}"}}', "9': a size such as 64KiB or 1MB is wanted"),
        ("heartbeat = nan", "nan is no number of seconds"),
        ("lease = nan", "nan is no number of seconds"),
        (f"keep = {'[' * 9999}{']' * 9999}", "config.toml: it is nested too deeply"),
    ],
    ids=lambda value: value[:20],
)
def test_a_value_in_the_config_file_that_cannot_be_is_told_at_start_and_at_sighup(
    run, reads_again, line, words
):
    path, begin = reads_again
    file = f"[chatbroker.run]\n{line}\n"
    ended = run("run", file=file)
    assert (ended.exit_code, words in ended.stderr) == (2, True)
    path.write_text("[chatbroker.run]\n")
    again = begin()
    path.write_text(file)
    with pytest.raises(StartError) as told:
        again()
    assert words in str(told.value)


@pytest.mark.parametrize("lines", ['limit = ["text=20", "joins=7/9"]', "limit = { text = 20 }"])
def test_limits_are_a_list_or_a_table_in_the_config_file(reads_again, lines):
    path, begin = reads_again
    path.write_text(f"[chatbroker.run]\n{lines}\n")
    assert begin()().allowance.text == 20


def test_a_home_in_the_config_file_is_a_home(reads_again, monkeypatch):
    path, begin = reads_again
    monkeypatch.setenv("HOME", "/home/bob")
    path.write_text('[chatbroker.run]\ndata-dir = "~/data"\n')
    assert begin()().data_dir == Path("/home/bob/data")


def test_what_keeps_it_from_starting_is_explained_and_a_bug_is_not():
    assert _explain(StartError("words")) == (1, "words")
    assert _explain(RuntimeError("bug")) is None


# --- the ready file -----------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_told_and_ends_it(processes, tmp_path):
    path = tmp_path / "missing" / "ready"
    status, out, err = ends(processes("run", "--port", "0", "--ready-file", str(path)))
    assert (status, out) == (1, "")
    words = "No such file or directory; give another with --ready-file"
    assert err == f"chatbroker: cannot write the ready file {path}: {words}\n"


READ_ONLY = """
import errno, os, pathlib
from chatbroker.broker.cli import main

def refuse(self, missing_ok=False, unlink=pathlib.Path.unlink):
    if self.name == "ready" and self.exists():
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    unlink(self, missing_ok)

pathlib.Path.unlink = refuse
main()
"""
"""A broker whose ready file lies where nothing can be removed any more."""


def test_a_ready_file_that_cannot_be_removed_is_warned_of_and_holds_up_no_end(processes, tmp_path):
    path = tmp_path / "ready"
    process = processes("run", "--port", "0", "--ready-file", str(path), code=READ_ONLY)
    ready(process)
    process.send_signal(signal.SIGTERM)
    status, out, err = ends(process)
    assert (status, out, err.count("\n")) == (0, "", 1)
    assert err.endswith(f"ready-file path={path} cannot be removed: Read-only file system\n")


def test_a_ready_file_that_cannot_be_written_is_what_is_told(processes, tmp_path):
    path = tmp_path / "ready"
    path.write_text('{"pid": 7}')
    ended = ends(processes("run", "--port", "0", "--ready-file", str(path), code=READ_ONLY))
    words = "Read-only file system; give another with --ready-file"
    assert ended == (1, "", f"chatbroker: cannot write the ready file {path}: {words}\n")


FULL = """
import errno, os, pathlib
from chatbroker.broker.cli import main

def full(self, text):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

pathlib.Path.write_text = full
main()
"""
"""A broker whose ready file lies on a disk that is full."""


def test_a_start_without_room_for_its_ready_file_leaves_no_key(processes, tmp_path):
    path, data = tmp_path / "ready", tmp_path / "data"
    run = ("run", "--port", "0", "--data-dir", str(data))
    status, out, err = ends(processes(*run, "--secure", "--ready-file", str(path), code=FULL))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert f"cannot write the ready file {path}: No space left on device" in err
    assert "server.key" not in os.listdir(data)
    plain = processes(*run)
    ready(plain)


def test_a_broker_that_was_killed_is_not_taken_for_one_that_cannot_start(processes, tmp_path):
    path = tmp_path / "ready"
    killed = processes("run", "--port", "0", "--ready-file", str(path))
    ready(killed)
    killed.kill()
    killed.wait()
    assert path.exists()
    metrics = ("--metrics-port", "0", "--metrics-host", "a..b")
    # It has the ports, and then cannot serve.
    assert ends(processes("run", "--port", "0", *metrics, "--ready-file", str(path)))[0] == 1
    assert not path.exists()


@pytest.mark.parametrize("option", ["--host", "--metrics-host"])
@pytest.mark.parametrize("empty", ["", "[]"])
def test_an_empty_host_is_none(processes, option, empty):
    """To a web server it stands for all addresses."""
    ended = ends(processes("run", "--port", "0", "--metrics-port", "0", option, empty))
    words = f"{option} is empty; give an address; see 'chatbroker run --help'"
    assert ended == (2, "", f"chatbroker: {words}\n")


@pytest.mark.parametrize("words", ["nobody wrote this twice", '{"pid": 7}'])
def test_a_start_that_is_refused_costs_no_file(processes, tmp_path, words):
    path = tmp_path / "other.txt"
    path.write_text(words)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert ends(processes("run", "--port", port, "--ready-file", str(path)))[0] == 1
    assert path.read_text() == words


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal", "sanctions.json", "notes.txt"])
def test_a_ready_file_costs_neither_the_journal_nor_a_file_of_somebodys(processes, tmp_path, name):
    folder = tmp_path / "data"
    run = ("run", "--port", "0", "--data-dir", str(folder))
    served = processes(*run)
    with Client("alice", ready(served), timeout=WITHIN) as alice:
        alice.echo("hi")
    served.terminate()
    assert ends(served)[0] == 0
    (folder / "notes.txt").write_text("nobody wrote this twice")
    before = {*os.listdir(folder)}
    status, out, err = ends(processes(*run, "--ready-file", str(folder / name)))
    assert (status, out) == (1, "")
    assert err.startswith(f"chatbroker: cannot write the ready file {folder / name}: ")
    assert {*os.listdir(folder)} == before
    assert (folder / "notes.txt").read_text() == "nobody wrote this twice"
    assert json.loads(ends(processes("check", str(folder), "--json"))[1])["messages"] == 1


def test_the_ready_file_of_another_broker_stays(processes, tmp_path):
    path = tmp_path / "ready"
    first = processes("run", "--port", "0", "--ready-file", str(path))
    address = ready(first)
    # One that cannot start, and one that takes the file over.
    port = address.rpartition(":")[2]
    assert ends(processes("run", "--port", port, "--ready-file", str(path)))[0] == 1
    assert json.loads(path.read_text())["pid"] == first.pid
    second = processes("run", "--port", "0", "--ready-file", str(path))
    ready(second)
    first.send_signal(signal.SIGTERM)
    assert ends(first) == (0, "", "")
    assert json.loads(path.read_text())["pid"] == second.pid


# --- serving ------------------------------------------------------------------------------


def test_it_says_where_it_serves_and_leaves_nothing_when_it_ends(processes, tmp_path):
    path = tmp_path / "ready"
    process = processes("run", "--port", "0", "--ready-file", str(path))
    address = ready(process)
    told = json.loads(path.read_text())
    assert told["broker"] == address
    assert told["pid"] == process.pid
    assert told["pub"] != address
    with Client("alice", address, timeout=WITHIN) as alice:
        alice.echo("hi")
    process.send_signal(signal.SIGTERM)
    assert ends(process) == (0, "", "")
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_success_and_says_goodbye(processes, number):
    process = processes("run", "--port", "0")
    with Client("alice", ready(process), timeout=WITHIN) as alice:
        process.send_signal(number)
        told = [next(alice.events(WITHIN)) for _ in range(2)]
    assert "shutting down" in told[1].why
    assert ends(process) == (0, "", "")


def test_a_second_signal_while_it_stops_changes_nothing(processes):
    """An impatient Ctrl-C, Ctrl-C; and whatever stops a container twice."""
    process = processes("run", "--port", "0", "-v")
    with Client("alice", ready(process), timeout=WITHIN):
        process.send_signal(signal.SIGINT)
        while b"stopping reason=SIGINT" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        status, _, err = ends(process)
    assert (status, "Traceback" in err) == (0, False)


def test_a_client_that_does_not_read_does_not_hold_up_the_end(processes):
    process = processes("run", "--port", "0")
    host, _, port = ready(process).removeprefix("tcp://").partition(":")
    with socket.create_connection((host, int(port))):
        process.send_signal(signal.SIGTERM)
        assert ends(process)[0] == 0


def test_a_port_in_use_is_told_as_documented(processes):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, out, err = ends(processes("run", "--port", str(port)))
    assert (status, out) == (1, "")
    assert err == (f"chatbroker: cannot listen on tcp://127.0.0.1:{port}: address already in use\n")


@pytest.mark.parametrize("port", ["0", "5555"])
@pytest.mark.parametrize("host", ["a..b", ".x", "a" * 64])
def test_a_host_that_has_no_name_is_told_in_one_line(processes, host, port):
    ended = ends(processes("run", "--memory", "--host", host, "--port", port))
    words = f"cannot listen on tcp://{host}:{port}: no such address on this machine"
    assert ended == (1, "", f"chatbroker: {words}\n")


def test_who_comes_and_goes_is_logged_only_if_asked_and_no_text_ever(processes):
    process = processes("run", "--port", "0", "-v")
    with Client("alice", ready(process), timeout=WITHIN) as alice:
        alice.echo("a secret")
    process.send_signal(signal.SIGTERM)
    status, out, err = ends(process)
    assert (status, out) == (0, "")
    assert "joined user=alice" in err
    assert "left user=alice" in err
    assert "secret" not in err
