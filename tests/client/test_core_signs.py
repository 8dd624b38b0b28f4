"""What a client asks, and how it tells that its broker lives, under a clock that the test moves."""

from __future__ import annotations

import pytest

from chatbroker.client import greeting
from chatbroker.client.core import PATIENCE, Phase
from chatbroker.client.events import Notice
from chatbroker.client.pings import CONFIRM_WITHIN
from chatbroker.wire.messages import (
    Ack,
    Cursor,
    Farewell,
    Fetch,
    Fetched,
    Info,
    Ping,
    Pong,
    Refused,
    User,
    Users,
)
from chatbroker.wire.messages import (
    Notice as Told,
)

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


def test_while_no_connection_stands_nothing_is_due(talk):
    talk.core.ask_users()
    talk.core.disconnected()
    talk.now += 1000.0
    assert talk.core.pause(talk.now) == talk.core.heartbeat.every
    assert talk.core.outgoing(talk.now) == []


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
    talk.submits("one", "two")
    talk.says()
    talk.hears(Ack(0, 1, ()), batch("direct", 1, "hi"))
    talk.events()
    assert not talk.passes(talk.HEARTBEAT - 0.1).of(Ping)
    (ping,) = talk.passes(0.1).of(Ping)
    assert (ping.sent, ping.resolved) == (2, 1)
    assert ping.cursors == (Cursor("direct", b"direct-1", 1),)
    assert not talk.passes(talk.HEARTBEAT - 0.1).of(Ping)
    assert len(talk.passes(0.1).of(Ping)) == 1


def test_a_pong_may_tell_a_longer_heartbeat_and_the_next_ping_says_that_it_was_heard(talk):
    (ping,) = talk.passes(talk.HEARTBEAT).of(Ping)
    assert ping.heartbeat == 0  # That of WELCOME.
    talk.hears(Pong(ping.ref, (), 20_000, 70_000))
    (ping,) = talk.passes(talk.HEARTBEAT).of(Ping)
    assert ping.heartbeat == 20_000
    assert not talk.passes(19.9).of(Ping)
    (ping,) = talk.passes(0.1).of(Ping)
    assert ping.heartbeat == 20_000
    talk.hears(Pong(ping.ref, ()))
    assert not talk.passes(19.9).of(Ping)
    assert talk.core.heartbeat.lease == 70.0


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


def test_pings_come_in_the_moments_of_all_clients(talk_with):
    talk = talk_with()
    talk.core.heartbeat.phase = 0.2  # It is 100.2 by the clock that they share.

    def pings_at(when):
        return talk.passes(when - talk.now).of(Ping)

    talk.connects()
    talk.hears(talk.welcome(heartbeat=30_000, lease=90_000))
    assert not pings_at(129.75)
    (ping,) = pings_at(129.85)
    talk.now = 129.95
    talk.hears(Pong(ping.ref, (), 5000, 15_000))
    for moment, seen in ((134.8, 134.83), (139.8, 139.82), (144.8, 144.81)):
        assert not pings_at(moment - 0.05)
        assert len(pings_at(seen)) == 1


def test_each_welcome_tells_a_heartbeat_anew(talk):
    (ping,) = talk.passes(talk.HEARTBEAT).of(Ping)
    talk.hears(Pong(ping.ref, (), 20_000, 60_000))
    talk.core.disconnected()
    talk.connects()
    (ping,) = talk.hears(talk.welcome()).of(Ping)
    assert (ping.heartbeat, talk.core.heartbeat.lease) == (0, 15.0)
    assert len(talk.passes(talk.HEARTBEAT).of(Ping)) == 1


@pytest.mark.parametrize("told", [(0, 0), (20_000, 0), (0, 60_000)])
def test_a_pong_that_does_not_tell_both_heartbeat_and_lease_changes_neither(talk, told):
    talk.hears(Pong(0, (), *told))
    (ping,) = talk.passes(talk.HEARTBEAT).of(Ping)
    assert (ping.heartbeat, talk.core.heartbeat.lease) == (0, 15.0)
    assert len(talk.passes(talk.HEARTBEAT).of(Ping)) == 1


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
    assert looks == len(greeting.SETTLE) - 1


def test_listening_is_not_promised_before_the_greeting(talk_with):
    talk = talk_with()
    talk.connects()
    talk.core.greeted(talk.now)
    assert not talk.core.listening
    talk.hears(talk.welcome())
    assert talk.core.listening


def notices(talk):
    return [event.words for event in talk.events() if type(event) is Notice]


def test_that_no_greeting_comes_is_told_once_for_each_welcome(talk_with):
    talk = talk_with()
    for _ in range(2):
        talk.connects()
        talk.hears(talk.welcome())
        talk.passes(greeting.WITHIN - 0.1)
        assert notices(talk) == []
        talk.passes(0.1)
        (words,) = notices(talk)
        assert words.startswith("nothing comes from the broker's port 5556: broadcasts come late")
        talk.passes(10.0)
        assert notices(talk) == []
        talk.core.disconnected()


def test_of_a_mute_it_is_told_once_though_hello_was_repeated(talk_with):
    """Each WELCOME has a notice of it, also those that came too late."""
    talk = talk_with()
    talk.connects()
    muted = Told("muted", "'alice' is muted")
    stale = talk.welcome()
    talk.passes(PATIENCE)
    talk.hears(stale, muted)
    assert notices(talk) == []
    talk.hears(talk.welcome(), muted)
    assert notices(talk) == ["'alice' is muted"]


def test_another_port_of_broadcasts_has_a_greeting_of_its_own(talk):
    talk.core.greeted(talk.now)
    assert talk.core.listening
    talk.core.disconnected()
    talk.connects()
    talk.hears(talk.welcome(pub_port=6000))
    assert not talk.core.listening
    talk.passes(greeting.WITHIN)
    (words,) = notices(talk)
    assert "port 6000" in words
    assert talk.core.greeting.count == 1
    talk.core.greeted(talk.now)
    assert talk.core.greeting.count == 2


@pytest.mark.parametrize("logs", [["echo"], ["direct"]])
def test_a_greeting_that_came_or_that_nobody_waits_for_is_not_missed(talk_with, logs):
    talk = talk_with(logs=logs, presence=False)
    talk.connects()
    talk.hears(talk.welcome())
    if "echo" in logs:
        talk.core.greeted(talk.now)
    talk.passes(greeting.WITHIN)
    assert notices(talk) == []


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
    assert not talk.core.silent(talk.now + talk.core.heartbeat.lease)
    assert talk.core.silent(talk.now + talk.core.heartbeat.lease + 0.1)
    talk.now += 10.0
    talk.hears(Pong(0, ()))
    assert not talk.core.silent(talk.now + talk.core.heartbeat.lease)
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
    (earlier,) = talk.passes(talk.HEARTBEAT).of(Ping)
    ref = talk.core.ask_heads()
    talk.hears(Pong(earlier.ref, ()))
    assert not talk.core.caught_up(ref)


def test_what_was_answered_stays_so_when_the_broker_says_something_unasked(talk):
    ref = talk.core.ask_heads()
    (ping,) = talk.says().of(Ping)
    talk.hears(Pong(ping.ref, ()))
    talk.hears(Pong(0, ()))
    assert talk.core.caught_up(ref)


def test_a_look_at_the_heads_outlives_the_connection(talk):
    ref = talk.core.ask_heads()
    talk.says()
    talk.core.disconnected()
    talk.connects()
    (ping,) = talk.hears(talk.welcome()).of(Ping)
    talk.hears(Pong(ping.ref, ()))
    assert talk.core.caught_up(ref)


def test_a_lost_tail_is_noticed_by_the_next_pong(talk):
    (ping,) = talk.passes(talk.HEARTBEAT).of(Ping)
    heads = (Cursor("echo", b"echo---1", 4), Cursor("direct", b"direct-1", 0))
    (fetch,) = talk.hears(Pong(ping.ref, heads)).of(Fetch)
    assert (fetch.log, fetch.after) == ("echo", 0)


def test_an_unanswered_fetch_is_sent_again(talk):
    talk.hears(Pong(0, (Cursor("echo", b"echo---1", 4),)))
    assert not talk.passes(PATIENCE - 0.1).of(Fetch)
    assert len(talk.passes(0.1).of(Fetch)) == 1


def test_each_question_has_a_number_of_its_own(talk):
    """By which the broker puts one off, or refuses it."""
    heads = (Cursor("echo", b"echo---1", 4), Cursor("direct", b"direct-1", 4))
    fetches = talk.hears(Pong(0, heads)).of(Fetch)
    query = talk.core.ask_users()
    later = talk.passes(PATIENCE)
    asked = [*fetches, *later.of(Fetch), *later.of(Ping), query]
    assert len(asked) >= 5
    assert len({one.ref for one in asked}) == len(asked)


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
