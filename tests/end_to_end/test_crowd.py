"""Several hundred clients of one broker."""

from __future__ import annotations

import sys
from pathlib import Path

EACH = 250
NAMES = [f"user-{number:03}" for number in range(2 * EACH)]


def test_five_hundred_join_hear_and_leave(shell, chatbrokers):
    # Leases of a minute: two processes that drive 250 clients each are slow at times.
    broker = chatbrokers.start("--lease", "60")
    crowd = Path(__file__).with_name("crowd.py")
    halves = [
        shell.start(sys.executable, str(crowd), broker.address, str(first), str(EACH))
        for first in (0, EACH)
    ]
    for half in halves:
        half.shows("^joined$")
    assert shell.run("info", at=broker) == (0, "".join([f"{name}\n" for name in NAMES]), "")
    speaker = broker.client("speaker", hear=False)
    speaker.echo("for everyone")
    with speaker.pipeline() as pipeline:
        for name in NAMES:
            pipeline.send(name, f"for {name}")
    for half in halves:
        half.shows("^heard$")
    for half in halves:
        half.end_input()
        half.shows("^left$")
        assert half.wait().status == 0
    assert speaker.users() == []
    for name in (NAMES[0], NAMES[-1]):
        broker.client(name)
    assert [user.name for user in speaker.users()] == [NAMES[0], NAMES[-1]]
