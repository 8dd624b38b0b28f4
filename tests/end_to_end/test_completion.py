"""What TAB offers: names at a running broker, in each shell that there is."""

from __future__ import annotations

import os
import shlex
import shutil
import socket

import pytest
from click.shell_completion import ShellComplete

from chatbroker.broker.cli import chatbroker
from chatbroker.broker.keyring import MEMBERS, store_members
from chatbroker.broker.members import Invitation, Member, Roll
from chatbroker.broker.sanctions import LATEST
from chatbroker.client import Client, completing
from chatbroker.client.cli import chat
from chatbroker.client.identity import Identity
from chatbroker.command import completion
from chatbroker.testing.brokers import BrokerProcess
from chatbroker.wire.keys import key_text

KEY = key_text(b"k" * 32)
NOBODY = "tcp://127.0.0.1:1"


@pytest.fixture
def offers(monkeypatch, tmp_path):
    """What is offered after a line, by a program that has as much time as it takes."""
    for module in (completion, completing):
        monkeypatch.setattr(module, "PATIENCE", 30.0)
    for name in [name for name in os.environ if name.startswith("CHAT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("CHATBROKER_CONFIG", str(tmp_path / "config.toml"))

    def offer(line, begun=""):
        name, *words = shlex.split(line)
        group = {"chat": chat, "chatbroker": chatbroker}[name]
        shell = ShellComplete(group, {}, name, "")
        return [item.value for item in shell.get_completions(words, begun)]

    return offer


def test_names_come_from_the_broker_that_the_line_says(broker, offers, monkeypatch, tmp_path):
    port, address = broker.port, broker.address
    with Client("alice", address), Client("alina", address):
        everyone = ["alice", "alina"]
        assert offers(f"chat send --port {port}") == everyone
        assert offers(f"chat --port={port} send", "ALI") == everyone
        assert (
            offers(f"chat --broker {NOBODY} history --broker {address} --with", "ali") == everyone
        )
        assert offers(f"chat send --port {port}", "b") == []
        # A line that would be refused asks nobody: neither the default broker nor another one.
        for wrong in (f"--port {port} --broker {address}", "--port x", "--broker x"):
            assert offers(f"chat {wrong} send") == []
        # A profile that the line names, and none that there is not.
        (tmp_path / "config.toml").write_text(f"[profile.here]\nport = {port}\n")
        assert offers("chat --profile here send") == offers("chat send --profile here") == everyone
        assert offers("chat send --profile", "h") == ["here"]
        # Option over variable over file.
        (tmp_path / "config.toml").write_text(f"[chat]\nport = {port}\n")
        assert offers("chat send") == everyone
        monkeypatch.setenv("CHAT_BROKER", NOBODY)
        monkeypatch.setattr(completing, "PATIENCE", 0.05)
        assert offers("chat send") == []
        monkeypatch.setattr(completing, "PATIENCE", 30.0)
        assert offers(f"chat send --port {port}") == everyone
        monkeypatch.setenv("CHAT_BROKER", address)
        (tmp_path / "config.toml").write_text("[chat]\nport = 1\n")
        assert offers("chat send") == everyone
        with Client("carol", address):  # Nobody asked by that name, nor holds another one.
            assert offers("chat send") == [*everyone, "carol"]


def test_ones_own_names_and_brokers_are_offered_from_files(offers, data_folder):
    for name in ("carol", "carla"):
        Identity.of("tcp://127.0.0.1:6000", name)
    Identity.of("tcp://[::1]:6000", "bob")
    for line in ("chat --port 6000 join", "chat --port 6000 --as", "chat send --port 6000 --as"):
        assert offers(line) == ["carla", "carol"]
    assert offers("chat join") == []
    assert offers("chat send --broker") == ["tcp://127.0.0.1:6000", "tcp://[::1]:6000"]


def test_who_does_not_answer_is_not_waited_for(offers, monkeypatch, tmp_path):
    monkeypatch.setattr(completion, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert offers(f"chat send --port {silent.getsockname()[1]}") == []
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control"))
        silent.listen()
        assert offers(f"chatbroker kick --data-dir {tmp_path}") == []


def test_an_operator_is_offered_names_of_the_broker(broker, shell, offers, monkeypatch):
    data = broker.env["CHATBROKER_DATA"]
    monkeypatch.setenv("CHATBROKER_DATA", data)
    shell.env["CHATBROKER_DATA"] = data
    port = f"--port {broker.port}"
    with Client("alice", broker.address), Client("sender", broker.address, hear=False):
        # She has a name of her own, and is away.
        assert shell.run("echo", "hi", "--as", "alina", at=broker).status == 0
        assert offers(f"chatbroker kick {port}") == ["alice", "sender"]
        for command in ("ban", "mute", "names release"):
            assert offers(f"chatbroker {command} {port}", "al") == ["alice", "alina"]
        for command in ("unban", "unmute", "revoke"):
            assert offers(f"chatbroker {command} {port}") == []
        for command in (["ban", "alina"], ["ban", KEY], ["mute", "alice"]):
            done = shell.start("chatbroker", *command, *port.split()).finish()
            assert (done.status, done.err) == (0, "")
        assert offers(f"chatbroker unban {port}") == ["alina", KEY]
        assert offers(f"chatbroker unmute {port}") == ["alice"]
    assert offers("chatbroker kick --port x") == []
    assert offers("chatbroker kick --port 1") == offers("chatbroker unban --port 1") == []


def test_who_is_admitted_or_invited_is_offered_to_be_revoked(offers, tmp_path):
    """From the list in the folder: also where no broker serves."""
    members = (Member("bob", b"b" * 32, 0), Member("bob", b"c" * 32, 0), Member("al", b"d" * 32, 0))
    store_members(tmp_path, Roll(members, (Invitation("carol", b"i" * 32, LATEST),)))
    line = f"chatbroker revoke --data-dir {tmp_path}"
    assert offers(line) == ["al", "bob", "carol"]
    (tmp_path / MEMBERS).write_text("broken")
    assert offers(line) == []
    assert offers("chatbroker revoke --port x") == []


def test_at_a_secure_broker_ones_key_is_used(tmp_path, monkeypatch, offers):
    folder = tmp_path / "kept"
    with BrokerProcess("--secure", data_dir=folder) as secure:
        monkeypatch.setenv("CHATBROKER_DATA", secure.env["CHATBROKER_DATA"])
        with Client("alice", secure.address):
            assert offers(f"chat send --port {secure.port}") == ["alice"]
            assert offers("chat --broker") == [f"chat://127.0.0.1:{secure.port}"]
            # Without a key there are no names, and no words.
            monkeypatch.setenv("CHATBROKER_DATA", str(tmp_path / "nothing"))
            for scheme in ("tcp", "chat"):
                monkeypatch.setattr(completion, "PATIENCE", 0.3)
                assert offers(f"chat --broker {scheme}://127.0.0.1:{secure.port} send") == []


# --- in each shell ------------------------------------------------------------------------

BASH = """
eval "$(_CHAT_COMPLETE=bash_source chat)"
complete -p chat
try() {
    COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
    _chat_completion chat "$2"
    echo "${COMPREPLY[*]}"
}
try "chat --broker tcp://127.0.0.1:$PORT send al" al
try "chat send --port=$PORT " ""
unset COMP_LINE; COMPREPLY=() COMP_WORDS=(chat --port "$PORT" send al) COMP_CWORD=4
_chat_completion chat; echo "${COMPREPLY[*]}"
"""

FISH = """
_CHAT_COMPLETE=fish_source chat | source
complete -C "chat --broker tcp://127.0.0.1:$PORT send al"
complete -C "chat send --port=$PORT "
"""

# The widgets that show what there is stand in for those of an interactive zsh.
ZSH = """
compdef() { print -r -- "$@" }
compadd() { print -r -- "${(@P)@[-1]}" }
eval "$(_CHAT_COMPLETE=zsh_source chat)"
try() { words=("$@") CURRENT=$#; _chat_completion }
try chat --broker "tcp://127.0.0.1:$PORT" send al
try chat send --port "$PORT" ''
"""


@pytest.mark.parametrize(
    ("program", "script", "told"),
    [
        (
            ["bash", "--norc", "-c"],
            BASH,
            [
                "complete -o nosort -F _chat_completion chat",
                *("alice alina", "alice alina bob", "alice alina"),
            ],
        ),
        (["zsh", "-f", "-c"], ZSH, ["_chat_completion chat", "alice alina", "alice alina bob"]),
        (["fish", "--no-config", "-c"], FISH, ["alice", "alina", "alice", "alina", "bob"]),
    ],
    ids=["bash", "zsh", "fish"],
)
def test_a_shell_offers_who_is_on(shell, broker, tmp_path, eventually, program, script, told):
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    env = {"PORT": str(broker.port), "HOME": str(tmp_path)}
    seen = []

    def offered():
        # On a busy machine the broker's answer may be too late, which is nobody's fault.
        ended = shell.start(*program, script, env=env).finish()
        assert (ended.status, ended.err) == (0, "")
        seen.append(ended.out.splitlines())
        return seen[-1] == told

    with (
        Client("alice", broker.address),
        Client("alina", broker.address),
        Client("bob", broker.address),
    ):
        eventually(offered, f"not {told}: {seen}")
