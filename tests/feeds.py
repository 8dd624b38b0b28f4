"""A client without a broker, for lines that are fed to it, and what they are fed by."""

from __future__ import annotations

import threading

import pytest
from tickets import resolve

from chatbroker.client.commands import Commands, Outcome
from chatbroker.client.errors import OutcomeUnknown, Refused, Unreachable
from chatbroker.client.pipeline import Receipt, Receipts

WITHIN = 15.0

GIVEN_UP = pytest.mark.parametrize(
    ("outcome", "error"), [(Outcome.UNKNOWN, OutcomeUnknown), (Outcome.UNSENT, Unreachable)]
)


class QuietClient:
    """A client without a broker: the test says what becomes of the commands."""

    ended = None
    broker = "tcp://127.0.0.1:5555"

    def __init__(self):
        self.changed = threading.Condition()
        self.receipts = []

    def pipeline(self, keep_refused):
        assert not keep_refused
        return self

    def echo(self, text):
        return self.echo_many([text])[0]

    def echo_many(self, texts):
        receipts = Receipts(self, Commands(None, texts))
        self.receipts += receipts
        return receipts

    def notify(self):
        with self.changed:
            self.changed.notify_all()

    def resolves(self, receipt, outcome=Outcome.ACCEPTED, code="", words=""):
        resolve(receipt, outcome, code, words, receipt.away)
        self.notify()

    def waits(self, ready):
        with self.changed:
            assert self.changed.wait_for(ready, WITHIN), "it did not happen"


def echoes(line, client, pipeline):
    return pipeline.echo(line)


def says_all(texts, pipeline):
    if "long" in texts:
        raise Refused("too_long", "too long")
    return pipeline.echo_many(texts)


def outcomes_by_line(entries):
    return [
        (line, result.text if isinstance(result, Receipt) else result.code)
        for entry in entries
        for line, result in enumerate(entry.results, entry.line)
    ]
