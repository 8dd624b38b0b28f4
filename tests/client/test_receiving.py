"""The commands that receive, as functions."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from chatbroker.client import Client, receiving
from chatbroker.client import core as core_module
from chatbroker.client import inbox as inbox_module
from chatbroker.client import link as link_module
from chatbroker.client.action import Action
from chatbroker.client.errors import Refused, Unreachable
from chatbroker.client.events import Broadcast, Direct, Joined, Left, Missed, Offline, Online
from chatbroker.client.meter import Bounds, Meter
from chatbroker.client.options import Shared
from chatbroker.client.output import Output
from chatbroker.client.receiving import (
    Joining,
    Printer,
    run_lines,
    run_listen,
)
from chatbroker.client.starts import Since
from chatbroker.command.status import Status
from chatbroker.wire.messages import Info, Ping, Pong, User, Users

WITHIN = 15.0
ALICE = Joining("alice", False, WITHIN)
NO_BOUNDS = Bounds(None, None, None)
EVENTS = [
    Broadcast(1, 0, "bob", "to all"),
    Direct(1, 0, "bob", "alice", "to alice"),
    Joined(0, "carol"),
    Left(0, "carol"),
    Missed("echo", 3),
    Offline("lost"),
    Online("alice", True),
]


class Shelf:
    """What waits in a client, and what was taken of it."""

    def __init__(self, *events):
        self._events = events
        self.taken = []

    def waiting(self, start, stop):
        return [*self._events[len(self.taken) :][start:stop]]

    def handled(self, count):
        self.taken += self.waiting(0, count)


# --- what ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "shown", "counted"),
    [
        (None, ["Broadcast", "Direct", "Joined", "Left", "Missed"], 2),
        ("broadcast", ["Broadcast", "Missed"], 1),
        ("direct", ["Direct", "Missed"], 1),
        ("presence", ["Joined", "Left", "Missed"], 2),
    ],
)
def test_what_is_printed_and_what_is_counted(capsys, only, shown, counted):
    output = Output(lambda events: [type(event).__name__ for event in events])
    meter = Meter(Bounds(10, None, None), 0.0)
    shelf = Shelf(*EVENTS)
    Printer(output, meter, only).print_from(shelf, 99, 1.0)
    assert shelf.taken == EVENTS
    out, err = capsys.readouterr()
    assert out.splitlines() == shown
    assert meter.left == 10 - counted
    assert err == "chat: lost; reconnecting\nchat: connected again\n"


def test_who_comes_and_goes_does_not_end_silence():
    meter = Meter(Bounds(None, None, 3.0), 100.0)
    printer = Printer(Output(), meter)
    shelf = Shelf(Joined(0, "carol"), Broadcast(1, 0, "bob", "hi"))
    printer.print_from(shelf, 1, 102.0)
    assert meter.pause(102.0) == 1.0
    printer.print_from(shelf, None, 102.0)
    assert meter.pause(102.0) == 3.0


class Stuck:
    """An output of which only the first lines are written."""

    def __init__(self, most, error):
        self._most, self._error = most, error
        self.lines = []

    def events(self, events):
        self.lines = [event.text for event in events]

    def flush(self):
        self.unwritten = max(len(self.lines) - self._most, 0)
        if self.unwritten and self._error:
            raise self._error


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), None])
@pytest.mark.parametrize(("most", "taken"), [(0, 1), (1, 3), (2, 4), (3, 5), (9, 6)])
def test_what_is_not_printed_is_not_taken(error, most, taken):
    """Between what is printed lies what is not to be; it goes with what follows it."""
    one, two, three, four = (Broadcast(n, 0, "bob", str(n)) for n in range(4))
    shelf = Shelf(Joined(0, "carol"), one, Left(0, "carol"), two, three, four)
    stuck = Stuck(most, error)
    printer = Printer(stuck, Meter(NO_BOUNDS, 0.0), "broadcast")
    with pytest.raises(type(error)) if error and most < 4 else contextlib.nullcontext():
        printer.print_from(shelf, 99, 1.0)
    assert stuck.lines == ["0", "1", "2", "3"]
    assert len(shelf.taken) == taken


# --- listening ----------------------------------------------------------------------------


@pytest.fixture
def shared_with(house):
    def make(user=None, json=False, timeout=WITHIN):
        return Shared(house.address, user, timeout, json)

    return make


@pytest.fixture(autouse=True)
def silent_stdout(monkeypatch):
    """`watch_reader` wants a descriptor, which the captured stdout has not."""
    monkeypatch.setattr(receiving, "watch_reader", lambda output, changed: None)


LISTEN = (
    None,
    lambda events: [getattr(event, "text", type(event).__name__) for event in events],
    "\n",
)


@pytest.fixture
def history(house):
    """Five messages to all, and where they begin."""
    with house.client("teller") as teller:
        for number in range(5):
            teller.echo(f"told {number}")
        first = next(event for event in teller.events(WITHIN) if isinstance(event, Broadcast))
    return Since.after(first.seq - 1), Since.now()


def test_listening_ends_with_its_count_and_prints_no_more(shared_with, history, capsys):
    status = run_listen(shared_with(), WITHIN, Bounds(3, WITHIN, None), history, *LISTEN)
    assert status == Status.DONE
    assert capsys.readouterr().out.splitlines() == ["told 0", "told 1", "told 2"]


def test_nothing_is_missed_once_it_says_that_it_listens(
    shared_with, house, capsys, monkeypatch, in_thread
):
    listening = threading.Event()
    said = []

    def told(name, words):
        said.append(words)
        listening.set()

    monkeypatch.setattr(receiving, "complain", told)

    def speaks():
        assert listening.wait(WITHIN)
        with house.client("teller", hear=False) as teller:
            teller.echo("heard")

    speaking = in_thread(speaks)
    starts = Since.now(), Since.now()
    bounds = Bounds(1, WITHIN, None)
    assert run_listen(shared_with(), WITHIN, bounds, starts, *LISTEN) == Status.DONE
    speaking.result()
    assert said == ["listening"]
    assert capsys.readouterr().out == "heard\n"


@pytest.mark.parametrize("bounds", [Bounds(None, 0.3, None), Bounds(None, None, 0.3)])
def test_listening_for_a_time_is_done_when_it_is_over(shared_with, history, capsys, bounds):
    assert run_listen(shared_with(), WITHIN, bounds, history, *LISTEN) == Status.DONE
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize("bounds", [Bounds(99, 0.05, None), Bounds(99, None, 0.05)])
def test_time_that_ends_before_the_count_is_told_from_success(shared_with, history, bounds):
    assert run_listen(shared_with(), WITHIN, bounds, history, *LISTEN) == Status.OUT_OF_TIME


def test_lines_may_be_json_and_end_with_nul(shared_with, history, capsys):
    bounds = Bounds(2, WITHIN, None)
    run_listen(shared_with(json=True), WITHIN, bounds, history, None, None, "\0")
    out = capsys.readouterr().out
    assert [json.loads(line)["text"] for line in out.split("\0")[:-1]] == ["told 0", "told 1"]


def test_nobody_there_is_unreachable():
    shared = Shared("tcp://127.0.0.1:1", None, 0.1, False)
    with pytest.raises(Unreachable):
        run_listen(shared, 0.1, NO_BOUNDS, (Since.now(), Since.now()), *LISTEN)


@pytest.fixture
def slow_stdout(monkeypatch):
    """Whoever reads takes a minute for each piece, by the clock that the command sees."""
    late = [0.0]
    flush = Output.flush

    def slowly(self):
        if self._lines:
            late[0] += 60.0
        flush(self)

    monkeypatch.setattr(Output, "flush", slowly)
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late[0])
    monkeypatch.setattr(receiving, "time", clock)


@pytest.mark.usefixtures("slow_stdout")
def test_a_slow_reader_is_no_silence(shared_with, house, capsys, monkeypatch):
    """Thousands have come and wait to be printed: to leave now would lose them."""

    class CaughtUp(Client):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            assert self.sync(WITHIN)

    monkeypatch.setattr(receiving, "Client", CaughtUp)
    with house.client("teller", hear=False) as teller, teller.pipeline() as pipeline:
        for number in range(2500):
            pipeline.echo(f"slow {number}")
    starts = Since.last(600), Since.now()
    assert run_listen(shared_with(), WITHIN, Bounds(None, None, 5.0), starts, *LISTEN) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("slow")]
    assert len(told) == 2500


# --- with a command for each message ------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status"),
    [("cat >>{log}", Status.DONE), ("cat >>{log}; exit 3", Status.FAILURE)],
    ids=["well", "badly"],
)
def test_a_command_is_run_for_so_many_messages(
    shared_with, history, tmp_path, capsys, line, status
):
    log = tmp_path / "log"
    action = Action(("sh", "-c", line.format(log=log)), 1)
    listen = (Bounds(3, WITHIN, None), history, None, None, "\n", action)
    assert run_listen(shared_with(), WITHIN, *listen) == status
    assert log.read_text() == "told 0\ntold 1\ntold 2\n"
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("exit status 3") == (3 if status else 0)


def test_a_command_gets_json_or_a_format(shared_with, history, tmp_path):
    log = tmp_path / "log"
    action = Action(("sh", "-c", f"cat >>{log}"), 1)
    one = Bounds(1, WITHIN, None)
    run_listen(shared_with(json=True), WITHIN, one, history, None, None, "\n", action)
    run_listen(shared_with(), WITHIN, one, history, None, *LISTEN[1:2], "\0", action)
    first, second = log.read_text().split("\n")
    assert json.loads(first)["text"] == "told 0"
    assert second == "told 0\0"


def test_time_that_ends_before_the_count_is_told_with_a_command_too(shared_with, history):
    listen = (Bounds(99, None, 0.3), history, None, None, "\n", Action(("true",), 2))
    assert run_listen(shared_with(), WITHIN, *listen) == Status.OUT_OF_TIME


# --- line mode ----------------------------------------------------------------------------


@pytest.fixture
def stdin_pipe(pipe, monkeypatch):
    descriptor, write, close = pipe
    feed = receiving.Feed
    monkeypatch.setattr(
        receiving, "Feed", lambda *args, **options: feed(*args, descriptor, **options)
    )

    def put(data, end=True):
        write(data)
        if end:
            close()

    return put


def shown(capsys):
    out, err = capsys.readouterr()
    return [line.partition("] ")[2] or line for line in out.splitlines()], err.splitlines()


def test_lines_are_carried_out_and_what_arrives_is_shown(shared_with, house, stdin_pipe, capsys):
    with house.client("bob") as bob:
        assert bob.wait_listening()
        stdin_pipe(b"send bob hi\n\n/echo hello\ninfo")
        assert run_lines(shared_with(), ALICE, NO_BOUNDS, stay=False) == Status.DONE
        assert bob.sync(WITHIN)
        assert {e.text for e in bob.receive_many(0) if hasattr(e, "text")} == {"hi", "hello"}
    out, err = shown(capsys)
    assert err == []
    assert {"alice -> bob: hi", "alice: hello", "* online: alice, bob"} <= set(out)


def test_bad_lines_are_named_and_the_rest_goes_on(shared_with, stdin_pipe, capsys):
    stdin_pipe(b"nonsense\nsend nobody hi\necho fine\n\xff\nsend alice hi\n")
    assert run_lines(shared_with(), ALICE, NO_BOUNDS, stay=False) == Status.REFUSED
    out, err = shown(capsys)
    assert [line.split(": ")[1] for line in err] == ["line 1", "line 2", "line 4"]
    assert "alice: fine" in out
    assert "alice -> alice: hi" in out


def test_lines_that_say_something_are_said_in_their_order(shared_with, house, stdin_pipe, capsys):
    lines = [f"send bob {number}" for number in range(300)]
    lines += [f"echo {number}" for number in range(300)]
    lines += [f"{'echo' if number % 3 else 'send bob'} {number}" for number in range(300)]
    with house.client("bob") as bob:
        assert bob.wait_listening()
        stdin_pipe("\n".join(lines).encode())
        assert run_lines(shared_with(), ALICE, NO_BOUNDS, stay=False) == Status.DONE
        assert bob.sync(WITHIN)
        said = [event for event in bob.receive_many(0) if hasattr(event, "text")]
    both = [*range(300), *range(300)]
    assert [int(e.text) for e in said if isinstance(e, Direct)] == [
        number for at, number in enumerate(both) if at < 300 or number % 3 == 0
    ]
    assert [int(e.text) for e in said if isinstance(e, Broadcast)] == [
        number for at, number in enumerate(both) if at < 300 or number % 3
    ]
    assert shown(capsys)[1] == []


@pytest.mark.parametrize("bad", ["nonsense", "send bob", "send NOBODY! hi", "echo " + "x" * 20_000])
def test_among_many_lines_only_the_bad_one_is_refused(shared_with, stdin_pipe, capsys, bad):
    sends = bad.startswith("send")
    lines = ["send alice hi" if sends else "echo hi"] * 20
    lines[7] = bad
    stdin_pipe("\n".join(lines).encode())
    assert run_lines(shared_with(), ALICE, NO_BOUNDS, stay=False) == Status.REFUSED
    out, err = shown(capsys)
    assert [line.split(": ")[1] for line in err] == ["line 8"]
    assert out == ["alice -> alice: hi" if sends else "alice: hi"] * 19


def test_refusals_in_json_are_on_stdout_too(shared_with, stdin_pipe, capsys):
    stdin_pipe(b"send nobody hi\ninfo\n")
    status = run_lines(shared_with(json=True), ALICE, NO_BOUNDS, stay=False)
    assert status == Status.REFUSED
    out, err = capsys.readouterr()
    found = {item["type"]: item for item in map(json.loads, out.splitlines())}
    assert found["refused"]["code"] == "no_such_user"
    assert found["refused"]["line"] == 1
    assert [user["name"] for user in found["users"]["users"]] == ["alice"]
    assert err == "chat: line 1: no such user: nobody\n"


def test_help_is_for_people_and_not_data(shared_with, stdin_pipe, capsys):
    stdin_pipe(b"help\n")
    run_lines(shared_with(), ALICE, NO_BOUNDS, stay=False)
    out, err = shown(capsys)
    assert out == []
    assert any("send USER MESSAGE" in line for line in err)


def test_nothing_after_quit_is_carried_out(shared_with, stdin_pipe, capsys):
    stdin_pipe(b"echo one\nquit\necho two\n", end=False)
    assert run_lines(shared_with(), ALICE, NO_BOUNDS, stay=False) == Status.DONE
    assert shown(capsys)[0] == ["alice: one"]


def test_who_is_on_is_waited_for_as_long_as_the_broker_is_there(
    puppets, stdin_pipe, capsys, monkeypatch
):
    """As lines that say something are, also when it cannot store for a while."""
    monkeypatch.setattr(core_module, "PATIENCE", 0.5)

    def script(puppet, identity, message):
        puppet.welcomes(identity, message)
        if isinstance(message, Info) and len(puppet.heard.of(Info)) > 1:
            puppet.tells(identity, Users(message.ref, (User("alice", 0),), False))
        elif isinstance(message, Ping):
            puppet.tells(identity, Pong(message.ref, ()))

    shared = Shared(puppets(script).address, None, 0.2, False)
    stdin_pipe(b"info\n")
    assert run_lines(shared, Joining("alice", False, 0.1), NO_BOUNDS, stay=False) == Status.DONE
    assert shown(capsys) == (["* online: alice"], [])


def test_a_long_input_is_shown_to_its_last_line(
    shared_with, stdin_pipe, in_thread, capsys, monkeypatch
):
    """One's own broadcasts come back slower than the broker accepts them, and more of them
    than there is room for wait to be shown when the input ends."""
    for module in (inbox_module, link_module):
        monkeypatch.setattr(module, "MOST_EVENTS", 20)
    monkeypatch.setattr(inbox_module, "IN_A_FRAME", 0)
    count = 10_000
    lines = b"".join(b"echo %d\n" % number for number in range(count))
    writing = in_thread(lambda: stdin_pipe(lines))
    assert run_lines(shared_with(), ALICE, NO_BOUNDS, stay=False) == Status.DONE
    writing.result()
    assert shown(capsys)[0] == [f"alice: {number}" for number in range(count)]


def test_staying_goes_on_until_its_count(
    shared_with, house, stdin_pipe, capsys, in_thread, monkeypatch
):
    stdin_pipe(b"echo one\n")
    staying, restart = threading.Event(), Meter.restart

    def restarted(meter, now):
        restart(meter, now)
        staying.set()

    # What came before, as much as there is, is shown whatever the count.
    monkeypatch.setattr(Meter, "restart", restarted)
    with house.client("bob") as bob:
        assert bob.wait_listening()

        def answers():
            next(event for event in bob.events(WITHIN) if isinstance(event, Broadcast))
            assert staying.wait(WITHIN)
            with contextlib.suppress(Refused):  # Alice leaves after the third.
                for text in ("two", "three", "four"):
                    bob.send("alice", text)

        answering = in_thread(answers)
        status = run_lines(shared_with(), ALICE, Bounds(3, WITHIN, None), stay=True)
        answering.result()
    assert status == Status.DONE
    lines = [line for line in shown(capsys)[0] if not line.startswith("*")]
    assert len(lines) == 3
    # The broadcast comes another way, and may come later, or too late.
    came = [line for line in lines if line != "alice: one"]
    assert came == [f"bob -> alice: {text}" for text in ("two", "three", "four")[: len(came)]]
    assert len(came) >= 2


def test_staying_tells_when_time_was_up_first(shared_with, stdin_pipe):
    stdin_pipe(b"")
    bounds = Bounds(3, 0.05, None)
    assert run_lines(shared_with(), ALICE, bounds, stay=True) == Status.OUT_OF_TIME


def test_a_refusal_is_remembered_while_staying(shared_with, stdin_pipe):
    stdin_pipe(b"nonsense\n")
    bounds = Bounds(None, None, 0.05)
    assert run_lines(shared_with(), ALICE, bounds, stay=True) == Status.REFUSED


def test_stdin_is_not_read_by_listening(shared_with, history, monkeypatch):
    class Untouched:
        def __getattr__(self, name):
            raise AssertionError("stdin was touched")

    monkeypatch.setattr(sys, "stdin", Untouched())
    assert run_listen(shared_with(), WITHIN, Bounds(1, WITHIN, None), history, *LISTEN) == 0
