"""A sender: ``python -m torture.sender NAME ADDRESS RECORD SEED HEARS TO...``

Sends "NAME:1", "NAME:2" … to everyone and to the users TO, in bursts, and notes what it is about
to send and what became of it.  Started again, it goes on with the next number.
"""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from random import Random

from chatbroker.client import Client
from chatbroker.client.commands import Outcome
from chatbroker.client.errors import ClientError
from chatbroker.client.pipeline import Receipt

from .program import PATIENCE, Orders, enter
from .record import Record, read_record

BURSTS = (1, 1, 1, 3, 10, 60)
PAUSE = 0.03
"""Seconds between bursts, on average."""

MOST_PENDING = 3000

WORDS = {Outcome.ACCEPTED: "ok", Outcome.UNKNOWN: "unknown", Outcome.UNSENT: "unsent"}


class Sender:
    def __init__(self, name: str, record: Record, orders: Orders, to: list[str], rng: Random):
        self._name = name
        self._record = record
        self._orders = orders
        self._to = to
        self._rng = rng
        self._pending: deque[tuple[int, Receipt]] = deque()

    def work(self, client: Client, life: int, n: int) -> int:
        """Sends until there is an order, or the client gives up; the last number."""
        orders, pending, rng = self._orders, self._pending, self._rng
        pipeline = client.pipeline(keep_refused=False)
        try:
            while not orders.finish and not orders.leave:
                numbers = range(n + 1, n + 1 + rng.choice(BURSTS))
                burst = [(number, self._draw()) for number in numbers]
                self._record.note_all([("invoke", life, number, to) for number, to in burst])
                n = numbers[-1]
                for number, to in burst:
                    text = f"{self._name}:{number}"
                    receipt = pipeline.echo(text) if to == "*" else pipeline.send(to, text)
                    pending.append((number, receipt))
                if rng.random() < 0.5 or len(pending) > MOST_PENDING:
                    self._wait(client)
                orders.wait(rng.expovariate(1 / PAUSE))
                client.receive_many(0)
                self._settle()
            if orders.finish:
                self._wait(client)
                self._record.note("end")
                orders.leave = True
        except ClientError as error:
            self._record.note("note", f"{type(error).__name__}: {error}")
        finally:
            client.close()
            self._settle()
            pending.clear()
        return n

    def _draw(self) -> str:
        chance = self._rng.random()
        if chance < 0.02:
            return f"nobody-{self._rng.randrange(10)}"
        return "*" if chance < 0.5 else self._rng.choice(self._to)

    def _wait(self, client: Client) -> None:
        """Until the last one's outcome is known; notes each as it comes."""
        pending, orders = self._pending, self._orders
        while pending:
            head, last = pending[0][1], pending[-1][1]
            client.wait_until(lambda: head.done or orders.leave, 0.2)  # noqa: B023
            if orders.leave:
                return
            if orders.finish:
                client.wait_until(lambda: last.done, PATIENCE)  # noqa: B023
                if not last.done:
                    raise ClientError("nothing was acknowledged for too long")
            self._settle()

    def _settle(self) -> None:
        lines: list[tuple[object, ...]] = []
        while self._pending and self._pending[0][1].done:
            number, receipt = self._pending.popleft()
            if receipt.outcome is Outcome.REFUSED:
                lines.append(("refused", number, receipt.code))
            else:
                lines.append((WORDS[receipt.outcome], number))
        if lines:
            self._record.note_all(lines)


def main(name: str, address: str, path: str, seed: str, hears: str, *to: str) -> None:
    life = n = 0
    for what, _, *values in read_record(Path(path)):
        if what == "open":
            life = values[0]
        elif what == "invoke":
            n = max(n, values[1])
    record, orders = Record(Path(path)), Orders()
    hear = hears == "hears"
    while (entered := enter(name, address, record, orders, hear, hear=hear)) is not None:
        client, identity = entered
        life += 1
        record.note("open", life)
        rng = Random(f"{seed} {name} {life}")
        n = Sender(name, record, orders, list(to), rng).work(client, life, n)
        identity.unlock()


if __name__ == "__main__":
    main(*sys.argv[1:])
