"""Line mode: each line of stdin is a command, and the answer says which line it is about."""

from __future__ import annotations

import json
import re

import pytest


def records(text):
    return [json.loads(line) for line in text.splitlines()]


MIXED = (
    b"nonsense here\n"
    b"\n"
    b"   \n"
    b"/echo with a slash\n"
    b"echo   spaces  kept  \n"
    b"send nobody hi\n"
    b"send\n"
    b"send alice\n"
    b"echo\n"
    b"info now\n"
    b"echo caf\xc3\xa9\n"
    b"echo not \xff text\n"
    b"  echo indented\r\n"
    b"send alice  two  spaces\n"
    b"echo last without newline"
)


def test_good_lines_are_done_whatever_the_others_are(shell, broker):
    said = shell.run("join", "alice", input=MIXED, at=broker)
    assert said.status == 6
    texts = sorted(line[11:] for line in said.out.splitlines())
    assert texts == [
        "alice -> alice:  two  spaces",
        "alice:   spaces  kept  ",
        "alice: café",
        "alice: indented",
        "alice: last without newline",
        "alice: with a slash",
    ]
    reported = dict(line.split(": ", 2)[1:] for line in said.err.splitlines())
    assert all(line.startswith("chat: line ") for line in said.err.splitlines())
    assert list(reported) == [f"line {n}" for n in (1, 6, 7, 8, 9, 10, 12)]
    assert reported["line 1"].startswith("unknown command: nonsense")
    assert reported["line 6"] == "no such user: nobody"
    assert reported["line 7"] == "usage: send USER MESSAGE"
    assert reported["line 9"] == "usage: echo MESSAGE"
    assert reported["line 12"].startswith("not UTF-8")


def test_json_has_an_object_for_every_line_that_asks_for_something(shell, broker):
    said = shell.run("join", "alice", "--json", input=MIXED + b"\ninfo\n", at=broker)
    assert said.status == 6
    told = records(said.out)
    outcomes = {r["line"]: r for r in told if r["type"] in ("accepted", "refused")}
    assert {line: r["type"] for line, r in outcomes.items()} == {
        1: "refused",
        4: "accepted",
        5: "accepted",
        6: "refused",
        7: "refused",
        8: "refused",
        9: "refused",
        10: "refused",
        11: "accepted",
        12: "refused",
        13: "accepted",
        14: "accepted",
        15: "accepted",
    }
    # On stderr as well, as without --json.
    reported = re.findall(r"^chat: line (\d+): ", said.err, re.M)
    assert [int(line) for line in reported] == sorted(
        line for line, r in outcomes.items() if r["type"] == "refused"
    )
    assert outcomes[4] == {"type": "accepted", "line": 4}
    assert outcomes[6] == {
        "type": "refused",
        "line": 6,
        "code": "no_such_user",
        "text": "no such user: nobody",
    }
    assert outcomes[1]["code"] == "unknown_command"
    assert outcomes[7]["code"] == "usage"
    (users,) = [r for r in told if r["type"] == "users"]
    assert [user["name"] for user in users["users"]] == ["alice"]
    assert set(users["users"][0]) == {"name", "since"}
    assert [r["text"] for r in told if r["type"] == "broadcast"] == [
        "with a slash",
        "  spaces  kept  ",
        "café",
        "indented",
        "last without newline",
    ]


def test_lines_after_quit_are_not_done(shell, broker):
    said = shell.run("join", "alice", input="echo one\n/quit\necho two\nnonsense\n", at=broker)
    assert (said.status, said.err) == (0, "")
    assert said.out.endswith("alice: one\n")
    assert said.out.count("\n") == 1


def test_quit_leaves_while_the_input_is_open(shell, broker):
    alice = shell.chat("join", "alice", at=broker)
    alice.type("quit")
    assert alice.wait().status == 0


def test_help_is_on_stderr_and_lists_every_command(shell, broker):
    said = shell.run("join", "alice", input="help\n", at=broker)
    assert (said.status, said.out) == (0, "")
    for command in ("info", "send USER MESSAGE", "echo MESSAGE", "help", "quit"):
        assert command in said.err


def test_an_answer_comes_while_the_input_is_open(shell, broker):
    alice = shell.chat("join", "alice", at=broker)
    alice.feed(b"nonsense\nech")
    alice.says("^chat: line 1: unknown command: nonsense")
    alice.feed(b"o in two pieces\n")
    alice.shows("alice: in two pieces$")
    alice.type("info")
    alice.shows(r"^\* online: alice$")
    assert alice.finish().status == 6


def test_stay_goes_on_receiving_until_a_bound(shell, broker):
    with broker.client("bob") as bob:
        counts = shell.chat("join", "counts", "--stay", "--count", "2", at=broker)
        stays = shell.chat("join", "stays", "--stay", "--json", at=broker)
        counts.type("echo one")
        counts.end_input()
        counts.shows("counts: one")
        stays.type("echo two")
        stays.end_input()
        assert counts.wait().status == 0
        stays.shows('"text":"two"')
        bob.send("stays", "three")
        stays.shows('"text":"three"')
        assert stays.running


@pytest.mark.parametrize(
    ("bounds", "refused", "status"),
    [
        (["--count", "1", "--for", "0.1"], False, 8),
        (["--count", "1", "--idle", "0.1"], False, 8),
        (["--for", "0.1"], False, 0),
        (["--idle", "0.1", "--stay"], False, 0),
        (["--idle", "0.1"], True, 6),
    ],
)
def test_stay_that_runs_out_of_time(shell, broker, bounds, refused, status):
    line = "nonsense\n" if refused else "info\n"
    assert shell.run("join", "alice", *bounds, input=line, at=broker).status == status


def test_many_lines_are_all_done_before_it_leaves(shell, broker):
    lines = [f"echo {n}" if n % 2 else f"send alice {n}" for n in range(1, 2001)]
    said = shell.run("join", "alice", "--json", input="\n".join(lines), at=broker)
    assert said.status == 0
    told = records(said.out)
    assert [r["line"] for r in told if r["type"] == "accepted"] == list(range(1, 2001))
    for kind, first in (("broadcast", 1), ("direct", 2)):
        texts = [int(r["text"]) for r in told if r["type"] == kind]
        assert texts == list(range(first, 2001, 2))
