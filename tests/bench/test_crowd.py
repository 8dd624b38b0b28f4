"""Many clients from few processes."""

from __future__ import annotations

import resource
from types import SimpleNamespace

import pytest
import zmq

from bench import clients, on_broker
from bench.clients import most_clients
from bench.crowd import SPEAKER, crowd
from bench.processes import running_broker
from chatbroker.wire.codec import FROM_CLIENT, Decoder, Encoder
from chatbroker.wire.limits import VERSION
from chatbroker.wire.messages import (
    DIRECT_LOG,
    Echo,
    Hello,
    Info,
    Limits,
    Ping,
    Pong,
    Users,
    Welcome,
)


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


def test_a_client_of_a_crowd_goes_by_the_heartbeat_that_a_pong_tells():
    encode, decode = Encoder().encode, Decoder(FROM_CLIENT).decode
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        endpoint = f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"

        def hears(kind):
            assert router.poll(10_000)
            identity, frame = router.recv_multipart()
            (message,) = decode(frame)
            assert isinstance(message, kind)
            return identity, message

        with crowd(SimpleNamespace(broker=endpoint, pub=endpoint), 1) as crowded:
            (one, *_) = crowded._asides
            one.tell("join")
            identity, _ = hears(Hello)
            limits = Limits(1, 1, 1, 1, 0, 0, 0, 0)
            welcome = Welcome(VERSION, "c0-0", bytes(8), 1, 1, 0, b"", 1, 20, 60, limits, ())
            router.send_multipart([identity, encode(welcome)])
            assert one.answer() == "done"
            assert hears(Ping)[1].heartbeat == 0
            router.send_multipart([identity, encode(Pong(1, (), 30, 90))])
            told = [hears(Ping)[1].heartbeat for _ in range(20)]
            assert told == sorted(told)
            assert told[-1] == 30


@pytest.mark.parametrize(("limit", "most"), [(resource.RLIM_INFINITY, 9000), (10_000, 4950)])
def test_a_crowd_is_as_large_as_descriptors_allow_and_says_so(limit, most, monkeypatch, capsys):
    monkeypatch.setattr(clients.resource, "getrlimit", lambda which: (limit, limit))
    assert most_clients(9000) == most
    assert ("RLIMIT_NOFILE" in capsys.readouterr().out) == (most < 9000)
