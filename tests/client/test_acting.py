"""A command for each message: in their order, and read when it has ended."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque

import pytest

from chatbroker.client import acting
from chatbroker.client.acting import Acting, environment
from chatbroker.client.action import Action, exact_texts
from chatbroker.client.errors import ClientError
from chatbroker.client.events import Broadcast, Direct, Joined, Missed, Offline
from chatbroker.client.meter import Bounds, Meter
from chatbroker.client.options import Shared

WITHIN = 15.0


class Shelf:
    """What a client holds for the program, and what was taken of it."""

    name = "alice"

    def __init__(self, *events):
        self.events = deque(events)
        self.taken = []
        self._changed = threading.Condition()

    @property
    def waiting_events(self):
        return len(self.events)

    def waiting(self, start, stop):
        return list(self.events)[start:stop]

    def handled(self, count):
        assert 0 < count <= len(self.events)
        self.taken += [self.events.popleft() for _ in range(count)]

    def notify(self):
        with self._changed:
            self._changed.notify_all()

    def wait_until(self, ready):
        with self._changed:
            assert self._changed.wait_for(ready, WITHIN), "nothing happened"


class Asked:
    """Whether a signal asked to end."""

    pending = False

    def check(self):
        if self.pending:
            raise KeyboardInterrupt


def said(*texts, sender="bob"):
    return [Broadcast(number, 0, sender, text) for number, text in enumerate(texts, 1)]


@pytest.fixture
def act(tmp_path):
    """Has events handled by a line of shell, in an empty folder."""
    made = []

    def start(line, *events, jobs=1, count=None, only=None, words=None, end="\n"):
        shelf = Shelf(*events)
        command = words or ("sh", "-c", f"cd {tmp_path}; {line}")
        one = Acting(
            shelf,
            Action(command, jobs),
            lambda event: exact_texts([event])[0] + end,
            dict(os.environb),
            meter=Meter(Bounds(count, None, None), 0.0),
            only=only,
            interrupts=Asked(),
        )
        made.append(one)
        return one, shelf

    yield start
    for one in made:
        for job in one._running:
            job._process.kill()
        one.finish(lambda: 0.0)


def runs_out(one, shelf):
    """Until nothing is left to do."""
    one.step(0.0)
    while one._running:
        shelf.wait_until(lambda: one.ready)
        one.step(0.0)


def test_commands_run_in_order_and_are_told_the_message(act, tmp_path):
    texts = ["one", "two words", " three\n\ttabs $HOME \0 'quoted' ☃", ""]
    one, shelf = act('echo "$CHAT_MESSAGE_SEQ $CHAT_MESSAGE_FROM" >>log; cat >>log', *said(*texts))
    runs_out(one, shelf)
    expected = "".join(f"{number} bob\n{text}\n" for number, text in enumerate(texts, 1))
    assert (tmp_path / "log").read_bytes() == expected.encode()
    assert [event.text for event in shelf.taken] == texts
    assert not one.failed


def test_one_at_a_time_and_nothing_is_read_while_its_command_runs(act, tmp_path, until):
    os.mkfifo(tmp_path / "gate")
    one, shelf = act('echo "$CHAT_MESSAGE_TEXT" >>log; read x <gate', *said("one", "two"))
    one.step(0.0)
    log = tmp_path / "log"
    until(lambda: log.exists() and log.read_text() == "one\n")
    one.step(0.0)
    assert not one.ready
    assert shelf.taken == []
    for number in (1, 2):
        (tmp_path / "gate").write_text("go\n")
        shelf.wait_until(lambda: one.ready)
        one.step(0.0)
        assert len(shelf.taken) == number
    assert log.read_text() == "one\ntwo\n"


def test_several_run_at_once_and_are_read_in_their_order(act, tmp_path):
    os.mkfifo(tmp_path / "gate")
    line = 'if test "$CHAT_MESSAGE_TEXT" = first; then read x <gate; fi'
    one, shelf = act(line, *said("first", "second", "third"), jobs=2)
    one.step(0.0)
    assert len(one._running) == 2
    while len(one._running) == 2 or len(one._row) < 3:  # The second and the third end.
        shelf.wait_until(lambda: one.ready)
        one.step(0.0)
    assert shelf.taken == []
    (tmp_path / "gate").write_text("go\n")
    runs_out(one, shelf)
    assert [event.text for event in shelf.taken] == ["first", "second", "third"]


def test_how_far_others_run_ahead_is_bounded(act, tmp_path, monkeypatch, until):
    monkeypatch.setattr(acting, "AHEAD", 3)
    os.mkfifo(tmp_path / "gate")
    line = 'echo >>log; if test "$CHAT_MESSAGE_SEQ" = 1; then read x <gate; fi'
    one, shelf = act(line, *said(*"abcdefgh"), jobs=2)
    one.step(0.0)
    while len(one._running) > 1 or len(one._row) < 3:
        shelf.wait_until(lambda: one.ready)
        one.step(0.0)
    assert not one.ready
    until(lambda: (tmp_path / "log").read_text() == "\n" * 3)
    (tmp_path / "gate").write_text("go\n")
    runs_out(one, shelf)
    assert len(shelf.taken) == 8


def test_a_failure_is_told_and_the_rest_goes_on(act, capsys):
    line = 'case "$CHAT_MESSAGE_TEXT" in a) exit 3;; b) kill -9 $$;; esac'
    one, shelf = act(line, *said("a", "b", "c"))
    runs_out(one, shelf)
    assert one.failed
    assert len(shelf.taken) == 3
    assert capsys.readouterr().err.splitlines() == [
        "chat: exec: message 1: exit status 3",
        "chat: exec: message 2: ended by SIGKILL",
    ]


def test_what_cannot_be_started_leaves_its_message_unread(act):
    one, shelf = act("", *said("a", "b"), words=("/nonexistent/command",))
    with pytest.raises(ClientError, match="exec: message 1: cannot start '/nonexistent/command'"):
        one.step(0.0)
    one.finish(lambda: 0.0)
    assert shelf.taken == []


def test_a_command_need_not_read(act):
    """What it is given may be more than a pipe holds."""
    one, shelf = act("exec <&-; exit 0", *said("x", "y"), end="\n" * 1_000_000)
    runs_out(one, shelf)
    assert len(shelf.taken) == 2
    assert not one.failed


def test_what_is_no_message_runs_nothing_and_is_read(act, tmp_path, capsys):
    events = [
        Offline("lost"),
        *said("mine", sender="alice"),
        Joined(0, "carol"),
        Missed("echo", 3),
        Direct(1, 0, "alice", "bob", "mine too"),
        Direct(2, 0, "bob", "alice", "yours"),
        Joined(0, "dave"),
    ]
    one, shelf = act("cat >>log", *events)
    runs_out(one, shelf)
    assert (tmp_path / "log").read_text() == "yours\n"
    assert shelf.taken == events
    assert capsys.readouterr().err.splitlines() == [
        "chat: lost; reconnecting",
        "chat: echo: 3 messages are no longer kept",
    ]


def test_who_comes_and_goes_is_a_message_where_only_that_is_wanted(act, tmp_path):
    line = 'echo "$CHAT_MESSAGE_TYPE $CHAT_MESSAGE_FROM" >>log'
    one, shelf = act(line, *said("hi"), Joined(0, "carol"), only="presence")
    runs_out(one, shelf)
    assert (tmp_path / "log").read_text() == "joined carol\n"
    assert len(shelf.taken) == 2


def test_no_more_are_begun_than_are_counted(act, tmp_path):
    one, shelf = act("cat >>log", *said("a", "b", "c", "d"), jobs=9, count=3)
    runs_out(one, shelf)
    assert one._meter.reached
    assert sorted((tmp_path / "log").read_text().split()) == ["a", "b", "c"]
    assert len(shelf.taken) == 3
    assert not one.ready


@pytest.mark.parametrize("how", ["kill -INT $$", "exit 128", "exit 130"])
def test_what_a_signal_ended_too_is_not_read(act, capsys, how):
    """Ctrl-C reaches the commands as well."""
    line = f'test "$CHAT_MESSAGE_TEXT" = a || {{ {how}; }}'
    one, shelf = act(line, *said("a", "b", "c"), jobs=2)
    one.step(0.0)
    one._interrupts.pending = True
    for job in one._running:
        job.wait()
    with pytest.raises(KeyboardInterrupt):  # And nothing is begun in place of what has ended.
        one.step(0.0)
    assert one._running == []
    one.finish(lambda: 0.0)
    assert [event.text for event in shelf.taken] == ["a"]
    assert not one.failed
    assert capsys.readouterr().err == ""


def test_what_runs_is_waited_for_at_the_end(act, tmp_path, in_thread):
    os.mkfifo(tmp_path / "gate")
    one, shelf = act("read x <gate", *said("a", "b"))
    one.step(0.0)
    ending = in_thread(lambda: one.finish(lambda: 0.0))
    (tmp_path / "gate").write_text("go\n")
    ending.result()
    assert [event.text for event in shelf.taken] == ["a"]


def test_a_command_has_no_signal_ignored(act, tmp_path):
    """Python ignores SIGPIPE; a command that pipes must not."""
    one, shelf = act("grep SigIgn /proc/self/status >log", *said("a"))
    runs_out(one, shelf)
    ignored = int((tmp_path / "log").read_text().split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)


def test_a_chat_within_reaches_the_same_broker_as_the_same_user(monkeypatch):
    for name in ("CHAT_BROKER", "CHAT_USER", "CHAT_PROFILE"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv("CHAT_PORT", "1")
    monkeypatch.setenv("CHAT_TIMEOUT", "3")
    env = environment(Shared("tcp://host:1", "Alice", 5.0, False, "work"), "alice")
    assert b"CHAT_PORT" not in env
    assert {name: env[b"CHAT_" + name] for name in (b"BROKER", b"USER", b"PROFILE")} == {
        b"BROKER": b"tcp://host:1",
        b"USER": b"alice",
        b"PROFILE": b"work",
    }
    assert env[b"CHAT_TIMEOUT"] == b"3"
    assert env[b"PATH"] == os.environb[b"PATH"]


def test_whoever_listens_without_a_name_gives_none(monkeypatch):
    monkeypatch.delenv("CHAT_USER", raising=False)
    monkeypatch.delenv("CHAT_PROFILE", raising=False)
    env = environment(Shared("tcp://host:1", None, 5.0, False), "")
    assert b"CHAT_USER" not in env
    assert b"CHAT_PROFILE" not in env
