"""An operator's hand in the core: kick, ban, mute, announce, survey."""

from __future__ import annotations

import pytest

from chatbroker.broker.effects import Deliver
from chatbroker.broker.hand import LARGEST
from chatbroker.broker.outgoing import MOST_REPLIES
from chatbroker.broker.sanctions import Kind, Sanction
from chatbroker.broker.session import RUN_SIZE
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import WINDOW
from chatbroker.wire.messages import (
    Ack,
    Bye,
    Farewell,
    Notice,
    Ping,
    Presence,
    Refused,
    Run,
    Send,
    Welcome,
)

PRESENCE = b"presence\0"


@pytest.fixture
def hand(world):
    return world.broker.hand


@pytest.fixture
def sanctions(world):
    return world.broker._registry.sanctions


def on(kind, who, **more):
    return Sanction(kind, who, 0, **more)


# --- kick ---------------------------------------------------------------------------------


def test_who_is_kicked_is_told_why_and_may_come_back(world, hand):
    alice = world.joins("alice")
    bob = world.joins("bob")
    assert hand.kick("bob", Code.KICKED, "too loud") == 1
    world.turn()
    assert bob.hears() == [Farewell("kicked", "too loud")]
    assert world.hears(PRESENCE).of(Presence)[-1].on is False
    assert bob.echoes("hi").codes == ["no_session"]
    assert bob.joins("bob", session=b"another session.").of(Welcome)
    assert alice.sends("bob", "hi").of(Ack)


def test_all_sessions_of_a_user_end_and_no_other(world, hand):
    alice = world.joins("alice", claim=True, credential=b"a" * 16)
    again = world.joins("alice", credential=b"a" * 16)
    sender = world.joins("alice", credential=b"a" * 16, follows=())
    bob = world.joins("bob")
    assert hand.kick("alice", Code.KICKED, "words") == 3
    world.turn()
    for peer in (alice, again, sender):
        assert peer.hears().of(Farewell) == [Farewell("kicked", "words")]
    assert bob.hears().of(Farewell) == []


def test_one_whose_connection_is_gone_loses_the_name_too(world, hand):
    bob = world.joins("bob")
    world.loses(bob)
    assert hand.kick("bob", Code.KICKED, "words") == 1
    world.turn()
    assert world.joins("bob")


def test_a_claimed_name_stays_whose_it_is(world, hand):
    world.joins("bob", claim=True, credential=b"b" * 16)
    hand.kick("bob", Code.KICKED, "words")
    world.turn()
    assert world.connects().joins("bob").codes == ["name_claimed"]
    assert world.joins("bob", credential=b"b" * 16)


def test_who_is_kicked_is_away_to_what_is_said_in_the_same_turn(world, hand):
    alice = world.joins("alice")
    world.joins("bob", claim=True, credential=b"b" * 16)
    alice.posts(Send(1, "bob", ("hears it",)))
    world.begin()
    world.receive()
    hand.kick("bob", Code.KICKED, "words")
    alice.posts(Send(2, "bob", ("gets it later",)))
    world.receive()
    world.ends_turn()
    assert alice.hears().of(Ack) == [Ack(0, 2, away=(Run(2, 2),))]


def test_nobody_is_kicked_who_is_not_there(world, hand):
    assert hand.kick("bob", Code.KICKED, "words") == 0
    bob = world.joins("bob", claim=True, credential=b"b" * 16)
    bob.says(b"")
    world.passes(60)
    assert hand.kick("bob", Code.KICKED, "words") == 0


def test_what_was_said_before_the_kick_is_stored_and_acknowledged_before_the_farewell(world, hand):
    alice, bob = world.joins("alice"), world.joins("bob")
    bob.posts(bob.echo("last words"))
    world.begin()
    world.receive()
    hand.kick("bob", Code.KICKED, "words")
    world.ends_turn()
    assert bob.hears() == [Ack(0, 1, (), ()), Farewell("kicked", "words")]
    assert world.hears(b"echo\0").texts == ["last words"]
    assert alice.fetches("echo").texts == ["last words"]


def test_who_is_kicked_hears_again_what_became_of_commands_and_is_not_known_to_be_heard(
    world, hand
):
    """It cannot ask any more."""
    bob = world.joins("bob")
    bob.echoes("one")
    bob.pings()
    bob.echoes("two")
    bob.echoes("three")  # The ACKs of both are lost on the way.
    bob.frames.clear()
    hand.kick("bob", Code.KICKED, "words")
    world.turn()
    assert bob.hears() == [Ack(1, 3, (), ()), Farewell("kicked", "words")]


def test_one_that_comes_back_is_not_held_to_know_what_it_said_that_it_knows(world, hand):
    """It may be a program that kept less."""
    bob = world.joins("bob")
    bob.echoes("one")
    bob.pings()
    again = world.returns(bob)
    hand.kick("bob", Code.KICKED, "words")
    world.turn()
    assert again.hears() == [Ack(0, 1, (), ()), Farewell("kicked", "words")]


def test_who_is_kicked_when_enough_was_told_hears_so_and_what_became_of_commands(world, hand):
    bob = world.joins("bob")
    world.begin()
    world.broker._out.put(bob.identity, b"\xc0" * MOST_REPLIES)
    bob.posts(bob.echo("last words"))
    world.receive()
    hand.kick("bob", Code.KICKED, "words")
    *_, last = [effect for effect in world.broker.commit() if type(effect) is Deliver]
    told = world.decoder.decode(last.frame.lstrip(b"\xc0"))
    assert told == [Ack(0, 1, (), ()), Farewell("kicked", "words")]


def test_sessions_end_by_their_connections(world, hand):
    alice, bob = world.joins("alice"), world.joins("bob")
    stranger = world.connects()
    expelled = [bob.identity, stranger.identity, b"nobody"]
    assert hand.expel(expelled, Code.BANNED, "this key is banned") == 1
    world.turn()
    assert bob.hears() == [Farewell("banned", "this key is banned")]
    assert alice.hears() == []
    assert stranger.hears() == []


# --- ban ----------------------------------------------------------------------------------


def test_a_banned_name_is_refused_to_everybody(world, sanctions):
    sanctions.impose(on(Kind.BAN, "bob", reason="spam"))
    for name in ("bob", "BOB"):
        heard = world.connects().joins(name)
        assert heard == [Refused("banned", "'bob' is banned (spam)")]
    assert world.joins("alice")
    assert world.joins("")
    sanctions.lift(Kind.BAN, "bob")
    assert world.joins("bob")


def test_a_session_does_not_come_back_to_a_banned_name(world, sanctions):
    bob = world.joins("bob")
    world.loses(bob)
    sanctions.impose(on(Kind.BAN, "bob"))
    again = world.connects()
    again.name, again.session = "bob", bob.session
    assert again.joins().codes == ["banned"]


def test_one_who_waits_for_the_name_does_not_get_it(world, sanctions, hand):
    bob = world.joins("bob")
    waiting = world.connects()
    bob.reachable = False
    waiting.posts(waiting.hello("bob"))
    world.turn()
    sanctions.impose(on(Kind.BAN, "bob"))
    hand.kick("bob", Code.BANNED, "words")
    world.turn()
    assert waiting.hears().codes == ["banned"]


def test_mail_for_a_claimed_name_that_is_banned_is_kept(world, sanctions, hand):
    world.joins("bob", claim=True, credential=b"b" * 16)
    alice = world.joins("alice")
    sanctions.impose(on(Kind.BAN, "bob"))
    hand.kick("bob", Code.BANNED, "words")
    world.turn()
    (ack,) = alice.sends("bob", "for later").of(Ack)
    assert (ack.refused, len(ack.away)) == ((), 1)


def test_refusals_are_noted_with_name_and_code(world, sanctions):
    sanctions.impose(on(Kind.BAN, "bob"))
    world.connects().joins("bob")
    world.connects().joins("what somebody wanted to say")
    world.joins("alice")
    world.connects().joins("alice")
    world.turn()
    noted = [fields for what, fields in world.notes if what == "refused"]
    assert noted == [
        {"code": "banned", "user": "bob", "address": "127.0.0.1"},
        {"code": "bad_name", "user": "", "address": "127.0.0.1"},
        {"code": "name_taken", "user": "alice", "address": "127.0.0.1"},
    ]


def test_a_claim_that_lapsed_is_noted(world_with):
    world = world_with(claim_ttl=30.0)
    bob = world.joins("bob", claim=True, credential=b"b" * 16)
    world.passes(200)
    assert ("claim_lapsed", {"user": "bob"}) in world.notes
    assert world.notes.count(("claim_lapsed", {"user": "bob"})) == 1
    assert bob


@pytest.mark.parametrize(
    "ends",
    [
        lambda hand, bob: hand.kick("bob", Code.KICKED, "too loud"),
        lambda hand, bob: hand.expel([bob.identity], Code.BANNED, "banned"),
        lambda hand, bob: hand.release("bob"),
    ],
    ids=["kicked", "expelled", "released"],
)
def test_for_who_is_no_more_nothing_is_accepted_in_the_same_turn(world, hand, ends):
    """It would be acknowledged, and in nobody's mailbox."""
    alice, bob = world.joins("alice"), world.joins("bob")
    alice.posts(alice.send("bob", "one"))
    world.begin()
    world.receive()
    ends(hand, bob)
    alice.posts(alice.send("bob", "two"))
    world.receive()
    world.ends_turn()
    (ack,) = alice.hears().of(Ack)
    assert [(one.first, one.last, one.code) for one in ack.refused] == [(2, 2, "no_such_user")]


# --- mute ---------------------------------------------------------------------------------


def test_a_muted_user_hears_and_does_not_speak(world, sanctions):
    alice, bob = world.joins("alice"), world.joins("bob")
    sanctions.impose(on(Kind.MUTE, "bob"))
    assert bob.echoes("hi").codes == ["muted"]
    assert bob.sends("alice", "hi").codes == ["muted"]
    assert alice.hears() == []
    alice.sends("bob", "hush")
    assert bob.hears().texts == ["hush"]
    sanctions.lift(Kind.MUTE, "bob")
    assert bob.sends("alice", "sorry").codes == []
    assert alice.hears().texts == ["sorry"]


def test_a_refusal_for_a_mute_is_final(world, sanctions):
    bob = world.joins("bob")
    sanctions.impose(on(Kind.MUTE, "bob"))
    bob.echoes("hi")
    sanctions.lift(Kind.MUTE, "bob")
    # It asks again for the outcome, and says it again, as after a lost ACK.
    assert bob.pings(resolved=0).codes == ["muted"]
    world.loses(bob)
    again = world.returns(bob)
    again.cseq = 0
    assert again.echoes("hi").codes == ["muted"]
    assert world.hears(b"echo\0").texts == []


def test_what_was_said_in_the_turn_before_the_mute_is_said(world, sanctions, hand):
    bob = world.joins("bob")
    bob.posts(bob.echo("one"))
    world.begin()
    world.receive()
    sanctions.impose(on(Kind.MUTE, "bob"))
    hand.notify("bob", Code.MUTED, "words")
    bob.posts(bob.echo("two"))
    world.receive()
    world.ends_turn()
    heard = bob.hears()
    assert Notice("muted", "words") in heard
    assert heard.codes == ["muted", "muted"]
    assert world.hears(b"echo\0").texts == ["one"]


def test_a_flood_of_a_muted_user_takes_no_room(world, sanctions):
    bob = world.joins("bob")
    sanctions.impose(on(Kind.MUTE, "bob"))
    for _ in range(3):
        bob.says(*[bob.echo("x") for _ in range(WINDOW)], Ping(1, bob.cseq, bob.cseq, ()))
    (session,) = world.broker._registry.sessions.values()
    assert session.outcomes_size <= 2 * RUN_SIZE
    assert world.broker.counts.batches.total == 0


# --- what is told -------------------------------------------------------------------------


def test_an_announcement_reaches_every_session_at_once(world, hand):
    alice = world.joins("alice")
    observer = world.joins("")
    stranger = world.connects()
    world.perform(hand.announce("back soon"))
    assert alice.hears() == [Notice("announcement", "back soon")]
    assert observer.hears() == [Notice("announcement", "back soon")]
    assert stranger.hears() == []


def test_a_survey_counts_what_there_is(world, hand):
    world.joins("alice", claim=True, credential=b"a" * 16)
    bob = world.joins("bob", claim=True, credential=b"b" * 16)
    sender = world.joins("carol", follows=())
    sender.sends("bob", "one")
    sender.sends("bob", "two")
    sender.sends("alice", "one")
    world.loses(bob)
    world.turn()
    found = hand.survey()
    assert (found.known, found.on, found.claimed) == (3, 2, 2)
    assert (found.live, found.gone, found.lapsed) == (2, 1, 0)
    assert found.unread == 3
    assert found.lagging == [("bob", 2), ("alice", 1)]
    assert found.waiting == 0
    assert world.broker.counts.batches.total == 3


def test_what_was_read_is_not_surveyed_as_unread(world, hand):
    bob = world.joins("bob")
    sender = world.joins("carol", follows=())
    for text in ("one", "two", "three"):
        sender.sends("bob", text)
    bob.pings(read=2)
    assert (hand.survey().unread, hand.survey().lagging) == (1, [("bob", 1)])
    bob.pings(read=3)
    assert (hand.survey().unread, hand.survey().lagging) == (0, [])


def test_what_was_pushed_and_not_confirmed_is_surveyed(world, hand):
    alice = world.joins("alice")
    world.joins("bob", follows=()).sends("alice", "x" * 100)
    found = hand.survey()
    assert found.unconfirmed > 100
    assert found.slow == [("alice", found.unconfirmed)]
    alice.says(Ping(1, 0, 0, ()))
    assert (hand.survey().unconfirmed, hand.survey().slow) == (0, [])


def test_who_waits_for_a_name_is_surveyed(world, hand):
    world.joins("alice")
    other = world.connects()
    assert not other.joins("alice")
    assert hand.survey().waiting == 1
    world.turn()
    assert other.hears().codes == ["name_taken"]
    assert hand.survey().waiting == 0


def test_only_the_largest_mailboxes_are_named(world, hand):
    world.crowd(LARGEST + 5)
    sender = world.joins("carol", follows=())
    for number in range(LARGEST + 5):
        sender.says(*[sender.send(f"user{number:04}", "x") for _ in range(number)])
    found = hand.survey()
    assert len(found.lagging) == LARGEST
    assert found.lagging[0] == (f"user{LARGEST + 4:04}", LARGEST + 4)
    assert found.unread == sum(range(LARGEST + 5))


def test_a_claim_lapses_by_the_time_that_was_set_last(world, hand):
    world.joins("bob", claim=True, credential=b"b" * 16)
    world.passes(60)
    assert world.connects().joins("bob").codes == ["name_claimed"]
    hand.adjust(claim_ttl=10.0)
    world.passes(60)
    assert world.joins("bob")


def test_names_are_listed_by_how_they_begin(world, hand):
    world.joins("alina", claim=True, credential=b"a" * 16).says(Bye())
    for name in ("bob", "alice"):
        world.joins(name)
    world.joins("albert", follows=())
    assert hand.names("", False, 9) == (["albert", "alice", "alina", "bob"], False)
    assert hand.names("al", True, 9) == (["albert", "alice"], False)
    assert hand.names("al", False, 2) == (["albert", "alice"], True)
    assert hand.names("al", False, 3) == (["albert", "alice", "alina"], False)
    assert hand.names("x", False, 2) == ([], False)
