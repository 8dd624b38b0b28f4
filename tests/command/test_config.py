"""The config file: defaults for options, named as the options are."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chatbroker.command.config import (
    Profile,
    Words,
    config_defaults,
    config_path,
    name_variables,
    read_config,
)
from chatbroker.command.place import Place


@pytest.fixture
def config(monkeypatch, tmp_path):
    """Where the config file is."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("CHATBROKER_CONFIG", str(path))
    return path


@pytest.fixture
def talk():
    """A command whose options have other names inside, as Python's keywords need."""

    @click.group(name="talk")
    @click.option("--port", type=int)
    @click.option("--as", "user", envvar="TALK_USER")
    def group(port, user):
        pass

    @group.command()
    @click.option("--for", "total", type=float)
    @click.option("--dry-run", is_flag=True)
    @click.option("-0", "nul", is_flag=True)
    @click.option("--port", type=int)
    def hear(total, dry_run, nul, port):
        heard.append((total, dry_run, nul, port))

    heard = group.heard = []
    return group


def test_the_platform_says_where_unless_a_variable_does(monkeypatch):
    monkeypatch.delenv("CHATBROKER_CONFIG", raising=False)
    assert config_path().name == "config.toml"
    assert config_path().parent.name == "chatbroker"
    monkeypatch.setenv("CHATBROKER_CONFIG", "/some/where.toml")
    assert config_path() == Path("/some/where.toml")


@pytest.mark.parametrize("below", ["config.toml", "file/config.toml"])
def test_without_a_file_there_are_no_defaults(monkeypatch, tmp_path, talk, below):
    (tmp_path / "file").touch()
    monkeypatch.delenv("CHATBROKER_CONFIG", raising=False)
    monkeypatch.setattr(click, "get_app_dir", lambda name: (tmp_path / below).parent)
    assert config_defaults(talk) == {}


@pytest.mark.parametrize("below", ["config.toml", "file/config.toml"])
def test_a_file_that_is_named_has_to_be_there(monkeypatch, tmp_path, talk, below):
    (tmp_path / "file").touch()
    path = tmp_path / below
    monkeypatch.setenv("CHATBROKER_CONFIG", str(path))
    words = f"CHATBROKER_CONFIG names {path}, and there is no such file; an empty one will do"
    with pytest.raises(click.UsageError) as caught:
        config_defaults(talk)
    assert str(caught.value) == words


def test_a_file_may_begin_with_the_mark_of_some_editors(config, talk):
    config.write_bytes(b"\xef\xbb\xbf[talk]\nport = 1")
    assert config_defaults(talk) == {"port": 1}


def test_a_key_is_an_options_name_without_its_dashes(config, talk):
    config.write_text(
        '[talk]\nas = "bob"\nport = 1\n[talk.hear]\nfor = 2.5\ndry-run = true\n0 = true\nport = 2'
    )
    assert config_defaults(talk) == {
        "user": "bob",
        "port": 1,
        "hear": {"total": 2.5, "dry_run": True, "nul": True, "port": 2},
    }


def test_other_commands_have_tables_of_their_own(config, talk):
    config.write_text("[chatbroker]\nwhatever = 1\n")
    assert config_defaults(talk) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[talk", "cannot read"),
        (b"\xff", "cannot read"),
        (b"talk = 1", r"talk must be a table: \[talk\]"),
        (b"[talk]\nhear = 1", r"talk.hear must be a table: \[talk.hear\]"),
        (b"[talk]\nprot = 1", r"\[talk\] has no option 'prot'"),
        (b"[talc]\nport = 1", r"nobody reads \[talc\]; there are \[chat\], \[chatbroker\] and"),
        (b"[talk.haer]\nport = 1", r"\[talk\] has no command 'haer'"),
        (b"[talk]\nprot = [1]", r"\[talk\] has no option 'prot'"),
        (b"[talk.hear]\ndry_run = true", r"\[talk.hear\] has no option 'dry_run'"),
        (b"[talk]\nuser = 'bob'", r"\[talk\] has no option 'user'"),
        (b"[talk]\nport = [1]", r"\[talk\] port must be a single value"),
        (b"[talk]\nport = true", r"\[talk\] port wants a whole number, not true"),
        (b"[talk]\nport = " + b"[" * 9999 + b"]" * 9999, "cannot read .*: it is nested too deeply"),
        (b"[talk.hear]\nport = {a = 1}", r"\[talk.hear\] port must be a single value"),
    ],
)
def test_what_nobody_could_use_is_refused_with_its_place(config, talk, text, words):
    config.write_bytes(text)
    with pytest.raises(click.UsageError, match=words) as caught:
        config_defaults(talk)
    assert str(config) in str(caught.value)


@pytest.fixture
def typed(talk):
    """The same with an option of each kind."""
    for option in (
        click.Option(["--time"], type=click.FLOAT),
        click.Option(["--kind"], type=click.Choice(["a", "3"])),
        click.Option(["--place"], type=Place()),
        click.Option(["--since"], type=Words()),
        click.Option(["--limit", "limits"], multiple=True),
        click.Option(["--loud"], is_flag=True, default=None),
    ):
        talk.params.append(option)
    return talk


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("loud = 1", "loud wants true or false, not 1"),
        ("loud = 3.5", "loud wants true or false, not 3.5"),
        ("loud = 'yes'", "loud wants true or false, not 'yes'"),
        ("loud = [true]", "loud must be a single value"),
        ("port = 2.9", "port wants a whole number, not 2.9"),
        ("port = 21555.0", "port wants a whole number, not 21555.0"),
        ("port = false", "port wants a whole number, not false"),
        ("port = 12:30:00", "port wants a whole number, not 12:30:00"),
        (f"port = 0x{'f' * 9999}", "port wants a whole number, not one of more than 64 bits"),
        ("as = 3", "as wants a text in quotes, not 3"),
        ("as = 2024-01-01", "as wants a text in quotes, not 2024-01-01"),
        ("as = true", "as wants a text in quotes, not true"),
        ("kind = 3", "kind wants a text in quotes, not 3"),
        ("since = 2.0", "since wants a whole number, or a text in quotes, not 2.0"),
        ("since = true", "since wants a whole number, or a text in quotes, not true"),
        ("since = 2024-01-01", "since wants a whole number, or a text in quotes, not 2024-01-01"),
        ("place = 5", "place wants a text in quotes, not 5"),
        ("time = 2024-01-01", "time wants a number, or a text in quotes, not 2024-01-01"),
        ("time = true", "time wants a number, or a text in quotes, not true"),
        (f"time = 1{'0' * 400}", "time wants a number, or a text in quotes, not one of more than"),
        ("limit = 'a=1 b=2'", "limit wants a list of texts, or a table, not 'a=1 b=2'"),
        ("limit = 2.9", "limit wants a list of texts, or a table, not 2.9"),
        ("limit = ['a=1', 2]", "limit wants a list of texts, or a table, not a list of something"),
        ("place = '~nobody-at-all/x'", "place is '~nobody-at-all/x', and there is no home ~nobody"),
    ],
    ids=lambda value: value[:20],
)
def test_a_value_of_a_wrong_type_is_told_with_what_is_wanted(config, typed, line, words):
    config.write_text(f"[talk]\n{line}\n")
    with pytest.raises(click.UsageError) as told:
        config_defaults(typed)
    assert str(told.value).startswith(f"{config}: [talk] {words}")


@pytest.mark.parametrize(
    ("line", "option", "value"),
    [
        ("loud = false", "loud", False),
        ("port = '80'", "port", "80"),
        ("time = 2", "time", 2),
        ("time = inf", "time", float("inf")),
        ("time = '1m'", "time", "1m"),
        ("kind = '3'", "kind", "3"),
        ("since = 3", "since", 3),
        ("since = '3'", "since", "3"),
        ("limit = ['a=1', 'b=2']", "limits", ["a=1", "b=2"]),
        ("limit = []", "limits", []),
        ("place = 'a/~b'", "place", "a/~b"),
        ("place = ''", "place", ""),
        ("place = '~/a b'", "place", "/home/bob/a b"),
        ("as = '~'", "user", "~"),
    ],
)
def test_a_value_of_the_right_type_is_taken(config, typed, monkeypatch, line, option, value):
    monkeypatch.setenv("HOME", "/home/bob")
    config.write_text(f"[talk]\n{line}\n")
    assert config_defaults(typed) == {option: value}


def test_a_file_that_cannot_be_read_is_told(config, talk):
    config.mkdir()
    with pytest.raises(click.UsageError) as caught:
        config_defaults(talk)
    assert str(caught.value) == f"cannot read {config}: Is a directory"


def test_every_option_has_a_variable(talk):
    name_variables(talk)
    names = {
        (command.name, option.name): option.envvar
        for command in (talk, *talk.commands.values())
        for option in command.params
    }
    assert names == {
        ("talk", "port"): "TALK_PORT",
        ("talk", "user"): "TALK_USER",
        ("hear", "total"): "TALK_HEAR_FOR",
        ("hear", "dry_run"): "TALK_HEAR_DRY_RUN",
        ("hear", "nul"): "TALK_HEAR_0",
        ("hear", "port"): None,  # The group's own variable speaks for it.
    }


def test_naming_twice_changes_nothing(talk):
    name_variables(talk)
    before = [option.envvar for option in talk.commands["hear"].params]
    name_variables(talk)
    assert [option.envvar for option in talk.commands["hear"].params] == before


def test_variables_are_heard(talk):
    name_variables(talk)
    env = {"TALK_HEAR_FOR": "2.5", "TALK_HEAR_DRY_RUN": "1"}
    result = CliRunner().invoke(talk, ["hear"], env=env)
    assert result.exit_code == 0
    assert talk.heard == [(2.5, True, False, None)]


def test_an_option_that_may_be_repeated_is_a_table(config, talk):
    option = click.Option(["--limit", "limits"], multiple=True)
    talk.commands["hear"].params.append(option)
    config.write_text('[talk.hear.limit]\nwords = 3\ntime = "2s"\n')
    assert config_defaults(talk) == {"hear": {"limits": ["words=3", "time=2s"]}}


@pytest.mark.parametrize("value", ["true", "[1, 2]", "{ a = 1 }", "2024-01-01"])
def test_that_table_holds_single_values(config, talk, value):
    talk.commands["hear"].params.append(click.Option(["--limit", "limits"], multiple=True))
    config.write_text(f"[talk.hear.limit]\nwords = {value}\n")
    with pytest.raises(click.UsageError, match=r"\[talk.hear.limit\] holds single values"):
        config_defaults(talk)


# --- profiles -----------------------------------------------------------------------------


@pytest.fixture
def talk_of(talk):
    """The same with the option --profile."""
    for command in (talk, talk.commands["hear"]):
        command.params.append(click.Option(["--profile"]))
    return talk


def test_a_profile_holds_what_the_table_of_the_command_holds(config, talk_of):
    config.write_text(
        "[talk]\nport = 1\n[profile.work]\nport = 2\n[profile.work.hear]\nfor = 3\n"
        "[profile.home]\nas = 'bob'\n[profile.none]\n"
    )
    read = read_config(talk_of)
    assert read.defaults == {"port": 1}
    assert read.profiles == {
        "work": {"port": 2, "hear": {"total": 3}},
        "home": {"user": "bob"},
        "none": {},
    }
    assert read.profile("work")["port"] == 2


def test_a_profile_that_there_is_not_is_told_with_those_that_there_are(config, talk_of):
    config.touch()
    with pytest.raises(click.UsageError, match=r"no profile 'wrok' in .*; there are: none"):
        read_config(talk_of).profile("wrok")
    config.write_text("[profile.work]\n[profile.home]\n")
    with pytest.raises(click.UsageError, match=r"no profile 'wrok' in .*; there are: home, work"):
        read_config(talk_of).profile("wrok")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[profile.work]\nprot = 1", r"\[profile.work\] has no option 'prot'"),
        ("[profile.work.hear]\nprot = 1", r"\[profile.work.hear\] has no option 'prot'"),
        ("[profile]\nwork = 1", r"profile.work must be a table: \[profile.work\]"),
        ("profile = 'work'", r"profile stands in no table; .*\[talk\].*\[profile.NAME\]"),
        ("[profile.work]\nprofile = 'home'", r"\[profile.work\] cannot name another profile"),
        ("[profile.a.hear]\nprofile = 'b'", r"\[profile.a\] cannot name another profile"),
    ],
)
def test_a_profile_that_nobody_could_use_is_refused(config, talk_of, text, words):
    config.write_text(text)
    with pytest.raises(click.UsageError, match=words):
        read_config(talk_of)


def test_a_command_without_profiles_leaves_them_alone(config, talk):
    config.write_text("[profile.work]\nprot = 1\n")
    assert read_config(talk).profiles == {}


def test_a_profile_is_laid_over_the_rest():
    defaults = {"port": 1, "user": "bob", "hear": {"total": 1, "nul": True}, "say": {"port": 1}}
    profile = Profile("work", {"port": 2, "hear": {"total": 2}, "look": {"port": 2}}, False)
    assert profile.over(defaults) == {
        "port": 2,
        "user": "bob",
        "hear": {"total": 2, "nul": True},
        "say": {"port": 1},
        "look": {"port": 2},
    }
    assert defaults["hear"]["total"] == 1


def test_a_profile_knows_what_it_says(talk_of):
    profile = Profile("work", {"port": 2, "hear": {"total": 2}}, True)
    group = click.Context(talk_of, info_name="talk")
    hear = click.Context(talk_of.commands["hear"], parent=group, info_name="hear")
    assert Profile.of(hear) is None
    profile.put_in_force(group)
    assert Profile.of(hear) is profile
    assert (profile.sets(group, "port"), profile.sets(group, "user")) == (True, False)
    assert (profile.sets(hear, "total"), profile.sets(hear, "port")) == (True, False)
    name_variables(talk_of)
    assert profile.variables(talk_of) == ["TALK_PORT", "TALK_HEAR_FOR"]
