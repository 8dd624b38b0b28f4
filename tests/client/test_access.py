"""Which keys a client presents, found in files."""

from __future__ import annotations

import os
import stat

import pytest

from chatbroker.client.access import (
    SERVER,
    Access,
    find_access,
    is_own_user,
    kept_names,
    known_brokers,
    known_server,
    own_names,
    remember_server,
)
from chatbroker.client.address import parse_address
from chatbroker.client.errors import IdentityError, NotAuthorised
from chatbroker.client.identity import Identity, folder_of
from chatbroker.command.local import Local, local_path, write_local
from chatbroker.wire.keys import key_text

KEY, OTHER, SECRET = b"k" * 32, b"o" * 32, b"s" * 32
FAR = "chat://example.org:5555"
HERE = "tcp://127.0.0.1:5555"


@pytest.fixture(autouse=True)
def data(monkeypatch, tmp_path):
    monkeypatch.setenv("CHATBROKER_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def with_key(name, broker=FAR, secret=SECRET):
    identity = Identity.of(broker, name)
    identity.lock()
    identity.take_key(secret)
    identity.unlock()
    return identity


def accepted(broker=FAR, key=KEY):
    remember_server(parse_address(f"{broker}/{key_text(key)}"))


def left_for_own_user(port=5555, host="0.0.0.0", key=KEY, secret=OTHER):
    write_local(port, Local(host, key_text(key), key_text(secret), 1))


def access(broker, name="alice", **options):
    return find_access(parse_address(broker), name, **options)


def test_without_any_key_a_broker_is_taken_for_a_plain_one(data):
    assert access(HERE) == access(HERE, None) == Access("127.0.0.1", 5555)
    assert not data.exists()


def test_by_a_key_of_ones_own_at_a_broker_that_is_known():
    with_key("alice")
    accepted()
    expected = Access("example.org", 5555, KEY, SECRET, "alice")
    assert access(FAR) == access("tcp://example.org:5555") == expected
    assert access(FAR, None) == expected


def test_an_address_may_tell_the_brokers_key():
    with_key("alice")
    assert access(f"{FAR}/{key_text(KEY)}").server_key == KEY
    assert known_server(parse_address(FAR)) == b""


def test_an_address_with_another_key_than_is_known_is_refused():
    with_key("alice")
    accepted()
    with pytest.raises(NotAuthorised, match="known by another key") as caught:
        access(f"{FAR}/{key_text(OTHER)}")
    assert str(folder_of(parse_address(FAR)) / SERVER) in str(caught.value)
    with pytest.raises(NotAuthorised, match="known by another key"):
        accepted(key=OTHER)
    assert known_server(parse_address(FAR)) == KEY


def test_a_secure_broker_without_a_key_is_asked_for_nothing():
    with_key("alice")
    with pytest.raises(NotAuthorised, match="no key of the broker"):
        access(FAR)


@pytest.mark.parametrize("name", ["bob", None])
def test_who_has_no_key_is_told_how_to_get_one(name):
    accepted()
    with pytest.raises(NotAuthorised, match=r"there is no key for .*'chat accept'"):
        access(FAR, name)
    Identity.of(FAR, "bob")
    of_bob = " of 'bob'" if name else ""
    with pytest.raises(NotAuthorised, match=f"there is no key{of_bob} for "):
        access(FAR, name)


@pytest.mark.parametrize(
    ("listens", "host"),
    [
        *[("0.0.0.0", host) for host in ("127.0.0.1", "localhost", "LOCALHOST", "127.1.2.3")],
        *[("::", host) for host in ("127.0.0.1", "localhost", "[::1]", "[0:0::1]")],
        ("localhost", "127.0.0.1"),
    ],
)
def test_the_brokers_own_user_needs_nothing_on_its_machine(listens, host):
    left_for_own_user(host=listens)
    expected = (5555, KEY, OTHER, "")
    assert access(f"tcp://{host}:5555")[1:5] == expected
    assert access(f"chat://{host}:5555", None)[1:5] == expected
    assert is_own_user(parse_address(f"tcp://{host}:5555"))


def test_what_a_broker_left_is_good_for_that_one_alone():
    left_for_own_user(host="10.0.0.7")
    assert access("tcp://10.0.0.7:5555").secret == OTHER
    assert access("tcp://10.0.0.8:5555").secret == b""
    assert access("tcp://127.0.0.1:5556").secret == b""
    assert not is_own_user(parse_address("tcp://example.org:5555"))


def test_of_brokers_on_one_port_of_several_addresses_each_is_met_by_its_own_key():
    left_for_own_user(host="127.0.0.1")
    left_for_own_user(host="127.0.0.2", key=OTHER, secret=SECRET)
    assert access("tcp://127.0.0.1:5555")[2:4] == (KEY, OTHER)
    assert access("tcp://127.0.0.2:5555")[2:4] == (OTHER, SECRET)
    assert access("tcp://127.0.0.3:5555") == Access("127.0.0.3", 5555)


def test_a_key_of_ones_own_goes_before_what_the_broker_left():
    left_for_own_user()
    with_key("alice", HERE)
    assert access(HERE).name == "alice"
    assert access(HERE, "bob").name == ""


def test_what_another_broker_left_on_that_port_is_not_used():
    left_for_own_user(key=OTHER)
    accepted("chat://127.0.0.1:5555")
    with pytest.raises(NotAuthorised, match="there is no key"):
        access(HERE)


def test_what_is_broken_is_no_way_in():
    left_for_own_user()
    write_local(5555, Local("127.0.0.1", "short", "short", 1))
    assert access(HERE) == Access("127.0.0.1", 5555)
    local_path("127.0.0.1", 5555).write_text("{")
    assert access(HERE) == Access("127.0.0.1", 5555)


def test_the_names_that_one_has_keys_for():
    address = parse_address(FAR)
    assert own_names(address) == []
    with_key("bob")
    with_key("alice")
    Identity.of(FAR, "carol")
    accepted()
    assert own_names(address) == ["alice", "bob"]


def test_the_brokers_key_is_for_its_owner_only_and_never_guessed_when_it_is_broken():
    accepted()
    path = folder_of(parse_address(FAR)) / SERVER
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    accepted()
    path.write_text("{}")
    with pytest.raises(IdentityError, match="broken"):
        access(FAR)


def test_a_pipe_where_the_brokers_key_was_is_not_waited_for():
    accepted()
    path = folder_of(parse_address(FAR)) / SERVER
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(IdentityError, match=f"cannot read {path}: it is no regular file"):
        access(FAR)


def test_a_folder_that_cannot_be_written_to_is_told(data):
    data.parent.mkdir(exist_ok=True)
    data.write_text("a file")
    with pytest.raises(IdentityError, match="cannot keep"):
        accepted()


def test_a_key_is_kept_when_a_session_is_remembered():
    identity = with_key("alice")
    identity.lock()
    identity.remember(os.urandom(16))
    identity.unlock()
    assert Identity.of(FAR, "alice").key == SECRET
    assert with_key("alice", secret=OTHER).key == SECRET


# --- what files tell ----------------------------------------------------------------------


def test_names_that_one_has_used_are_known_with_a_key_or_without(data):
    address = parse_address(FAR)
    assert kept_names(address) == known_brokers() == []
    with_key("bob")
    Identity.of(FAR, "alice")
    accepted()
    assert kept_names(address) == ["alice", "bob"]
    assert own_names(address) == ["bob"]


def test_brokers_are_known_by_names_and_keys(data):
    Identity.of("tcp://Example.com:6000", "alice")
    Identity.of("tcp://[::1]:6000", "alice")
    accepted()
    left_for_own_user(7000)
    Identity.of("tcp://127.0.0.1:7000", "alice")
    for stray in ("notes", "_", "a_b", "host_99999"):
        (data / "identities" / stray).mkdir()
    (data / "run" / "7001.json").write_text("{}")
    assert known_brokers() == [
        "chat://127.0.0.1:7000",
        FAR,
        "tcp://[::1]:6000",
        "tcp://example.com:6000",
    ]


def test_a_folder_that_cannot_be_looked_into_is_told(data):
    data.mkdir()
    (data / "identities").symlink_to("identities")
    with pytest.raises(IdentityError, match="cannot look into"):
        known_brokers()
