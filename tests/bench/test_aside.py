"""Loads in processes of their own."""

from __future__ import annotations

import time

import pytest

from bench import paced
from bench.aside import beside
from bench.load import Stuck
from bench.processes import running_broker


def test_a_load_that_dies_is_told():
    with pytest.raises(Stuck, match="ended with"), beside("paced", "tcp://127.0.0.1:1", "1") as one:
        one.ask("rate")


def test_the_others_talk_until_they_are_ended():
    with running_broker() as broker, paced.running(broker, 1000, 10) as load:
        # Each time it tells what was read since it was last asked.
        until = time.monotonic() + 10
        while not load.rate():
            assert time.monotonic() < until
