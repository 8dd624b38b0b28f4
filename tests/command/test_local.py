"""How commands of a secure broker's own user find in."""

from __future__ import annotations

import os
import stat

import pytest

from chatbroker.command.local import (
    Local,
    clear_local,
    local_path,
    read_local,
    remove_local,
    write_local,
)

LOCAL = Local("127.0.0.1", "K" * 43, "S" * 43, 17)


@pytest.fixture(autouse=True)
def data(monkeypatch, tmp_path):
    monkeypatch.setenv("CHATBROKER_DATA", str(tmp_path / "data"))


def leave(host, pid=17, port=5555):
    write_local(port, LOCAL._replace(host=host, pid=pid))


def left(port=5555):
    """Which brokers have left something."""
    path = local_path("there", port)
    names = [found.name for found in path.parent.glob(f"*_{port}.json")]
    return sorted(name.removesuffix(f"_{port}.json").replace("%3A", ":") for name in names)


def test_what_a_broker_leaves_is_found_by_its_address_and_only_by_its_owner():
    assert read_local("127.0.0.1", 5555) is None
    leave("127.0.0.1")
    assert read_local("127.0.0.1", 5555) == read_local("localhost", 5555) == LOCAL
    assert read_local("127.0.0.1", 5556) is None
    assert read_local("127.0.0.2", 5555) is None
    path = local_path("127.0.0.1", 5555)
    assert path.name == "127.0.0.1_5555.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_brokers_on_one_port_of_several_addresses_leave_each_others_alone():
    leave("127.0.0.1", 1)
    leave("127.0.0.2", 2)
    leave("::1", 3)
    leave("10.0.0.7", 4)
    hosts = ("127.0.0.1", "127.0.0.2", "0::1", "10.0.0.7")
    assert [read_local(host, 5555).pid for host in hosts] == [1, 2, 3, 4]
    remove_local("127.0.0.2", 5555, 2)
    clear_local("::1", 5555)
    assert left() == ["10.0.0.7", "127.0.0.1"]


@pytest.mark.parametrize(
    ("listens", "reached", "not_reached"),
    [
        ("0.0.0.0", ["127.0.0.1", "127.9.9.9", "localhost", "0.0.0.0"], ["::1", "10.0.0.7"]),
        ("*", ["127.0.0.1", "localhost"], ["::1"]),
        ("::", ["::1", "127.0.0.1", "localhost"], ["10.0.0.7", "example.org"]),
        ("Example.org", ["example.org", "EXAMPLE.ORG"], ["127.0.0.1"]),
    ],
)
def test_it_is_found_where_the_broker_is_reached_on_its_machine(listens, reached, not_reached):
    leave(listens)
    assert all(read_local(host, 5555) for host in reached)
    assert not any(read_local(host, 5555) for host in not_reached)


@pytest.mark.parametrize(
    ("listens", "stay"),
    [
        ("127.0.0.1", ["10.0.0.7", "::1"]),
        ("10.0.0.7", ["127.0.0.1", "::1"]),
        ("::1", ["0.0.0.0", "10.0.0.7", "127.0.0.1"]),
        ("0.0.0.0", ["::1"]),
        ("*", ["::1"]),
        ("::", []),
    ],
)
def test_what_was_left_where_another_listens_now_is_out_of_date(listens, stay):
    leave("127.0.0.1", port=15555)
    # Of brokers that were killed.
    for host in ("0.0.0.0", "10.0.0.7", "127.0.0.1", "::1", "::"):
        local_path(host, 5555).write_bytes(local_path("127.0.0.1", 15555).read_bytes())
    clear_local(listens, 5555)
    assert left() == stay
    assert read_local("127.0.0.1", 15555)


def test_it_is_gone_with_the_broker():
    remove_local("127.0.0.1", 5555, 17)
    leave("127.0.0.1")
    remove_local("127.0.0.1", 5555, 17)
    assert read_local("127.0.0.1", 5555) is None


def test_a_broker_that_stops_leaves_what_its_successor_there_wrote():
    leave("127.0.0.1", 18)
    remove_local("127.0.0.1", 5555, 17)
    assert read_local("127.0.0.1", 5555).pid == 18
    remove_local("127.0.0.1", 5555, 18)
    assert read_local("127.0.0.1", 5555) is None
    remove_local("127.0.0.1", 5555, 18)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": 1, "server_key": 1, "secret": 1}'])
def test_what_is_broken_is_nothing(text):
    leave("127.0.0.1")
    local_path("127.0.0.1", 5555).write_text(text)
    assert read_local("127.0.0.1", 5555) is None


def test_a_pipe_is_nothing_and_not_waited_for():
    leave("127.0.0.1")
    path = local_path("127.0.0.1", 5555)
    path.unlink()
    os.mkfifo(path)
    assert read_local("127.0.0.1", 5555) is None
    leave("127.0.0.1")
    assert read_local("127.0.0.1", 5555) == LOCAL
