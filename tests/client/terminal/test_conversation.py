"""What a person's lines and the broker's events come to."""

from __future__ import annotations

import pytest
from tickets import resolve

from chatbroker.client.commands import Outcome
from chatbroker.client.events import (
    Broadcast,
    Direct,
    Joined,
    Left,
    Missed,
    Notice,
    Offline,
    Online,
)
from chatbroker.client.terminal.conversation import BEGINNING, MOST_PENDING

TIME = 1_800_000_000_000


def said(text, sender="alice", seq=1):
    return Broadcast(seq, TIME, sender, text)


def told(text, sender="bob", to="alice", seq=1):
    return Direct(seq, TIME, sender, to, text)


def sent(talk):
    return [(ticket.to, ticket.text) for ticket in talk.client.sent]


def test_plain_text_goes_to_whom_the_prompt_names(talk):
    assert talk.conversation.prompt == "everyone> "
    talk.type("hello", "to bob", "psst", "to everyone", "all", "send carol hi", "echo x", " to bob")
    assert sent(talk) == [
        *((None, "hello"), ("bob", "psst"), (None, "all")),
        *(("carol", "hi"), (None, "x"), (None, "to bob")),
    ]
    talk.type("to BOB")
    assert talk.conversation.prompt == "bob> "


def test_a_message_is_under_way_until_it_is_stored_and_seen(talk):
    talk.type("hello")
    assert talk.display.under_way == ["[sending…] alice: hello"]
    talk.accept()
    assert talk.display.under_way == ["[ stored ] alice: hello"]
    assert talk.display.lines == []
    talk.take(said("hello"))
    assert talk.display.under_way == []
    assert talk.display.lines == ["alice: hello"]


def test_it_may_be_seen_before_it_is_known_to_be_stored(talk):
    talk.type("hello", "hello")
    talk.take(said("hello"))
    assert talk.display.under_way == ["[sending…] alice: hello"]
    talk.accept(0)
    assert talk.conversation.state.pending == 1
    talk.take(said("hello", seq=2))
    talk.accept(1)
    assert talk.display.under_way == []
    assert talk.conversation.state.pending == 0


def test_a_message_to_one_is_not_taken_for_one_to_all(talk):
    talk.type("x", "send bob x")
    talk.take(told("x", "alice", "bob"))
    assert talk.display.under_way == ["[sending…] alice: x"]


def test_who_is_away_is_told_and_a_refusal_says_what_was_not_sent(talk):
    talk.type("send bob hi", "send nobody secret")
    talk.accept(0, away=True)
    talk.refuse(1, "no such user: nobody")
    assert talk.display.lines == [
        "* bob is away; he will get it",
        "! no such user: nobody (not sent: secret)",
    ]
    talk.take(told("hi", "alice", "bob"))
    assert talk.display.under_way == []


def test_what_is_missed_is_no_longer_waited_for(talk):
    talk.type("a", "send bob b")
    talk.accept(0)
    talk.accept(1)
    talk.take(Missed("echo", 5))
    assert talk.display.under_way == ["[ stored ] alice -> bob: b"]
    talk.take(Missed("direct", None))
    assert talk.display.under_way == []


def test_while_the_connection_is_lost_messages_wait(talk):
    talk.take(Offline("the connection is lost"))
    talk.type("one", "two")
    assert talk.display.under_way == ["[waiting…] alice: one", "[waiting…] alice: two"]
    assert not talk.conversation.state.connected
    talk.client.online = ["alice", "carol"]
    talk.take(Online("alice", True))
    assert talk.conversation.state == (("alice", "carol"), True, 2)
    assert talk.display.under_way[0].startswith("[sending…]")


def test_who_is_on_is_asked_again_when_presence_may_have_been_missed(talk):
    """Only the connection to the port of broadcasts was lost, say."""
    talk.conversation.begin(10)
    talk.client.online = ["alice", "carol"]
    talk.take()
    assert talk.conversation.state.online == ("alice", "bob")
    talk.client.greetings = 2
    talk.take()
    assert talk.conversation.state.online == ("alice", "carol")
    talk.client.online = ["alice"]
    talk.take()
    assert talk.conversation.state.online == ("alice", "carol")


def test_who_is_on(talk):
    talk.conversation.begin(10)
    talk.take(Joined(TIME, "carol"), Left(TIME, "bob"))
    assert talk.conversation.state.online == ("alice", "carol")
    talk.client.online = ["alice", "dora"]
    talk.type("info")
    assert talk.display.lines[-1] == "* online: alice, dora"
    assert talk.conversation.state.online == ("alice", "dora")


def test_reply_goes_to_whom_the_last_direct_message_came_from(talk):
    talk.type("reply hi")
    assert talk.display.lines == ["! nobody has sent you a direct message yet"]
    talk.take(told("x", "bob"), told("y", "carol"), told("z", "alice", "bob"))
    talk.type("reply hi")
    assert sent(talk) == [("carol", "hi")]
    assert {"bob", "carol"} - talk.conversation.names == {"bob"}


def test_one_replies_to_who_wrote_before_one_joined(talk):
    talk.client.heads["direct"] = (3, 3)
    talk.client.pages["direct"] = [
        told("old", "bob", seq=1),
        told("new", "carol", seq=2),
        told("z", "alice", "dora", seq=3),
    ]
    talk.conversation.begin(10)
    talk.type("reply hi")
    assert sent(talk) == [("carol", "hi")]
    talk.take(told("y", "erin"))
    talk.type("history 5", "reply hi")
    assert sent(talk)[1:] == [("erin", "hi")]


def test_to_whom_plain_text_goes_is_told_also_if_they_are_not_on(talk):
    talk.type("to bob")
    talk.conversation.begin(10)
    talk.type("to bob", "to zed", "to everyone")
    talk.take(Offline("gone"))
    talk.type("to zed")
    told_of = [line for line in talk.display.lines if "plain" in line]
    assert told_of == [
        "* plain text goes to bob now",
        "* plain text goes to bob now",
        "* plain text goes to zed now, who is not on",
        "* plain text goes to everyone now",
        "* plain text goes to zed now",
    ]


@pytest.mark.parametrize(
    ("event", "alerts"),
    [
        (told("hi"), 1),
        (said("alice: hi", "bob"), 1),
        (said("hi", "bob"), 0),
        (said("I, alice", "alice"), 0),
        (told("hi", "alice", "bob"), 0),
        (Notice("announcement", "alice"), 0),
    ],
)
def test_what_is_meant_for_one_above_all(talk, event, alerts):
    talk.take(event)
    assert len(talk.display.alerts) == alerts


def test_what_came_while_one_was_away_is_marked_and_rings_no_bell(talk):
    talk.client.heads["direct"] = (4, 6)
    talk.conversation.begin(10)
    assert talk.display.lines[-1] == "--- you were away: 2 new"
    talk.take(told("a", seq=5), told("b", seq=6))
    assert talk.display.alerts == []
    talk.take(told("c", seq=7))
    assert len(talk.display.alerts) == 1


def test_ones_own_messages_of_that_time_hide_no_later_one(talk):
    """One may have sent some by ``chat send`` meanwhile; they are in the same log."""
    talk.client.heads["direct"] = (4, 6)
    talk.conversation.begin(10)
    talk.take(told("mine", "alice", "bob", seq=5), told("mine too", "alice", "bob", seq=6))
    talk.take(told("now", seq=7))
    assert [row.text.partition("] ")[2] for row in talk.display.alerts] == ["bob -> alice: now"]


def test_old_mentions_ring_no_bell_and_in_another_history_nothing_is_old(talk):
    talk.client.heads["echo"] = (0, 6)
    talk.conversation.begin(10)
    talk.take(said("alice?", "bob", 6))
    assert talk.display.alerts == []
    talk.take(Missed("echo", None), said("alice!", "bob", 1))
    assert len(talk.display.alerts) == 1


def test_a_message_of_which_nobody_knows_more_does_not_vanish_silently(talk):
    """The broker may have forgotten the session; the conversation goes on."""
    talk.type("hello")
    resolve(talk.client.sent[0], Outcome.UNKNOWN)
    talk.take()
    assert talk.display.under_way == []
    assert talk.display.lines == [
        "! sent, but not acknowledged: it may be stored or not; sent again, it may be there twice:"
        " hello"
    ]


def test_messages_that_waited_are_stored_and_seen_in_their_order(talk):
    talk.take(Offline("the connection is lost"))
    talk.type("a", "send bob b", "c")
    assert sent(talk) == [(None, "a"), ("bob", "b"), (None, "c")]
    talk.take(Online("alice", True))
    talk.accept(0)
    talk.take(told("b", "alice", "bob"))
    assert talk.display.under_way == ["[ stored ] alice: a", "[sending…] alice: c"]
    talk.take(said("a"), said("c", seq=2))
    talk.accept(1)
    talk.accept(2)
    assert talk.display.under_way == []
    assert talk.display.lines[-3:] == ["alice -> bob: b", "alice: a", "alice: c"]


def test_what_is_under_way_and_has_not_changed_is_the_same_row(talk):
    talk.type("a")
    (before,) = talk.display.pending
    talk.type("b")
    assert talk.display.pending[0] is before


def test_more_of_what_was_said_before_until_there_is_no_more(talk):
    talk.client.heads["echo"] = (2, 2)
    talk.client.pages["echo"] = [said("one", "bob", 1), said("two", "bob", 2)]
    talk.conversation.begin(1)
    assert [row.text.partition("] ")[2] for row in talk.display.past] == ["bob: two"]
    talk.type("history 5")
    assert talk.display.past[0].text == f"--- {BEGINNING}"
    assert talk.display.past[1].text.endswith("bob: one")
    talk.type("history")
    assert talk.display.lines[-1] == "* nothing more is kept of what was said before"


def test_what_is_recalled_of_a_history_that_is_over_is_not_shown(talk):
    talk.client.heads["echo"] = (2, 2)
    talk.client.pages["echo"] = [said("one", "bob", 1), said("two", "bob", 2)]
    talk.held = []
    talk.conversation.begin(1)
    answers = [job() for job in talk.held]
    talk.take(Missed("echo", None))
    for answer in answers:
        answer()
    assert talk.display.past == []


def asked_for(talk):
    """Of which log, and up to where, what was said before is asked for from now on."""
    asked = []
    talk.client.browse = lambda browse: iter(asked.append((browse.log, browse._upto)) or [])
    return asked


@pytest.mark.parametrize(
    ("start", "upto"),
    [
        (60, 49),  # A copy was put back: what is before what was recalled is what it was.
        (49, 49),
        (30, 30),  # What was recalled is more than the copy has.
        (0, None),  # It has nothing to do with what was.
    ],
)
def test_what_was_said_before_is_there_in_another_history_as_far_as_it_is_the_same(
    talk, start, upto
):
    talk.client.heads["echo"] = (60, 60)
    talk.client.pages["echo"] = [said(f"m{n}", "bob", n) for n in range(1, 61)]
    talk.conversation.begin(11)
    assert talk.display.past[0].text.endswith("bob: m50")
    talk.client.heads["echo"] = (start, start + 5)
    talk.take(Missed("echo", None), Missed("direct", None))
    asked = asked_for(talk)
    talk.conversation.recall(5)
    assert asked == ([] if upto is None else [("echo", upto)])


def test_what_was_being_recalled_when_another_history_began_is_had_again(talk):
    talk.client.heads["echo"] = (60, 60)
    talk.client.pages["echo"] = [said(f"m{n}", "bob", n) for n in range(1, 61)]
    talk.conversation.begin(11)
    talk.held = []
    talk.conversation.recall(5)
    (job,) = talk.held
    show = job()
    talk.client.heads["echo"] = (55, 58)
    talk.take(Missed("echo", None))
    show()
    talk.held = None
    asked = asked_for(talk)
    talk.conversation.recall(5)
    assert asked == [("echo", 55)]


def test_nobody_types_more_than_can_wait(talk):
    for number in range(MOST_PENDING + 1):
        talk.type(f"n{number}")
    assert len(talk.client.sent) == MOST_PENDING
    assert talk.display.lines == [f"! 1000 messages wait for the broker; not sent: n{MOST_PENDING}"]


@pytest.mark.parametrize("line", ["/nonsense", "send bob", "to", "to bob and more", "info now"])
def test_what_is_no_command_is_refused_and_said_to_nobody(talk, line):
    assert talk.type(line)
    assert sent(talk) == []
    assert talk.display.lines[0].startswith("! ")


def test_a_name_that_cannot_be_is_refused_at_once(talk):
    talk.conversation.to = "not a name"
    talk.type("hi")
    assert talk.display.lines == ["! no such user: not a name"]
    assert talk.display.under_way == []


@pytest.mark.parametrize("line", ["quit", "/quit"])
def test_leaving(talk, line):
    assert not talk.type(line)
    assert talk.type("")


def test_rows_that_were_dropped_while_more_was_recalled_leave_no_hole(talk):
    talk.conversation.begin(10)
    talk.take(*[said(f"m{n}", "bob", n) for n in range(1, 4)])
    dropped = talk.display.rows[1:3]
    talk.held = []
    talk.conversation.recall(5)
    talk.conversation.forget(dropped)
    assert talk.display.past == []
    for job in talk.held:
        job()()
    assert talk.display.past == []  # What was recalled is not put where a hole would be.
    talk.held = None
    asked = []
    talk.client.browse = lambda browse: iter(asked.append((browse.log, browse._upto)) or [])
    talk.conversation.recall(5)
    assert asked == [("echo", 2)]


def test_positions_of_another_history_are_not_asked_for(talk):
    talk.conversation.begin(10)
    talk.take(said("old", "bob", 70), Missed("echo", None), said("new", "bob", 2))
    old, _, new = talk.display.rows[1:]
    asked = []
    talk.client.browse = lambda browse: iter(asked.append((browse.log, browse._upto)) or [])
    talk.conversation.forget([old, new])
    talk.conversation.recall(5)
    assert asked == [("echo", 2)]


def test_what_is_no_name_is_not_to_be_named(talk):
    talk.take(Joined(TIME, "\u202eecila"), Joined(TIME, "carol; rm"), Joined(TIME, "carol"))
    talk.take(Direct(1, TIME, "\x1b[2J", "alice", "hi"))
    assert talk.conversation.names == {"carol"}
    assert "\u202eecila" in talk.conversation.state.online


def test_a_reply_goes_to_whom_it_was_for_when_it_was_begun(talk):
    talk.conversation.begun("reply")
    assert talk.conversation.prompt == "everyone> "  # To nobody yet.
    talk.conversation.begun("")
    talk.take(told("x", "bob"))
    talk.conversation.begun("repl")
    assert talk.conversation.prompt == "everyone> "
    talk.conversation.begun("reply s")
    assert talk.conversation.prompt == "bob> "
    talk.take(told("me first!", "mallory"))
    talk.conversation.begun("reply secret")
    talk.type("reply secret")
    assert talk.conversation.prompt == "everyone> "
    talk.conversation.begun("/reply no")
    assert talk.conversation.prompt == "mallory> "
    talk.conversation.begun("replying")
    assert talk.conversation.prompt == "everyone> "
    talk.type("reply no")
    assert sent(talk) == [("bob", "secret"), ("mallory", "no")]
