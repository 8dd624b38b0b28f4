"""Users and addresses that are over a limit wait, and nobody else does."""

from __future__ import annotations

import pytest
from journals import FullJournal

from chatbroker.broker.allowance import Allowance
from chatbroker.broker.origin import Origin
from chatbroker.wire.bucket import UNLIMITED, Rate
from chatbroker.wire.codec import Encoder
from chatbroker.wire.limits import MAX_FETCH, MAX_MESSAGES
from chatbroker.wire.messages import (
    Ack,
    Batch,
    Echo,
    Error,
    Fetch,
    Fetched,
    Info,
    Ping,
    Pong,
    Refused,
    Send,
    Users,
    Welcome,
)


@pytest.fixture
def limited(world_with):
    """Makes a world with some limits."""
    return lambda **limits: world_with(allowance=Allowance(**limits))


@pytest.fixture
def slow(limited):
    """A world in which a user says ten things a second, and five at once."""
    return limited(messages=Rate(10, 5))


def texts(count):
    return tuple([f"{number}" for number in range(count)])


def owes(world, peer, count):
    """*peer* says so many things that it is in debt."""
    first, peer.cseq = peer.cseq + 1, peer.cseq + count
    assert peer.says(Echo(first, texts(count))).of(Ack)


# --- commands -----------------------------------------------------------------------------


def test_welcome_tells_the_rates(limited):
    world = limited(messages=Rate(10, 5), bytes=Rate(2000, 9000))
    limits = world.joins("alice").welcome.limits
    assert limits[4:] == (10, 5, 2000, 9000)


def test_other_limits_hold_at_once_and_are_told_at_the_next_welcome(slow):
    alice = slow.joins("alice")
    owes(slow, alice, 15)
    new = Allowance(messages=Rate(1000, 2000), joins=Rate(1, 1), text=3)
    slow.broker.hand.adjust(allowance=new)
    # What was owed is forgotten, and a text may be three bytes from now on.
    (ack,) = alice.says(Echo(16, ("one", "four"))).of(Ack)
    assert (ack.upto, [refused[:3] for refused in ack.refused]) == (17, [(17, 17, "too_long")])
    limits = slow.joins("bob").welcome.limits
    assert (limits.max_text, limits[4:6]) == (3, (1000, 2000))
    slow.joins("carol")
    assert slow.connects().joins("dave").codes == ["slow_down"]
    slow.broker.hand.adjust(allowance=Allowance())
    assert alice.says(Echo(18, ("four",))).of(Ack) == [Ack(17, 18)]
    assert slow.joins("dave").welcome.limits.max_text == Allowance().text


def test_a_burst_is_carried_out(slow):
    alice = slow.joins("alice")
    assert alice.says(Echo(1, texts(5))).of(Ack) == [Ack(0, 5)]
    assert alice.says(Echo(6, texts(1))).of(Ack) == [Ack(5, 6)]


def test_what_is_over_it_is_held_back_and_takes_no_number(slow):
    alice = slow.joins("alice")
    owes(slow, alice, 15)
    heard = alice.says(Echo(16, ("too soon",)))
    assert not heard.of(Ack)
    (error,) = heard.of(Error)
    assert (error.code, error.ref) == ("slow_down", 16)
    # Ten too many by ten a second, less the turn's hundredth of one.
    assert error.wait == pytest.approx(990, abs=1)
    assert alice.pings().of(Pong)
    slow.passes(1.0, [alice])
    alice.hears()
    assert alice.says(Echo(16, ("now",))).of(Ack) == [Ack(15, 16)]
    said = [e.text for b in alice.fetches("echo").of(Batch) for e in b.events]
    assert said == [*texts(15), "now"]


def test_it_is_told_once_a_turn_and_of_the_number_that_is_expected(slow):
    alice = slow.joins("alice")
    owes(slow, alice, 15)
    for cseq in (16, 17, 30):
        alice.posts(Echo(cseq, ("x",)))
    slow.turn()
    assert [(e.code, e.ref) for e in alice.hears().of(Error)] == [("slow_down", 16)]
    slow.turn()
    assert not alice.hears()


@pytest.fixture
def held(world_with):
    """A world as `slow`, whose turn is held: alice owes for a second in it and was held back, and
    what bob said waits."""
    world = world_with(FullJournal(), allowance=Allowance(messages=Rate(10, 5)))
    world.alice, world.bob = world.joins("alice"), world.joins("bob")
    owes(world, world.alice, 15)
    world.journal.full = True
    world.alice.posts(Echo(16, ("too soon",)))
    world.bob.posts(world.bob.echo("hi"))
    world.turn()
    assert world.broker.held
    return world


def stores(world, after=0.01):
    """What alice hears when the disk has room again."""
    world.alice.hears()
    world.journal.full = False
    world.turn(after)
    assert not world.broker.held
    return world.alice.hears()


@pytest.mark.parametrize(("after", "wait"), [(0.25, 740), (0.98, 10), (0.99, 0), (60.0, 0)])
def test_who_was_held_back_in_a_turn_that_waited_hears_what_is_left_to_wait(held, after, wait):
    assert [(error.code, error.ref, error.wait) for error in stores(held, after).of(Error)] == [
        ("slow_down", 16, pytest.approx(wait, abs=1))
    ]
    held.passes(max(0.0, 1.0 - after), [held.alice])
    held.alice.hears()
    assert held.alice.says(Echo(16, ("now",))).of(Ack) == [Ack(15, 16)]


def test_limits_are_others_when_a_turn_waits_in_which_somebody_was_held_back(held):
    held.broker.hand.adjust(allowance=Allowance(messages=Rate(1000, 2000)))
    assert [(error.code, error.wait) for error in stores(held).of(Error)] == [("slow_down", 0)]
    assert held.alice.says(Echo(16, ("now",))).of(Ack) == [Ack(15, 16)]


def test_who_was_held_back_in_a_turn_that_is_stored_at_the_last_hears_it_before_the_goodbye(held):
    held.passes(2.0)
    held.alice.hears()
    held.journal.full = False
    held.effects = []
    held.perform(held.broker.shutdown())
    heard = held.alice.hears()
    assert heard.codes == ["storing", "slow_down", "shutting_down"]
    assert heard.of(Error)[0].wait == 0


def test_what_is_said_is_taken_when_it_is_said_also_if_it_waits_to_be_stored(world_with):
    """If it were taken when it is stored, who waited for that would owe it from then on."""
    world = world_with(FullJournal(), allowance=Allowance(messages=Rate(10, 5)))
    alice = world.joins("alice")
    world.journal.full = True
    alice.posts(alice.echo("one"), *[alice.echo("more") for _ in range(14)])
    world.turn()
    world.turn(1.0)
    world.journal.full = False
    world.turn()
    assert alice.hears().of(Ack) == [Ack(0, 15)]
    assert alice.says(Echo(16, ("at once",))).of(Ack) == [Ack(15, 16)]


def test_who_was_held_back_and_lost_hears_nothing(slow):
    alice = slow.joins("alice")
    owes(slow, alice, 15)
    alice.posts(Echo(16, ("too soon",)))
    slow.begin()
    slow.receive()
    slow.broker.lost(alice.identity)
    slow.ends_turn()
    assert not alice.hears()


def test_who_is_held_back_hears_of_no_gap_beside(slow):
    """Its client would send at once what is to wait."""
    alice = slow.joins("alice")
    owes(slow, alice, 15)
    heard = alice.says(Ping(1, 17, 15, ()), Echo(16, ("too soon",)), Echo(17, ("as well",)))
    assert [(error.code, error.ref) for error in heard.of(Error)] == [("slow_down", 16)]


def test_what_comes_in_one_turn_is_not_held_back_in_it(slow):
    alice = slow.joins("alice")
    for cseq in range(1, 9):
        alice.posts(Echo(cseq, ("x",)))
    slow.turn()
    assert alice.hears().of(Ack) == [Ack(0, 8)]


def test_refused_commands_count_too(slow):
    alice = slow.joins("alice")
    alice.says(Send(1, "nobody", texts(20)))
    assert alice.says(Send(21, "nobody", ("x",))).codes == ["slow_down"]


def test_what_is_repeated_costs_nothing(slow):
    alice = slow.joins("alice")
    alice.says(Echo(1, texts(5)))
    for _ in range(10):
        assert alice.says(Echo(1, texts(5))).of(Ack)
    assert alice.says(Echo(6, ("x",))).of(Ack)


def test_questions_are_answered_meanwhile(slow):
    alice = slow.joins("alice")
    owes(slow, alice, 100)
    heard = alice.says(
        Ping(1, 100, 100, ()),
        Echo(101, ("x",)),
        Info(2, ""),
        Fetch(3, "echo", alice.epoch("echo"), 0, MAX_FETCH),
    )
    assert heard.of(Pong)
    assert heard.of(Users)
    assert heard.of(Fetched)
    assert heard.codes == ["slow_down"]


def test_the_lease_goes_on_meanwhile(slow):
    alice = slow.joins("alice")
    owes(slow, alice, 200)
    for _ in range(40):
        alice.says(Echo(201, ("x",)))
        slow.passes(1.0)
    assert slow.joins("bob").says(Info(1, "")).of(Users)[0].users[0].name == "alice"


def test_sessions_of_a_user_share_what_is_left(slow):
    alice = slow.joins("alice")
    window = slow.joins("alice", credential=alice.welcome.credential)
    owes(slow, alice, 15)
    assert window.says(Echo(1, ("x",))).codes == ["slow_down"]
    slow.passes(1.0, [alice, window])
    window.hears()
    assert window.says(Echo(1, ("x",))).of(Ack)


def test_nobody_else_waits(slow):
    alice, bob = slow.joins("alice"), slow.joins("bob")
    owes(slow, alice, 200)
    alice.posts(Echo(201, ("x",)))
    assert bob.sends("alice", "hi").of(Ack) == [Ack(0, 1)]
    assert bob.echoes("hi").of(Ack) == [Ack(1, 2)]


def test_leaving_and_coming_back_is_no_way_round(slow):
    alice = slow.joins("alice", claim=True)
    owes(slow, alice, 200)
    credential = alice.welcome.credential
    again = slow.connects()
    assert again.joins("alice", credential=credential, replaces=alice.session).of(Welcome)
    assert again.echoes("x").codes == ["slow_down"]


def test_a_hello_in_the_same_frame_is_no_way_round(slow):
    alice = slow.joins("alice")
    owes(slow, alice, 200)
    again = slow.connects()
    hello = again.hello("alice", credential=alice.welcome.credential)
    heard = again.says(hello, Echo(1, ("x",)))
    assert heard.of(Welcome)
    assert heard.codes == ["slow_down"]
    # And what follows HELLO is counted.
    bob = slow.connects()
    assert bob.says(bob.hello("bob"), Echo(1, texts(20))).of(Ack)
    assert bob.says(Echo(21, ("x",))).codes == ["slow_down"]


def test_bytes_have_a_rate_of_their_own(limited):
    world = limited(bytes=Rate(1000, 1000))
    alice = world.joins("alice")
    assert alice.says(Echo(1, ("x" * 3000,))).of(Ack)
    (error,) = alice.says(Echo(2, ("x",))).of(Error)
    assert error.code == "slow_down"
    assert 1900 <= error.wait <= 2100


def test_bytes_of_questions_do_not_count(limited):
    world = limited(bytes=Rate(100, 100))
    alice = world.joins("alice")
    for _ in range(100):
        alice.pings()
    assert alice.echoes("x").of(Ack)


def test_a_broker_without_limits_holds_nobody_back(limited):
    world = limited(messages=UNLIMITED, bytes=UNLIMITED)
    alice = world.joins("alice")
    assert alice.welcome.limits[4:] == (0, 0, 0, 0)
    for turn in range(100):
        assert alice.says(
            Echo(1 + 1000 * turn, ("",) * 250),
            *[Echo(1 + 1000 * turn + part, ("",) * 250) for part in (250, 500, 750)],
        ).of(Ack)


# --- texts --------------------------------------------------------------------------------


def test_a_text_may_be_as_long_as_the_operator_lets_it(limited):
    world = limited(text=10)
    alice = world.joins("alice")
    assert alice.welcome.limits.max_text == 10
    heard = alice.says(Echo(1, ("0123456789", "0123456789a", "ok")))
    (ack,) = heard.of(Ack)
    assert [(r.first, r.last, r.code) for r in ack.refused] == [(2, 2, "too_long")]
    said = [e.text for b in alice.fetches("echo").of(Batch) for e in b.events]
    assert said == ["0123456789", "ok"]


# --- history ------------------------------------------------------------------------------


def fill(world, speaker, events):
    """*events* of 1000 bytes in the public log, each in a row of its own."""
    for _ in range(events):
        assert speaker.echoes("x" * 1000).of(Ack)


def reads(peer, after=0):
    """The events and the error in answer to a FETCH."""
    heard = peer.fetches("echo", after=after, ref=7)
    return sum(len(batch.events) for batch in heard.of(Batch)), heard.of(Error)


def test_history_gets_shorter_and_then_comes_later(limited):
    world = limited(history=Rate(10_000, 60_000))
    alice = world.joins("alice")
    fill(world, alice, 200)
    first, errors = reads(alice)
    assert not errors
    assert 50 < first < 60
    # As many as fill a frame, though less is left.
    second, errors = reads(alice, first)
    assert not errors
    assert 10 < second < 20
    none, (error,) = reads(alice, first + second)
    assert none == 0
    assert (error.code, error.ref) == ("fetch_later", 7)
    assert 1000 < error.wait < 2000
    world.passes(error.wait / 1000, [alice])
    assert reads(alice, first + second)[0] > 0


def test_history_of_others_is_not_slowed(limited):
    world = limited(history=Rate(10_000, 20_000))
    alice, bob = world.joins("alice"), world.joins("bob")
    window = world.joins("alice", credential=alice.welcome.credential)
    fill(world, alice, 100)
    while not reads(alice)[1]:
        pass
    assert reads(window)[1]
    assert reads(bob)[0] > 10


def test_observers_of_one_address_share(limited):
    world = limited(history=Rate(10_000, 20_000))
    fill(world, world.joins("alice"), 100)
    one, other = world.joins(""), world.joins("")
    while not reads(one)[1]:
        pass
    assert reads(other)[1]
    stranger = world.connects()
    hello = stranger.hello("")
    say_from(world, stranger, hello, "192.0.2.7")
    assert reads(stranger)[0] > 10


# --- addresses ----------------------------------------------------------------------------


def say_from(world, peer, message, address):
    """What *peer* hears when it says *message* from *address*."""
    world.begin()
    world.broker.receive(peer.identity, Encoder().encode(message), Origin(address))
    world.ends_turn()
    return peer.hears()


def hello_from(world, address, name="", **how):
    peer = world.connects()
    return peer, say_from(world, peer, peer.hello(name, **how), address)


def test_new_sessions_of_an_address_are_put_off(limited):
    world = limited(joins=Rate(1, 3))
    for _ in range(4):
        assert hello_from(world, "192.0.2.7")[1].of(Welcome)
    peer, heard = hello_from(world, "192.0.2.7")
    (refused,) = heard.of(Refused)
    assert refused.code == "slow_down"
    assert 900 < refused.wait <= 1000
    assert hello_from(world, "192.0.2.8")[1].of(Welcome)
    world.passes(1.0)
    assert say_from(world, peer, peer.hello(), "192.0.2.7").of(Welcome)


def test_an_observer_that_names_a_mailbox_does_not_join_again_each_time(limited):
    world = limited(joins=Rate(1, 1))
    observer = world.connects()
    for _ in range(5):
        assert observer.joins("", follows=("echo", "direct")).of(Welcome)


def test_bytes_that_came_behind_what_is_repeated_are_paid_for(limited):
    world = limited(bytes=Rate(1000, 2000))
    alice = world.joins("alice")
    alice.echoes("first")
    repeated = [Echo(1, ("first",))] * MAX_MESSAGES
    left, owed = world.broker.receive_commands(alice.identity, repeated, 5000)
    assert (left, owed) == ([], 5000)
    both = [*repeated, alice.echo("x")]
    assert world.broker.receive_commands(alice.identity, both, 5000) == ([], 0)
    world.turn()
    spent = world.broker._registry.users["alice"].spent
    assert spent.wait(world.now) > 2


def test_a_session_that_turns_between_being_there_and_not_joins_each_time(limited):
    """As everybody is told of it; whoever says HELLO again as before costs nothing."""
    world = limited(joins=Rate(1, 3))
    alice = world.joins("alice")
    for _ in range(5):
        assert alice.joins().of(Welcome)
    for follows in (("echo",), None, ()):
        assert alice.joins(follows=follows).of(Welcome)
    for _ in range(2):
        assert alice.joins().codes == ["slow_down"]
    assert alice.joins(follows=("echo",)).of(Welcome)
    world.passes(1.0)
    assert alice.joins().of(Welcome)


def test_a_session_that_goes_on_is_no_new_one(limited):
    world = limited(joins=Rate(1, 1))
    alice, heard = hello_from(world, "192.0.2.7", "alice")
    assert heard.of(Welcome)
    for _ in range(10):
        assert say_from(world, alice, alice.hello(), "192.0.2.7").of(Welcome)


def test_a_hello_that_is_refused_makes_no_session(limited):
    world = limited(joins=Rate(1, 2))
    hello_from(world, "192.0.2.7", "alice", claim=True)
    for _ in range(10):
        assert hello_from(world, "192.0.2.7", "alice")[1].codes == ["name_taken"]
    assert hello_from(world, "192.0.2.7", "bob")[1].of(Welcome)


def test_new_claims_of_an_address_are_put_off(limited):
    world = limited(claims=Rate(1, 2))
    for name in ("a", "b", "c"):
        assert hello_from(world, "192.0.2.7", name, claim=True)[1].of(Welcome)
    (refused,) = hello_from(world, "192.0.2.7", "d", claim=True)[1].of(Refused)
    assert refused.code == "slow_down"
    assert 0 < refused.wait <= 1000
    assert hello_from(world, "192.0.2.7", "d")[1].of(Welcome)
    assert hello_from(world, "192.0.2.8", "e", claim=True)[1].of(Welcome)


def test_claiming_a_borrowed_name_is_a_new_claim(limited):
    world = limited(claims=Rate(1, 0.5))
    assert hello_from(world, "192.0.2.7", "a", claim=True)[1].of(Welcome)
    peer, heard = hello_from(world, "192.0.2.7", "b")
    assert heard.of(Welcome)
    assert say_from(world, peer, peer.hello(claim=True), "192.0.2.7").codes == ["slow_down"]
    # What was refused changed nothing: the session still stands.
    assert peer.echoes("hi").of(Ack)


def test_a_claim_that_is_repeated_is_no_new_one(limited):
    world = limited(claims=Rate(1, 0.5))
    _, heard = hello_from(world, "192.0.2.7", "Alice", claim=True)
    credential = heard.of(Welcome)[0].credential
    for _ in range(5):
        _, heard = hello_from(world, "192.0.2.7", "Alice", claim=True, credential=credential)
        assert heard.of(Welcome)


def test_an_address_has_so_many_live_sessions(limited):
    world = limited(address_sessions=2)
    hello_from(world, "192.0.2.7", "alice")
    other, _ = hello_from(world, "192.0.2.7")
    third, heard = hello_from(world, "192.0.2.7")
    assert heard.codes == ["broker_full"]
    assert hello_from(world, "192.0.2.8")[1].of(Welcome)
    world.loses(other)
    assert say_from(world, third, third.hello(), "192.0.2.7").of(Welcome)
    assert hello_from(world, "192.0.2.7")[1].codes == ["broker_full"]


def test_a_session_that_moves_counts_where_it_is(limited):
    world = limited(address_sessions=1)
    alice, _ = hello_from(world, "192.0.2.7", "alice")
    assert say_from(world, alice, alice.hello(), "192.0.2.8").of(Welcome)
    assert hello_from(world, "192.0.2.7")[1].of(Welcome)
    assert hello_from(world, "192.0.2.8")[1].codes == ["broker_full"]


def test_sessions_that_ended_in_any_way_do_not_count(limited):
    world = limited(address_sessions=1)
    for end in (
        lambda peer: world.loses(peer),
        lambda peer: world.passes(20.0),
        lambda peer: world.broker.hand.release("alice"),
    ):
        alice, heard = hello_from(world, "192.0.2.7", "alice")
        assert heard.of(Welcome)
        end(alice)
        world.passes(5.0)
        assert not list(world.broker._registry.live())
    assert hello_from(world, "192.0.2.7", "bob")[1].of(Welcome)


def test_as_many_sessions_as_there_may_be_push_out_none_that_lapsed(limited):
    world = limited(sessions=2)
    alice = world.joins("alice", claim=True)
    alice.echoes("one")
    world.passes(20.0)
    credential = alice.welcome.credential
    world.joins("alice", credential=credential)
    assert alice.joins(credential=credential).of(Welcome)
    assert alice.resumed


def test_the_sessions_of_a_user_are_as_many_as_the_operator_lets_them(limited):
    world = limited(sessions=2)
    alice = world.joins("alice")
    credential = alice.welcome.credential
    world.joins("alice", credential=credential)
    third = world.connects()
    assert third.joins("alice", credential=credential).codes == ["broker_full"]
