"""What others wrote, made safe for a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.client.escape import MOST_HANGERS_ON, MOST_MARKS, escape

C0 = [chr(code) for code in range(0x20)]
C1 = [chr(code) for code in range(0x80, 0xA0)]
BIDI = [*"\u202a\u202b\u202c\u202d\u202e", *"\u2066\u2067\u2068\u2069"]
SEPARATORS = ["\u2028", "\u2029"]


@pytest.mark.parametrize(
    "character", [*C0, "\x7f", *C1, *BIDI, *SEPARATORS], ids=lambda c: f"U+{ord(c):04X}"
)
@pytest.mark.parametrize("around", ["ab", "äb"], ids=["ascii", "unicode"])
def test_what_moves_a_terminal_is_spelled_out(character, around):
    shown = escape(f"{around[0]}{character}{around[1]}")
    assert character not in shown
    assert shown[0] == around[0]
    assert shown[-1] == around[1]
    assert shown[1] == "\\"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("a\r\n\tb", r"a\r\n\tb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("bell\a", r"bell\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("evil \u202etxt.exe", r"evil \u202etxt.exe"),
        ("lone \ud800", r"lone \ud800"),
    ],
)
def test_it_is_readable(text, shown):
    assert escape(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        'plain ASCII, with \\ and "quotes" ~',
        "Zażółć gęślą jaźń",
        "Ελληνικά και Кириллица",
        "日本語 한국어 中文",
        "שָׁלוֹם עֲלֵיכֶם",
        "السَّلَامُ عَلَيْكُمْ",
        "नमस्ते दुनिया",
        "ภาษาไทยที่มีวรรณยุกต์",
        "བོད་སྐད་ཡིག",
        "tiếng Việt: ế ệ",
        "👩‍👩‍👧‍👦 🏳️‍🌈 ❤️ 👍🏽",
        "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in "gbsct") + "\U000e007f",
        "e\u0301 decomposed",
        "non\u00a0breaking",
    ],
)
def test_ordinary_text_is_untouched(text):
    assert escape(text) == text


def test_decomposed_text_of_every_script_is_untouched():
    for text in ("tiếng Việt: ế ệ ặ", "Ἀριστοτέλης ᾧ", "한국어"):
        decomposed = unicodedata.normalize("NFD", text)
        assert escape(decomposed) == decomposed


def test_a_tower_of_marks_is_cut_and_what_follows_is_not():
    shown = escape("Z" + "\u0351" * 50 + "a\u0301")
    assert shown.count("\u0351") == MOST_MARKS
    assert shown.count(r"\u0351") == 50 - MOST_MARKS
    assert shown.endswith("a\u0301")


def test_a_tower_of_enclosing_marks_is_cut():
    assert escape("Z" + "\u20dd" * 50).count("\u20dd") == MOST_MARKS


@pytest.mark.parametrize("between", ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff"])
def test_what_takes_no_room_does_not_begin_another_character(between):
    """A terminal puts the marks after it on the same character."""
    shown = escape("Z" + ("\u0351" * MOST_MARKS + between) * 20)
    assert shown.count("\u0351") == MOST_MARKS


@pytest.mark.parametrize(
    "hanger_on",
    ["\u200b", "\u200d", "\ufeff", "\u0903", "\u1160", "\u11a8", "\u3164", "\U000e0067"],
    ids=lambda c: f"U+{ord(c):04X}",
)
def test_a_tower_of_what_takes_no_room_is_cut(hanger_on):
    shown = escape("Z" + hanger_on * 5000 + "a\u0301")
    assert shown.count(hanger_on) == MOST_HANGERS_ON
    assert shown.endswith("a\u0301")


def test_what_is_cut_beyond_the_basic_plane_says_which_it_was():
    assert escape("Z" + "\U000e0067" * (MOST_HANGERS_ON + 1)).endswith(r"\U000e0067")


@given(st.text())
def test_nothing_unsafe_is_left_and_escaping_again_changes_nothing(text):
    shown = escape(text)
    assert all(
        unicodedata.category(character) not in ("Cc", "Zl", "Zp", "Cs") for character in shown
    )
    assert escape(shown) == shown
