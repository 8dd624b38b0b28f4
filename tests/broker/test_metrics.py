"""Metrics: what is collected, and how it is served."""

from __future__ import annotations

import gc
import http.client
import logging
import math
import socket
import threading
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatbroker.broker import metrics as metrics_module
from chatbroker.broker.config import Config, StartError
from chatbroker.broker.counts import Census, Counts, Vitals
from chatbroker.broker.journal import CannotStore, Commit, Page
from chatbroker.broker.log import Row
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.metrics import (
    MOST_VISITORS,
    BrokerCollector,
    MeteredJournal,
    Metrics,
    health,
)
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.errors import Code

WITHIN = 15.0
WELL = Vitals(100.0, "", Census(5, 4, 3, 2, 8, 1), 20, 1000)


def commit(events=1):
    return Commit(rows=[Row("echo", 0, 1, events, 0, b"body")])


class BrokenJournal(MemoryJournal):
    def commit(self, commit):
        raise CannotStore("this disk is full")


@pytest.fixture
def journal():
    return MeteredJournal(MemoryJournal())


@pytest.fixture
def read(journal):
    """Collects; returns the numbers by their names and labels as they are written."""

    def collect(counts=None, vitals=WELL, journal=journal, folder=None, now=100.0):
        collector = BrokerCollector(
            counts or Counts(), lambda: vitals, journal, folder, lambda: now
        )
        return {
            sample.name + "".join(f"{{{k}={v}}}" for k, v in sample.labels.items()): sample.value
            for metric in collector.collect()
            for sample in metric.samples
        }

    return collect


# --- the journal --------------------------------------------------------------------------


def test_a_metered_journal_is_the_journal(journal):
    assert journal.durable is False
    epoch = journal.load(b"fresh").epoch
    assert epoch == b"fresh"
    journal.commit(commit())
    assert [row.body for row in journal.fetch("echo", 0, 1000).rows] == [b"body"]
    assert journal.position_at("echo", 0) == 0
    assert journal.tidy(0) is False
    assert journal.size > 4
    journal.close()
    assert journal.fetch("echo", 0, 1000).rows == ()


def test_commits_are_timed(journal, read):
    for _ in range(3):
        journal.commit(commit())
    numbers = read()
    assert numbers["chatbroker_commit_seconds_count"] == 3
    assert numbers["chatbroker_commit_seconds_bucket{le=+Inf}"] == 3
    assert numbers["chatbroker_commit_seconds_sum"] == journal.seconds.total > 0
    assert numbers["chatbroker_journal_bytes"] == journal.size == journal.in_memory


def test_commits_that_fail_are_counted_apart(read):
    journal = MeteredJournal(BrokenJournal())
    for _ in range(2):
        with pytest.raises(CannotStore):
            journal.commit(commit())
    numbers = read(journal=journal)
    assert numbers["chatbroker_commit_failures_total"] == 2
    assert numbers["chatbroker_commit_seconds_count"] == 0


def test_fetches_are_counted_and_what_they_came_too_late_for(journal, read, monkeypatch):
    monkeypatch.setattr(MemoryJournal, "fetch", lambda *_: Page(41, 41, ()))
    journal.fetch("echo", 0, 1000)
    journal.fetch("echo", 0, 1000)
    numbers = read()
    assert numbers["chatbroker_fetches_total"] == 2
    assert numbers["chatbroker_messages_missed_total"] == 82


# --- what is collected --------------------------------------------------------------------


def test_work_is_told(read):
    counts = Counts()
    counts.batches.add(1)
    counts.batches.add(700)
    counts.delivered, counts.published, counts.skipped = 3, 4, 5
    counts.refuse("no_such_user", 6)
    counts.cut("nothing was said", 7)
    numbers = read(counts)
    assert numbers["chatbroker_cut_off_total{reason=silent}"] == 7
    assert numbers["chatbroker_cut_off_total{reason=many_parts}"] == 0
    assert numbers["chatbroker_messages_total"] == 701
    assert numbers["chatbroker_frames_sent_total{to=one}"] == 3
    assert numbers["chatbroker_frames_sent_total{to=all}"] == 4
    assert numbers["chatbroker_frames_skipped_total"] == 5
    assert numbers["chatbroker_refusals_total{code=no_such_user}"] == 6
    assert numbers["chatbroker_commit_messages_bucket{le=1}"] == 1
    assert numbers["chatbroker_commit_messages_bucket{le=500}"] == 1
    assert numbers["chatbroker_commit_messages_bucket{le=1000}"] == 2
    assert numbers["chatbroker_commit_messages_sum"] == 701


def test_a_refusal_that_never_happened_is_zero_and_a_goodbye_is_none(read):
    numbers = read()
    assert numbers[f"chatbroker_refusals_total{{code={Code.BROKER_FULL.value}}}"] == 0
    assert f"chatbroker_refusals_total{{code={Code.SHUTTING_DOWN.value}}}" not in numbers


def test_state_is_told(read):
    numbers = read(now=101.5)
    assert numbers["chatbroker_sessions{state=live}"] == 5
    assert numbers["chatbroker_sessions{state=gone}"] == 4
    assert numbers["chatbroker_sessions{state=lapsed}"] == 3
    assert numbers["chatbroker_users_on"] == 2
    assert numbers["chatbroker_users_known"] == 8
    assert numbers["chatbroker_users_claimed"] == 1
    assert numbers["chatbroker_descriptors_used"] == 20
    assert numbers["chatbroker_descriptors_limit"] == 1000
    assert numbers["chatbroker_held"] == 0
    assert numbers["chatbroker_turn_age_seconds"] == 1.5
    assert read(vitals=WELL._replace(held="disk full"))["chatbroker_held"] == 1


def test_bounds_and_the_disk_are_told_where_there_are_any(read, tmp_path):
    assert "chatbroker_disk_free_bytes" not in read()
    assert read()["chatbroker_journal_limit_bytes"] == MemoryJournal().most_bytes
    with closing(SqliteJournal(tmp_path / "journal.db", keep_bytes=1000)) as on_disk:
        numbers = read(journal=MeteredJournal(on_disk), folder=tmp_path)
        assert numbers["chatbroker_journal_limit_bytes"] == 1000
        assert numbers["chatbroker_disk_free_bytes"] > 0
        # Another may hold at any time.
        on_disk.retain(None, 2000)
        assert read(journal=MeteredJournal(on_disk))["chatbroker_journal_limit_bytes"] == 2000
        on_disk.retain(None, None)
        assert "chatbroker_journal_limit_bytes" not in read(journal=MeteredJournal(on_disk))
    # A folder that is gone costs none of the other numbers.
    assert math.isnan(read(folder=tmp_path / "gone")["chatbroker_disk_free_bytes"])


# --- health -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vitals", "now", "answer"),
    [
        (WELL, 100.0, (True, "ok")),
        (WELL, 104.9, (True, "ok")),
        (WELL, 107.0, (False, "the loop has not turned for 7 s")),
        (WELL._replace(held="disk full"), 100.0, (False, "cannot store: disk full")),
    ],
)
def test_health(vitals, now, answer):
    assert health(vitals, now) == answer


# --- serving ------------------------------------------------------------------------------


class Asker:
    """Asks what is served of a broker that stands still; ``state.vitals`` is how it is."""

    def __init__(self, host="127.0.0.1", port=0):
        self.state = SimpleNamespace(vitals=WELL, counts=Counts(), port=5555)
        server = SimpleNamespace(
            counts=self.state.counts, vitals=lambda: self.state.vitals, port=5555
        )
        config = Config(memory=True)
        self.metrics = Metrics(host, port)
        self.metrics.open_journal(config, 5555)
        try:
            self.metrics.serve(server, config)
        except StartError:
            self.metrics.close()
            raise
        self.host, _, port = self.metrics.address.split("/")[2].rpartition(":")
        self.host, self.port = self.host.strip("[]"), int(port)

    def asks(self, path, method="GET", body=None):
        """Status, kind and text of the answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=WITHIN)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type"), answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def askers():
    made = []

    def make(**where):
        made.append(Asker(**where))
        return made[-1]

    yield make
    for asker in made:
        asker.metrics.close()


@pytest.fixture(scope="module")
def shared():
    asker = Asker()
    yield asker
    asker.metrics.close()


@pytest.fixture
def asker(shared):
    """One that all tests share: to close it takes half a second."""
    shared.state.vitals = WELL
    return shared


def test_metrics_are_served_as_prometheus_reads_them(asker):
    asker.state.counts.batches.add(3)
    status, kind, text = asker.asks("/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [s.value for s in families["chatbroker_messages"].samples] == [3]
    assert families["chatbroker_info"].samples[0].labels["version"]
    assert {"process_resident_memory_bytes", "python_info"} <= {*families}
    assert asker.asks("/metrics?x=1")[0] == 200


def test_health_is_served(asker):
    asker.state.vitals = WELL._replace(turned=time.monotonic())
    assert asker.asks("/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    asker.state.vitals = asker.state.vitals._replace(held="disk full")
    assert asker.asks("/healthz")[::2] == (503, "cannot store: disk full\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metricsx", "/healthz/..", "/favicon.ico"])
def test_nothing_else_is_there(asker, path):
    assert asker.asks(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"])
def test_nothing_else_can_be_done(asker, method):
    status, _, text = asker.asks("/metrics", method)
    assert status == 404
    assert bool(text) == (method != "HEAD")


def test_garbage_is_answered_and_costs_nobody_else(asker):
    for garbage in (b"\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n"):
        with socket.create_connection((asker.host, asker.port), WITHIN) as sock:
            sock.sendall(garbage)
            assert b"Error response" in sock.recv(4096)
    assert asker.asks("/metrics")[0] == 200


def test_visitors_who_say_nothing_are_bounded_and_sent_away(asker, monkeypatch):
    monkeypatch.setattr(metrics_module._Visit, "timeout", 0.2)
    before = threading.active_count()
    silent = [
        socket.create_connection((asker.host, asker.port), WITHIN)
        for _ in range(MOST_VISITORS + 10)
    ]
    try:
        assert threading.active_count() <= before + MOST_VISITORS
        assert [sock.recv(1) for sock in silent] == [b""] * len(silent)
    finally:
        for sock in silent:
            sock.close()
    all_leave(before)
    assert asker.asks("/metrics")[0] == 200


def all_leave(before):
    """There are no more threads than *before*: visitors that left are seen to have."""
    end = time.monotonic() + WITHIN
    while threading.active_count() > before:
        assert time.monotonic() < end, "the threads of those who left are still there"
        time.sleep(0.01)


def test_visitors_who_never_say_all_keep_nobody_else_out(asker):
    before = threading.active_count()
    slow = [
        socket.create_connection((asker.host, asker.port), WITHIN) for _ in range(MOST_VISITORS)
    ]
    for sock in slow:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nX-")
    try:
        for _ in range(3):
            assert asker.asks("/metrics")[0] == 200
        assert slow[0].recv(1) == b""  # The oldest left.
        slow[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            slow[-1].recv(1)
    finally:
        for sock in slow:
            sock.close()
    all_leave(before)


def test_a_bug_in_collecting_is_logged_and_ends_nothing(asker, caplog):
    asker.state.vitals = None
    with pytest.raises(http.client.RemoteDisconnected):
        asker.asks("/metrics")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    asker.state.vitals = WELL
    assert asker.asks("/metrics")[0] == 200


def test_a_port_in_use_is_told(asker, askers):
    words = rf"on http://127.0.0.1:{asker.port}: address already in use"
    with pytest.raises(StartError, match=words):
        askers(port=asker.port)


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid", "a..b", "127.0.0.1\0b"])
def test_an_address_that_is_not_here_is_told(askers, host):
    with pytest.raises(StartError, match="no such address on this machine"):
        askers(host=host)


def test_it_serves_on_ipv6(askers):
    asker = askers(host="::1")
    assert asker.metrics.address.startswith("http://[::1]:")
    assert asker.asks("/metrics")[0] == 200


def test_when_closed_nobody_is_there(askers):
    asker = askers()
    asker.metrics.close()
    with pytest.raises(ConnectionRefusedError):
        asker.asks("/metrics")
    gc.collect()  # A socket that was left open would be told now.
