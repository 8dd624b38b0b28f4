"""The command that looks back, of a log that the test makes up."""

from __future__ import annotations

import os
from contextlib import nullcontext

import pytest

from chatbroker.client import recalling
from chatbroker.client.errors import NewHistory
from chatbroker.client.events import Broadcast
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
