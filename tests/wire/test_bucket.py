"""Tokens: what is there, what a debt costs, what a rest brings."""

from __future__ import annotations

import random
from math import inf

import pytest

from chatbroker.wire.bucket import UNLIMITED, Bucket, Rate

NOW = 1000.0


@pytest.fixture
def bucket():
    """Ten a second, fifty at once."""
    return Bucket(Rate(10, 50))


def test_a_new_bucket_is_full(bucket):
    assert bucket.left(NOW) == pytest.approx(50)
    assert bucket.wait(NOW) == 0


def test_what_is_taken_is_missing(bucket):
    bucket.take(20, NOW)
    assert bucket.left(NOW) == pytest.approx(30)
    bucket.take(30, NOW)
    assert bucket.left(NOW) == pytest.approx(0)


def test_an_empty_bucket_is_not_in_debt(bucket):
    bucket.take(50, NOW)
    assert bucket.wait(NOW) == 0
    bucket.take(1, NOW)
    assert bucket.wait(NOW) == pytest.approx(0.1)


def test_any_amount_may_be_taken_and_is_paid_for_later(bucket):
    bucket.take(150, NOW)
    assert bucket.left(NOW) == pytest.approx(-100)
    assert bucket.wait(NOW) == pytest.approx(10)
    assert bucket.wait(NOW + 9.9) == pytest.approx(0.1)
    assert bucket.wait(NOW + 10.1) == 0


def test_taking_tells_until_when_there_is_a_debt(bucket):
    assert bucket.take(60, NOW) == pytest.approx(NOW + 1) == bucket.until


def test_it_fills_up_and_not_further(bucket):
    bucket.take(50, NOW)
    assert bucket.left(NOW + 2) == pytest.approx(20)
    assert bucket.left(NOW + 5) == pytest.approx(50)
    assert bucket.left(NOW + 3600) == pytest.approx(50)
    bucket.take(50, NOW + 3600)
    assert bucket.left(NOW + 3600) == pytest.approx(0)


def test_it_may_be_held(bucket):
    bucket.hold(NOW + 3)
    assert bucket.wait(NOW) == pytest.approx(3)
    bucket.hold(NOW + 1)
    assert bucket.wait(NOW) == pytest.approx(3)
    assert bucket.left(NOW + 3) == pytest.approx(0)


def test_an_unlimited_bucket_is_never_empty():
    bucket = Bucket(UNLIMITED)
    for _ in range(3):
        bucket.take(10**12, NOW)
        assert bucket.wait(NOW) == 0
        assert bucket.left(NOW) == inf


def test_an_unlimited_bucket_may_be_held():
    bucket = Bucket(UNLIMITED)
    bucket.hold(NOW + 3)
    assert bucket.wait(NOW) == pytest.approx(3)
    assert bucket.wait(NOW + 3) == 0


@pytest.mark.parametrize("seed", range(20))
def test_in_the_long_run_no_more_is_taken_than_the_rate_and_one_burst(seed):
    rng = random.Random(seed)
    rate = Rate(rng.choice([0.5, 10, 1000]), rng.choice([1, 7, 500]))
    bucket, now, taken, most = Bucket(rate), NOW, 0, 5
    for _ in range(2000):
        if bucket.wait(now) == 0:
            amount = rng.randint(1, most)
            bucket.take(amount, now)
            taken += amount
        now += rng.expovariate(rate.per_second)
    assert taken <= rate.burst + rate.per_second * (now - NOW) + most
