"""Simple lines."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from functools import partial

import pytest

from chatbroker.client.commands import Outcome
from chatbroker.client.errors import OutcomeUnknown, Refused, Unreachable
from chatbroker.client.events import Broadcast, Direct
from chatbroker.client.interrupts import Interrupts
from chatbroker.client.terminal import conversation, plain
from chatbroker.client.terminal.plain import Keyboard, Lines, converse
from chatbroker.client.terminal.rows import mark_row, told_row


def test_rows_are_written_as_they_come(capsys):
    display = Lines(bell=True)
    display.add(told_row("one"))
    display.add_past([mark_row("two"), told_row("three")])
    display.set_pending([told_row("under way")])
    display.alert(told_row("one"))
    Lines(bell=False).alert(told_row("one"))
    assert capsys.readouterr().out == "one\n--- two\nthree\n\a"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(plain, "LOOK_EVERY", 10)


@pytest.fixture
def keys(pipe, until):
    """A keyboard on a pipe, and the lines it gave."""
    reader, write, close = pipe
    lines = []
    keyboard = Keyboard(lines.append, reader)
    keyboard.start()
    keyboard.press, keyboard.end, keyboard.lines = write, close, lines
    keyboard.gives = lambda *expected: until(lambda: lines == [*expected])
    yield keyboard
    keyboard.stop()


def test_a_keyboard_gives_lines_one_by_one(keys):
    keys.press(b"one\ntwo\nth")
    keys.gives("one", "two")
    keys.press(b"ree \xff\n")
    keys.gives("one", "two", "three \ufffd")
    keys.press(b"half a li")
    keys.end()
    keys.gives("one", "two", "three \ufffd", None)
    assert keys.rest == "half a li"


def test_a_character_may_come_in_two_pieces(keys):
    keys.press("é".encode()[:1])
    keys.press("é".encode()[1:] + b"\n")
    keys.gives("é")


def test_a_keyboard_can_be_stopped_while_it_waits(keys):
    keys.stop()
    assert keys.lines == [None]


def test_a_terminal_that_is_gone_is_the_end(until):
    lines = []
    reader, writer = os.pipe()
    os.close(reader)
    keyboard = Keyboard(lines.append, writer)  # Cannot be read from.
    keyboard.start()
    until(lambda: lines == [None])
    os.close(writer)


class Person:
    """Somebody at a plain terminal, and what they see."""

    def __init__(self, client, press, end, in_thread, capsys, until):
        self.client, self.press, self.end = client, press, end
        self._capsys, self._until = capsys, until
        self._thread = in_thread
        self.seen = ""

    def sits_down(self, bell=False):
        # `Interrupts` belong to the main thread; here nobody sends a signal.
        self._running = self._thread(lambda: converse(self.client, Interrupts(), 5, bell))
        self.sees("joined as alice")

    def types(self, *lines):
        self.press("".join(f"{line}\n" for line in lines).encode())

    def sees(self, words):
        def there():
            self.seen += self._capsys.readouterr().out
            return words in self.seen

        self._until(there)

    def result(self):
        try:
            return self._running.result()
        finally:
            self.seen += "".join(self._capsys.readouterr())


@pytest.fixture
def person(live, pipe, in_thread, capsys, until, monkeypatch):
    reader, write, close = pipe
    monkeypatch.setattr(plain, "Keyboard", partial(Keyboard, descriptor=reader))
    person = Person(live, write, close, in_thread, capsys, until)
    yield person
    close()  # Whatever failed: it ends.


def test_a_person_talks_and_leaves(person, until):
    person.sits_down(bell=True)
    person.types("hello", "send bob hi")
    until(lambda: len(person.client.sent) == 2)
    person.client.resolve(0)
    person.client.resolve(1)
    person.client.comes(
        Broadcast(1, 0, "alice", "hello"), Direct(1, 0, "bob", "alice", "back \x1b[2J")
    )
    person.sees("bob -> alice: back \\x1b[2J\n\a")
    assert "alice: hello\n" in person.seen
    person.types("quit", "not said")
    assert person.result() == 0
    assert [ticket.text for ticket in person.client.sent] == ["hello", "hi"]


def test_the_end_of_input_leaves_when_all_is_stored(person, until):
    person.sits_down()
    person.types("hello")
    person.end()
    until(lambda: person.client.sent)
    person.client.resolve()
    assert person.result() == 0


def test_half_a_line_at_the_end_is_sent_to_nobody_and_told(person, until):
    person.sits_down()
    person.types("hello")
    person.press(b"half \x1b[2J")
    until(lambda: person.client.sent)
    person.client.resolve()
    person.end()
    with pytest.raises(Refused, match=r"the input ended before its line did: half \\x1b\[2J$"):
        person.result()
    assert [ticket.text for ticket in person.client.sent] == ["hello"]


def test_thousands_of_lines_that_are_pasted_are_said_as_there_is_room(person, until, monkeypatch):
    monkeypatch.setattr(conversation, "MOST_PENDING", 3)
    person.sits_down()
    said = [f"line {number}" for number in range(8)]
    person.types(*said)
    for number in range(8):
        until(lambda number=number: len(person.client.sent) == min(number + 3, 8))
        person.client.resolve(number)
    person.types("quit")
    assert person.result() == 0
    assert [ticket.text for ticket in person.client.sent] == said
    assert "not sent" not in person.seen


def test_lines_for_which_there_was_no_room_are_told_when_it_ends(person, until, monkeypatch):
    monkeypatch.setattr(conversation, "MOST_PENDING", 1)
    person.sits_down()
    person.types("one", "two \x1b[2J", "three")
    until(lambda: len(person.client.sent) == 1)
    person.client.fails(Unreachable("no broker answers"))
    with pytest.raises(OutcomeUnknown):
        person.result()
    assert "chat: not sent: 2 lines, from 'two \\\\x1b[2J' on\n" in person.seen


def test_what_follows_quit_was_not_to_be_sent(person, until):
    """Whether typed or pasted, in one piece or not: as in line mode."""
    person.sits_down()
    person.press(b"echo one\nquit\necho two\nbye all\nhalf")
    until(lambda: person.client.sent)
    person.client.resolve()
    assert person.result() == 0
    assert [ticket.text for ticket in person.client.sent] == ["one"]
    assert "not sent" not in person.seen


def test_a_refusal_at_the_end_is_told(person, until):
    person.sits_down()
    person.types("hello")
    person.end()
    until(lambda: person.client.sent)
    person.client.resolve(0, Outcome.REFUSED, "too long", "too_long")
    with suppress(Refused):  # If it came after the last look at what became of it.
        person.result()
    assert "too long (not sent: hello)" in person.seen


def test_a_broker_that_is_gone_ends_it(person):
    person.sits_down()
    person.client.fails(Unreachable("gone"))
    with pytest.raises(Unreachable):
        person.result()


def test_what_came_at_the_last_moment_is_shown(live, pipe, capsys, monkeypatch):
    """It was taken from the client, so it would not be unread the next time."""
    reader, write, _ = pipe
    monkeypatch.setattr(plain, "Keyboard", partial(Keyboard, descriptor=reader))

    class Late(plain.Background):
        def stop(self):
            return [*super().stop(), Broadcast(1, 0, "bob", "late")]

    monkeypatch.setattr(plain, "Background", Late)
    write(b"quit\n")
    assert converse(live, Interrupts(), 5, False) == 0
    assert "bob: late\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_ends_it(live, pipe, until, number, error, monkeypatch):
    reader, _, _ = pipe
    monkeypatch.setattr(plain, "Keyboard", partial(Keyboard, descriptor=reader))
    began = threading.Event()
    monkeypatch.setattr(live, "users", lambda patience: began.set() or [])

    def send():
        assert began.wait(15)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    with Interrupts() as interrupts, pytest.raises(error):
        converse(live, interrupts, 5, False)
