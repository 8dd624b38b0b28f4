"""The commands about who is admitted: what they ask of the broker, and what they print."""

from __future__ import annotations

import json
import os
import re
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from chatbroker.broker import cli_members as module
from chatbroker.broker.cli import _explain, chatbroker
from chatbroker.broker.config import StartError
from chatbroker.broker.keyring import store_members
from chatbroker.broker.members import Invitation, Member, Roll
from chatbroker.wire.keys import key_text

KEY, OTHER = b"k" * 32, b"o" * 32
SPELLED = key_text(KEY)
WHERE = {"ok": True, "host": "127.0.0.1", "port": 5555, "server_key": "S" * 52, "known": False}
LATER = 4_000_000_000_000


@pytest.fixture
def broker(monkeypatch):
    """A broker that answers as it is told; `asked` are the requests."""

    broker = SimpleNamespace(runs=True, asked=[], answers=[])

    def ask(folder, **request):
        broker.asked.append(request)
        return broker.answers.pop(0)

    monkeypatch.setattr(module, "ask", ask)
    monkeypatch.setattr(module, "in_use", lambda folder: broker.runs)
    return broker


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a command: status, stdout, stderr."""
    monkeypatch.setenv("CHATBROKER_CONFIG", os.devnull)

    def invoke(*args):
        args = [*args, "--data-dir", str(tmp_path)]
        ended = CliRunner().invoke(chatbroker, args, standalone_mode=False)
        if ended.exception is not None:
            status, words = _explain(ended.exception) or pytest.fail(repr(ended.exception))
            return status, ended.stdout, words
        return ended.return_value, ended.stdout, ended.stderr

    return invoke


def test_an_invitation_holds_a_secret_of_which_the_broker_learns_the_public_half(broker, run):
    broker.answers = [WHERE | {"expires": 0}]
    status, out, err = run("invite", "Alice", "--for", "2h")
    (token,) = re.fullmatch(
        rf"chat accept 'chat://alice:([a-z2-7]{{52}})@127.0.0.1:5555/{'S' * 52}'\n", out
    ).groups()
    assert status == 0
    assert broker.asked[0]["seconds"] == 7200
    assert (broker.asked[0]["name"], broker.asked[0]["key"] == token) == ("alice", False)
    assert "only this machine reaches 127.0.0.1" in err


@pytest.mark.parametrize(
    ("host", "options", "where"),
    [
        ("10.0.0.7", [], "10.0.0.7"),
        ("0.0.0.0", ["--host", "example.org"], "example.org"),
        ("::", ["--host", "fe80::1"], r"\[fe80::1\]"),
        ("0.0.0.0", [], "192.0.2.9"),
    ],
)
def test_an_invitation_names_an_address_that_others_reach(
    broker, run, monkeypatch, host, options, where
):
    monkeypatch.setattr(module, "_own_address", lambda: "192.0.2.9")
    broker.answers = [WHERE | {"expires": 0, "host": host, "known": True}]
    status, out, err = run("invite", "alice", *options, "--json")
    assert (status, err) == (0, "")
    assert re.search(f"@{where}:5555/", json.loads(out)["invitation"])


@pytest.mark.parametrize(
    "host", ["a b", "http://x", "chat.example.org:7000", "", "[::1", "x/y", "me@x", "::1]:5555"]
)
def test_a_host_that_is_none_invites_nobody(broker, monkeypatch, host):
    monkeypatch.setenv("CHATBROKER_CONFIG", os.devnull)
    ended = CliRunner().invoke(chatbroker, ["invite", "alice", "--host", host])
    assert ended.exit_code == 2
    assert "--host: a host is a name or an IP address, without a port" in ended.stderr
    assert broker.asked == []


@pytest.mark.parametrize("duration", ["forever", "soon"])
def test_an_invitation_has_an_end_and_no_other_is_offered(broker, monkeypatch, duration):
    monkeypatch.setenv("CHATBROKER_CONFIG", os.devnull)
    ended = CliRunner().invoke(chatbroker, ["invite", "alice", "--for", duration])
    assert ended.exit_code == 2
    words = f"'--for': {duration!r} is no duration such as 90s, 12h or 30d\n"
    assert ended.stderr.endswith(words)
    assert broker.asked == []


def test_an_invitation_to_a_name_that_is_known_says_so(broker, run):
    broker.answers = [WHERE | {"expires": 0, "known": True, "host": "10.0.0.7"}]
    status, _out, err = run("invite", "alice")
    assert status == 0
    assert "alice is somebody's here already" in err
    assert "only this machine" not in err


def test_who_is_admitted_needs_the_brokers_key(broker, run):
    broker.answers = [WHERE]
    status, out, err = run("admit", "alice", SPELLED)
    assert (status, out) == (0, f"{'S' * 52}\n")
    words = "the address that 'chat keygen' was given, and the broker's key"
    line = f"--broker chat://HOST:5555/{'S' * 52}"
    assert err == f"chatbroker: alice gets in with {words}: {line}\n"
    assert broker.asked == [{"do": "admit", "name": "alice", "key": SPELLED}]


@pytest.mark.parametrize("who", ["Alice", SPELLED])
def test_a_name_or_a_key_is_taken_back(broker, run, who):
    broker.answers = [{"ok": True, "revoked": 1, "unkept": ""}]
    assert run("revoke", who) == (0, "", "")
    assert broker.asked == [{"do": "revoke", "name": "alice" if who == "Alice" else SPELLED}]


def test_what_is_taken_back_and_not_kept_is_no_success(broker, run):
    broker.answers = [{"ok": True, "revoked": 1, "unkept": "the disk is full"}]
    status, out, err = run("revoke", "alice")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("chatbroker: alice is out, but would be in again if the broker ended now")
    assert "the disk is full; see to that" in err


@pytest.mark.parametrize(
    "command",
    [["invite", "a"], ["admit", "a", SPELLED], ["revoke", "a"], ["members"]],
    ids=lambda command: command[0],
)
def test_a_refusal_is_told_and_ends_with_6(broker, run, command):
    broker.answers = [{"ok": False, "words": "not today"}]
    assert run(*command) == (6, "", "not today")


@pytest.mark.parametrize("command", [["invite", "a"], ["admit", "a", SPELLED], ["revoke", "a"]])
def test_without_a_broker_the_next_step_is_told(broker, run, command):
    broker.runs = False
    status, out, words = run(*command)
    assert (status, out) == (1, "")
    assert "start it with 'chatbroker run --secure', or give the broker's --port" in words


def test_the_members_of_a_broker_are_asked_for_page_by_page(broker, run):
    def member(name, key):
        return {"type": "member", "name": name, "key": key_text(key), "since": "then"}

    invited = {"type": "invitation", "name": "carol", "key": SPELLED, "expires": "soon"}
    broker.answers = [
        {"ok": True, "listed": [member("al", KEY)], "more": True},
        {"ok": True, "listed": [member("alexandra", OTHER)], "more": False},
        {"ok": True, "listed": [invited], "more": False},
    ]
    status, out, err = run("members")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"al         {SPELLED}  since then",
        f"alexandra  {key_text(OTHER)}  since then",
        f"carol      {SPELLED}  invited, until soon",
    ]
    assert [(one["invited"], one["after"]) for one in broker.asked] == [
        (False, ""),
        (False, f"al {SPELLED}"),
        (True, ""),
    ]


def test_without_a_broker_members_are_those_that_are_kept(broker, run, tmp_path):
    broker.runs = False
    roll = Roll((Member("bob", KEY, 0),), (Invitation("al", OTHER, LATER), Invitation("x", KEY, 1)))
    store_members(tmp_path, roll)
    status, out, _ = run("members", "--json")
    assert status == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {"type": "member", "name": "bob", "key": SPELLED, "since": "1970-01-01T00:00:00.000Z"},
        {
            "type": "invitation",
            "name": "al",
            "key": key_text(OTHER),
            "expires": "2096-10-02T07:06:40.000Z",
        },
    ]
    assert broker.asked == []


def test_members_of_a_folder_that_is_not_there_or_no_brokers_are_none(broker, tmp_path):
    broker.runs = False
    with pytest.raises(StartError, match=f"{tmp_path} is no broker's data folder; give the"):
        [*module._on_the_roll(tmp_path)]
    with pytest.raises(
        StartError, match=r"there is no data folder at .*; give the broker's --port"
    ):
        [*module._on_the_roll(tmp_path / "nowhere")]
