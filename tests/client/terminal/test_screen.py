"""A person at a terminal that is drawn on, all in this process: keys go in by a pipe, and what is
drawn goes to a terminal in memory."""

from __future__ import annotations

import io
import re
import threading
from itertools import takewhile

import pyte
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from chatbroker.client.commands import Outcome
from chatbroker.client.errors import NotAuthorised, OutcomeUnknown, Refused, Unreachable
from chatbroker.client.events import Broadcast, Direct, Notice, Offline, Online
from chatbroker.client.interrupts import Interrupts
from chatbroker.client.terminal import conversation
from chatbroker.client.terminal.alerts import Alerts
from chatbroker.client.terminal.links import LinkingOutput
from chatbroker.client.terminal.rows import event_row
from chatbroker.client.terminal.screen import (
    KEYS,
    MOST_AFTER,
    NOT_LEFT,
    Looks,
    Screen,
    _to_be_told,
    converse,
)

COLUMNS, LINES = 72, 12
TIME = 1_800_000_000_000
PASTE, END_OF_PASTE = "\x1b[200~", "\x1b[201~"
PAGE_UP, PAGE_DOWN, CTRL_END = "\x1b[5~", "\x1b[6~", "\x1b[1;5F"
LEFT = "\x1b[D"
CTRL_C, CTRL_D = "\x03", "\x04"


class Drawn(io.StringIO):
    """A terminal in memory."""

    def __init__(self):
        super().__init__()
        self.screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.Stream(self.screen)

    def write(self, text):
        # A link is no business of pyte's.
        self._stream.feed(re.sub("\x1b]8;;.*?\x1b\\\\", "", text))
        return super().write(text)


def is_bar(row):
    """Whether *row* is the status bar."""
    return row.startswith(" alice at ")


class Person:
    """Somebody at it."""

    def __init__(self, client, in_thread, until, keys):
        self.client, self._in_thread, self._until, self._keys = client, in_thread, until, keys
        self.terminal = Drawn()
        self.screen = None
        self._running = None

    def sits_down(self, notify="bell", vi=False, interrupts=None):
        def run():
            with create_app_session(input=self._keys, output=DummyOutput()):
                looks = Looks(True, Alerts(notify, {}), vi)
                return converse(self.client, interrupts or Interrupts(), 5, looks)

        self._running = self._in_thread(run)
        self.until(lambda: self.line == "everyone>" and "| 2 on: alice, bob" in self.bar)

    def types(self, keys):
        self._keys.send_text(keys)

    def until(self, condition):
        self._until(condition)

    @property
    def rows(self):
        return [line.rstrip() for line in self.terminal.screen.display]

    @property
    def line(self):
        return self.rows[-1]

    @property
    def bar(self):
        return next(filter(is_bar, self.rows), "")

    @property
    def said(self):
        """What stands above the status bar, but for times and days."""
        # Looked at once: another thread draws meanwhile.
        rows = [*takewhile(lambda row: not is_bar(row), self.rows)]
        return [re.sub(r"^\[[\d:]{8}\] ", "", r) for r in rows if r and not r.startswith("--- ")]

    def sees(self, *lines):
        self.until(lambda: self.said[-len(lines) :] == [*lines])

    def reads(self, line):
        self.until(lambda: self.line == line)

    @property
    def kept(self):
        """The texts of all rows that one could look up to."""
        return [broken.row.text for broken in [*self.screen._view._rows]]

    @property
    def sent(self):
        return [(ticket.to, ticket.text) for ticket in self.client.sent]

    def result(self):
        return self._running.result()

    def leaves(self):
        for number in range(len(self.client.sent)):
            self.client.resolve(number)
        self.types(CTRL_C + CTRL_D)
        assert self.result() == 0


@pytest.fixture
def person(live, in_thread, until, monkeypatch, data_folder):
    with create_pipe_input() as keys:
        person = Person(live, in_thread, until, keys)

        def output(self):
            person.screen = self
            size = Size(LINES, COLUMNS)
            return LinkingOutput(person.terminal, lambda: size, self._links, "xterm")

        monkeypatch.setattr(Screen, "_output", output)
        yield person
        if person.screen is not None:
            person.screen.post(lambda: person.screen.fail(EOFError()))  # Whatever failed: it ends.


def said(text, seq=1, sender="bob"):
    return Broadcast(seq, TIME, sender, text)


def many(first, last):
    return [said(f"m{number}", number) for number in range(first, last + 1)]


def test_what_is_typed_is_under_way_then_stored_then_seen(person):
    person.sits_down()
    person.types("hi alice http://a/b\r")
    person.sees("[sending…] alice: hi alice http://a/b")
    person.until(lambda: "1 not stored yet" in person.bar)
    person.client.resolve()
    person.sees("[ stored ] alice: hi alice http://a/b")
    person.client.comes(said("hi alice http://a/b", sender="alice"))
    person.sees("alice: hi alice http://a/b")
    person.until(lambda: "not stored" not in person.bar)
    person.reads("everyone>")
    person.leaves()
    assert "\x1b]8;;http://a/b\x1b\\" in person.terminal.getvalue()


def test_the_status_bar_tells_what_there_is_to_know(person):
    person.sits_down()
    person.until(lambda: person.bar.startswith(" alice at tcp://127.0.0.1:5555 | 2 on: alice, bob"))
    person.client.comes(Offline("the connection is lost"))
    person.until(lambda: "| reconnecting…" in person.bar and "on:" not in person.bar)
    person.client.online = ["alice", "bob\u202e\u200e\u200e"]
    person.client.comes(Online("alice", True))
    person.until(lambda: r"2 on: alice, bob\u202e" in person.bar)
    person.leaves()


def test_a_mention_with_an_address_is_drawn_and_rings(person):
    person.sits_down()
    person.client.comes(said("alice, see http://a/b."))
    person.sees("bob: alice, see http://a/b.")
    person.until(lambda: "\a" in person.terminal.getvalue())
    person.leaves()


def test_one_bell_for_many_and_none_when_it_is_off(person):
    person.sits_down()
    person.client.comes(*[Direct(n, TIME, "bob", "alice", f"d{n}") for n in range(1, 6)])
    person.sees("bob -> alice: d5")
    assert person.terminal.getvalue().count("\a") == 1
    person.leaves()


def test_a_notification_has_the_words_escaped(person):
    person.sits_down(notify="desktop")
    person.client.comes(Direct(1, TIME, "bob", "alice", "x\x1b]0;evil\x07"))
    person.until(lambda: "\x1b]9;" in person.terminal.getvalue())
    (words,) = re.findall("\x1b]9;(.*?)\x1b", person.terminal.getvalue())
    assert words.endswith(r"bob -> alice: x\x1b]0;evil\x07")
    person.leaves()


def test_tab_completes(person):
    person.sits_down()
    person.types("/se\t")
    person.reads("everyone> /send")
    person.types("b\thi\r")
    person.until(lambda: person.sent == [("bob", "hi")])
    person.types("h\t")  # Shows what there is, and puts in nothing that one could not mean.
    person.until(lambda: any("history [N]" in row for row in person.rows))
    person.types("\t")
    person.reads("everyone> history")
    person.types("\x1b[Z\x1b[Z")
    person.reads("everyone> help")
    person.leaves()


def test_escape_closes_what_tab_shows_and_takes_back_what_was_chosen(person):
    person.sits_down()
    person.types("h\t")
    person.until(lambda: any("history [N]" in row for row in person.rows))
    person.types("\t")
    person.reads("everyone> history")
    person.types("\x1b")
    person.reads("everyone> h")
    person.until(lambda: not any("history [N]" in row for row in person.rows))
    person.types("i\r")
    person.until(lambda: person.sent == [(None, "hi")])
    person.leaves()


def test_ctrl_c_empties_the_line_and_ctrl_d_leaves_only_an_empty_one(person):
    person.sits_down()
    person.types("first\r")
    person.types("half a line")
    person.reads("everyone> half a line")
    person.types(CTRL_D)
    person.types(CTRL_C)
    person.reads("everyone>")
    person.types("\x1b[A")
    person.reads("everyone> first")
    person.types(CTRL_C)
    person.reads("everyone>")
    assert person.sent == [(None, "first")]
    person.leaves()


QUESTION = " 2 lines pasted: enter them, text to {}? (y/n)"


def test_several_lines_are_asked_for_before_they_are_sent(person):
    person.sits_down()
    person.types("to bob\r")
    person.reads("bob>")
    person.types(f"so: ;{LEFT}{PASTE}one\r\n\r\ntwo\n{END_OF_PASTE}")
    person.until(lambda: QUESTION.format("bob") in person.rows)
    person.types(f"x\r{PASTE}y{END_OF_PASTE}")
    assert person.sent == []
    person.types("y")
    person.until(lambda: person.sent == [("bob", "so: one"), ("bob", "two;")])
    person.reads("bob>")
    person.leaves()


def test_of_more_lines_than_there_is_room_for_none_is_entered(person, monkeypatch):
    monkeypatch.setattr(conversation, "MOST_PENDING", 2)
    person.sits_down()
    person.types(f"typed {PASTE}one\ntwo\nthree{END_OF_PASTE}")
    person.sees("* none of 3 lines pasted was entered: 2 more can be under way")
    person.reads("everyone> typed")
    person.types(f"{PASTE}one\ntwo{END_OF_PASTE}")
    person.until(lambda: QUESTION.format("everyone") in person.rows)
    person.types("y")
    person.until(lambda: person.sent == [(None, "typed one"), (None, "two")])
    person.leaves()


@pytest.mark.parametrize("key", ["n", CTRL_C, "\x1b"])
def test_who_drops_what_was_pasted_keeps_what_was_typed(person, key):
    person.sits_down()
    person.types(f"typed {PASTE}one\ntwo{END_OF_PASTE}")
    person.until(lambda: QUESTION.format("everyone") in person.rows)
    person.types(key)
    person.until(lambda: QUESTION.format("everyone") not in person.rows)
    person.reads("everyone> typed")
    assert person.sent == []
    person.leaves()


@pytest.mark.parametrize(
    ("pasted", "line"),
    [("one", "x one"), ("one\n", "x one"), ("\none\n \n", "x one"), ("\n \n", "x"), ("", "x")],
)
def test_one_line_is_put_in_without_a_question(person, pasted, line):
    person.sits_down()
    person.types(f"x {PASTE}{pasted}{END_OF_PASTE}")
    person.reads(f"everyone> {line}")
    assert not any("pasted" in row for row in person.rows)
    person.leaves()


def test_marks_of_direction_may_be_pasted(person):
    person.sits_down()
    person.client.comes(said("see http://a/b"))
    person.sees("bob: see http://a/b")
    person.types(f"{PASTE}a\u200eb\u202e\u200ec{END_OF_PASTE}")
    person.reads("everyone> abc")
    person.types("\r")
    person.until(lambda: person.sent == [(None, "a\u200eb\u202e\u200ec")])
    person.leaves()


def test_what_is_pasted_after_a_line_that_leaves_is_not_sent_and_keeps_one_there(person):
    person.sits_down()
    person.types(f"{PASTE}one\nquit\nsecret\nanother{END_OF_PASTE}")
    person.until(lambda: any("4 lines" in row for row in person.rows))
    person.types("y")
    person.until(lambda: f"* {NOT_LEFT.format(2)}" in person.said)
    assert person.sent == [(None, "one")]
    person.types("\x1b[A\x1b[A")
    person.reads("everyone> secret")
    person.client.resolve(0)
    person.types(f"{CTRL_C}{PASTE}help\nquit{END_OF_PASTE}")
    person.until(lambda: QUESTION.format("everyone") in person.rows)
    person.types("y")
    assert person.result() == 0


def test_looking_up_and_what_comes_meanwhile(person):
    person.sits_down()
    person.client.comes(*many(1, 30))
    person.sees("bob: m30")
    person.types(PAGE_UP)
    person.sees("bob: m22")
    person.until(lambda: "more below (Ctrl-End)" in person.bar)
    person.client.comes(*many(31, 33))
    person.until(lambda: "3 unread below" in person.bar)
    assert person.said[-1] == "bob: m22"
    person.types(PAGE_DOWN)
    person.sees("bob: m30")
    person.types(CTRL_END)
    person.sees("bob: m33")
    person.until(lambda: "unread" not in person.bar)
    person.types(PAGE_UP + "x")
    person.sees("bob: m25")
    person.types("\r")  # Who says something wants to see the answer.
    person.sees("bob: m33", "[sending…] alice: x")
    person.leaves()


class Past:
    """A history that is read only when the test lets it be."""

    def __init__(self, events):
        self.events = events
        self.asked = threading.Semaphore(0)
        self.may = threading.Semaphore(0)

    def older(self, log, count, upto):
        if log == "direct":
            return [], 0
        self.asked.release()
        assert self.may.acquire(timeout=15)
        found = [event for event in self.events if event.seq <= upto][-count:]
        return found, found[0].seq - 1 if found else 0


@pytest.fixture
def past(live, monkeypatch):
    past = Past(many(1, 400))
    live.heads["echo"] = (400, 400)
    monkeypatch.setattr("chatbroker.client.terminal.conversation.History", lambda client: past)
    return past


def test_looking_up_asks_for_what_was_said_before(person, past):
    past.may.release()
    person.sits_down()
    person.sees(*[f"bob: m{n}" for n in range(396, 401)], PLACE)
    person.types(PAGE_UP)
    assert past.asked.acquire(timeout=15)
    past.may.release()
    person.until(lambda: "bob: m390" in person.said)
    assert not person.screen._view.follows
    person.types("history 395\r")
    person.sees("bob: m400", PLACE)
    past.may.release(9)
    person.until(lambda: "--- nothing" in person.screen._view.visible(50, 9999)[0].row.text)
    texts = [line.row.text for line in person.screen._view.visible(50, 9999)]
    assert [t.rpartition(" ")[2] for t in texts if "bob: m" in t] == [
        f"m{n}" for n in range(1, 401)
    ]
    person.types("history\r")
    person.sees("* nothing more is kept of what was said before")
    person.leaves()


PLACE = "joined as alice on tcp://127.0.0.1:5555; 'help' lists the commands"


def test_who_went_down_again_is_not_taken_up_by_what_comes_later(person, past):
    past.may.release()
    person.sits_down()
    person.types(PAGE_UP)
    assert past.asked.acquire(timeout=15)
    person.types(CTRL_END)
    person.types("x")
    person.reads("everyone> x")
    past.may.release()
    person.until(lambda: len(person.kept) > 30)
    assert person.screen._view.follows
    person.leaves()


def test_the_status_is_that_of_what_was_not_told(person):
    person.sits_down()
    person.types("hello\r")
    person.until(lambda: person.sent)

    def leave():
        # What became of it comes when nothing is drawn any more.
        person.screen.app.exit()
        person.client.resolve(0, Outcome.REFUSED, "too long", "too_long")

    person.screen.post(leave)
    with pytest.raises(Refused):
        person.result()


def test_when_the_screen_was_taken_down_nothing_is_done_on_it(person):
    """Something may have been posted at the last moment."""
    person.sits_down()
    person.leaves()
    done = []
    person.screen._do(lambda: done.append("too late"))
    assert done == []


def test_what_came_while_the_screen_was_taken_down_is_printed(person, capsys):
    person.sits_down()

    def leave():
        person.screen.app.exit()
        person.client.comes(said("late\x1b"))

    taken = threading.Event()
    receive = person.client.receive_many

    def receive_many(timeout, most):
        events = receive(timeout, most)
        if events:
            taken.set()
        return events

    person.client.receive_many = receive_many
    stop = person.screen.background.stop
    person.screen.background.stop = lambda: taken.wait(15) and stop()
    person.screen.post(leave)
    assert person.result() == 0
    assert re.fullmatch(r"\[[\d:]{8}\] bob: late\\x1b\n", capsys.readouterr().out)


def test_what_is_posted_after_the_end_is_not_done(person):
    person.sits_down()
    did = []

    def leave():
        person.screen.app.exit()
        person.screen.post(lambda: did.append("shown to nobody"))

    person.screen.post(leave)
    assert person.result() == 0
    assert did == []


def test_a_broker_that_is_gone_ends_it(person):
    person.sits_down()
    person.client.fails(Unreachable("gone"))
    with pytest.raises(Unreachable):
        person.result()


def test_a_bug_in_what_is_drawn_ends_it_and_is_seen(person, monkeypatch):
    person.sits_down()
    monkeypatch.setattr(person.screen.conversation, "take", lambda events: 1 / 0)
    person.client.comes(Notice("x", "y"))
    with pytest.raises(ZeroDivisionError):
        person.result()


def test_a_signal_ends_it(person):
    interrupts = Interrupts()
    checked = []

    def check():
        # In the main thread it would raise what the signal asked for.
        if interrupts.pending:
            checked.append("pending")
            raise SystemExit(143)

    interrupts.check = check
    person.sits_down(interrupts=interrupts)
    interrupts._handle(15, None)
    with pytest.raises(SystemExit):
        person.result()
    assert checked == ["pending"]


def test_the_keys_of_vi(person):
    person.sits_down(vi=True)
    person.types("one two\x1b")
    person.types("bcwthree\x1b")
    person.reads("everyone> one three")
    person.types("\r")
    person.until(lambda: person.sent == [(None, "one three")])
    person.types(CTRL_D)
    person.client.resolve()
    assert person.result() == 0


@pytest.mark.parametrize("ends", ["\r", "\x03"], ids=["Enter", "Ctrl-C"])
def test_with_the_keys_of_vi_a_line_begins_as_one_to_type_into(person, ends):
    """Else "send bob secret" is "end bob secret", and said to everyone."""
    person.sits_down(vi=True)
    person.types("one\x1b")
    person.types("h")
    person.types(ends)
    person.types("send bob secret\r")
    person.until(lambda: person.sent[-1:] == [("bob", "secret")])
    person.types(CTRL_D)
    for number in range(len(person.sent)):
        person.client.resolve(number)
    assert person.result() == 0


def test_the_console_of_linux_has_no_links(live, monkeypatch, data_folder):
    monkeypatch.setenv("TERM", "linux")
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        screen = Screen(live, Looks(False, Alerts("off", {}), False))
        assert isinstance(screen.app.output, DummyOutput)
        # Nor the marks of them, which nothing would take out again.
        screen.add(event_row(said("see http://a/b"), "alice"))
        drawn = screen._messages.create_content(60, 1).get_line(0)
        assert "".join(text for _, text in drawn).rstrip().endswith("bob: see http://a/b")


def test_on_a_narrow_terminal_how_it_is_matters_more_than_where(live, data_folder):
    live.broker = "tcp://chat.example.org:5555"
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        screen = Screen(live, Looks(False, Alerts("off", {}), False))
        screen._messages.width = 39
        screen.conversation._know([f"user{n:04}" for n in range(5000)])
        (_, words), *_ = screen._status()
        assert words.startswith(" alice | 5000 on: user0000")
        screen.conversation.take([Offline("gone")])
        (_, words), *_ = screen._status()
        assert words.rstrip() == " alice | reconnecting…"
        screen._messages.width = 60
        (_, words), *_ = screen._status()
        assert words.rstrip() == " alice at tcp://chat.example.org:5555 | reconnecting…"


def test_a_line_that_is_typed_when_the_broker_has_just_ended_it(person, monkeypatch):
    person.sits_down()

    def ended(text):
        raise NotAuthorised("'alice' was kicked")

    monkeypatch.setattr(person.screen.conversation._pipeline, "echo", ended)
    person.types("hi\r")
    with pytest.raises(NotAuthorised):
        person.result()


def test_who_was_told_that_something_is_not_known_to_be_stored_leaves_with_no_success(person):
    person.sits_down()
    person.types("hi\r")
    person.until(lambda: person.sent)
    person.client.resolve(0, Outcome.UNKNOWN)
    person.until(lambda: any(line.startswith("! sent, but not ack") for line in person.said))
    person.types(CTRL_D)
    with pytest.raises(OutcomeUnknown):
        person.result()


def test_words_that_are_told_by_a_full_screen_drop_no_row_unseen(person, monkeypatch):
    person.sits_down()
    forgot = []
    monkeypatch.setattr(person.screen.conversation, "forget", forgot.extend)
    monkeypatch.setattr("chatbroker.client.terminal.view.MOST_ROWS", 3)
    monkeypatch.setattr("chatbroker.client.terminal.view.SPARE", 1)
    for number in range(3):
        person.screen.post(lambda number=number: person.screen._tell(f"told {number}"))
    person.sees("* told 2")
    assert forgot[0].text.startswith("joined as")
    person.leaves()


def test_of_a_flood_that_nobody_saw_the_mail_is_told_and_the_last_of_the_rest():
    events = [said(f"m{n}", n) for n in range(100)]
    events[3:3] = [Direct(1, TIME, "bob", "alice", "psst")]
    rows = [event_row(event, "alice") for event in events]
    assert [row.text.split(": ")[1] for row in _to_be_told(rows)] == [
        "psst",
        *(f"m{n}" for n in range(100 - MOST_AFTER, 100)),
    ]


def test_help_tells_of_the_keys_too(person):
    person.sits_down()
    person.types("help\r")
    person.sees(*KEYS)
    person.leaves()


def test_a_line_that_was_pasted_and_refused_can_be_had_again(person):
    person.sits_down()
    person.types(f"{PASTE}one\n/nonsense here{END_OF_PASTE}")
    person.until(lambda: QUESTION.format("everyone") in person.rows)
    person.types("y")
    person.until(lambda: any(row.startswith("! unknown command") for row in person.rows))
    person.types("\x1b[A")
    person.reads("everyone> /nonsense here")
    person.leaves()


def test_who_writes_while_one_types_a_reply_does_not_get_it(person):
    person.sits_down()
    person.client.comes(Direct(1, TIME, "bob", "alice", "and?"))
    person.sees("bob -> alice: and?")
    person.types("reply sec")
    person.reads("bob> reply sec")
    person.client.comes(Direct(2, TIME, "mallory", "alice", "me!"))
    person.sees("bob -> alice: and?", "mallory -> alice: me!")
    person.types("ret\r")
    person.until(lambda: person.sent == [("bob", "secret")])
    person.reads("everyone>")
    person.leaves()


def test_the_rest_of_a_paste_into_a_reply_goes_to_whom_the_question_names(person):
    person.sits_down()
    person.client.comes(Direct(1, TIME, "bob", "alice", "and?"))
    person.sees("bob -> alice: and?")
    person.types(f"reply {PASTE}one\ntwo{END_OF_PASTE}")
    person.until(lambda: QUESTION.format("everyone") in person.rows)
    person.types("y")
    person.until(lambda: person.sent == [("bob", "one"), (None, "two")])
    person.leaves()
