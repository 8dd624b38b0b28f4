"""Who is admitted: keys, invitations, and what is taken back."""

from __future__ import annotations

import pytest

from chatbroker.broker import members as members_module
from chatbroker.broker.members import Invitation, Member, Members, NotAdmitted, Roll, place_of
from chatbroker.broker.origin import Origin
from chatbroker.wire.keys import key_text

ALICE, ALICE_2, BOB, TOKEN, OWNER = (bytes([n]) * 32 for n in range(1, 6))


@pytest.fixture
def kept():
    return []


@pytest.fixture
def members(kept):
    return Members(Roll(), kept.append, OWNER)


def by_invitation(members, name="alice", key=TOKEN, expires=100):
    members.invite(name, key, expires, 0)
    return members.origin(key, "10.0.0.1", 1)


def test_nobody_is_admitted_but_the_brokers_own_user(members):
    assert members.origin(ALICE, "10.0.0.1", 0) is None
    assert members.origin(b"", "10.0.0.1", 0) is None
    assert members.origin(OWNER, "127.0.0.1", 0) == Origin("127.0.0.1", "", OWNER)


def test_without_an_own_user_an_empty_key_is_nobodys():
    assert Members(Roll(), lambda roll: None).origin(b"", "10.0.0.1", 0) is None


def test_an_admitted_key_is_its_users(members, kept):
    members.admit("alice", ALICE, 5)
    assert members.origin(ALICE, "10.0.0.1", 9) == Origin("10.0.0.1", "alice", ALICE)
    assert members.has("alice")
    assert kept == [Roll((Member("alice", ALICE, 5),), ())]


def test_an_invitation_admits_one_key_once(members, kept):
    origin = by_invitation(members)
    assert origin == Origin("10.0.0.1", "alice", TOKEN, invited=True)
    assert not members.has("alice")
    assert members.enrol(origin, ALICE, 50) == "alice"
    assert members.origin(ALICE, "10.0.0.1", 51) == Origin("10.0.0.1", "alice", ALICE)
    assert members.origin(TOKEN, "10.0.0.1", 51) is None
    assert kept[-1] == Roll((Member("alice", ALICE, 50),), ())
    with pytest.raises(NotAdmitted, match="used"):
        members.enrol(origin, ALICE_2, 52)


def test_who_did_not_hear_the_answer_may_ask_again(members, kept):
    origin = by_invitation(members)
    members.enrol(origin, ALICE, 50)
    changes = len(kept)
    assert members.enrol(origin, ALICE, 51) == "alice"
    assert len(kept) == changes


def test_an_invitation_ends_at_its_time(members):
    origin = by_invitation(members, expires=100)
    assert members.origin(TOKEN, "10.0.0.1", 99) is not None
    assert members.origin(TOKEN, "10.0.0.1", 100) is None
    with pytest.raises(NotAdmitted, match="out of date"):
        members.enrol(origin, ALICE, 100)
    assert members.invitations(100) == []


@pytest.mark.parametrize("origin", [Origin(), Origin("a", "bob", BOB), Origin("a", "", OWNER)])
def test_only_an_invitation_admits_a_key(members, origin):
    members.admit("bob", BOB, 0)
    with pytest.raises(NotAdmitted, match="only an invitation"):
        members.enrol(origin, ALICE, 1)


@pytest.mark.parametrize("key", [BOB, TOKEN, OWNER])
def test_a_key_that_is_in_use_is_not_admitted_for_another(members, key):
    members.admit("bob", BOB, 0)
    origin = by_invitation(members)
    with pytest.raises(NotAdmitted, match="in use"):
        members.enrol(origin, key, 1)
    assert members.origin(TOKEN, "10.0.0.1", 2) is not None  # It is good still.


def test_a_key_is_of_one_user(members):
    members.admit("bob", BOB, 0)
    members.admit("bob", BOB, 1)
    with pytest.raises(NotAdmitted, match="that of 'bob'"):
        members.admit("alice", BOB, 2)
    with pytest.raises(NotAdmitted, match="in use"):
        members.invite("alice", BOB, 100, 2)


def test_all_of_a_user_can_be_taken_back_or_one_key(members, kept):
    members.admit("alice", ALICE, 0)
    members.admit("alice", ALICE_2, 0)
    members.admit("bob", BOB, 0)
    by_invitation(members)
    assert members.revoke_key(ALICE_2) == [ALICE_2]
    members.catch_up()
    assert members.origin(ALICE, "", 1) is not None
    assert members.revoke("alice") == sorted([ALICE, TOKEN])
    assert members.origin(ALICE, "", 1) is None
    assert not members.has("alice")
    members.catch_up()
    assert kept[-1] == Roll((Member("bob", BOB, 0),), ())
    changes = len(kept)
    assert members.revoke("alice") == members.revoke_key(ALICE) == members.revoke_key(OWNER) == []
    members.catch_up()
    assert len(kept) == changes


def test_what_cannot_be_kept_does_not_hold():
    def fail(roll):
        raise NotAdmitted("the disk is full")

    roll = Roll((Member("bob", BOB, 0),), (Invitation("alice", TOKEN, 100),))
    members = Members(roll, fail)
    origin = members.origin(TOKEN, "", 1)
    for change in (
        lambda: members.admit("carol", ALICE, 1),
        lambda: members.enrol(origin, ALICE, 1),
        lambda: members.invite("carol", ALICE, 100, 1),
    ):
        with pytest.raises(NotAdmitted, match="full"):
            change()
    assert [*members] == [*roll.members]
    assert members.invitations(1) == [*roll.invitations]
    assert members.origin(ALICE, "", 1) is None


def test_what_is_taken_back_holds_though_it_cannot_be_kept(kept):
    full = [True]

    def keep(roll):
        if full[0]:
            raise NotAdmitted("the disk is full")
        kept.append(roll)

    roll = Roll((Member("bob", BOB, 0),), (Invitation("alice", TOKEN, 100),))
    members = Members(roll, keep)
    assert members.revoke("bob") == [BOB]
    assert members.revoke_key(TOKEN) == [TOKEN]
    assert members.origin(BOB, "", 1) is members.origin(TOKEN, "", 1) is None
    for _ in range(2):
        with pytest.raises(NotAdmitted, match="full"):
            members.catch_up()
        assert members.behind
        # It is not done yet: whoever asks for it again is not told that there is nothing to do.
        assert members.revoke("bob") == members.revoke_key(BOB) == [BOB]
        assert members.revoke("alice") == [TOKEN]
        assert members.revoke("nobody") == []
    full[0] = False
    members.catch_up()
    members.catch_up()
    assert kept == [Roll()]
    assert not members.behind
    assert members.revoke("bob") == members.revoke_key(TOKEN) == []


def test_the_next_change_keeps_what_was_taken_back(members, kept):
    members.admit("bob", BOB, 0)
    members.revoke("bob")
    members.admit("alice", ALICE, 0)
    assert not members.behind
    assert kept[-1] == Roll((Member("alice", ALICE, 0),), ())


def test_who_is_admitted_is_listed_in_pages(members):
    for name, key in (("bob", BOB), ("alice", ALICE), ("al", ALICE_2)):
        members.admit(name, key, 1_700_000_000_000)
    members.invite("carol", TOKEN, 1_700_000_100_000, 0)
    pages, after = [], ""
    while page := members.listed(False, after, 2, 1):
        pages.append([one["name"] for one in page])
        after = place_of(page[-1])
    assert pages == [["al", "alice"], ["bob"]]
    assert members.listed(False, "b", 1, 1) == [
        {
            "type": "member",
            "name": "bob",
            "key": key_text(BOB),
            "since": "2023-11-14T22:13:20.000Z",
        }
    ]
    (invited,) = members.listed(True, "", 9, 1)
    assert (invited["type"], invited["expires"]) == ("invitation", "2023-11-14T22:15:00.000Z")
    assert members.listed(True, "", 9, 1_700_000_100_000) == []


def test_there_are_so_many_and_no_more(members, monkeypatch):
    monkeypatch.setattr(members_module, "MOST_INVITATIONS", 1)
    monkeypatch.setattr(members_module, "MOST_KEYS", 1)
    members.admit("bob", BOB, 0)
    with pytest.raises(NotAdmitted, match="revoke some"):
        members.admit("alice", ALICE, 0)
    members.invite("alice", TOKEN, 100, 0)
    with pytest.raises(NotAdmitted, match="revoke some"):
        members.invite("carol", ALICE_2, 100, 0)
    members.invite("carol", ALICE_2, 200, 100)  # The other one is out of date.
    with pytest.raises(NotAdmitted, match="revoke some"):
        members.enrol(members.origin(ALICE_2, "", 101), ALICE, 101)


def test_the_keys_of_a_user_are_told(members):
    members.admit("alice", b"x" * 32, 0)
    members.admit("alice", b"y" * 32, 0)
    assert members.keys_of("alice") == [b"x" * 32, b"y" * 32]
    members.revoke_key(b"x" * 32)
    assert members.keys_of("alice") == [b"y" * 32]
    assert members.keys_of("bob") == []
