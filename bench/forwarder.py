"""The baseline: a ROUTER and a PUB that pass on what comes in, in the fast form or, as one writes
it at first, a whole message at a time.

What comes in is [sender, to, text].  ``to`` is a connection's routing id, or TOPIC for all
subscribers.  No batches, no acknowledgement, no check of anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from . import disk
from .processes import on_disk

TOPIC = b"echo\0"


def forward(
    router: zmq.Socket[bytes],
    pub: zmq.Socket[bytes],
    send: Callable[..., Any] | None = None,
) -> None:
    """Drains, forwards, waits; for ever.  *send*: in place of the router's."""
    receive, send, publish = router.recv, send or router.send, pub.send
    nowait, more = int(zmq.NOBLOCK), int(zmq.SNDMORE)
    poller = zmq.Poller()
    poller.register(router, zmq.POLLIN)
    poller.register(pub, zmq.POLLIN)
    while True:
        poller.poll()
        try:
            while True:
                receive(nowait)
                to = receive()
                text = receive()
                if to == TOPIC:
                    publish(to, more)
                    publish(text)
                else:
                    send(to, more)
                    send(text)
        except zmq.Again:
            pass


def forward_whole(router: zmq.Socket[bytes], pub: zmq.Socket[bytes]) -> None:
    """The same by recv_multipart and send_multipart, as pyzmq's documentation has it."""
    poller = zmq.Poller()
    poller.register(router, zmq.POLLIN)
    poller.register(pub, zmq.POLLIN)
    while True:
        poller.poll()
        try:
            while True:
                _, to, text = router.recv_multipart(zmq.NOBLOCK)
                (pub if to == TOPIC else router).send_multipart([to, text])
        except zmq.Again:
            pass


def forward_flushed(router: zmq.Socket[bytes], pub: zmq.Socket[bytes]) -> None:
    """The fast form with one fsync, in place, before a message goes to a connection."""
    with disk.pages_in_place(on_disk()) as flush:

        def flush_and_send(part: bytes, flags: int = 0) -> None:
            if flags:
                flush()  # Once: the last part has no flag.
            router.send(part, flags)

        forward(router, pub, flush_and_send)


FORMS = {"fast": forward, "whole": forward_whole, "flushed": forward_flushed}


def endpoint(bound: zmq.Socket[bytes]) -> str:
    """Where the socket listens."""
    told = bound.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(told, bytes)  # By the option's type; for the type checker.
    return told.rstrip(b"\0").decode()


def main(ready_file: Path, form: str) -> None:
    """Serves on free ports of the loopback, told in *ready_file* as the broker does."""
    with zmq.Context() as context:
        router, pub = context.socket(zmq.ROUTER), context.socket(zmq.PUB)
        for socket in (router, pub):
            # Nothing may be lost, because it has no way to make up for it: the queues are
            # without bound, and the load bounds what is under way.
            socket.sndhwm = 0
            socket.linger = 0
            socket.bind("tcp://127.0.0.1:*")
        ready = {
            "broker": endpoint(router),
            "pub": endpoint(pub),
            "pid": os.getpid(),
        }
        unfinished = ready_file.with_suffix(".part")
        unfinished.write_text(json.dumps(ready))
        unfinished.rename(ready_file)
        with router, pub, contextlib.suppress(KeyboardInterrupt):
            FORMS[form](router, pub)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
