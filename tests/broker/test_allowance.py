"""What a user has used up, which addresses are one, how many of them are remembered."""

from __future__ import annotations

import pytest

from chatbroker.broker import allowance as module
from chatbroker.broker.allowance import (
    DEFAULTS,
    Allowance,
    Places,
    Spent,
    network_of,
    shortened,
    told,
)
from chatbroker.wire.bucket import UNLIMITED, Rate
from chatbroker.wire.limits import MAX_TEXT
from chatbroker.wire.messages import Echo, Info, Send

NOW = 1000.0


def test_what_a_turn_brought_is_taken_when_it_ends():
    spent = Spent(Allowance(messages=Rate(10, 5), bytes=Rate(100, 1000)))
    spent.messages, spent.bytes = 6, 300
    assert spent.until < NOW
    spent.settle(NOW)
    assert spent.until == pytest.approx(NOW + 0.1)
    assert (spent.messages, spent.bytes) == (0, 0)


def test_the_bucket_that_is_deeper_in_debt_decides():
    spent = Spent(Allowance(messages=Rate(10, 5), bytes=Rate(100, 1000)))
    spent.messages, spent.bytes = 6, 2000
    spent.settle(NOW)
    assert spent.until == pytest.approx(NOW + 10)


def test_a_million_short_lines_at_once_are_within_the_defaults():
    spent = Spent(DEFAULTS)
    spent.messages, spent.bytes = 1_000_000, 100_000_000
    spent.settle(NOW)
    assert spent.until <= NOW


def test_a_rate_is_told_in_whole_numbers_and_none_as_0():
    assert told(Rate(100.0, 1000.0)) == (100, 1000)
    assert told(UNLIMITED) == (0, 0)


def test_no_text_is_longer_than_the_protocol_lets_it_be_by_default():
    assert DEFAULTS.text == MAX_TEXT


# --- addresses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"),
        ("[2001:db8:0:1::1]", "2001:db8:0:1::2"),
        ("fe80::1%eth0", "fe80::2%eth0"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_these_are_one_address(one, other):
    assert network_of(one) == network_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("192.0.2.7", "192.0.2.8"),
        ("2001:db8:0:1::1", "2001:db8:0:2::1"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8"),
        ("", "192.0.2.7"),
    ],
)
def test_these_are_two(one, other):
    assert network_of(one) != network_of(other)


def test_what_is_no_address_is_one_of_its_own():
    assert network_of("somewhere") == "somewhere"


def test_an_address_is_found_again():
    places = Places(DEFAULTS)
    assert places.find("192.0.2.7") is places.find("192.0.2.7")
    assert places.find("192.0.2.7") is not places.find("192.0.2.8")
    assert len(places) == 2


def test_the_address_that_was_away_longest_is_forgotten(monkeypatch):
    monkeypatch.setattr(module, "MOST_ADDRESSES", 3)
    places = Places(DEFAULTS)
    first, second, _ = [places.find(f"192.0.2.{number}") for number in range(3)]
    assert places.find("192.0.2.0") is first
    places.find("192.0.2.3")
    assert len(places) == 3
    assert places.find("192.0.2.0") is first
    assert places.find("192.0.2.1") is not second


def test_a_place_that_is_found_already_gets_another_allowance():
    places = Places(DEFAULTS)
    place = places.find("192.0.2.7")
    place.live = 3
    places.allow(Allowance(joins=Rate(1, 1)))
    assert places.find("192.0.2.7") is place
    assert place.live == 3
    for found in (place, places.find("192.0.2.8")):
        found.joins.take(3, NOW)
        assert found.joins.wait(NOW) == pytest.approx(2)


# --- texts --------------------------------------------------------------------------------


def test_texts_that_are_too_long_are_none():
    messages = [Info(1, ""), Send(1, "bob", ("1234", "12345", "", None)), Echo(5, ("é" * 2, "ééé"))]
    assert shortened(messages, 4) == [
        Info(1, ""),
        Send(1, "bob", ("1234", None, "", None)),
        Echo(5, ("é" * 2, None)),
    ]
