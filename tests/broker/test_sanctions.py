"""Bans and mutes: who is met by them, how they end, what is kept of them."""

from __future__ import annotations

import json

import pytest

from chatbroker.broker import sanctions as module
from chatbroker.broker.sanctions import (
    CannotKeep,
    Kind,
    Sanction,
    Sanctions,
    checked_reason,
    checked_who,
    key_of,
    told,
    until_of,
)
from chatbroker.wire.errors import BadName
from chatbroker.wire.keys import key_text

NOON = 1_700_000_000_000
KEY = bytes(range(32))
SPELLED = key_text(KEY)


def ban(who="bob", **more):
    return Sanction(Kind.BAN, who, NOON, **more)


def mute(who="bob", **more):
    return Sanction(Kind.MUTE, who, NOON, **more)


class Shelf:
    """Keeps in memory; fails when it is told to."""

    def __init__(self):
        self.text = ""
        self.full = False

    def keep(self, text):
        if self.full:
            raise CannotKeep("no space left")
        self.text = text


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def held(shelf):
    return Sanctions(shelf.keep)


# --- who is met by them -------------------------------------------------------------------


def test_a_ban_meets_its_name_and_no_other(held):
    held.impose(ban())
    assert held.ban_on("bob") == ban()
    assert held.ban_on("alice") is None
    assert held.ban_on("") is None
    assert held.mute_on("bob") is None


def test_a_ban_on_a_key_meets_whoever_comes_with_it(held):
    held.impose(ban(SPELLED))
    assert held.ban_on("", KEY)
    assert not held.ban_on("", KEY[::-1])
    assert not held.ban_on("", b"")
    assert held.ban_on("bob", KEY) == ban(SPELLED)
    assert held.ban_on("bob", KEY[::-1]) is None
    assert held.ban_on(SPELLED) is not None  # No name is so long.
    held.lift(Kind.BAN, SPELLED)
    assert not held.ban_on("", KEY)


def test_a_mute_keeps_nobody_out(held):
    held.impose(mute())
    assert held.mute_on("bob") == mute()
    assert held.ban_on("bob") is None


def test_a_second_one_takes_the_place_of_the_first(held):
    held.impose(ban(reason="spam"))
    held.impose(ban(reason="more spam"))
    assert held.ban_on("bob").reason == "more spam"
    assert held.lift(Kind.BAN, "bob").reason == "more spam"
    assert held.ban_on("bob") is None


def test_what_is_not_there_cannot_be_lifted(held):
    held.impose(mute())
    assert held.lift(Kind.BAN, "bob") is None
    assert held.mute_on("bob") is not None


def test_the_words_tell_whom_how_long_and_why():
    assert ban().words() == "'bob' is banned"
    assert mute(reason="loud").words() == "'bob' is muted (loud)"
    words = ban(SPELLED, until=NOON, reason="spam").words()
    assert words == "this key is banned until 2023-11-14T22:13:20.000Z (spam)"


# --- how they end -------------------------------------------------------------------------


def test_one_is_over_at_its_time_and_not_before(held):
    held.impose(ban(until=NOON + 1000))
    held.impose(mute("alice", until=NOON + 2000))
    held.impose(ban("carol"))
    assert held.at(NOON + 999).over == []
    assert held.ban_on("bob") is not None
    assert held.at(NOON + 1000).over == [ban(until=NOON + 1000)]
    assert held.ban_on("bob") is None
    assert held.at(NOON + 1000).over == []
    assert held.at(NOON + 10**9).over == [mute("alice", until=NOON + 2000)]
    assert held.ban_on("carol") is not None


def test_a_ban_on_a_key_is_over_too(held):
    held.impose(ban(SPELLED, until=NOON + 1))
    held.at(NOON + 1)
    assert not held.ban_on("", KEY)
    assert held.ban_on("bob", KEY) is None
    assert held.at(NOON).again == [ban(SPELLED, until=NOON + 1)]
    assert held.ban_on("", KEY)


def test_one_that_was_over_by_a_wrong_clock_only_holds_again(held):
    spam, loud = ban(until=NOON + 1000), mute("alice", until=NOON + 2000)
    held.impose(spam)
    held.impose(loud)
    assert held.at(NOON + 10**9) == ([spam, loud], [])
    assert (held.ban_on("bob"), held.mute_on("alice")) == (None, None)
    assert (held.listed(Kind.BAN), held.lift(Kind.BAN, "bob")) == ([], None)
    assert held.at(NOON + 1500) == ([], [loud])
    assert held.mute_on("alice") == loud
    assert held.at(NOON + 500) == ([], [spam])
    assert held.listed(Kind.BAN) == [spam]
    assert held.at(NOON + 500) == ([], [])


def turns(held, time):
    since, end = held.span
    return not since <= time < end


def test_the_clock_is_looked_at_when_one_is_over_or_no_more(held):
    assert not turns(held, NOON)
    held.impose(ban(until=NOON + 1000))
    held.impose(mute("alice", until=NOON + 2000))
    assert [turns(held, NOON + after) for after in (-(10**9), 999, 1000)] == [False, False, True]
    held.at(NOON + 1000)
    assert [turns(held, NOON + after) for after in (999, 1000, 1999, 2000)] == [
        True,
        False,
        False,
        True,
    ]


def test_another_in_the_place_of_one_that_is_over_begins_anew(held):
    held.impose(ban(until=NOON + 1000))
    held.at(NOON + 1000)
    held.impose(ban(until=NOON + 5000))
    assert held.ban_on("bob").until == NOON + 5000
    assert held.at(NOON + 1000) == ([], [])
    assert held.at(NOON) == ([], [])


def test_until_is_reckoned_from_its_beginning():
    assert until_of(NOON, None) is None
    assert until_of(NOON, 0.0015) == NOON + 2


# --- what is kept -------------------------------------------------------------------------


def test_what_is_kept_is_taken_up_again(held, shelf):
    spam = ban(reason="ünd \\ 'quotes'", until=NOON + 5, by=7)
    held.impose(spam)
    held.impose(ban(SPELLED))
    held.impose(mute("alice"))
    again = Sanctions(shelf.keep, shelf.text)
    assert again.ban_on("bob") == spam
    assert again.ban_on("", KEY)
    assert again.mute_on("alice") == mute("alice")
    assert again.at(NOON + 5).over == [spam]


def test_what_is_over_is_kept_until_the_next_change_by_a_clock_that_is_believed(held, shelf):
    """A clock that is wrong for a moment lifts nothing for good."""
    spam = ban(until=NOON + 1000)
    held.impose(spam)
    held.at(NOON + 10**9)
    for settled in (0, NOON + 999):
        held.impose(ban("carol"), settled)
        assert spam.who in shelf.text
    shelf.full = True
    with pytest.raises(CannotKeep):
        held.lift(Kind.BAN, "carol", NOON + 1000)
    shelf.full = False
    assert held.at(NOON).again == [spam]
    held.at(NOON + 1000)
    held.lift(Kind.BAN, "carol", NOON + 1000)
    assert spam.who not in shelf.text
    assert held.at(NOON) == ([], [])


def test_nothing_holds_that_could_not_be_kept(held, shelf):
    held.impose(ban())
    shelf.full = True
    with pytest.raises(CannotKeep, match="no space left"):
        held.impose(ban("alice"))
    with pytest.raises(CannotKeep):
        held.lift(Kind.BAN, "bob")
    assert held.ban_on("alice") is None
    assert held.ban_on("bob") is not None


def test_there_is_an_end_to_how_many_are_kept(held, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    held.impose(ban("a"))
    held.impose(ban("b"))
    with pytest.raises(CannotKeep, match="there are 2 of them already"):
        held.impose(ban("c"))
    held.impose(ban("b", reason="again"))
    held.impose(mute("c"))


def test_what_is_over_leaves_its_place_to_others(held, monkeypatch):
    monkeypatch.setattr(module, "MOST", 1)
    held.impose(ban("a", until=NOON + 1))
    held.at(NOON + 1)
    held.impose(ban("b"), NOON + 1)
    assert held.listed(Kind.BAN) == [ban("b")]


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        "7",
        "null",
        "{}",
        '{"sanctions": 7}',
        '{"sanctions": {"bob": 1}}',
        '{"sanctions": "bob"}',
        '{"sanctions": [[]]}',
        "[" * 100_000,
        *[
            json.dumps({"sanctions": [{**ban()._asdict(), **wrong}]})
            for wrong in (
                {"kind": "curse"},
                {"kind": 7},
                {"kind": []},
                {"who": "Bob"},
                {"who": ""},
                {"who": 7},
                {"who": None},
                {"who": "x" * 52},
                {"who": SPELLED, "kind": "mute"},
                {"since": "yesterday"},
                {"since": True},
                {"until": 1.5},
                {"until": 10**15},
                {"until": -1},
                {"by": "root"},
                {"reason": None},
                {"reason": "two\nlines"},
                {"reason": "x" * 201},
                {"more": 1},
            )
        ],
        '{"sanctions": [{"kind": "ban"}]}',
    ],
    ids=lambda text: text[:70],
)
def test_what_is_no_list_of_sanctions_is_refused_whole(text, held):
    held.impose(ban())
    with pytest.raises(ValueError, match=r"entry 1 is no ban and no mute|no list of sanctions"):
        held.take_up(text)
    assert held.ban_on("bob") is not None


def test_nothing_kept_is_nothing():
    assert Sanctions(kept="").listed(Kind.BAN, "", 10) == []


def test_they_are_listed_in_pages(held):
    for who in ("carol", "alice", "bob", "dave"):
        held.impose(ban(who))
    assert [s.who for s in held.listed(Kind.BAN, "", 3)] == ["alice", "bob", "carol"]
    assert [s.who for s in held.listed(Kind.BAN, "carol", 3)] == ["dave"]
    assert held.listed(Kind.BAN, "dave", 3) == []
    assert held.listed(Kind.MUTE, "", 3) == []


def test_they_are_told_with_times_that_people_read():
    assert told(ban(SPELLED, until=NOON + 1, reason="spam", by=0)) == {
        "kind": "ban",
        "key": SPELLED,
        "since": "2023-11-14T22:13:20.000Z",
        "until": "2023-11-14T22:13:20.001Z",
        "reason": "spam",
        "by": 0,
    }
    assert told(mute())["name"] == "bob"
    assert told(mute())["until"] is None


# --- what is typed ------------------------------------------------------------------------


def test_a_key_has_one_spelling():
    assert key_of(SPELLED) == KEY
    # The last character holds four bits that no encoder sets.
    assert SPELLED[-1] == "q"
    assert key_of(SPELLED[:-1] + "b") is None
    for other in ("", "bob", SPELLED + "=", SPELLED[1:], "é" * 52, "+" + SPELLED[1:], " " * 52):
        assert key_of(other) is None


def test_names_are_canonical_and_keys_are_as_they_are():
    assert checked_who("Bob") == "bob"
    assert checked_who(SPELLED) == SPELLED
    for other in ("", "no name", "x" * 52, SPELLED[:-1] + "b"):
        with pytest.raises(BadName):
            checked_who(other)


def test_a_reason_is_one_short_line():
    assert checked_reason("") == ""
    assert checked_reason("ü" * 100) == "ü" * 100
    for other in ("ü" * 101, "a\nb", "a\x1b[31m", "a\u202eb", "\ud800"):
        with pytest.raises(ValueError, match="a reason is"):
            checked_reason(other)
