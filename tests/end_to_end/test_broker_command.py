"""``chatbroker run``: how it starts, what it says, how it stops."""

from __future__ import annotations

import json
import os
import re
import signal
import socket

import pytest


@pytest.fixture
def serve(shell):
    """Starts ``chatbroker run`` on free ports and waits until it serves."""

    def start(*options):
        program = shell.start("chatbroker", "run", "--port", "0", *options)
        program.shows("ready")
        return program, program.out.split()[-1]

    return start


def unexpected(err):
    """What a broker said beside that the machine was too busy to let it run."""
    return [line for line in err.splitlines() if " stalled seconds=" not in line]


def test_one_line_says_that_it_serves(serve, tmp_path):
    ready = tmp_path / "ready"
    program, address = serve("--ready-file", str(ready))
    assert re.fullmatch(r"chatbroker ready at tcp://127\.0\.0\.1:\d+\n", program.out)
    told = json.loads(ready.read_text())
    assert told == {"broker": address, "pub": told["pub"], "pid": program.pid}
    assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", told["pub"])
    assert told["pub"] != address
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]
    program.signal(signal.SIGTERM)
    ended = program.wait()
    assert (ended.status, unexpected(ended.err)) == (0, [])
    # A file that is there says that somebody serves.
    assert not ready.exists()


def test_a_port_in_use_is_1_in_one_line(shell, chatbroker):
    port, pub_port = str(chatbroker.port), str(chatbroker.pub_port)
    both, only_pub = (
        shell.start("chatbroker", "run", "--port", port),
        shell.start("chatbroker", "run", "--port", "0", "--pub-port", pub_port),
    )
    in_use = "address already in use"
    assert both.finish() == (
        1,
        "",
        f"chatbroker: cannot listen on tcp://127.0.0.1:{port}: {in_use}\n",
    )
    ended = only_pub.finish()
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert f"cannot listen on tcp://127.0.0.1:{pub_port}: {in_use}" in ended.err


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "not an address"])
def test_an_address_that_is_not_here_is_1_in_one_line(shell, host):
    command = ("chatbroker", "run", "--insecure", "--host", host, "--port", "0")
    ended = shell.start(*command).finish()
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith(f"chatbroker: cannot listen on tcp://{host}:0: ")
    assert "Traceback" not in ended.err


def test_a_ready_file_that_cannot_be_written_is_1_in_one_line(shell, tmp_path):
    path = tmp_path / "nowhere" / "ready"
    command = ["chatbroker", "run", "--port", "0", "--ready-file", str(path)]
    ended = shell.start(*command).finish()
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert str(path) in ended.err


def test_a_ready_file_does_not_take_the_place_of_what_is_no_file(shell, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ended = shell.start("chatbroker", "run", "--port", "0", "--ready-file", str(pipe)).finish()
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert f"cannot write the ready file {pipe}: it is no regular file" in ended.err
    assert pipe.is_fifo()


def test_data_are_kept_in_the_folder_that_is_given_or_in_none(shell, tmp_path):
    both = shell.start(
        "chatbroker", "run", "--port", "0", "--memory", "--data-dir", str(tmp_path / "data")
    ).finish()
    assert (both.status, both.out) == (2, "")
    assert "give --data-dir or --memory, not both" in both.err
    assert not (tmp_path / "data").exists()
    file = tmp_path / "file"
    file.write_text("")
    blocked = shell.start("chatbroker", "run", "--port", "0", "--data-dir", str(file)).finish()
    assert (blocked.status, blocked.out) == (2, "")
    assert f"'{file}' is a file" in blocked.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_clients_are_told(shell, serve, number):
    program, address = serve()
    alice = shell.chat("join", "alice", "--reconnect", "0.2", at=address)
    alice.type("echo hi")
    alice.shows("alice: hi")
    listener = shell.chat("listen", "--reconnect", "0.2", at=address)
    listener.says("listening")
    program.signal(number)
    ended = program.wait()
    assert (ended.status, unexpected(ended.err)) == (0, [])
    for client in (alice, listener):
        told = client.wait()
        assert told.status == 3
        assert "chat: the broker is shutting down; reconnecting\n" in told.err


def test_a_stopped_client_with_a_full_pipe_does_not_hold_up_the_end(shell, serve, eventually):
    program, address = serve()
    bob = shell.chat("listen", "--as", "bob", at=address)
    bob.says("listening")
    bob.signal(signal.SIGSTOP)
    lines = ("x" * 16_000 + "\n") * 1000
    sent = shell.run("echo", "--lines", input=lines, at=address)
    direct = shell.run("send", "bob", "--lines", input=lines[:4_000_000], at=address)
    assert (sent.status, direct.status) == (0, 0)
    program.signal(signal.SIGTERM)
    assert program.wait().status == 0


def test_it_starts_again_on_the_same_ports_at_once(shell, chatbrokers):
    first = chatbrokers.start()
    with first.client("alice") as alice:
        alice.echo("hi")
        assert first.stop() == 0
        again = chatbrokers.start(port=first.port, pub_port=first.pub_port)
        assert again.address == first.address
        alice.echo("hi again", timeout=30)


def test_without_a_port_for_broadcasts_it_takes_the_next(shell, serve):
    # Two free ports side by side, as far as anyone can tell beforehand.
    for _ in range(50):
        with socket.socket() as one, socket.socket() as next_one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                next_one.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
        break
    program = shell.start("chatbroker", "run", "--port", str(port), "-v")
    program.shows(f"^chatbroker ready at tcp://127.0.0.1:{port}$")
    address = f"tcp://127.0.0.1:{port}"
    listener = shell.chat("listen", "--count", "1", at=address)
    listener.says("listening")
    assert shell.run("echo", "secret words", at=address).status == 0
    assert listener.wait().status == 0
    program.signal(signal.SIGTERM)
    ended = program.wait()
    assert ended.status == 0
    # The log has who came and went, and nothing of what was said.
    assert "stopping" in ended.err
    assert "secret" not in ended.err
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port + 1)) != 0


def test_a_broker_under_a_closed_or_full_stdout(shell, tmp_path):
    full = shell.script("chatbroker run --port 0 >/dev/full")
    words = (
        "cannot say on stdout that it is ready: No space left on device; the broker ended, start"
    )
    assert (full.status, full.out, full.err.count("\n")) == (1, "", 1)
    assert full.err.startswith(f"chatbroker: {words}")
    folder = tmp_path / "data"
    told = f"chatbroker run --secure --port 0 --data-dir {folder} --ready-file {tmp_path / 'ready'}"
    assert shell.script(f"{told} >/dev/full").status == 1
    # What a plain start would be refused for.
    assert not (folder / "server.key").exists()
    assert not (tmp_path / "ready").exists()
