"""Shared options: before and after the command, from variables and the config file."""

from __future__ import annotations

import math
import os

import click
import pytest
from click.testing import CliRunner

from chatbroker.client.action import Action
from chatbroker.client.options import (
    Shared,
    Wait,
    exec_options,
    given_action,
    given_wait,
    shared_options,
    waiting_options,
)
from chatbroker.command.run import CommandGroup


@pytest.fixture
def chat(monkeypatch, tmp_path):
    """A command like ``chat`` that tells what it was given; and a config file for it."""
    for name in [name for name in os.environ if name.startswith("CHAT_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "config.toml"
    config.touch()
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
        (("--timeout", "1m30s"), "timeout", 90.0),
        (("--timeout", "500ms"), "timeout", 0.5),
        (("--timeout", "inf"), "timeout", math.inf),
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
    assert "not both\n" in result.output
    result = chat("show", PORT="3", BROKER="tcp://host:1")
    assert "not both; in variables or the config file they are both" in result.output


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


# --- profiles -----------------------------------------------------------------------------

PROFILES = """
[chat]
broker = "tcp://file:1"
as = "file"
timeout = 1
[chat.show]
timeout = 2
[profile.work]
port = 3
timeout = 3
[profile.home]
as = "home"
[profile.home.show]
json = true
"""


@pytest.mark.parametrize(
    "args",
    [("--profile", "work", "show"), ("show", "--profile", "work"), ("show", "--profile=work")],
)
def test_a_profile_is_laid_over_the_file(chat, args):
    """Also over a table of the command's; and of options that exclude each other its own count."""
    given = chat(*args, file=PROFILES)
    assert given == Shared("tcp://127.0.0.1:3", "file", 3.0, False, "work")


def test_a_table_of_a_command_within_a_profile(chat):
    given = chat("show", "--profile", "home", file=PROFILES)
    assert given == Shared("tcp://file:1", "home", 2.0, True, "home")
    assert chat("join", "--profile", "home", file=PROFILES).json is False


@pytest.mark.parametrize(
    ("args", "variables", "in_file", "profile"),
    [
        ((), {}, "", None),
        ((), {}, "work", "work"),
        ((), {"PROFILE": "home"}, "work", "home"),
        (("--profile", "work"), {"PROFILE": "home"}, "home", "work"),
        (("--profile", ""), {"PROFILE": "home"}, "work", None),
        ((), {"PROFILE": ""}, "work", "work"),
    ],
)
def test_the_command_line_a_variable_or_the_file_names_a_profile(
    chat, args, variables, in_file, profile
):
    file = PROFILES.replace("[chat]", f'[chat]\nprofile = "{in_file}"')
    assert chat(*args, "show", file=file, **variables).profile == profile
    assert chat("show", *args, file=file, **variables).profile == profile


def test_the_name_nearer_the_command_counts(chat):
    given = chat("--profile", "work", "show", "--profile", "home", file=PROFILES)
    assert given == Shared("tcp://file:1", "home", 2.0, True, "home")


def test_a_table_of_a_command_may_name_a_profile(chat):
    file = PROFILES.replace("[chat.show]", '[chat.show]\nprofile = "work"')
    assert chat("show", file=file).profile == "work"
    assert chat("join", file=file).profile is None


def test_a_profile_that_the_command_line_names_is_stronger_than_variables(chat):
    """Whoever has a broker in a variable and names a profile would talk to the wrong one."""
    variables = {"BROKER": "tcp://variable:1", "USER": "variable", "TIMEOUT": "9"}
    given = chat("show", "--profile", "work", file=PROFILES, **variables)
    assert given == Shared("tcp://127.0.0.1:3", "variable", 3.0, False, "work")
    given = chat("show", "--profile", "home", file=PROFILES, **variables)
    assert given == Shared("tcp://variable:1", "home", 9.0, True, "home")


def test_a_profile_that_a_variable_or_the_file_names_is_weaker_than_variables(chat):
    variables = {"BROKER": "tcp://variable:1", "USER": "variable", "TIMEOUT": "9"}
    expected = Shared("tcp://variable:1", "variable", 9.0, False, "work")
    assert chat("show", file=PROFILES, PROFILE="work", **variables) == expected
    file = PROFILES.replace("[chat]", '[chat]\nprofile = "work"')
    assert chat("show", file=file, **variables) == expected


def test_an_option_is_stronger_than_a_profile(chat):
    given = chat(
        "--profile", "work", "--broker", "tcp://option:1", "show", "--timeout", "7", file=PROFILES
    )
    assert given == Shared("tcp://option:1", "file", 7.0, False, "work")


def test_what_only_looks_like_a_profile_is_none(chat):
    assert chat("show", "--as", "--profile", file=PROFILES).profile is None


def test_to_look_for_a_profile_changes_no_command():
    """click keeps with a command what it found out for the first line."""

    @click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
    @shared_options()
    def chat(**_):
        pass

    @chat.command()
    @shared_options()
    def show(**_):
        pass

    for args in (["show"], ["-h"], ["show", "-h"]):
        assert CliRunner().invoke(chat, args).exit_code == 0


@pytest.mark.parametrize("variables", [{}, {"PROFILE": "wrok"}])
def test_an_unknown_profile_is_a_usage_error(chat, variables):
    args = () if variables else ("--profile", "wrok")
    result = chat("show", *args, file=PROFILES, **variables)
    assert result.exit_code == 2
    assert "no profile 'wrok'" in result.output
    assert "there are: home, work" in result.output


# --- options that belong together ---------------------------------------------------------


def given_by(function, decorate, *args):
    """What *function* makes of the options that *decorate* gives a command."""

    @click.command()
    @decorate
    def command(**given):
        made.append(function(**given))

    made = []
    result = CliRunner().invoke(command, args)
    return made[0] if made else result


def test_a_command_for_each_message():
    def given(*args):
        return given_by(given_action, exec_options, *args)

    assert given() is None
    assert given("--exec", "cat 'a b'") == Action(("cat", "a b"), 1)
    assert given("--exec", "cat | cat", "--shell", "--jobs", "3") == Action(
        ("sh", "-c", "cat | cat"), 3
    )
    for wrong, words in (
        (("--exec", ""), "no command"),
        (("--exec", "a 'b"), "quotation"),
        (("--exec", "no-such-command-at-all x"), "no command 'no-such-command-at-all'"),
        (("--exec", "cat", "--jobs", "0"), "0"),
        (("--shell",), "--shell needs --exec"),
        (("--jobs", "2"), "--jobs needs --exec"),
    ):
        result = given(*wrong)
        assert result.exit_code == 2, wrong
        assert words in result.output


def test_for_whom_to_wait():
    def given(*args):
        return given_by(given_wait, waiting_options, *args)

    assert given() is None
    assert given("--wait-for-user", "Bob") == Wait("bob", 60.0)
    assert given("--wait-for-user", "bob", "--wait", "inf") == Wait("bob", math.inf)
    for wrong, words in (
        (("--wait", "3"), "--wait needs --wait-for-user"),
        (("--wait-for-user", "b o b"), "not a valid name"),
        (("--wait-for-user", "bob", "--wait", "-1"), "--wait"),
    ):
        result = given(*wrong)
        assert result.exit_code == 2, wrong
        assert words in result.output
