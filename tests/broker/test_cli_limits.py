"""``--limit NAME=VALUE``: what it means, and what it is not."""

from __future__ import annotations

import click
import pytest

from chatbroker.broker.allowance import DEFAULTS, UNBOUNDED
from chatbroker.broker.cli_limits import KINDS, Limit, allowance
from chatbroker.wire.bucket import UNLIMITED, Rate


def given(*texts):
    return allowance([Limit().convert(text, None, None) for text in texts])


def test_without_any_there_are_the_defaults():
    assert given() == DEFAULTS


def test_every_limit_can_be_set():
    assert {kind.field for kind in KINDS.values()} == set(DEFAULTS._fields)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("messages=500", "messages", Rate(500, 5000)),
        ("messages=500/20", "messages", Rate(500, 20)),
        ("messages=1", "messages", Rate(1, 10)),
        ("messages=unlimited", "messages", UNLIMITED),
        ("bytes=1MB", "bytes", Rate(1_000_000, 10_000_000)),
        ("bytes=1MiB/1", "bytes", Rate(1 << 20, 1)),
        ("history=1MiB", "history", Rate(1 << 20, 8 << 20)),
        ("joins=60", "joins", Rate(1, 200)),
        ("joins=60/5", "joins", Rate(1, 5)),
        ("claims=1", "claims", Rate(1 / 60, 17)),
        ("claims=unlimited", "claims", UNLIMITED),
        ("sessions=2", "sessions", 2),
        ("sessions=unlimited", "sessions", UNBOUNDED),
        ("address-sessions=7", "address_sessions", 7),
        ("text=1kB", "text", 1000),
        ("text=16KiB", "text", 16384),
        ("subscriptions=3", "subscriptions", 3),
    ],
)
def test_a_limit_says_one_thing(text, field, value):
    assert given(text) == DEFAULTS._replace(**{field: value})


def test_of_two_for_the_same_the_last_holds():
    assert given("sessions=2", "text=10", "sessions=3") == DEFAULTS._replace(sessions=3, text=10)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("messages", "is no limit such as messages=1000; there are messages, bytes"),
        ("mesages=1", "is no limit"),
        ("=1", "is no limit"),
        ("messages=", "a number, or two with a slash between them, or 'unlimited' is wanted"),
        ("messages=-1", "is wanted"),
        ("messages=1.5", "is wanted"),
        ("messages=1e3", "is wanted"),
        ("messages=1/", "is wanted"),
        ("messages=1/2/3", "is wanted"),
        ("messages=unlimited/3", "is wanted"),
        ("messages=0", "from 1 to"),
        ("messages=1/0", "from 1 to"),
        ("messages=9999999999999999", "from 1 to 1000000000000000"),
        ("bytes=1000", "from 16384 to"),
        ("bytes=many", "a size such as 64KiB or 1MB, or two"),
        ("history=1kB", "from 16384 to"),
        ("sessions=1/2", "a number or 'unlimited' is wanted"),
        ("text=unlimited", "a size such as 64KiB or 1MB is wanted"),
        ("text=" + "9" * 400, "a size such as 64KiB or 1MB is wanted"),
        ("text=16385", "from 1 to 16384"),
        ("subscriptions=2", "from 3 to"),
    ],
)
def test_what_it_cannot_be(text, words):
    with pytest.raises(click.BadParameter, match=words) as caught:
        given(text)
    assert repr(text) in str(caught.value)
