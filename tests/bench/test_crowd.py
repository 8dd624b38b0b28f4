"""Many clients from few processes."""

from __future__ import annotations

import resource

import pytest

from bench import clients, on_broker
from bench.clients import most_clients
from bench.crowd import SPEAKER, crowd
from bench.processes import running_broker
from chatbroker.wire.messages import DIRECT_LOG, Echo, Info, Users


def ask(session, message, kind):
    session.say(message)
    while True:
        for answer in session.messages():
            if isinstance(answer, kind):
                return answer


def test_all_of_a_crowd_join_and_hear_all_that_is_said():
    with running_broker() as broker, crowd(broker, 5) as crowded:
        assert crowded.ask("join") == ["done", "done"]
        with on_broker.sessions(broker, [SPEAKER], DIRECT_LOG) as (speaker,):
            on = ask(speaker, Info(1, ""), Users).users
            assert [user.name for user in on if user.name != SPEAKER] == [
                *("c0-0", "c0-1", "c0-2"),
                *("c1-0", "c1-1"),
            ]
            crowded.ask("subscribe")
            said = 0
            while crowded.deaf():
                said += 1
                speaker.say(Echo(said, ("x" * 64,)))
            speaker.say(Echo(said + 1, ("x" * 64,) * 10))
            assert crowded.ask(f"hear {said + 10}") == ["done", "done"]


@pytest.mark.parametrize(("limit", "most"), [(resource.RLIM_INFINITY, 9000), (10_000, 3700)])
def test_a_crowd_is_as_large_as_descriptors_allow_and_says_so(limit, most, monkeypatch, capsys):
    monkeypatch.setattr(clients.resource, "getrlimit", lambda which: (limit, limit))
    assert most_clients(9000) == most
    assert ("RLIMIT_NOFILE" in capsys.readouterr().out) == (most < 9000)
