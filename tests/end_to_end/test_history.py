"""``chat history``: what was said, as far as the asker may see it."""

from __future__ import annotations

import json

import pytest


def say(shell, broker):
    for name in ("alice", "bob", "carol"):
        assert shell.run("join", name, at=broker).status == 0
    for command in (
        ["echo", "good morning", "--as", "alice"],
        ["send", "bob", "one", "--as", "alice"],
        ["send", "alice", "two, with CAPITALS", "--as", "bob"],
        ["send", "alice", "from carol", "--as", "carol"],
        ["echo", "good night", "--as", "bob"],
    ):
        assert shell.run(*command, at=broker).status == 0


def texts(out: str) -> list[str]:
    return [line.split(": ", 1)[1] for line in out.splitlines()]


def test_everybody_sees_what_was_said_to_all_and_each_their_own_mail(shell, broker):
    say(shell, broker)

    def history(*args):
        done = shell.run("history", *args, at=broker)
        assert (done.status, done.err) == (0, "")
        return texts(done.out)

    assert history() == ["good morning", "good night"]
    assert history("--as", "bob") == ["good morning", "one", "two, with CAPITALS", "good night"]
    assert history("--as", "carol") == ["good morning", "from carol", "good night"]
    assert history("--as", "alice", "--with", "Bob") == ["one", "two, with CAPITALS"]
    assert history("--as", "alice", "--only", "direct", "--limit", "1") == ["from carol"]
    assert history("--as", "alice", "--limit", "3") == [
        "two, with CAPITALS",
        "from carol",
        "good night",
    ]
    assert history("--as", "alice", "--grep", "capitals") == ["two, with CAPITALS"]
    assert history("--grep", "GOOD", "--limit", "1") == ["good night"]
    assert history("--since", "1") == ["good night"]
    assert history("--since", "1h") == ["good morning", "good night"]
    assert history("--since", "now") == []
    assert history("--as", "alice", "--with", "nobody") == []
    formatted = shell.run("history", "--format", "{seq} {from}", "-0", at=broker)
    assert formatted.out == "1 alice\0" + "2 bob\0"
    found = shell.run("history", "--as", "bob", "--with", "alice", "--json", at=broker)
    assert [json.loads(line)["type"] for line in found.out.splitlines()] == ["direct"] * 2
    # Looking is not being here, and not reading.
    assert shell.run("info", at=broker).out == ""
    unread = shell.run("listen", "--as", "alice", "--count", "2", at=broker)
    assert texts(unread.out) == ["two, with CAPITALS", "from carol"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--with", "bob"], "--with needs a name: --as NAME"),
        (["--only", "direct"], "--only direct needs a name: --as NAME"),
        (["--as", "bob", "--with", "not a name"], "--with: not a valid name"),
        (["--as", "bob", "--with", "alice", "--only", "broadcast"], "give --with or --only"),
        (["--as", "bob", "--since", "7"], "a position belongs to one log"),
        (["--since", "yesterday"], "is not all, now, a position or a duration"),
        (["--format", "{nothing}"], "unknown field"),
        (["--only", "presence"], "presence"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(shell, broker, args, words):
    done = shell.run("history", *args, at=broker)
    assert (done.status, done.out) == (2, "")
    assert words in done.err


def test_a_long_history_streams_and_may_be_cut_short(shell, broker):
    count = 30_000
    lines = "".join([f"{number}\n" for number in range(count)])
    assert shell.run("echo", "--lines", "--as", "counter", input=lines, at=broker).status == 0
    done = shell.run("history", "--format", "{text}", at=broker)
    assert done.out.endswith(lines)
    script = "set -o pipefail; chat history --format '{text}' | head -3"
    cut = shell.script(script, at=broker)
    assert (cut.status, cut.out, cut.err) == (0, "".join(done.out.splitlines(True)[:3]), "")
    newest = shell.run("history", "--limit", "2", "--grep", "77", "--format", "{text}", at=broker)
    assert newest.out == "29877\n29977\n"


def test_nobody_to_ask_is_told(shell):
    done = shell.run("history", "--timeout", "0.3", at="tcp://127.0.0.1:1")
    assert (done.status, done.out) == (3, "")
