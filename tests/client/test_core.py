"""The rules of a client, under a clock that the test moves."""

from __future__ import annotations

import pytest

from chatbroker.client import core as core_module
from chatbroker.client import inbox as inbox_module
from chatbroker.client.core import BACK_OFF, CONFIRM_WITHIN, PATIENCE, Phase
from chatbroker.client.events import Broadcast, Direct, Joined, Left, Missed, Offline, Online
from chatbroker.client.events import Notice as Told
from chatbroker.client.outbox import Outcome, Ticket
from chatbroker.wire.codec import Encoder
from chatbroker.wire.errors import Code
from chatbroker.wire.messages import (
    Ack,
    Bye,
    Cursor,
    Echo,
    Error,
    Farewell,
    Fetch,
    Fetched,
    Hello,
    Info,
    Limits,
    Notice,
    Ping,
    Pong,
    Presence,
    Reading,
    Refusal,
    Refused,
    Run,
    Send,
    Start,
    User,
    Users,
)
from chatbroker.wire.messages import Missed as NoLongerKept

HEARTBEAT = 5.0


def submit(talk, *texts):
    tickets = [Ticket(None, text) for text in texts]
    for ticket in tickets:
        talk.core.submit(ticket)
    return tickets


# --- coming and going ---------------------------------------------------------------------


def test_nothing_is_said_without_a_connection(talk_with):
    talk = talk_with()
    submit(talk, "hi")
    assert talk.says() == []
    assert talk.passes(60.0) == []
    assert talk.core.phase is Phase.OFFLINE


def test_hello_comes_first_and_alone(talk_with):
    talk = talk_with(exclusive=True)
    submit(talk, "hi")
    (hello,) = talk.connects()
    assert hello.name == "alice"
    assert hello.exclusive
    assert [(follow.log, follow.start) for follow in hello.follows] == [
        ("echo", Start.NOW),
        ("direct", Start.NOW),
    ]
    assert talk.core.phase is Phase.GREETING


def test_hello_is_repeated_until_it_is_answered(talk_with):
    talk = talk_with()
    talk.connects()
    assert talk.passes(PATIENCE - 0.1) == []
    assert talk.core.pause(talk.now) == pytest.approx(0.1)
    assert len(talk.passes(0.1).of(Hello)) == 1
    # Each time later: on a slow way, the answer to the last one would never come in time.
    assert not talk.passes(PATIENCE).of(Hello)
    assert len(talk.passes(PATIENCE).of(Hello)) == 1
    assert not talk.passes(3 * PATIENCE).of(Hello)
    assert len(talk.passes(PATIENCE).of(Hello)) == 1
    talk.hears(talk.welcome())
    assert not talk.passes(PATIENCE).of(Hello)


def test_broadcasts_are_no_sign_that_the_broker_answers(talk, batch):
    talk.now += talk.core.lease + 0.1
    talk.core.published(Encoder().encode(batch("echo", 1, "hi")), talk.now)
    assert talk.texts() == ["hi"]
    assert talk.core.silent(talk.now)
    talk.hears(Pong(0, ()))
    assert not talk.core.silent(talk.now)


def test_attempts_are_counted_over_all_connections(talk_with):
    talk = talk_with()
    attempts = [talk.connects()[0].attempt, talk.passes(PATIENCE)[0].attempt]
    talk.core.disconnected()
    attempts.append(talk.connects()[0].attempt)
    assert attempts == [1, 2, 3]


def test_hello_says_whose_the_name_is_and_what_is_dead(talk_with):
    talk = talk_with(credential=b"k" * 16, claim=True, replaces=b"a dead session..")
    (hello,) = talk.connects()
    assert (hello.credential, hello.claim, hello.replaces) == (b"k" * 16, True, b"a dead session..")


def test_who_says_nothing_of_it_claims_and_replaces_nothing(talk_with):
    (hello,) = talk_with().connects()
    assert (hello.credential, hello.claim, hello.replaces) == (b"", False, b"")


def test_every_hello_says_it_again(talk_with):
    """The first may be lost, and a broker that was started again knows no credential."""
    talk = talk_with(credential=b"k" * 16, claim=True, replaces=b"a dead session..")
    hellos = [talk.connects()[0], talk.passes(PATIENCE)[0]]
    talk.hears(talk.welcome(credential=b"k" * 16))
    talk.core.disconnected()
    hellos.append(talk.connects()[0])
    talk.hears(talk.welcome(credential=b"k" * 16))
    hellos.append(talk.hears(Error("no_session", "say HELLO first", 0))[0])
    assert len({hello._replace(attempt=0, follows=()) for hello in hellos}) == 1
    assert [hello.attempt for hello in hellos] == [1, 2, 3, 4]


@pytest.mark.parametrize("code", ["name_claimed", "a_code_of_a_later_version"])
def test_a_name_that_is_anothers_ends_the_session_with_its_reason(talk_with, code):
    talk = talk_with(claim=True)
    ticket = submit(talk, "hi")[0]
    talk.connects()
    talk.hears(Refused(code, "it belongs to another"))
    assert talk.core.refusal == Refused(code, "it belongs to another")
    assert ticket.outcome is Outcome.UNSENT


def test_a_session_that_its_user_took_for_dead_is_over(talk):
    ticket = submit(talk, "hi")[0]
    talk.says()
    talk.hears(Farewell("replaced", "the user's next client took this one for dead"))
    assert talk.core.refusal.words == "the user's next client took this one for dead"
    assert ticket.outcome is Outcome.UNKNOWN
    assert talk.connects() == []


def test_welcome_tells_what_the_client_needs_to_know(talk_with):
    talk = talk_with()
    talk.connects()
    talk.hears(talk.welcome(name="alice2", pub_port=7777, lease=20_000))
    core = talk.core
    assert core.phase is Phase.READY
    assert (core.name, core.pub_port, core.lease) == ("alice2", 7777, 20.0)
    assert core.credential == b"c" * 16
    assert talk.events() == [Online("alice2", False)]


def test_a_second_welcome_changes_nothing(talk):
    ticket = submit(talk, "hi")[0]
    talk.says()
    again = talk.hears(talk.welcome(name="other", born=2))
    assert talk.core.name == "alice"
    assert not again.of(Echo)
    assert talk.events() == []
    talk.hears(Ack(0, 1, ()))
    assert ticket.outcome is Outcome.ACCEPTED


def test_a_refused_hello_ends_the_session(talk_with):
    talk = talk_with()
    ticket = submit(talk, "hi")[0]
    talk.connects()
    assert talk.hears(Refused("name_taken", "name 'alice' is taken")) == []
    assert talk.core.phase is Phase.OVER
    assert talk.core.refusal == Refused("name_taken", "name 'alice' is taken")
    assert ticket.outcome is Outcome.UNSENT


def test_a_refusal_after_the_welcome_is_not_of_this_session(talk):
    talk.hears(Refused("name_taken", "an answer to a HELLO that was repeated"))
    assert talk.core.phase is Phase.READY


def test_a_lost_connection_is_told_and_survived(talk):
    talk.core.disconnected()
    assert talk.core.phase is Phase.OFFLINE
    assert talk.says() == []
    (hello,) = talk.connects()
    talk.hears(talk.welcome())
    assert hello.credential == b"c" * 16
    assert [type(event) for event in talk.events()] == [Offline, Online]
    assert talk.core.phase is Phase.READY


def test_coming_back_is_told_as_such(talk):
    talk.core.disconnected()
    talk.connects()
    talk.hears(talk.welcome())
    assert talk.events()[-1] == Online("alice", True)


def test_a_connection_made_anew_without_a_word_begins_with_hello(talk):
    ticket = submit(talk, "hi")[0]
    talk.says()
    assert len(talk.connects().of(Hello)) == 1
    again = talk.hears(talk.welcome())
    assert again.of(Echo) == [Echo(1, ("hi",))]
    assert not ticket.done


def test_leaving_says_goodbye_once(talk):
    talk.core.leave()
    assert talk.says() == [Bye()]
    assert talk.passes(1.0) == []
    talk.hears(Farewell(Code.LEFT.value, "goodbye"))
    assert talk.core.phase is Phase.OVER
    assert talk.core.refusal is None


def test_leaving_tells_what_was_shown_before_goodbye(talk, batch):
    talk.hears(batch("direct", 1, "hi", "there"))
    talk.show(1)
    talk.core.leave()
    ping, bye = talk.says()
    assert ping.cursors == (Cursor("direct", b"direct-1", 1),)
    assert bye == Bye()


def test_leaving_before_anybody_knows_of_one_needs_no_goodbye(talk_with):
    talk = talk_with()
    talk.core.leave()
    assert talk.core.phase is Phase.OVER


def test_leaving_while_hello_is_on_its_way_takes_it_back(talk_with):
    talk = talk_with()
    talk.connects()
    talk.core.leave()
    assert talk.says()[-1] == Bye()
    assert talk.passes(PATIENCE) == []


@pytest.mark.parametrize(
    "end",
    [
        lambda talk: talk.core.disconnected(),
        lambda talk: talk.hears(Error("no_session", "say HELLO first", 0)),
        lambda talk: talk.hears(Farewell("left", "goodbye")),
        lambda talk: talk.hears(Farewell("shutting_down", "the broker is shutting down")),
    ],
    ids=["disconnected", "no session", "left", "shutting down"],
)
def test_leaving_ends_however_the_broker_takes_it(talk, end):
    talk.core.leave()
    talk.says()
    end(talk)
    assert talk.core.phase is Phase.OVER


def test_a_connection_made_while_leaving_starts_nothing_again(talk):
    talk.core.leave()
    talk.says()
    assert not talk.connects().of(Hello)


def test_shutting_down_is_an_interruption(talk):
    ticket = submit(talk, "hi")[0]
    talk.says()
    talk.hears(Farewell("shutting_down", "the broker is shutting down"))
    assert talk.core.phase is Phase.OFFLINE
    assert talk.events() == [Offline("the broker is shutting down")]
    assert not ticket.done
    talk.core.disconnected()
    talk.connects()
    assert talk.hears(talk.welcome()).of(Echo) == [Echo(1, ("hi",))]


def test_a_session_that_goes_on_elsewhere_is_over_here(talk):
    ticket = submit(talk, "hi")[0]
    talk.says()
    talk.hears(Farewell("replaced", "the session goes on over another connection"))
    assert talk.core.phase is Phase.OVER
    assert talk.core.refusal.code == "replaced"
    assert ticket.outcome is Outcome.UNKNOWN


def test_an_unasked_goodbye_says_why_it_is_over(talk):
    """Else a program that waits for an event would wait for ever, with nobody to tell it."""
    talk.hears(Farewell("left", "goodbye"))
    assert talk.core.phase is Phase.OVER
    assert talk.core.refusal is not None


def test_over_is_for_ever(talk_with):
    talk = talk_with()
    talk.connects()
    talk.hears(
        Refused("name_taken", "taken"), Farewell("shutting_down", "the broker is shutting down")
    )
    assert talk.core.phase is Phase.OVER
    talk.core.connected(talk.now)
    talk.core.disconnected()
    assert talk.says() == []
    assert talk.core.phase is Phase.OVER


# --- resuming -----------------------------------------------------------------------------


def test_a_resumed_session_sends_again_what_is_unresolved(talk):
    tickets = submit(talk, "one", "two", "three")
    talk.says()
    talk.hears(Ack(0, 1, ()))
    talk.core.disconnected()
    talk.connects()
    assert talk.hears(talk.welcome(cseq=2)).of(Echo) == [Echo(2, ("two", "three"))]
    talk.hears(Ack(1, 3, ()))
    assert [ticket.outcome for ticket in tickets] == [Outcome.ACCEPTED] * 3


def test_only_the_answer_to_the_last_hello_counts(talk_with):
    """The session that an earlier one found may be gone when the later one comes, and then the
    later one makes another."""
    talk = talk_with()
    (first,) = talk.connects()
    (second,) = talk.passes(PATIENCE).of(Hello)
    submit(talk, "hi")
    assert talk.hears(talk.welcome(attempt=first.attempt)).of(Echo) == []
    assert talk.core.phase is Phase.GREETING
    assert talk.hears(talk.welcome(attempt=second.attempt)).of(Echo) == [Echo(1, ("hi",))]


def test_a_session_that_an_old_hello_made_is_another(talk):
    """It was left over from a connection before; the broker had forgotten the session by then."""
    talk.core.disconnected()
    talk.connects()
    talk.hears(talk.welcome(born=2))
    (sent,) = submit(talk, "hi")
    talk.says()
    talk.core.disconnected()
    talk.connects()
    talk.hears(talk.welcome(born=1))
    assert sent.outcome is Outcome.UNKNOWN


def test_commands_count_on_from_what_a_new_session_has_carried_out(talk):
    talk.core.disconnected()
    talk.connects()
    submit(talk, "hi")
    assert talk.hears(talk.welcome(born=2, cseq=7)).of(Echo) == [Echo(8, ("hi",))]


def test_a_session_goes_on_with_a_broker_that_was_started_again(talk):
    """One that keeps its state: the epoch and the attempt that made the session are the same."""
    tickets = submit(talk, "one", "two")
    talk.says()
    talk.hears(Farewell("shutting_down", "the broker is shutting down"))
    talk.core.disconnected()
    talk.connects()
    assert talk.hears(talk.welcome(cseq=1)).of(Echo) == [Echo(1, ("one", "two"))]
    talk.hears(Ack(0, 2, ()))
    assert [ticket.outcome for ticket in tickets] == [Outcome.ACCEPTED] * 2


def test_a_new_epoch_means_another_broker_so_commands_count_from_one(talk):
    tickets = submit(talk, "one", "two")
    talk.says()
    talk.hears(Ack(0, 1, ()))
    talk.core.disconnected()
    attempt = talk.connects()[0].attempt
    sent = talk.hears(talk.welcome(epoch=b"epoch--2", born=attempt))
    assert sent.of(Echo) == [Echo(1, ("two",))]
    talk.hears(Ack(0, 1, ()))
    assert [ticket.outcome for ticket in tickets] == [Outcome.ACCEPTED] * 2


def test_a_session_that_is_in_data_that_went_back_goes_on(talk):
    """A copy was put back, say, and it has a command of which the ACK was lost."""
    tickets = submit(talk, "one", "two", "three")
    talk.says()
    talk.hears(Ack(0, 1, ()))
    talk.core.disconnected()
    talk.connects()
    sent = talk.hears(talk.welcome(epoch=b"epoch--2", cseq=2))
    assert sent.of(Echo) == [Echo(2, ("two", "three"))]
    talk.hears(Ack(1, 3, (Refusal(2, 2, "too_long", "too long"),)))
    outcomes = [ticket.outcome for ticket in tickets]
    assert outcomes == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]


@pytest.mark.parametrize("epoch", [b"epoch--1", b"epoch--2"])
def test_a_session_that_data_went_back_behind_counts_on_from_there(talk, epoch):
    """Of the same epoch, if the data folder itself was copied and put back."""
    tickets = submit(talk, "one", "two", "three")
    talk.says()
    talk.hears(Ack(0, 2, ()))
    talk.core.disconnected()
    talk.connects()
    sent = talk.hears(talk.welcome(epoch=epoch, cseq=1))
    assert sent.of(Echo) == [Echo(2, ("three",))]
    talk.hears(Ack(1, 2, ()))
    assert [ticket.outcome for ticket in tickets] == [Outcome.ACCEPTED] * 3


def test_a_forgotten_session_leaves_what_was_sent_unknown(talk):
    """The broker is the same: it may have stored it, and a second time would double it."""
    sent = submit(talk, "one")[0]
    talk.says()
    talk.core.disconnected()
    unsent = submit(talk, "two")[0]
    attempt = talk.connects()[0].attempt
    again = talk.hears(talk.welcome(born=attempt))
    assert sent.outcome is Outcome.UNKNOWN
    assert again.of(Echo) == [Echo(1, ("two",))]
    talk.hears(Ack(0, 1, ()))
    assert unsent.outcome is Outcome.ACCEPTED


def test_the_logs_go_on_where_they_were_read_to(talk, batch):
    talk.hears(batch("echo", 1, "one", "two"))
    talk.core.disconnected()
    (hello,) = talk.connects()
    follows = {follow.log: follow for follow in hello.follows}
    assert follows["echo"][1:] == (b"echo---1", Start.AFTER, 2)


def test_what_was_said_meanwhile_is_fetched(talk, batch):
    talk.hears(batch("echo", 1, "one"))
    talk.core.disconnected()
    talk.connects()
    readings = (Reading("echo", b"echo---1", 1, 3), Reading("direct", b"direct-1", 0, 0))
    (fetch,) = talk.hears(talk.welcome(readings=readings)).of(Fetch)
    assert (fetch.log, fetch.epoch, fetch.after) == ("echo", b"echo---1", 1)
    talk.hears(batch("echo", 2, "two", "three"), Fetched(fetch.ref, "echo", fetch.epoch, 3))
    assert talk.texts() == ["one", "two", "three"]


def test_another_history_is_named_and_read_from_its_beginning(talk, batch):
    talk.hears(batch("echo", 1, "old", "older"))
    talk.events()
    talk.core.disconnected()
    attempt = talk.connects()[0].attempt
    readings = (Reading("echo", b"echo---2", 0, 1), Reading("direct", b"direct-2", 0, 0))
    (fetch,) = talk.hears(talk.welcome(epoch=b"epoch--2", born=attempt, readings=readings)).of(
        Fetch
    )
    assert (fetch.epoch, fetch.after) == (b"echo---2", 0)
    talk.hears(batch("echo", 1, "stale"), batch("echo", 1, "new", epoch=b"echo---2"))
    told = talk.events()
    assert told[2:4] == [Missed("echo", None), Missed("direct", None)]
    assert [event.text for event in told[4:]] == ["new"]


def test_pings_and_acks_of_an_earlier_connection_resolve_nothing(talk):
    ticket = submit(talk, "hi")[0]
    talk.says()
    talk.core.disconnected()
    talk.connects()
    talk.hears(Ack(0, 1, ()))
    attempt = 2
    talk.hears(talk.welcome(epoch=b"epoch--2", born=attempt))
    assert not ticket.done


# --- questions ----------------------------------------------------------------------------


def test_who_is_on_is_asked_page_by_page(talk):
    query = talk.core.ask_users()
    assert talk.says() == [Info(query.ref, "")]
    following = talk.hears(Users(query.ref, (User("ann", 1), User("bob", 2)), True))
    assert following.of(Info) == [Info(query.ref, "bob")]
    assert not query.done
    talk.hears(Users(query.ref, (User("carol", 3),), False))
    assert query.done
    assert [user.name for user in query.users] == ["ann", "bob", "carol"]


def test_an_empty_page_is_an_answer(talk):
    query = talk.core.ask_users()
    talk.says()
    talk.hears(Users(query.ref, (), False))
    assert query.done
    assert query.users == []


def test_a_question_without_an_answer_is_asked_again(talk):
    query = talk.core.ask_users()
    talk.says()
    assert not talk.passes(PATIENCE - 0.1).of(Info)
    assert talk.core.pause(talk.now) <= 0.1 + 1e-6
    assert talk.passes(0.1).of(Info) == [Info(query.ref, "")]


def test_a_page_that_comes_twice_counts_once(talk):
    query = talk.core.ask_users()
    talk.says()
    talk.passes(PATIENCE)
    page = Users(query.ref, (User("ann", 1), User("bob", 2)), True)
    talk.hears(page)
    talk.hears(page)
    talk.hears(Users(query.ref, (User("carol", 3),), False))
    assert [user.name for user in query.users] == ["ann", "bob", "carol"]


def test_an_answer_to_nobody_is_dropped(talk):
    talk.hears(Users(99, (User("ann", 1),), False))
    assert talk.core.phase is Phase.READY


def test_a_question_outlives_the_connection(talk):
    query = talk.core.ask_users()
    talk.says()
    talk.hears(Users(query.ref, (User("ann", 1),), True))
    talk.core.disconnected()
    talk.connects()
    assert talk.hears(talk.welcome()).of(Info) == [Info(query.ref, "ann")]


def test_a_session_that_no_broker_let_in_is_known_to_be_none(talk_with):
    talk = talk_with()
    assert talk.core.unknown_to_broker
    talk.connects()
    assert not talk.core.unknown_to_broker  # Who knows whether HELLO arrived?
    talk.hears(Refused("name_taken", "name 'alice' is taken"))
    assert talk.core.unknown_to_broker


def test_a_session_that_was_let_in_is_known_whatever_ended_it(talk):
    talk.hears(Farewell("replaced", "elsewhere"))
    assert talk.core.phase is Phase.OVER
    assert not talk.core.unknown_to_broker


# --- signs of life ------------------------------------------------------------------------


def test_a_ping_every_heartbeat_states_what_the_client_has(talk, batch):
    submit(talk, "one", "two")
    talk.says()
    talk.hears(Ack(0, 1, ()), batch("direct", 1, "hi"))
    talk.events()
    assert not talk.passes(HEARTBEAT - 0.1).of(Ping)
    (ping,) = talk.passes(0.1).of(Ping)
    assert (ping.sent, ping.resolved) == (2, 1)
    assert ping.cursors == (Cursor("direct", b"direct-1", 1),)
    assert not talk.passes(HEARTBEAT - 0.1).of(Ping)
    assert len(talk.passes(0.1).of(Ping)) == 1


def test_a_pong_may_tell_a_longer_heartbeat_and_the_next_ping_says_that_it_was_heard(talk):
    (ping,) = talk.passes(HEARTBEAT).of(Ping)
    assert ping.heartbeat == 0  # That of WELCOME.
    talk.hears(Pong(ping.ref, (), 20_000, 70_000))
    (ping,) = talk.passes(HEARTBEAT).of(Ping)
    assert ping.heartbeat == 20_000
    assert not talk.passes(19.9).of(Ping)
    (ping,) = talk.passes(0.1).of(Ping)
    assert ping.heartbeat == 20_000
    talk.hears(Pong(ping.ref, ()))
    assert not talk.passes(19.9).of(Ping)
    assert talk.core.lease == 70.0


def test_a_shorter_heartbeat_holds_from_the_pong_on(talk_with):
    talk = talk_with()
    talk.connects()
    talk.hears(talk.welcome(heartbeat=30_000, lease=90_000))
    (ping,) = talk.passes(30.0).of(Ping)
    talk.hears(Pong(ping.ref, (), 5000, 15_000))
    assert talk.core.pause(talk.now) == pytest.approx(5.0)
    (ping,) = talk.passes(5.0).of(Ping)
    assert ping.heartbeat == 5000
    assert talk.core.silent(talk.now + 15.1 - 5.0)


def test_each_welcome_tells_a_heartbeat_anew(talk):
    (ping,) = talk.passes(HEARTBEAT).of(Ping)
    talk.hears(Pong(ping.ref, (), 20_000, 60_000))
    talk.core.disconnected()
    talk.connects()
    (ping,) = talk.hears(talk.welcome()).of(Ping)
    assert (ping.heartbeat, talk.core.lease) == (0, 15.0)
    assert len(talk.passes(HEARTBEAT).of(Ping)) == 1


@pytest.mark.parametrize("told", [(0, 0), (20_000, 0), (0, 60_000)])
def test_a_pong_that_does_not_tell_both_heartbeat_and_lease_changes_neither(talk, told):
    talk.hears(Pong(0, (), *told))
    (ping,) = talk.passes(HEARTBEAT).of(Ping)
    assert (ping.heartbeat, talk.core.lease) == (0, 15.0)
    assert len(talk.passes(HEARTBEAT).of(Ping)) == 1


def test_a_longer_heartbeat_puts_nothing_off_that_is_due_sooner(talk, batch):
    talk.hears(batch("direct", 1, "hi"))
    talk.show(1)
    assert talk.core.taken(talk.now)
    talk.hears(Pong(0, (), 20_000, 60_000))
    (ping,) = talk.passes(CONFIRM_WITHIN).of(Ping)
    assert ping.cursors == (Cursor("direct", b"direct-1", 1),)


def test_that_mail_was_taken_is_told_soon_and_once(talk, batch):
    talk.hears(batch("direct", 1, "hi", "there"))
    assert not talk.core.taken(talk.now)  # Nothing was.
    talk.show(1)
    assert talk.core.taken(talk.now)
    assert talk.core.pause(talk.now) == pytest.approx(CONFIRM_WITHIN)
    talk.show(1)
    assert not talk.core.taken(talk.now)  # It goes with the other.
    (ping,) = talk.passes(CONFIRM_WITHIN).of(Ping)
    assert ping.cursors == (Cursor("direct", b"direct-1", 2),)
    assert not talk.core.taken(talk.now)
    assert not talk.passes(CONFIRM_WITHIN).of(Ping)


def test_that_broadcasts_were_taken_can_wait(talk, batch):
    talk.hears(batch("echo", 1, "hi"))
    talk.events()
    assert not talk.core.taken(talk.now)
    assert not talk.passes(CONFIRM_WITHIN).of(Ping)


def test_what_could_not_be_told_is_told_after_coming_back(talk, batch):
    talk.hears(batch("direct", 1, "hi"))
    talk.core.disconnected()
    talk.events()
    assert talk.core.taken(talk.now)
    talk.connects()
    (ping,) = talk.hears(talk.welcome({"direct": 1})).of(Ping)
    assert ping.cursors == (Cursor("direct", b"direct-1", 1),)


def test_whoever_receives_much_gives_a_sign_sooner(talk, batch):
    position = 1
    pings = []
    for _ in range(40):
        texts = ["x" * 1000] * 10
        pings += talk.hears(batch("echo", position, *texts)).of(Ping)
        talk.events()
        position += len(texts)
    assert len(pings) == 1  # 400 kB of a push window of 1 MiB, of which a quarter may pass.
    assert pings[0].cursors[0].position > 0


def test_after_coming_back_the_first_ping_is_at_once(talk):
    talk.core.disconnected()
    talk.connects()
    assert len(talk.hears(talk.welcome()).of(Ping)) == 1


def test_a_greeting_is_followed_by_a_look_at_the_heads(talk):
    talk.core.greeted(talk.now)
    assert len(talk.says().of(Ping)) == 1
    looks = sum(len(talk.passes(0.05).of(Ping)) for _ in range(30))
    assert looks == len(core_module.SETTLE) - 1


def test_listening_is_not_promised_before_the_greeting(talk_with):
    talk = talk_with()
    talk.connects()
    talk.core.greeted(talk.now)
    assert not talk.core.listening
    talk.hears(talk.welcome())
    assert talk.core.listening


def test_listening_waits_for_no_greeting_of_what_is_not_subscribed(talk_with):
    talk = talk_with(logs=())
    talk.connects()
    talk.hears(talk.welcome())
    assert talk.core.topics == []
    assert talk.core.listening


def test_only_who_wants_presence_subscribes_to_it(talk_with):
    assert talk_with(presence=True).core.topics == [b"echo\0", b"presence\0"]
    assert talk_with(presence=False).core.topics == [b"echo\0"]
    assert talk_with(logs=["direct"]).core.topics == []


def test_silence_is_noticed_after_a_lease(talk):
    assert not talk.core.silent(talk.now + talk.core.lease)
    assert talk.core.silent(talk.now + talk.core.lease + 0.1)
    talk.now += 10.0
    talk.hears(Pong(0, ()))
    assert not talk.core.silent(talk.now + talk.core.lease)
    talk.core.disconnected()
    assert talk.core.silent(talk.now)


def test_caught_up_is_after_the_answer_and_what_it_tells(talk, batch):
    ref = talk.core.ask_heads()
    (ping,) = talk.says().of(Ping)
    assert ping.ref >= ref
    assert not talk.core.caught_up(ref)
    (fetch,) = talk.hears(Pong(ping.ref, (Cursor("echo", b"echo---1", 2),))).of(Fetch)
    assert not talk.core.caught_up(ref)
    talk.hears(batch("echo", 1, "one", "two"), Fetched(fetch.ref, "echo", fetch.epoch, 2))
    assert talk.core.caught_up(ref)


def test_an_answer_to_an_earlier_ping_is_not_enough(talk):
    (earlier,) = talk.passes(HEARTBEAT).of(Ping)
    ref = talk.core.ask_heads()
    talk.hears(Pong(earlier.ref, ()))
    assert not talk.core.caught_up(ref)


def test_a_look_at_the_heads_outlives_the_connection(talk):
    ref = talk.core.ask_heads()
    talk.says()
    talk.core.disconnected()
    talk.connects()
    (ping,) = talk.hears(talk.welcome()).of(Ping)
    talk.hears(Pong(ping.ref, ()))
    assert talk.core.caught_up(ref)


def test_a_lost_tail_is_noticed_by_the_next_pong(talk):
    (ping,) = talk.passes(HEARTBEAT).of(Ping)
    heads = (Cursor("echo", b"echo---1", 4), Cursor("direct", b"direct-1", 0))
    (fetch,) = talk.hears(Pong(ping.ref, heads)).of(Fetch)
    assert (fetch.log, fetch.after) == ("echo", 0)


def test_an_unanswered_fetch_is_sent_again(talk):
    talk.hears(Pong(0, (Cursor("echo", b"echo---1", 4),)))
    assert not talk.passes(PATIENCE - 0.1).of(Fetch)
    assert len(talk.passes(0.1).of(Fetch)) == 1


def test_the_client_wakes_by_itself_to_repeat_a_fetch(talk):
    talk.hears(Pong(0, (Cursor("echo", b"echo---1", 4),)))
    waited = 0.0
    while waited < 2 * PATIENCE:
        pause = talk.core.pause(talk.now)
        assert pause > 0
        waited += pause
        if talk.passes(pause).of(Fetch):
            break
    assert waited < 2 * PATIENCE


# --- commands -----------------------------------------------------------------------------


def test_commands_are_numbered_and_resolved(talk):
    to_bob, to_all = Ticket("bob", "hi"), Ticket(None, "hello")
    talk.core.submit(to_bob)
    talk.core.submit(to_all)
    assert talk.says() == [Send(1, "bob", ("hi",)), Echo(2, ("hello",))]
    talk.hears(Ack(0, 2, (Refusal(1, 1, "no_such_user", "no such user"),)))
    assert (to_bob.outcome, to_bob.code) == (Outcome.REFUSED, "no_such_user")
    assert to_bob.words == "no such user: bob"
    assert to_all.outcome is Outcome.ACCEPTED


def test_what_waits_for_who_is_away_is_accepted_and_told_apart(talk):
    tickets = [Ticket(to, "hi") for to in ("bob", "carol", "carol", "dave", "dave", None)]
    for ticket in tickets:
        talk.core.submit(ticket)
    talk.says()
    refused = Refusal(4, 5, "no_such_user", "no such user")
    talk.hears(Ack(0, 6, (refused,), (Run(2, 3),)))
    accepted, no = Outcome.ACCEPTED, Outcome.REFUSED
    assert [ticket.outcome for ticket in tickets] == [accepted] * 3 + [no] * 2 + [accepted]
    assert [ticket.away for ticket in tickets] == [False, True, True, False, False, False]


def test_who_was_away_is_told_also_by_an_ack_that_came_late(talk):
    ticket = Ticket("bob", "hi")
    talk.core.submit(ticket)
    talk.says()
    talk.core.disconnected()
    talk.connects()
    assert talk.hears(talk.welcome(cseq=1)).of(Send) == [Send(1, "bob", ("hi",))]
    talk.hears(Ack(0, 1, (), (Run(1, 1),)))
    assert ticket.away


def test_no_more_than_the_window_is_under_way(talk_with):
    talk = talk_with()
    talk.connects()
    welcome = talk.welcome()
    talk.hears(welcome._replace(limits=welcome.limits._replace(window=3)))
    submit(talk, *"abcde")
    assert talk.says().of(Echo) == [Echo(1, ("a", "b", "c"))]
    assert talk.says() == []
    assert talk.hears(Ack(0, 2, ())).of(Echo) == [Echo(4, ("d", "e"))]


def test_no_frame_exceeds_the_limit(talk):
    submit(talk, *["x" * 16_000] * 20)
    frames = []
    while batch := talk.core.outgoing(talk.now):
        frames += batch
    assert len(frames) > 1
    assert max(map(len, frames)) <= 64 * 1024


def test_a_hole_in_the_acks_is_asked_about(talk):
    submit(talk, "one", "two")
    talk.says()
    (ping,) = talk.hears(Ack(1, 2, ())).of(Ping)
    assert (ping.sent, ping.resolved) == (2, 0)


def test_out_of_order_sends_again_from_what_is_expected(talk):
    submit(talk, "one", "two", "three")
    talk.says()
    again = talk.hears(Error("out_of_order", "command 2 is expected next", 2))
    assert again == [Echo(2, ("two", "three"))]


# --- what the broker complains about ------------------------------------------------------


def test_a_session_that_the_broker_lost_is_made_again(talk):
    ticket = submit(talk, "hi")[0]
    talk.says()
    (hello,) = talk.hears(Error("no_session", "say HELLO first", 0))
    assert isinstance(hello, Hello)
    assert [type(event) for event in talk.events()] == [Offline]
    assert talk.hears(talk.welcome()).of(Echo) == [Echo(1, ("hi",))]
    assert not ticket.done


def test_no_session_while_greeting_repeats_nothing(talk_with):
    talk = talk_with()
    talk.connects()
    assert talk.hears(Error("no_session", "say HELLO first", 0)) == []
    assert talk.core.phase is Phase.GREETING


def test_a_log_that_is_gone_is_asked_for_again(talk):
    (fetch,) = talk.hears(Pong(0, (Cursor("echo", b"echo---1", 4),))).of(Fetch)
    assert talk.hears(Error("no_such_log", "no such log", fetch.ref)) == []
    (hello,) = talk.passes(PATIENCE)  # In no hurry: it could go on for ever.
    assert isinstance(hello, Hello)
    talk.hears(talk.welcome())
    assert [type(event) for event in talk.events()] == [Offline, Online]
    assert talk.core.phase is Phase.READY


INTERRUPTIONS = {"out_of_order", "no_session", "no_such_log", "slow_down", "fetch_later"}


@pytest.mark.parametrize("code", [code.value for code in Code if code.value not in INTERRUPTIONS])
def test_every_other_error_ends_the_session_with_its_reason(talk, code):
    ticket = submit(talk, "hi")[0]
    talk.says()
    assert talk.hears(Error(code, "words", 0)) == []
    assert talk.core.phase is Phase.OVER
    assert talk.core.refusal == Refused(code, "words")
    assert ticket.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("code", sorted(INTERRUPTIONS))
def test_some_errors_are_interruptions(talk, code):
    talk.hears(Error(code, "words", 1))
    assert talk.core.phase is not Phase.OVER


@pytest.mark.parametrize("code", ["a_code_of_a_later_version", ""])
def test_an_unknown_error_ends_the_session_with_its_reason(talk, code):
    talk.hears(Error(code, "words", 0))
    assert talk.core.refusal == Refused(code, "words")


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xc1", b"\x92\x13", b"\x91\x01", b"\x91\xcc\xc8", b"hello", b"\xff" * 70_000],
    ids=["empty", "no msgpack", "cut short", "of a client", "unknown", "text", "too long"],
)
def test_garbage_from_the_broker_ends_the_session_in_words(talk, garbage):
    ticket = submit(talk, "hi")[0]
    talk.says()
    talk.core.received(garbage, talk.now)
    assert talk.core.phase is Phase.OVER
    assert "broker" in talk.core.refusal.words
    assert ticket.outcome is Outcome.UNKNOWN
    assert talk.says() == []


def test_garbage_on_the_public_socket_is_no_better(talk):
    talk.core.published(b"\xc1", talk.now)
    assert talk.core.phase is Phase.OVER


# --- what the program sees ----------------------------------------------------------------


def test_events_carry_their_position_and_their_people(talk, batch):
    talk.hears(batch("echo", 1, "to all"), batch("direct", 1, "to alice"))
    broadcast, direct = talk.events()
    assert broadcast == Broadcast(1, 1_700_000_000_000, "bob", "to all")
    assert direct == Direct(1, 1_700_000_000_000, "bob", "alice", "to alice")


def test_a_log_that_is_not_followed_is_not_heard(talk_with, batch):
    talk = talk_with(logs=["direct"]).joins()
    talk.hears(batch("echo", 1, "hi"), Pong(0, (Cursor("echo", b"echo---1", 4),)))
    talk.hears(NoLongerKept("echo", b"echo---1", 0, 3, 3), Fetched(1, "echo", b"echo---1", 3))
    assert talk.events() == []


def test_what_a_later_version_added_is_passed_over(talk, batch):
    event = batch("echo", 1, "after").events[0]
    body = (None, event)
    talk.core.inbox.batch(batch("echo", 1, events=body))
    assert [(event.seq, event.text) for event in talk.events()] == [(2, "after")]


def test_what_is_no_longer_kept_is_counted(talk):
    talk.hears(
        Pong(0, (Cursor("echo", b"echo---1", 9),)), NoLongerKept("echo", b"echo---1", 0, 7, 7)
    )
    assert talk.events() == [Missed("echo", 7)]


def test_others_come_and_go_and_oneself_is_no_news(talk_with):
    talk = talk_with(presence=True).joins()
    talk.hears(Presence(True, "bob", 1), Presence(True, "alice", 2), Presence(False, "bob", 3))
    talk.hears(Presence(False, "alice", 4))
    assert talk.events() == [Joined(1, "bob"), Left(3, "bob")]


def test_presence_is_told_only_to_those_who_asked(talk):
    talk.hears(Presence(True, "bob", 1))
    assert talk.events() == []


NOTICES = [
    Notice("cannot_store", "the broker cannot store messages (disk full); what is sent waits"),
    Notice("storing", "the broker can store messages again"),
    Notice("a_code_of_a_later_version", "words"),
]


def test_what_the_broker_says_of_itself_is_handed_on(talk):
    talk.hears(*NOTICES)
    assert talk.events() == [Told(*notice) for notice in NOTICES]


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.code)
def test_nothing_follows_from_a_notice(talk, notice):
    ticket = submit(talk, "hi")[0]
    talk.says()
    assert talk.hears(notice) == []
    assert talk.core.phase is Phase.READY
    assert not ticket.done
    talk.hears(Ack(0, 1, ()))
    assert ticket.outcome is Outcome.ACCEPTED


def test_a_notice_is_a_sign_of_life(talk):
    for _ in range(10):
        talk.now += talk.core.lease - 1.0
        talk.hears(NOTICES[0])
        assert not talk.core.silent(talk.now)


def test_a_notice_before_welcome_welcomes_nobody(talk_with):
    """The broker may be unable to store the very session."""
    talk = talk_with()
    submit(talk, "hi")
    talk.connects()
    assert talk.hears(NOTICES[0]) == []
    assert talk.core.phase is Phase.GREETING
    assert talk.hears(NOTICES[1], talk.welcome()).of(Echo) == [Echo(1, ("hi",))]


def test_a_notice_while_leaving_does_not_end_it(talk):
    talk.core.leave()
    talk.says()
    talk.hears(NOTICES[0])
    assert talk.core.phase is Phase.LEAVING
    talk.hears(Farewell("left", "goodbye"))
    assert talk.core.phase is Phase.OVER


# --- a program that takes no events -------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """Room for ten events, and two more that cannot be fetched again."""
    monkeypatch.setattr(inbox_module, "MOST_EVENTS", 10)
    monkeypatch.setattr(inbox_module, "MOST_HINTS", 12)


@pytest.mark.usefixtures("small")
def test_a_full_queue_takes_no_more_and_fetches_when_there_is_room(talk, batch):
    talk.hears(batch("echo", 1, *"abcdefghij"))
    assert talk.hears(batch("echo", 11, "k"), batch("echo", 12, "l")).of(Fetch) == []
    assert talk.passes(PATIENCE).of(Fetch) == []
    assert talk.texts() == list("abcdefghij")
    (fetch,) = talk.says().of(Fetch)
    assert fetch.after == 10
    talk.hears(batch("echo", 11, "k", "l"), Fetched(fetch.ref, "echo", fetch.epoch, 12))
    assert talk.texts() == ["k", "l"]


@pytest.mark.usefixtures("small")
def test_a_full_queue_wakes_by_itself_when_it_was_drained(talk, batch):
    talk.hears(batch("echo", 1, *"abcdefghij"), batch("echo", 11, "k"))
    talk.events()
    assert talk.core.pause(talk.now) <= PATIENCE


@pytest.mark.usefixtures("small")
def test_a_full_queue_grows_by_nothing(talk_with, batch):
    talk = talk_with(presence=True).joins()
    talk.hears(batch("echo", 1, *"abcdefghij"))
    for number in range(50):
        talk.hears(
            Presence(True, f"user{number}", 1),
            batch("echo", 11 + number, "more"),
            batch("direct", 1 + number, "mail"),
        )
    assert len(talk.core.inbox.events) <= 12


@pytest.mark.usefixtures("small")
def test_a_full_queue_still_gives_signs_of_life(talk, batch):
    talk.hears(batch("echo", 1, *"abcdefghij"), batch("echo", 11, "k"))
    (ping,) = talk.passes(HEARTBEAT).of(Ping)
    assert ping.cursors == ()  # The program has seen none of them.
    talk.show(3)
    (ping,) = talk.passes(HEARTBEAT).of(Ping)
    assert ping.cursors[0].position == 3
    talk.events()
    (ping,) = talk.passes(HEARTBEAT).of(Ping)
    assert ping.cursors[0].position == 10


# --- rates --------------------------------------------------------------------------------


def rates(talk, per_second, burst):
    return talk.welcome()._replace(
        limits=Limits(65536, 16384, 1024, 1 << 20, per_second, burst, 0, 0)
    )


def said(heard):
    return [text for echo in heard.of(Echo) for text in echo.texts]


def lacks(talk):
    """A PONG shows a hole; what the client says."""
    return talk.hears(Pong(0, (Cursor("echo", talk.core.inbox.readers["echo"].epoch, 3),)))


def runs(talk, seconds):
    """What the client says while it is called as it wants to be, as its edge does it."""
    heard, end = talk.says(), talk.now + seconds
    while talk.now < end:
        talk.now = min(talk.now + max(talk.core.pause(talk.now), 0.0001), end)
        heard.extend(talk.says())
    return heard


def test_it_says_no_more_than_it_was_told_is_borne(talk_with):
    talk = talk_with()
    talk.connects()
    submit(talk, *[f"{number}" for number in range(200)])
    burst = said(talk.hears(rates(talk, 10, 20)))
    assert 17 <= len(burst) <= 18  # Without what comes in a quarter of a second.
    assert talk.core.pause(talk.now) <= 0.1
    rest = said(runs(talk, 10.0))
    assert 99 <= len(rest) <= 101
    assert [*burst, *rest] == [f"{number}" for number in range(len(burst) + len(rest))]
    # PINGs go out as ever.
    assert len(runs(talk, 20.0).of(Ping)) >= 3


def test_what_is_held_back_goes_out_again_when_it_may(talk):
    tickets = submit(talk, "a", "b", "c")
    assert said(talk.says()) == ["a", "b", "c"]
    talk.hears(Ack(0, 1))
    assert not talk.hears(Error("slow_down", "words", 2, 500)).of(Echo)
    submit(talk, "d")
    assert not talk.passes(0.4).of(Echo)
    assert talk.core.pause(talk.now) == pytest.approx(0.1)
    again = talk.passes(0.1).of(Echo)
    assert [(echo.cseq, echo.texts) for echo in again] == [(2, ("b", "c", "d"))]
    talk.hears(Ack(1, 4))
    assert [ticket.outcome for ticket in tickets] == [Outcome.ACCEPTED] * 3


def test_what_was_held_back_is_not_said_to_be_sent(talk):
    submit(talk, "a", "b")
    talk.says()
    talk.hears(Error("slow_down", "words", 1, 60_000))
    (ping,) = talk.passes(HEARTBEAT).of(Ping)
    assert ping.sent == 0


def test_being_told_twice_to_wait_doubles_nothing(talk):
    submit(talk, "a")
    talk.says()
    talk.hears(Error("slow_down", "words", 1, 500), Error("out_of_order", "words", 1))
    assert not talk.says().of(Echo)
    assert said(talk.passes(0.5)) == ["a"]
    talk.hears(Ack(0, 1), Error("slow_down", "words", 1, 500))
    assert not talk.passes(5.0).of(Echo)


def test_questions_are_asked_while_commands_wait(talk):
    submit(talk, "a")
    talk.says()
    talk.hears(Error("slow_down", "words", 1, 60_000))
    talk.core.ask_users()
    assert talk.says().of(Info)
    assert lacks(talk).of(Fetch)


def test_history_that_comes_later_is_asked_for_again_then(talk):
    (fetch,) = lacks(talk).of(Fetch)
    assert not talk.hears(Error("fetch_later", "words", fetch.ref, 100)).of(Fetch)
    assert not talk.passes(0.09).of(Fetch)
    assert talk.core.pause(talk.now) == pytest.approx(0.01)
    (again,) = talk.passes(0.01).of(Fetch)
    assert again == fetch._replace(ref=again.ref)
    # Also when it is longer than its patience.
    talk.hears(Error("fetch_later", "words", again.ref, 10_000))
    assert not talk.passes(9.9).of(Fetch)
    assert talk.passes(0.1).of(Fetch)


def test_an_old_word_about_history_holds_nothing_up(talk):
    (fetch,) = lacks(talk).of(Fetch)
    talk.hears(Error("fetch_later", "words", fetch.ref + 1, 60_000))
    assert talk.passes(PATIENCE).of(Fetch)


def test_hello_that_is_put_off_is_said_again(talk_with):
    talk = talk_with()
    talk.connects()
    assert talk.hears(Refused("slow_down", "too many", 1000)) == []
    assert talk.core.phase is Phase.GREETING
    assert talk.core.put_off == "too many"
    assert not talk.passes(1.0).of(Hello)
    (hello,) = talk.passes(2.1 * BACK_OFF).of(Hello)
    assert hello.attempt == 2
    # Each time a little later, as others wait too.
    talk.hears(Refused("slow_down", "too many", 1000))
    assert not talk.passes(1.0 + 2 * BACK_OFF).of(Hello)
    assert talk.passes(2.1 * BACK_OFF).of(Hello)
    talk.hears(talk.welcome())
    assert talk.core.phase is Phase.READY
    assert talk.core.put_off == ""


def test_a_word_to_slow_down_that_comes_too_late_ends_nothing(talk):
    talk.hears(Refused("slow_down", "too many", 1000))
    assert talk.core.phase is Phase.READY
