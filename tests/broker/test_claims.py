"""Names that stay their users': who gets them, what waits for who is away.

How a claim lapses is in test_claims_lapsing.py.

``replaces`` is here too: the session that a client knows to be dead.  What of all this comes
back when the broker is started again is in test_restarts.py.
"""

from __future__ import annotations

import pytest
from claimants import KEY, LEASE, OTHER_KEY, REPLACED, UNREAD, asks, claims, leaves, on, presence

from chatbroker.broker.allowance import Allowance
from chatbroker.wire.messages import (
    Ack,
    Batch,
    Bye,
    Farewell,
    Fetched,
    Info,
    Ping,
    Pong,
    Presence,
    Refusal,
    Refused,
    Run,
    Welcome,
)

# --- whose the name is --------------------------------------------------------------------


def test_a_claimed_name_stays_its_users_when_they_leave(world):
    leaves(claims(world))
    words = "name 'alice' is claimed by somebody who is away"
    assert asks(world) == [Refused("name_claimed", words)]
    assert asks(world, "ALICE", credential=OTHER_KEY) == [Refused("name_claimed", words)]
    assert asks(world, credential=OTHER_KEY, claim=True) == [Refused("name_claimed", words)]


def test_a_claimed_name_stays_its_users_when_they_lapse(world):
    claims(world)
    world.passes(LEASE + 1.0)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]


def test_a_claimed_name_stays_its_users_when_nothing_of_their_sessions_is_left(world):
    claims(world, follows=())
    world.passes(LEASE + 3700.0)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]


def test_who_is_here_has_the_name(world):
    alice = claims(world)
    assert asks(world) == [Refused("name_taken", "name 'alice' is taken")]
    assert asks(world, credential=OTHER_KEY) == [Refused("name_taken", "name 'alice' is taken")]
    # Nobody can get it, so nobody is to wait, and its owner is not asked for a sign of life.
    assert alice.hears() == []


def test_nobody_waits_for_a_claimed_name_whose_owner_may_be_gone(world):
    alice = claims(world)
    world.loses(alice)
    assert [refused.code for refused in asks(world)] == ["name_taken"]
    assert not world.broker._door.waiting


def test_a_borrowed_name_is_free_when_its_user_leaves(world):
    leaves(world.joins("alice", credential=KEY))
    (welcome,) = asks(world)
    assert type(welcome) is Welcome


def test_the_owner_is_let_in_at_once(world):
    alice = claims(world)
    leaves(alice)
    again = world.connects()
    (welcome,) = again.joins("alice", credential=KEY)
    assert (welcome.credential, welcome.cseq) == (KEY, 0)
    assert again.epoch("direct") == alice.epoch("direct")


def test_the_owner_is_let_in_at_once_after_a_lapse(world):
    alice = claims(world, exclusive=True)
    world.passes(LEASE + 1.0)
    again = world.connects()
    (welcome,) = again.joins("alice", credential=KEY, exclusive=True)
    assert again.epoch("direct") == alice.epoch("direct")
    assert welcome.born == 1


def test_whoever_has_a_credential_from_the_broker_may_claim_with_it(world):
    alice = world.joins("alice")
    key = alice.welcome.credential
    claims(world, credential=key, follows=())
    leaves(alice)
    world.passes(LEASE + 1.0)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]
    assert asks(world, credential=key)[0].credential == key


def test_a_client_with_a_key_of_its_own_loses_nothing_with_its_welcome(world):
    """The first HELLO claimed, and nobody heard the answer."""
    lost = world.connects()
    lost.posts(lost.hello("alice", credential=KEY, claim=True, exclusive=True))
    world.turn()
    world.loses(lost)
    assert asks(world, credential=KEY, claim=True, exclusive=True)[0].name == "alice"


def test_once_claimed_a_name_stays_claimed(world):
    leaves(claims(world))
    leaves(world.joins("alice", credential=KEY, claim=False))
    assert [refused.code for refused in asks(world)] == ["name_claimed"]


def test_a_session_may_claim_when_it_comes_back(world):
    alice = world.joins("alice", credential=KEY)
    again = world.returns(alice, credential=KEY, claim=True)
    assert again.resumed
    leaves(again)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]


def test_who_is_refused_claims_nothing(world):
    alice = world.joins("alice", credential=KEY)
    assert [m.code for m in asks(world, credential=OTHER_KEY, claim=True)] == ["name_taken"]
    leaves(alice)
    assert type(asks(world)[0]) is Welcome


def test_an_owner_who_claims_and_is_refused_has_not_claimed(world):
    alice = world.joins("alice", credential=KEY, exclusive=True)
    heard = asks(world, credential=KEY, claim=True, exclusive=True)
    assert [refused.code for refused in heard] == ["already_joined"]
    leaves(alice)
    assert type(asks(world)[0]) is Welcome


def test_an_observer_has_nothing_to_claim(world):
    observer = world.joins("", claim=True, credential=KEY)
    assert observer.welcome.credential == b""
    leaves(observer)
    assert world.joins("").welcome.name == ""


def test_the_empty_credential_proves_nothing(world):
    leaves(claims(world, credential=b""))
    assert [refused.code for refused in asks(world, credential=b"")] == ["name_claimed"]


# --- what waits for who is away -----------------------------------------------------------


def test_what_is_said_to_who_is_away_is_there_when_they_return(world):
    alice, bob = claims(world), world.joins("bob")
    leaves(alice)
    assert bob.sends("Alice", "call me").of(Ack) == [Ack(0, 1, (), (Run(1, 1),))]
    again = world.joins("alice", credential=KEY, follows=(UNREAD,))
    (reading,) = again.welcome.readings
    assert (reading.start, reading.head) == (0, 1)
    heard = again.fetches("direct", after=reading.start)
    assert heard.texts == ["call me"]
    assert heard.of(Fetched)[0].head == 1


def test_who_lapsed_or_has_only_one_shots_is_away_too(world):
    alice, bob = claims(world), world.joins("bob")
    world.passes(LEASE + 1.0, alive=[bob])
    assert bob.sends("alice", "one").of(Ack)[0].away == (Run(1, 1),)
    sender = world.joins("alice", credential=KEY, follows=())
    assert bob.sends("alice", "two").of(Ack)[0].away == (Run(2, 2),)
    leaves(sender)
    assert alice.joins(credential=KEY, follows=(UNREAD,)).of(Welcome)
    assert alice.fetches("direct").texts == ["one", "two"]


def test_who_is_here_or_may_be_is_not_away(world):
    alice, bob = claims(world), world.joins("bob")
    assert bob.sends("alice", "one").of(Ack) == [Ack(0, 1, ())]
    assert alice.hears().texts == ["one"]
    world.loses(alice)
    assert bob.sends("alice", "two").of(Ack) == [Ack(1, 2, ())]


def test_unread_is_what_was_not_confirmed(world):
    alice, bob = claims(world), world.joins("bob")
    bob.sends("alice", "one")
    bob.sends("alice", "two")
    # The last word about it may come with the goodbye.
    alice.says(Ping(1, 0, 0, (alice_cursor(alice, 1),)), Bye())
    bob.sends("alice", "three")
    again = world.joins("alice", credential=KEY, follows=(UNREAD,))
    assert again.welcome.readings[0].start == 1
    assert again.fetches("direct", after=1).texts == ["two", "three"]


def alice_cursor(alice, position):
    return ("direct", alice.epoch("direct"), position)


def test_of_one_frame_the_unknown_is_refused_and_the_absent_is_told_apart(world):
    alice, bob = claims(world), world.joins("bob")
    leaves(alice)
    commands = [
        *(bob.send("alice", "one"), bob.send("alice", "two")),
        *(bob.send("nobody", "three"), bob.send("nobody", "four")),
        *(bob.echo("five"), bob.send("alice", "six"), bob.send("bob", "seven")),
    ]
    nobody = ("no_such_user", "no such user")
    assert bob.says(*commands).of(Ack) == [
        Ack(0, 7, (Refusal(3, 4, *nobody),), (Run(1, 2), Run(6, 6)))
    ]
    assert bob.pings(resolved=0).of(Ack) == [
        Ack(0, 7, (Refusal(3, 4, *nobody),), (Run(1, 2), Run(6, 6)))
    ]
    assert bob.pings(resolved=1).of(Ack)[0].away == (Run(2, 2), Run(6, 6))


def test_what_is_too_long_is_refused_also_for_who_is_away(world):
    alice, bob = claims(world), world.joins("bob")
    leaves(alice)
    said = bob.send("alice", "one")._replace(texts=("one", "x" * 16385, "three"))
    (ack,) = bob.says(said).of(Ack)
    assert [(refusal.first, refusal.last, refusal.code) for refusal in ack.refused] == [
        (2, 2, "too_long")
    ]
    assert ack.away == (Run(1, 1), Run(3, 3))


def test_who_returns_within_a_turn_is_away_for_what_was_said_before(world):
    alice, bob = claims(world), world.joins("bob")
    leaves(alice)
    again = world.connects()
    bob.posts(bob.send("alice", "before"))
    again.posts(again.hello("alice", credential=KEY))
    bob.posts(bob.send("alice", "after"))
    world.turn()
    assert bob.hears().of(Ack) == [Ack(0, 2, (), (Run(1, 1),))]
    assert again.hears().texts == ["before", "after"]


def test_who_leaves_within_a_turn_is_away_for_what_is_said_after(world):
    alice, bob = claims(world), world.joins("bob")
    bob.posts(bob.send("alice", "before"))
    alice.posts(Bye())
    bob.posts(bob.send("alice", "after"))
    world.turn()
    assert bob.hears().of(Ack) == [Ack(0, 2, (), (Run(2, 2),))]


def test_mail_of_who_borrows_a_name_goes_with_them(world):
    alice, bob = world.joins("alice", credential=KEY), world.joins("bob")
    bob.sends("alice", "secret")
    leaves(alice)
    assert bob.sends("alice", "too late").codes == ["no_such_user"]
    again = world.joins("alice", credential=KEY, follows=(UNREAD,))
    assert again.welcome.readings[0].head == 0
    assert again.epoch("direct") != alice.epoch("direct")


def test_a_note_to_self_of_who_is_not_on_is_kept(world):
    sender = claims(world, follows=())
    assert sender.sends("alice", "milk").of(Ack) == [Ack(0, 1, (), (Run(1, 1),))]
    leaves(sender)
    again = world.joins("alice", credential=KEY, follows=(UNREAD,))
    assert again.fetches("direct").texts == ["milk"]


# --- who is on ----------------------------------------------------------------------------


def test_who_is_away_is_not_listed_and_comes_and_leaves_as_anybody(world):
    bob = world.joins("bob")
    alice = claims(world)
    assert on(bob) == ["alice", "bob"]
    leaves(alice)
    assert on(bob) == ["bob"]
    world.joins("alice", credential=KEY)
    assert on(bob) == ["alice", "bob"]
    assert presence(world) == [("bob", True), ("alice", True), ("alice", False), ("alice", True)]


def test_who_only_sends_is_not_announced(world):
    leaves(claims(world, follows=()))
    assert presence(world) == []


def test_that_a_claim_lapses_is_announced_to_nobody(world_with):
    world = world_with(claim_ttl=60.0)
    leaves(claims(world))
    presence(world)
    world.passes(100.0)
    assert presence(world) == []
    assert asks(world)[0].name == "alice"


# --- a session known to be dead -----------------------------------------------------------


def test_a_session_known_to_be_dead_is_over(world):
    dead = claims(world, exclusive=True)
    following = world.connects()
    (welcome,) = following.joins(
        "alice", credential=KEY, exclusive=True, claim=True, replaces=dead.session
    )
    assert (welcome.born, welcome.cseq) == (1, 0)
    assert dead.hears() == [Farewell("replaced", REPLACED)]
    assert dead.echoes("still here?").codes == ["no_session"]
    assert following.echoes("hello").of(Ack) == [Ack(0, 1, ())]


def test_the_user_of_a_session_that_is_replaced_does_not_leave(world):
    dead = world.joins("alice", credential=KEY, exclusive=True)
    presence(world)
    world.joins("alice", credential=KEY, exclusive=True, replaces=dead.session)
    assert presence(world) == []
    assert on(world.joins("")) == ["alice"]


def test_a_borrowed_name_and_its_mail_pass_to_who_replaces(world):
    dead, bob = world.joins("alice", credential=KEY), world.joins("bob")
    bob.sends("alice", "one")
    following = world.joins("alice", credential=KEY, replaces=dead.session, follows=(UNREAD,))
    assert following.fetches("direct").texts == ["one"]
    leaves(following)
    assert asks(world)[0].name == "alice"


def test_who_replaces_and_does_not_follow_is_not_on(world):
    dead = claims(world)
    presence(world)
    world.joins("alice", credential=KEY, replaces=dead.session, follows=())
    assert presence(world) == [("alice", False)]


@pytest.mark.parametrize("how", ["lost", "lapsed"])
def test_a_session_that_is_gone_or_lapsed_is_replaced_too(world, how):
    dead = claims(world, exclusive=True)
    dead.echoes("one")
    if how == "lost":
        world.loses(dead)
    else:
        world.passes(LEASE + 1.0)
    world.joins("alice", credential=KEY, exclusive=True, replaces=dead.session)
    # Its id is unknown: it would make another session, beside which there is an exclusive one.
    back = world.connects()
    back.name, back.session = "alice", dead.session
    back.joins(credential=KEY, exclusive=False)
    assert not back.resumed
    world.passes(4000.0)


def test_what_is_dead_is_not_resumed_beside_who_replaced_it(world):
    dead = claims(world, exclusive=True)
    world.joins("alice", credential=KEY, exclusive=True, replaces=dead.session)
    back = world.connects()
    back.posts(back.hello("alice", session=dead.session, credential=KEY, exclusive=True))
    world.turn()
    world.turn()
    assert back.hears().codes == ["already_joined"]


def test_who_replaces_does_not_end_a_third(world):
    third = claims(world)
    dead = world.joins("alice", credential=KEY, exclusive=True)
    world.joins("alice", credential=KEY, exclusive=True, replaces=dead.session)
    assert third.hears() == []
    assert third.echoes("still here").of(Ack) == [Ack(0, 1, ())]


def test_who_is_refused_for_a_third_replaces_nobody(world):
    dead, third = claims(world), world.joins("alice", credential=KEY, exclusive=True)
    heard = asks(world, credential=KEY, exclusive=True, replaces=dead.session)
    assert [refused.code for refused in heard] == ["already_joined"]
    assert dead.hears() == []
    assert dead.echoes("still here").of(Ack) == [Ack(0, 1, ())]
    assert third.echoes("me too").of(Ack) == [Ack(0, 1, ())]


def test_who_waits_for_a_third_replaces_when_let_in(world):
    dead, third = claims(world), world.joins("alice", credential=KEY, exclusive=True)
    third.reachable = False
    heir = world.connects()
    heir.posts(heir.hello("alice", credential=KEY, exclusive=True, replaces=dead.session))
    world.turn()
    assert dead.hears() == []
    world.turn()
    assert heir.hears().of(Welcome)
    assert dead.hears() == [Farewell("replaced", REPLACED)]


@pytest.mark.parametrize("credential", [b"", OTHER_KEY])
def test_who_cannot_prove_to_be_the_user_replaces_nothing(world, credential):
    alice = claims(world, exclusive=True)
    heard = asks(world, credential=credential, exclusive=True, replaces=alice.session)
    assert [refused.code for refused in heard] == ["name_taken"]
    assert alice.hears() == []
    assert alice.echoes("still here").of(Ack) == [Ack(0, 1, ())]


def test_a_borrowed_name_is_not_got_by_replacing_its_holder(world):
    alice = world.joins("alice")
    heard = asks(world, credential=OTHER_KEY, replaces=alice.session)
    assert [refused.code for refused in heard] == ["name_taken"]
    assert alice.echoes("still here").of(Ack) == [Ack(0, 1, ())]


def test_nobody_replaces_another_users_session_or_an_observer(world):
    bob, observer = world.joins("bob"), world.joins("")
    for victim in (bob, observer):
        world.joins("alice", credential=KEY, replaces=victim.session)
        assert victim.hears() == []
        assert victim.says(Info(1, ""))[0].users
    watcher = world.joins("", credential=KEY, replaces=observer.session)
    assert observer.says(Info(1, ""))[0].users
    assert watcher.says(Info(1, ""))[0].users


def test_to_replace_who_is_unknown_is_to_replace_nobody(world):
    claims(world, replaces=b"nobody's session")
    alice = world.joins("alice", credential=KEY, replaces=b"nobody's session")
    assert alice.echoes("hello").of(Ack) == [Ack(0, 1, ())]


@pytest.mark.parametrize("times", [1, 2])
def test_nobody_replaces_oneself(world, times):
    alice = world.connects()
    for _ in range(times):
        alice.joins("alice", credential=KEY, replaces=alice.session)
        assert alice.hears() == []
    assert alice.echoes("hello").of(Ack) == [Ack(0, 1, ())]
    assert alice.pings().of(Pong)
    assert on(alice) == ["alice"]
    leaves(alice)


def test_nobody_replaces_oneself_beside_another(world):
    claims(world)
    alice = world.connects()
    alice.joins("alice", credential=KEY, replaces=alice.session)
    assert alice.echoes("hello").of(Ack) == [Ack(0, 1, ())]
    leaves(alice)


def test_hello_that_is_repeated_replaces_once(world):
    dead = claims(world, exclusive=True)
    heir = world.connects()
    how = {"credential": KEY, "exclusive": True, "replaces": dead.session}
    assert heir.joins("alice", **how).of(Welcome)
    assert heir.joins("alice", **how).of(Welcome)
    assert world.returns(heir, **how).resumed
    assert dead.hears() == [Farewell("replaced", REPLACED)]


def test_who_said_hello_on_the_same_connection_has_ended_what_it_replaces(world):
    alice = claims(world, exclusive=True)
    dead = alice.session
    (welcome,) = alice.joins(
        session=b"the second one..", credential=KEY, exclusive=True, replaces=dead
    )
    assert type(welcome) is Welcome
    assert alice.hears() == []
    assert alice.echoes("hello").of(Ack) == [Ack(0, 1, ())]


def test_what_the_dead_said_in_the_turn_stays_said(world):
    dead, bob = claims(world, exclusive=True), world.joins("bob")
    heir = world.connects()
    dead.posts(dead.send("bob", "last words"))
    heir.posts(heir.hello("alice", credential=KEY, exclusive=True, replaces=dead.session))
    dead.posts(dead.send("bob", "from the grave"))
    world.turn()
    assert bob.hears().texts == ["last words"]
    assert dead.hears().codes == ["replaced", "no_session"]


def test_what_is_replaced_may_be_the_one_that_makes_room(world):
    """A user has so many sessions; of those that lapsed, the oldest goes when one more comes."""
    dead = claims(world)
    dead.echoes("one")
    world.passes(LEASE + 1.0)
    for _ in range(Allowance().sessions - 1):
        world.joins("alice", credential=KEY, follows=())
    heir = world.joins("alice", credential=KEY, replaces=dead.session)
    assert heir.echoes("hello").of(Ack) == [Ack(0, 1, ())]


def test_who_has_all_sessions_there_may_be_replaces_one(world):
    dead = claims(world)
    for _ in range(Allowance().sessions - 1):
        world.joins("alice", credential=KEY, follows=())
    assert [m.code for m in asks(world, credential=KEY)] == ["broker_full"]
    (welcome,) = asks(world, credential=KEY, replaces=dead.session)
    assert type(welcome) is Welcome


# --- an operator's word -------------------------------------------------------------------


def test_an_operator_frees_a_claimed_name(world):
    leaves(claims(world))
    assert world.broker.hand.release("alice")
    world.turn()
    assert asks(world)[0].credential != KEY


def test_an_operator_frees_a_name_in_use(world):
    alice, bob = claims(world), world.joins("bob")
    second = world.joins("alice", credential=KEY, follows=())
    presence(world)
    assert world.broker.hand.release("alice")
    world.turn()
    for peer in (alice, second):
        (farewell,) = peer.hears()
        assert (farewell.code, "released" in farewell.words) == ("kicked", True)
        assert peer.echoes("hello").codes == ["no_session"]
    assert presence(world) == [("alice", False)]
    assert on(bob) == ["bob"]
    assert asks(world)[0].name == "alice"


def test_what_was_said_to_a_released_name_in_the_turn_is_nobodys(world):
    alice, bob = claims(world), world.joins("bob")
    bob.posts(bob.send("alice", "before"))
    world.begin()
    world.receive()
    world.broker.hand.release("alice")
    bob.posts(bob.send("alice", "after"))
    world.receive()
    world.ends_turn()
    assert bob.hears().of(Ack) == [Ack(0, 2, (Refusal(2, 2, "no_such_user", "no such user"),))]
    assert alice.hears().of(Batch) == []
    assert world.joins("alice", follows=(UNREAD,)).welcome.readings[0].head == 0


def test_a_released_name_goes_to_who_waits_for_it(world):
    alice = world.joins("alice")
    world.loses(alice)
    heir = world.connects()
    heir.posts(heir.hello("alice"))
    world.turn()
    assert heir.hears().of(Welcome) == []
    world.broker.hand.release("alice")
    world.turn()
    assert heir.hears().of(Welcome)


def test_a_name_of_nobodys_is_not_released(world):
    assert not world.broker.hand.release("alice")
    world.joins("bob")
    assert not world.broker.hand.release("alice")
    world.turn()
    assert on(world.joins("")) == ["bob"]


# --- a crowd ------------------------------------------------------------------------------


def test_there_are_so_many_names_and_no_more(world_with):
    world = world_with(most_users=2)
    leaves(claims(world))
    bob = world.joins("bob")
    assert asks(world, "carol") == [Refused("broker_full", "the broker cannot take more names")]
    assert world.joins("alice", credential=KEY)
    assert world.joins("")
    leaves(bob)
    assert asks(world, "carol")[0].name == "carol"


def test_who_borrowed_a_name_and_lapsed_makes_room_for_the_next_who_wants_it(world_with):
    world = world_with(most_users=1)
    alice = world.joins("alice")
    alice.echoes("one")
    world.passes(LEASE + 1.0)
    assert asks(world)[0].name == "alice"


@pytest.mark.parametrize("away", [True, False])
def test_an_owner_gets_in_through_a_hostile_crowd(world, away):
    alice = claims(world, exclusive=True)
    if away:
        leaves(alice)
    else:
        alice.reachable = False
    again = world.connects()
    for _ in range(10):
        crowd = [world.connects() for _ in range(20)]
        for peer in crowd:
            peer.posts(peer.hello("alice", credential=OTHER_KEY, claim=True))
        again.posts(again.hello("alice", credential=KEY, exclusive=True))
        for peer in crowd:
            peer.posts(peer.hello("alice", replaces=alice.session, exclusive=True))
        world.turn()
        for peer in crowd:
            assert set(peer.hears().codes) <= {"name_claimed", "name_taken"}
        if again.hears().of(Welcome):
            break
        assert not away
    assert again.echoes("here I am").of(Ack) == [Ack(0, 1, ())]


def test_a_crowd_that_asks_for_a_claimed_name_is_no_flood_for_its_owner(world):
    alice, mallory = claims(world), world.connects()
    for number in range(500):
        mallory.posts(mallory.hello("alice", session=number.to_bytes(16, "big")))
    world.turn()
    assert alice.hears() == []


def test_presence_of_a_crowd_that_claims_tells_each_once(world):
    for name in ("alice", "bob", "carol"):
        leaves(claims(world, name))
    heard = world.hears(b"presence\0")
    assert [message.on for message in heard] == [True, False] * 3
    assert all(type(message) is Presence for message in heard)


# --- what one said oneself ----------------------------------------------------------------


def test_what_one_said_oneself_is_not_unread(world):
    world.joins("bob", claim=True)
    alice = world.joins("alice", credential=b"k" * 16, claim=True, follows=())
    alice.sends("bob", "a question")
    reader = world.connects()
    reader.joins("alice", credential=b"k" * 16, follows=[UNREAD])
    assert reader.welcome.readings[0].start == 1


def test_what_one_said_between_unread_mail_is_seen_in_its_place(world):
    bob = world.joins("bob")
    alice = world.joins("alice", credential=b"k" * 16, claim=True, follows=())
    bob.sends("alice", "an answer")
    alice.sends("bob", "a question")
    reader = world.connects()
    reader.joins("alice", credential=b"k" * 16, follows=[UNREAD])
    assert reader.welcome.readings[0].start == 0


def test_a_note_to_oneself_is_mail(world):
    alice = world.joins("alice", credential=b"k" * 16, claim=True, follows=())
    alice.sends("alice", "milk")
    reader = world.connects()
    reader.joins("alice", credential=b"k" * 16, follows=[UNREAD])
    assert reader.welcome.readings[0].start == 0


def test_claims_leave_room_for_those_who_need_a_name_for_a_moment(world_with):
    world = world_with(most_claims=2, most_users=4)
    for name in ("alice", "bob"):
        world.joins(name, claim=True)
    heard = world.connects().joins("carol", claim=True)
    assert heard.codes == ["broker_full"]
    world.joins("carol")
    world.joins("dora")
    assert world.connects().joins("eve").codes == ["broker_full"]


def test_a_newcomer_who_is_refused_takes_nothing_from_who_borrowed_the_name(world_with):
    """Bob has lapsed, and what was sent to him was acknowledged."""
    world = world_with(most_claims=1)
    alice = world.joins("alice", claim=True)
    bob = world.joins("bob")
    world.loses(bob)
    assert alice.sends("bob", "hi").of(Ack) == [Ack(0, 1, (), ())]
    world.passes(5.0, alive=[alice])
    assert world.connects().joins("bob", claim=True).codes == ["broker_full"]
    again = world.returns(bob)
    assert again.resumed
    assert [
        event.text for batch in again.fetches("direct", 0).of(Batch) for event in batch.events
    ] == ["hi"]


def test_a_claim_that_ended_makes_room_for_another(world_with):
    world = world_with(most_claims=1)
    world.joins("alice", claim=True)
    world.broker.hand.release("alice")
    world.turn()
    world.joins("bob", claim=True)


def test_a_name_is_one_claim_however_often_its_user_claims_it(world_with):
    world = world_with(most_claims=2)
    alice = world.joins("alice", claim=True)
    alice.joins(claim=True)
    world.joins("alice", claim=True, credential=alice.welcome.credential)
    assert world.broker.census().claimed == 1
    world.joins("bob", claim=True)


def test_a_borrowed_name_is_claimed_only_if_there_is_room(world_with):
    world = world_with(most_claims=1)
    world.joins("alice", claim=True)
    bob = world.joins("bob")
    assert bob.joins(claim=True).codes == ["broker_full"]
    secret = bob.welcome.credential
    other = world.connects()
    assert other.joins("bob", claim=True, credential=secret).codes == ["broker_full"]
    assert bob.echoes("still here").of(Ack)
    assert bob.joins().of(Welcome)
