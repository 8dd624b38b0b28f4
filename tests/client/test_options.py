"""Shared options: before and after the command, from variables and the config file."""

from __future__ import annotations

import os

import click
import pytest
from click.testing import CliRunner

from chatbroker.client.options import Shared, shared_options
from chatbroker.command.run import CommandGroup


@pytest.fixture
def chat(monkeypatch, tmp_path):
    """A command like ``chat`` that tells what it was given; and a config file for it."""
    for name in [name for name in os.environ if name.startswith("CHAT_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "config.toml"
    monkeypatch.setenv("CHATBROKER_CONFIG", str(config))

    @click.group(cls=CommandGroup, name="chat")
    @shared_options("broker", "port", "user", "timeout", "json")
    def group(**_):
        pass

    @group.command()
    @shared_options("broker", "port", "user", "timeout", "json")
    def show(**_):
        given.append(Shared.given())

    @group.command()
    @shared_options("broker", "port", "timeout", "json")
    def join(**_):
        given.append(Shared.given())

    given = []

    def run(*args, file=None, **variables):
        if file is not None:
            config.write_text(file)
        given.clear()
        env = {f"CHAT_{name}": value for name, value in variables.items()}
        result = CliRunner().invoke(group, args, env=env)
        if result.exit_code:
            return result
        assert result.exception is None
        return given[0]

    return run


def test_defaults(chat):
    assert chat("show") == Shared("tcp://127.0.0.1:5555", None, 5.0, False)


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        (("--broker", "tcp://host:1"), "broker", "tcp://host:1"),
        (("--port", "5600"), "broker", "tcp://127.0.0.1:5600"),
        (("--as", "bob"), "user", "bob"),
        (("--timeout", "0.5"), "timeout", 0.5),
        (("--timeout", "0"), "timeout", 0.0),
        (("--json",), "json", True),
    ],
)
def test_before_and_after_the_command_are_the_same(chat, option, field, value):
    assert getattr(chat("show", *option), field) == value
    assert getattr(chat(*option, "show"), field) == value


def test_nearer_the_command_wins(chat):
    assert chat("--as", "far", "--port", "1", "show", "--as", "near", "--port", "2") == Shared(
        "tcp://127.0.0.1:2", "near", 5.0, False
    )


@pytest.mark.parametrize(
    ("variables", "field", "value"),
    [
        ({"BROKER": "tcp://host:1"}, "broker", "tcp://host:1"),
        ({"PORT": "5600"}, "broker", "tcp://127.0.0.1:5600"),
        ({"USER": "bob"}, "user", "bob"),
        ({"TIMEOUT": "0.5"}, "timeout", 0.5),
        ({"JSON": "1"}, "json", True),
        ({"BROKER": "", "USER": "", "PORT": ""}, "broker", "tcp://127.0.0.1:5555"),
    ],
)
def test_variables(chat, variables, field, value):
    assert getattr(chat("show", **variables), field) == value


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ('[chat]\nbroker = "tcp://host:1"', "broker", "tcp://host:1"),
        ("[chat]\nport = 5600", "broker", "tcp://127.0.0.1:5600"),
        ("[chat]\ntimeout = 0.5", "timeout", 0.5),
        ("[chat]\njson = true", "json", True),
        ("[chat]\njson = false", "json", False),
        ('[chat]\nas = "bob"', "user", "bob"),
        ("[chat.show]\nport = 5600", "broker", "tcp://127.0.0.1:5600"),
        ('[chat.show]\nas = "bob"', "user", "bob"),
        ("[chatbroker]\nport = 5600", "broker", "tcp://127.0.0.1:5555"),
    ],
)
def test_the_config_file(chat, file, field, value):
    """A key is an option's name."""
    assert getattr(chat("show", file=file), field) == value


def test_option_over_variable_over_file_over_default(chat):
    file = "[chat]\nport = 1\ntimeout = 1"
    assert chat("show", file=file).broker == "tcp://127.0.0.1:1"
    assert chat("show", file=file, PORT="2").broker == "tcp://127.0.0.1:2"
    assert chat("--port", "3", "show", file=file, PORT="2").broker == "tcp://127.0.0.1:3"
    assert chat("show", "--timeout", "3", file=file, TIMEOUT="2").timeout == 3
    assert chat("show", file=file, TIMEOUT="2").timeout == 2


def test_port_and_broker_override_each_other_by_where_they_come_from(chat):
    assert chat("show", "--port", "3", BROKER="tcp://host:1").broker == "tcp://127.0.0.1:3"
    assert chat("show", "--broker", "tcp://host:1", PORT="3").broker == "tcp://host:1"
    assert chat("show", file="[chat]\nport = 3", BROKER="tcp://host:1").broker == "tcp://host:1"


def test_both_from_the_same_place_contradict_each_other(chat):
    result = chat("show", "--port", "3", "--broker", "tcp://host:1")
    assert result.exit_code == 2
    assert "not both" in result.output


@pytest.mark.parametrize(
    "args",
    [
        ("--broker", "host:5555"),
        ("--broker", "tcp://host:0"),
        ("--port", "0"),
        ("--port", "65536"),
        ("--port", "x"),
        ("--timeout", "-1"),
        ("--timeout", "x"),
        ("--unknown",),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(chat, args):
    assert chat("show", *args).exit_code == 2


@pytest.mark.parametrize("file", ["[chat]\nport = 0", "[chat", '[chat]\nport = "x"', "chat = 1"])
def test_a_config_file_that_makes_no_sense_is_a_usage_error(chat, file):
    assert chat("show", file=file).exit_code == 2


def test_a_timeout_that_is_no_number_is_a_usage_error(chat):
    """Nothing is before or after it: some waits would end at once, others never."""
    result = chat("show", "--timeout", "nan")
    assert not isinstance(result, Shared)
    assert result.exit_code == 2


def test_who_joins_is_an_argument_and_no_option(chat):
    assert chat("join", "--as", "bob").exit_code == 2
