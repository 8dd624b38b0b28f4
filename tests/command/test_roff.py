"""Text as roff: what is typed comes out as it is, and nothing is taken for a request."""

from __future__ import annotations

import pytest

from chatbroker.command.roff import Sheet, bold, italic, literal, prose


@pytest.fixture
def sheet():
    return Sheet("chat-send", 1, "2026-11-22", "chatbroker 1.0", "a manual")


def body(sheet):
    return str(sheet).splitlines()[3:]


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        ("--port", r"\-\-port"),
        ("a\\nb", r"a\(rsnb"),
        ("'it' `x` ^~", r"\(aqit\(aq \(gax\(ga \(ha\(ti"),
        ('say "hi"', r"say \(dqhi\(dq"),
        ("one … ü", r"one \[u2026] \[u00FC]"),
        ("\U0001f600", r"\[u1F600]"),
    ],
)
def test_what_is_typed_comes_out_as_it_is(text, roff):
    assert literal(text) == roff
    assert bold(text) == rf"\fB{roff}\fR"
    assert italic(text) == rf"\fI{roff}\fR"


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        ("a one-shot thing", "a one-shot thing"),
        ("give --only-this, or -v", r"give \-\-only\-this, or \-v"),
        ("see '--dry-run' (--x)", r"see \(aq\-\-dry\-run\(aq (\-\-x)"),
        ("'-' is stdin - so", r"\(aq\-\(aq is stdin \- so"),
        ("type ``chat -v``, say", r"type \fBchat \-v\fR, say"),
        ("well-known\\", r"well-known\(rs"),
    ],
)
def test_hyphens_in_prose_are_those_of_words_unless_something_is_typed(text, roff):
    assert prose(text) == roff


def test_the_head_names_the_page(sheet):
    assert str(sheet).splitlines()[0] == (
        r'.TH "CHAT\-SEND" "1" "2026-11-22" "chatbroker 1.0" "a manual"'
    )


def test_no_line_of_text_is_a_request(sheet):
    sheet.section("NAME")
    sheet.paragraph(".so /etc/passwd")
    sheet.item(literal(".hidden"), ".br")
    sheet.example([".exit", "'single'", ""])
    sheet.line(".TP")
    assert body(sheet) == [
        ".SH NAME",
        r"\&.so /etc/passwd",
        *(".TP", r"\&.hidden", r"\&.br"),
        *(".PP", ".RS 4", ".nf", r"\&.exit", r"\(aqsingle\(aq", "", ".fi", ".RE"),
        r"\&.TP",
    ]


def test_lines_are_wrapped_but_not_within_what_is_typed(sheet):
    sheet.section("X")
    sheet.paragraph("word " * 13 + "``chat send bob hi`` " + "word " * 3)
    sheet.paragraph("next")
    first, typed, *rest = body(sheet)[1:]
    assert first == " ".join(["word"] * 13)
    assert typed == r"\fBchat send bob hi\fR word word word"
    assert rest == [".PP", "next"]
