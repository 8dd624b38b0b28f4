"""Waits until a user is on: ``chat send --wait-for-user``."""

from __future__ import annotations

import time
from collections.abc import Callable

from .client import Client
from .events import Event, Joined

LOOK_AGAIN = (0.25, 10.0)
"""Seconds until it is asked again who is on: at first, and at most; doubled each time."""


def wait_for_user(
    client: Client, user: str, seconds: float, report: Callable[[Event], object]
) -> bool:
    """Returns when *user* is on; False if that took longer than *seconds*.

    *client*: hears who comes and goes.  *user*: as the broker knows the name.  *report*: is
    called with what happens meanwhile.  Raises Unreachable when the broker is gone for longer
    than the client bears.
    """
    # That somebody joined is a hint, which makes it fast and may be lost; who is on is the
    # truth.  So that is asked for first of all, after each hint, and now and then.
    until = time.monotonic() + seconds
    pause, longest = LOOK_AGAIN
    client.wait_listening(min(seconds, client.timeout))
    while not any(one.name == user for one in client.users(client.patience)):
        look_at = min(time.monotonic() + pause, until)
        pause = min(pause * 2, longest)
        hint = False
        while not hint and (left := look_at - time.monotonic()) > 0:
            client.wait_until(lambda: client.waiting_events > 0, left)
            for event in client.receive_many(0):
                hint |= isinstance(event, Joined) and event.user == user
                report(event)
        if not hint and look_at >= until:
            return False
    return True
