"""What can be set about a broker."""

from __future__ import annotations

import pytest

from chatbroker.broker.config import Config, StartError


@pytest.mark.parametrize(
    ("port", "pub_port", "listening_on", "publishes_on"),
    [
        (5555, None, 5555, 5556),
        (5555, 7000, 5555, 7000),
        (5555, 0, 5555, 0),
        (0, None, 40_000, 0),
        (0, 7000, 40_000, 7000),
        (65_535, 7000, 65_535, 7000),
        (0, None, 65_535, 0),
    ],
)
def test_the_port_for_broadcasts(port, pub_port, listening_on, publishes_on):
    config = Config(port=port, pub_port=pub_port)
    assert config.pub_port_for(listening_on) == publishes_on


def test_the_last_port_has_none_after_it():
    with pytest.raises(StartError, match="give --pub-port"):
        Config(port=65_535).pub_port_for(65_535)


def test_only_this_machine_can_connect_unless_told_otherwise():
    assert Config().host == "127.0.0.1"


def test_a_lease_bears_lost_heartbeats():
    assert Config().lease >= 2 * Config().heartbeat
