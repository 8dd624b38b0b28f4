"""Standard streams that never wait, are full, or have nobody at their other end.

All of it with and without PYTHONUNBUFFERED, by which Python's own streams fail in other ways.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from array import array

import pytest

PROGRAM = """
import os, sys
import click
from chatbroker.command.run import CommandGroup, complain, run_command

@click.group(name="talk", cls=CommandGroup)
@click.version_option("1")
def talk():
    pass

@talk.command()
def count():
    click.echo(len(sys.stdin.buffer.read(100_000)))

@talk.command()
def line():
    click.echo(sys.stdin.readline().strip())

@talk.command()
@click.option("--size", type=int, default=300_000)
def say(size):
    click.echo("x" * size)

@talk.command()
@click.option("--status", type=int)
def fail(status):
    complain("talk", "words")
    print("more words", file=sys.stderr)
    click.echo("done")
    return status

sys.exit(run_command("talk", talk, lambda error: None))
"""
NEVER_WAITS = "import os, sys; os.set_blocking(int(sys.argv[1]), False)"


@pytest.fixture
def talk(tmp_path, monkeypatch):
    """The command with some arguments."""
    monkeypatch.setenv("CHATBROKER_CONFIG", os.devnull)
    (tmp_path / "talk.py").write_text(PROGRAM)
    return lambda *args: [sys.executable, str(tmp_path / "talk.py"), *args]


@pytest.fixture(params=[None, "1"], ids=["buffered", "unbuffered"])
def shell(tmp_path, request):
    """Runs a line of shell in which $TALK is the command, and $NEVER_WAITS N makes descriptor N
    one that never waits."""
    (tmp_path / "talk.py").write_text(PROGRAM)
    env = os.environ | {
        "TALK": f"{sys.executable} {tmp_path / 'talk.py'}",
        "NEVER_WAITS": f"{sys.executable} {tmp_path / 'never_waits.py'}",
        "CHATBROKER_CONFIG": os.devnull,
    }
    (tmp_path / "never_waits.py").write_text(NEVER_WAITS)
    env.pop("PYTHONUNBUFFERED", None)
    if request.param is not None:
        env["PYTHONUNBUFFERED"] = request.param

    def run(line):
        command = ["bash", "-c", f"set -o pipefail; {line}"]
        return subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )

    return run


def test_all_of_a_stdin_that_never_waits_is_read(shell):
    slow = "for n in 1 2 3; do sleep 0.2; echo $n; done"
    done = shell(f"({slow}) | ($NEVER_WAITS 0; $TALK count)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "6\n", "")
    done = shell("(sleep 0.2; echo 1) | ($NEVER_WAITS 0; $TALK line)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_all_is_written_to_a_stdout_that_never_waits(shell):
    done = shell("($NEVER_WAITS 1; $TALK say) | (sleep 0.5; wc -c)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "300001\n", "")


def test_what_is_written_by_half_is_a_failure(shell):
    done = shell("trap '' XFSZ; ulimit -f 1; $TALK say >here")
    assert done.returncode == 1
    assert done.stderr == "talk: cannot write: File too large; what is missing was not printed\n"


@pytest.mark.parametrize("nowhere", ["2>/dev/full", "2> >(exec true)", "2>&-"])
@pytest.mark.parametrize("status", [0, 6])
def test_words_that_nobody_hears_change_no_status(shell, nowhere, status):
    done = shell(f"$TALK fail --status {status} {nowhere}")
    assert (done.returncode, done.stdout, done.stderr) == (status, "done\n", "")
    assert shell(f"$TALK nonsense {nowhere}").returncode == 2


@pytest.mark.parametrize("what", ["say", "--help", "--version", "say --help"])
def test_whoever_has_read_enough_is_no_failure(shell, what):
    done = shell(f"$TALK {what} | (exec true)")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def pipe():
    """Both ends of a pipe with room for 4096 bytes."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for end in ends:
        os.close(end)


def waiting_in(pipe):
    room = array("i", [0])
    fcntl.ioctl(pipe[0], termios.FIONREAD, room)
    return room[0]


@pytest.mark.parametrize("waits", [True, False])
def test_whoever_reads_no_words_holds_nothing_up(talk, pipe, waits):
    os.set_blocking(pipe[1], waits)
    os.write(pipe[1], b"x" * 4096)
    done = subprocess.run(talk("fail", "--status", "6"), stdout=-1, stderr=pipe[1], timeout=30)
    assert (done.returncode, done.stdout) == (6, b"done\n")


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("size", [6000, 300_000])
def test_an_interrupt_has_nothing_be_written_twice(talk, pipe, waits, size):
    os.set_blocking(pipe[1], waits)
    process = subprocess.Popen(talk("say", "--size", str(size)), stdout=pipe[1])
    end = time.monotonic() + 20
    while waiting_in(pipe) < 4096:
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    read = 0
    while process.poll() is None or waiting_in(pipe):
        assert time.monotonic() < end
        if waiting_in(pipe):
            read += len(os.read(pipe[0], 4096))
    # What was under way may come yet, but no more than there is.
    assert process.returncode == 130
    assert read <= size + 1


def test_what_nobody_reads_is_one_failure_of_the_disk_however_it_is_written(shell):
    for what in ("say", "--help", "--version"):
        done = shell(f"$TALK {what} >/dev/full")
        assert done.returncode == 1
        words = "cannot write: No space left on device; what is missing was not printed"
        assert done.stderr == f"talk: {words}\n"
