"""How hosts are spelled, and which of them are this machine."""

from __future__ import annotations

import pytest

from chatbroker.command.hosts import checked_host, is_loopback, one_spelling


@pytest.mark.parametrize(
    ("host", "bare"),
    [
        *[(host, host) for host in ("chat.example.org", "10.0.0.7", "häuser")],
        *[(host, host) for host in ("::1", "fe80::1", "::ffff:1.2.3.4", "xn--hser-0qa_1")],
        ("[::1]", "::1"),
    ],
)
def test_what_may_stand_in_an_address_is_a_host(host, bare):
    assert checked_host(host) == bare


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "a:1",
        "[::1]:1",
        "[::1",
        "[a]",
        "a/b",
        "a@b",
        "a?b",
        "a\0b",
        "a\n",
        "it's",
        "*",
        "$(x)",
        "fe80::1%lo",
    ],
)
def test_anything_else_is_none(host):
    with pytest.raises(ValueError, match="a host is a name or an IP address, without a port"):
        checked_host(host)


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
