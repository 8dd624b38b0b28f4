"""The examples are what their README says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
README = (EXAMPLES / "README.md").read_text()


def test_every_example_is_described():
    assert re.findall(r"^## (.*)$", README, re.M) == [
        "echo_bot.py",
        "ci_announcer.py",
        "alert_relay.py",
        "log_tailer.py",
    ]
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        *re.findall(r"^## (.*)$", README, re.M)
    }


@pytest.mark.parametrize("name", ["ci_announcer", "alert_relay", "log_tailer"])
def test_every_option_that_is_used_there_is(example, name):
    module = example(name)
    known = {option for action in module.parser()._actions for option in action.option_strings}
    # Of a command that is wrapped the options are its own.
    commands = [
        command.partition(" -- ")[0]
        for text in (README, module.__doc__)
        for command in re.findall(rf"{name}\.py (.*)", text)
    ]
    assert len(commands) > 2
    for command in commands:
        assert {*re.findall(r"(?<= )--[a-z-]+|^--[a-z-]+", command)} <= known
    assert "usage: " in module.parser().format_help()
