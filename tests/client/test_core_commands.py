"""What a client does with commands and complaints, and what it tells its program, under a clock
that the test moves."""

from __future__ import annotations

import pytest
from tickets import one

from chatbroker.client import inbox as inbox_module
from chatbroker.client.commands import Outcome
from chatbroker.client.core import BACK_OFF, PATIENCE, Phase
from chatbroker.client.events import Broadcast, Direct, Joined, Left, Missed, Offline, Online
from chatbroker.client.events import Notice as Told
from chatbroker.wire.errors import Code
from chatbroker.wire.messages import (
    Ack,
    Cursor,
    Echo,
    Error,
    Events,
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
    Refusal,
    Refused,
    Run,
    Send,
)
from chatbroker.wire.messages import Missed as NoLongerKept

# --- commands -----------------------------------------------------------------------------


def test_commands_are_numbered_and_resolved(talk):
    to_bob, to_all = one("bob", "hi"), one(None, "hello")
    talk.core.submit(to_bob.commands)
    talk.core.submit(to_all.commands)
    assert talk.says() == [Send(1, "bob", ("hi",)), Echo(2, ("hello",))]
    talk.hears(Ack(0, 2, (Refusal(1, 1, "no_such_user", "no such user"),)))
    assert (to_bob.outcome, to_bob.code) == (Outcome.REFUSED, "no_such_user")
    assert to_bob.words == "no such user: bob"
    assert to_all.outcome is Outcome.ACCEPTED


def test_what_waits_for_who_is_away_is_accepted_and_told_apart(talk):
    tickets = [one(to, "hi") for to in ("bob", "carol", "carol", "dave", "dave", None)]
    for ticket in tickets:
        talk.core.submit(ticket.commands)
    talk.says()
    refused = Refusal(4, 5, "no_such_user", "no such user")
    talk.hears(Ack(0, 6, (refused,), (Run(2, 3),)))
    accepted, no = Outcome.ACCEPTED, Outcome.REFUSED
    assert [ticket.outcome for ticket in tickets] == [accepted] * 3 + [no] * 2 + [accepted]
    assert [ticket.away for ticket in tickets] == [False, True, True, False, False, False]


def test_who_was_away_is_told_also_by_an_ack_that_came_late(talk):
    ticket = one("bob", "hi")
    talk.core.submit(ticket.commands)
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
    talk.submits(*"abcde")
    assert talk.says().of(Echo) == [Echo(1, ("a", "b", "c"))]
    assert talk.says() == []
    assert talk.hears(Ack(0, 2, ())).of(Echo) == [Echo(4, ("d", "e"))]


def test_no_frame_exceeds_the_limit(talk):
    talk.submits(*["x" * 16_000] * 20)
    frames = []
    while batch := talk.core.outgoing(talk.now):
        frames += batch
    assert len(frames) > 1
    assert max(map(len, frames)) <= 64 * 1024


def test_a_hole_in_the_acks_is_asked_about(talk):
    talk.submits("one", "two")
    talk.says()
    (ping,) = talk.hears(Ack(1, 2, ())).of(Ping)
    assert (ping.sent, ping.resolved) == (2, 0)


def test_out_of_order_sends_again_from_what_is_expected(talk):
    talk.submits("one", "two", "three")
    talk.says()
    again = talk.hears(Error("out_of_order", "command 2 is expected next", 2))
    assert again == [Echo(2, ("two", "three"))]


# --- what the broker complains about ------------------------------------------------------


def test_a_session_that_the_broker_lost_is_made_again(talk):
    ticket = talk.submits("hi")[0]
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


def test_a_log_that_is_gone_keeps_nobody_who_leaves(talk):
    (fetch,) = talk.hears(Pong(0, (Cursor("echo", b"echo---1", 4),))).of(Fetch)
    talk.core.leave()
    talk.says()
    assert talk.hears(Error("no_such_log", "no such log", fetch.ref)) == []
    assert talk.core.phase is Phase.LEAVING
    assert talk.passes(PATIENCE) == []


INTERRUPTIONS = {"out_of_order", "no_session", "no_such_log", "slow_down", "fetch_later"}


@pytest.mark.parametrize("code", [code.value for code in Code if code.value not in INTERRUPTIONS])
def test_every_other_error_ends_the_session_with_its_reason(talk, code):
    ticket = talk.submits("hi")[0]
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
    ticket = talk.submits("hi")[0]
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
    body = Events.of([None, event])
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


def test_that_the_broker_cannot_store_is_news_once_and_when_the_reason_is_another(talk):
    """It repeats it every few seconds: in a night that is ten thousand lines of a log."""
    full, storing, other = NOTICES
    locked = Notice("cannot_store", "the broker cannot store messages (locked); what is sent waits")
    talk.hears(full, full, other, full, locked, locked, full, storing, full, storing, other, other)
    heard = [full, other, locked, full, storing, full, storing, other, other]
    assert talk.events() == [Told(*notice) for notice in heard]


def test_that_the_broker_cannot_store_is_news_after_a_reconnect(talk):
    """Whether it could meanwhile was not heard; and it could, to let one in."""
    talk.hears(NOTICES[0])
    talk.core.disconnected()
    talk.connects()
    talk.hears(talk.welcome())
    talk.hears(NOTICES[0])
    assert talk.events().count(Told(*NOTICES[0])) == 2


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.code)
def test_nothing_follows_from_a_notice(talk, notice):
    ticket = talk.submits("hi")[0]
    talk.says()
    assert talk.hears(notice) == []
    assert talk.core.phase is Phase.READY
    assert not ticket.done
    talk.hears(Ack(0, 1, ()))
    assert ticket.outcome is Outcome.ACCEPTED


def test_a_notice_is_a_sign_of_life(talk):
    for _ in range(10):
        talk.now += talk.core.heartbeat.lease - 1.0
        talk.hears(NOTICES[0])
        assert not talk.core.silent(talk.now)


def test_a_notice_before_welcome_welcomes_nobody(talk_with):
    """The broker may be unable to store the very session."""
    talk = talk_with()
    talk.submits("hi")
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
    monkeypatch.setattr(inbox_module, "IN_A_FRAME", 0)
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
    (ping,) = talk.passes(talk.HEARTBEAT).of(Ping)
    assert ping.cursors == ()  # The program has seen none of them.
    talk.show(3)
    (ping,) = talk.passes(talk.HEARTBEAT).of(Ping)
    assert ping.cursors[0].position == 3
    talk.events()
    (ping,) = talk.passes(talk.HEARTBEAT).of(Ping)
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
    talk.submits(*[f"{number}" for number in range(200)])
    burst = said(talk.hears(rates(talk, 10, 20)))
    assert 17 <= len(burst) <= 18  # Without what comes in a quarter of a second.
    assert talk.core.pause(talk.now) <= 0.1
    rest = said(runs(talk, 10.0))
    assert 99 <= len(rest) <= 101
    assert [*burst, *rest] == [f"{number}" for number in range(len(burst) + len(rest))]
    # PINGs go out as ever.
    assert len(runs(talk, 20.0).of(Ping)) >= 3


def test_what_is_held_back_goes_out_again_when_it_may(talk):
    tickets = talk.submits("a", "b", "c")
    assert said(talk.says()) == ["a", "b", "c"]
    talk.hears(Ack(0, 1))
    assert not talk.hears(Error("slow_down", "words", 2, 500)).of(Echo)
    talk.submits("d")
    assert not talk.passes(0.4).of(Echo)
    assert talk.core.pause(talk.now) == pytest.approx(0.1)
    again = talk.passes(0.1).of(Echo)
    assert [(echo.cseq, echo.texts) for echo in again] == [(2, ("b", "c", "d"))]
    talk.hears(Ack(1, 4))
    assert [ticket.outcome for ticket in tickets] == [Outcome.ACCEPTED] * 3


def test_what_was_held_back_is_not_said_to_be_sent(talk):
    talk.submits("a", "b")
    talk.says()
    talk.hears(Error("slow_down", "words", 1, 60_000))
    (ping,) = talk.passes(talk.HEARTBEAT).of(Ping)
    assert ping.sent == 0


def test_being_told_twice_to_wait_doubles_nothing(talk):
    talk.submits("a")
    talk.says()
    talk.hears(Error("slow_down", "words", 1, 500), Error("out_of_order", "words", 1))
    assert not talk.says().of(Echo)
    assert said(talk.passes(0.5)) == ["a"]
    talk.hears(Ack(0, 1), Error("slow_down", "words", 1, 500))
    assert not talk.passes(5.0).of(Echo)


def test_questions_are_asked_while_commands_wait(talk):
    talk.submits("a")
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
