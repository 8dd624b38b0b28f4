"""Many clients in one process, for test_crowd.py: one loop, one ZeroMQ context.

    python crowd.py ADDRESS FIRST COUNT

Joins as ``user-FIRST`` and the COUNT - 1 that follow, and writes a line to stdout when all of
them have joined, when each has heard one broadcast and one direct message, and when, after
stdin ended, all have left.
"""

from __future__ import annotations

import os
import resource
import select
import sys
from contextlib import nullcontext

import zmq

from chatbroker.client.access import Access
from chatbroker.client.address import parse_address
from chatbroker.client.core import ClientCore, Phase
from chatbroker.client.events import Broadcast, Direct
from chatbroker.client.link import Link
from chatbroker.client.reader import Reader
from chatbroker.client.starts import Since


def main(address: str, first: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    host, port, *_ = parse_address(address)
    access = Access(host, port)
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 16 * count)
    cores, links = [], []
    for number in range(first, first + count):
        readers = [Reader("echo", Since.now()), Reader("direct", Since.unread())]
        core = ClientCore(f"user-{number:03}", os.urandom(16), readers, exclusive=True)
        cores.append(core)
        links.append(Link(core, lambda: access, nullcontext(), context))
    heard: list[list[object]] = [[] for _ in cores]

    def run_until(done) -> None:
        while not done():
            for core, link, events in zip(cores, links, heard, strict=True):
                link.step(0)
                while core.inbox.events:
                    event = core.inbox.events.popleft()
                    if isinstance(event, Broadcast | Direct):
                        events.append(event)

    def say(words: str) -> None:
        print(words, flush=True)

    run_until(lambda: all(core.listening for core in cores))
    say("joined")
    run_until(lambda: all(len(events) >= 2 for events in heard))
    for core, events in zip(cores, heard, strict=True):
        texts = sorted(event.text for event in events)
        assert texts == ["for everyone", f"for {core.name}"], (core.name, texts)
    say("heard")
    run_until(lambda: select.select([0], [], [], 0)[0])
    for core in cores:
        core.leave()
    run_until(lambda: all(core.phase is Phase.OVER for core in cores))
    assert all(
        core.refusal is None and len(events) == 2 for core, events in zip(cores, heard, strict=True)
    )
    say("left")
    for link in links:
        link.close()
    context.term()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
