"""How commands of a secure broker's own user find in."""

from __future__ import annotations

import stat

import pytest

from chatbroker.command.local import Local, local_path, read_local, remove_local, write_local

LOCAL = Local("127.0.0.1", "K" * 43, "S" * 43, 17)


@pytest.fixture(autouse=True)
def data(monkeypatch, tmp_path):
    monkeypatch.setenv("CHATBROKER_DATA", str(tmp_path / "data"))


def test_what_a_broker_leaves_is_found_by_its_port_and_only_by_its_owner():
    assert read_local(5555) is None
    write_local(5555, LOCAL)
    assert read_local(5555) == LOCAL
    assert read_local(5556) is None
    assert stat.S_IMODE(local_path(5555).stat().st_mode) == 0o600
    assert stat.S_IMODE(local_path(5555).parent.stat().st_mode) == 0o700


def test_it_is_gone_with_the_broker():
    remove_local(5555)
    write_local(5555, LOCAL)
    remove_local(5555)
    assert read_local(5555) is None


def test_a_broker_that_stops_leaves_what_its_successor_on_the_port_wrote():
    write_local(5555, LOCAL._replace(pid=18))
    remove_local(5555, 17)
    assert read_local(5555).pid == 18
    remove_local(5555, 18)
    assert read_local(5555) is None
    remove_local(5555, 18)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": 1, "server_key": 1, "secret": 1}'])
def test_what_is_broken_is_nothing(text):
    write_local(5555, LOCAL)
    local_path(5555).write_text(text)
    assert read_local(5555) is None
