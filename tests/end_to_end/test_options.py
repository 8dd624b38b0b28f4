"""Where options come from: the command line, variables, the config file."""

from __future__ import annotations

import pytest

NOBODY = "tcp://127.0.0.1:1"


@pytest.fixture
def config(tmp_path):
    """Writes a config file; gives the variable that names it."""

    def write(text):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return {"CHATBROKER_CONFIG": str(path)}

    return write


def who(shell, broker, *sends):
    """The names of those who say the given commands."""
    listener = shell.chat("listen", "--format", "{from} {text}", at=broker)
    listener.says("listening")
    for arguments, options in sends:
        sent = shell.chat(*arguments, **options)
        sent.end_input()
        ended = sent.wait()
        assert (ended.status, ended.err) == (0, ""), arguments
    listener.shows_lines(len(sends))
    return listener.lines


def test_options_stand_before_and_after_the_command(shell, broker):
    port = str(broker.port)
    said = who(
        shell,
        broker,
        (["--port", port, "--as", "before", "echo", "hi"], {}),
        (["echo", "hi", "--as", "after", "--broker", broker.address], {}),
        (["--as", "far", "--port", "1", "echo", "--as", "near", "--port", port, "hi"], {}),
    )
    assert said == ["before hi", "after hi", "near hi"]


def test_an_option_beats_a_variable_beats_the_file_beats_the_default(shell, broker, config):
    port = broker.port
    in_file = config(f'[chat]\nport = {port}\nas = "file"\ntimeout = 10\n')
    said = who(
        shell,
        broker,
        (["echo", "of the file"], {"env": in_file}),
        (["echo", "of a variable"], {"env": in_file | {"CHAT_USER": "variable"}}),
        (
            ["echo", "of an option", "--as", "option"],
            {"env": in_file | {"CHAT_USER": "variable"}},
        ),
    )
    assert said == ["file of the file", "variable of a variable", "option of an option"]
    path = config(f'[chat]\nbroker = "{NOBODY}"\n')
    cases = [
        shell.chat("info", at=broker, env=path),
        shell.chat("info", env=path | {"CHAT_PORT": str(port)}),
        shell.chat("info", at=NOBODY, env=path | {"CHAT_PORT": "1"}),
        shell.chat("info", "--port", str(port), at=NOBODY, env=path),
        shell.chat("--port", str(port), "info", env=path | {"CHAT_PORT": "1"}),
        shell.chat("info", "--timeout", "0.2", env=path),
    ]
    statuses = [case.finish().status for case in cases]
    # Both variables: as both options, nobody can say which was meant.
    assert statuses == [0, 0, 2, 0, 0, 3]


def test_a_table_of_a_command_is_for_that_command(shell, broker, config):
    env = config('[chat.listen]\nformat = "{from}: {text}"\ncount = 1\nsince = "all"\n')
    with broker.client("alice") as alice:
        alice.echo("hi")
    ended = shell.run("listen", at=broker, env=env)
    assert (ended.status, ended.out.count("\n")) == (0, 1)
    assert "[" not in ended.out
    assert shell.run("info", at=broker, env=env).status == 0


def test_a_config_file_that_cannot_be_read_is_said_so(shell, broker, config, tmp_path):
    broken = shell.run("info", at=broker, env=config("not toml at all"))
    assert broken.status == 2
    assert str(tmp_path / "config.toml") in broken.err
    assert "Traceback" not in broken.err
    wrong = shell.run("info", at=broker, env=config("chat = 5\n"))
    assert (wrong.status, "[chat]" in wrong.err) == (2, True)
    folder = shell.run("info", at=broker, env={"CHATBROKER_CONFIG": str(tmp_path)})
    assert folder.status == 2


def test_a_wrong_variable_is_a_usage_error(shell):
    ended = [
        shell.chat("info", env=env).finish()
        for env in ({"CHAT_PORT": "many"}, {"CHAT_BROKER": "here"}, {"CHAT_TIMEOUT": "soon"})
    ]
    assert [e.status for e in ended] == [2, 2, 2]


def test_a_file_with_a_port_and_a_variable_with_a_broker(shell, broker, config):
    env = config("[chat]\nport = 1\n")
    assert shell.run("info", at=broker, env=env).status == 0


def test_the_broker_takes_its_options_from_variables_and_the_file(shell, config):
    env = config('[chatbroker.run]\nhost = "127.0.0.2"\nport = 0\nheartbeat = 1\n')
    program = shell.start("chatbroker", "run", env=env)
    program.shows(r"^chatbroker ready at tcp://127\.0\.0\.2:\d+$")
    other = shell.start("chatbroker", "run", env=env | {"CHATBROKER_HOST": "127.0.0.3"})
    other.shows(r"^chatbroker ready at tcp://127\.0\.0\.3:\d+$")
    for started in (program, other):
        started.signal(15)
        assert started.wait().status == 0
