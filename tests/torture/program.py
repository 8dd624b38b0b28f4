"""What the programs of a run have in common: orders on stdin, and how to get in."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from chatbroker.client import Client
from chatbroker.client.errors import ClientError, NameRefused, NotAuthorised
from chatbroker.client.identity import Identity

from .record import Record

PATIENCE = 90.0
"""Seconds after which a program gives up on what must come: more than any fault lasts."""


class Orders:
    """What stdin says: ``finish`` (what is under way, then end), or ``leave``, which its end
    says as well: nobody is left behind when the test is gone."""

    def __init__(self) -> None:
        self.finish = False
        self.leave = False
        self._given = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # Not sys.stdin: a thread that waits in a buffered reader holds up the end.
        while words := os.read(0, 100):
            if b"finish" in words:
                self.finish = True
            if b"leave" in words:
                break
            self._given.set()
        self.leave = not self.finish
        self._given.set()

    def wait(self, seconds: float) -> None:
        """For that long, or until there is an order."""
        self._given.wait(seconds)


def enter(
    name: str, address: str, record: Record, orders: Orders, exclusive: bool, **options: Any
) -> tuple[Client, Identity] | None:
    """A client, as soon as the broker lets it in, and who it is: to be unlocked when it has left.
    None when told to leave."""
    told = ""
    while not orders.leave:
        # Read anew: it tells which session of this user was the last.
        identity = Identity.of(address, name)
        if exclusive and not identity.lock():
            record.note("note", "the lock of this name is held by another process")
            time.sleep(0.2)
            continue
        try:
            client = Client(
                name,
                address,
                identity=identity,
                exclusive=exclusive,
                presence=False,
                timeout=PATIENCE if orders.finish else 2.0,
                reconnect=PATIENCE,
                **options,
            )
        except (NameRefused, NotAuthorised) as error:
            code = error.code if isinstance(error, NameRefused) else "not_authorised"
            if code != told:
                told = code
                record.note("turned_away", told)
        except ClientError as error:
            record.note("note", f"not in: {error}")
        else:
            return client, identity
        identity.unlock()
        time.sleep(0.1)  # Not until there is an order: that to finish may have come.
    return None
