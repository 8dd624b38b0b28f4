"""A client keeps to the rates that it was told, and to what the broker says of them."""

from __future__ import annotations

from math import inf

import pytest

from chatbroker.client.commands import Commands
from chatbroker.client.outbox import Outbox
from chatbroker.client.pace import MARGIN, Pace
from chatbroker.wire.messages import Limits

NOW = 100.0


def limits(messages=(0, 0), sizes=(0, 0)):
    return Limits(65536, 16384, 1024, 1 << 20, *messages, *sizes)


@pytest.fixture
def pace():
    """A hundred messages a second, a thousand at once; a kilobyte, ten at once."""
    pace = Pace()
    pace.keep_to(limits((100, 1000), (1000, 10_000)))
    return pace


def test_before_anything_is_told_there_is_no_limit():
    pace = Pace()
    pace.took(10**9, 10**9, NOW)
    assert pace.until <= NOW
    assert pace.left(NOW) == (inf, inf)


def test_0_is_no_limit(pace):
    pace.keep_to(limits())
    pace.took(10**9, 10**9, NOW)
    assert pace.left(NOW) == (inf, inf)


def test_some_of_the_burst_is_left_to_chance(pace):
    messages, sizes = pace.left(NOW)
    assert messages == pytest.approx(1000 - 100 * MARGIN)
    assert sizes == pytest.approx(10_000 - 1000 * MARGIN)


def test_of_a_small_burst_that_is_half():
    pace = Pace()
    pace.keep_to(limits((100, 4)))
    assert pace.left(NOW)[0] == pytest.approx(2)


@pytest.mark.parametrize(("messages", "size"), [(1100, 0), (0, 11_000)])
def test_either_may_be_what_is_waited_for(pace, messages, size):
    pace.took(messages, size, NOW)
    assert NOW + 1 < pace.until < NOW + 2


def test_being_welcomed_again_forgives_nothing(pace):
    pace.took(2000, 0, NOW)
    until = pace.until
    pace.keep_to(limits((100, 1000), (1000, 10_000)))
    assert pace.until == until


def test_other_rates_hold_from_then_on(pace):
    pace.took(2000, 0, NOW)
    pace.keep_to(limits((200, 1000)))
    assert pace.until < NOW
    pace.took(1150, 0, NOW)
    assert pace.until == pytest.approx(NOW + 1)


def test_who_may_say_no_more_and_owes_nothing_says_one():
    """A bucket may be just empty, of messages or of bytes: then the next is put into its debt."""
    for spent in ((4, 0), (0, 750)):
        outbox = Outbox()
        outbox.pace.keep_to(limits((4, 5), (1000, 1000)))
        outbox.pace.took(*spent, NOW)
        assert 0 in outbox.pace.left(NOW)
        outbox.put(Commands(None, ["a", "b"]))
        assert len(list(outbox.due(10, 1000, NOW))) == 1
        assert (outbox.sent, outbox.held_until > NOW) == (1, True)


def test_the_broker_may_want_more_patience(pace):
    pace.hold(NOW + 5)
    assert pace.until == NOW + 5
