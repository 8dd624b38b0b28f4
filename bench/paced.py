"""Others who talk at an even rate, in a process of their own, beside a client that is measured.

As a program, ``python -m bench.paced ENDPOINT RATE``, it is the load: twenty senders that say
RATE messages a second together, to a reader each.  To each line it answers how many messages a
second were read since the last one; the first is answered when it has begun.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from chatbroker.wire.messages import DIRECT_LOG, Ack, Send

from . import on_broker
from .aside import Aside, beside
from .counting import sizes_of
from .prepared import TEXT
from .processes import Server
from .readers import MailboxReader
from .sessions import WINDOW, Session, Unexpected

WANTED = 100_000
"""Messages a second."""

A_FRAME = 10
"""Messages in a frame: what a busy client has collected while it waited."""

SENDERS = [f"talker{number:02}" for number in range(20)]
READERS = [f"hearer{number:02}" for number in range(20)]

SETTLED = 0.3
"""Seconds after which a load that has begun is even."""

TICK = 0.001
"""Seconds: what epoll can wait for at the least."""


def capacity(server: Server, seconds: float) -> float:
    """Messages a second that these can say to each other, if they say what they can."""

    def run(each: float) -> float:
        whole = max(int(each) // WINDOW, 1) * WINDOW
        return on_broker.direct_run(server, whole, A_FRAME, SENDERS, READERS).rate

    return run(run(WINDOW) * seconds / len(SENDERS))


class Load:
    """The others, talking."""

    def __init__(self, aside: Aside) -> None:
        self._aside = aside

    def rate(self) -> float:
        """Messages a second that were read since this was last asked."""
        return float(self._aside.ask("rate"))


@contextmanager
def running(server: Server, rate: float) -> Iterator[Load]:
    """*rate* messages a second are said to *server*."""
    with beside("paced", server.broker, str(rate)) as aside:
        load = Load(aside)
        load.rate()
        time.sleep(SETTLED)
        load.rate()
        yield load


class _Talker:
    """Sends frames as they fall due."""

    def __init__(self, session: Session, to: str) -> None:
        self._session = session
        self.sock = session.sock
        self._to = to
        self._sent = self._acked = 0

    def say(self) -> bool:
        """Sends a frame; False if its window is full."""
        if self._sent + A_FRAME - self._acked > WINDOW:
            return False
        self._session.say(Send(self._sent + 1, self._to, (TEXT,) * A_FRAME))
        self._sent += A_FRAME
        return True

    def read(self) -> None:
        for message in self._session.messages():
            if not isinstance(message, Ack) or message.refused:
                raise Unexpected(f"not the acknowledgement of every command: {message}")
            self._acked = message.upto


def talk(endpoint: str, rate: float) -> None:
    """Goes on until its input ends."""
    with ExitStack() as stack, select.epoll() as epoll:

        def session(name: str, follow: str = "") -> Session:
            opened = Session(endpoint, name, follow)
            stack.callback(opened.close)
            return opened

        sizes = sizes_of(SENDERS[0], READERS[0])
        readers = [MailboxReader(session(name, DIRECT_LOG), sizes) for name in READERS]
        pairs = zip(SENDERS, READERS, strict=True)
        talkers = [_Talker(session(name), to) for name, to in pairs]
        receive: dict[int, Callable[[], None]] = {}
        everyone: list[MailboxReader | _Talker] = [*readers, *talkers]
        for one in everyone:
            receive[one.sock.fileno()] = one.read
            epoll.register(one.sock, select.EPOLLIN)
        epoll.register(sys.stdin, select.EPOLLIN)
        start = asked = time.perf_counter()
        said = told = 0
        while True:
            due = (time.perf_counter() - start) * rate / A_FRAME
            while said < due and talkers[said % len(talkers)].say():
                said += 1
            for number, _ in epoll.poll(TICK):
                if number in receive:
                    receive[number]()
                elif not sys.stdin.buffer.readline():
                    return
                else:
                    counted, now = sum([reader.counted for reader in readers]), time.perf_counter()
                    print((counted - told) / (now - asked), flush=True)
                    told, asked = counted, now


if __name__ == "__main__":
    talk(sys.argv[1], float(sys.argv[2]))
