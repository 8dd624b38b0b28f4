"""What the tests of the wire share: a decoder for each direction, and one way to pack by hand."""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import pytest
from hypothesis import settings

from chatbroker.wire.codec import FROM_BROKER, FROM_CLIENT, Decoder

settings.register_profile("unit", max_examples=30, deadline=None, print_blob=True)
settings.load_profile("unit")


@pytest.fixture
def from_client() -> Decoder:
    """What the broker decodes with."""
    return Decoder(FROM_CLIENT)


@pytest.fixture
def from_broker() -> Decoder:
    """What a client decodes with."""
    return Decoder(FROM_BROKER)


@pytest.fixture
def raw() -> Callable[..., bytes]:
    """Packs an array as it stands, however wrong."""
    return lambda *elements: msgpack.packb(elements)
