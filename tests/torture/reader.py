"""A reader: ``python -m torture.reader NAME ADDRESS RECORD HOW``

Notes what it is shown.  Started again, it goes on from what it has noted.

HOW: ``position``: goes on in both logs from the last position that it noted.  ``unread``: of
direct messages, from what the broker holds to be unread.  ``audit``: reads all that there is from
the beginning, beside the user's other sessions, and ends.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from chatbroker.client import Client
from chatbroker.client.errors import ClientError
from chatbroker.client.events import Broadcast, Direct, Event, Missed
from chatbroker.client.starts import Since

from .program import PATIENCE, Orders, enter
from .record import Record, read_record


class Reader:
    def __init__(self, record: Record, orders: Orders, past: Path) -> None:
        self._record = record
        self._orders = orders
        self.life = 0
        self.at = {"echo": 0, "direct": 0}
        for what, _, *values in read_record(past):
            if what == "open":
                self.life = values[0]
            elif what == "shown":
                self.at[values[0]] = values[1]

    def work(self, client: Client) -> None:
        """Reads until there is an order, or the client gives up."""
        orders = self._orders
        try:
            while not orders.finish and not orders.leave:
                self._show(client.receive_many(0.2))
            if orders.finish:
                self._catch_up(client)
                self._record.note("end")
                orders.leave = True
        except ClientError as error:
            self._record.note("note", f"{type(error).__name__}: {error}")
        finally:
            client.close()

    def _catch_up(self, client: Client) -> None:
        """Reads all that was said until now."""
        until = time.monotonic() + PATIENCE
        while not client.sync(2.0):
            self._show(client.receive_many(0))
            if time.monotonic() > until:
                raise ClientError("could not catch up")
        while client.waiting_events:
            self._show(client.receive_many(0))

    def _show(self, events: list[Event]) -> None:
        lines: list[tuple[object, ...]] = []
        for event in events:
            if isinstance(event, Broadcast):
                lines.append(("shown", "echo", event.seq, event.sender, "*", event.text))
                self.at["echo"] = event.seq
            elif isinstance(event, Direct):
                lines.append(("shown", "direct", event.seq, event.sender, event.to, event.text))
                self.at["direct"] = event.seq
            elif isinstance(event, Missed):
                lines.append(("missed", event.log))
        if lines:
            self._record.note_all(lines)


def main(name: str, address: str, path: str, how: str) -> None:
    record, orders = Record(Path(path)), Orders()
    reader = Reader(record, orders, Path(path))
    orders.finish = orders.finish or how == "audit"
    while True:
        at = reader.at
        unread = how == "unread"
        entered = enter(
            name,
            address,
            record,
            orders,
            how != "audit",
            since=Since.after(at["echo"]),
            since_direct=Since.unread() if unread else Since.after(at["direct"]),
        )
        if entered is None:
            return
        client, identity = entered
        reader.life += 1
        record.note("open", reader.life, at["echo"], "unread" if unread else at["direct"])
        reader.work(client)
        identity.unlock()


if __name__ == "__main__":
    main(*sys.argv[1:])
