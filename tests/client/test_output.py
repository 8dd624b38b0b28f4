"""stdout: whole lines, written before the program waits."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from chatbroker.client import output as output_module
from chatbroker.client.events import Broadcast, Joined, UserInfo
from chatbroker.client.output import Output, watch_reader

EVENT = Broadcast(1, 0, "bob", "hi")
WITHIN = 15.0


class Reader:
    """Whoever reads stdout, at the other end of a pipe."""

    def __init__(self, monkeypatch):
        self._end, writer = os.pipe()
        os.set_blocking(self._end, False)
        self.stream = open(writer, "w")  # noqa: SIM115 - closed by the fixture
        monkeypatch.setattr(sys, "stdout", self.stream)

    def comes(self):
        """What is there to read."""
        try:
            return os.read(self._end, 1 << 16).decode()
        except BlockingIOError:
            return ""

    def goes(self):
        os.close(self._end)
        self._end = -1

    def close(self):
        # Before the writing end: a watch that still polls it is told, and ends.
        if self._end >= 0:
            self.goes()
        with contextlib.suppress(BrokenPipeError):
            self.stream.close()


@pytest.fixture
def piped(monkeypatch):
    """Makes a pipe of stdout.  To be called in the test: pytest puts its own in before."""
    made = []

    def make():
        made.append(Reader(monkeypatch))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


def test_lines_wait_for_the_flush_and_none_after_it(piped):
    reader = piped()
    output = Output(lambda events: [event.text for event in events])
    output.events([EVENT])
    output.events([EVENT])
    assert reader.comes() == ""
    output.flush()
    assert reader.comes() == "hi\nhi\n"
    output.flush()
    assert reader.comes() == ""


def test_lines_may_end_with_nul(capsys):
    output = Output(lambda events: [event.text for event in events], end="\0")
    output.events([EVENT])
    output.events([EVENT])
    output.flush()
    assert capsys.readouterr().out == "hi\0hi\0"


def test_text_is_the_default(capsys):
    output = Output()
    output.events([Joined(0, "carol")])
    output.users([UserInfo("alice", 0)])
    output.flush()
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("* carol joined")
    assert second == "* online: alice"


def test_json_is_one_object_a_line(capsys):
    output = Output(as_json=True)
    output.events([EVENT])
    output.users([UserInfo("alice", 0)])
    output.record(type="accepted", line=3)
    output.flush()
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [found["type"] for found in objects] == ["broadcast", "users", "accepted"]
    assert objects[2] == {"type": "accepted", "line": 3}


def test_a_reader_that_has_gone_is_noticed_without_a_write(piped, until):
    reader = piped()
    told = []
    output = Output()
    watch_reader(output, lambda: told.append(True))
    assert not output.closed
    reader.goes()
    until(lambda: told)
    assert output.closed


def test_when_the_reader_has_gone_nothing_is_written_and_nothing_fails(piped):
    reader = piped()
    reader.goes()
    output = Output()
    assert not output.closed
    for _ in range(2):
        output.events([EVENT])
        output.flush()
        assert output.closed
        assert output.unwritten == 1


# --- what does not get out ----------------------------------------------------------------


class Asked:
    """A signal, as soon as somebody looks for the n-th time."""

    def __init__(self, looks):
        self._looks = looks

    @property
    def pending(self):
        return self._looks <= 1

    def check(self):
        self._looks -= 1
        if self._looks == 0:
            raise KeyboardInterrupt


def long(number):
    return Broadcast(number, 0, "bob", f"{number:01000}")


def test_a_signal_ends_the_wait_for_a_reader_and_what_was_not_written_is_known(piped, monkeypatch):
    monkeypatch.setattr(output_module, "LOOK_EVERY", 1)
    reader = piped()
    output = Output(lambda events: [event.text for event in events], interrupts=Asked(3))
    output.events([long(number) for number in range(1000)])
    with pytest.raises(KeyboardInterrupt):
        output.flush()
    *whole, cut = reader.comes().split("\n")
    assert whole == [f"{number:01000}" for number in range(len(whole))]
    assert 0 < len(whole) == 1000 - output.unwritten
    assert cut == ""
    # Nothing is written twice, and nothing behind the gap.
    for unwritten in range(2):
        output.flush()
        assert (reader.comes(), output.unwritten) == ("", unwritten)
        output.events([EVENT])


def test_a_signal_is_raised_when_all_is_written(piped):
    reader = piped()
    output = Output(lambda events: [event.text for event in events], interrupts=Asked(1))
    output.events([EVENT])
    with pytest.raises(KeyboardInterrupt):
        output.flush()
    assert (reader.comes(), output.unwritten) == ("hi\n", 0)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_reader_gets_it_all(piped, blocking):
    reader = piped()
    os.set_blocking(reader.stream.fileno(), blocking)
    output = Output(lambda events: [event.text for event in events])
    output.events([long(number) for number in range(1000)])
    got = []

    def read():
        while sum(map(len, got)) < 1001 * 1000:
            got.append(reader.comes())
            time.sleep(0.0001)

    thread = threading.Thread(target=read)
    thread.start()
    output.flush()
    thread.join(WITHIN)
    assert "".join(got).splitlines() == [f"{number:01000}" for number in range(1000)]
    assert output.unwritten == 0


def test_a_reader_that_goes_in_the_middle_has_what_it_has(piped, until):
    reader = piped()
    output = Output(lambda events: [event.text for event in events])
    output.events([long(number) for number in range(1000)])
    thread = threading.Thread(target=output.flush)
    thread.start()
    until(lambda: select.select([reader._end], [], [], 0)[0])
    reader.goes()
    thread.join(WITHIN)
    assert output.closed
    assert 0 < output.unwritten <= 1000


def test_a_full_disk_is_told_and_nothing_counts_as_written(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        output = Output(lambda events: [event.text for event in events])
        output.events([EVENT, EVENT])
        with pytest.raises(OSError, match="No space left"):
            output.flush()
        assert output.unwritten == 2
        monkeypatch.undo()


@pytest.fixture
def interrupted(piped, monkeypatch, capsys):
    """What was written of some lines, what was not, and what is told of it, when a signal came at
    once.  *takes*: in how many milliseconds the reader takes a piece, each time that it is looked;
    None: not at all."""

    def write(takes, piece=7):
        monkeypatch.setattr(output_module, "A_PIECE", piece)
        reader = piped()
        output = Output(lambda events: ["ab\ncd", "é" * 8, "the end"], interrupts=Asked(1))
        answers = iter(takes)

        def ready(wait):
            after = next(answers)
            return after is not None and after <= wait

        _, write = output_module._descriptor()
        monkeypatch.setattr(output_module, "_descriptor", lambda: (ready, write))
        output.events([EVENT])
        with pytest.raises(KeyboardInterrupt):
            output.flush()
        os.write(sys.stdout.fileno(), b".")  # Else there may be nothing to read.
        written = os.read(reader._end, 99).decode(errors="replace").removesuffix(".")
        return written, output.unwritten, capsys.readouterr().err

    return write


NEVER = [None] * 100
SLOWLY = output_module.LOOK_EVERY
NOT_WHOLE = "chat: the last line on stdout is not whole: nobody read it\n"


def test_a_line_that_a_signal_leaves_in_the_middle_is_told_of(interrupted):
    half = "ab\ncd\n" + "é" * 3 + "\ufffd"
    assert interrupted([0, 0, *NEVER]) == (half, 2, NOT_WHOLE)


def test_a_line_that_was_begun_is_finished_for_a_slow_reader(interrupted):
    slow = [0, 0, *[None] * output_module.LOOKS, SLOWLY, SLOWLY]
    assert interrupted([*slow, *NEVER]) == ("ab\ncd\n" + "é" * 8 + "\n", 1, "")


@pytest.mark.parametrize(
    ("takes", "written", "unwritten"),
    [
        ([SLOWLY], "", 3),
        ([0, SLOWLY], "ab\ncd\n", 2),
        ([0] * 9, "ab\ncd\n" + "é" * 8 + "\nthe end\n", 0),
    ],
)
def test_none_is_begun_for_a_slow_reader_when_a_signal_came(interrupted, takes, written, unwritten):
    assert interrupted(takes) == (written, unwritten, "")


def test_a_line_may_be_several_and_is_whole_or_not(interrupted):
    assert interrupted([0, *NEVER], piece=4) == ("ab\n", 3, NOT_WHOLE)


def test_what_others_wrote_before_comes_before(piped):
    reader = piped()
    print("before", end=" ")
    output = Output(lambda events: [event.text for event in events])
    output.events([EVENT])
    output.flush()
    assert reader.comes() == "before hi\n"


def test_who_writes_to_the_same_place_does_not_come_into_the_middle_of_a_line(tmp_path):
    path = tmp_path / "both"
    program = (
        "import sys; from chatbroker.client.output import Output\n"
        "output = Output(lambda lines: lines)\n"
        "for _ in range(50):\n"
        "    output.events([sys.argv[1] * 199] * 100)\n"
        "    output.flush()\n"
    )
    with path.open("a") as file:
        writers = [
            subprocess.Popen([sys.executable, "-c", program, letter], stdout=file)
            for letter in "ab"
        ]
        assert [writer.wait(WITHIN) for writer in writers] == [0, 0]
    lines = path.read_text().splitlines()
    assert Counter(lines) == {"a" * 199: 5000, "b" * 199: 5000}
