"""The pytest plugin: the fixtures ``chatbrokers`` and ``chatbroker``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .brokers import BrokerProcess, Brokers


@pytest.fixture
def chatbrokers() -> Iterator[Brokers]:
    """Starts brokers: ``chatbrokers.start()``.  All are ended after the test."""
    # Here, because pytest loads plugins in every run, also where nobody chats.
    from .brokers import Brokers

    brokers = Brokers()
    try:
        yield brokers
    finally:
        brokers.close()


@pytest.fixture
def chatbroker(chatbrokers: Brokers) -> BrokerProcess:
    """A broker on a free port: ``chatbroker.client("alice")``, ``chatbroker.address``."""
    return chatbrokers.start()
