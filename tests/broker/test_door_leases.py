"""Silence: what it costs, what it does not, and what the next owner of a name gets."""

from __future__ import annotations

from chatbroker.wire.messages import Ack, Bye, Follow, Info, Ping, Pong, Start, Welcome

LEASE, GRACE, FORGET = 15.0, 3.0, 3600.0


def on(peer) -> list[str]:
    """Who is on, as *peer* hears it."""
    return [user.name for user in peer.says(Info(1, ""))[0].users]


# --- leases -------------------------------------------------------------------------------


def test_who_is_silent_for_a_lease_is_off(world):
    bob = world.joins("bob")
    world.joins("alice")
    world.passes(LEASE - 1.0, alive=[bob])
    assert on(bob) == ["alice", "bob"]
    world.passes(2.0, alive=[bob])
    assert on(bob) == ["bob"]
    assert [p.name for p in world.hears(b"presence\0") if not p.on] == ["alice"]
    assert ("left", {"user": "alice"}) in world.notes


def test_who_comes_when_nobody_was_there_lapses_too(world):
    """There was no lease to run out."""
    world.passes(2.0)
    alice = world.joins("alice")
    world.passes(1.0, alive=[alice])
    world.passes(LEASE + 1.0)
    assert on(world.joins("bob")) == ["bob"]


def test_whose_connection_is_lost_lapses_before_any_lease_runs_out(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    world.passes(1.0, alive=[alice, bob])
    world.loses(alice)
    world.passes(GRACE + 1.0, alive=[bob])
    assert on(bob) == ["bob"]


def test_who_gives_signs_of_life_stays_on(world):
    alice = world.joins("alice")
    world.passes(4 * LEASE, alive=[alice])
    assert on(alice) == ["alice"]


def test_garbage_is_no_sign_of_life(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    for _ in range(20):
        alice.posts(b"\xc1")
        world.passes(1.0, alive=[bob])
    assert on(bob) == ["bob"]


def test_who_lapsed_has_to_say_hello_again(world):
    alice = world.joins("alice")
    world.passes(LEASE + 1.0)
    assert alice.echoes("hello").codes == ["no_session"]


def test_a_lapsed_session_comes_back_and_counts_on(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    alice.sends("bob", "one")
    world.passes(LEASE + 1.0, alive=[bob])
    (welcome,) = alice.joins()
    assert (alice.resumed, welcome.cseq) == (True, 1)
    assert alice.sends("bob", "two").of(Ack) == [Ack(1, 2, ())]
    assert [(p.name, p.on) for p in world.hears(b"presence\0")] == [
        ("alice", True),
        ("bob", True),
        ("alice", False),
        ("alice", True),
    ]


def test_after_an_hour_a_lapsed_session_is_forgotten(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    alice.echoes("one")
    world.passes(LEASE + FORGET - 5.0, alive=[bob])
    assert world.returns(alice).resumed
    world.passes(LEASE + FORGET + 5.0, alive=[bob])
    again = world.returns(alice)
    assert (again.resumed, again.welcome.cseq) == (False, 0)
    assert again.epoch("direct") != alice.epoch("direct")


def test_when_the_broker_itself_was_asleep_nobody_lapses(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    for _ in range(5):
        world.turn(after=600.0)
    assert on(bob) == ["alice", "bob"]
    world.loses(alice)
    world.turn(after=600.0)
    assert on(bob) == ["alice", "bob"]


def busy(world, seconds: int, alive) -> None:
    """So long, there is always another frame waiting."""
    for _ in range(seconds):
        for peer in alive:
            peer.posts(Ping(1, peer.cseq, peer.cseq, ()))
        world.turn(after=1.0, all_heard=False)


def test_while_frames_are_waiting_silence_means_nothing(world):
    bob, alice = world.joins("bob"), world.joins("alice")
    world.passes(LEASE - 5.0, alive=[bob])
    # Her sign of life is waiting behind many others.
    busy(world, 10, alive=[bob])
    alice.posts(Ping(1, 0, 0, ()))
    world.turn(all_heard=True)
    assert alice.hears().of(Pong)
    assert on(alice) == ["alice", "bob"]


def test_once_all_is_read_silence_counts_again(world):
    bob = world.joins("bob")
    world.joins("alice")
    world.passes(LEASE - 5.0, alive=[bob])
    busy(world, 10, alive=[bob])
    world.turn(all_heard=True)
    assert on(bob) == ["bob"]


def test_a_flood_keeps_nobody_from_being_heard_however_long_that_takes(world):
    bob, alice = world.joins("bob"), world.joins("alice")
    busy(world, 10 * int(LEASE), alive=[bob])
    alice.posts(Ping(1, 0, 0, ()))
    world.turn(all_heard=True)
    assert on(alice) == ["alice", "bob"]


def test_a_monotonic_clock_that_is_not_costs_nobody_the_lease(world):
    alice = world.joins("alice")
    world.now -= 10_000.0
    world.turn()
    world.passes(LEASE - 1.0)
    assert on(alice) == ["alice"]


# --- what is worth keeping ----------------------------------------------------------------


def test_who_lapsed_without_a_word_and_without_a_mailbox_left_nothing(world):
    bob = world.joins("bob")
    sender = world.joins("alice", follows=("echo",))
    observer = world.joins("", follows=("echo", "direct"))
    world.passes(LEASE + 1.0, alive=[bob])
    assert not world.returns(sender).resumed
    assert not world.returns(observer).resumed


def test_who_lapsed_with_mail_finds_it_when_coming_back(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    bob.sends("alice", "for later")
    world.passes(LEASE + 1.0, alive=[bob])
    again = world.returns(alice)
    assert again.resumed
    assert again.fetches("direct").texts == ["for later"]


def test_who_lapses_in_the_turn_of_the_first_message_finds_it_when_coming_back(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    world.passes(LEASE - 0.5, alive=[bob])
    bob.posts(bob.send("alice", "for later"))
    world.turn(after=0.75)
    assert bob.hears().codes == []
    assert on(bob) == ["bob"]
    again = world.returns(alice)
    assert again.fetches("direct").texts == ["for later"]


# --- the next owner of a name -------------------------------------------------------------


def test_the_next_owner_of_a_name_gets_nothing_of_the_former(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    bob.sends("alice", "for the first alice only")
    world.passes(LEASE + 1.0, alive=[bob])
    mallory = world.connects()
    follows = (Follow("direct", alice.epoch("direct"), Start.AFTER, 0),)
    assert mallory.joins("alice", follows=follows).of(Welcome)
    assert mallory.epoch("direct") != alice.epoch("direct")
    assert mallory.fetches("direct").texts == []
    assert mallory.welcome.readings[0].head == 0


def test_the_former_owner_of_a_name_is_somebody_else_now(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    world.passes(LEASE + 1.0, alive=[bob])
    successor = world.joins("alice")
    again = world.connects()
    again.joins("alice", session=alice.session, credential=alice.welcome.credential)
    world.turn()
    assert again.hears().codes == ["name_taken"]
    bob.sends("alice", "for the second alice")
    assert successor.hears().texts == ["for the second alice"]
    assert alice.hears().texts == []


def test_what_somebody_said_before_a_goodbye_is_not_in_the_next_owners_mailbox(world):
    alice = world.joins("alice")
    world.joins("bob")
    alice.says(alice.send("bob", "secret"), Bye())
    assert world.joins("alice").fetches("direct").texts == []


def test_what_somebody_was_told_before_a_goodbye_is_not_in_the_next_owners_mailbox(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    bob.posts(bob.send("alice", "secret"))
    alice.posts(Bye())
    world.turn()
    assert world.joins("alice").fetches("direct").texts == []


def test_what_somebody_was_told_at_the_end_of_the_grace_is_not_in_the_next_owners_mailbox(world):
    alice, bob, mallory = world.joins("alice"), world.joins("bob"), world.connects()
    world.loses(alice)
    mallory.joins("alice")
    while not mallory.hears().of(Welcome):
        bob.posts(bob.send("alice", "secret"))
        world.turn(after=0.5)
    assert mallory.fetches("direct").texts == []


def test_who_leaves_in_the_turn_of_a_message_leaves_no_log_behind(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    alice.posts(alice.send("bob", "goodbye"), Bye())
    bob.posts(bob.send("bob", "alone"), Bye())
    world.turn()
    assert (world.journal.events, world.journal.size) == (0, 0)
