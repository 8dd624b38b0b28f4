"""A flooder beside a polite client: what it costs the other, and how much of it gets in.

As a program, ``python -m bench.flood ENDPOINT NAME``, it is the flooder: it broadcasts as much as
its window allows, heeds no rate, and when it is held back sends all of it again at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple

from chatbroker.wire.messages import ECHO_LOG, Ack, Echo, Error, Ping, Pong

from .load import PATIENCE, Latency, Stuck
from .on_broker import latency_run, sessions
from .prepared import TEXT
from .processes import Server
from .sessions import WINDOW, Session

A_FRAME = 100

STEADY = 2.0
"""Seconds after which the flooder has used up what it may say at once."""

NICE = 10
"""The flooder stands for one on another machine: it is not to take the broker's processor."""

_numbers = count(1)


class Flood(NamedTuple):
    """What one run beside a flooder showed."""

    polite: Latency
    rate: float
    """Messages a second of the flooder's that were stored; 0 without one."""


def flood(endpoint: str, name: str) -> None:
    """Goes on until it is ended."""
    session = Session(endpoint, name)
    texts = (TEXT,) * A_FRAME
    sent = acked = 0
    while True:
        while sent - acked + A_FRAME <= WINDOW:
            session.say(Echo(sent + 1, texts))
            sent += A_FRAME
        for message in session.messages():
            if isinstance(message, Ack):
                acked = message.upto
                sent = max(sent, acked)
            elif isinstance(message, Error):
                sent = max(acked, message.ref - 1)


def alone(server: Server, messages: int) -> Flood:
    """One message at a time, and nobody else."""
    return Flood(latency_run(server, messages), 0.0)


def beside(server: Server, messages: int) -> Flood:
    """One message at a time, beside a flooder."""
    with sessions(server, [""], ECHO_LOG) as (observer,), _flooding(server):
        time.sleep(STEADY)
        before, start = _head(observer), time.perf_counter()
        polite = latency_run(server, messages)
        after, seconds = _head(observer), time.perf_counter() - start
    return Flood(polite, (after - before) / seconds)


@contextmanager
def _flooding(server: Server) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.flood", server.broker, f"flooder{next(_numbers)}"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        if process.poll() is not None:
            raise Stuck(f"the flooder ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def _head(observer: Session) -> int:
    """How much was broadcast so far."""
    ref = next(_numbers)
    observer.say(Ping(ref, 0, 0, ()))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for message in observer.messages():
            if isinstance(message, Pong) and message.ref == ref:
                return message.heads[0].position
    raise Stuck("no PONG came")


if __name__ == "__main__":
    os.nice(NICE)
    flood(*sys.argv[1:])
