"""What is compared: for each work its rows, with the guarantee that each gives, and its goals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

from .. import disk, on_broker, on_forwarder
from ..load import MANY_READERS, MANY_SENDERS, Latency, Run
from ..processes import (
    Server,
    durable_broker,
    folder_on_disk,
    running_broker,
    running_forwarder,
)
from . import servers
from .lines import Classic, Irc
from .mqtt import Mqtt
from .nats import Core, JetStream
from .redis import PubSub, Streams
from .speech import Speech, audience, pairs

PAIRS = len(MANY_SENDERS)

Load = Callable[[Any], AbstractContextManager[Callable[[int], Any]]]
"""Given a server, clients that stay for all runs; gives what makes a run of so many messages."""


class Row(NamedTuple):
    """Something that is measured."""

    name: str
    peer: str
    """By which it is chosen on the command line."""
    guarantee: str
    server: str
    """Which of `SERVERS` it loads."""
    load: Load
    a_frame: int = 1
    """Messages of a sender that go together: what it sends is a multiple of them."""


class Goal(NamedTuple):
    """What the project wants of a ratio: at least *bound*, or at most."""

    what: str
    over: str
    """The name of a row."""
    under: Mapping[str, float]
    """Others, whose values are added up, each so many times."""
    measure: str
    """Of `results.MEASURES`."""
    bound: float
    at_most: bool = False
    of: str = ""
    """The measure of *under*, if it is another."""


class Work(NamedTuple):
    """Rows that are measured side by side."""

    name: str
    title: str
    rows: tuple[Row, ...]
    goals: tuple[Goal, ...]
    senders: int
    first: int
    """Messages of each sender in the first run, from which the size of the others is reckoned."""
    ours: str
    """The row that the others are compared with."""
    latency: bool = False


SERVERS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "chatbroker, in memory": running_broker,
    "chatbroker, durable": durable_broker,
    "forwarder": running_forwarder,
    "forwarder, whole": partial(running_forwarder, "whole"),
    "forwarder, flushed": partial(running_forwarder, "flushed"),
    "nats": servers.nats,
    "jetstream": servers.jetstream,
    "redis": servers.redis,
    "streams": servers.streams,
    "mosquitto": servers.mosquitto,
    "mosquitto, persistent": servers.mosquitto_persistent,
    "mosquitto, prompt": partial(servers.mosquitto, prompt=True),
    "mosquitto, persistent, prompt": partial(servers.mosquitto_persistent, prompt=True),
    "ngircd": servers.ngircd,
    "classic": servers.classic,
    "disk": folder_on_disk,
}

ONE, HUNDRED = "chatbroker, 1 a frame", "chatbroker, 100 a frame"
DURABLE_ONE, DURABLE_HUNDRED = "chatbroker durable, 1 a frame", "chatbroker durable, 100 a frame"
MEMORY, DURABLE = "chatbroker", "chatbroker durable"
FSYNCS = {"one fsync in place": disk.in_place, "one fsync, appended": disk.appended}
FORWARDER, WHOLE = "pyzmq forwarder", "pyzmq forwarder, recv_multipart"
FLUSHED = "pyzmq forwarder, fsync in place"
NATS, JETSTREAM = "nats-server", "nats-server JetStream"
REDIS, STREAMS = "redis-server pub/sub", "redis-server Streams"
MOSQUITTO, MOSQUITTO_1 = "mosquitto QoS 0", "mosquitto QoS 1"
NGIRCD, CLASSIC = "ngircd", "classic chat server"

IN_MEMORY = "acknowledged, in memory; a slow reader catches up"
ON_DISK = "acknowledged after fsync; a slow reader catches up"
NO_MESSAGES = "no messages: 4 KB written, then fdatasync"

UNACKNOWLEDGED = {
    FORWARDER: "no acknowledgement; queues without bound",
    WHOLE: "no acknowledgement; queues without bound",
    FLUSHED: "no acknowledgement, nothing stored; 4 KB written, then fdatasync, for each message",
    NATS: "no acknowledgement; a slow reader is cut off and loses messages",
    REDIS: "no acknowledgement; queues without bound, lost when a reader is away",
    MOSQUITTO: "no acknowledgement; queues without bound, lost when a reader is away",
    NGIRCD: "no acknowledgement; a slow reader is cut off and loses messages",
    CLASSIC: "no acknowledgement; queues without bound, lost when a reader is away",
}
STORED = {
    STREAMS: "acknowledged after fsync (appendfsync always)",
    JETSTREAM: "acknowledged, written to a file, fsync within 2 minutes",
    MOSQUITTO_1: "acknowledged, in memory, on disk within 30 minutes",
}
GUARANTEES = {**UNACKNOWLEDGED, **STORED}

SPEECHES: Mapping[str, tuple[str, str, Callable[[], Speech]]] = {
    NATS: ("nats", "nats", Core),
    JETSTREAM: ("nats", "jetstream", JetStream),
    REDIS: ("redis", "redis", PubSub),
    STREAMS: ("redis", "streams", Streams),
    MOSQUITTO: ("mosquitto", "mosquitto", lambda: Mqtt(0)),
    MOSQUITTO_1: ("mosquitto", "mosquitto, persistent", lambda: Mqtt(1)),
    NGIRCD: ("ngircd", "ngircd", Irc),
    CLASSIC: ("classic", "classic", Classic),
}
"""By the name of a row: its peer, its server, and how to speak with it."""


# --- loads -----------------------------------------------------------------------------------


def _anew(run: Callable[[Any, int], Run | Latency]) -> Load:
    """Of a *run* whose clients come and go with it."""
    return lambda server: nullcontext(partial(run, server))


@contextmanager
def _pairs(speech: Callable[[], Speech], server: Any) -> Iterator[Callable[[int], Run]]:
    with pairs(speech(), server, PAIRS) as crowd:
        yield crowd.direct


@contextmanager
def _audience(
    speech: Callable[[], Speech], speakers: int, fan: int, server: Any
) -> Iterator[Callable[[int], Run]]:
    with audience(speech(), server, speakers, fan) as crowd:
        yield crowd.broadcast


@contextmanager
def _alone(speech: Callable[[], Speech], server: Any) -> Iterator[Callable[[int], Latency]]:
    with pairs(speech(), server, 1) as crowd:
        yield crowd.latency


def _flushed(flush: Callable[[str, int], list[float]], folder: str, times: int) -> Latency:
    """What the disk takes by itself, which the durable broker's journal is on."""
    return Latency(flush(folder, times), [])


def _spoken(name: str, load: Callable[..., AbstractContextManager[Any]], *more: Any) -> Row:
    peer, server, speech = SPEECHES[name]
    return Row(name, peer, GUARANTEES[name], server, partial(load, speech, *more))


def _prompt(row: Row) -> Row:
    """The *row* at a server that is set for single messages, where that is another."""
    server = f"{row.server}, prompt"
    return row._replace(server=server) if server in SERVERS else row


def _ours(name: str, guarantee: str, server: str, run: Any, a_frame: int = 1) -> Row:
    return Row(name, "chatbroker", guarantee, server, _anew(run), a_frame)


def _forwarders(run: Any) -> tuple[Row, Row]:
    """In its fast form, and as one writes it at first."""
    return (
        _forwarder(FORWARDER, "forwarder", run),
        _forwarder(WHOLE, "forwarder, whole", run),
    )


def _forwarder(name: str, server: str, run: Any) -> Row:
    return Row(name, "forwarder", GUARANTEES[name], server, _anew(run))


# --- works -----------------------------------------------------------------------------------


def _broadcast(name: str, speakers: int, fan: int, first: int) -> Work:
    def ours(server: Server, messages: int, a_frame: int) -> Run:
        return on_broker.broadcast_run(server, messages, a_frame, fan, speakers)

    def forwarded(server: Server, messages: int) -> Run:
        return on_forwarder.broadcast_run(server, messages, fan, speakers)

    who = "one sender" if speakers == 1 else f"{speakers} senders"
    named = (NATS, REDIS, MOSQUITTO, NGIRCD, CLASSIC)
    return Work(
        name=name,
        title=f"Broadcast: {who}, {fan} readers that all hear all",
        rows=(
            _ours(ONE, IN_MEMORY, "chatbroker, in memory", partial(ours, a_frame=1)),
            _ours(HUNDRED, IN_MEMORY, "chatbroker, in memory", partial(ours, a_frame=100), 100),
            *_forwarders(forwarded),
            *[_spoken(name, _audience, speakers, fan) for name in named],
        ),
        goals=(
            Goal("deliveries a second, of nats-server's", ONE, {NATS: 1}, "rate", 1.5),
            Goal("CPU a delivery, of nats-server's", ONE, {NATS: 1}, "cost", 0.7, at_most=True),
            Goal("deliveries a second, of mosquitto's", ONE, {MOSQUITTO: 1}, "rate", 20),
        ),
        senders=speakers,
        first=first,
        ours=ONE,
    )


def _paired(server: Server, messages: int, a_frame: int) -> Run:
    return on_broker.direct_run(server, messages, a_frame, MANY_SENDERS, MANY_READERS)


_durable = Work(
    name="durable",
    title=f"Stored and acknowledged: {PAIRS} senders, a reader each",
    rows=(
        _ours(DURABLE_HUNDRED, ON_DISK, "chatbroker, durable", partial(_paired, a_frame=100), 100),
        _ours(DURABLE_ONE, ON_DISK, "chatbroker, durable", partial(_paired, a_frame=1)),
        *[_spoken(name, _pairs) for name in STORED],
    ),
    goals=(
        Goal("messages a second, of Streams'", DURABLE_HUNDRED, {STREAMS: 1}, "rate", 1.2),
        Goal("messages a second, of JetStream's", DURABLE_HUNDRED, {JETSTREAM: 1}, "rate", 1.2),
        Goal("messages a second, of mosquitto's", DURABLE_HUNDRED, {MOSQUITTO_1: 1}, "rate", 2),
    ),
    senders=PAIRS,
    first=1000,
    ours=DURABLE_HUNDRED,
)

_memory = Work(
    name="memory",
    title=f"Direct, in memory: {PAIRS} senders, a reader each",
    rows=(
        _ours(HUNDRED, IN_MEMORY, "chatbroker, in memory", partial(_paired, a_frame=100), 100),
        _ours(ONE, IN_MEMORY, "chatbroker, in memory", partial(_paired, a_frame=1)),
        *_forwarders(lambda server, messages: on_forwarder.direct_run(server, messages, PAIRS)),
        *[_spoken(name, _pairs) for name in (NATS, REDIS, MOSQUITTO, NGIRCD, CLASSIC)],
    ),
    goals=(
        Goal("messages a second, of mosquitto's", HUNDRED, {MOSQUITTO: 1}, "rate", 2),
        Goal("messages a second, of redis-server's", HUNDRED, {REDIS: 1}, "rate", 0.6),
        Goal("messages a second, of the forwarder's", HUNDRED, {FORWARDER: 1}, "rate", 5),
        Goal("messages a second, of that with recv_multipart", HUNDRED, {WHOLE: 1}, "rate", 5),
        Goal("messages a second, of the forwarder's", ONE, {FORWARDER: 1}, "rate", 0.8),
        Goal("messages a second, of that with recv_multipart", ONE, {WHOLE: 1}, "rate", 0.8),
    ),
    senders=PAIRS,
    first=1000,
    ours=HUNDRED,
)

_latency = Work(
    name="latency",
    title="Latency: one direct message at a time, from the send to the delivery",
    rows=(
        _ours(MEMORY, IN_MEMORY, "chatbroker, in memory", on_broker.latency_run),
        _ours(DURABLE, ON_DISK, "chatbroker, durable", on_broker.latency_run),
        *[
            Row(name, "chatbroker", NO_MESSAGES, "disk", _anew(partial(_flushed, flush)))
            for name, flush in FSYNCS.items()
        ],
        *_forwarders(on_forwarder.latency_run),
        _forwarder(FLUSHED, "forwarder, flushed", on_forwarder.latency_run),
        *[_prompt(_spoken(name, _alone)) for name in SPEECHES],
    ),
    goals=(
        Goal("p50, of the forwarder's", MEMORY, {FORWARDER: 1}, "p50", 1.6, at_most=True),
        Goal("p50, of that with recv_multipart", MEMORY, {WHOLE: 1}, "p50", 1.6, at_most=True),
        *[
            Goal(f"p50, of 1.6 times the forwarder's and {name}", DURABLE, parts, "p50", 1, True)
            for name, parts in [(name, {FORWARDER: 1.6, name: 1}) for name in FSYNCS]
        ],
        # What a sum of medians does not tell: what an fsync costs a message on its way.
        Goal(
            "p50, of the forwarder's with an fsync in place (an aim of our own)",
            DURABLE,
            {FLUSHED: 1},
            "p50",
            1.6,
            True,
        ),
        Goal("p99, of its p50", MEMORY, {MEMORY: 1}, "p99", 3, at_most=True, of="p50"),
        Goal("p99, of its p50", DURABLE, {DURABLE: 1}, "p99", 3, at_most=True, of="p50"),
    ),
    senders=1,
    first=100,
    ours=MEMORY,
    latency=True,
)

WORKS = {
    work.name: work
    for work in (
        _broadcast("broadcast100", 1, 100, 4000),
        _broadcast("broadcast1000", 1, 1000, 800),
        _broadcast("broadcasts100", 8, 100, 500),
        _durable,
        _memory,
        _latency,
    )
}

PEERS = ("chatbroker", "forwarder", "nats", "redis", "mosquitto", "ngircd", "classic")
