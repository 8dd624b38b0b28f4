from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatbroker.wire.errors import BadName, BadText, Code, InvalidInput
from chatbroker.wire.limits import MAX_NAME, MAX_TEXT
from chatbroker.wire.names import (
    bytes_at_most,
    canonical_name,
    check_texts,
    checked_text,
    fits,
    is_name,
    until_full,
)

# --- names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a", "0", "alice", "bob_2", "x-y.z_", "9lives", "a" * MAX_NAME, "a..b", "con"]
)
def test_a_valid_name_stays_as_it_is(name):
    assert canonical_name(name) == name
    assert is_name(name)


def test_alice_and_ALICE_are_one_user():
    assert canonical_name("ALICE") == canonical_name("Alice") == canonical_name("alice") == "alice"


def test_32_characters_are_a_name_and_33_are_not():
    assert canonical_name("N" * 32) == "n" * 32
    with pytest.raises(BadName):
        canonical_name("n" * 33)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "alice ",
        " alice",
        "al ice",
        "alice\n",
        "alice\0",
        "al\tice",
        "everyone",
        "Everyone",
        "_alice",
        ".alice",
        "-alice",
        "@alice",
        "al/ice",
        "al*ce",
        "\x1b[31mred",
    ],
)
def test_a_name_keeps_to_its_alphabet(name):
    assert not is_name(name)
    with pytest.raises(BadName):
        canonical_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "\N{KELVIN SIGN}elvin",  # str.lower makes an ASCII k of it
        "bi\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}l",  # lowers to an i and a mark
        "\N{CYRILLIC SMALL LETTER A}lice",
        "al\N{FULLWIDTH LATIN SMALL LETTER I}ce",
        "alice\N{ZERO WIDTH SPACE}",
        "jos\N{LATIN SMALL LETTER E WITH ACUTE}",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "\ud800",
    ],
)
def test_a_look_alike_is_nobodys_name(name):
    assert not is_name(name)
    with pytest.raises(BadName):
        canonical_name(name)


def test_a_bad_name_is_told_apart_from_a_bug_and_has_its_code():
    with pytest.raises(InvalidInput) as caught:
        canonical_name("not a name")
    assert caught.value.code is Code.BAD_NAME
    assert "'not a name'" in str(caught.value)
    assert "a-z 0-9" in str(caught.value)


def test_a_bad_name_is_quoted_escaped_and_cut():
    with pytest.raises(BadName) as caught:
        canonical_name("\x1b]0;gotcha\x07" + "x" * 10_000)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_.-]{1,33}", fullmatch=True))
@example("İ" * 32)
def test_what_is_canonical_stays_canonical(name):
    try:
        once = canonical_name(name)
    except BadName:
        return
    assert canonical_name(once) == once
    assert once.isascii()
    assert 1 <= len(once) <= MAX_NAME


# --- texts --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "hello", "\0\x1b[2J\n", "שלום", "🙂", "\ufffe"])
def test_any_character_may_be_said(text):
    assert checked_text(text) is text


# One, two, three and four bytes a character: a limit that falls between two characters, and
# one that falls into the middle of a character.
@pytest.mark.parametrize("character", ["x", "é", "€", "🙂"])
def test_the_limit_counts_bytes_and_not_characters(character):
    width = len(character.encode())
    most = character * (MAX_TEXT // width)
    exactly = most + "x" * (MAX_TEXT - len(most.encode()))
    assert checked_text(most) is most
    assert checked_text(exactly) is exactly
    assert fits(exactly)
    for longer in (exactly + "x", most + character, "x" + exactly):
        assert not fits(longer)
        with pytest.raises(BadText, match=f"{len(longer.encode())} bytes"):
            checked_text(longer)


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff", "\udc80" * 5000, "x" * 20_000 + "\ud800"])
def test_a_lone_surrogate_is_no_text(text):
    with pytest.raises(BadText, match="not valid Unicode"):
        checked_text(text)


def test_a_bad_text_says_where():
    with pytest.raises(BadText, match="at character 3"):
        checked_text("abc\ud800")


def test_a_bad_text_has_its_code():
    with pytest.raises(BadText) as caught:
        checked_text("x" * (MAX_TEXT + 1))
    assert caught.value.code is Code.TOO_LONG


@given(st.lists(st.text(max_size=8)), st.integers(0, 12))
def test_many_texts_are_fine_if_each_is(texts, most):
    try:
        for text in texts:
            checked_text(text, most)
    except BadText as bad:
        with pytest.raises(type(bad), match=re.escape(str(bad))):
            check_texts(texts, most)
    else:
        check_texts(texts, most)


@given(st.text(max_size=200), st.integers(0, 3))
def test_fits_is_the_length_in_bytes(text, spare):
    padded = text + "x" * max(0, MAX_TEXT - len(text.encode()) + spare - 1)
    assert fits(padded) == (len(padded.encode()) <= MAX_TEXT)


@given(
    st.lists(st.text(max_size=5) | st.text("a", max_size=5), min_size=1, max_size=12),
    st.integers(1, 120),
)
def test_texts_fill_as_many_bytes_as_there_are(texts, room):
    count, size = until_full(texts, room)
    sizes = [bytes_at_most(text) for text in texts]
    # As one by one: the one that fills the rest is the last.
    assert sum(sizes[: count - 1]) < room
    assert count == len(texts) or sum(sizes[:count]) >= room
    # Those that all fit are bounded together, which is no less.
    assert size >= sum(sizes[:count])
    assert size <= max(room, sum(sizes[:count]))
