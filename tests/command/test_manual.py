"""The man pages: everything that the commands say stands in them, and roff takes them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import click
import pytest

from chatbroker.broker.cli import chatbroker
from chatbroker.client.cli import chat
from chatbroker.command import manual
from chatbroker.command.manual import parse_help
from chatbroker.command.roff import literal
from chatbroker.command.run import CommandGroup
from chatbroker.command.status import Status


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The pages, as `make man` writes them."""
    folder = tmp_path_factory.mktemp("man")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1795305600")
        manual.main(folder)
    return folder / "man1"


def commands_of(words, command):
    found = [("-".join(words), command)]
    if isinstance(command, click.Group):
        for word, one in command.commands.items():
            found += commands_of((*words, word), one)
    return found


COMMANDS = [*commands_of(("chat",), chat), *commands_of(("chatbroker",), chatbroker)]
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT"]


@pytest.fixture
def page(folder):
    return lambda name: (folder / f"{name}.1").read_text()


def part(page, title):
    return page.partition(f".SH {title}\n")[2].partition("\n.SH ")[0]


def test_each_command_has_a_page_and_nothing_else_has(folder):
    assert {path.stem for path in folder.iterdir()} == {name for name, _ in COMMANDS}


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_a_page_has_all_that_the_help_has(page, name, command):
    text = page(name)
    sections = re.findall(r"^\.SH (.*)$", text, re.M)
    assert [title for title in sections if title != "COMMANDS"] == [
        *SECTIONS,
        *("FILES", "EXAMPLES", "SEE ALSO"),
    ]
    assert text.startswith(f'.TH "{literal(name.upper())}" "1" "2026-11-22" "chatbroker ')
    assert part(text, "NAME").startswith(rf"\fB{literal(name)}\fR \- ")
    options = part(text, "OPTIONS")
    for option in command.params:
        if isinstance(option, click.Option):
            for spelling in option.opts:
                there = rf"\fB{literal(spelling)}\fR" in options
                assert there != option.hidden, spelling
            if option.envvar and not option.hidden:
                assert rf"\fB{option.envvar}\fR" in options
                assert rf"\fB{option.envvar}\fR" in part(text, "ENVIRONMENT")
        else:
            assert option.human_readable_name in text
    assert r"\fB\-\-help\fR" in options
    example = command.help.partition("Example:")[2].strip()
    assert literal(example) in part(text, "EXAMPLES")
    assert rf"\fB{literal(name.rpartition('-')[0] or 'chat')}" in part(text, "SEE ALSO")


def test_options_tell_defaults_bounds_and_variables(page):
    run = part(page("chatbroker-run"), "OPTIONS")
    assert ".TP\n\\fB\\-v\\fR, \\fB\\-\\-verbose\\fR\nLog who comes and goes. " in run
    assert r"\fB\-\-sync\fR \fIfull|normal|off\fR" in run
    assert "Default: one by port in the" in run
    words = " ".join(run.split())
    assert r"From 0 to 65535. Default: \fB5555\fR. Variable: \fBCHATBROKER_PORT\fR." in words
    listen = " ".join(part(page("chat-listen"), "OPTIONS").split())
    assert r"At least 1. Variable: \fBCHAT_LISTEN_COUNT\fR." in listen
    # Of the whole command, and heeded by this one.
    assert r"Default: \fB5\fR. Variable: \fBCHAT_TIMEOUT\fR." in listen
    assert r"Default: \fB30\fR. Variable: \fBCHAT_LISTEN_RECONNECT\fR." in listen
    join = " ".join(part(page("chat-join"), "OPTIONS").split())
    assert "Default: 30; at a terminal for ever." in join


def test_the_exit_statuses_are_those_of_the_command(page):
    told = part(page("chat-send"), "EXIT STATUS")
    assert re.findall(r"^\\fB(\d+)\\fR$", told, re.M) == [str(status.value) for status in Status]
    assert ".TP\n\\fB8\\fR\n\\fBlisten\\fR ran out of time before its count, or" in told
    told = part(page("chatbroker-ban"), "EXIT STATUS")
    assert re.findall(r"^\\fB(\d+)\\fR$", told, re.M) == ["0", "1", "2", "6", "130"]


def test_a_page_leads_to_others(page):
    assert r"\fBchat\-send\fR(1)" in part(page("chat"), "COMMANDS")
    assert r"\fBchatbroker\fR(1)" in part(page("chat"), "SEE ALSO")
    related = part(page("chatbroker-names"), "SEE ALSO")
    for name in ("chatbroker", "chatbroker-names-list", "chatbroker-run", "chat"):
        assert rf"\fB{literal(name)}\fR(1)" in related


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Do it.", ("Do it.", [], [])),
        ("", ("", [], [])),
        (
            "Do it.\n\nMore of\nthat.\n\nExample: do it",
            ("Do it.", ["More of that."], [["do it"]]),
        ),
        (
            "Do.\n\n\b\nExamples:\n  do it |\n    wc\n\n  do that\n\fNot this.",
            ("Do.", [], [["do it |", "wc"], ["do that"]]),
        ),
    ],
)
def test_help_is_taken_apart(text, told):
    assert tuple(parse_help(text)) == told


def test_what_is_hidden_has_no_page():
    @click.group(cls=CommandGroup, name="talk", help="Talk.")
    def talk():
        pass

    @talk.command(hidden=True)
    def whisper():
        pass

    assert set(manual.pages(talk, ["talk"], "1", "2026-11-22")) == {"talk"}


@pytest.mark.parametrize(
    ("below", "words"),
    [("file", "Not a directory"), ("file/nope", "Not a directory")],
)
def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path, below, words):
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "chatbroker.command.manual", str(tmp_path / below)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"cannot write the pages to {tmp_path / below}: {words}\n"


LINTS = {
    "mandoc": ["mandoc", "-T", "lint", "-W", "warning"],
    "groff": ["groff", "-man", "-T", "utf8", "-ww", "-z"],
}


@pytest.mark.parametrize("name", LINTS)
def test_roff_has_nothing_to_say(folder, name):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    pages = sorted(map(str, folder.iterdir()))
    done = subprocess.run([*LINTS[name], *pages], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ""


def test_what_is_shown_can_be_copied(folder):
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    env = {"MANWIDTH": "100", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MANPAGER": "cat"}
    command = ["man", "-M", str(folder.parent), "chat-join"]
    shown = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert r"printf 'send bob hi\necho hello\n' | chat join alice" in shown
    assert "--reconnect SECONDS" in shown
