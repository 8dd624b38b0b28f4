"""How a command ends: one line of words, one exit status, whatever happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click
import pytest

from chatbroker.command.run import CommandGroup, complain, means_stdin, run_command
from chatbroker.command.status import Status
from chatbroker.command.streams import StdoutClosed

FULL = "No space left on device; what is missing was not printed"


class Known(Exception):
    """What the command can explain."""


def explain(error):
    return (Status.REFUSED, f"refused: {error}") if isinstance(error, Known) else None


@pytest.fixture
def ends(monkeypatch, tmp_path):
    """Runs a command that does what the test says; how it ended."""
    monkeypatch.setenv("CHATBROKER_CONFIG", os.devnull)

    def run(body, *args):
        @click.group(name="talk", cls=CommandGroup)
        def talk():
            pass

        @talk.command()
        @click.option("--count", type=int, default=1)
        def hear(count):
            return body()

        monkeypatch.setattr(sys, "argv", ["talk", "hear", *args])
        return run_command("talk", talk, explain)

    return run


def raises(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("returned", "status"), [(None, 0), (0, 0), (Status.REFUSED, 6), (8, 8), ("text", 0)]
)
def test_what_a_command_returns_is_its_status(ends, returned, status):
    assert ends(lambda: returned) == status


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Known("why"), 6, "talk: refused: why\n"),
        (KeyboardInterrupt(), 130, ""),
        (click.Abort(), 130, ""),
        (click.exceptions.Exit(5), 5, ""),
        (click.ClickException("words"), 1, "talk: words\n"),
        (OSError(28, "No space left on device"), 1, f"talk: cannot write: {FULL}\n"),
        (StdoutClosed(), 0, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_ending_has_its_status_and_its_words(capfd, ends, error, status, words):
    before = os.dup(1)
    try:
        assert ends(raises(error)) == status
    finally:
        os.dup2(before, 1)  # A closed stdout is replaced for good.
        os.close(before)
    assert capfd.readouterr().err.lstrip() == words  # click ends the line after a ^C.


@pytest.mark.parametrize("args", [["--unknown"], ["--count", "x"], ["extra"]])
def test_a_wrong_command_line_says_how_to_get_help(capsys, ends, args):
    assert ends(lambda: None, *args) == Status.USAGE
    err = capsys.readouterr().err
    assert err.startswith("talk: ")
    assert err.endswith("; see 'talk hear --help'\n")
    assert err.count("\n") == 1


def test_a_wrong_value_is_told_with_the_variable_or_the_file_that_has_it(
    capsys, ends, monkeypatch, tmp_path
):
    wrong = "talk: Invalid value for '--count': 'x' is not a valid integer"
    ends(lambda: None, "--count", "x")
    assert capsys.readouterr().err == f"{wrong}; see 'talk hear --help'\n"
    monkeypatch.setenv("TALK_HEAR_COUNT", "x")
    ends(lambda: None)
    where = "(in the variable TALK_HEAR_COUNT)"
    assert capsys.readouterr().err == f"{wrong} {where}; see 'talk hear --help'\n"
    monkeypatch.delenv("TALK_HEAR_COUNT")
    config = tmp_path / "config.toml"
    config.write_text('[talk.hear]\ncount = "x"')
    monkeypatch.setenv("CHATBROKER_CONFIG", str(config))
    ends(lambda: None)
    assert capsys.readouterr().err == f"{wrong} (in {config}); see 'talk hear --help'\n"


def test_a_usage_error_found_later_is_one_too(capsys, ends):
    assert ends(raises(click.UsageError("give one of them"))) == Status.USAGE
    assert "give one of them" in capsys.readouterr().err


def test_a_bug_shows_where_it_is(ends):
    with pytest.raises(ZeroDivisionError):
        ends(lambda: 1 / 0)


def test_system_exit_keeps_its_status(ends):
    with pytest.raises(SystemExit) as caught:
        ends(raises(SystemExit(143)))
    assert caught.value.code == 143


def test_a_complaint_is_one_line_on_stderr(capsys):
    complain("chat", "words")
    assert capsys.readouterr() == ("", "chat: words\n")


# --- as processes: standard streams that are full, closed or odd --------------------------

PROGRAM = """
import os, sys
import click
from chatbroker.command.run import CommandGroup, run_command

@click.group(name="talk", cls=CommandGroup)
def talk():
    pass

@talk.command()
def say():
    print("x" * 100_000)
    print("data \\udcff")

@talk.command()
def look():
    print(sorted(os.readlink(f"/proc/self/fd/{n}") == "/dev/null" for n in (0, 1, 2)))
    print(sys.stdin.read() == "", os.fstat(os.open("/dev/zero", os.O_RDONLY)) and "fine")

sys.exit(run_command("talk", talk, lambda error: None))
"""


@pytest.fixture
def shell(tmp_path):
    """Runs a line of shell in which $TALK is the command."""

    def run(line):
        env = os.environ | {
            "TALK": f"{sys.executable} {tmp_path / 'talk.py'}",
            "CHATBROKER_CONFIG": str(tmp_path / "none"),
            "PYTHONIOENCODING": "utf-8",
        }
        (tmp_path / "talk.py").write_text(PROGRAM)
        (tmp_path / "none").touch()
        command = ["bash", "-c", line]
        return subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=20, check=False
        )

    return run


def test_a_reader_that_has_enough_is_no_failure(shell):
    done = shell("set -o pipefail; $TALK say | head -c 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "x", "")


def test_what_cannot_be_complained_of_keeps_its_status(shell):
    done = shell("$TALK nonsense 2> /dev/full")
    assert (done.returncode, done.stdout) == (2, "")


def test_help_is_given_whatever_the_config_file_is(shell, tmp_path):
    (tmp_path / "none").write_text("[talk")
    for line in ("$TALK --help", "$TALK say --help"):
        assert shell(line).returncode == 0
    done = shell("$TALK say")
    assert (done.returncode, done.stdout) == (2, "")


def test_a_full_disk_is_a_failure_in_words(shell):
    done = shell("$TALK say > /dev/full")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"talk: cannot write: {FULL}\n"


def test_no_character_fails_to_be_printed(shell):
    done = shell("$TALK say")
    assert done.returncode == 0
    assert done.stdout.endswith("data \\udcff\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_caller_closed_is_like_the_null_device(shell, closed):
    done = shell(f"$TALK look {closed}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def sigint():
    """Puts back how SIGINT is handled."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("before", "within"),
    [
        (signal.SIG_DFL, signal.default_int_handler),
        (signal.SIG_IGN, signal.SIG_IGN),
        (signal.default_int_handler, signal.default_int_handler),
    ],
)
def test_an_interrupt_is_heeded_unless_the_caller_has_it_ignored(ends, sigint, before, within):
    signal.signal(signal.SIGINT, before)
    handlers = []
    assert ends(lambda: handlers.append(signal.getsignal(signal.SIGINT))) == 0
    assert handlers == [within]


@pytest.mark.parametrize(
    ("args", "stdin"),
    [
        (["-"], True),
        (["--", "-"], False),
        (["-", "--"], True),
        (["--", "a", "-"], False),
        (["a"], False),
        ([], False),
    ],
)
def test_a_dash_stands_for_stdin_but_not_after_two(monkeypatch, args, stdin):
    monkeypatch.setenv("CHATBROKER_CONFIG", os.devnull)
    found = []

    @click.group(name="talk", cls=CommandGroup)
    def talk():
        pass

    @talk.command()
    @click.argument("text", nargs=-1)
    def say(text):
        found.append(means_stdin(text))

    monkeypatch.setattr(sys, "argv", ["talk", "say", *args])
    assert run_command("talk", talk, explain) == 0
    assert found == [stdin]
