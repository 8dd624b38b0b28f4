"""Addresses of brokers."""

from __future__ import annotations

import pytest

from chatbroker.client.address import DEFAULT, parse_address
from chatbroker.client.errors import UsageError


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        (DEFAULT, "127.0.0.1", 5555),
        ("tcp://example.org:1", "example.org", 1),
        ("tcp://[::1]:65535", "::1", 65535),
        ("tcp://chat_1.internal:007", "chat_1.internal", 7),
        ("tcp://[fe80::1%2]:5555", "fe80::1%2", 5555),
    ],
)
def test_host_and_port(address, host, port):
    assert parse_address(address) == (host, port)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:5555",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://:5555",
        "tcp://host:0",
        "tcp://host:65536",
        "tcp://host:99999",
        "tcp://host:5555/",
        "tcp://host:5555\n",
        "tcp://user@host:5555",
        "tcp://::1:5555",
        "tcp://[]:5555",
        "tcp://ho st:5555",
        "tcp://host\0:5555",
        "tcp://host:-1",
        "tcp://host:５５５５",
        "ipc:///tmp/broker",
        "TCP://host:5555",
    ],
)
def test_anything_else_is_refused_with_an_example(address):
    with pytest.raises(UsageError, match=r"write it like tcp://127\.0\.0\.1:5555") as caught:
        parse_address(address)
    assert repr(address) in str(caught.value)
