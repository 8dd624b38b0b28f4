"""The commands by which an operator acts: what they ask of the broker, and what they print."""

from __future__ import annotations

import json
import os

import click
import pytest
from click.testing import CliRunner

from chatbroker.broker import cli_operator as module
from chatbroker.broker import office, status
from chatbroker.broker.cli import _explain, chatbroker
from chatbroker.wire.limits import MAX_WORDS

KEY = "k" * 52
FOUND = {"version": "1", "users": {"on": 2}}


@pytest.fixture
def broker(monkeypatch):
    """What a broker was asked, and what it answers to that in turn."""

    class Broker:
        def __init__(self):
            self.asked = []
            self.answers = []

        def put(self, folder, request):
            self.asked.append(request)
            return self.answers.pop(0) if self.answers else {"ok": True}

    made = Broker()
    monkeypatch.setattr(office, "put", made.put)
    return made


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a command: status, stdout, words of an error."""
    monkeypatch.setenv("CHATBROKER_CONFIG", os.devnull)

    def invoke(command, *args, input=None):
        ended = CliRunner().invoke(
            chatbroker, [command, "--data-dir", str(tmp_path), *args], input, standalone_mode=False
        )
        if ended.exception is None:
            return ended.return_value, ended.output, ""
        explained = _explain(ended.exception)
        if explained is None:
            raise ended.exception
        return explained[0], ended.output, explained[1]

    return invoke


@pytest.mark.parametrize(
    ("args", "request_"),
    [
        (["kick", "Bob", "--reason", "loud"], {"do": "kick", "name": "Bob", "reason": "loud"}),
        (["ban", KEY], {"do": "ban", "name": KEY, "reason": "", "seconds": None}),
        (
            ["ban", "bob", "--for", "1h30m", "--reason", "spam"],
            {"do": "ban", "name": "bob", "reason": "spam", "seconds": 5400},
        ),
        (["unban", "bob"], {"do": "unban", "name": "bob"}),
        (
            ["mute", "bob", "--for", "10m"],
            {"do": "mute", "name": "bob", "reason": "", "seconds": 600},
        ),
        (["unmute", "bob"], {"do": "unmute", "name": "bob"}),
        (["announce", "back", "at  five"], {"do": "announce", "words": "back at  five"}),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_what_is_asked_of_the_broker(broker, run, args, request_):
    assert run(*args) == (0, "", "")
    assert broker.asked == [request_]


@pytest.mark.parametrize(
    "args",
    [["status"], ["kick", "bob"], ["ban", "bob"], ["bans"], ["announce", "hi"], ["unmute", "bob"]],
    ids=lambda args: args[0],
)
def test_a_refusal_is_told_and_ends_with_6(broker, run, args):
    broker.answers = [{"ok": False, "words": "not today"}]
    assert run(*args) == (6, "", "not today")


@pytest.mark.parametrize("do", ["ban", "mute"])
@pytest.mark.parametrize(
    ("known", "words"),
    [
        (True, ""),
        (None, ""),
        (
            False,
            "chatbroker: nobody has the name 'bbo' so far; the {do} holds for whoever comes "
            "with it\n",
        ),
    ],
)
def test_a_name_that_nobody_has_is_told_and_done_all_the_same(broker, run, do, known, words):
    broker.answers = [{"ok": True} | ({} if known is None else {"known": known})]
    assert run(do, "bbo") == (0, words.format(do=do), "")
    assert [one["do"] for one in broker.asked] == [do]


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        (b"back at five\n", "back at five"),
        (b"two\nlines", "two\nlines"),
        (b"x" * MAX_WORDS + b"\n", "x" * MAX_WORDS),
        (b"back at five\r\n", "back at five"),
        (b"x" * MAX_WORDS + b"\r\n", "x" * MAX_WORDS),
        (b"a CR\r", "a CR\r"),
        (b"", ""),
    ],
    ids=["a line", "lines", "long", "CR LF", "long with CR LF", "CR", "nothing"],
)
def test_an_announcement_comes_from_stdin_if_it_is_a_dash(broker, run, stdin, words):
    assert run("announce", "-", input=stdin) == (0, "", "")
    assert broker.asked == [{"do": "announce", "words": words}]


def test_a_dash_after_two_dashes_is_a_dash(broker, run):
    assert run("announce", "--", "-", input=b"of somebody else") == (0, "", "")
    assert broker.asked == [{"do": "announce", "words": "-"}]


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        ("ü".encode() * MAX_WORDS, "an announcement is at most 1024 bytes, and stdin has more"),
        (b"x" * MAX_WORDS + b"\n\r\n", "an announcement is at most 1024 bytes, and stdin has more"),
        (b"\xff", "an announcement is UTF-8, and what came on stdin is not"),
    ],
    ids=["too long", "a line too long", "no text"],
)
def test_what_came_on_stdin_and_cannot_be_told_is_refused(broker, run, stdin, words):
    assert run("announce", "-", input=stdin) == (6, "", words)
    assert broker.asked == []


@pytest.mark.parametrize("duration", ["soon", "0s", "30", "-1h", ""])
def test_a_duration_that_is_none_asks_for_nothing(broker, run, duration):
    for command in ("ban", "mute"):
        with pytest.raises(click.UsageError, match="is no duration such as 90s, 12h or 30d"):
            run(command, "bob", "--for", duration)
    assert broker.asked == []


def banned(who, until=None, reason="", **fields):
    named = {"key": who} if len(who) == 52 else {"name": who}
    return {"kind": "ban", **named, "since": "then", "until": until, "reason": reason, **fields}


def test_bans_and_mutes_are_asked_for_page_by_page_and_stand_in_columns(broker, run):
    broker.answers = [
        {"ok": True, "listed": [banned("al", until="soon", reason="spam")], "more": True},
        {"ok": True, "listed": [banned(KEY)], "more": False},
        {"ok": True, "listed": [banned("bob", kind="mute", reason="loud")], "more": False},
    ]
    status, out, _ = run("bans")
    assert status == 0
    assert out.splitlines() == [
        f"ban   al{' ' * 50}  since then  until soon  spam",
        f"ban   {KEY}  since then",
        f"mute  bob{' ' * 49}  since then              loud",
    ]
    assert [(one["kind"], one["after"]) for one in broker.asked] == [
        ("ban", ""),
        ("ban", "al"),
        ("mute", ""),
    ]


def test_bans_in_json_are_as_the_broker_tells_them(broker, run):
    entries = [banned("al"), banned("bob", kind="mute")]
    broker.answers = [{"ok": True, "listed": [one], "more": False} for one in entries]
    _, out, _ = run("bans", "--json")
    assert [json.loads(line) for line in out.splitlines()] == entries


def test_without_bans_nothing_is_printed(broker, run):
    broker.answers = [{"ok": True, "listed": [], "more": False}] * 2
    assert run("bans") == (0, "", "")


# --- status ---------------------------------------------------------------------------------


@pytest.fixture
def found(broker, monkeypatch):
    broker.answers = [{"ok": True, "status": FOUND | {"turn": n}} for n in range(9)]
    monkeypatch.setattr(status, "lines_of", lambda found: ["broker: b", f"turn: {found['turn']}"])


@pytest.fixture
def slept(monkeypatch):
    """Ctrl-C comes in the second pause."""
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", sleep)
    return pauses


def watched(*options):
    runner = CliRunner().invoke(module.status, ["--watch", *options])
    assert runner.exit_code == 1  # click's for Abort, which the command makes 130.
    return runner.output.removesuffix("Aborted!\n").rstrip("\n")


def test_how_the_broker_is_is_shown_once(run, broker, found):
    assert run("status") == (0, "broker: b\nturn: 0\n", "")
    assert broker.asked == [{"do": "status"}]


def test_how_it_is_in_json_is_one_line(run, found):
    _, out, _ = run("status", "--json")
    assert json.loads(out) == FOUND | {"turn": 0}


def test_a_watch_in_a_pipe_goes_on_block_by_block(found, slept):
    assert watched() == "broker: b\nturn: 0\n\nbroker: b\nturn: 1"
    assert slept == [module.EVERY] * 2


def test_a_watch_in_json_goes_on_line_by_line(found, slept):
    lines = watched("--json").splitlines()
    assert [json.loads(line)["turn"] for line in lines] == [0, 1]
