"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from chatbroker.command.quantities import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("0s", 0),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "90",
            "s",
            "-1s",
            "1 h",
            "1H",
            "1h30",
            ".5h",
            "1.h",
            "1h ",
            "all",
            "１h",
            "1e3s",
            "0.9ms",
        ),
        *("9" * 400 + "d", "9" * 308 + "d"),
    ],
    ids=lambda text: text[:9],
)
def test_what_is_no_duration(text):
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("500B", 500),
        ("1k", 1000),
        ("1kB", 1000),
        ("1KiB", 1024),
        ("1.5MB", 1_500_000),
        ("1GB", 10**9),
        ("2 GiB", 2 * 1024**3),
        ("1tb", 10**12),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "GB", "-1GB", "1 G B", "1e9", "1PB", "all", "１GB", "9" * 400, "9" * 308 + "GB"],
    ids=lambda text: text[:9],
)
def test_what_is_no_size(text):
    assert parse_size(text) is None
