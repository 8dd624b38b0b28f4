"""What could not be printed is unread, whatever ends a program; and what was printed is not."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios

import pytest

COUNT = 2000
TEXTS = [f"{number:04}" + "x" * 200 for number in range(COUNT)]
"""Several times what a pipe holds, and less than two steps of printing."""

LISTEN = ("listen", "--as", "bob", "--format", "{text}", "--only", "direct")


@pytest.fixture
def mail(shell, broker):
    """Waits for bob, who is away."""
    assert shell.run(*LISTEN, "--for", "0.1", at=broker).status == 0
    with broker.client("speaker", hear=False).pipeline() as pipeline:
        pipeline.send_many("bob", TEXTS)


def unread(shell, broker):
    """What bob is given when he comes again."""
    return shell.run(*LISTEN, "--idle", "1", at=broker).out.splitlines()


@pytest.mark.usefixtures("mail")
@pytest.mark.parametrize("kind", ["broadcast", "presence"])
def test_mail_that_is_not_to_be_printed_stays_unread(shell, broker, kind):
    other = ("listen", "--as", "bob", "--only", kind, "--format", "{text}", "--idle", "0.5")
    assert shell.run(*other, at=broker).out == ""
    assert unread(shell, broker) == TEXTS


def held(descriptor):
    """Bytes that wait in a pipe."""
    return struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))[0]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_what_nobody_read_when_a_signal_came_is_printed_the_next_time(
    shell, broker, mail, eventually, tmp_path, number, status
):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    listener = shell.start("bash", "-c", f"exec chat {' '.join(LISTEN)} > {fifo}", at=broker)
    with fifo.open("rb") as reader:
        size = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
        eventually(lambda: held(reader) > size // 2, "nothing was printed")
        listener.signal(number)
        assert listener.wait().status == status
        *printed, cut = reader.read().decode().split("\n")
    assert cut == ""
    assert 0 < len(printed) < COUNT
    assert printed + unread(shell, broker) == TEXTS


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
@pytest.mark.parametrize("read", [False, True])
def test_a_line_that_is_longer_than_what_a_pipe_holds_is_whole_or_told_of(
    shell, broker, eventually, tmp_path, number, status, read
):
    """What was said to everyone does not come again."""
    fifo, texts = tmp_path / "fifo", [letter * 16384 for letter in "abcdefghij"]
    os.mkfifo(fifo)
    with broker.client("speaker", hear=False).pipeline() as pipeline:
        pipeline.echo_many(texts)
    command = f"exec chat listen --since all --format {{text}} > {fifo}"
    listener = shell.start("bash", "-c", command, at=broker)
    with fifo.open("rb") as reader:
        size = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
        eventually(lambda: held(reader) > size // 2, "nothing was printed")
        listener.signal(number)
        if not read:
            listener.says("^chat: the last line on stdout is not whole")
        *printed, cut = reader.read().decode().split("\n")
    found = listener.wait()
    assert found.status == status
    assert printed == texts[: len(printed)]
    assert bool(cut) == ("is not whole" in found.err)


@pytest.mark.parametrize("command", [LISTEN, ("join", "bob", "--stay", "--idle", "1")])
def test_what_a_full_disk_did_not_take_is_printed_the_next_time(shell, broker, mail, command):
    full = shell.script(f"chat {' '.join(command)} > /dev/full", at=broker)
    assert full.status == 1
    words = "cannot write: No space left on device; what is missing was not printed"
    assert words in full.err
    assert unread(shell, broker) == TEXTS


def test_what_was_printed_before_a_limit_is_not_printed_again(shell, broker, mail, tmp_path):
    file = tmp_path / "printed"
    # A file that may not grow is one that is written in part.
    limited = shell.script(
        f"ulimit -f 100; trap '' XFSZ; chat {' '.join(LISTEN)} > {file}", at=broker
    )
    assert limited.status == 1
    assert "File too large" in limited.err
    *printed, _cut = file.read_text().split("\n")
    assert len(printed) == 100 * 1024 // 205
    assert printed + unread(shell, broker) == TEXTS


@pytest.mark.parametrize("options", [("--stay",), ()])
def test_line_mode_ends_when_its_reader_goes_while_it_prints(
    shell, broker, mail, eventually, tmp_path, options
):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = f"exec chat join bob {' '.join(options)} < /dev/null > {fifo}"
    joined = shell.start("bash", "-c", command, at=broker)
    with fifo.open("rb") as reader:
        size = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
        eventually(lambda: held(reader) > size // 2, "nothing was printed")
    assert joined.wait().status == 0
