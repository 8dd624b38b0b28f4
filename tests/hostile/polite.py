"""Two clients who talk with each other, in a process of their own, while others do harm.

Reads lines: ``during`` begins a new count.  At the end of the input it says as JSON how long
each message took until it was stored, and until the other had it, before and during; and whether
all arrived.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from chatbroker.client import Broadcast, Client, Direct

PATIENCE = 60.0
PAUSE = 0.005
"""Seconds between two messages: people, and no flood."""

LAST = "last words"


def main(address: str) -> None:
    over = threading.Event()
    stored: list[list[float]] = [[]]
    had: list[list[float]] = [[]]
    said: list[tuple[str, float, int]] = []
    heard: list[tuple[str, float]] = []

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "during":
                had.append([])
                stored.append([])
        over.set()

    def hear(bystander: Client) -> None:
        """Until both logs have ended."""
        last = 0
        for event in bystander.events(PATIENCE):
            if isinstance(event, (Broadcast, Direct)) and event.sender == "polite":
                heard.append((event.text, time.monotonic()))
                last += event.text == LAST
                if last == 2:
                    return

    with Client("polite", address) as polite, Client("bystander", address) as bystander:
        threading.Thread(target=listen, daemon=True).start()
        hearing = threading.Thread(target=hear, args=(bystander,), daemon=True)
        hearing.start()
        print("ready", flush=True)
        # One at the least: an attack may be over sooner than a message is said.
        while not over.wait(PAUSE) or not stored[-1]:
            text, count, start = f"words {len(said)}", len(stored) - 1, time.monotonic()
            if len(said) % 2:
                polite.echo(text, timeout=PATIENCE)
            else:
                polite.send("bystander", text, timeout=PATIENCE)
            stored[count].append(time.monotonic() - start)
            said.append((text, start, count))
        polite.echo(LAST, timeout=PATIENCE)
        polite.send("bystander", LAST, timeout=PATIENCE)
        hearing.join(PATIENCE)
    times = dict(heard)
    for text, start, count in said:
        if text in times:
            had[count].append(times[text] - start)
    # Two logs, each in its order.
    texts = [text for text, _ in heard if text != LAST]
    whole = texts != [] and all(
        [text for text in texts if int(text.split()[1]) % 2 == odd]
        == [text for text, _, _ in said[odd::2]]
        for odd in (0, 1)
    )
    print(json.dumps({"stored": stored, "had": had, "whole": whole}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
