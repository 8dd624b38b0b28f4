"""A reader of numbers: ``python -m torture.taker ADDRESS NAME COUNT``

Reads everything from the beginning, and checks that what is said to everyone counts up from 0,
and so does what is said to NAME.  Writes ``listening``, and when it has COUNT messages, COUNT.
"""

from __future__ import annotations

import sys

from chatbroker.client import Broadcast, Client, Direct, Since


def take_all(client: Client, count: int) -> int:
    """Takes so many messages; AssertionError, if one is not the next."""
    next_of = {Broadcast: 0, Direct: 0}
    while sum(next_of.values()) < count:
        events = client.receive_many(60.0, 5000)
        assert events, f"nothing more comes: {next_of}"
        for event in events:
            if isinstance(event, Broadcast | Direct):
                kind = type(event)
                assert event.text == str(next_of[kind]), event
                next_of[kind] += 1
                assert event.seq == next_of[kind], event
    return sum(next_of.values())


def main(address: str, name: str, count: str) -> None:
    with Client(name, address, since=Since.all(), since_direct=Since.all()) as client:
        client.wait_listening(60.0)
        print("listening", flush=True)
        print(take_all(client, int(count)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
