"""Two clients who talk with each other, in a process of their own, while others do harm.

Reads lines: ``during`` begins a new count.  At the end of the input it says as JSON how long
each message took until it was stored, before and during, and what did not arrive.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from chatbroker.client import Client

PATIENCE = 60.0
PAUSE = 0.005
"""Seconds between two messages: people, and no flood."""


def main(address: str) -> None:
    counts: list[list[float]] = [[]]
    over = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "during":
                counts.append([])
        over.set()

    with Client("polite", address) as polite, Client("bystander", address) as bystander:
        threading.Thread(target=listen, daemon=True).start()
        said: list[str] = []
        print("ready", flush=True)
        while not over.wait(PAUSE):
            text = f"words {len(said)}"
            start = time.monotonic()
            say = polite.echo if len(said) % 2 else lambda t, **o: polite.send("bystander", t, **o)
            say(text, timeout=PATIENCE)
            counts[-1].append(time.monotonic() - start)
            said.append(text)
        assert bystander.sync(PATIENCE)
        heard = [e.text for e in bystander.events(0) if getattr(e, "sender", "") == "polite"]
    # Two logs, each in its order.
    whole = heard != [] and all(
        [text for text in heard if int(text.split()[1]) % 2 == odd] == said[odd::2]
        for odd in (0, 1)
    )
    print(json.dumps({"counts": counts, "whole": whole}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
