"""The edge: the poll loop, signals, descriptors; ``sockets`` and ``gate`` are its parts.

It performs what the core wants and decides nothing.  Settings and rules are those of
docs/architecture.md, "Sockets".
"""

from __future__ import annotations

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
from ..wire.names import canonical_name
from . import opening
from .config import Config
from .connections import Connection, Connections
from .control import Desk
from .core import Broker
from .descriptors import Descriptors
from .effects import Deliver, Effect, Note, Publish
from .journal import Journal
from .origin import Origin
from .sockets import bind_pub, bind_router, endpoint, port_of, seed_routing_ids
from .user import Settings
from .watch import Watch

log = logging.getLogger("chatbroker")

# As plain ints: to put members of an Enum together costs more than a send.
FIRST, LAST = int(zmq.SNDMORE | zmq.NOBLOCK), int(zmq.NOBLOCK)

MOST_BYTES = 256 * 1024
"""Bytes drained in one turn, so that a turn of full frames is not a tenth of a second: who is
acknowledged early sends on while the rest is handled."""

MOST_SECONDS = 0.05
"""Seconds after which no further frame is begun in a turn: a frame may hold thousands of tiny
questions, and others wait for their answers."""

MOST_PARTS = 16
"""Parts of a message that are taken out before its sender is cut off: there may be millions."""

MOST_QUIET = 60.0
"""Seconds for which a connection may say nothing, or four leases if that is more."""

MOST_GONE = 10_000
"""Connections remembered to be gone, whose last frames are not looked at."""

NO_FD = -1

GONE = Connection(NO_FD, Origin(), "")
"""Stands for any of those."""

MOST_SUBSCRIPTIONS = 16
"""Topics that one connection may subscribe to, those that it gave up again included.  There
are three."""

SUBSCRIBED, UNSUBSCRIBED = b"\1", b"\0"
"""How what an XPUB hands on begins."""

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


class Server:
    """One broker on its two sockets.

    Binds when made, then opens its journal: brokers keep their data apart by port.  Raises
    StartError or JournalError if it cannot.
    """

    def __init__(
        self,
        config: Config,
        open_journal: Callable[[Config, int], Journal] = opening.open_journal,
    ) -> None:
        seed_routing_ids()
        self._descriptors = Descriptors()
        self._context = zmq.Context()
        try:
            self._router = bind_router(self._context, config.host, config.port, None)
            self.port = port_of(self._router)
            pub_port = config.pub_port_for(self.port)
            self._pub = bind_pub(self._context, config.host, pub_port, None)
            self._journal = open_journal(config, self.port)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self.address = endpoint(config.host, self.port)
        self.pub_address = endpoint(config.host, port_of(self._pub))
        settings = Settings(
            pub_port=port_of(self._pub),
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
        self._poller = zmq.Poller()
        self._desk = self._open_desk(config)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._stopping = ""
        self._skipped = 0
        self._discarding: Connection | None = None
        """Whose message of several parts is being taken out."""
        self._parts = 0
        """How many of its parts were."""
        self._connections = Connections()
        self._watch = Watch(
            self._connections,
            self.port,
            settings.pub_port,
            self._descriptors.limit,
            max(MOST_QUIET, 4 * config.lease),
        )
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

    # --- the loop -------------------------------------------------------------------------

    def run(self) -> None:
        """Serves until `stop` is called or, on the main thread, SIGTERM or SIGINT arrives."""
        poller = self._poller
        poller.register(self._router, zmq.POLLIN)
        # It accepts connections and frees what is gone only when its owner calls in.
        poller.register(self._pub, zmq.POLLIN)
        poller.register(self._wake_reader, zmq.POLLIN)
        gc.collect()
        gc.freeze()
        core = self._core
        drained, held = True, False
        while not self._stopping:
            ready = self._wait(core.pause) if drained else poller.poll(0)
            if any(sock == self._wake_reader.fileno() for sock, _ in ready):
                self._wake_reader.recv(4096)  # Any signal writes here, also one of others.
            drained = self._turn()
            if core.held != held:
                # While nothing can be stored nothing is taken, and TCP holds the senders back.
                held = core.held
                poller.modify(self._router, 0 if held else zmq.POLLIN)
            core.tidy()
            self._connections.tidy(time.monotonic())
            self._watch.look(time.monotonic(), drained and not core.held)
            core.accept_sessions(self._descriptors.enough())
        self._stop()

    def _wait(self, seconds: float) -> list[tuple[Any, int]]:
        """Waits until something comes in, for *seconds* at most, and watches meanwhile."""
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            ready = self._poller.poll(max(0, math.ceil(min(left, self._watch.pause) * 1000)))
            now = time.monotonic()
            if ready or now >= until:
                return ready
            self._watch.look(now, not self._core.held)

    def _turn(self) -> bool:
        """One turn; True if nothing is left to be drained that may be."""
        core = self._core
        self._begin()
        self._hear_subscribers()
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
        now = time.monotonic()
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
        callers = self._connections.callers
        size = 0
        until = time.monotonic() + MOST_SECONDS
        for _ in range(MOST_FRAMES):
            if size > MOST_BYTES or core.full or time.monotonic() > until:
                break
            if self._discarding is not None and not self._discard(self._discarding, until):
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
            if identity in self._gone:
                caller = GONE
            else:
                caller = callers.get(identity) or self._connections.meet(identity, _meet(part))
            caller.frames += 1
            caller.taken += len(frame) + (2 if len(frame) < 256 else 9)
            if part.more:
                self._discarding, self._parts = caller, 1
            if caller is GONE:
                continue
            if part.more:
                core.reject(identity, Code.BAD_FRAME, "a message is one part")
            elif caller.fd == NO_FD:
                core.reject(identity, Code.BAD_FRAME, "ZMTP 3 is needed")
            elif _is_own(identity):
                core.reject(identity, Code.BAD_IDENTITY, "set no routing id of your own")
            else:
                core.receive(identity, frame, caller.origin)
        return False

    def _discard(self, caller: Connection, until: float) -> bool:
        """Takes out the rest of *caller*'s message of several parts; whether it has ended.

        ROUTER gives nothing else before its end."""
        receive = self._router.recv
        while time.monotonic() < until:
            if self._parts < MOST_PARTS:
                part = receive(0, False)
                self._parts += 1
                caller.taken += len(part) + (2 if len(part) < 256 else 9)
                more = part.more
            else:
                # There may be millions, at a microsecond each: nothing else is done here.
                for _ in range(256):
                    more = receive(0, False).more
                    if not more:
                        break
            if not more:
                self._discarding = None
                return True
            if self._parts == MOST_PARTS:
                self._watch.cut(caller, "a message had many parts")
        return False

    def _hear_subscribers(self) -> None:
        """Takes what came from SUBs: subscriptions, which ZeroMQ has carried out already."""
        subscribers = self._connections.subscribers
        for _ in range(MOST_FRAMES):
            try:
                part = self._pub.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            said, lone = part.bytes, not part.more
            while part.more:
                part = self._pub.recv(zmq.NOBLOCK, copy=False)
            if lone and said[:1] == UNSUBSCRIBED:
                # Also what ZeroMQ says itself of a connection that is gone.
                continue
            fd = _descriptor_of(part)
            if fd == NO_FD:
                continue  # To the watch it is one that says nothing.
            known = subscribers.get(fd)
            if known is None or not known.stands:
                known = subscribers[fd] = _meet(part)
            known.subscriptions += 1
            if not lone or said[:1] != SUBSCRIBED or known.subscriptions > MOST_SUBSCRIPTIONS:
                self._watch.cut(known, "no subscription, or one too many")

    def _perform(self, effects: list[Effect]) -> None:
        deliver, publish = self._router.send, self._pub.send
        first, last = FIRST, LAST
        for effect in effects:
            if type(effect) is Deliver:
                try:
                    deliver(effect.identity, first)
                    deliver(effect.frame, last)
                except zmq.Again:
                    # Full: skip.  The log has the events, and a PING brings the rest again.
                    self._skipped += 1
                except zmq.ZMQError as error:
                    if error.errno != zmq.EHOSTUNREACH:
                        raise
                    self._lost(effect.identity)
            elif type(effect) is Publish:
                publish(effect.topic, first)
                publish(effect.frame, last)
            elif type(effect) is Note:
                log.info(
                    "%s %s", effect.what, " ".join(f"{k}={v}" for k, v in effect.fields.items())
                )

    def _lost(self, identity: bytes) -> None:
        self._core.lost(identity)
        self._connections.callers.pop(identity, None)
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
        log.info("stopping reason=%s skipped=%d", self._stopping, self._skipped)
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
        self._watch.close()
        self._journal.close()
        self._router.close()
        self._pub.close()
        self._wake_reader.close()
        self._wake_writer.close()
        self._context.term()

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


def _meet(part: zmq.Frame) -> Connection:
    """The connection that *part* came by."""
    fd = _descriptor_of(part)
    if fd == NO_FD:
        return Connection(NO_FD, Origin(), "")
    try:
        address = str(part.get("Peer-Address"))
    except zmq.ZMQError:
        address = ""  # It was gone before ZeroMQ asked.
    return Connection(fd, Origin(address), "")


def _descriptor_of(part: zmq.Frame) -> int:
    """NO_FD if ZeroMQ does not tell: the peer speaks ZMTP 2 or older."""
    try:
        return int(part.get(zmq.SRCFD))
    except zmq.ZMQError:
        return NO_FD


def _is_own(identity: bytes) -> bool:
    """Whether a client chose its routing id itself: ZeroMQ's are a NUL and four bytes."""
    return len(identity) != 5 or identity[0] != 0
