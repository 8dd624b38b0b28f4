"""Who may have a name, over which connections and how many sessions.

How a name is lost by silence, and what its next owner gets, is in test_door_leases.py.
"""

from __future__ import annotations

import pytest

from chatbroker.wire.limits import MAX_FRAME, MAX_TEXT, PUSH_WINDOW, VERSION, WINDOW
from chatbroker.wire.messages import (
    Ack,
    Bye,
    Cursor,
    Echo,
    Error,
    Farewell,
    Info,
    Limits,
    Pong,
    Presence,
    Reading,
    Refused,
    Welcome,
)

GRACE = 3.0


def on(peer) -> list[str]:
    """Who is on, as *peer* hears it."""
    return [user.name for user in peer.says(Info(1, ""))[0].users]


# --- coming -------------------------------------------------------------------------------


def test_alice_is_welcome(world):
    alice = world.connects()
    (welcome,) = alice.joins("Alice")
    mail, public = alice.epoch("direct"), alice.epoch("echo")
    assert welcome == Welcome(
        VERSION,
        "alice",
        world.broker.epoch,
        1,
        1,
        0,
        welcome.credential,
        5556,
        5000,
        15000,
        Limits(MAX_FRAME, MAX_TEXT, WINDOW, PUSH_WINDOW, 100_000, 1_000_000, 32 << 20, 320 << 20),
        (Reading("echo", public, 0, 0), Reading("direct", mail, 0, 0)),
    )
    assert public == world.broker.epoch != mail
    assert len(welcome.credential) == 16


def test_alice_is_announced_once(world):
    alice = world.joins("alice")
    alice.joins()
    world.joins("alice", credential=alice.welcome.credential)
    assert world.hears(b"presence\0").of(Presence) == [Presence(True, "alice", world.wall - 20)]


def test_a_session_that_follows_no_mailbox_is_not_announced(world):
    world.joins("alice", follows=("echo",))
    world.joins("bob", follows=())
    assert world.published == []
    assert on(world.joins("")) == []


def test_no_two_users_have_the_same_credential(world):
    people = [*world.crowd(20), world.joins("alice", follows=())]
    assert len({peer.welcome.credential for peer in people}) == 21


@pytest.mark.parametrize("name", ["_alice", "al ice", "älice", "alice\n", "n" * 16 + "é"])
def test_a_bad_name_is_refused(world, name):
    stranger = world.connects()
    (refused,) = stranger.joins(name)
    assert type(refused) is Refused
    assert refused.code == "bad_name"
    assert stranger.joins("alice").of(Welcome)


def test_a_log_that_is_not_there_is_reported_and_the_rest_is_welcome(world):
    alice = world.connects()
    heard = alice.joins("alice", follows=("echo", "@bob", "direct", "\0" * 64))
    assert [type(message) for message in heard] == [Error, Error, Welcome]
    assert heard.codes == ["no_such_log", "no_such_log"]
    assert [reading.log for reading in alice.welcome.readings] == ["echo", "direct"]
    assert [head.log for head in alice.pings().of(Pong)[0].heads] == ["echo", "direct"]


def test_hello_may_be_repeated(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    alice.sends("bob", "one")
    credential = alice.welcome.credential
    (again,) = alice.joins()
    assert alice.resumed
    assert again.cseq == 1
    assert again.credential == credential
    assert on(bob) == ["alice", "bob"]
    heard = alice.sends("bob", "two")
    assert heard.texts == ["two"]
    assert heard.of(Ack) == [Ack(1, 2, ())]


def test_a_repeated_hello_may_follow_other_logs(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    alice.joins(follows=("echo",))
    assert on(bob) == ["bob"]
    alice.joins(follows=("direct",))
    assert on(bob) == ["alice", "bob"]
    assert bob.sends("alice", "hello").codes == []
    assert alice.hears().texts == ["hello"]


def test_when_the_broker_has_no_room_only_known_sessions_come_back(world):
    alice = world.joins("alice")
    world.broker.accept_sessions(False)
    assert world.connects().joins("bob").codes == ["broker_full"]
    world.loses(alice)
    again = world.returns(alice)
    assert again.resumed
    world.broker.accept_sessions(True)
    world.joins("bob")


def test_there_are_so_many_sessions_and_no_more(world_with):
    world = world_with(most_sessions=2)
    alice = world.joins("alice")
    world.joins("")
    assert world.connects().joins("bob").codes == ["broker_full"]
    alice.says(Bye())
    world.joins("bob")


# --- a name is one user -------------------------------------------------------------------


def test_second_alice_is_refused(world):
    alice, mallory = world.joins("alice"), world.connects()
    assert mallory.joins("ALICE") == []
    # She may be dead and not missed yet: whatever is sent to her tells.
    assert alice.hears() == [
        Pong(
            0, (Cursor("echo", alice.epoch("echo"), 0), Cursor("direct", alice.epoch("direct"), 0))
        )
    ]
    world.turn()
    assert mallory.hears() == [Refused("name_taken", "name 'alice' is taken")]
    assert alice.sends("alice", "still me").texts == ["still me"]


@pytest.mark.parametrize("credential", [b"", b"guess-guess-gues"])
def test_without_the_credential_nobody_is_alice(world, credential):
    world.joins("alice")
    mallory = world.connects()
    mallory.joins("alice", credential=credential)
    world.turn()
    assert mallory.hears().codes == ["name_taken"]
    assert mallory.says(mallory.send("alice", "hi")).codes == ["no_session"]


def test_whose_connection_turns_out_to_be_lost_keeps_the_name_for_the_grace(world):
    alice, bob = world.joins("alice"), world.connects()
    alice.reachable = False
    bob.joins("alice")
    world.passes(GRACE - 0.5)
    # Now and then it is told something, so that it would be missed if it gave up.
    assert {type(message) for message in bob.hears()} == {Pong}
    world.hears(b"presence\0")
    world.passes(1.0)
    (welcome,) = bob.hears().of(Welcome)
    assert (welcome.name, bob.resumed) == ("alice", False)
    assert welcome.credential != alice.welcome.credential
    assert [p.on for p in world.hears(b"presence\0")] == [False, True]


def test_who_comes_back_within_the_grace_keeps_the_name(world):
    alice, bob = world.joins("alice"), world.connects()
    alice.reachable = False
    bob.joins("alice")
    world.passes(1.0)
    again = world.returns(alice)
    assert again.resumed
    world.turn()
    assert bob.hears().codes == ["name_taken"]


def test_who_waits_for_a_name_and_goes_away_does_not_get_it(world):
    alice, bob, carol = world.joins("alice"), world.connects(), world.connects()
    world.loses(alice)
    bob.joins("alice")
    carol.joins("alice")
    world.loses(bob)
    world.passes(GRACE + 1.0)
    assert carol.hears().of(Welcome)
    assert bob.hears() == []


def test_of_two_who_wait_for_a_name_one_gets_it(world):
    alice, bob, carol = world.joins("alice"), world.connects(), world.connects()
    world.loses(alice)
    bob.joins("alice")
    carol.joins("alice")
    world.passes(GRACE + 1.0)
    assert bob.hears().of(Welcome)
    assert carol.hears().codes == ["name_taken"]


def test_a_name_does_not_go_to_one_who_waited_and_was_killed(world):
    alice, bob, carol = world.joins("alice"), world.connects(), world.connects()
    world.loses(alice)
    bob.joins("alice")
    carol.joins("alice")
    bob.reachable = False
    world.passes(GRACE + 1.0)
    assert carol.hears().of(Welcome)


def test_who_got_the_name_and_was_killed_does_not_cost_the_others_who_wait(world):
    """It is let in at the very moment when it dies, so nobody can know yet."""
    alice, bob, carol = world.joins("alice"), world.connects(), world.connects()
    world.loses(alice)
    bob.joins("alice")
    carol.joins("alice")
    world.passes(GRACE - 0.3)
    world.broker._door._swept = 1e9  # Nobody looks at those who wait any more.
    alice_s = world.broker._registry.sessions[alice.session]
    bob.reachable = False
    alice_s.expires = 0.0
    world.broker._registry.expire(1e9, 0, 0)
    world.passes(0.5)
    assert "name_taken" not in carol.hears().codes


def test_who_waits_may_ask_for_another_name(world):
    alice, bob = world.joins("alice"), world.connects()
    world.loses(alice)
    bob.joins("alice")
    assert bob.joins("bob").of(Welcome)
    world.passes(GRACE + 1.0)
    assert bob.hears() == []
    assert on(bob) == ["bob"]


def test_who_waits_and_comes_in_by_another_session_does_not_wait_any_more(world):
    alice, bob = world.joins("alice"), world.connects()
    alice.reachable = False
    assert bob.joins("alice") == []
    assert len(bob.joins("bob", session=b"another-session.").of(Welcome)) == 1
    world.passes(GRACE + 2.0)
    heard = bob.hears()
    assert heard.of(Welcome) == heard.of(Refused) == []
    assert on(bob) == ["bob"]


def test_who_waits_has_no_session_yet(world):
    alice, bob = world.joins("alice"), world.connects()
    world.loses(alice)
    bob.joins("alice")
    assert bob.echoes("hello").codes == ["no_session"]


def test_a_name_whose_user_said_goodbye_is_free_at_once(world):
    world.joins("alice").says(Bye())
    assert world.connects().joins("alice").of(Welcome)


# --- one user, several sessions -----------------------------------------------------------


def test_the_credential_attaches_a_second_session(world):
    alice, bob = world.joins("alice", exclusive=True), world.joins("bob")
    second = world.joins("alice", credential=alice.welcome.credential)
    assert not second.resumed
    assert second.epoch("direct") == alice.epoch("direct")
    alice.hears()
    bob.sends("alice", "hello, both")
    assert alice.hears().texts == second.hears().texts == ["hello, both"]


def test_a_second_exclusive_session_is_refused_while_the_first_is_there(world):
    alice = world.joins("alice", exclusive=True)
    second = world.connects()
    second.joins("alice", credential=alice.welcome.credential, exclusive=True)
    world.turn()
    assert second.hears() == [Refused("already_joined", "'alice' is already joined")]


def test_who_proves_to_be_the_user_need_not_wait_for_a_session_known_to_be_gone(world):
    alice = world.joins("alice", exclusive=True)
    world.loses(alice)
    second = world.joins("alice", credential=alice.welcome.credential, exclusive=True)
    late = world.connects()
    late.joins("alice", session=alice.session, exclusive=True)
    world.turn()
    assert late.hears().codes == ["already_joined"]
    assert second.echoes("here").of(Ack) == [Ack(0, 1, ())]


def test_the_second_exclusive_session_gets_in_if_the_probe_finds_nobody(world):
    alice = world.joins("alice", exclusive=True)
    alice.reachable = False
    second = world.connects()
    second.joins("alice", credential=alice.welcome.credential, exclusive=True)
    world.turn()
    assert second.hears().of(Welcome)


def test_each_session_counts_its_commands_by_itself(world):
    alice = world.joins("alice")
    second = world.joins("alice", credential=alice.welcome.credential)
    assert alice.echoes("one").of(Ack) == [Ack(0, 1, ())]
    assert second.echoes("two").of(Ack) == [Ack(0, 1, ())]


def test_a_user_stays_on_until_the_last_session_left(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    second = world.joins("alice", credential=alice.welcome.credential)
    alice.says(Bye())
    assert on(bob) == ["alice", "bob"]
    assert second.sends("alice", "me").texts == ["me"]
    second.says(Bye())
    assert on(bob) == ["bob"]


# --- coming back --------------------------------------------------------------------------


def test_a_session_goes_on_over_a_new_connection(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    alice.sends("bob", "one")
    world.loses(alice)
    again = world.returns(alice)
    assert (again.resumed, again.welcome.cseq) == (True, 1)
    assert again.welcome.credential == alice.welcome.credential
    assert again.sends("bob", "two").of(Ack) == [Ack(1, 2, ())]
    assert bob.hears().texts == ["one", "two"]
    assert [p.name for p in world.hears(b"presence\0") if p.on] == ["alice", "bob"]


def test_the_former_connection_is_told_that_it_was_replaced(world):
    alice = world.joins("alice")
    again = world.returns(alice)
    heard = alice.hears()
    assert heard == [Farewell("replaced", "the session goes on over another connection")]
    assert alice.echoes("ghost").codes == ["no_session"]
    assert again.echoes("me").of(Ack) == [Ack(0, 1, ())]


def test_what_the_former_connection_still_has_under_way_is_not_carried_out(world):
    alice = world.joins("alice")
    again = world.connects()
    alice.hears()
    again.posts(again.hello("alice", session=alice.session))
    alice.posts(alice.echo("too late"))
    again.posts(again.echo("in time"))
    world.turn()
    assert world.hears(b"echo\0").texts == ["in time"]
    assert alice.hears().codes == ["replaced", "no_session"]


def test_that_the_former_connection_is_lost_does_not_matter_any_more(world):
    alice = world.joins("alice")
    again = world.returns(alice)
    world.loses(alice)
    world.passes(GRACE + 1.0, alive=[again])
    assert again.echoes("here").of(Ack) == [Ack(0, 1, ())]


def test_the_acks_of_a_turn_go_where_the_session_went(world):
    alice = world.joins("alice")
    again = world.connects()
    alice.posts(alice.echo("one"))
    again.posts(again.hello("alice", session=alice.session))
    world.turn()
    heard = again.hears()
    assert heard.of(Welcome)[0].cseq == 1
    assert heard.of(Ack) == [Ack(0, 1, ())]
    assert alice.hears().of(Ack) == []


def test_a_session_does_not_change_its_name(world):
    alice = world.joins("alice")
    thief = world.connects()
    assert thief.joins("bob", session=alice.session).codes == ["not_allowed"]
    assert thief.joins("", session=alice.session).codes == ["not_allowed"]
    assert alice.echoes("here").of(Ack) == [Ack(0, 1, ())]


def test_another_session_over_the_same_connection_ends_the_first(world):
    alice = world.joins("alice")
    alice.joins("bob", session=b"another-session.")
    assert alice.echoes("bob here").of(Ack) == [Ack(0, 1, ())]
    assert [(p.name, p.on) for p in world.hears(b"presence\0")] == [
        ("alice", True),
        ("alice", False),
        ("bob", True),
    ]
    world.joins("alice")


def test_the_end_of_a_session_does_not_touch_the_next_one_over_its_connection(world):
    alice = world.joins("alice")
    alice.joins("bob", session=b"another-session.")
    world.passes(GRACE + 1.0, alive=[alice])
    assert alice.echoes("bob here").of(Ack) == [Ack(0, 1, ())]


def test_the_end_of_a_session_does_not_touch_who_has_its_routing_id_now(world):
    alice = world.joins("alice")
    world.begin()
    world.broker.lost(alice.identity)
    alice.joins("bob", session=b"another-session.")
    world.passes(GRACE + 1.0, alive=[alice])
    assert alice.echoes("bob here").of(Ack) == [Ack(0, 1, ())]


def test_who_resumes_elsewhere_does_not_touch_who_took_the_former_connection(world):
    alice = world.joins("alice")
    first = alice.session
    alice.joins("bob", session=b"another-session.")
    world.connects().joins("alice", session=first)
    assert alice.echoes("bob here").of(Ack) == [Ack(0, 1, ())]


# --- attempts -----------------------------------------------------------------------------


def test_the_welcome_tells_which_attempt_made_the_session(world):
    alice = world.connects()
    assert alice.joins("alice", attempt=3)[0].born == 3
    assert alice.joins(attempt=4)[0].born == 3
    alice.says(Bye())
    assert alice.joins(attempt=5)[0].born == 5


def test_a_hello_that_comes_twice_is_answered_twice(world):
    alice = world.connects()
    hello = alice.hello("alice")
    alice.posts(hello)
    alice.posts(hello)
    world.turn()
    first, second = alice.hears()
    assert first == second


def test_a_hello_left_over_from_a_former_connection_changes_nothing(world):
    alice = world.joins("alice", attempt=1)
    again = world.connects()
    again.joins("alice", session=alice.session, attempt=2)
    alice.hears()
    assert alice.says(alice.hello(attempt=1)) == []
    assert again.echoes("here").of(Ack) == [Ack(0, 1, ())]


def test_a_hello_left_over_from_a_former_connection_changes_nothing_by_waiting(world):
    holder, former, again = world.joins("alice"), world.connects(), world.connects()
    world.loses(holder)
    # The newer HELLO is read first: it came over another connection.
    again.posts(again.hello("alice", session=b"waits for alice.", attempt=2))
    former.posts(former.hello("alice", session=b"waits for alice.", attempt=1))
    world.turn()
    world.passes(GRACE + 1.0)
    assert len(again.hears().of(Welcome)) == 1
    assert again.echoes("here").of(Ack) == [Ack(0, 1, ())]


# --- going --------------------------------------------------------------------------------


def test_a_goodbye_is_answered_and_frees_everything(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    assert alice.says(Bye()) == [Farewell("left", "goodbye")]
    assert on(bob) == ["bob"]
    assert alice.sends("bob", "and another thing").codes == ["no_session"]
    assert bob.sends("alice", "gone?").codes == ["no_such_user"]


def test_a_session_that_said_goodbye_begins_anew(world):
    alice = world.joins("alice")
    alice.echoes("one")
    alice.says(Bye())
    (welcome,) = alice.joins()
    assert (alice.resumed, welcome.cseq) == (False, 0)


def test_a_goodbye_is_answered_even_to_a_stranger(world):
    assert world.connects().says(Bye()) == [Farewell("left", "goodbye")]


def test_who_waits_for_a_name_may_give_up(world):
    alice, bob = world.joins("alice"), world.connects()
    world.loses(alice)
    bob.joins("alice")
    assert bob.says(Bye()) == [Farewell("left", "goodbye")]
    world.passes(GRACE + 1.0)
    assert bob.hears() == []
    assert world.connects().joins("alice").of(Welcome)


def test_an_unknown_connection_may_be_lost(world):
    world.begin()
    world.broker.lost(b"\0none")
    assert world.broker.commit() == []


def test_a_connection_may_be_lost_twice(world):
    alice = world.joins("alice")
    world.loses(alice)
    world.loses(alice)
    assert world.returns(alice).resumed


# --- observers ----------------------------------------------------------------------------


def test_an_observer_reads_and_is_nobody(world):
    observer = world.connects()
    (welcome,) = observer.joins("")
    assert (welcome.name, welcome.credential) == ("", b"")
    assert [reading.log for reading in welcome.readings] == ["echo"]
    assert on(observer) == []
    assert world.published == []


def test_an_observer_may_not_speak(world):
    observer = world.joins("")
    world.joins("bob")
    words = "an observer has no name to send as"
    assert observer.echoes("hello") == [Error("not_allowed", words, 0)]
    assert observer.sends("bob", "hello").codes == ["not_allowed"]
    assert observer.says(Echo(1, ("once",)), Echo(2, ("a frame",))).codes == ["not_allowed"]
    assert world.hears(b"echo\0") == []


def test_an_observer_has_no_mailbox(world):
    observer = world.connects()
    heard = observer.joins("", follows=("direct", "echo"))
    assert heard.codes == ["no_such_log"]
    assert [reading.log for reading in observer.welcome.readings] == ["echo"]


def test_an_observer_comes_back_as_well(world):
    observer = world.joins("")
    world.loses(observer)
    assert world.returns(observer).resumed
