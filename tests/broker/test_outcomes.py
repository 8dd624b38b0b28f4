"""Who hears what became of their commands, in which frame, and when."""

from __future__ import annotations

import pytest

from chatbroker.broker.allowance import DEFAULTS
from chatbroker.broker.brake import Brake
from chatbroker.broker.clock import TurnClock
from chatbroker.broker.counts import Counts
from chatbroker.broker.log import Log
from chatbroker.broker.outcomes import Outcomes
from chatbroker.broker.outgoing import Outgoing
from chatbroker.broker.session import Happening, Session
from chatbroker.broker.user import User
from chatbroker.wire.codec import FROM_BROKER, Decoder
from chatbroker.wire.errors import Code
from chatbroker.wire.messages import Ack, Error, Pong, Refusal, Run


class Office:
    """The outcomes of two sessions, and by which frames they are told."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.out = Outgoing(self.counts)
        brake = Brake(self.out, TurnClock())
        self.outcomes = Outcomes(self.out, brake, self.counts)
        self.alice, self.bob = self.session("alice"), self.session("bob")
        self._decode = Decoder(FROM_BROKER).decode

    def session(self, name: str) -> Session:
        user = User(name, b"p" * 32, Log(f"@{name}", b"mail-001"), 0, DEFAULTS)
        session = Session(name.encode().ljust(16), user, 1)
        session.identity = name.encode()
        return session

    def said(self, session: Session, count: int = 1) -> None:
        session.cseq += count
        self.outcomes.owed[session] = None

    def told(self, effects) -> list[tuple[str, list[object]]]:
        """To whom, and what, a frame each."""
        return [(each.identity.decode(), self._decode(each.frame)) for each in effects]


@pytest.fixture
def office():
    return Office()


def test_an_ack_goes_with_what_its_session_hears_anyway_and_behind_it(office):
    office.said(office.alice)
    office.said(office.bob, 2)
    office.out.reply(b"alice", Pong(1, ()))
    office.outcomes.join()
    assert office.told(office.out.take()) == [("alice", [Pong(1, ()), Ack(0, 1, ())])]
    assert [*office.outcomes.owed] == [office.bob]
    assert office.told(office.outcomes.tell()) == [("bob", [Ack(0, 2, ())])]
    assert office.outcomes.tell() == []
    assert not office.outcomes.owed


def test_whoever_is_about_to_hear_the_end_hears_the_ack_before_it_and_once(office):
    office.said(office.alice)
    for session in (office.alice, office.bob):
        office.outcomes.settle(session)
        office.out.reply(session.identity, Pong(1, ()))
    office.outcomes.join()
    assert office.told(office.out.take()) == [
        ("alice", [Ack(0, 1, ()), Pong(1, ())]),
        ("bob", [Pong(1, ())]),
    ]
    assert office.outcomes.tell() == []


def test_what_others_put_out_meanwhile_is_not_told_with_it(office):
    office.said(office.alice)
    office.out.reply(b"bob", Pong(1, ()))
    assert office.told(office.outcomes.tell()) == [("alice", [Ack(0, 1, ())])]
    assert office.told(office.out.take()) == [("bob", [Pong(1, ())])]


@pytest.mark.parametrize("heard", [False, True])
def test_who_is_not_there_any_more_hears_nothing(office, heard):
    office.said(office.alice)
    office.alice.happen(Happening.LOST)
    if heard:
        office.out.reply(b"alice", Pong(1, ()))
    office.outcomes.join()
    assert office.told(office.out.take()) == ([("alice", [Pong(1, ())])] if heard else [])
    assert office.outcomes.tell() == []


def test_a_complaint_comes_behind_the_ack(office):
    office.said(office.alice)
    assert office.outcomes.unheard(office.alice, 5, ("too far",)) == ()
    ((name, messages),) = office.told(office.outcomes.tell())
    assert (name, messages[0]) == ("alice", Ack(0, 1, ()))
    assert messages[1] == Error("out_of_order", "command 2 is expected next", 2)
    assert not office.outcomes.gaps


def test_of_what_is_said_again_the_outcome_is_told_again_and_the_rest_is_new(office):
    office.said(office.alice, 3)
    office.outcomes.tell()
    assert office.outcomes.unheard(office.alice, 2, ("two", "three", "four")) == ("four",)
    assert office.out.replies > 0  # What is owed counts as said.
    assert office.told(office.outcomes.tell()) == [("alice", [Ack(1, 3, ())])]


@pytest.mark.parametrize("away", [False, True])
def test_some_are_too_long_and_the_others_wait_only_for_who_is_away(office, away):
    office.said(office.alice, 3)
    office.outcomes.note(office.alice, 1, ("one", None, "three"), away=away)
    ((_, messages),) = office.told(office.outcomes.tell())
    (refusal,) = messages[0].refused
    assert (type(refusal), refusal[:3]) == (Refusal, (2, 2, "too_long"))
    assert messages[0].away == ((Run(1, 1), Run(3, 3)) if away else ())
    assert office.counts.refused == {"too_long": 1}


def test_what_is_refused_is_counted_one_by_one(office):
    office.said(office.alice, 4)
    office.outcomes.refuse(office.alice, 1, 4, Code.NO_SUCH_USER)
    assert office.counts.refused == {"no_such_user": 4}
