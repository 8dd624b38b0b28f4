"""The pytest plugin, used as its users do; the first test is the example of the README."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from chatbroker.client import Direct, NameRefused
from chatbroker.testing import brokers as brokers_module
from chatbroker.testing.brokers import BrokerProcess, Brokers


def messages(client, timeout=5.0):
    """The direct messages and broadcasts that come, until none does or one was enough."""
    for event in client.events(timeout):
        if hasattr(event, "text"):
            yield event


def test_a_bot_answers(chatbroker):
    with chatbroker.client("bot") as bot, chatbroker.client("alice") as alice:
        alice.send("bot", "ping")
        question = next(e for e in bot.events(timeout=5) if isinstance(e, Direct))
        bot.send(question.sender, "pong")
        answers = (e for e in alice.events(timeout=5) if isinstance(e, Direct))
        assert [next(answers).text, next(answers).text] == ["ping", "pong"]


def test_several_brokers_never_mix(chatbrokers):
    one, other = chatbrokers.start(), chatbrokers.start()
    alice, also_alice = one.client("alice"), other.client("alice")
    alice.echo("only here")
    also_alice.echo("only there")
    assert next(messages(alice)).text == "only here"
    assert next(messages(also_alice)).text == "only there"
    assert alice.sync()
    assert also_alice.sync()
    assert not list(messages(alice, 0))
    assert not list(messages(also_alice, 0))


def test_a_program_finds_the_broker_whatever_is_set_around_the_test(chatbroker, monkeypatch):
    monkeypatch.setenv("CHAT_PORT", "1")
    monkeypatch.setenv("CHAT_BROKER", "tcp://127.0.0.1:2")
    monkeypatch.setenv("CHAT_TIMEOUT", "none")
    command = [sys.executable, "-m", "chatbroker.client", "echo", "hi"]
    assert subprocess.run(command, env=chatbroker.env, timeout=20, check=False).returncode == 0


def test_a_broker_starts_whatever_is_set_around_the_test(chatbrokers, monkeypatch, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("[chatbroker.run]\nmetrics-port = 1\n")
    monkeypatch.setenv("CHATBROKER_CONFIG", str(config))
    monkeypatch.setenv("CHATBROKER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CHATBROKER_SECURE", "1")
    broker = chatbrokers.start()
    assert broker.metrics_address is None
    broker.client("alice").echo("hi")
    assert not (tmp_path / "journal.db").exists()


def test_a_broker_that_was_not_waited_for_is_gone(monkeypatch):
    started = []
    popen = subprocess.Popen

    def starts(*args, **options):
        started.append(popen(*args, **options))
        return started[-1]

    def interrupted(seconds):
        raise TimeoutError("enough")

    monkeypatch.setattr(brokers_module.subprocess, "Popen", starts)
    monkeypatch.setattr(brokers_module.time, "sleep", interrupted)
    with pytest.raises(TimeoutError):
        BrokerProcess()
    assert started[0].poll() is not None


def test_a_name_is_one_user_on_each(chatbroker):
    chatbroker.client("alice")
    with pytest.raises(NameRefused):
        chatbroker.client("alice")


def test_everything_is_gone_afterwards(pytester):
    pytester.makepyfile(
        """
        def test_leaves_things_open(chatbrokers):
            for _ in range(2):
                broker = chatbrokers.start()
                broker.client("alice")
                print("pid", broker.pid)
        """
    )
    result = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    pids = [int(line.split()[-1]) for line in result.outlines if "pid " in line]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_broker_that_does_not_start_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"did not start: .*no limit such as"):
        BrokerProcess("--limit", "nonsense=1")
    assert os.listdir(tmp_path) == []


def test_all_brokers_end_though_a_client_cannot_be_closed(tmp_path, monkeypatch):
    def cannot():
        raise OSError("cannot be closed")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    brokers = Brokers()
    started = [brokers.start() for _ in range(2)]
    for broker in started:
        client = broker.client("alice")
        monkeypatch.setattr(client, "close", cannot)
    with pytest.raises(OSError, match="cannot be closed"):
        brokers.close()
    monkeypatch.undo()
    for broker in started:
        broker._clients[0].close()
        assert broker._process.poll() == 0
    assert os.listdir(tmp_path) == []
