"""Who comes by a key: what it lets them be, and what nobody can say to change that."""

from __future__ import annotations

import pytest

from chatbroker.broker.members import Members, NotKept, Roll
from chatbroker.broker.origin import Origin
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import VERSION
from chatbroker.wire.messages import (
    Ack,
    Bye,
    Echo,
    Enrol,
    Enrolled,
    Error,
    Farewell,
    Info,
    Refused,
    Send,
    Welcome,
)

ALICE, ALICE_2, BOB, TOKEN, OWNER, NEW = (bytes([n]) * 32 for n in range(1, 7))
SECRET = b"sixteen bytes id"


@pytest.fixture
def members():
    members = Members(Roll(), lambda roll: None, OWNER)
    for name, key in (("alice", ALICE), ("alice", ALICE_2), ("bob", BOB)):
        members.admit(name, key, 0)
    return members


@pytest.fixture
def world(world_with, members):
    return world_with(members=members)


def by(world, key, name="", invited=False):
    """Somebody who connects by *key*."""
    peer = world.connects()
    peer.origin = Origin("10.0.0.7", name, key, invited)
    return peer


def joins(world, key, name, **how):
    peer = by(world, key, name)
    assert peer.joins(name, **how).of(Welcome)
    return peer


def refusal(heard):
    (refused,) = heard
    assert type(refused) is Refused
    return refused


def test_a_key_is_its_user_without_a_credential(world):
    alice = by(world, ALICE, "alice")
    (welcome,) = alice.joins("alice").of(Welcome)
    assert (welcome.name, welcome.credential) == ("alice", b"")
    assert not alice.echoes("hello").codes


@pytest.mark.parametrize("name", ["bob", "carol", "root"])
def test_a_key_is_nobody_else(world, name):
    refused = refusal(by(world, ALICE, "alice").joins(name))
    assert refused == Refused("not_allowed", f"the key is that of 'alice', not of {name!r}")
    assert name not in world.broker._registry.users


def test_who_was_enrolled_and_who_was_not_is_noted_and_counted(world, members):
    members.invite("carol", TOKEN, 2**62, 0)
    carol = by(world, TOKEN, "carol", invited=True)
    assert carol.says(Enrol(VERSION, NEW)) == [Enrolled("carol")]
    assert world.notes.pop()[0] == "enrolled"
    other = by(world, TOKEN, "carol", invited=True)
    assert refusal(other.says(Enrol(VERSION, b"x" * 32))).code == "not_allowed"
    assert world.notes == [("refused", {"code": "not_allowed", "address": "10.0.0.7"})]
    assert world.broker.counts.refused == {"not_allowed": 1}


def test_a_key_may_look_on_without_a_name(world):
    assert by(world, ALICE, "alice").joins("").of(Welcome)


def test_anothers_credential_is_worth_nothing_to_a_key(world):
    joins(world, BOB, "bob", credential=SECRET, claim=True)
    assert refusal(by(world, ALICE, "alice").joins("bob", credential=SECRET)).code == "not_allowed"


def test_a_name_by_a_key_takes_the_room_of_a_claim(world_with, members):
    world = world_with(members=members, most_claims=1)
    joins(world, ALICE, "alice")
    assert refusal(by(world, BOB, "bob").joins("bob")).code == "broker_full"
    joins(world, ALICE_2, "alice")


def test_a_name_by_a_key_stays_its_users_without_being_claimed(world):
    alice = joins(world, ALICE, "alice")
    alice.says(b"\x91\x07")  # BYE
    for peer in (by(world, OWNER), by(world, b"")):
        refused = refusal(peer.joins("alice"))
        assert refused.code == "name_claimed"


def test_a_name_of_a_key_that_never_came_is_nobody_elses(world):
    refused = refusal(by(world, OWNER).joins("alice"))
    assert refused == Refused(
        "name_claimed", "name 'alice' is claimed by somebody who comes by a key"
    )
    assert refusal(by(world, OWNER).joins("bob", claim=True)).code == "name_claimed"
    assert by(world, OWNER).joins("carol").of(Welcome)


def test_two_keys_of_a_user_are_one_user(world):
    first = joins(world, ALICE, "alice")
    second = joins(world, ALICE_2, "alice")
    bob = joins(world, BOB, "bob")
    bob.sends("alice", "hi")
    assert first.epoch("direct") == second.epoch("direct")
    (users,) = [m for m in bob.says(Info(1, "")) if hasattr(m, "users")]
    assert [user.name for user in users.users] == ["alice", "bob"]


def test_the_first_proof_of_a_name_is_not_void_when_a_key_comes_too(world):
    """Its user may have joined on the broker's machine before they were invited elsewhere."""
    own = joins(world, OWNER, "", follows=())
    members = world.broker._members
    own.joins("carol", credential=SECRET, claim=True, session=b"s" * 16)
    members.admit("carol", NEW, 0)
    carol = by(world, NEW, "carol")
    (welcome,) = carol.joins("carol").of(Welcome)
    assert welcome.credential == b""
    again = by(world, OWNER)
    assert again.joins("carol", credential=SECRET).of(Welcome)
    assert again.epoch("direct") == carol.epoch("direct")


def test_who_borrowed_the_name_is_not_mixed_up_with_whose_key_it_is(world):
    borrower = by(world, OWNER)
    borrower.joins("carol")
    borrower.sends("carol", "a note to myself")
    world.broker._members.admit("carol", NEW, 0)
    carol = by(world, NEW, "carol")
    heard = carol.joins("carol")
    world.turn()
    heard += carol.hears()
    assert [m.code for m in heard if type(m) is Refused] == ["name_taken"]
    borrower.says(b"\x91\x07")
    assert carol.joins("carol").of(Welcome)
    assert world.broker._registry.users["carol"].mailbox.head == 0


@pytest.mark.parametrize("named", [SECRET, b""], ids=["their own", "none"])
def test_the_brokers_own_user_is_told_a_credential_as_at_a_plain_broker(world, named):
    first = joins(world, OWNER, "")
    (welcome,) = first.joins("dave", session=b"s" * 16, credential=named).of(Welcome)
    assert welcome.credential == (named or welcome.credential)
    second = by(world, OWNER)
    assert second.joins("dave", credential=welcome.credential).of(Welcome)
    assert second.epoch("direct") == first.epoch("direct")


# --- sessions -----------------------------------------------------------------------------


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    ("key", "name"), [(BOB, "bob"), (ALICE_2, "alice"), (OWNER, ""), (b"", "")], ids=str
)
def test_a_stolen_session_id_is_worth_nothing_to_another_key(world, key, name, live):
    alice = joins(world, ALICE, "alice")
    alice.echoes("mine")
    if not live:
        world.loses(alice)
    thief = by(world, key, name)
    heard = thief.joins("alice", session=alice.session)
    assert refusal(heard).code == "not_allowed"
    assert [e.code for e in thief.says(Echo(2, ("not mine",))).of(Error)] == ["no_session"]
    back = by(world, ALICE, "alice")
    assert back.joins("alice", session=alice.session).of(Welcome)
    assert back.welcome.cseq == 1


def test_after_a_restart_a_session_goes_on_by_any_key_of_its_user_and_no_others(
    world_with, members, tmp_path
):
    path = tmp_path / "journal.db"
    world = world_with(SqliteJournal(path), members)
    alice = joins(world, ALICE, "alice")
    alice.echoes("before")
    world.journal.close()
    world = world_with(SqliteJournal(path), members)
    world._attempts[alice.session] = alice.attempt
    thief = by(world, BOB, "bob")
    assert refusal(thief.joins("alice", session=alice.session)).code == "not_allowed"
    assert refusal(thief.joins("bob", session=alice.session)).code == "not_allowed"
    back = by(world, ALICE_2, "alice")
    assert back.joins("alice", session=alice.session).of(Welcome)
    assert back.welcome.cseq == 1
    first = by(world, ALICE, "alice")
    assert refusal(first.joins("alice", session=alice.session)).code == "not_allowed"
    world.journal.close()


@pytest.mark.parametrize("named", [SECRET, b""], ids=["their own", "none"])
def test_after_a_restart_a_session_of_the_brokers_own_user_still_opens_the_name(
    world_with, members, tmp_path, named
):
    path = tmp_path / "journal.db"
    world = world_with(SqliteJournal(path), members)
    dave = by(world, OWNER)
    assert dave.joins("dave", credential=SECRET, claim=True).of(Welcome)
    world.journal.close()
    world = world_with(SqliteJournal(path), members)
    world._attempts[dave.session] = dave.attempt
    back = by(world, OWNER)
    heard = back.joins("dave", session=dave.session, credential=named, claim=True)
    told = heard.of(Welcome)[0].credential
    assert told == (named or told)
    assert back.resumed
    back.says(Bye())
    next_one = by(world, OWNER)
    assert next_one.joins("dave", credential=told).of(Welcome)
    assert next_one.epoch("direct") == dave.epoch("direct")
    world.journal.close()


def test_replayed_commands_of_a_connection_are_not_carried_out_over_anothers(world):
    """The frames as they were sent: without the key they belong to nobody's session."""
    alice, bob = joins(world, ALICE, "alice"), joins(world, BOB, "bob")
    alice.sends("bob", "pay mallory")
    before = world.broker._registry.users["bob"].mailbox.head
    mallory = by(world, b"", "")
    assert [e.code for e in mallory.says(Send(1, "bob", ("pay mallory",))).of(Error)] == [
        "no_session"
    ]
    assert not alice.says(Send(1, "bob", ("pay mallory",))).of(Error)  # Told once more; no more.
    assert world.broker._registry.users["bob"].mailbox.head == before
    assert bob.says(Info(1, ""))


# --- what is taken back -------------------------------------------------------------------


def test_a_connection_that_is_dismissed_has_no_session_any_more(world):
    alice, bob = joins(world, ALICE, "alice"), joins(world, BOB, "bob")
    world.begin()
    assert world.broker.hand.expel([alice.identity], Code.NOT_ALLOWED, "no more") == 1
    world.ends_turn()
    assert alice.hears() == [Farewell("not_allowed", "no more")]
    assert not world.broker._registry.users["alice"].on
    assert bob.sends("alice", "are you there?").of(Ack)[0].away


def test_a_hello_that_waits_is_dismissed_too(world):
    borrower = by(world, OWNER)
    borrower.joins("carol")
    world.broker._members.admit("carol", NEW, 0)
    waiting = by(world, NEW, "carol")
    waiting.posts(waiting.hello("carol"))
    world.turn()
    borrower.posts(b"\x91\x07")
    world.begin()
    assert world.broker.hand.expel([waiting.identity], Code.NOT_ALLOWED, "no more") == 0
    world.receive()  # The name is free in the turn in which whoever waits for it is let in.
    world.ends_turn()
    world.turn()
    assert not [m for m in waiting.hears() if type(m) is Welcome]
    assert not world.broker._registry.holders("carol")


# --- invitations --------------------------------------------------------------------------


def test_an_invitation_hands_over_a_key_and_nothing_else(world, members):
    members.invite("carol", TOKEN, world.wall + 1000, world.wall)
    guest = by(world, TOKEN, "carol", invited=True)
    for name in ("carol", "bob", ""):
        assert refusal(guest.joins(name)).code == "not_allowed"
    assert [e.code for e in guest.says(Echo(1, ("hi",))).of(Error)] == ["no_session"]
    assert [e.code for e in guest.says(Info(1, "")).of(Error)] == ["no_session"]
    assert guest.says(Enrol(VERSION, NEW)) == [Enrolled("carol")]
    assert members.origin(NEW, "10.0.0.7", world.wall) == Origin("10.0.0.7", "carol", NEW)
    assert ("enrolled", "carol") in [(what, f.get("user")) for what, f in world.notes]
    assert guest.says(Enrol(VERSION, NEW)) == [Enrolled("carol")]
    assert refusal(guest.says(Enrol(VERSION, b"n" * 32))).code == "not_allowed"


def test_an_invitation_is_good_also_when_the_clock_was_ahead_before(world, members):
    """Stamps of messages stay ahead then; when an invitation ends, the wall clock tells."""
    right = world.wall
    world.wall += 1_000_000
    world.turn()
    world.wall = right
    world.turn()
    members.invite("carol", TOKEN, right + 10_000, right)
    members.invite("dave", b"d" * 32, right + 10_000, right)
    guest = by(world, TOKEN, "carol", invited=True)
    assert guest.says(Enrol(VERSION, NEW)) == [Enrolled("carol")]
    assert [one.name for one in members.invitations(right)] == ["dave"]


@pytest.mark.parametrize("key", [b"", ALICE, OWNER])
def test_nobody_else_admits_a_key(world, members, key):
    peer = by(world, key, "alice" if key == ALICE else "")
    refused = refusal(peer.says(Enrol(VERSION, NEW)))
    assert refused == Refused("not_allowed", "only an invitation admits a key")
    assert members.origin(NEW, "10.0.0.7", 0) is None


def test_what_cannot_be_stored_is_refused_in_words(world_with):
    stored = []

    def keep(roll):
        if stored:
            raise NotKept("the broker cannot store it in /home/operator: no space")
        stored.append(roll)

    members = Members(Roll(), keep)
    world = world_with(members=members)
    members.invite("carol", TOKEN, world.wall + 1000, world.wall)
    guest = by(world, TOKEN, "carol", invited=True)
    refused = refusal(guest.says(Enrol(VERSION, NEW)))
    assert refused == Refused("cannot_store", "the key cannot be stored now")


def test_a_plain_broker_admits_nobody_by_a_key(world_with):
    refused = refusal(world_with().connects().says(Enrol(VERSION, NEW)))
    assert refused.code == "not_allowed"
