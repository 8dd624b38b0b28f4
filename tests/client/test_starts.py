"""From where a client begins to read."""

from __future__ import annotations

import pytest

from chatbroker.client.errors import UsageError
from chatbroker.client.starts import Since
from chatbroker.wire.limits import MAX_INT
from chatbroker.wire.messages import Start


@pytest.mark.parametrize(
    ("since", "start", "value"),
    [
        (Since.now(), Start.NOW, 0),
        (Since.unread(), Start.UNREAD, 0),
        (Since.all(), Start.AFTER, 0),
        (Since.after(0), Start.AFTER, 0),
        (Since.after(12), Start.AFTER, 12),
        (Since.after(MAX_INT), Start.AFTER, MAX_INT),
        (Since.last(90), Start.AGE, 90_000),
        (Since.last(0.0015), Start.AGE, 2),
        (Since.last(0), Start.AGE, 0),
    ],
)
def test_each_beginning_is_a_start_and_a_value(since, start, value):
    assert (since.start, since.value) == (start, value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Since.after(-1),
        lambda: Since.after(MAX_INT + 1),
        lambda: Since.last(-1),
        lambda: Since.last(-0.0005),
        lambda: Since.last(2 * MAX_INT / 1000),
        lambda: Since.last(1e30),
        lambda: Since.last(float("inf")),
        lambda: Since.last(float("nan")),
    ],
    ids=[
        *("before the first", "past the last", "in the future", "in half a millisecond"),
        *("too long ago", "long ago", "infinity", "nan"),
    ],
)
def test_what_the_protocol_cannot_carry_is_the_callers_mistake(make):
    with pytest.raises(UsageError):
        make()
