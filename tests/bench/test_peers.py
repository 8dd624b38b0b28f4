"""What speaks to other servers, in the small; and the classic one from end to end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from bench import load
from bench.peers import __main__ as command
from bench.peers import mqtt, nats, redis, servers
from bench.peers.child import Failed, child
from bench.peers.docs import PAGE, filled
from bench.peers.lines import Classic, Irc
from bench.peers.measure import Plan, measure
from bench.peers.results import KEPT, Measured, Result, save
from bench.peers.results import load as load_results
from bench.peers.speech import PAYLOAD, Speaker, audience, pairs
from bench.peers.tables import for_docs, for_terminal
from bench.peers.works import CLASSIC, MOSQUITTO, NATS, ONE, SERVERS, WORKS
from bench.prepared import BLOCK, repeated
from bench.sessions import Answered, Sender, Unexpected
from bench.streams import ByteReader, LineReader


@pytest.fixture
def wire():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        theirs.settimeout(5)
        yield ours, theirs


def dribble(counter, peer, stream, step):
    """Has *counter* receive *stream* in pieces; what it had counted after each."""
    counts = []
    for at in range(0, len(stream), step):
        peer.sendall(stream[at : at + step])
        counter.read()
        counts.append(counter.counted)
    return counts


# --- counting --------------------------------------------------------------------------------


def test_a_delivery_in_two_receives_counts_once(wire):
    ours, theirs = wire
    message = nats.delivered("r000")
    counts = dribble(ByteReader(ours, len(message)), theirs, message * 3, len(message) - 1)
    assert counts == [0, 1, 2, 3]


def test_lines_count_when_they_are_whole(wire):
    ours, theirs = wire
    counts = dribble(LineReader(ours, 2), theirs, b"$3\r\n1-0\r\n$4\r\n12-0\r\n", 5)
    assert counts == [0, 1, 1, 2]


def test_a_run_counts_from_nothing(wire):
    ours, theirs = wire
    reader = ByteReader(ours, 4)
    dribble(reader, theirs, b"abcdabcd", 8)
    reader.restart()
    assert reader.counted == 0
    assert dribble(reader, theirs, b"abcd", 4) == [1]


def test_the_end_of_a_stream_is_an_error(wire):
    ours, theirs = wire
    theirs.close()
    for reader in (ByteReader(ours, 4), LineReader(ours)):
        with pytest.raises(ConnectionError):
            reader.read()


def answer(*ids):
    entries = b"".join(
        [b"*2\r\n$%d\r\n%s\r\n*2\r\n$1\r\nt\r\n$64\r\n%s\r\n" % (len(i), i, PAYLOAD) for i in ids]
    )
    return b"*1\r\n*2\r\n$4\r\nr000\r\n*%d\r\n" % len(ids) + entries


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_entries_of_a_stream_count_when_the_answer_is_whole(wire, step):
    ours, theirs = wire
    reader = redis.StreamReader(ours, "r000")
    assert theirs.recv(1000).endswith(b"$4\r\nr000\r\n$1\r\n0\r\n")
    counts = dribble(reader, theirs, answer(b"9-0", b"10-12"), step)
    assert set(counts[:-1]) <= {0}
    assert counts[-1] == 2
    assert theirs.recv(1000).endswith(b"$5\r\n10-12\r\n")


def test_what_is_no_answer_of_a_stream_fails(wire):
    ours, theirs = wire
    reader = redis.StreamReader(ours, "r000")
    with pytest.raises(Unexpected):
        dribble(reader, theirs, b"-ERR no\r\n" * 6, 54)
    with pytest.raises(Unexpected):
        dribble(redis.StreamReader(ours, "r000"), theirs, answer(b"9-0") * 2, 1000)


def test_what_comes_with_qos_1_is_acknowledged_in_turn(wire):
    ours, theirs = wire
    reader = mqtt.AckingReader(ours, "r000")
    stream = b"".join([mqtt.published("r000", number) for number in (1, 2, 3)])
    counts = dribble(reader, theirs, stream, len(stream) // 3 + 1)
    assert counts == [1, 2, 3]
    assert theirs.recv(1000) == b"\x40\x02\0\1\x40\x02\0\2\x40\x02\0\3"


def test_packet_ids_begin_anew_after_the_last():
    acks = mqtt.acks()
    assert acks[4 * (mqtt.MOST_IDS - 1) :][:8] == b"\x40\x02\xff\xff\x40\x02\0\1"


def test_a_packet_id_out_of_turn_fails(wire):
    ours, theirs = wire
    with pytest.raises(Unexpected):
        dribble(mqtt.AckingReader(ours, "r000"), theirs, mqtt.published("r000", 2), 1000)


REPLYING = {
    "streams": (redis.StreamReader, answer(b"9-0"), b"$3\r\n9-0\r\n"),
    "mosquitto QoS 1": (mqtt.AckingReader, mqtt.published("r000", 1), b"\x40\x02\0\1"),
}


@pytest.mark.parametrize("name", REPLYING)
def test_the_clock_of_a_message_stops_before_its_reader_replies(wire, monkeypatch, name):
    kind, message, reply = REPLYING[name]
    ours, theirs = wire
    reader = kind(ours, "r000")
    heard = []

    def clock():
        heard.append(b"")
        with contextlib.suppress(BlockingIOError):
            heard[-1] = theirs.recv(1000)
        return 0.0

    monkeypatch.setattr(load, "time", SimpleNamespace(perf_counter=clock))
    theirs.sendall(message)
    theirs.setblocking(False)
    out, _peer = socket.socketpair()
    with out, _peer:
        load.one_by_one(Sender(out, repeated(b"x", 1)), reader)
    _sent, delivered, then = heard
    assert delivered == b""
    assert then.endswith(reply)


# --- what is sent ----------------------------------------------------------------------------


def test_prepared_bytes_are_what_the_protocols_say():
    assert redis.command("PUBLISH", "r0", b"hello") == (
        b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nr0\r\n$5\r\nhello\r\n"
    )
    assert mqtt.published("r0") == b"\x30\x44\0\2r0" + PAYLOAD
    assert mqtt.published("r0", 258) == b"\x32\x46\0\2r0\1\2" + PAYLOAD
    assert nats.published("r0 inbox") == b"PUB r0 inbox 64\r\n" + PAYLOAD + b"\r\n"


def test_what_is_repeated_goes_on_after_its_block(wire):
    ours, theirs = wire
    ours.setblocking(False)
    theirs.setblocking(False)
    sender = Sender(ours, repeated(b"abcde", BLOCK + 3))
    got = b""
    for done in range(0, BLOCK + 3, 250):
        sender.advance(done)
        sender.advance(done)  # As when the socket can be written to again.
        with contextlib.suppress(BlockingIOError):
            got += theirs.recv(1_000_000)
    assert got == b"abcde" * (BLOCK + 3)


@pytest.mark.parametrize("window", [10, 25])
def test_no_more_is_under_way_than_a_speaker_may_have(wire, window):
    ours, theirs = wire
    sender = Speaker(ours, repeated(b"abcde"), window=window).sender(1000)
    sender.advance(7)
    assert theirs.recv(10_000) == b"abcde" * (7 + window)


def test_more_acknowledgements_than_messages_fail(wire):
    ours, theirs = wire
    sender = Answered(repeated(b"x", 2), ByteReader(ours, 4))
    theirs.sendall(b"ack." * 3)
    with pytest.raises(Unexpected):
        sender.read()


# --- runs ------------------------------------------------------------------------------------


class Idle:
    def cpu(self):
        return load.Cpu(0.0, 0.0)


def delivered(wire, count):
    """A run of ten messages, of which the reader gets *count*."""
    ours, theirs = wire
    theirs.sendall(b"abcd" * count)
    out, _peer = socket.socketpair()
    with out, _peer:
        return load.direct(Idle(), [Sender(out, repeated(b"x", 10))], [ByteReader(ours, 4)])


def test_a_run_that_delivers_all_is_measured(wire):
    assert delivered(wire, 10).deliveries == 10


def test_a_run_that_delivers_too_much_fails(wire):
    with pytest.raises(load.Stuck):
        delivered(wire, 11)


def test_a_run_that_delivers_too_little_fails(wire, monkeypatch):
    monkeypatch.setattr(load, "MOST_SECONDS", 0.1)
    monkeypatch.setattr(load, "QUIET", 0.01)
    with pytest.raises(load.Stuck):
        delivered(wire, 9)


def test_a_broadcast_that_delivers_too_much_fails(wire):
    ours, theirs = wire
    theirs.sendall(b"abcd" * 11)
    out, _peer = socket.socketpair()
    with out, _peer, pytest.raises(load.Stuck):
        load.broadcast(Idle(), [Sender(out, repeated(b"x", 10))], [ByteReader(ours, 4)], ())


def test_the_slowest_reader_counts():
    class Counted:
        counted = 0

    readers = [Counted() for _ in range(3)]
    slowest = load._Slowest(readers)
    seen = []
    for at in (0, 1, 0, 2, 1, 2, 0):
        readers[at].counted += 1
        seen.append(slowest.counted())
    assert seen == [0, 0, 0, 1, 1, 2, 2]


def test_the_parent_hears_of_what_failed():
    @contextmanager
    def fails():
        def run(messages):
            raise load.Stuck(f"{messages} are missing")

        yield run

    with child(fails) as loader, pytest.raises(Failed, match="7 are missing"):
        loader.run(7)


def kill(process):
    process.kill()
    process.join()


@contextmanager
def nothing():
    yield lambda messages: messages


def test_a_load_that_was_killed_between_two_runs_has_failed():
    with child(nothing) as loader:
        loader.run(1)
        kill(*multiprocessing.active_children())
        with pytest.raises(Failed, match="has ended"):
            loader.run(1)


def test_a_load_that_was_killed_before_it_took_its_order_has_failed():
    with child(nothing) as loader:
        (process,) = multiprocessing.active_children()
        os.kill(process.pid, signal.SIGSTOP)
        loader._connection.send(1)
        kill(process)
        with pytest.raises(Failed, match="has ended"):
            loader.take()


def test_the_parent_hears_of_what_could_not_be_set_up():
    @contextmanager
    def refuses():
        raise ConnectionError("nobody there")
        yield

    with pytest.raises(Failed, match="nobody there"), child(refuses):
        pass


def test_the_classic_server_delivers_everything():
    with servers.classic() as server:
        with pairs(Classic(), server, 5) as crowd:
            assert crowd.direct(300).deliveries == 5 * 300
            assert crowd.direct(300).deliveries == 5 * 300
        with audience(Classic(), server, 8, 7) as crowd:
            assert crowd.broadcast(200).deliveries == 8 * 200 * 7
        with pairs(Classic(), server, 1) as crowd:
            assert len(crowd.latency(10).delivered) == 10


REAL = {
    "nats": (servers.NATS, servers.nats, nats.Core),
    "jetstream": (servers.NATS, servers.jetstream, nats.JetStream),
    "redis": (servers.REDIS, servers.redis, redis.PubSub),
    "streams": (servers.REDIS, servers.streams, redis.Streams),
    "mosquitto": (servers.MOSQUITTO, servers.mosquitto, partial(mqtt.Mqtt, 0)),
    "mosquitto QoS 1": (servers.MOSQUITTO, servers.mosquitto_persistent, partial(mqtt.Mqtt, 1)),
    "ngircd": (servers.NGIRCD, servers.ngircd, Irc),
}


@pytest.mark.parametrize("name", REAL)
def test_another_server_delivers_everything(name):
    package, serving, speech = REAL[name]
    if servers.found(package) is None:
        pytest.skip(f"{package.binary} is not installed")
    with serving() as server, pairs(speech(), server, 3) as crowd:
        assert crowd.direct(200).deliveries == 3 * 200
        assert crowd.direct(100).deliveries == 3 * 100


# --- what is said of it ----------------------------------------------------------------------


def rows(rate, cost):
    run = {"messages": 10, "seconds": 1.0, "load_cpu": 0.1, "fetches": 0}
    return [run | {"deliveries": rate, "cpu": cost * rate} for _ in range(3)]


MADE_UP = Result(
    "broadcast100",
    {"measured": "today"},
    [
        Measured(ONE, "acknowledged", rows(3_000_000, 0.1e-6)),
        Measured(NATS, "not", rows(1_500_000, 0.2e-6)),
        Measured(MOSQUITTO, "not", rows(1_000_000, 0.5e-6)),
    ],
)


def test_goals_are_told_whether_they_hold():
    assert [aim.holds for aim in MADE_UP.aims()] == [True, True, False]
    assert "does not hold" in for_terminal(MADE_UP)


def test_a_picture_names_its_rows(tmp_path):
    pytest.importorskip("matplotlib")
    from bench.peers import plots

    plots.draw(MADE_UP, tmp_path / "bars.svg")
    text = "".join(ElementTree.parse(tmp_path / "bars.svg").getroot().itertext())
    for row in MADE_UP.rows:
        assert row.name in text


def test_a_goal_without_its_rows_is_not_measured():
    alone = MADE_UP._replace(rows=MADE_UP.rows[:1])
    assert all("not measured" in aim.found and not aim.holds for aim in alone.aims())


def test_results_are_kept_by_work(tmp_path):
    file = tmp_path / "results.json"
    other = MADE_UP._replace(name="broadcast1000")
    save(file, [MADE_UP])
    save(file, [other])
    assert load_results(file) == [MADE_UP, other]


OTHER = {
    "ratios of the other benchmark": '{"version": "1.2.3", "quick": false, "ratios": {}}',
    "a work that is not known": '[{"name": "song", "facts": {}, "rows": []}]',
    "a row of another kind": '[{"name": "memory", "facts": {}, "rows": [{"speed": 1}]}]',
    "no JSON": "hello",
}


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER)
@pytest.mark.parametrize("option", ["--save", "--render"])
def test_a_file_with_something_else_is_refused_before_anything_is_measured(
    monkeypatch, capsys, tmp_path, option, text
):
    file = tmp_path / "other.json"
    file.write_text(text)
    assert refused(monkeypatch, capsys, option, file) == (
        f"{option}: {file} holds something else than runs of this benchmark; choose another file"
    )
    assert file.read_text() == text


def test_a_file_that_is_not_there_cannot_be_rendered(monkeypatch, capsys, tmp_path):
    file = tmp_path / "none.json"
    said = refused(monkeypatch, capsys, "--render", file)
    assert said == f"--render: {file}: No such file or directory"


def refused(monkeypatch, capsys, option, file):
    """What the last line says of *file*."""
    monkeypatch.setattr(command, "find_spec", lambda name: name)
    monkeypatch.setattr(sys, "argv", ["bench.peers", "memory", option, str(file)])
    with pytest.raises(SystemExit, match="2"):
        command._options()
    return capsys.readouterr().err.splitlines()[-1].partition("error: ")[2]


def test_a_server_that_cannot_be_had_is_named_with_the_reason(monkeypatch):
    def absent():
        raise servers.Absent("no apt-get")

    monkeypatch.setitem(SERVERS, "ngircd", absent)
    result = measure(WORKS["memory"], Plan(1, 0.02, 1), ["ngircd", "classic"])
    assert "not measured: no apt-get" in for_terminal(result)
    assert "not measured: no apt-get" in for_docs(result)
    assert [row.missing for row in result.rows if row.runs] == [""]


@pytest.mark.parametrize(
    ("program", "reason"), [("#!/bin/sh\nexit 1\n", "ended with 1"), ("\0", "cannot be run")]
)
def test_a_server_that_does_not_start_is_named_with_the_reason(
    monkeypatch, tmp_path, program, reason
):
    shim = tmp_path / f"ircd-{len(program)}"  # What was found is found once, by its name.
    shim.write_text(program)
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(servers, "NGIRCD", servers.Package(shim.name, shim.name, "--version"))
    result = measure(WORKS["memory"], Plan(1, 0.02, 1), ["ngircd", "classic"])
    assert f"not measured: {reason}" in for_terminal(result)
    assert list(result.runs()) == [CLASSIC]
    assert "ngircd of an unknown version" in result.facts["versions"]


def test_a_row_that_fails_is_named(monkeypatch):
    monkeypatch.setattr(load, "MOST_SECONDS", 0.0)
    with pytest.raises(Failed, match=r"^memory, classic chat server: Stuck"):
        measure(WORKS["memory"], Plan(1, 0.02, 1), ["classic"])


def test_a_package_that_is_not_there_and_cannot_be_installed_is_absent(monkeypatch):
    monkeypatch.setattr(servers.shutil, "which", lambda *_, **__: None)
    with pytest.raises(servers.Absent):
        servers.program(servers.Package("no-such-server", "no-such-package", "--version"))


def test_what_could_not_be_installed_is_not_tried_again(monkeypatch):
    tried = []

    def fails(debian):
        tried.append(debian)
        raise servers.Absent("no network")

    monkeypatch.setattr(servers, "_install", fails)
    package = servers.Package("not-tried-again", "not-tried-again", "--version")
    for _ in range(2):
        with pytest.raises(servers.Absent, match="no network"):
            servers.program(package)
    assert tried == ["not-tried-again"]


def test_the_page_shows_the_results_that_are_kept():
    page = PAGE.read_text()
    assert filled(page, load_results(KEPT)) == page
