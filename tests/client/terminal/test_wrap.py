"""Lines that are broken to the width of a terminal."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from chatbroker.client.terminal.wrap import LEAST_ROOM, apart, clipped, wrap

CHARACTERS = st.sampled_from("ab  c漢字é\u0301שם👩\u200d🚀-")


def texts(lines):
    return ["".join(text for _, text in line) for line in lines]


@given(
    st.lists(st.text(CHARACTERS, max_size=40), max_size=4), st.integers(2, 60), st.integers(0, 30)
)
def test_no_line_is_too_wide_and_nothing_but_spaces_goes(parts, width, indent):
    pieces = [(f"s{number}", part) for number, part in enumerate(parts)]
    lines = wrap(pieces, width, indent)
    assert all(get_cwidth(text) <= width for text in texts(lines))
    shown = "".join(text for line in lines for _, text in line)
    assert shown.replace(" ", "") == "".join(map(apart, parts)).replace(" ", "")
    for number, part in enumerate(parts):
        of_style = "".join(text for line in lines for style, text in line if style == f"s{number}")
        assert of_style.replace(" ", "") == apart(part).replace(" ", "")


@given(st.text(CHARACTERS, max_size=60), st.integers(2, 50), st.sampled_from([0, 11]))
@example("a  \u0301", 2, 0)  # A mark that stands on a space: that one stays.
def test_the_lines_are_the_text_but_for_spaces_where_they_end(text, width, indent):
    lines = texts(wrap([("", text)], width, indent))
    rest = apart(text)
    for number, line in enumerate(lines):
        shown = line[indent:] if number and width - indent >= LEAST_ROOM else line
        while rest.startswith(" ") and not rest.startswith(shown):
            rest = rest[1:]
        assert rest.startswith(shown)
        rest = rest[len(shown) :]
    assert rest.strip(" ") == ""


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("", 10, [""]),
        ("fits", 10, ["fits"]),
        ("one two three", 8, ["one two", "three"]),
        ("one  two", 4, ["one", "two"]),
        ("a word-longer-than-the-line b", 10, ["a word-lon", "ger-than-t", "he-line b"]),
        ("漢字漢字", 5, ["漢字", "漢字"]),
        ("e\u0301e\u0301e\u0301", 2, ["e\u0301e\u0301", "e\u0301"]),
        ("漢", 1, ["漢"]),
        ("   ", 2, ["  "]),
        ("שלום עולם", 5, ["שלום", "עולם"]),
        ("see http://a.example/x now", 20, ["see", "http://a.example/x", "now"]),
        ("日本語 text", 7, ["日本語", "text"]),
        ("漢字", 1, ["漢", "字"]),
    ],
)
def test_lines_end_where_a_reader_expects_it(text, width, expected):
    assert texts(wrap([("", text)], width, 0)) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7!", "DEFR!"),  # Two flags.
        ("\U0001f469\u200d\U0001f4bb x", "\U0001f469\U0001f4bb x"),  # At her computer.
        ("\u2764\ufe0f\u200d\U0001f525", "\u2764\U0001f525"),  # A heart on fire.
        ("\U0001f6b4\U0001f3fd\u200d\u2640\ufe0f", "\U0001f6b4\u2640"),  # She, on a bicycle.
        ("\U0001f44d\U0001f3fd", "\U0001f44d"),  # A thumb, of a skin.
        ("1\ufe0f\u20e3", "1\u20e3"),  # A key.
        # A joiner that letters are written with, and a skin by itself.
        ("\u0d95\u0dca\u200d\u0dbb", "\u0d95\u0dca\u200d\u0dbb"),
        ("\U0001f3fd", "\U0001f3fd"),
    ],
)
def test_what_terminals_draw_as_one_or_as_several_is_drawn_apart(text, shown):
    """Some take two cells for it and others four, and what is behind it would be in others."""
    (line,) = wrap([("", text)], 80, 0)
    assert "".join(part for _, part in line) == shown


def test_what_goes_on_is_indented_where_there_is_room():
    wide = wrap([("", "x" * 70)], LEAST_ROOM + 11, 11)
    assert texts(wide) == ["x" * 31, " " * 11 + "x" * 20, " " * 11 + "x" * 19]
    # A word that is longer than a line that goes on, though not than the first, is broken as well.
    words = wrap([("", "x" * 10 + " " + "y" * 25)], LEAST_ROOM + 11, 11)
    assert texts(words) == ["x" * 10 + " " + "y" * 20, " " * 11 + "y" * 5]
    narrow = wrap([("", "x" * 50)], LEAST_ROOM + 10, 11)
    assert texts(narrow) == ["x" * 30, "x" * 20]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("漢字漢", 4, "漢…"), ("abc", 1, "…"), ("abc", 0, "")],
)
def test_what_does_not_fit_is_clipped(text, width, expected):
    assert clipped(text, width) == expected
