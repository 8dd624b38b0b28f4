"""How hosts are spelled, and which of them are this machine."""

from __future__ import annotations

import pytest

from chatbroker.command.hosts import is_loopback, one_spelling


@pytest.mark.parametrize(
    ("host", "spelled"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("LocalHost", "127.0.0.1"),
        ("*", "0.0.0.0"),
        ("0:0::1", "::1"),
        ("FE80::1%eth0", "fe80::1%eth0"),
        ("Example.ORG", "example.org"),
        ("127.1", "127.1"),  # A name, to Python; what it means is the resolver's to say.
    ],
)
def test_what_surely_means_the_same_is_spelled_alike(host, spelled):
    assert one_spelling(host) == one_spelling(spelled) == spelled


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        *[(host, True) for host in ("localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1")],
        *[(host, False) for host in ("0.0.0.0", "*", "::", "10.0.0.7", "example.org", "")],
    ],
)
def test_which_hosts_only_this_machine_reaches(host, is_here):
    assert is_loopback(host) is is_here
