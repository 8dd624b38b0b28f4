"""The files of a secure broker."""

from __future__ import annotations

import errno
import json
import os
import stat

import pytest

from chatbroker.broker import keyring
from chatbroker.broker.config import StartError
from chatbroker.broker.keyring import (
    MEMBERS,
    SERVER_KEY,
    Secrets,
    keeps_keys,
    load_members,
    server_secrets,
    store_members,
    store_secrets,
)
from chatbroker.broker.members import Invitation, Member, Roll

ONE, OTHER = Secrets(b"s" * 32, b"o" * 32), Secrets(b"S" * 32, b"O" * 32)
ROLL = Roll(
    (Member("alice", b"a" * 32, 5), Member("alice", b"b" * 32, 6)),
    (Invitation("bob", b"c" * 32, 700),),
)


def test_the_first_secrets_stay_and_nobody_else_can_read_them(tmp_path):
    assert server_secrets(tmp_path) is None
    assert server_secrets(tmp_path / "nowhere") is None
    store_secrets(tmp_path, ONE)
    with pytest.raises(StartError, match=r"server\.key was made by another just now; try again"):
        store_secrets(tmp_path, OTHER)
    assert server_secrets(tmp_path) == ONE
    assert stat.S_IMODE((tmp_path / SERVER_KEY).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [SERVER_KEY]


def test_a_link_that_leads_nowhere_is_told(tmp_path):
    """What it should lead to is not mounted, say."""
    for name in (SERVER_KEY, MEMBERS):
        (tmp_path / name).symlink_to(tmp_path / "mount" / name)
    for attempt in (server_secrets, lambda folder: store_secrets(folder, ONE)):
        with pytest.raises(StartError, match=r"server\.key: a link there leads nowhere; let the"):
            attempt(tmp_path)
    with pytest.raises(StartError, match=r"members\.json: a link there leads nowhere; let the"):
        load_members(tmp_path)
    assert keeps_keys(tmp_path)


def test_a_key_that_cannot_be_kept_is_told(tmp_path, monkeypatch):
    def full(path, text, **how):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StartError, match="cannot keep the broker's key in"):
        store_secrets(tmp_path / "none", ONE)
    monkeypatch.setattr(keyring, "write_private", full)
    with pytest.raises(StartError, match=r"server\.key: No space left on device; make room there"):
        store_secrets(tmp_path, ONE)


def test_who_is_admitted_is_there_again(tmp_path):
    assert load_members(tmp_path) == Roll()
    store_members(tmp_path, ROLL)
    assert load_members(tmp_path) == ROLL
    assert stat.S_IMODE((tmp_path / MEMBERS).stat().st_mode) == 0o600
    store_members(tmp_path, Roll())
    assert load_members(tmp_path) == Roll()
    assert os.listdir(tmp_path) == [MEMBERS]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"secret": 1, "owner": 2}',
        json.dumps({"secret": "a" * 52}),
        json.dumps({"secret": "a" * 51, "owner": "a" * 52}),
    ],
)
def test_a_broken_key_is_told_and_not_replaced(tmp_path, text):
    (tmp_path / SERVER_KEY).write_text(text)
    with pytest.raises(StartError, match=r"server\.key is broken"):
        server_secrets(tmp_path)
    assert (tmp_path / SERVER_KEY).read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"members": [{}], "invitations": []}',
        '{"members": [{"name": ".", "key": "%s", "since": 1}], "invitations": []}' % ("a" * 52),
        '{"members": [{"name": "a", "key": "a", "since": 1}], "invitations": []}',
        '{"members": [], "invitations": [{"name": "a", "key": "%s"}]}' % ("a" * 52),
        '{"members": [{"name": 5, "key": "%s", "since": 1}], "invitations": []}' % ("a" * 52),
        '{"members": [{"name": "a", "key": "%s", "since": 1e999}], "invitations": []}' % ("a" * 52),
        '{"members": [{"name": "a", "key": "%s", "since": 1e18}], "invitations": []}' % ("a" * 52),
        "[" * 100_000,
    ],
)
def test_a_broken_list_is_not_taken_for_an_empty_one(tmp_path, text):
    (tmp_path / MEMBERS).write_text(text)
    with pytest.raises(StartError, match=r"members\.json is broken"):
        load_members(tmp_path)


@pytest.mark.parametrize(("name", "read"), [(SERVER_KEY, server_secrets), (MEMBERS, load_members)])
def test_a_pipe_holds_no_start_up(tmp_path, name, read):
    os.mkfifo(tmp_path / name)
    with pytest.raises(StartError, match=f"{name}: it is no regular file; let the broker's user"):
        read(tmp_path)


def test_what_cannot_be_read_or_written_is_told(tmp_path):
    (tmp_path / MEMBERS).mkdir()
    with pytest.raises(StartError, match="cannot read"):
        load_members(tmp_path)
    with pytest.raises(OSError, match="it is no regular file"):
        store_members(tmp_path, ROLL)
    (tmp_path / SERVER_KEY).mkdir()
    with pytest.raises(StartError, match="cannot read the broker's key in"):
        server_secrets(tmp_path)
