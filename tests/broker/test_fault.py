"""A fault that goes on is told once."""

from __future__ import annotations

import pytest

from chatbroker.broker.clock import TurnClock
from chatbroker.broker.counts import Counts
from chatbroker.broker.fault import OVER, Fault
from chatbroker.broker.outgoing import Outgoing


@pytest.mark.parametrize(
    ("happened", "told"),
    [
        ([(0, "one")], ["one"]),
        ([(second, "one") for second in range(100)], ["one"]),
        ([(0, "one"), (1, "other"), (2, "other"), (3, "one")], ["one", "other", "one"]),
        ([(0, "one"), (OVER, "one")], ["one"]),
        ([(0, "one"), (OVER + 1, "one"), (OVER + 2, "one")], ["one", "one"]),
    ],
)
def test_what_goes_on_is_told_once_and_what_comes_back_again(happened, told):
    out, clock = Outgoing(Counts()), TurnClock()
    fault = Fault(out.warn, clock, "cannot_read")
    for second, because in happened:
        clock.begin(1000.0 + second, 0)
        fault.happened(because)
    notes = [(note.what, note.fields["because"], note.grave) for note in out.take()]
    assert notes == [("cannot_read", because, True) for because in told]
