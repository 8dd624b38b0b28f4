"""The edge: the poll loop, signals, descriptors; ``sockets`` and ``gate`` are its parts.

It performs what the core wants and decides nothing.  Settings and rules are those of
docs/architecture.md, "Sockets".
"""

from __future__ import annotations

import gc
import logging
import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import zmq

from ..command.local import Local
from ..wire.errors import BadName, Code
from ..wire.names import canonical_name
from . import opening
from .config import Config
from .connections import Connection, Connections
from .control import Desk
from .core import Broker
from .descriptors import Descriptors
from .effects import Deliver, Effect, Note, Publish
from .gate import HEAR, MARK, TALK, Gate
from .journal import Journal
from .origin import Origin
from .secure import ASKED, Secure
from .sockets import (
    bind_pub,
    bind_router,
    bound_to,
    endpoint,
    free_port,
    port_of,
    seed_routing_ids,
)
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

MOST_SUBSCRIPTIONS = 64
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
        self._config = config
        self._descriptors = Descriptors()
        self._context = zmq.Context()
        try:
            self._open(config, open_journal)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self._poller = zmq.Poller()
        self._desk = self._open_desk(config)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._stopping = ""
        self._skipped = 0
        self._discarding = False
        """Whether the next part belongs to a message that was refused."""
        self._connections = Connections()
        self._to_cut: deque[tuple[float, Connection]] = deque()
        """Connections that are to be cut off, and when."""
        self._gone: dict[bytes, None] = {}
        """The connections that were found to be gone last.  What they said before may still
        come, frame by frame, and nobody would hear an answer."""
        self._heard = 0
        """Frames since every connection that had something to say was last heard."""
        self._clock_is_behind = False

    def _open(self, config: Config, open_journal: Callable[[Config, int], Journal]) -> None:
        secure = gate = None
        if config.secure:
            # Its keys lie in the folder of the port, and must be there before it is bound.
            port = config.port or free_port(config.host)
            config = config._replace(port=port)
            secure = Secure(opening.folder_for(config, port))
            gate = Gate(self._context, secure.keys, secure.origin)
        self._secure, self._gate = secure, gate
        talk = None if gate is None else gate.secure(TALK)
        hear = None if gate is None else gate.secure(HEAR)
        self._router = bind_router(self._context, config.host, config.port, talk)
        self.port = port_of(self._router)
        pub_port = config.pub_port_for(self.port)
        self._pub = bind_pub(self._context, config.host, pub_port, hear)
        self._journal = open_journal(config, self.port)
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
            members = None
            if secure is not None and gate is not None:
                members = secure.take_up()
                gate.prove(bound_to(self._router), bound_to(self._pub), secure.owner)
            self._core = Broker(settings, self._journal, os.urandom, members)
        except BaseException:
            self._journal.close()
            raise

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
        if self._gate is not None:
            poller.register(self._gate.socket, zmq.POLLIN)
        gc.collect()
        gc.freeze()
        core = self._core
        drained, held = True, False
        while not self._stopping:
            ready = poller.poll(max(0, math.ceil(core.pause * 1000)) if drained else 0)
            if any(sock == self._wake_reader.fileno() for sock, _ in ready):
                self._wake_reader.recv(4096)  # Any signal writes here, also one of others.
            drained = self._turn()
            if core.held != held:
                # While nothing can be stored nothing is taken, and TCP holds the senders back.
                held = core.held
                poller.modify(self._router, 0 if held else zmq.POLLIN)
            core.tidy()
            self._connections.tidy(time.monotonic())
            core.accept_sessions(self._descriptors.enough())
        self._stop()

    def _turn(self) -> bool:
        """One turn; True if nothing is left to be drained that may be."""
        core = self._core
        self._begin()
        if self._gate is not None:
            self._gate.hear()
        self._cut_off()
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
        if self._secure is not None:
            answer = self._secure.carry_out(request, self._dismiss)
            if answer is not None:
                return answer | {"host": self._config.host, "port": self.port}
        do, name = request.get("do"), request.get("name")
        if isinstance(do, str) and do in ASKED:
            return {"ok": False, "words": "it is not a secure one; start it with --secure"}
        if do != "release" or not isinstance(name, str):
            return {"ok": False, "words": "this broker cannot do that"}
        try:
            known = self._core.release(canonical_name(name))
        except BadName as error:
            return {"ok": False, "words": str(error)}
        return {"ok": True} if known else {"ok": False, "words": f"nobody has the name {name!r}"}

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return bool(self._stopping)

    @property
    def wake_fd(self) -> int:
        """Whatever is written here has `run` look again."""
        return self._wake_writer.fileno()

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
        callers, secure = self._connections.callers, self._gate is not None
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
            caller = callers.get(identity)
            if caller is None or (secure and part.get(MARK) != caller.mark):
                caller = self._meet_caller(identity, part)
            if caller is None:
                continue
            if part.more:
                core.reject(identity, Code.BAD_FRAME, "a message is one part")
            elif _is_own(identity):
                core.reject(identity, Code.BAD_IDENTITY, "set no routing id of your own")
            else:
                core.receive(identity, frame, caller.origin)
        return False

    def _meet_caller(self, identity: bytes, part: zmq.Frame) -> Connection | None:
        """The connection by which *part* came, which is new; None, if it may say nothing."""
        callers = self._connections.callers
        if identity in callers:
            # A peer may plant an id, and a key of its own speaks for nobody else.
            self._core.lost(identity)
            del callers[identity]
        caller = self._meet(part)
        if caller is not None:
            callers[identity] = caller
        return caller

    def _meet(self, part: zmq.Frame) -> Connection | None:
        """The connection that *part* came by; None, if its key is admitted no more."""
        address, mark = str(part.get("Peer-Address")), ""
        origin: Origin | None = Origin(address)
        if self._gate is not None:
            mark = str(part.get(MARK))
            origin = self._gate.origin(mark, address)
        return None if origin is None else Connection(int(part.get(zmq.SRCFD)), origin, mark)

    def _dismiss(self, keys: list[bytes]) -> None:
        """Ends what goes on over all connections that one of *keys* admitted."""
        words = "the key is admitted no more, by the broker's operator"
        for identity, caller in self._connections.callers_of(keys).items():
            self._core.dismiss(identity, words)
            # What it says from now on is not heard; the goodbye has a moment to leave.
            del self._connections.callers[identity]
            self._to_cut.append((time.monotonic() + READ_GOODBYE, caller))
        for fd, subscriber in self._connections.subscribers_of(keys).items():
            del self._connections.subscribers[fd]
            subscriber.cut()

    def _cut_off(self) -> None:
        """Cuts off those whose time has come."""
        while self._to_cut and self._to_cut[0][0] <= time.monotonic():
            self._to_cut.popleft()[1].cut()

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
            met = self._meet(part)
            if met is None:
                # Of a key that was taken back while this was on its way: to be cut off all the
                # same, as ZeroMQ has subscribed it.
                Connection(int(part.get(zmq.SRCFD)), Origin(), "").cut()
                continue
            known = subscribers.get(met.fd)
            if known is None or known.inode != met.inode:
                known = subscribers[met.fd] = met
            known.subscriptions += 1
            if not lone or said[:1] != SUBSCRIBED or known.subscriptions > MOST_SUBSCRIPTIONS:
                log.warning("subscriber address=%s is cut off", known.origin.address)
                known.cut()
                del subscribers[known.fd]

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

    def local(self) -> Local | None:
        """How this user's own commands find in; None for a plain broker, which needs nothing."""
        secure = self._secure
        return None if secure is None else secure.local(self._config.host, os.getpid())

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
        self._journal.close()
        self._router.close()
        self._pub.close()
        if self._gate is not None:
            self._gate.close()
        self._wake_reader.close()
        self._wake_writer.close()
        self._context.term()


def _is_own(identity: bytes) -> bool:
    """Whether a client chose its routing id itself: ZeroMQ's are a NUL and four bytes."""
    return len(identity) != 5 or identity[0] != 0
