"""The edge: the poll loop, descriptors; ``sockets`` and ``gate`` are its parts.

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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import zmq

from ..command.local import Local
from . import opening
from .config import Config
from .core import Broker
from .counts import Vitals
from .descriptors import Descriptors
from .effects import Deliver, Effect, Note, Publish
from .gate import HEAR, TALK, Gate
from .gathering import Gathering
from .intake import Intake
from .journal import Journal
from .kept_file import sanctions_in
from .notify import Notifier
from .office import Edge, Office
from .publisher import Publisher
from .secure import Secure
from .sockets import (
    bind_pub,
    bind_router,
    bound_to,
    endpoint,
    free_port,
    fresh_context,
    port_of,
    seed_routing_ids,
)
from .status import Facts
from .user import Settings

log = logging.getLogger("chatbroker")

# As plain ints: to put members of an Enum together costs more than a send.
FIRST, LAST = int(zmq.SNDMORE | zmq.NOBLOCK), int(zmq.NOBLOCK)

MADE_IN_A_TURN = 10_000
"""Objects that may be made before the garbage collector looks at them.  Those of a busy turn end
with it, and by default it looks at each 700: 3 to 6 % of what a lone message costs."""

TIDY_EVERY = 0.02
"""Seconds between two times at which the broker sees to what nobody waits for."""

AWAKE = 0.0002
"""Seconds for which the broker looks again and again before it sleeps, if the last message came
alone and as soon, and the one before from the same: whoever says one thing when the one before is
acknowledged is about to say the next, and to wake takes a fifth of the time until that is delivered
(docs/decisions.md)."""

TAKEN = 0.001
"""Seconds from which on such a look means that others want the processor, which is theirs in
between.  ZeroMQ's own thread, to pass on what was sent, needs 0.02 ms of it."""

CROWDED = 0.1
"""Seconds after such a look for which the broker sleeps at once: who gave the processor up gets it
back when the others had their turn, who slept when woken."""

ASLEEP = 0.00003
"""Seconds from which on it is taken to have slept until something came: nothing had waited."""

STALL = 1.0
"""Seconds lost in a turn that are worth a warning; less is a busy machine."""

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
        notifier: Notifier | None = None,
        read_config: Callable[[], Config] | None = None,
    ) -> None:
        seed_routing_ids()
        self._config = config
        self._descriptors = Descriptors()
        with ExitStack() as undo:
            self._context, self._io_thread = fresh_context()
            undo.callback(self._io_thread.close)
            undo.callback(self._context.destroy, linger=0)
            self._wake_reader, self._wake_writer = ends = socket.socketpair()
            for end in ends:
                undo.callback(end.close)
                end.setblocking(False)
            self._woken = self._wake_reader.fileno()
            self._open(config, open_journal)
            undo.pop_all()
        # Without the Python function around it, which takes as long as the send itself.
        self._deliver = zmq.backend.Socket.send.__get__(self._router)
        self._intake = Intake(
            self._router,
            self._publisher,
            self._gate,
            self._core,
            self._descriptors,
            self._note,
            config.allowance.subscriptions,
            lambda: self._journal.in_memory,
        )
        self.counts = self._core.counts
        self._gathering = Gathering(self._publisher, self._intake.slow, self.counts)
        self._notifier = notifier or Notifier({})
        self._poller = poller = zmq.Poller()
        self._stopping = ""
        self._closed = False
        self._turned = time.monotonic()
        """When the last turn began."""
        self._tidy_at = 0.0
        self._waited = 0.0
        """Seconds that it took until something came in."""
        self._crowded_until = 0.0
        """Until when it sleeps at once, as others wanted the processor."""
        self._asked = False
        """Whether an operator asked for something that is not stored yet, perhaps."""
        self.reread = False
        """Whether the configuration is to be read again; set by a signal's handler."""
        edge = Edge(
            self._perform,
            self._intake.part_with,
            self._facts,
            self._intake.allow_subscriptions,
            lambda sock: poller.register(sock, zmq.POLLIN),
            poller.unregister,
        )
        self._office = Office(
            config,
            self._folder,
            self._core,
            self._journal,
            self._sanctions,
            self._secure,
            edge,
            read_config,
        )

    def _open(self, config: Config, open_journal: Callable[[Config, int], Journal]) -> None:
        secure = gate = None
        port = config.port
        if config.secure:
            # Its keys lie in the folder of the port, and must be known before it is bound.
            port = config.port or free_port(config.host)
            secure = Secure(opening.folder_for(config, port), config.host, port)
            gate = Gate(self._context, secure.keys, secure.origin, self._note)
        self._secure, self._gate = secure, gate
        talk = None if gate is None else gate.secure(TALK)
        hear = None if gate is None else gate.secure(HEAR)
        self._router = bind_router(self._context, config.host, port, talk)
        self.port = port_of(self._router)
        pub_port = config.pub_port_for(self.port)
        pub = bind_pub(self._context, config.host, pub_port, hear)
        self._publisher = Publisher(self._context, pub, self._wake, self._io_thread)
        self._journal = open_journal(config, self.port)
        self.address = endpoint(config.host, self.port)
        self.pub_address = endpoint(config.host, self._publisher.port)
        settings = Settings(
            pub_port=self._publisher.port,
            heartbeat=config.heartbeat,
            lease=config.lease,
            grace=config.grace,
            claim_ttl=config.claim_ttl,
            allowance=config.allowance,
        )
        # Without data there is no folder, also for a journal of a caller's own.
        self._folder = opening.folder_for(config, self.port) if self._journal.durable else None
        try:
            self._sanctions = sanctions_in(self._folder)
            members = None
            if secure is not None and gate is not None:
                members = secure.take_up(self._sanctions.ban_on)
                gate.prove(bound_to(self._router), self._publisher.endpoint, secure.owner)
            self._core = Broker(settings, self._journal, os.urandom, members, self._sanctions)
        except BaseException:
            self._journal.close()
            raise

    # --- the loop -------------------------------------------------------------------------

    def keep_keys(self) -> None:
        """Has the data be a secure broker's from now on, if this is one.  Raises StartError."""
        if self._secure is not None:
            self._secure.keep_keys()

    def take_back_keys(self) -> None:
        """It does not serve after all: undoes what `keep_keys` did."""
        if self._secure is not None:
            self._secure.take_back_keys()

    def run(self) -> None:
        """Serves until `stop` is called, in one thread, which need not be the one that made it.
        Signals are the caller's affair (``signals``).  Raises StartError as `keep_keys` does."""
        self.keep_keys()
        poller = self._poller
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._wake_reader, zmq.POLLIN)
        if self._gate is not None:
            poller.register(self._gate.socket, zmq.POLLIN)
        gc.collect()
        gc.freeze()
        gc.set_threshold(MADE_IN_A_TURN)
        self._publisher.start()
        core, notifier = self._core, self._notifier
        self._begin()
        drained, held = True, False
        serving = f"serving at {self.address}"
        notifier.ready(serving)
        while not self._stopping:
            pause = min(core.pause, notifier.interval, self._gathering.pause(self._turned))
            ready = [sock for sock, _ in (self._wait(pause) if drained else self._look())]
            if self.reread:
                self.reread = False
                self._office.reread()
            drained = self._turn(ready)
            if core.held != held:
                # While nothing can be stored nothing is taken, and TCP holds the senders back.
                held = core.held
                poller.modify(self._router, 0 if held else zmq.POLLIN)
                notifier.status(f"cannot store: {core.held_because}" if held else serving)
        self._stop()

    def _wait(self, seconds: float) -> list[tuple[Any, int]]:
        """Waits until something comes in, for *seconds* at most, and watches meanwhile."""
        begun = now = time.monotonic()
        until = begun + seconds
        ready: list[tuple[Any, int]] = []
        if self._intake.dialogue and self._waited < AWAKE and begun > self._crowded_until:
            ready, now = self._stay_awake(begun)
        while not ready:
            left = min(until - now, self._intake.pause)
            ready = self._poller.poll(max(0, math.ceil(left * 1000)))
            now = time.monotonic()
            if now >= until:
                break
            if not ready:
                self._intake.watch(now, not self._core.held)
        self._waited = now - begun
        return ready

    def _stay_awake(self, now: float) -> tuple[list[tuple[Any, int]], float]:
        """Looks again and again for AWAKE seconds.  Gives what came in, and the time."""
        ready: list[tuple[Any, int]] = []
        until = now + AWAKE
        while not ready and now < until:
            # ZeroMQ's thread may be waiting for this processor, to send what is waited for.
            os.sched_yield()
            ready = self._poller.poll(0)
            before, now = now, time.monotonic()
            if now - before > TAKEN:
                self._crowded_until = now + CROWDED
        return ready, now

    def _look(self) -> list[tuple[Any, int]]:
        """What waits now."""
        self._waited = 0.0
        return self._poller.poll(0)

    def _turn(self, ready: Sequence[Any]) -> bool:
        """One turn; True if nothing is left to be drained that may be.  *ready*: the sockets at
        which something waits, or may: to look in vain costs a quarter of a turn."""
        core, intake = self._core, self._intake
        self._begin()
        others = [sock for sock in ready if sock is not self._router]
        if others:
            self._hear(others)
        drained = not core.held and intake.drain(len(others) < len(ready), self._waited > ASLEEP)
        # An operator is whoever comes by no socket of ZeroMQ's and is not our own word.
        if others and any(type(sock) is int and sock != self._woken for sock in others):
            self._office.hear(core.held)
            self._asked = True
        tidy = core.untidy or self._turned >= self._tidy_at
        if tidy and not core.held and self._publisher.late(self._turned):
            core.remind()
        self._perform(core.commit(not core.held and intake.all_heard()))
        self._perform(core.acknowledge())
        if self._asked and not core.held:
            self._asked = False
            self._office.tell()
        if tidy:
            self._tidy()
        # Also if what was held is stored now: meanwhile nothing was taken.
        return drained or core.held

    def _hear(self, ready: Sequence[Any]) -> None:
        """Hears who admits clients, subscribers and signals, whose sockets are *ready*."""
        if self._gate is not None and self._gate.socket in ready:
            self._gate.hear()
        if self._woken in ready:
            self._wake_reader.recv(4096)  # Any signal writes here, also one of others.
            self._intake.hear_subscribers()

    def _tidy(self) -> None:
        """Sees to what nobody waits for."""
        self._tidy_at = self._turned + min(TIDY_EVERY, self._intake.pause)
        self._perform(self._core.tidy())
        self._office.tidy()
        self._intake.tidy(time.monotonic())
        self._core.accept_sessions(self._descriptors.enough())
        self._notifier.alive(self._turned)
        news = self._core.clock.news()
        if news is not None:
            log.warning(*news)

    @property
    def wake_fd(self) -> int:
        """Whatever is written here has `run` look again."""
        return self._wake_writer.fileno()

    def stop(self, why: str = "asked") -> None:
        """Makes `run` return soon.  May be called from any thread and from signal handlers."""
        self._stopping = why
        self._wake()

    def _wake(self) -> None:
        """Has the loop look again.  May be called from any thread."""
        try:
            self._wake_writer.send(b"\0")
        except OSError:
            # Full of earlier calls, which wake it just as well; or closed, and it has stopped.
            return

    def _begin(self) -> None:
        self._turned = now = time.monotonic()
        wall = time.time_ns() // 1_000_000
        stalled = self._core.begin(now, wall)
        since, end = self._sanctions.span
        if not since <= wall < end:
            self._office.expire()
        if stalled:
            level = logging.WARNING if stalled > STALL else logging.INFO
            log.log(level, "stalled seconds=%.1f: leases were extended by as much", stalled)

    def _perform(self, effects: list[Effect]) -> None:
        deliver, publish, slow = self._deliver, self._gathering.add, self._intake.slow
        first, last = FIRST, LAST
        # What is frequent is not counted one by one.
        others = 0
        for effect in effects:
            if type(effect) is Deliver:
                if slow.room < 0 and slow.leaves_out(effect.identity):
                    self.counts.skipped += 1
                    others += 1
                    continue
                try:
                    deliver(effect.identity, first)
                    deliver(effect.frame, last)
                    slow.gave(effect.identity, len(effect.frame))
                except zmq.Again:
                    # Full: skip.  The log has the events, and a PING brings the rest again.
                    self.counts.skipped += 1
                    others += 1
                except zmq.ZMQError as error:
                    if error.errno != zmq.EHOSTUNREACH:
                        raise
                    self._intake.lost(effect.identity)
                    others += 1
            elif type(effect) is Publish:
                publish(effect)
                others += 1
            else:
                assert type(effect) is Note
                self._office.note(effect)
                others += 1
        self.counts.delivered += len(effects) - others
        self._gathering.publish(self._turned)

    def _note(self, what: str, **fields: Any) -> None:
        """Writes a decision of the edge down."""
        if what == "cut_off":
            self.counts.cut(fields["because"], fields["connections"])
        self._office.audit.note(what, **fields)

    def _facts(self) -> Facts:
        clients, subscribers = self._intake.connected
        counts, descriptors = self.counts, self._descriptors
        return Facts(
            self.address,
            self.pub_address,
            self.port,
            self._secure is not None,
            clients,
            subscribers,
            descriptors.used,
            descriptors.limit,
            counts.delivered + counts.published,
            counts.skipped,
        )

    def local(self) -> Local | None:
        """How this user's own commands find in; None for a plain broker, which needs nothing."""
        secure = self._secure
        return None if secure is None else secure.local(os.getpid())

    # --- stopping -------------------------------------------------------------------------

    def _stop(self) -> None:
        """Drain, commit, acknowledge, say goodbye, flush.

        It does not unbind first: libzmq ends the connections of a listener with it, before
        the goodbye could leave.
        """
        self._notifier.stopping()
        log.info("stopping reason=%s skipped=%d", self._stopping, self.counts.skipped)
        until = time.monotonic() + LAST_TURNS
        # The router is not polled while nothing can be stored.
        everywhere = [self._router, *([] if self._gate is None else [self._gate.socket])]
        more = True
        while more and time.monotonic() < until:
            drained = self._turn(everywhere)
            more = not self._core.held and (not drained or self._router.poll(IN_FLIGHT) != 0)
        self._begin()
        goodbyes = self._core.shutdown()
        self._perform(goodbyes)
        self._gathering.publish(math.inf)
        if goodbyes:
            # A DEALER with IMMEDIATE drops what it has received and not yet read when its
            # connection ends (libzmq 4.3.5): leave its owner the time to read.
            time.sleep(READ_GOODBYE)
        self.close()
        log.info("stopped")

    def close(self) -> None:
        """Closes the journal and the sockets; what is queued for peers gets LINGER to leave.
        Again: nothing."""
        if self._closed:
            return
        self._closed = True
        self._office.close()
        self._intake.close()
        self._notifier.close()
        self._journal.close()
        self._router.close()
        ended = self._publisher.close()
        if self._gate is not None:
            self._gate.close()
        self._wake_reader.close()
        self._wake_writer.close()
        if ended:
            self._context.term()
        else:
            # It ends with the process.
            log.warning("the publisher was left behind: it is busy with subscribers that went")

    def vitals(self) -> Vitals:
        """How the broker is.  May be called from any thread, and when it is stuck."""
        core, descriptors = self._core, self._descriptors
        return Vitals(
            self._turned, core.held_because, core.census(), descriptors.used, descriptors.limit
        )
