"""How a claim lapses, and what goes with it."""

from __future__ import annotations

from claimants import DAY, KEY, LEASE, UNREAD, asks, claims, leaves

from chatbroker.wire.messages import Welcome


def test_a_claim_lapses_when_nobody_held_the_name_for_long(world_with):
    world = world_with(claim_ttl=600.0)
    alice = claims(world)
    leaves(alice)
    world.passes(595.0)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]
    world.passes(10.0)
    (welcome,) = asks(world)
    assert welcome.credential not in (KEY, b"")


def test_a_clock_that_is_wrong_for_a_moment_frees_no_name(world_with):
    world = world_with(claim_ttl=DAY)
    leaves(claims(world))
    month = 30 * 86_400_000
    world.wall += month
    world.passes(5.0)
    world.wall -= month
    world.passes(5.0)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]
    # What it was set to is believed in the end.
    world.wall += month
    world.passes(3590.0)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]
    world.passes(30.0)
    assert type(asks(world)[0]) is Welcome


def test_after_a_clock_that_was_ahead_for_a_moment_claims_lapse_in_time(world_with):
    world = world_with(claim_ttl=600.0)
    before, meanwhile, after = (claims(world, name) for name in ("al", "bob", "carol"))
    leaves(before)
    year = 365 * 86_400_000
    world.wall += year
    world.passes(2.0, alive=[meanwhile, after])
    meanwhile.echoes("one")
    leaves(meanwhile)
    world.passes(2.0, alive=[after])
    world.wall -= year
    world.passes(2.0, alive=[after])
    leaves(after)
    world.passes(580.0)
    for name in ("al", "bob", "carol"):
        assert [refused.code for refused in asks(world, name)] == ["name_claimed"]
    world.passes(30.0)
    for name in ("al", "bob", "carol"):
        assert type(asks(world, name)[0]) is Welcome


def test_a_clock_that_is_behind_lets_no_claim_lapse_when_it_is_right_again(world_with):
    world = world_with(claim_ttl=DAY)
    alice = claims(world)
    year = 365 * 86_400_000
    world.wall -= year
    world.passes(7200.0, alive=[alice])
    leaves(alice)
    world.passes(10.0)
    world.wall += year
    world.passes(7200.0)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]


def test_a_claim_counts_from_when_the_name_was_last_held(world_with):
    world = world_with(claim_ttl=600.0)
    leaves(claims(world))
    world.passes(500.0)
    leaves(world.joins("alice", credential=KEY, follows=()))
    world.passes(500.0)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]
    world.passes(110.0)
    assert type(asks(world)[0]) is Welcome


def test_a_claim_does_not_lapse_while_the_name_is_held(world_with):
    world = world_with(claim_ttl=600.0)
    alice = claims(world, follows=())
    world.passes(2000.0, alive=[alice])
    leaves(alice)
    world.passes(590.0)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]


def test_who_lapses_has_as_long_from_then_on(world_with):
    world = world_with(claim_ttl=600.0)
    claims(world)
    world.passes(LEASE + 590.0)
    assert [refused.code for refused in asks(world)] == ["name_claimed"]
    world.passes(20.0)
    assert type(asks(world)[0]) is Welcome


def test_who_left_first_is_forgotten_first(world_with):
    world = world_with(claim_ttl=600.0)
    alice, bob, carol = (claims(world, name) for name in ("alice", "bob", "carol"))
    for peer in (carol, alice, bob):
        leaves(peer)
        world.passes(100.0, alive=[p for p in (alice, bob) if p is not peer])
    world.passes(310.0)
    free = {"carol": True, "alice": False, "bob": False}
    for name, is_free in free.items():
        assert (type(asks(world, name, follows=())[0]) is Welcome) is is_free


def test_the_mail_goes_with_the_claim(world_with):
    world = world_with(claim_ttl=600.0)
    alice, bob = claims(world), world.joins("bob")
    leaves(alice)
    bob.sends("alice", "secret")
    assert world.journal.events == 2
    world.passes(610.0, alive=[bob])
    assert bob.sends("alice", "too late").codes == ["no_such_user"]
    again = world.joins("alice", credential=KEY, follows=(UNREAD,))
    assert again.welcome.readings[0].head == 0
    assert again.epoch("direct") != alice.epoch("direct")
    assert world.journal.events == 1  # Bob's own.


def test_a_session_that_lapsed_goes_with_the_claim(world_with):
    world = world_with(claim_ttl=600.0)
    alice = claims(world)
    alice.echoes("one")
    world.passes(LEASE + 610.0)
    alice.joins(credential=KEY)
    assert not alice.resumed
