"""The documents say what is there: commands, options, exit statuses, links, recipes."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from chatbroker.broker import database
from chatbroker.broker.cli import chatbroker
from chatbroker.client.cli import chat
from chatbroker.command import VERSION
from chatbroker.command.status import Status

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [path for folder in (".", "docs", "bench", "examples") for path in ROOT.glob(f"{folder}/*.md")]
)
CLI = (ROOT / "docs" / "cli.md").read_text()


def commands_of(group: click.Group, name: str) -> list[tuple[str, click.Command]]:
    """All commands below *group*, by their full names."""
    found = []
    for word, command in group.commands.items():
        found.append((f"{name} {word}", command))
        if isinstance(command, click.Group):
            found += commands_of(command, f"{name} {word}")
    return found


COMMANDS = [*commands_of(chat, "chat"), *commands_of(chatbroker, "chatbroker")]


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_command_and_option_is_documented(name, command):
    assert name in CLI
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            for spelling in option.opts:
                assert f"`{spelling}" in CLI, f"{spelling} of {name}"


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_help_has_a_summary_and_an_example(name, command):
    assert command.help
    summary = command.help.strip().splitlines()[0]
    assert summary.endswith(".")
    assert name in command.help.partition("Example:")[2]


@pytest.mark.parametrize("status", Status)
def test_every_exit_status_is_documented(status):
    assert re.search(rf"^\| {status.value} \|", CLI, re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#\s]+)\)", document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def anchors(document):
    """Of the headings of *document*, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_headings_that_there_are(document):
    for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", document.read_text()):
        assert anchor in anchors(document.parent / target if target else document), anchor


def test_the_tests_that_are_to_cover_a_threat_exist():
    text = (ROOT / "docs" / "security.md").read_text()
    tests = list((ROOT / "tests").rglob("*.py"))
    found = 0
    for row in re.findall(r"^\|.*\|$", text, re.MULTILINE):
        name = ""
        for file, test in re.findall(r"`([\w/]*\.py)?(?:::(test_\w+))?`", row):
            name = file or name
            if name:
                there = [path.read_text() for path in tests if str(path).endswith(f"/{name}")]
                assert there, name
                assert f"def {test}" in "\n".join(there), test
                found += 1
    assert found > 20


def test_the_pictures_are_whole_and_of_a_terminal():
    text = (ROOT / "README.md").read_text()
    pictures = re.findall(r"!\[[^]]+\]\((docs/screens/[^)]+)\)", text)
    assert len(pictures) >= 3
    for picture in pictures:
        root = ElementTree.parse(ROOT / picture).getroot()
        assert "everyone>" in "".join(root.itertext())


def test_the_readme_opens_with_the_two_commands():
    block = (ROOT / "README.md").read_text().partition("```sh\n")[2].partition("```")[0]
    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["make run", "make test"]
    targets = (ROOT / "Makefile").read_text()
    assert re.search(r"^run:", targets, re.MULTILINE)
    assert re.search(r"^test:", targets, re.MULTILINE)


def test_the_example_for_pytest_is_a_test_that_runs():
    example = next(
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        if "def test_" in block
    )
    function = example[example.index("def test_") :].strip()
    assert function in (ROOT / "tests" / "testing" / "test_plugin.py").read_text()


def test_python_in_the_documents_compiles():
    for document in DOCUMENTS:
        for block in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
            compile(block, document.name, "exec")


def test_recipes_use_options_that_exist():
    known = {
        spelling
        for command in [chat, chatbroker, *[command for _, command in COMMANDS]]
        for option in command.params
        if isinstance(option, click.Option)
        for spelling in option.opts
    } | {"--help", "--version"}
    for document in ("README.md", "docs/cli.md", "docs/operations.md"):
        text = (ROOT / document).read_text()
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                for command in re.findall(r"\bchat(?:broker)? [^|;&)#]*", line):
                    used = set(re.findall(r"(?<=\s)--[a-z-]+", command))
                    assert used <= known, line


def test_the_version_is_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    # Of whatever is installed here, which is what `pip` and `chat --version` tell.
    assert version("chatbroker") == VERSION
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {VERSION}" in changes
    assert f"The journal's file is of version {database.VERSION}." in changes
