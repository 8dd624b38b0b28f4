"""Clients that come and go, PONGs that are lost: who stays is never taken for gone."""

from __future__ import annotations

import pytest

from chatbroker.broker.heartbeats import Heartbeats
from chatbroker.broker.session import Liveness, Session
from chatbroker.client.events import Offline
from chatbroker.wire.messages import Kind
from world import Peer, World

USUAL, LEASE = 2.0, 6.0


def play(seed: int) -> tuple[World, list[Peer], set[float]]:
    """A world in which guests come and go by the dozen, those who stay through all of it, and the
    heartbeats that these went by.  Each second PONG to them is lost."""
    world = World(seed, heartbeat=USUAL, lease=LEASE, pings=2.0, longest_heartbeat=15.0)
    staying = [world.join(name) for name in ("alice", "bob", "carol")]
    guests: list[Peer] = []
    seen: set[float] = set()
    for number in range(20):
        if guests:
            for guest in guests:
                guest.leave()
            guests = []
        else:
            guests = [world.start(f"guest{number}-{n}") for n in range(10 + world.chance(20))]
        for _ in range(12):
            for peer in staying:
                if world.chance(1) and not peer.losing:
                    peer.lose(Kind.PONG)
            world.run(world.between(0.5, 4.0))
            seen |= {peer.core.heartbeat.every for peer in staying}
        world.peers = [peer for peer in world.peers if peer.alive]
    for guest in guests:
        guest.leave()
    for peer in staying:
        peer.losing.clear()
    return world, staying, seen


def lapses(staying: list[Peer]) -> int:
    return sum(len(peer.told(Offline)) for peer in staying)


@pytest.mark.parametrize("seed", range(4))
def test_nobody_lapses_while_others_come_and_go_and_pongs_are_lost(seed: int) -> None:
    world, staying, seen = play(seed)
    assert max(seen) > LEASE  # Else a shorter lease would have been long enough.
    assert lapses(staying) == 0
    # Those who stay are few again, and so is what they are told.
    world.run(40.0)
    going_by = {(peer.core.heartbeat.every, peer.core.heartbeat.lease) for peer in staying}
    assert going_by == {(USUAL, LEASE)}
    sessions = [world.broker._registry.sessions[peer.session] for peer in staying]
    assert {session.lease for session in sessions} == {LEASE}


def test_it_would_show_if_what_was_told_before_were_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = Heartbeats.answer

    def spoilt(self: Heartbeats, session: Session, heartbeat: int, live: int) -> Liveness:
        told = answer(self, session, heartbeat, live)
        session.lease = session.liveness.lease / 1000
        return told

    monkeypatch.setattr(Heartbeats, "answer", spoilt)
    assert any(lapses(play(seed)[1]) for seed in range(4))


def test_it_would_show_if_a_lost_pong_were_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Heartbeats.answer

    def spoilt(self: Heartbeats, session: Session, heartbeat: int, live: int) -> Liveness:
        return answer(self, session, session.liveness.heartbeat, live)

    monkeypatch.setattr(Heartbeats, "answer", spoilt)
    assert any(lapses(play(seed)[1]) for seed in range(4))
