"""Whom to part with when there are too many connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from .allowance import network_of
from .connections import Connections

SPARE = 8
"""SUBs of an address that may be more than its sessions: one comes before another is seen to have
gone."""


class Known(Protocol):
    """A connection, as it is known here."""

    inode: int
    address: str
    """The peer's; empty if it was cut off."""
    since: float


K = TypeVar("K", bound=Known)


def of_crowds(found: list[tuple[int, K]], oldest: bool = True) -> list[tuple[int, K]]:
    """*found*, by descriptor: those of the address that has the most first; of each the oldest, or
    the newest."""
    crowd = Counter(network_of(known.address) for _, known in found)
    sign = 1 if oldest else -1

    def place(one: tuple[int, K]) -> tuple[int, str, float]:
        _, known = one
        network = network_of(known.address)
        return -crowd[network], network, sign * known.since

    return sorted(found, key=place)


def without_session(
    connections: Connections, known: Mapping[int, K], expected: Callable[[bytes], bool]
) -> list[tuple[int, K]]:
    """Those of *connections*, by descriptor, that spoke and have no session: DEALERs of which
    nothing is *expected*, and of each address the last SUBs that are more than its sessions."""
    sessions: Counter[str] = Counter()
    idle = []
    for identity, caller in connections.callers.items():
        if expected(identity):
            sessions[network_of(caller.origin.address)] += 1
        else:
            idle.append(caller)
    subscribers = [one for fd, one in connections.subscribers.items() if fd in known]
    for subscriber in sorted(subscribers, key=lambda one: known[one.fd].since):
        network = network_of(subscriber.origin.address)
        sessions[network] -= 1
        if sessions[network] < -SPARE:
            idle.append(subscriber)
    found = [(one, known[one.fd]) for one in idle if one.fd in known]
    return [(one.fd, seen) for one, seen in found if seen.address and seen.inode == one.inode]
