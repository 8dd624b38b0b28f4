"""What Prometheus asks for: GET /metrics and GET /healthz, served by threads of their own.

The broker's loop knows nothing of it.  The numbers are read when somebody asks; only commits
and fetches are counted and timed here, around the journal.  Nothing tells a user's name.

Importing it raises ModuleNotFoundError without prometheus-client, the extra ``metrics``.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..command import VERSION
from ..wire.errors import Code
from . import opening
from .config import Config, StartError
from .counts import COMMITS, Counts, Histogram, Vitals
from .journal import CannotStore, Commit, Journal, Kept, Page
from .server import Server
from .sockets import NOWHERE, reason_of

log = logging.getLogger("chatbroker")

STUCK = 5.0
"""Seconds without a turn after which the loop is taken to be stuck; an idle one turns twice a
second."""

NOTICE_EVERY = 0.1
"""Seconds until a server that has nothing to do notices that it is to end."""

MOST_VISITORS = 16
"""Connections at a time; one more takes the place of the oldest."""

LEAVES_WITHIN = 1.0
"""Seconds in which that one is to leave."""

SLOWEST = 5.0
"""Seconds that a visitor may be silent."""

NO_REFUSALS = {Code.LEFT, Code.SHUTTING_DOWN, Code.REPLACED, Code.CANNOT_STORE, Code.STORING}
"""What the broker says of itself, and why it says goodbye."""


class MeteredJournal:
    """A journal, and how it fares."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.durable = journal.durable
        self.seconds = Histogram(COMMITS)
        """Of commits that were stored."""
        self.failures = 0
        """Attempts to commit that could not store now."""
        self.fetches = 0
        self.missed = 0
        """Events that somebody asked for and retention had dropped."""

    @property
    def size(self) -> int:
        return self._journal.size

    @property
    def in_memory(self) -> int:
        return self._journal.in_memory

    @property
    def messages(self) -> int:
        return self._journal.messages

    @property
    def most_bytes(self) -> int | None:
        return self._journal.most_bytes

    def retain(self, keep: float | None, keep_bytes: int | None) -> None:
        self._journal.retain(keep, keep_bytes)

    def load(self, fresh: bytes) -> Kept:
        return self._journal.load(fresh)

    def commit(self, commit: Commit) -> None:
        begun = time.perf_counter()
        try:
            self._journal.commit(commit)
        except CannotStore:
            self.failures += 1
            raise
        self.seconds.add(time.perf_counter() - begun)

    def settle(self) -> None:
        self._journal.settle()

    def fetch(self, log: str, after: int, budget: int) -> Page:
        page = self._journal.fetch(log, after, budget)
        self.fetches += 1
        self.missed += page.lost
        return page

    def position_at(self, log: str, time: int) -> int:
        return self._journal.position_at(log, time)

    def tidy(self, time: int) -> bool:
        return self._journal.tidy(time)

    def close(self) -> None:
        self._journal.close()


class BrokerCollector(Collector):
    """Reads the numbers when they are asked for.

    *folder*: where the data are, None for nowhere; *clock*: monotonic, in seconds.
    """

    def __init__(
        self,
        counts: Counts,
        vitals: Callable[[], Vitals],
        journal: MeteredJournal,
        folder: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts = counts
        self._vitals = vitals
        self._journal = journal
        self._folder = folder
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("chatbroker", "The version that runs.", {"version": VERSION})
        yield from self._work()
        yield from self._storage()
        yield from self._state(self._vitals())

    def _work(self) -> Iterator[Metric]:
        counts = self._counts
        yield _count("messages", "Messages that were stored.", counts.batches.total)
        sent = CounterMetricFamily(
            "chatbroker_frames_sent",
            "Frames given to ZeroMQ: for one connection, or for all who subscribed.",
            labels=["to"],
        )
        sent.add_metric(["one"], counts.delivered)
        sent.add_metric(["all"], counts.published)
        yield sent
        words = "Frames that were dropped because a pipe was full."
        yield _count("frames_skipped", words, counts.skipped)
        refused = CounterMetricFamily(
            "chatbroker_refusals", "HELLOs, commands and frames refused.", labels=["code"]
        )
        for code in Code:
            # Also those that did not happen: a rate needs a number to begin at.
            if code not in NO_REFUSALS:
                refused.add_metric([code.value], counts.refused[code])
        yield refused
        cut_off = CounterMetricFamily(
            "chatbroker_cut_off", "Connections that went too far and were cut.", labels=["reason"]
        )
        for reason, count in list(counts.cut_off.items()):
            cut_off.add_metric([reason], count)
        yield cut_off

    def _storage(self) -> Iterator[Metric]:
        journal = self._journal
        yield _histogram("commit_seconds", "How long a commit took.", journal.seconds)
        yield _histogram("commit_messages", "Messages that shared a commit.", self._counts.batches)
        words = "Attempts to store that failed and will be repeated."
        yield _count("commit_failures", words, journal.failures)
        words = "FETCHes answered: holes healed, and history that somebody looked at."
        yield _count("fetches", words, journal.fetches)
        words = "Messages that were asked for and are no longer kept."
        yield _count("messages_missed", words, journal.missed)
        yield _gauge("journal_bytes", "What messages take, as --keep-bytes counts.", journal.size)
        most = journal.most_bytes
        if most is not None:
            yield _gauge("journal_limit_bytes", "What they may take.", most)
        if self._folder is not None:
            yield _gauge("disk_free_bytes", "What is free where the data are.", _free(self._folder))

    def _state(self, vitals: Vitals) -> Iterator[Metric]:
        census = vitals.census
        sessions = GaugeMetricFamily(
            "chatbroker_sessions",
            "Sessions: live (connected), gone (may come back), lapsed (only outcomes are kept).",
            labels=["state"],
        )
        sessions.add_metric(["live"], census.live)
        sessions.add_metric(["gone"], census.gone)
        sessions.add_metric(["lapsed"], census.lapsed)
        yield sessions
        yield _gauge("users_on", "Users who are on.", census.on)
        yield _gauge("users_known", "Users, on or away.", census.known)
        yield _gauge("users_claimed", "Users whose name is kept for them.", census.claimed)
        yield _gauge("descriptors_used", "Open file descriptors.", vitals.descriptors)
        words = "Descriptors there are; from 80 % on new sessions are refused."
        yield _gauge("descriptors_limit", words, vitals.most_descriptors)
        yield _gauge("held", "1 while nothing can be stored, else 0.", bool(vitals.held))
        age = self._clock() - vitals.turned
        yield _gauge("turn_age_seconds", "Since the loop's last turn began.", age)


def _free(folder: Path) -> float:
    """Bytes that a user may still write to the disk of *folder*."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return math.nan  # Not known.  The other numbers are wanted all the more.
    return disk.f_bavail * disk.f_frsize


def _count(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(f"chatbroker_{name}", words, value)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"chatbroker_{name}", words, value)


def _histogram(name: str, words: str, histogram: Histogram) -> Metric:
    bounds = [*[format(bound, "g") for bound in histogram.bounds], "+Inf"]
    upto = accumulate(histogram.counted)
    return HistogramMetricFamily(
        f"chatbroker_{name}", words, list(zip(bounds, upto, strict=True)), histogram.total
    )


def health(vitals: Vitals, now: float) -> tuple[bool, str]:
    """Whether the broker takes messages, and in words why not.  *now*: monotonic, seconds."""
    silent = now - vitals.turned
    if silent > STUCK:
        return False, f"the loop has not turned for {silent:.0f} s"
    if vitals.held:
        return False, f"cannot store: {vitals.held}"
    return True, "ok"


class Metrics:
    """Serves the numbers of one broker.

    First it opens the broker's journal (`open_journal`), then it serves on *host* and *port*,
    0 for any free one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._journal: MeteredJournal | None = None
        self._http: _Http | None = None
        self.address = ""
        """Where it serves."""

    def open_journal(self, config: Config, port: int) -> Journal:
        """As `opening.open_journal`, and counts what is done with it."""
        self._journal = MeteredJournal(opening.open_journal(config, port))
        return self._journal

    def serve(self, server: Server, config: Config) -> None:
        """Starts to serve what is to be known of *server*.  Raises StartError."""
        assert self._journal is not None  # The server opened it.
        registry = CollectorRegistry()
        folder = opening.folder_for(config, server.port)
        registry.register(BrokerCollector(server.counts, server.vitals, self._journal, folder))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            self._http = _Http(self._host, self._port, registry, server.vitals)
        except OSError as error:
            raise StartError(
                f"cannot serve metrics on http://{host}:{self._port}: {reason_of(error)}"
                " (--metrics-port chooses another)"
            ) from None
        self.address = f"http://{host}:{self._http.server_port}/metrics"
        serve = partial(self._http.serve_forever, NOTICE_EVERY)
        threading.Thread(target=serve, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stops serving."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    # More than may be served at once: who comes while others are turned away is not left waiting
    # for its kernel to knock again, which takes a second.
    request_queue_size = 4 * MOST_VISITORS
    # Whoever does not read holds up neither the end of the broker nor the next visitor.
    block_on_close = False

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, vitals: Callable[[], Vitals]
    ) -> None:
        self.registry = registry
        self.vitals = vitals
        self._room = threading.BoundedSemaphore(MOST_VISITORS)
        self._visitors: dict[socket.socket, None] = {}
        """The oldest first."""
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Visit)

    def server_bind(self) -> None:
        # That of HTTPServer looks up the host's name, which may take long.
        try:
            TCPServer.server_bind(self)
        except TypeError:  # Python's, for a NUL in the host's name.
            raise socket.gaierror(socket.EAI_NONAME, NOWHERE) from None
        self.server_port = self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            # It may be one that says a byte now and then, and never all.
            for oldest in list(self._visitors)[:1]:
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            if not self._room.acquire(timeout=LEAVES_WITHIN):
                self.shutdown_request(request)
                return
        self._visitors[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._left(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._left(request)

    def _left(self, request: Any) -> None:
        del self._visitors[request]
        self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        gone = isinstance(sys.exception(), OSError)
        level = logging.INFO if gone else logging.ERROR
        log.log(level, "metrics visitor=%s was not answered", client_address[0], exc_info=not gone)


class _Visit(BaseHTTPRequestHandler):
    """One request."""

    server: _Http
    timeout = SLOWEST
    server_version = "chatbroker"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            text = generate_latest(self.server.registry)
            self._answer(HTTPStatus.OK, text, CONTENT_TYPE_LATEST)
        elif path == "/healthz":
            well, words = health(self.server.vitals(), time.monotonic())
            status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, f"{words}\n".encode(errors="replace"))
        else:
            self._answer_nothing()

    def _answer_nothing(self) -> None:
        self._answer(HTTPStatus.NOT_FOUND, b"there are /metrics and /healthz to GET\n")

    def __getattr__(self, name: str) -> Callable[[], None]:
        # The methods of its base's choosing: do_POST, do_HEAD and whatever else is asked for.
        if name.startswith("do_"):
            return self._answer_nothing
        raise AttributeError(name)

    def _answer(
        self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: who asks every few seconds would fill the log."""
