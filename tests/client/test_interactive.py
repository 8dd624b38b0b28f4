"""Which kind of terminal it is, and what its person wants."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from chatbroker.client import interactive
from chatbroker.client.errors import NameRefused
from chatbroker.client.interactive import LEAST_LINES, Wishes, run_interactive
from chatbroker.client.terminal import plain, screen

WANTS = Wishes(plain=False, colour=True, notify="bell", keys=None)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """What was made of some wishes: the kind of terminal, and with what it was called."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("INPUTRC", str(tmp_path / "none"))
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("COLUMNS", "80")
    calls = []

    @contextmanager
    def joined(shared, joining, interrupts):
        yield "client"

    def converse(kind):
        return lambda client, interrupts, *rest: calls.append((kind, *rest)) or 7

    monkeypatch.setattr(interactive, "joined", joined)
    monkeypatch.setattr(screen, "converse", converse("screen"))
    monkeypatch.setattr(plain, "converse", converse("plain"))

    def call(wishes):
        assert run_interactive(None, None, wishes) == 7
        return calls.pop()

    return call


def test_a_terminal_is_drawn_on(run):
    kind, screenful, looks = run(WANTS)
    assert (kind, screenful) == ("screen", 18)
    assert (looks.colour, looks.alerts.kind, looks.vi) == (True, "bell", False)


@pytest.mark.parametrize("term", ["dumb", None])
def test_one_that_cannot_be_has_simple_lines(run, monkeypatch, term):
    if term is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", term)
    assert run(WANTS) == ("plain", 18, True)


def test_simple_lines_can_be_asked_for_and_know_only_the_bell(run):
    assert run(WANTS._replace(plain=True)) == ("plain", 18, True)
    assert run(WANTS._replace(plain=True, notify="desktop")) == ("plain", 18, False)
    assert run(WANTS._replace(plain=True, notify="off")) == ("plain", 18, False)


def test_no_colours_by_option_or_variable(run, monkeypatch):
    assert not run(WANTS._replace(colour=False))[2].colour
    monkeypatch.setenv("NO_COLOR", "")
    assert run(WANTS)[2].colour  # Empty, it says nothing (no-color.org).
    monkeypatch.setenv("NO_COLOR", "1")
    assert not run(WANTS)[2].colour


def test_an_option_goes_before_the_inputrc(run, monkeypatch, tmp_path):
    path = tmp_path / "inputrc"
    path.write_text("set editing-mode vi\n")
    monkeypatch.setenv("INPUTRC", str(path))
    assert run(WANTS)[2].vi
    assert not run(WANTS._replace(keys="emacs"))[2].vi
    path.write_text("")
    assert run(WANTS._replace(keys="vi"))[2].vi


def test_a_small_screen_has_some_lines_of_before_all_the_same(run, monkeypatch):
    monkeypatch.setenv("LINES", "4")
    assert run(WANTS)[1] == LEAST_LINES


def test_who_is_not_let_in_sees_no_screen(run, monkeypatch):
    @contextmanager
    def refused(shared, joining, interrupts):
        raise NameRefused("name_taken", "the name is taken")
        yield

    monkeypatch.setattr(interactive, "joined", refused)
    monkeypatch.setattr(screen, "converse", None)  # To call it would be another error.
    with pytest.raises(NameRefused):
        run_interactive(None, None, WANTS)
