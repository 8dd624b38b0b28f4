"""Who is to go when there are too many connections."""

from __future__ import annotations

from typing import NamedTuple

from chatbroker.broker.connections import Connection, Connections
from chatbroker.broker.crowds import SPARE, of_crowds, without_session
from chatbroker.broker.origin import Origin

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Seen(NamedTuple):
    inode: int
    address: str
    since: float


class Crowd:
    """Connections, each a little later than the one before."""

    def __init__(self):
        self.connections = Connections()
        self.known = {}
        self.sessions = set()

    def _met(self, address):
        fd = 10_000 + len(self.known)  # None that is open.
        one = Connection(fd, Origin(address), "")
        one.inode = fd
        self.known[fd] = Seen(fd, address, float(fd))
        return one

    def dealer(self, address, session=True):
        one = self._met(address)
        name = b"%d" % one.fd
        self.connections.meet(name, one)
        if session:
            self.sessions.add(name)
        return one.fd

    def subscriber(self, address):
        one = self._met(address)
        self.connections.subscribers[one.fd] = one
        return one.fd

    def idle(self):
        found = without_session(self.connections, self.known, self.sessions.__contains__)
        return [fd for fd, _ in found]


def test_whoever_spoke_and_has_no_session_is_idle():
    crowd = Crowd()
    crowd.dealer(HERE)
    idle = [crowd.dealer(HERE, session=False), crowd.dealer(THERE, session=False)]
    assert crowd.idle() == idle


def test_subscribers_are_idle_that_are_more_than_the_sessions_of_their_address():
    crowd = Crowd()
    for _ in range(3):
        crowd.dealer(HERE)
        crowd.subscriber(HERE)
    more = [crowd.subscriber(HERE) for _ in range(SPARE + 2)]
    there = [crowd.subscriber(THERE) for _ in range(SPARE + 1)]
    # However they lie there.
    subscribers = crowd.connections.subscribers
    for fd in sorted(subscribers, reverse=True):
        subscribers[fd] = subscribers.pop(fd)
    assert crowd.idle() == [*more[-2:], there[-1]]


def test_of_ipv6_those_of_one_network_are_together():
    crowd = Crowd()
    more = [crowd.subscriber(f"2001:db8::{n}") for n in range(SPARE + 3)]
    assert crowd.idle() == more[-3:]
    here = [(1, Seen(1, HERE, 1)), (2, Seen(2, HERE, 2))]
    assert [
        fd for fd, _ in of_crowds([*here, *[(9, Seen(9, f"2001:db8::{n}", n)) for n in "123"]])
    ][:3] == [9] * 3


def test_one_that_was_cut_off_or_has_the_descriptor_of_another_is_not_among_them():
    crowd = Crowd()
    cut, other, unknown = [crowd.dealer(HERE, session=False) for _ in range(3)]
    crowd.known[cut] = crowd.known[cut]._replace(address="")
    crowd.known[other] = crowd.known[other]._replace(inode=1)
    del crowd.known[unknown]
    assert crowd.idle() == []


def test_of_the_largest_crowd_the_oldest_or_the_newest_go_first():
    few = [(n, Seen(n, THERE, n)) for n in (1, 2)]
    many = [(n, Seen(n, HERE, n)) for n in (3, 4, 5)]
    assert [fd for fd, _ in of_crowds(few + many[::-1])] == [3, 4, 5, 1, 2]
    assert [fd for fd, _ in of_crowds(few + many, oldest=False)] == [5, 4, 3, 2, 1]
