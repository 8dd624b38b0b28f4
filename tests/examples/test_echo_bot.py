"""The bot that answers, and the examples of the README."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

from chatbroker.client import Client

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_bot_answers_whatever_comes_and_outlives_the_broker(
    start, chatbrokers, heard, tmp_path
):
    broker = chatbrokers.start(data_dir=tmp_path / "data")
    bot = start("echo_bot", "bot", at=broker)
    with broker.client("alice", presence=True) as alice:
        while "bot" not in [user.name for user in alice.users()]:
            alice.receive(1)
        alice.send("bot", "hi")
        assert heard(alice, 2) == ["alice: hi", "bot: you said: hi"]
        alice.send("bot", "x" * alice.max_text)
        bot.says("no answer to alice: too long")
        alice.send("bot", "you said: that, and another bot would answer for ever")
        alice.send("bot", "still there?")
        assert heard(alice, 4)[-1] == "bot: you said: still there?"
    broker.kill()
    ports = {"port": broker.port, "pub_port": broker.pub_port}
    again = chatbrokers.start(data_dir=tmp_path / "data", **ports)
    with again.client("carol") as carol:
        carol.send("bot", "hi")  # Its name is claimed: it gets this whenever it is back.
        assert heard(carol, 2) == ["carol: hi", "bot: you said: hi"]
        # The first has the identity: a second of the same name is refused.
        second = start("echo_bot", "bot", again.address).wait()
        assert (second.status, second.err.count("\n")) == (4, 1)
    bot.signal(signal.SIGTERM)
    ended = bot.wait()
    assert (ended.status, ended.out) == (0, "")
    assert "Traceback" not in ended.err


def test_the_bot_says_what_is_wrong(start):
    wrong, nowhere = start("echo_bot"), start("echo_bot", "bot", "nowhere")
    ended = wrong.wait()
    assert (ended.status, ended.err.startswith("usage: ")) == (2, True)
    ended = nowhere.wait()
    assert (ended.status, ended.err.count("\n")) == (2, 1)


def test_the_examples_of_the_readme_run(shell, house, heard, tmp_path):
    bot, loader = re.findall(
        r"```python\n(.*?)```", README.partition("## From Python")[2].partition("\n## ")[0], re.S
    )
    with Client("alice", house.address, presence=True) as alice:
        here = bot.replace("tcp://127.0.0.1:5555", house.address)
        assert here != bot
        (tmp_path / "bot.py").write_text(here)
        shell.start(sys.executable, str(tmp_path / "bot.py"))
        assert heard(alice, 1) == ["parrot: parrot is here"]
        alice.send("parrot", "hi")
        assert heard(alice, 2) == ["alice: hi", "parrot: you said: hi"]
        (tmp_path / "lines.txt").write_text("one\ntwo\n")
        code = loader.replace('"loader"', f'"loader", "{house.address}"')
        code = code.replace('"lines.txt"', f'"{tmp_path / "lines.txt"}"')
        head = "from chatbroker.client import Client\n"
        assert shell.start(sys.executable, "-W", "ignore", "-c", head + code).wait().status == 0
        assert heard(alice, 2) == ["loader: one", "loader: two"]
