"""Values with a unit, from the command line and from the config file."""

from __future__ import annotations

import click
import pytest

from chatbroker.broker.quantity import DURATION, MOST, SIZE, SPAN, Seconds


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (DURATION, "90s", 90),
        (DURATION, "1h30m", 5400),
        (DURATION, "30d", 30 * 86400),
        (SIZE, "500MB", 500_000_000),
        (SIZE, "2GiB", 2 * 2**30),
        # As TOML has it.
        (SIZE, 1000, 1000),
    ],
)
def test_a_number_with_a_unit_is_so_many(kind, value, found):
    assert kind.convert(value, None, None) == found


@pytest.mark.parametrize(
    ("kind", "value"), [(DURATION, "forever"), (SIZE, "unlimited"), (DURATION, None), (SIZE, None)]
)
def test_a_word_stands_for_no_bound(kind, value):
    assert kind.convert(value, None, None) is None


@pytest.mark.parametrize(
    "value", ["", "0s", "-1h", "soon", "30", 30, "unlimited", "1h 30m", "nan", "9" * 400 + "d"]
)
def test_what_is_no_duration_is_told_with_what_would_be_one(value):
    with pytest.raises(click.BadParameter) as told:
        DURATION.convert(value, None, None)
    words = "is no duration such as 90s, 12h or 30d, nor 'forever'"
    assert str(told.value) == f"{value!r} {words}"


@pytest.mark.parametrize("value", ["forever", "0s", "30"])
def test_of_what_has_an_end_no_word_for_none_is_offered(value):
    with pytest.raises(click.BadParameter) as told:
        SPAN.convert(value, None, None)
    assert str(told.value) == f"{value!r} is no duration such as 90s, 12h or 30d"
    assert SPAN.convert("90s", None, None) == 90


@pytest.mark.parametrize("value", ["", "0", 0, "-5", "much", "forever", "5 apples", "9" * 400])
def test_what_is_no_size_is_told_with_what_would_be_one(value):
    with pytest.raises(click.BadParameter, match="is no size such as 500MB or 1GB, nor 'unlimit"):
        SIZE.convert(value, None, None)


@pytest.mark.parametrize(("kind", "unit"), [(DURATION, "s"), (SPAN, "s"), (SIZE, "B")])
def test_more_than_anybody_can_count_to_is_refused(kind, unit):
    assert kind.convert(f"{MOST}{unit}", None, None) == MOST
    with pytest.raises(click.BadParameter):
        kind.convert(f"{MOST + 1}{unit}", None, None)


@pytest.mark.parametrize("value", ["nan", float("nan"), "-nan"])
def test_nan_is_no_number_of_seconds(value):
    kind = Seconds(0.1, 3600)
    assert kind.convert("2.5", None, None) == 2.5
    with pytest.raises(click.BadParameter) as told:
        kind.convert(value, None, None)
    assert str(told.value) == f"{value!r} is no number of seconds"
    with pytest.raises(click.BadParameter):
        kind.convert("inf", None, None)
