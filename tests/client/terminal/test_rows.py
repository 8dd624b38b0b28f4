"""What is shown of what others say."""

from __future__ import annotations

from datetime import date

import pytest

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
from chatbroker.client.terminal.rows import (
    MOST_URLS,
    Place,
    event_row,
    mentions,
    nick_style,
    pending_row,
    told_row,
    urls,
)

NOON = 1_800_000_000_000
EVIL = "\x1b[2J\u202e\n\x07\u200e"
SAFE = "\\x1b[2J\\u202e\\n\\x07\\u200e"


def row(event, me="alice"):
    return event_row(event, me)


def without_time(shown):
    return shown.text.partition("] ")[2]


def styles(shown, text):
    return [style for style, part in shown.pieces if part == text]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Broadcast(1, NOON, "bob", "hi"), "bob: hi"),
        (Direct(1, NOON, "bob", "alice", "hi"), "bob -> alice: hi"),
        (Broadcast(1, NOON, "bob", "/me waves"), "** bob waves"),
        (Direct(1, NOON, "bob", "alice", "/me waves"), "** bob -> alice waves"),
        (Joined(NOON, "bob"), "* bob joined"),
        (Left(NOON, "bob"), "* bob left"),
        (Broadcast(1, NOON, "bob", EVIL), f"bob: {SAFE}"),
        (Direct(1, NOON, EVIL, EVIL, EVIL), f"{SAFE} -> {SAFE}: {SAFE}"),
        (Joined(NOON, EVIL), f"* {SAFE} joined"),
    ],
)
def test_what_has_a_time(event, expected):
    assert without_time(row(event)) == expected
    assert row(event).day in (date(2027, 1, 15), date(2027, 1, 14), date(2027, 1, 16))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Missed("echo", 41), "* echo: 41 messages are no longer kept"),
        (Offline("the connection is lost"), "* the connection is lost; reconnecting…"),
        (Offline(EVIL), f"* {SAFE}; reconnecting…"),
        (Online("alice", True), "* connected again"),
        (Notice("announcement", "tea" + EVIL), f"* announcement: tea{SAFE}"),
    ],
)
def test_what_has_none(event, expected):
    assert row(event).text == expected
    assert row(event).day is None
    assert not row(event).counts


def test_that_one_is_connected_at_first_is_not_told():
    assert row(Online("alice", False)) is None


def test_what_the_program_says_is_escaped_too():
    assert told_row(f"! no such user: {EVIL}").text == f"! no such user: {SAFE}"
    assert pending_row("bob", EVIL, "alice", "waiting…").text == f"[waiting…] alice -> bob: {SAFE}"


def test_nobody_can_say_what_looks_like_presence():
    assert without_time(row(Broadcast(1, NOON, "bob", "/me joined"))) != "* bob joined"


def test_a_message_tells_where_it_can_be_had_again():
    assert row(Broadcast(7, NOON, "bob", "hi")).place == Place("echo", 7, 0)
    assert event_row(Direct(9, NOON, "bob", "alice", "hi"), "alice", 3).place == Place(
        "direct", 9, 3
    )
    assert row(Joined(NOON, "bob")).place is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("alice: hi", True),
        ("hi Alice!", True),
        ("ask @alice.", True),
        ("alice", True),
        ("malice", False),
        ("alices", False),
        ("alice-2", False),
        ("alice.b", False),
        ("b.alice", False),
        ("", False),
    ],
)
def test_a_mention_is_the_name_as_a_word(text, found):
    assert mentions(text, "alice") == found


def test_mentions_direct_and_own_messages_stand_out():
    mention = row(Broadcast(1, NOON, "bob", "hi alice"))
    assert "class:caller" in styles(mention, "bob")[0]
    assert "class:mention" in styles(mention, "hi alice")[0]
    assert "class:direct" in styles(row(Direct(1, NOON, "bob", "alice", "hi")), "hi")[0]
    assert styles(row(Broadcast(1, NOON, "alice", "I, alice")), "alice") == ["class:own"]
    assert styles(row(Broadcast(1, NOON, "alice", "I, alice")), "I, alice") == [""]


def test_a_name_has_one_colour_everywhere():
    assert styles(row(Broadcast(1, NOON, "bob", "x")), "bob") == [nick_style("bob")]
    assert styles(row(Direct(1, NOON, "carol", "bob", "x"), "carol"), "bob") == [nick_style("bob")]
    assert len({nick_style(f"user{n}") for n in range(100)}) > 6


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see https://a.example/x?y=1.", ["https://a.example/x?y=1"]),
        ("(http://a.example)", ["http://a.example"]),
        ("http://a.example/wiki/X_(y), yes", ["http://a.example/wiki/X_(y)"]),
        ("HTTPS://A.example\u202e", ["HTTPS://A.example"]),
        ("https:// ftp://a.example", []),
        ("two http://a http://b", ["http://a", "http://b"]),
        ("https://!!!", []),
        ("(see http://a.example/X_(y)).", ["http://a.example/X_(y)"]),
        ("http://a)b)", ["http://a)b"]),
    ],
)
def test_addresses_of_pages_are_found(text, found):
    shown = row(Broadcast(1, NOON, "bob", text))
    assert shown.urls == found
    assert all("\x1b" not in url for url in found)


def test_an_address_is_where_it_is_said_to_be():
    text = "a http://b, c"
    assert [text[start:end] for start, end in urls(text)] == ["http://b"]


def test_of_thousands_of_addresses_the_first_are_marked():
    text = " ".join(f"http://{n}" for n in range(MOST_URLS + 1000))
    shown = row(Broadcast(1, NOON, "bob", text))
    assert shown.urls == [f"http://{n}" for n in range(MOST_URLS)]
    assert without_time(shown) == f"bob: {text}"
    assert shown.weight < 3 * len(text)
