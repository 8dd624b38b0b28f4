"""The edge: sockets, the poll loop, signals, descriptors.  The only module that imports zmq.

It performs what the core wants and decides nothing.  Settings and rules are those of
docs/architecture.md, "Sockets".
"""

from __future__ import annotations

import ctypes
import errno
import gc
import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import zmq

from ..wire.errors import BadName, Code
from ..wire.limits import MAX_FRAME
from ..wire.messages import GREETING_TOPIC
from ..wire.names import canonical_name
from . import opening
from .config import Config, StartError
from .control import Desk
from .core import Broker
from .counts import Vitals
from .descriptors import Descriptors
from .effects import Deliver, Effect, Note, Publish
from .journal import Journal
from .notify import Notifier
from .user import Settings

log = logging.getLogger("chatbroker")

# As plain ints: to put members of an Enum together costs more than a send.
FIRST, LAST = int(zmq.SNDMORE | zmq.NOBLOCK), int(zmq.NOBLOCK)

MOST_BYTES = 256 * 1024
"""Bytes drained in one turn, so that a turn of full frames is not a tenth of a second: who is
acknowledged early sends on while the rest is handled."""

MOST_SECONDS = 0.05
"""Seconds after which no further frame is begun in a turn: a frame may hold thousands of tiny
questions, and others wait for their answers."""

MOST_GONE = 10_000
"""Connections remembered to be gone, whose last frames are not looked at."""

MOST_FRAMES = 512
"""Frames drained in one turn: enough to share one commit, few enough to stay responsive."""

STALL = 1.0
"""Seconds lost in a turn that are worth a warning; less is a busy machine."""

BEHIND = 2000
"""Milliseconds by which the wall clock may be behind the stamps of messages without a word."""

STOP_WITHIN = 1.6
"""Seconds after which a stop that peers hold up is cut short."""

LAST_TURNS = 0.3
"""Seconds for which a broker that stops goes on taking what clients have under way."""

IN_FLIGHT = 20
"""Milliseconds without a frame after which nothing more is taken to be under way."""

READ_GOODBYE = 0.2
"""Seconds between the last frames to clients and the end of their connections."""

# ROUTER_NOTIFY and the like are draft options that the wheel of pyzmq lacks: the broker learns
# that a peer is gone when it sends to it (ROUTER_MANDATORY) or by its silence.
OPTIONS: dict[int, int] = {
    zmq.BACKLOG: 4096,
    zmq.HANDSHAKE_IVL: 10_000,
    zmq.TCP_MAXRT: 10_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.LINGER: 1000,
}
ROUTER_OPTIONS = OPTIONS | {
    zmq.ROUTER_MANDATORY: 1,
    zmq.ROUTER_HANDOVER: 0,
    # Frames of at most MAX_FRAME, so 4 MiB from one that sends faster than it is heard; then
    # TCP holds it back.
    zmq.RCVHWM: 64,
    # Frames of FRAME_TARGET, so 2 MiB for one that does not read.  What it would be pushed
    # beyond that it fetches; a reader that keeps up has far less under way.
    zmq.SNDHWM: 128,
    zmq.MAXMSGSIZE: MAX_FRAME,
}
# What a subscriber sends is subscriptions, and topics are short.
PUB_OPTIONS = OPTIONS | {zmq.SNDHWM: 1000, zmq.MAXMSGSIZE: 1024}


def _seed_routing_ids() -> None:
    """libzmq draws routing ids from libc's rand() and never seeds it: the ids of a process
    would be the same at every start, and an id is all that tells connections apart."""
    ctypes.CDLL(None).srand(int.from_bytes(os.urandom(4), "little"))


class Server:
    """One broker on its two sockets.

    Binds when made, then opens its journal: brokers keep their data apart by port.  Raises
    StartError or JournalError if it cannot.
    """

    def __init__(
        self,
        config: Config,
        open_journal: Callable[[Config, int], Journal] = opening.open_journal,
        notifier: Notifier | None = None,
    ) -> None:
        _seed_routing_ids()
        self._descriptors = Descriptors()
        self._context = zmq.Context()
        try:
            self._router = self._bind(zmq.ROUTER, ROUTER_OPTIONS, config.host, config.port)
            self.port = _port(self._router)
            self._pub = self._bind(
                zmq.PUB, PUB_OPTIONS, config.host, config.pub_port_for(self.port)
            )
            self._journal = open_journal(config, self.port)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self.address = _endpoint(config.host, self.port)
        self.pub_address = _endpoint(config.host, _port(self._pub))
        settings = Settings(
            pub_port=_port(self._pub),
            heartbeat=config.heartbeat,
            lease=config.lease,
            grace=config.grace,
            claim_ttl=config.claim_ttl,
        )
        try:
            self._core = Broker(settings, self._journal, os.urandom)
        except BaseException:
            self._journal.close()
            self._context.destroy(linger=0)
            raise
        self.counts = self._core.counts
        self._notifier = notifier or Notifier({})
        self._poller = zmq.Poller()
        self._desk = self._open_desk(config)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._stopping = ""
        self._turned = time.monotonic()
        """When the last turn began."""
        self._discarding = False
        """Whether the next part belongs to a message that was refused."""
        self._gone: dict[bytes, None] = {}
        """The connections that were found to be gone last.  What they said before may still
        come, frame by frame, and nobody would hear an answer."""
        self._heard = 0
        """Frames since every connection that had something to say was last heard."""
        self._clock_is_behind = False

    def _open_desk(self, config: Config) -> Desk | None:
        """Where an operator may ask; None where there is no folder to meet in."""
        folder = opening.folder_for(config, self.port)
        if folder is None or not self._journal.durable:
            return None
        poller = self._poller
        return Desk(folder, lambda sock: poller.register(sock, zmq.POLLIN), poller.unregister)

    def _bind(self, kind: int, options: dict[int, int], host: str, port: int) -> zmq.Socket[bytes]:
        sock: zmq.Socket[bytes] = self._context.socket(kind)
        for option, value in options.items():
            sock.setsockopt(option, value)
        if kind == zmq.PUB:
            sock.setsockopt(zmq.XPUB_WELCOME_MSG, GREETING_TOPIC)
        if ":" in host:
            sock.setsockopt(zmq.IPV6, 1)
        endpoint = _endpoint(host, port)
        try:
            sock.bind(
                _endpoint(_resolve(host), port) if port else f"{_endpoint(_resolve(host), 0)[:-1]}*"
            )
        except (zmq.ZMQError, OSError) as error:
            number = error.errno if error.errno is not None else 0
            reason = os.strerror(number).lower() if number in errno.errorcode else str(error)
            if isinstance(error, socket.gaierror) or number == errno.ENODEV:
                reason = "no such address on this machine"
            hint = " (for broadcasts; --pub-port chooses another)" if kind == zmq.PUB else ""
            raise StartError(f"cannot listen on {endpoint}: {reason}{hint}") from None
        return sock

    # --- the loop -------------------------------------------------------------------------

    def run(self) -> None:
        """Serves until `stop` is called or, on the main thread, SIGTERM or SIGINT arrives."""
        poller = self._poller
        poller.register(self._router, zmq.POLLIN)
        # A PUB socket gives nothing to read, but accepts connections, takes subscriptions and
        # frees what is gone only when its owner calls in.
        poller.register(self._pub, zmq.POLLIN)
        poller.register(self._wake_reader, zmq.POLLIN)
        gc.collect()
        gc.freeze()
        core, notifier = self._core, self._notifier
        drained, held = True, False
        serving = f"serving at {self.address}"
        notifier.ready(serving)
        while not self._stopping:
            pause = min(core.pause, notifier.interval)
            ready = poller.poll(max(0, math.ceil(pause * 1000)) if drained else 0)
            if any(sock == self._wake_reader.fileno() for sock, _ in ready):
                self._wake_reader.recv(4096)  # Any signal writes here, also one of others.
            drained = self._turn()
            if core.held != held:
                # While nothing can be stored nothing is taken, and TCP holds the senders back.
                held = core.held
                poller.modify(self._router, 0 if held else zmq.POLLIN)
                notifier.status(f"cannot store: {core.held_because}" if held else serving)
            core.tidy()
            core.accept_sessions(self._descriptors.enough())
            notifier.alive(self._turned)
        self._stop()

    def _turn(self) -> bool:
        """One turn; True if nothing is left to be drained that may be."""
        core = self._core
        self._begin()
        drained = core.held or self._drain()
        if self._desk is not None:
            self._desk.hear(None if core.held else self._carry_out)
        self._perform(core.commit(not core.held and self._all_heard(drained)))
        if self._desk is not None and not core.held:
            self._desk.tell()
        return drained

    def _carry_out(self, request: dict[str, Any]) -> dict[str, Any]:
        """Does what an operator asks for; the answer, which is told when it is stored."""
        name = request.get("name")
        if request.get("do") != "release" or not isinstance(name, str):
            return {"ok": False, "words": "this broker cannot do that"}
        try:
            known = self._core.release(canonical_name(name))
        except BadName as error:
            return {"ok": False, "words": str(error)}
        return {"ok": True} if known else {"ok": False, "words": f"nobody has the name {name!r}"}

    def stop(self, why: str = "asked") -> None:
        """Makes `run` return soon.  May be called from any thread and from signal handlers."""
        self._stopping = why
        try:
            self._wake_writer.send(b"\0")
        except OSError:
            # Full of earlier calls, which wake it just as well; or closed, and it has stopped.
            return

    def _begin(self) -> None:
        self._turned = now = time.monotonic()
        stalled = self._core.begin(now, time.time_ns() // 1_000_000)
        if stalled:
            level = logging.WARNING if stalled > STALL else logging.INFO
            log.log(level, "stalled seconds=%.1f: leases were extended by as much", stalled)
        behind = self._core.clock_behind
        if (behind > BEHIND) != self._clock_is_behind:
            self._clock_is_behind = behind > BEHIND
            if behind > BEHIND:
                words = "the system's clock stepped back; messages keep the newest time there is"
                log.warning("clock behind=%.0f s: %s until it catches up", behind / 1000, words)
            else:
                log.warning("clock behind=0 s: messages get the system's time again")

    def _all_heard(self, drained: bool) -> bool:
        """Whether each connection has been heard since this was last so.

        ZeroMQ takes a frame from each that has one in turn.  So they all have been when there
        were as many frames as there can be connections, even if they never end.
        """
        all_heard = drained or self._heard > self._descriptors.used
        if all_heard:
            self._heard = 0
        return all_heard

    def _drain(self) -> bool:
        """Hands waiting frames to the core; True if none is left."""
        receive, core = self._router.recv, self._core
        size = 0
        until = time.monotonic() + MOST_SECONDS
        for _ in range(MOST_FRAMES):
            if size > MOST_BYTES or core.full or time.monotonic() > until:
                break
            while self._discarding and time.monotonic() < until:
                # The rest of a message of several parts.  There may be millions, and ROUTER
                # gives nothing else before their end.
                self._discarding = receive(0, False).more
            if self._discarding:
                break
            try:
                identity = receive(zmq.NOBLOCK)
            except zmq.Again:
                return True
            self._heard += 1
            # A Frame knows whether more follows; asking the socket costs twice as much.
            part = receive(0, False)
            frame = part.bytes
            size += len(frame)
            if part.more:
                self._discarding = True
            if identity in self._gone:
                continue
            if part.more:
                core.reject(identity, Code.BAD_FRAME, "a message is one part")
            elif _is_own(identity):
                core.reject(identity, Code.BAD_IDENTITY, "set no routing id of your own")
            else:
                core.receive(identity, frame)
        return False

    def _perform(self, effects: list[Effect]) -> None:
        deliver, publish = self._router.send, self._pub.send
        first, last = FIRST, LAST
        # What is frequent is not counted one by one.
        published = others = 0
        for effect in effects:
            if type(effect) is Deliver:
                try:
                    deliver(effect.identity, first)
                    deliver(effect.frame, last)
                except zmq.Again:
                    # Full: skip.  The log has the events, and a PING brings the rest again.
                    self.counts.skipped += 1
                    others += 1
                except zmq.ZMQError as error:
                    if error.errno != zmq.EHOSTUNREACH:
                        raise
                    self._lost(effect.identity)
                    others += 1
            elif type(effect) is Publish:
                publish(effect.topic, first)
                publish(effect.frame, last)
                published += 1
            elif type(effect) is Note:
                level = logging.WARNING if effect.grave else logging.INFO
                fields = " ".join(f"{k}={v}" for k, v in effect.fields.items())
                log.log(level, "%s %s", effect.what, fields)
                others += 1
        self.counts.published += published
        self.counts.delivered += len(effects) - published - others

    def _lost(self, identity: bytes) -> None:
        self._core.lost(identity)
        if not _is_own(identity):
            self._gone[identity] = None  # Such an id does not come again.
        if len(self._gone) > MOST_GONE:
            del self._gone[next(iter(self._gone))]

    # --- stopping -------------------------------------------------------------------------

    def _stop(self) -> None:
        """Drain, commit, acknowledge, say goodbye, flush.

        It does not unbind first: libzmq ends the connections of a listener with it, before
        the goodbye could leave.
        """
        self._notifier.stopping()
        log.info("stopping reason=%s skipped=%d", self._stopping, self.counts.skipped)
        until = time.monotonic() + LAST_TURNS
        more = True
        while more and time.monotonic() < until:
            self._turn()
            more = not self._core.held and self._router.poll(IN_FLIGHT) != 0
        self._begin()
        goodbyes = self._core.shutdown()
        self._perform(goodbyes)
        if goodbyes:
            # A DEALER with IMMEDIATE drops what it has received and not yet read when its
            # connection ends (libzmq 4.3.5): leave its owner the time to read.
            time.sleep(READ_GOODBYE)
        self.close()
        log.info("stopped")

    def close(self) -> None:
        """Closes the journal and the sockets; what is queued for peers gets LINGER to leave.
        Again: nothing."""
        if self._context.closed:
            return
        if self._desk is not None:
            self._desk.close()
        self._notifier.close()
        self._journal.close()
        self._router.close()
        self._pub.close()
        self._wake_reader.close()
        self._wake_writer.close()
        self._context.term()

    def vitals(self) -> Vitals:
        """How the broker is.  May be called from any thread, and when it is stuck."""
        core, descriptors = self._core, self._descriptors
        return Vitals(
            self._turned, core.held_because, core.census(), descriptors.used, descriptors.limit
        )

    @contextmanager
    def signals(self, cut_short: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Turns SIGTERM and SIGINT into `stop`.  Main thread only.

        *cut_short* is called when peers hold up the stop and the process is ended for it."""

        # What is stored is stored; a peer that does not read may hold up the rest.
        def end() -> None:
            cut_short()
            os._exit(0)

        watchdog = threading.Timer(STOP_WITHIN, end)
        watchdog.daemon = True

        def handle(number: int, frame: FrameType | None) -> None:
            first = not self._stopping
            self.stop(signal.Signals(number).name)
            if first:
                watchdog.start()

        # A handler alone does not end poll(): Python resumes the wait after it.
        previous = signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        handlers = {
            number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            watchdog.cancel()
            signal.set_wakeup_fd(previous)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _is_own(identity: bytes) -> bool:
    """Whether a client chose its routing id itself: ZeroMQ's are a NUL and four bytes."""
    return len(identity) != 5 or identity[0] != 0


def _resolve(host: str) -> str:
    """*host* as an address: ZeroMQ binds to numbers and interfaces, not to names."""
    if host in ("*", "0.0.0.0", "::"):
        return host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    return str(found[0][4][0])


def _endpoint(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _port(sock: zmq.Socket[bytes]) -> int:
    return int(_bound_to(sock).rpartition(":")[2])


def _bound_to(sock: zmq.Socket[bytes]) -> str:
    endpoint = sock.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)  # By the option's type; for the type checker.
    return endpoint.rstrip(b"\0").decode()
