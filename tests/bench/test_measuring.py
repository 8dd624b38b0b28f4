"""What a figure is made of: the order of runs, what is counted, and when a run may begin."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from bench import load, on_broker, on_forwarder, throughput
from bench.load import Latency, Run, Stuck
from bench.peers import measure, servers
from bench.peers.docs import PAGE
from bench.peers.measure import CALM_SECONDS, LOOKS, Plan
from bench.peers.results import MEASURES, Measured, Result
from bench.peers.works import CLASSIC, NATS, ONE, WORKS
from bench.plan import Both
from bench.prepared import for_broker, repeated
from bench.processes import Cpu, cpu_of
from bench.report import alternate, percentiles
from bench.sessions import WINDOW, Answered, Sender
from bench.streams import ByteReader
from chatbroker.wire.codec import FROM_CLIENT, Decoder

# --- the order of runs -----------------------------------------------------------------------


def test_what_is_compared_takes_turns_there_and_back():
    turns = []

    def taken(name):
        turns.append(name)
        return len(turns)

    found = alternate(3, {"a": lambda: taken("a"), "b": lambda: taken("b")})
    assert "".join(turns) == "abbaab"
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_each_round_is_a_run_of_its_own():
    result = measure.measure(WORKS["memory"], Plan(3, 0.02, 1), ["classic"])
    (row,) = [row for row in result.rows if row.runs]
    assert len({run["seconds"] for run in row.runs}) == 3


# --- what is sent ----------------------------------------------------------------------------


class Silence:
    """A socket that takes everything, and a reader or answers that get nothing."""

    def __init__(self):
        self.took = 0
        self.counted = 0
        self.sock = self

    def send(self, piece):
        self.took += len(piece)
        return len(piece)


def sent(sender, out):
    """How many messages of one byte it sends at once, and when some were settled."""
    counts = []
    for settled in (0, 10, 10, 2 * WINDOW):
        sender.advance(settled)
        counts.append(out.took)
    return counts


def test_no_more_than_the_window_is_under_way():
    out = Silence()
    counts = sent(Sender(out, repeated(b"x", 10 * WINDOW)), out)
    assert counts == [WINDOW, WINDOW + 10, WINDOW + 10, 3 * WINDOW]


def test_what_is_acknowledged_has_the_same_window():
    out = Silence()
    assert sent(Answered(repeated(b"x", 10 * WINDOW), out), out)[0] == WINDOW


@pytest.mark.parametrize("a_frame", [1, 100])
def test_a_frame_holds_as_many_messages_as_its_name_says(a_frame):
    prepared = for_broker("reader0", 3, a_frame)
    decode = Decoder(FROM_CLIENT).decode
    for number in range(3):
        frame = bytes(prepared.piece(prepared.end(number), prepared.end(number + 1)))
        head = 2 if len(frame) < 256 else 9
        (send,) = decode(frame[head:])
        assert len(send.texts) == a_frame


@pytest.fixture
def loaded(monkeypatch):
    """How many messages a frame each run at the broker is asked to have."""
    asked = []

    def run(server, messages, a_frame, *more):
        asked.append(a_frame)
        return Run(messages, messages, 1.0, Cpu(0.1, 0.1), 0.1, 0)

    monkeypatch.setattr(on_broker, "direct_run", run)
    monkeypatch.setattr(on_broker, "broadcast_run", run)
    for name in ("direct_run", "broadcast_run"):
        monkeypatch.setattr(
            on_forwarder, name, lambda server, messages, *_: run(server, messages, 0)
        )
    return asked


NAMED = [
    pytest.param(row, id=f"{work.name}, {row.name}")
    for work in WORKS.values()
    for row in work.rows
    if row.name.endswith("a frame")
]


@pytest.mark.parametrize("row", NAMED)
def test_a_row_is_measured_with_the_frames_that_it_names(loaded, row):
    a_frame = int(re.search(r"(\d+) a frame", row.name)[1])
    with row.load(None) as run:
        run(1000)
    assert loaded == [a_frame]
    assert row.a_frame == a_frame


@pytest.mark.parametrize("scenario", [throughput.direct, throughput.broadcast])
def test_a_table_is_measured_with_the_frames_that_it_names(loaded, monkeypatch, scenario):
    made = []

    def in_rounds(plan, variants):
        for name, run in variants.items():
            run(1000)
            made.append((name, loaded.pop()))
        return {name: [run(1000)] for name, run in variants.items()}

    monkeypatch.setattr(throughput, "in_rounds", in_rounds)
    scenario(Plan(1, 1.0, 1), Both(None, None))
    assert set(made) == {
        (throughput.FORWARDER, 0),
        (throughput.ONE, 1),
        (throughput.HUNDRED, 100),
    }


# --- how servers are set ---------------------------------------------------------------------

SETTINGS = {
    "redis-server pub/sub": servers._redis_config,
    "redis-server Streams": servers._streams_config,
    "mosquitto QoS 0": servers._mosquitto_config,
    "mosquitto QoS 1": servers._persistent_config,
    "ngircd": servers._ngircd_config,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_server_is_set_as_the_page_says(tmp_path, name):
    config = SETTINGS[name](1234, str(tmp_path)).replace(" = ", " ").splitlines()
    (line,) = re.findall(rf"^\| {name} \| ([^|]*) \| [^|]* \|$", PAGE.read_text(), re.MULTILINE)
    said = {each for each in re.findall("`([^`]+)`", line) if " " in each}
    # Others are what clients say, or are set for latency alone.
    settings = {each for each in said if not each.startswith(("CLIENT", "XREAD", "set_tcp"))}
    assert settings
    assert settings <= set(config)


# --- what is counted -------------------------------------------------------------------------


def test_the_cpu_of_a_process_is_that_of_all_its_threads():
    enough, done = threading.Event(), threading.Event()

    def work():
        while time.thread_time() < 0.1:
            pass
        enough.set()
        done.wait(30)

    before = cpu_of(os.getpid())
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert enough.wait(30)
        used = cpu_of(os.getpid()).since(before)
    finally:
        done.set()
        thread.join()
    assert used.whole - used.main > 0.05


def test_the_cpu_of_a_delivery_is_that_of_all_threads():
    run = Run(10, 20, 1.0, Cpu(3.0, 1.0), 0.5, 0)
    assert MEASURES["cost"](measure._kept(run)) == 3.0 / 20
    assert throughput.costs([run]) == [3.0 / 10]


def test_percentiles_are_those_that_they_are_called():
    seconds = [float(number) for number in range(1, 100)]
    assert percentiles(seconds) == (50.0, 99.0)
    kept = measure._kept(Latency(seconds, []))
    assert (MEASURES["p50"](kept), MEASURES["p99"](kept)) == (50.0, 99.0)


class OneMore(ByteReader):
    """What it has counted is all, and then comes once more."""

    def __init__(self, sock, peer):
        super().__init__(sock, 4)
        self._peer = peer

    def read(self):
        super().read()
        if self.counted == 10:
            self._peer.sendall(b"abcd")


RUNS = {
    "direct": load.direct,
    "broadcast": lambda *what: load.broadcast(*what, ()),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_message_that_comes_when_all_is_there_fails_the_run(name):
    server = SimpleNamespace(cpu=lambda: Cpu(0.0, 0.0))
    ours, theirs = socket.socketpair()
    out, peer = socket.socketpair()
    with ours, theirs, out, peer:
        theirs.sendall(b"abcd" * 10)
        senders, readers = [Sender(out, repeated(b"x", 10))], [OneMore(ours, theirs)]
        with pytest.raises(Stuck):
            RUNS[name](server, senders, readers)


# --- what is said of it ----------------------------------------------------------------------


def rounds(rates, costs):
    return [
        {"messages": 1, "deliveries": rate, "seconds": 1.0, "cpu": cost * rate}
        for rate, cost in zip(rates, costs, strict=True)
    ]


def test_a_goal_is_held_by_the_middle_of_the_rounds():
    """And not by the best of them, nor by the worst."""
    ours = rounds([100.0, 140.0, 900.0], [0.1, 0.8, 9.0])
    theirs = rounds([100.0] * 3, [1.0] * 3)
    rows = [Measured(ONE, "", ours), Measured(NATS, "", theirs)]
    aims = Result("broadcast100", {}, rows).aims()
    assert [aim.holds for aim in aims] == [False, False, None]
    better = rounds([100.0, 160.0, 900.0], [0.1, 0.6, 9.0])
    aims = Result("broadcast100", {}, [Measured(ONE, "", better), rows[1]]).aims()
    assert [aim.holds for aim in aims] == [True, True, None]


# --- when a run may begin --------------------------------------------------------------------


class Busy:
    """A server that goes on working after a run, and the clock by which it does."""

    def __init__(self, *work):
        self.now = 0.0
        self.looks = 0
        self.work = list(work)
        """What it is still going to use, by one look at it after the other."""
        self._used = 0.0

    def cpu(self):
        return Cpu(self._used, self._used)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.looks += 1
        self._used += self.work.pop(0) if self.work else 0.0


@pytest.fixture
def busy(monkeypatch):
    def made(*work):
        server = Busy(*work)
        monkeypatch.setattr(measure, "time", server)
        return server

    return made


def test_a_server_is_calm_when_it_was_so_many_times_in_a_row(busy):
    server = busy(0.02, *[0.0] * (LOOKS - 1), 0.02, 0.0, 0.02)
    measure._calm(server)
    assert server.looks == 1 + (LOOKS - 1) + 3 + LOOKS


def test_what_an_idle_server_uses_does_not_count(busy):
    server = busy(*[0.0002] * 1000)
    measure._calm(server)
    assert server.looks == LOOKS


def test_a_server_that_is_never_calm_is_not_waited_for_for_ever(busy):
    server = busy(*[0.02] * 10_000)
    measure._calm(server)
    assert CALM_SECONDS <= server.now < CALM_SECONDS + 1


def test_no_run_ends_before_its_server_is_calm(busy):
    server = busy()

    def run(messages):
        assert not server.work
        server.work = [0.02] * 30
        return Run(messages, messages, 0.1, Cpu(0.1, 0.1), 0.1, 0)

    work = WORKS["memory"]
    (row,) = [row for row in work.rows if row.name == CLASSIC]
    sized = measure._sized(work, row, Plan(1, 0.1, 1), SimpleNamespace(run=run), server)
    sized()
    assert not server.work
    assert server.looks == 3 * (30 + LOOKS)  # With the two by which it was sized.
