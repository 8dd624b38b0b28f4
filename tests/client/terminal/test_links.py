"""Addresses that stay clickable, cell by cell."""

from __future__ import annotations

import pytest
from prompt_toolkit.utils import get_cwidth

from chatbroker.client.events import Broadcast
from chatbroker.client.terminal.links import _MARKS, MOST, LinkingOutput, Links
from chatbroker.client.terminal.rows import event_row, pending_row
from chatbroker.client.terminal.view import View
from chatbroker.client.terminal.wrap import wrap


def drawn(text, width=30, height=60):
    view, links = View(), Links()
    view.add(event_row(Broadcast(1, 0, "bob", text), "alice"))
    return links, links.mark(view.visible(width, height))


def cells(line):
    """As prompt_toolkit has them: what has no width is with the character before it."""
    found = []
    for _, text in line:
        for character in text:
            if get_cwidth(character) == 0 and found:
                found[-1] += character
            else:
                found.append(character)
    return found


def test_every_cell_of_an_address_is_a_link_to_all_of_it():
    url = "https://example.org/" + "x" * 50
    links, lines = drawn(f"see {url}, please")
    marked = [cell for line in lines for cell in cells(line) if cell[-1] in _MARKS]
    assert "".join(cell[0] for cell in marked) == url
    for cell in marked:
        assert links.drawn(cell) == f"\x1b]8;;{url}\x1b\\{cell[0]}\x1b]8;;\x1b\\"


def test_two_addresses_are_two_links():
    links, lines = drawn("http://a http://b", width=80)
    marked = [cell for cell in cells(lines[-1]) if cell[-1] in _MARKS]
    assert "\x1b]8;;http://a\x1b" in links.drawn(marked[0])
    assert "\x1b]8;;http://b\x1b" in links.drawn(marked[-1])


def test_the_width_stays():
    _, lines = drawn("http://example.org/path", width=80)
    unmarked = wrap(event_row(Broadcast(1, 0, "bob", "http://example.org/path"), "a").pieces, 80, 0)
    assert sum(get_cwidth(text) for _, text in lines[-1]) == sum(len(t) for _, t in unmarked[0])


def test_more_addresses_than_there_are_marks_stay_text():
    text = " ".join(f"http://a{number}" for number in range(MOST + 3))
    links, lines = drawn(text, width=100)
    marked = {links.drawn(cell) for line in lines for cell in cells(line) if cell[-1] in _MARKS}
    assert len({link.split(";")[2].split("\x1b")[0] for link in marked}) == MOST
    shown = "".join(text for line in lines for _, text in line)
    assert "".join(c for c in shown if c not in _MARKS).count("http://") == MOST + 3


def test_nobody_else_puts_marks_on_the_screen():
    _, lines = drawn(f"x{_MARKS}y http://a/{_MARKS}", width=200)
    shown = cells(lines[-1])
    assert "".join(cell[0] for cell in shown if cell[-1] in _MARKS) == "http://a/"
    assert "".join(shown).count("\\u202e") == 2


def test_the_output_writes_links_for_marked_cells_only():
    links, lines = drawn("http://a", width=80)
    written = []
    output = LinkingOutput.__new__(LinkingOutput)
    output._links, output._buffer = links, written
    marked = next(cell for cell in cells(lines[-1]) if cell[-1] in _MARKS)
    for cell in ("x", "\x1b", marked, "\r\n", ""):
        output.write(cell)
    assert written == ["x", "?", "\x1b]8;;http://a\x1b\\h\x1b]8;;\x1b\\", "\r\n", ""]


@pytest.mark.parametrize(
    "row",
    [
        event_row(Broadcast(1, 0, "bob", "alice, see http://a"), "alice"),
        pending_row("bob", "alice, see http://a", "alice", "waiting…"),
    ],
)
def test_an_address_is_a_link_whatever_else_the_row_is(row):
    view, links = View(), Links()
    view.add(row)
    lines = links.mark(view.visible(80, 9))
    marked = [cell for cell in cells(lines[-1]) if cell[-1] in _MARKS]
    assert "".join(cell[0] for cell in marked) == "http://a"
    assert "\x1b]8;;http://a\x1b" in links.drawn(marked[0])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("x\u200e", "x"),
        ("\u200e", ""),
        ("\u200e\u200e", ""),
        ("x\u200e\u200f\u202a", "x"),
        ("x\u202e\u202e", "x"),
        ("\x1b\u200e", "?"),
    ],
)
def test_marks_that_were_pasted_are_no_link_and_end_nothing(cell, expected):
    assert Links().drawn(cell) == expected
