"""What users say to each other: each command carried out once, in order, and answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.wire.limits import MAX_INT, MAX_NAME, MAX_RUNS, MAX_TEXT, MAX_USERS, WINDOW
from chatbroker.wire.messages import (
    Ack,
    Batch,
    Bye,
    Echo,
    Error,
    Event,
    Farewell,
    Info,
    Ping,
    Pong,
    Refusal,
    Send,
    User,
    Users,
)


@pytest.fixture
def alice(world):
    return world.joins("alice")


@pytest.fixture
def bob(world, alice):
    return world.joins("bob")


def resolved(acks: list[Ack]) -> dict[int, bool]:
    """Which commands a chain of ACKs resolves, and whether they were carried out."""
    outcomes: dict[int, bool] = {}
    for ack in acks:
        refused = {n for run in ack.refused for n in range(run.first, run.last + 1)}
        assert all(ack.after < cseq <= ack.upto for cseq in refused)
        outcomes |= {cseq: cseq not in refused for cseq in range(ack.after + 1, ack.upto + 1)}
    return outcomes


# --- to one -------------------------------------------------------------------------------


def test_bob_hears_alice_and_alice_hears_herself(world, alice, bob):
    heard = alice.sends("bob", "hello, bob")
    event = Event(world.wall, "alice", "bob", "hello, bob")
    assert heard == [Batch("direct", alice.epoch("direct"), 0, 1, (event,)), Ack(0, 1, ())]
    assert bob.hears() == [Batch("direct", bob.epoch("direct"), 0, 1, (event,))]


def test_nobody_else_hears_a_direct_message(world, alice, bob):
    carol, observer = world.joins("carol"), world.joins("")
    world.published.clear()
    alice.sends("bob", "between us")
    assert carol.hears() == observer.hears() == []
    assert world.published == []


def test_a_message_to_oneself_is_heard_once(alice):
    heard = alice.sends("alice", "note to self")
    assert heard.texts == ["note to self"]
    assert alice.fetches("direct").texts == ["note to self"]


def test_every_session_of_either_user_hears_a_direct_message(world, alice, bob):
    second_alice = world.joins("alice", credential=alice.welcome.credential)
    second_bob = world.joins("bob", credential=bob.welcome.credential)
    alice.sends("bob", "hello")
    assert second_alice.hears().texts == ["hello"]
    assert bob.hears().texts == second_bob.hears().texts == ["hello"]


def test_bob_may_be_written_with_a_capital_letter(alice, bob):
    assert alice.says(alice.send("BOB", "one"), alice.send("Bob", "two")).codes == []
    batch = bob.hears()[0]
    assert [event.to for event in batch.events] == ["bob", "bob"]


@pytest.mark.parametrize("nobody", ["", "carol", "bob ", "@bob", "\N{KELVIN SIGN}", "n" * 32])
def test_a_message_to_nobody_is_refused(alice, bob, nobody):
    """Without the name: who sent it knows, and the broker keeps a thousand outcomes."""
    heard = alice.sends(nobody, "hello?")
    assert heard == [Ack(0, 1, (Refusal(1, 1, "no_such_user", "no such user"),))]


def test_a_user_without_a_mailbox_cannot_be_reached(world, alice):
    world.joins("bob", follows=("echo",))
    assert alice.sends("bob", "hello?").codes == ["no_such_user"]


def test_who_lost_the_connection_a_moment_ago_finds_the_message_later(world, alice, bob):
    world.loses(bob)
    assert alice.sends("bob", "while you were out").codes == []
    again = world.returns(bob)
    assert again.fetches("direct").texts == ["while you were out"]


def test_who_lapsed_is_not_reachable(world, alice, bob):
    world.passes(16.0, alive=[alice])
    assert alice.sends("bob", "hello?").codes == ["no_such_user"]


def test_who_comes_or_goes_in_a_turn_is_reachable_from_then_or_until_then(world, alice):
    bob = world.connects()
    alice.posts(alice.send("bob", "too early"))
    bob.posts(bob.hello("bob"))
    alice.posts(alice.send("bob", "in time"), alice.send("bob", "in time as well"))
    bob.posts(Bye())
    alice.posts(alice.send("bob", "too late"))
    world.turn()
    acks = alice.hears().of(Ack)
    assert resolved(acks) == {1: False, 2: True, 3: True, 4: False}


def test_who_stops_to_follow_the_mailbox_within_a_turn_is_not_reachable_any_more(world, alice, bob):
    alice.posts(alice.send("bob", "in time"))
    bob.posts(bob.hello(follows=("echo",)))
    alice.posts(alice.send("bob", "too late"))
    world.turn()
    assert resolved(alice.hears().of(Ack)) == {1: True, 2: False}


def test_who_takes_a_name_within_a_turn_gets_what_is_said_from_then_on(world, alice, bob):
    successor = world.connects()
    alice.posts(alice.send("bob", "for the first"))
    bob.posts(Bye())
    successor.posts(successor.hello("bob"))
    alice.posts(alice.send("bob", "for the second"))
    world.turn()
    assert successor.hears().texts == ["for the second"]
    assert "for the second" not in bob.hears().texts


# --- to everyone --------------------------------------------------------------------------


def test_everyone_hears_an_echo(world, alice):
    assert alice.echoes("hello, all") == [Ack(0, 1, ())]
    event = Event(world.wall, "alice", "", "hello, all")
    assert world.hears(b"echo\0") == [Batch("echo", alice.epoch("echo"), 0, 1, (event,))]


def test_what_is_said_in_one_turn_goes_out_in_one_batch(world, alice, bob):
    alice.posts(alice.echo("1"), alice.echo("2"))
    bob.posts(bob.echo("3"))
    alice.posts(alice.echo("4"))
    world.turn()
    (batch,) = world.hears(b"echo\0")
    assert [(event.sender, event.text) for event in batch.events] == [
        ("alice", "1"),
        ("alice", "2"),
        ("bob", "3"),
        ("alice", "4"),
    ]


def test_each_batch_names_what_precedes_it_across_turns(world, alice, bob):
    position = 0
    for count in (1, 3, 2):
        heard = alice.says(*[alice.send("bob", "x") for _ in range(count)], alice.echo("x"))
        (batch,) = heard.of(Batch)
        assert (batch.prev, batch.first, len(batch.events)) == (position, position + 1, count)
        position += count
    assert [batch.prev for batch in world.hears(b"echo\0")] == [0, 1, 2]


def test_a_turn_of_long_texts_goes_out_in_batches_that_adjoin(world, alice):
    for _ in range(4):
        alice.posts(*[alice.echo("x" * 5000) for _ in range(12)])
    world.turn()
    batches = world.hears(b"echo\0")
    assert len(batches) > 12
    position = 0
    for batch in batches:
        assert (batch.prev, batch.first) == (position, position + 1)
        position += len(batch.events)
    assert position == 48


def test_any_text_arrives_as_it_was_sent(alice, bob):
    texts = ["", "\0", "\x1b[2J", "🙂" * (MAX_TEXT // 4), "x" * MAX_TEXT, "שלום\n"]
    for text in texts:
        alice.sends("bob", text)
    assert bob.hears().texts == texts


# --- refusals -----------------------------------------------------------------------------


def test_a_refused_command_in_the_middle_of_a_frame_spares_the_others(world, alice, bob):
    heard = alice.says(
        alice.echo("one"),
        alice.send("nobody", "two"),
        alice.echo("x" * (MAX_TEXT + 1)),
        alice.send("n" * (MAX_NAME + 1), "four"),
        alice.send("bob", "five"),
    )
    (ack,) = heard.of(Ack)
    assert resolved([ack]) == {1: True, 2: False, 3: False, 4: False, 5: True}
    assert heard.codes == ["no_such_user", "too_long", "no_such_user"]
    assert world.hears(b"echo\0").texts == ["one"]
    assert bob.hears().texts == ["five"]


def test_a_text_that_is_too_long_is_refused_when_it_comes_alone(alice):
    (ack,) = alice.echoes("x" * (MAX_TEXT + 1))
    assert resolved([ack]) == {1: False}
    assert ack.refused[0].code == "too_long"


def test_of_a_command_all_of_which_is_too_long_nothing_is_stored(world, alice, bob):
    long = "x" * (MAX_TEXT + 1)
    for said in (Echo(1, (long, long)), Send(3, "bob", (long,))):
        (ack,) = alice.says(said).of(Ack)
        assert {refusal.code for refusal in ack.refused} == {"too_long"}
    assert world.journal.messages == 0
    assert not world.journal._logs
    assert not world.hears(b"echo\0").texts
    assert not bob.hears().texts


def test_more_refusals_than_an_ack_holds_are_told_in_several(alice):
    count = 2 * MAX_RUNS + 1
    # Refused and accepted in turns, so that no two refusals share a run.
    said = [alice.send("nobody", "") if n % 2 else alice.echo("") for n in range(1, 2 * count)]
    acks = alice.says(*said, alice.echo("last")).of(Ack)
    assert len(acks) == 3
    assert [ack.after for ack in acks] == [0, *[ack.upto for ack in acks[:-1]]]
    assert resolved(acks) == {cseq: cseq % 2 == 0 for cseq in range(1, 2 * count + 1)}


def test_a_refused_command_is_not_stored_anywhere(world, alice):
    alice.sends("nobody", "hello?")
    assert world.journal.events == 0


# --- once, and in order -------------------------------------------------------------------


def test_a_command_sent_again_is_not_carried_out_again(world, alice, bob):
    command = alice.send("bob", "once")
    assert alice.says(command).of(Ack) == [Ack(0, 1, ())]
    for _ in range(3):
        assert alice.says(command) == [Ack(0, 1, ())]
    assert bob.hears().texts == ["once"]
    assert world.journal.events == 2


def test_a_command_twice_in_one_turn_is_carried_out_once(world, alice):
    command = alice.echo("once")
    alice.posts(command, command)
    alice.posts(command)
    world.turn()
    assert alice.hears() == [Ack(0, 1, ())]
    assert world.hears(b"echo\0").texts == ["once"]


def test_a_refused_command_sent_again_hears_its_refusal_again(world, alice):
    command = alice.send("bob", "hello?")
    first = alice.says(command)
    world.joins("bob")
    assert (
        alice.says(command)
        == first
        == [Ack(0, 1, (Refusal(1, 1, "no_such_user", "no such user"),))]
    )


def test_a_number_with_another_text_is_still_a_duplicate(world, alice):
    alice.echoes("first")
    world.hears(b"echo\0")
    assert alice.says(Echo(1, ("second",))) == [Ack(0, 1, ())]
    assert world.hears(b"echo\0") == []


def test_a_text_that_is_too_long_is_a_duplicate_too(alice):
    alice.echoes("first")
    assert alice.says(Echo(1, ("x" * (MAX_TEXT + 1),))) == [Ack(0, 1, ())]


def test_after_a_gap_the_expected_number_is_told_once_a_turn(world, alice):
    alice.echoes("one")
    world.hears(b"echo\0")
    alice.posts(Echo(3, ("three",)), Echo(4, ("four",)))
    alice.posts(Echo(5, ("x" * (MAX_TEXT + 1),)), Echo(MAX_INT, ("far ahead",)))
    world.turn()
    assert alice.hears() == [Error("out_of_order", "command 2 is expected next", 2)]
    assert world.hears(b"echo\0") == []


def test_what_fills_a_gap_in_the_same_turn_counts(world, alice):
    alice.posts(Echo(2, ("two",)), Echo(1, ("one",)))
    world.turn()
    heard = alice.hears()
    assert heard.of(Ack) == [Ack(0, 1, ())]
    assert heard.of(Error) == [Error("out_of_order", "command 2 is expected next", 2)]
    assert world.hears(b"echo\0").texts == ["one"]


def test_the_first_command_is_number_1(alice):
    assert alice.says(Echo(2, ("two",))).of(Error)[0].ref == 1
    assert alice.says(Send(0, "bob", ("zero",))).codes == ["bad_frame"]


def test_after_coming_back_all_unresolved_commands_may_be_sent_again(world, alice, bob):
    commands = [alice.send("bob", str(number)) for number in range(1, 6)]
    alice.says(*commands[:3])
    world.loses(alice)
    again = world.returns(alice)
    assert again.welcome.cseq == 3
    assert resolved(again.says(*commands).of(Ack)) == dict.fromkeys(range(1, 6), True)
    assert bob.hears().texts == ["1", "2", "3", "4", "5"]


@given(data=st.data())
def test_whatever_is_lost_or_doubled_each_command_is_carried_out_once_in_order(world_with, data):
    """A sender that sends again from any point, over one connection or another."""
    world = world_with()
    alice, bob = world.joins("alice"), world.joins("bob")
    last = data.draw(st.integers(1, 12))
    # Every third goes to nobody.
    commands = [Send(n, "bob" if n % 3 else "nobody", (str(n),)) for n in range(1, last + 1)]
    outcomes: dict[int, bool] = {}
    starts = data.draw(st.lists(st.tuples(st.integers(0, 11), st.booleans()), max_size=8))
    for start, reconnects in [*starts, *[(n, False) for n in range(last)]]:
        if reconnects:
            alice = world.returns(alice)
        told = resolved(alice.says(*commands[start : start + 4], Ping(1, 0, last, ())).of(Ack))
        assert all(outcomes.setdefault(cseq, done) == done for cseq, done in told.items())
    assert outcomes == {n: n % 3 != 0 for n in range(1, last + 1)}
    heard = bob.hears().texts
    assert heard == [str(n) for n in range(1, last + 1) if n % 3]


# --- several texts in one message -----------------------------------------------------------


@pytest.fixture(params=["to one", "to all"])
def run(request, alice, bob):
    """A message of alice's with the commands from one number to another, of 1 to 5, and their
    numbers as texts."""

    def between(first: int = 1, last: int = 5) -> Send | Echo:
        texts = tuple([str(number) for number in range(first, last + 1)])
        return Send(first, "bob", texts) if request.param == "to one" else Echo(first, texts)

    return between


@pytest.fixture
def said(alice, bob):
    """The texts that are stored, wherever a run of alice's goes."""
    return lambda: [*bob.fetches("direct").texts, *bob.fetches("echo").texts]


def test_a_run_is_carried_out_in_order(alice, run, said):
    assert alice.says(run()).of(Ack) == [Ack(0, 5, ())]
    assert said() == ["1", "2", "3", "4", "5"]


def test_of_a_run_that_is_partly_known_the_rest_is_carried_out(alice, run, said):
    alice.says(run(1, 3))
    assert alice.says(run()).of(Ack) == [Ack(0, 5, ())]
    assert said() == ["1", "2", "3", "4", "5"]


def test_of_a_run_that_begins_in_what_is_known_the_rest_is_carried_out(alice, run, said):
    alice.says(run(1, 3))
    assert alice.says(run(2)).of(Ack) == [Ack(1, 5, ())]
    assert said() == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(("first", "last"), [(1, 5), (1, 3), (2, 4), (4, 5)])
def test_a_run_that_is_known_is_acknowledged_again_and_not_carried_out(
    alice, run, said, first, last
):
    alice.says(run())
    assert alice.says(run(first, last)) == [Ack(first - 1, 5, ())]
    assert said() == ["1", "2", "3", "4", "5"]


def test_a_run_twice_in_a_turn_is_carried_out_once(world, alice, run, said):
    alice.posts(run())
    alice.posts(run())
    world.turn()
    assert alice.hears().of(Ack) == [Ack(0, 5, ())]
    assert said() == ["1", "2", "3", "4", "5"]


def test_of_a_run_after_a_gap_nothing_is_carried_out(alice, run, said):
    alice.says(run(1, 1))
    heard = alice.says(run(3))
    assert heard == [Error("out_of_order", "command 2 is expected next", 2)]
    assert said() == ["1"]
    assert alice.says(run(2)).of(Ack) == [Ack(1, 5, ())]
    assert said() == ["1", "2", "3", "4", "5"]


def test_a_run_fills_the_gap_before_another(world, alice, run, said):
    alice.posts(run(4))
    alice.posts(run(1, 3))
    alice.posts(run(4))
    world.turn()
    assert alice.hears().of(Ack) == [Ack(0, 5, ())]
    assert said() == ["1", "2", "3", "4", "5"]


def test_a_run_to_nobody_is_refused_number_by_number(world, alice):
    (ack,) = alice.says(Send(1, "carol", ("hello?",) * 3))
    assert ack == Ack(0, 3, (Refusal(1, 3, "no_such_user", "no such user"),))
    assert world.journal.events == 0


def test_of_a_run_that_is_partly_refused_the_rest_may_arrive(world, alice):
    alice.says(Send(1, "carol", ("1", "2", "3")))
    carol = world.joins("carol")
    again = Send(1, "carol", ("1", "2", "3", "4", "5"))
    assert resolved(alice.says(again).of(Ack)) == {1: False, 2: False, 3: False, 4: True, 5: True}
    assert carol.hears().texts == ["4", "5"]


def test_of_a_run_that_is_partly_carried_out_the_rest_may_be_refused(world, alice, bob):
    alice.says(Send(1, "bob", ("1", "2", "3")))
    bob.says(Bye())
    again = Send(1, "bob", ("1", "2", "3", "4", "5"))
    assert resolved(alice.says(again).of(Ack)) == {1: True, 2: True, 3: True, 4: False, 5: False}


def test_a_text_that_is_too_long_is_refused_alone(alice, bob):
    long = "x" * (MAX_TEXT + 1)
    said = Send(1, "bob", ("1", long, "3", long)), Echo(5, (long, "6"))
    outcomes = resolved(alice.says(*said).of(Ack))
    assert outcomes == {1: True, 2: False, 3: True, 4: False, 5: False, 6: True}
    assert bob.hears().texts == ["1", "3"]
    assert bob.fetches("echo").texts == ["6"]


def test_runs_of_several_are_heard_in_the_order_of_their_frames(world, alice, bob):
    alice.posts(alice.echo("1"), alice.echo("2"))
    bob.posts(bob.echo("3"), bob.echo("4"))
    alice.posts(alice.echo("5"))
    alice.posts(alice.echo("6"), alice.echo("7"))
    world.turn()
    assert world.hears(b"echo\0").texts == ["1", "2", "3", "4", "5", "6", "7"]


def test_two_sessions_of_one_user_that_speak_in_one_turn_are_both_answered(world, alice, bob):
    second = world.joins("alice", credential=alice.welcome.credential)
    alice.posts(alice.send("bob", "one"))
    second.posts(second.send("bob", "two"))
    world.turn()
    assert alice.hears().of(Ack) == second.hears().of(Ack) == [Ack(0, 1, ())]
    assert bob.hears().texts == ["one", "two"]


def test_a_run_of_somebody_without_a_name_is_answered_once(world):
    observer, stranger = world.joins(""), world.connects()
    for peer, code in ((observer, "not_allowed"), (stranger, "no_session")):
        assert peer.says(Echo(1, ("one",)), Echo(2, ("two",))).codes == [code]
    assert world.journal.events == 0


def together(commands: list) -> list:
    """*commands* in as few messages as may be."""
    made: list = []
    for command in commands:
        if made and made[-1][1:-1] == command[1:-1] and type(made[-1]) is type(command):
            made[-1] = made[-1]._replace(texts=made[-1].texts + command.texts)
        else:
            made.append(command)
    return made


@given(data=st.data())
def test_however_commands_are_cut_into_frames_the_same_is_stored(world_with, data):
    """One text a message and several, of what is known and what is not, in any turns."""
    world = world_with()
    alice, bob = world.joins("alice"), world.joins("bob")
    way = {
        "bob": lambda n: Send(n, "bob", (str(n),)),
        "all": lambda n: Echo(n, (str(n),)),
        "nobody": lambda n: Send(n, "nobody", (str(n),)),
        "no name": lambda n: Send(n, "n" * (MAX_NAME + 1), (str(n),)),
    }
    stretch = st.tuples(st.sampled_from([*way]), st.integers(1, 6))
    stretches = data.draw(st.lists(stretch, min_size=1, max_size=4))
    ways = [where for where, count in stretches for _ in range(count)]
    commands = [way[where](number) for number, where in enumerate(ways, 1)]
    done = 0
    backwards = st.sampled_from([0, 0, 0, -1, -2, -20, 1])
    cut = st.tuples(backwards, st.integers(1, 6), st.booleans(), st.booleans())
    cuts = [*data.draw(st.lists(cut, max_size=10)), (0, len(commands), True, True)]
    for back, count, turns, joins in cuts:
        start = max(done + back, 0)
        if frame := commands[start : start + count]:
            alice.posts(*(together(frame) if joins else frame))
            if start <= done:
                done = max(done, start + len(frame))
        if turns:
            world.turn()
            told = alice.pings(resolved=0).of(Ack)
            assert (told[-1].upto if told else 0) == done
    outcomes = resolved(alice.pings(resolved=0).of(Ack))
    wanted = {number: where in ("bob", "all") for number, where in enumerate(ways, 1)}
    assert outcomes == wanted
    for log, where in (("direct", "bob"), ("echo", "all")):
        texts = [str(number) for number, there in enumerate(ways, 1) if there == where]
        assert bob.fetches(log).texts == texts


# --- PING repairs -------------------------------------------------------------------------


def test_who_knows_all_hears_a_pong_and_no_more(alice):
    alice.echoes("one")
    assert [type(message) for message in alice.pings(ref=7)] == [Pong]


def test_a_lost_ack_is_told_again_when_a_ping_shows_that_it_is_missed(alice):
    first = alice.says(alice.echo("one"), alice.send("nobody", "two"), alice.echo("three"))
    heard = alice.pings(resolved=0)
    assert heard.of(Ack) == first.of(Ack)
    assert resolved(alice.pings(resolved=2).of(Ack)) == {3: True}


def test_a_lost_tail_shows_in_what_was_sent(world, alice):
    alice.echoes("one")
    alice.echo("lost on the way")
    alice.echo("lost on the way as well")
    heard = alice.pings(resolved=1)
    assert heard.of(Error) == [Error("out_of_order", "command 2 is expected next", 2)]
    assert heard.of(Ack) == []


def test_a_ping_after_the_commands_of_its_frame_sees_them(alice):
    heard = alice.says(alice.echo("one"), alice.echo("two"), Ping(9, 2, 0, ()))
    assert heard.codes == []
    assert heard.of(Ack) == [Ack(0, 2, ())]
    assert heard.of(Pong)[0].ref == 9


def test_the_outcomes_of_a_window_of_commands_can_be_asked_for(alice):
    for _ in range(2):
        alice.says(*[alice.send("nobody", "") for _ in range(WINDOW // 2)])
        alice.says(*[alice.echo("") for _ in range(WINDOW // 2)])
    newest = {cseq: cseq > 3 * WINDOW // 2 for cseq in range(WINDOW + 1, 2 * WINDOW + 1)}
    assert resolved(alice.pings(resolved=WINDOW).of(Ack)) == newest
    assert resolved(alice.pings(resolved=0).of(Ack)) == newest


def test_who_sends_more_than_a_window_is_not_told_that_refused_commands_are_stored(alice):
    heard = alice.says(*[alice.send("nobody", "") for _ in range(WINDOW + 50)])
    assert not any(resolved(heard.of(Ack)).values())


# --- goodbyes -----------------------------------------------------------------------------


def test_what_was_said_in_one_turn_with_a_goodbye_is_carried_out_and_not_acknowledged(alice, bob):
    heard = alice.says(alice.send("bob", "last words"), Bye())
    assert bob.hears().texts == ["last words"]
    assert heard == [Farewell("left", "goodbye")]


def test_after_a_goodbye_nothing_is_expected_any_more(alice):
    assert alice.says(Echo(5, ("a gap",)), Bye()).codes == ["left"]


def test_the_gap_of_one_session_is_not_told_to_the_next(world, alice):
    alice.posts(Echo(5, ("a gap",)))
    alice.posts(alice.hello("bob", session=b"another-session."))
    world.turn()
    assert alice.hears().codes == []


# --- who is on ----------------------------------------------------------------------------


def test_info_lists_who_is_on_and_since_when(world, alice, bob):
    heard = alice.says(Info(7, ""))
    assert heard == [
        Users(7, (User("alice", world.wall - 20), User("bob", world.wall - 10)), False)
    ]


def test_info_goes_on_after_a_name(world, alice, bob):
    assert [user.name for user in alice.says(Info(1, "alice"))[0].users] == ["bob"]
    assert alice.says(Info(1, "bob")) == [Users(1, (), False)]


def test_a_long_list_is_asked_for_page_by_page(world):
    people = world.crowd(2 * MAX_USERS + 1)
    asker, names, after, pages = people[0], [], "", 0
    while True:
        (page,) = asker.says(Info(1, after))
        names += [user.name for user in page.users]
        pages += 1
        if not page.more:
            break
        after = names[-1]
    assert names == [peer.name for peer in people]
    assert pages == 3
