"""The command that looks back, of a log that the test makes up."""

from __future__ import annotations

import os
from contextlib import nullcontext
from itertools import chain
from types import SimpleNamespace

import pytest

from chatbroker.client import recalling
from chatbroker.client.errors import NewHistory
from chatbroker.client.events import Broadcast, Direct, Missed
from chatbroker.client.history import History
from chatbroker.client.options import Shared
from chatbroker.client.recalling import A_PAGE, Question, run_history
from chatbroker.client.starts import Since

EVERYTHING = Question(None, Since.all(), None, None, None)
SHARED = Shared("tcp://127.0.0.1:5555", None, 5.0, False)


@pytest.fixture
def drawn(monkeypatch):
    """The positions that were asked for, of a log with five pages and a bit."""
    drawn = []

    def events(client, asked):
        for seq in range(1, 5 * A_PAGE + 4):
            drawn.append(seq)
            yield Broadcast(seq, 0, "bob", str(seq))

    monkeypatch.setattr(recalling, "Client", lambda *args, **options: nullcontext())
    monkeypatch.setattr(recalling, "_events", events)
    return drawn


def test_all_of_it_is_written_page_by_page(drawn, capsys):
    assert run_history(SHARED, EVERYTHING, lambda events: [e.text for e in events], "\n") == 0
    assert capsys.readouterr().out.splitlines() == [str(seq) for seq in drawn]
    assert len(drawn) == 5 * A_PAGE + 3


def test_whoever_reads_no_more_is_asked_for_no_more(drawn, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr("chatbroker.client.output.silence_stdout", lambda: None)
    with open(writer, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert run_history(SHARED, EVERYTHING, None, "\n") == 0
        monkeypatch.undo()
    assert len(drawn) == A_PAGE


@pytest.fixture
def walked(monkeypatch):
    """Of a client that has a name: which logs are walked, in each of which some is missing."""
    walked = []

    class Walk:
        def __init__(self, client):
            self.hold, self.merged = walked.extend, chain.from_iterable

        def walk(self, log, after):
            yield Missed(log, 3)
            yield Broadcast(4, 0, "bob", "one")
            yield Direct(5, 0, "bob", "alice", "two")

    monkeypatch.setattr(recalling, "History", Walk)
    return walked


ALICE = SimpleNamespace(name="alice")


def test_for_a_conversation_only_what_is_private_is_read(walked):
    asked = EVERYTHING._replace(partner="Bob")
    found = [Missed("direct", 3), Direct(5, 0, "bob", "alice", "two")]
    assert (list(recalling._events(ALICE, asked)), walked) == (found, ["direct"])


@pytest.mark.parametrize(("only", "log"), [("broadcast", "echo"), ("direct", "direct")])
def test_what_is_missing_is_told_whatever_is_looked_for(walked, only, log):
    asked = EVERYTHING._replace(grep="ONE", only=only)
    found = [Missed(log, 3), Broadcast(4, 0, "bob", "one")]
    assert (list(recalling._events(ALICE, asked)), walked) == (found, [log])


def test_what_is_printed_is_of_one_history(chatbrokers, monkeypatch):
    broker = chatbrokers.start()
    alice = broker.client("alice", hear=False)
    newest = History.newest

    def restarts(history, log, *where):
        found = newest(history, log, *where)
        if log == "echo":
            broker.kill()
            chatbrokers.start(port=broker.port, pub_port=broker.pub_port)
        return found

    monkeypatch.setattr(History, "newest", restarts)
    with pytest.raises(NewHistory):
        recalling._events(alice, EVERYTHING._replace(limit=5))
