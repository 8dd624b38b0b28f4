"""Others who talk at an even rate, in a process of their own, beside a client that is measured.

As a program, ``python -m bench.paced ENDPOINT RATE A_FRAME``, it is the load: twenty senders that
say RATE messages a second together, A_FRAME in each frame, to a reader each.  To each line it
answers how many messages a second were read since the last one; the first is answered when it has
begun.
"""

from __future__ import annotations

import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from chatbroker.wire.messages import DIRECT_LOG, Ack

from . import on_broker
from .aside import Aside, beside
from .counting import sizes_of
from .prepared import Numbered
from .processes import Server
from .readers import MailboxReader
from .sessions import WINDOW, Session, Unexpected

WANTED = 100_000
"""Messages a second."""

SENDERS = [f"talker{number:02}" for number in range(20)]
READERS = [f"hearer{number:02}" for number in range(20)]

SETTLED = 0.3
"""Seconds after which a load that has begun is even."""

TICK = 0.001
"""Seconds between two times at which what is due is said, and what came is read: to do it for each
frame apart would take more of the machine than the broker does."""


def capacity(server: Server, seconds: float, a_frame: int) -> float:
    """Messages a second that these can say to each other, if they say what they can."""

    def run(each: float) -> float:
        whole = max(int(each) // WINDOW, 1) * WINDOW
        return on_broker.direct_run(server, whole, a_frame, SENDERS, READERS).rate

    return run(run(WINDOW) * seconds / len(SENDERS))


class Load:
    """The others, talking."""

    def __init__(self, aside: Aside) -> None:
        self._aside = aside

    def rate(self) -> float:
        """Messages a second that were read since this was last asked."""
        return float(self._aside.ask("rate"))


@contextmanager
def running(server: Server, rate: float, a_frame: int) -> Iterator[Load]:
    """*rate* messages a second are said to *server*."""
    with beside("paced", server.broker, str(rate), str(a_frame)) as aside:
        load = Load(aside)
        load.rate()
        time.sleep(SETTLED)
        load.rate()
        yield load


class _Talker:
    """Sends what falls due."""

    def __init__(self, session: Session, to: str, a_frame: int) -> None:
        self._session = session
        self.sock = session.sock
        self._words = Numbered(to, a_frame)
        self._sent = self._acked = 0

    def say(self, frames: int) -> int:
        """Sends so many frames, or as many as its window takes; how many it was."""
        a_frame = self._words.a_frame
        frames = min(frames, (WINDOW + self._acked - self._sent) // a_frame)
        if frames:
            self.sock.sendall(self._words.frames(self._sent, frames))
            self._sent += frames * a_frame
        return frames

    def read(self) -> None:
        for message in self._session.messages():
            if not isinstance(message, Ack) or message.refused:
                raise Unexpected(f"not the acknowledgement of every command: {message}")
            self._acked = message.upto


def talk(endpoint: str, rate: float, a_frame: int) -> None:
    """Goes on until its input ends."""
    with ExitStack() as stack, select.epoll() as epoll:

        def session(name: str, follow: str = "") -> Session:
            opened = Session(endpoint, name, follow)
            stack.callback(opened.close)
            return opened

        sizes = sizes_of(SENDERS[0], READERS[0])
        readers = [MailboxReader(session(name, DIRECT_LOG), sizes) for name in READERS]
        pairs = zip(SENDERS, READERS, strict=True)
        talkers = deque([_Talker(session(name), to, a_frame) for name, to in pairs])
        receive: dict[int, Callable[[], None]] = {}
        everyone: list[MailboxReader | _Talker] = [*readers, *talkers]
        for one in everyone:
            receive[one.sock.fileno()] = one.read
            epoll.register(one.sock, select.EPOLLIN)
        epoll.register(sys.stdin, select.EPOLLIN)
        start = asked = tick = time.perf_counter()
        said = told = 0
        while True:
            now = time.perf_counter()
            tick = max(tick + TICK, now)
            time.sleep(tick - now)
            share, rest = divmod(int((tick - start) * rate / a_frame) - said, len(talkers))
            # The frames that are over are not always the same ones'.
            talkers.rotate()
            said += sum([one.say(share + (number < rest)) for number, one in enumerate(talkers)])
            for number, _ in epoll.poll(0):
                if number in receive:
                    receive[number]()
                elif not sys.stdin.buffer.readline():
                    return
                else:
                    counted, now = sum([reader.counted for reader in readers]), time.perf_counter()
                    print((counted - told) / (now - asked), flush=True)
                    told, asked = counted, now


if __name__ == "__main__":
    talk(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
