"""stdout: whole lines, written before the program waits."""

from __future__ import annotations

import contextlib
import json
import os
import sys

import pytest

from chatbroker.client.events import Broadcast, Joined, UserInfo
from chatbroker.client.output import Output, watch_reader

EVENT = Broadcast(1, 0, "bob", "hi")


class Reader:
    """Whoever reads stdout, at the other end of a pipe."""

    def __init__(self, monkeypatch):
        self._end, writer = os.pipe()
        os.set_blocking(self._end, False)
        self.stream = open(writer, "w")  # noqa: SIM115 - closed by the fixture
        monkeypatch.setattr(sys, "stdout", self.stream)

    def comes(self):
        """What is there to read."""
        try:
            return os.read(self._end, 1 << 16).decode()
        except BlockingIOError:
            return ""

    def goes(self):
        os.close(self._end)
        self._end = -1

    def close(self):
        # Before the writing end: a watch that still polls it is told, and ends.
        if self._end >= 0:
            self.goes()
        with contextlib.suppress(BrokenPipeError):
            self.stream.close()


@pytest.fixture
def piped(monkeypatch):
    """Makes a pipe of stdout.  To be called in the test: pytest puts its own in before."""
    made = []

    def make():
        made.append(Reader(monkeypatch))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


def test_lines_wait_for_the_flush_and_none_after_it(piped):
    reader = piped()
    output = Output(lambda events: [event.text for event in events])
    output.events([EVENT])
    output.events([EVENT])
    assert reader.comes() == ""
    output.flush()
    assert reader.comes() == "hi\nhi\n"
    output.flush()
    assert reader.comes() == ""


def test_lines_may_end_with_nul(capsys):
    output = Output(lambda events: [event.text for event in events], end="\0")
    output.events([EVENT])
    output.events([EVENT])
    output.flush()
    assert capsys.readouterr().out == "hi\0hi\0"


def test_text_is_the_default(capsys):
    output = Output()
    output.events([Joined(0, "carol")])
    output.users([UserInfo("alice", 0)])
    output.flush()
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("* carol joined")
    assert second == "* online: alice"


def test_json_is_one_object_a_line(capsys):
    output = Output(as_json=True)
    output.events([EVENT])
    output.users([UserInfo("alice", 0)])
    output.record(type="accepted", line=3)
    output.flush()
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [found["type"] for found in objects] == ["broadcast", "users", "accepted"]
    assert objects[2] == {"type": "accepted", "line": 3}


def test_a_reader_that_has_gone_is_noticed_without_a_write(piped, until):
    reader = piped()
    told = []
    output = Output()
    watch_reader(output, lambda: told.append(True))
    assert not output.closed
    reader.goes()
    until(lambda: told)
    assert output.closed


def test_when_the_reader_has_gone_nothing_is_written_and_nothing_fails(piped):
    reader = piped()
    reader.goes()
    output = Output()
    assert not output.closed
    for _ in range(2):
        output.events([EVENT])
        output.flush()
        assert output.closed
