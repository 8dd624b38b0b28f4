"""The rules of a client, under a clock that the test moves: coming, going and resuming."""

from __future__ import annotations

import pytest

from chatbroker.client.commands import Outcome
from chatbroker.client.core import PATIENCE, Phase
from chatbroker.client.events import Missed, Offline, Online
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
    Pong,
    Reading,
    Refusal,
    Refused,
    Start,
)

# --- coming and going ---------------------------------------------------------------------


def test_nothing_is_said_without_a_connection(talk_with):
    talk = talk_with()
    talk.submits("hi")
    assert talk.says() == []
    assert talk.passes(60.0) == []
    assert talk.core.phase is Phase.OFFLINE


def test_hello_comes_first_and_alone(talk_with):
    talk = talk_with(exclusive=True)
    talk.submits("hi")
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
    talk.now += talk.core.heartbeat.lease + 0.1
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


def test_a_welcome_without_a_credential_leaves_the_client_its_own(talk_with):
    """Whom a key lets in is told none."""
    talk = talk_with(credential=b"k" * 16)
    talk.connects()
    talk.hears(talk.welcome(credential=b""))
    assert talk.core.credential == b"k" * 16
    talk.core.disconnected()
    assert talk.connects()[0].credential == b"k" * 16


def test_a_credential_that_the_broker_made_is_named_from_then_on(talk_with):
    talk = talk_with(credential=b"k" * 16)
    talk.connects()
    talk.hears(talk.welcome(credential=b"f" * 16))
    talk.core.disconnected()
    assert talk.connects()[0].credential == b"f" * 16


@pytest.mark.parametrize("code", ["name_claimed", "a_code_of_a_later_version"])
def test_a_name_that_is_anothers_ends_the_session_with_its_reason(talk_with, code):
    talk = talk_with(claim=True)
    ticket = talk.submits("hi")[0]
    talk.connects()
    talk.hears(Refused(code, "it belongs to another"))
    assert talk.core.refusal == Refused(code, "it belongs to another")
    assert ticket.outcome is Outcome.UNSENT


def test_a_session_that_its_user_took_for_dead_is_over(talk):
    ticket = talk.submits("hi")[0]
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
    assert (core.name, core.pub_port, core.heartbeat.lease) == ("alice2", 7777, 20.0)
    assert core.credential == b"c" * 16
    assert talk.events() == [Online("alice2", False)]


def test_a_second_welcome_changes_nothing(talk):
    ticket = talk.submits("hi")[0]
    talk.says()
    again = talk.hears(talk.welcome(name="other", born=2))
    assert talk.core.name == "alice"
    assert not again.of(Echo)
    assert talk.events() == []
    talk.hears(Ack(0, 1, ()))
    assert ticket.outcome is Outcome.ACCEPTED


def test_a_refused_hello_ends_the_session(talk_with):
    talk = talk_with()
    ticket = talk.submits("hi")[0]
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
    ticket = talk.submits("hi")[0]
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
    ticket = talk.submits("hi")[0]
    talk.says()
    talk.hears(Farewell("shutting_down", "the broker is shutting down"))
    assert talk.core.phase is Phase.OFFLINE
    assert talk.events() == [Offline("the broker is shutting down")]
    assert not ticket.done
    talk.core.disconnected()
    talk.connects()
    assert talk.hears(talk.welcome()).of(Echo) == [Echo(1, ("hi",))]


def test_a_session_that_goes_on_elsewhere_is_over_here(talk):
    ticket = talk.submits("hi")[0]
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
    tickets = talk.submits("one", "two", "three")
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
    talk.submits("hi")
    assert talk.hears(talk.welcome(attempt=first.attempt)).of(Echo) == []
    assert talk.core.phase is Phase.GREETING
    assert talk.hears(talk.welcome(attempt=second.attempt)).of(Echo) == [Echo(1, ("hi",))]


def test_a_session_that_an_old_hello_made_is_another(talk):
    """It was left over from a connection before; the broker had forgotten the session by then."""
    talk.core.disconnected()
    talk.connects()
    talk.hears(talk.welcome(born=2))
    (sent,) = talk.submits("hi")
    talk.says()
    talk.core.disconnected()
    talk.connects()
    talk.hears(talk.welcome(born=1))
    assert sent.outcome is Outcome.UNKNOWN


def test_commands_count_on_from_what_a_new_session_has_carried_out(talk):
    talk.core.disconnected()
    talk.connects()
    talk.submits("hi")
    assert talk.hears(talk.welcome(born=2, cseq=7)).of(Echo) == [Echo(8, ("hi",))]


def test_a_session_goes_on_with_a_broker_that_was_started_again(talk):
    """One that keeps its state: the epoch and the attempt that made the session are the same."""
    tickets = talk.submits("one", "two")
    talk.says()
    talk.hears(Farewell("shutting_down", "the broker is shutting down"))
    talk.core.disconnected()
    talk.connects()
    assert talk.hears(talk.welcome(cseq=1)).of(Echo) == [Echo(1, ("one", "two"))]
    talk.hears(Ack(0, 2, ()))
    assert [ticket.outcome for ticket in tickets] == [Outcome.ACCEPTED] * 2


def test_a_new_epoch_means_another_broker_so_commands_count_from_one(talk):
    tickets = talk.submits("one", "two")
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
    tickets = talk.submits("one", "two", "three")
    talk.says()
    talk.hears(Ack(0, 1, ()))
    talk.core.disconnected()
    talk.connects()
    sent = talk.hears(talk.welcome(epoch=b"epoch--2", former=b"epoch--1", cseq=2))
    assert sent.of(Echo) == [Echo(2, ("two", "three"))]
    talk.hears(Ack(1, 3, (Refusal(2, 2, "too_long", "too long"),)))
    outcomes = [ticket.outcome for ticket in tickets]
    assert outcomes == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]


@pytest.mark.parametrize("epoch", [b"epoch--1", b"epoch--2"])
def test_a_session_that_data_went_back_behind_counts_on_from_there(talk, epoch):
    """Of the same epoch, if the data folder itself was copied and put back."""
    tickets = talk.submits("one", "two", "three")
    talk.says()
    talk.hears(Ack(0, 2, ()))
    talk.core.disconnected()
    talk.connects()
    sent = talk.hears(talk.welcome(epoch=epoch, former=b"epoch--1", cseq=1))
    assert sent.of(Echo) == [Echo(2, ("three",))]
    talk.hears(Ack(1, 2, ()))
    assert [ticket.outcome for ticket in tickets] == [Outcome.ACCEPTED] * 3


@pytest.mark.parametrize("former", [b"", b"or older"])
def test_a_session_of_data_that_had_another_life_has_other_outcomes(talk, former):
    """Its numbers are those of other commands: of before a first copy was put back, say, and then a
    second one."""
    sent = talk.submits("one")[0]
    talk.says()
    talk.core.disconnected()
    unsent = talk.submits("two")[0]
    talk.connects()
    again = talk.hears(talk.welcome(epoch=b"another1", former=former, cseq=7))
    assert sent.outcome is Outcome.UNKNOWN
    assert again.of(Echo) == [Echo(8, ("two",))]
    assert talk.hears(Ack(0, 7, ())) is not None
    assert not unsent.done
    talk.hears(Ack(7, 8, ()))
    assert unsent.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("life", [{}, {"epoch": b"another1", "former": b"or older"}])
def test_a_forgotten_session_leaves_what_was_sent_unknown(talk, life):
    """The data are the same, or go on from what they were: they may have it, and a second time
    would double it."""
    sent = talk.submits("one")[0]
    talk.says()
    talk.core.disconnected()
    unsent = talk.submits("two")[0]
    attempt = talk.connects()[0].attempt
    again = talk.hears(talk.welcome(born=attempt, **life))
    assert sent.outcome is Outcome.UNKNOWN
    assert again.of(Echo) == [Echo(1, ("two",))]
    talk.hears(Ack(0, 1, ()))
    assert unsent.outcome is Outcome.ACCEPTED


def test_what_was_said_to_others_only_is_sent_to_data_that_come_back(talk):
    """They cannot have it: nothing was under way when the others took their place."""
    talk.core.disconnected()
    attempt = talk.connects()[0].attempt
    talk.hears(talk.welcome(born=attempt, epoch=b"another1"))
    ticket = talk.submits("one")[0]
    assert talk.says().of(Echo) == [Echo(1, ("one",))]
    talk.core.disconnected()
    talk.connects()
    assert talk.hears(talk.welcome()).of(Echo) == [Echo(1, ("one",))]
    talk.hears(Ack(0, 1, ()))
    assert ticket.outcome is Outcome.ACCEPTED


def test_what_was_sent_to_data_that_come_back_is_not_sent_to_them_again(talk):
    """Another broker was in their place for a while: on a wrong folder, say."""
    sent = talk.submits("one")[0]
    talk.says()
    talk.core.disconnected()
    attempt = talk.connects()[0].attempt
    assert talk.hears(talk.welcome(born=attempt, epoch=b"another1")).of(Echo) == [Echo(1, ("one",))]
    talk.core.disconnected()
    unsent = talk.submits("two")[0]
    talk.connects()
    again = talk.hears(talk.welcome(cseq=1))
    assert sent.outcome is Outcome.UNKNOWN
    assert again.of(Echo) == [Echo(2, ("two",))]
    talk.hears(Ack(1, 2, ()))
    assert unsent.outcome is Outcome.ACCEPTED


def test_what_was_sent_elsewhere_only_is_sent_to_data_that_come_back(talk):
    sent = talk.submits("one")[0]
    talk.says()
    talk.core.disconnected()
    attempt = talk.connects()[0].attempt
    talk.hears(talk.welcome(born=attempt, epoch=b"another1"))
    talk.hears(Ack(0, 1, ()))
    assert sent.outcome is Outcome.ACCEPTED
    later = talk.submits("two")[0]
    assert talk.says().of(Echo) == [Echo(2, ("two",))]
    talk.core.disconnected()
    talk.connects()
    assert talk.hears(talk.welcome(cseq=1)).of(Echo) == [Echo(2, ("two",))]
    talk.hears(Ack(1, 2, ()))
    assert later.outcome is Outcome.ACCEPTED


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
    ticket = talk.submits("hi")[0]
    talk.says()
    talk.core.disconnected()
    talk.connects()
    talk.hears(Ack(0, 1, ()))
    attempt = 2
    talk.hears(talk.welcome(epoch=b"epoch--2", born=attempt))
    assert not ticket.done
