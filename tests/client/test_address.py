"""Addresses of brokers."""

from __future__ import annotations

import pytest

from chatbroker.client.address import (
    DEFAULT,
    no_answer,
    parse_address,
    parse_invitation,
    plain_text,
)
from chatbroker.client.errors import Unreachable, UsageError
from chatbroker.wire.keys import key_text


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
    assert parse_address(address) == (host, port, False, b"")


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
        "tcp://*:5555",
        "tcp://\udcff:5555",
        f"tcp://{'h' * 254}:5555",
    ],
)
def test_anything_else_is_refused_with_an_example(address):
    with pytest.raises(UsageError, match=r"write it like tcp://127\.0\.0\.1:5555") as caught:
        parse_address(address)
    assert repr(address) in str(caught.value)


# --- secure brokers -----------------------------------------------------------------------

KEY = bytes(range(32))
WRITTEN = key_text(KEY)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        (f"chat://example.org:5555/{WRITTEN}", ("example.org", 5555, True, KEY)),
        (f"chat://[::1]:1/{WRITTEN}", ("::1", 1, True, KEY)),
        ("chat://example.org:5555", ("example.org", 5555, True, b"")),
        ("chat://example.org:5555/", ("example.org", 5555, True, b"")),
    ],
)
def test_a_secure_broker_may_have_its_key_in_its_address(address, parts):
    assert parse_address(address) == parts


@pytest.mark.parametrize(
    "address",
    [
        f"tcp://host:5555/{WRITTEN}",
        f"chat://host:5555/{WRITTEN[:-1]}",
        f"chat://host:5555/{WRITTEN}A",
        f"chat://host:5555/{WRITTEN}/",
        f"chat://alice@host:5555/{WRITTEN}",
        "chat://host/",
        "chat://host:0/",
    ],
)
def test_an_address_with_a_key_is_exact(address):
    with pytest.raises(UsageError, match="not a broker's address"):
        parse_address(address)


def test_an_invitation_is_no_address_and_is_not_repeated():
    with pytest.raises(UsageError, match="'chat accept' takes it") as caught:
        parse_address(f"chat://alice:{WRITTEN}@host:5555/{WRITTEN}")
    assert WRITTEN not in str(caught.value)


@pytest.mark.parametrize("host", ["example.org", "[fe80::1]", "10.0.0.7"])
def test_an_invitation_has_an_address_a_name_and_a_token(host):
    found = parse_invitation(f"chat://Alice:{key_text(bytes(32))}@{host}:5555/{WRITTEN}")
    assert found.address == (host.strip("[]"), 5555, True, KEY)
    assert (found.name, found.token) == ("alice", bytes(32))


def test_an_invitation_may_be_the_whole_command_that_was_printed():
    invitation = f"chat://alice:{WRITTEN}@host:5555/{WRITTEN}"
    for line in (f"chat accept '{invitation}'", f"'{invitation}'", f"chat accept  {invitation} "):
        assert parse_invitation(line) == parse_invitation(invitation)
    with pytest.raises(UsageError):
        parse_invitation(f"chat accept '{invitation}' --json")


@pytest.mark.parametrize(
    "line",
    [
        "",
        f"chat://host:5555/{WRITTEN}",
        f"chat://alice@host:5555/{WRITTEN}",
        f"chat://alice:{WRITTEN}@host:5555",
        f"chat://alice:{WRITTEN}@host:5555/",
        f"chat://alice:{WRITTEN[:-2]}@host:5555/{WRITTEN}",
        f"chat://.alice:{WRITTEN}@host:5555/{WRITTEN}",
        f"chat://alice:{WRITTEN}@host:99999/{WRITTEN}",
        f"tcp://alice:{WRITTEN}@host:5555/{WRITTEN}",
    ],
)
def test_half_an_invitation_is_none_and_is_not_repeated(line):
    with pytest.raises(UsageError, match="not an invitation") as caught:
        parse_invitation(line)
    assert WRITTEN[:20] not in str(caught.value)


def test_an_address_is_shown_without_its_key():
    assert plain_text(parse_address(f"chat://[::1]:5555/{WRITTEN}")) == "chat://[::1]:5555"
    assert plain_text(parse_address("tcp://host:5555")) == "tcp://host:5555"


THERE = ", though something is there; a broker may be stopped, or unable to store"


@pytest.mark.parametrize(
    ("broker", "there", "words"),
    [
        ("tcp://127.0.0.1:5555", False, "; is it running? 'chatbroker run' starts one"),
        ("tcp://localhost:6000", False, "; is it running? 'chatbroker run --port 6000' starts one"),
        ("tcp://chat.example:5555", False, "; is it running, and is the address right?"),
        ("chat://127.0.0.1:5555/abc", False, "; is it running, and is the address right?"),
        ("tcp://127.0.0.1:5555", True, f"{THERE}: see 'chatbroker status'"),
        ("tcp://127.0.0.1:6000", True, f"{THERE}: see 'chatbroker status --port 6000'"),
        ("tcp://chat.example:5555", True, THERE),
    ],
)
def test_who_gets_no_answer_hears_what_to_look_at(broker, there, words):
    error = no_answer(broker, there)
    assert isinstance(error, Unreachable)
    assert str(error) == f"no broker answers at {broker}{words}"
