"""The socket that publishes, in a thread of its own.

libzmq carries subscriptions out before it tells of them, all that wait at once, and walks through
the topics of everybody when a subscriber goes: hundreds of strangers with thousands of topics keep
it for many seconds, in the thread that owns the socket, and nothing stops it.  So that thread has
nothing else to do.  It decides nothing: what is to be published comes to it, and what subscribers
say it hands on.  While libzmq keeps it, nobody else is let in: each would be kept in memory until
the thread has time for them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import zmq

from .io_thread import IoThread
from .listener import Listener
from .sockets import bound_to, port_of

GIVEN = "inproc://chatbroker.publish"

MOST_GIVEN = 500
"""Frames that may wait at each end of the way to the thread.  One that finds no room is skipped,
as by a subscriber that does not read: the log has it."""

MOST_HEARD = 512
"""Messages of subscribers that wait to be taken; the others wait in libzmq."""

ROUND = 100
"""Milliseconds after which the thread says that it is well, if nothing comes."""

FULL_ROUND = 10
"""The same while what was heard waits to be taken."""

LATE = 0.3
"""Seconds without a word from the thread after which it is taken to be busy with subscribers."""

REMIND_EVERY = 0.5
"""Seconds between two times at which others are told meanwhile what they have not heard."""

END_WITHIN = 1.0
"""Seconds that the thread gets to publish what it was given, when it is told to end."""

UNSUBSCRIBED = b"\0"
"""How begins what an XPUB hands on when a topic was given up, or its subscriber has gone."""


class Publisher:
    """Owns *pub*, an XPUB that is bound.  It serves from `start` to `close`."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        pub: zmq.Socket[bytes],
        wake: Callable[[], None],
        io_thread: IoThread,
    ) -> None:
        """*wake*: has the loop `take` what there is; it is called by the thread.  *io_thread*:
        ZeroMQ's, which sends what is published."""
        self._pub = pub
        self._io_thread = io_thread
        self._wake = wake
        self.endpoint = bound_to(pub)
        self.port = port_of(pub)
        self._listener = Listener(self.port)
        self._outer = _pair(context)
        self._outer.bind(GIVEN)
        self._inner = _pair(context)
        self._inner.connect(GIVEN)
        self._heard: deque[zmq.Frame] = deque()
        self._given = self._published = 0
        self._turned = time.monotonic()
        """When libzmq last let go of the thread."""
        self._emptied = self._taken = self._turned
        """When all that subscribers had said had last been taken out of libzmq, and by the loop."""
        self._remind_at = 0.0
        self._ending = self._died = False
        self._thread = threading.Thread(target=self._serve, name="publisher", daemon=True)

    def start(self) -> None:
        """Serves from now on."""
        self._turned = self._emptied = time.monotonic()
        self._thread.start()

    # --- for the loop ---------------------------------------------------------------------

    def send(self, topic: bytes, frame: bytes) -> bool:
        """Has *frame* published; whether there was room for it."""
        try:
            self._outer.send(topic, zmq.SNDMORE | zmq.NOBLOCK)
            self._outer.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._given += 1
        return True

    @property
    def tells(self) -> bool:
        """Whether the system tells of what is `sent`."""
        return self._io_thread.told

    @property
    def sent(self) -> bool:
        """Whether all that was given is published, and was sent to all who read; False if nobody
        tells."""
        return self._given == self._published and self._io_thread.asleep

    def take(self) -> list[zmq.Frame]:
        """What subscribers said since, each part as a message of its own.  Raises RuntimeError if
        the thread has died, which it says itself in the log."""
        if self._died:
            raise RuntimeError("the thread that publishes has died")
        emptied = self._emptied  # What the thread takes from here on may come too late for this.
        taken: list[zmq.Frame] = []
        # Until none is left: the thread tells only of one that comes when there is none.
        while self._heard:
            taken.append(self._heard.popleft())
        self._taken = emptied
        return taken

    @property
    def heard(self) -> float:
        """When all that subscribers had said had last been taken, by `take` too."""
        emptied = self._emptied
        if not self._heard:
            self._taken = emptied
        return self._taken

    def late(self, now: float) -> bool:
        """Whether the thread is busy with subscribers and what it was given waits; says so once
        in REMIND_EVERY."""
        if now < self._remind_at or not self._busy(now) or self._given == self._published:
            return False
        self._remind_at = now + REMIND_EVERY
        return True

    def look(self, now: float) -> None:
        """Has newcomers wait while the thread is busy with those that are there."""
        self._listener.shut(self._busy(now))

    def _busy(self, now: float) -> bool:
        return now - self._turned > LATE

    def close(self) -> bool:
        """Publishes what was given, and ends; whether it did.  Again: nothing.

        If not, the thread is within libzmq, and the context cannot be ended."""
        if self._outer.closed:
            return True
        self._ending = True
        if self._thread.ident is not None:
            with suppress(zmq.Again):  # Then what it was given wakes it as well.
                self._outer.send(b"", zmq.NOBLOCK)
            self._thread.join(END_WITHIN)
            if self._thread.is_alive():
                return False
        self._outer.close(linger=0)
        self._inner.close(linger=0)
        self._pub.close()
        self._io_thread.close()
        return True

    # --- the thread -----------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            poller = zmq.Poller()
            poller.register(self._inner, zmq.POLLIN)
            poller.register(self._pub, zmq.POLLIN)
            while not self._ending or self._inner.poll(0):
                self._turn(poller)
        except BaseException:
            self._died = True
            self._wake()
            raise

    def _turn(self, poller: zmq.Poller) -> None:
        room = len(self._heard) < MOST_HEARD
        # Who speaks while it waits or publishes may be heard in the next turn only.
        begun = time.monotonic()
        # It accepts connections and frees what is gone only when its owner calls in.
        ready = dict(poller.poll(ROUND if room else FULL_ROUND))
        if self._inner in ready:
            self._publish()
        now = time.monotonic()
        if room and (self._pub not in ready or self._hear()):
            self._emptied = begun
        self._turned = now

    def _publish(self) -> None:
        for _ in range(MOST_GIVEN):
            try:
                topic = self._inner.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            if topic.more:
                self._pub.send(topic, zmq.SNDMORE | zmq.NOBLOCK, copy=False)
                self._pub.send(self._inner.recv(copy=False), zmq.NOBLOCK, copy=False)
                self._published += 1

    def _hear(self) -> bool:
        """Takes what subscribers said; whether that was all."""
        heard = self._heard
        for _ in range(MOST_HEARD):
            try:
                part = self._pub.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return True
            # A rest is not waited for: that a topic was given up which another has yet, libzmq
            # does not tell, also where a message ends with it.
            if part.more or part.bytes[:1] != UNSUBSCRIBED:
                heard.append(part)
                if len(heard) == 1:
                    self._wake()
        return False


def _pair(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    sock: zmq.Socket[bytes] = context.socket(zmq.PAIR)
    sock.setsockopt(zmq.SNDHWM, MOST_GIVEN)
    sock.setsockopt(zmq.RCVHWM, MOST_GIVEN)
    return sock
