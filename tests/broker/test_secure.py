"""What an operator asks of a secure broker."""

from __future__ import annotations

import errno
import re

import pytest

from chatbroker.broker import secure as secure_module
from chatbroker.broker.config import StartError
from chatbroker.broker.gate import KeyPair
from chatbroker.broker.keyring import SERVER_KEY
from chatbroker.broker.members import Member, NotAdmitted, Roll
from chatbroker.broker.sanctions import Kind, Sanction, Sanctions
from chatbroker.broker.secure import Secure
from chatbroker.command import files
from chatbroker.wire.keys import key_text, parse_key

KEY = b"k" * 32
WRITTEN = key_text(KEY)


def nobody(name, key):
    return None


@pytest.fixture
def secure(tmp_path):
    (tmp_path / "data").mkdir()
    made = Secure(tmp_path / "data", "127.0.0.1", 5555)
    made.take_up(nobody)
    made.keep_keys()
    return made


def test_its_keys_and_its_own_users_stay_the_same(tmp_path, secure):
    again = Secure(tmp_path / "data", "10.0.0.7", 5556)
    assert (again.keys, again.owner) == (secure.keys, secure.owner)
    assert Secure(None, "", 1).keys != Secure(None, "", 1).keys
    local = again.local(17)
    assert (local.host, local.pid) == ("10.0.0.7", 17)
    assert KeyPair.of(parse_key(local.secret)) == secure.owner
    assert parse_key(local.server_key) == secure.keys.public


def test_a_key_is_kept_once_and_then_needs_no_room_on_the_disk(tmp_path, secure, monkeypatch):
    def full(folder, secrets):
        raise StartError("no room")

    monkeypatch.setattr(secure_module, "store_secrets", full)
    secure.keep_keys()
    Secure(tmp_path / "data", "127.0.0.1", 5555).keep_keys()
    (tmp_path / "data" / SERVER_KEY).unlink()
    with pytest.raises(StartError, match="no room"):
        Secure(tmp_path / "data", "127.0.0.1", 5555).keep_keys()


def test_a_start_that_fails_after_all_leaves_no_key_of_its_own_and_no_other_goes(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    made = Secure(folder, "127.0.0.1", 5555)
    made.take_up(nobody)
    made.keep_keys()
    made.take_back_keys()
    assert not (folder / SERVER_KEY).exists()
    Secure(folder, "127.0.0.1", 5555).keep_keys()
    later = Secure(folder, "127.0.0.1", 5555)
    for _ in range(2):
        later.keep_keys()
        later.take_back_keys()
        made.take_back_keys()
    assert (folder / SERVER_KEY).exists()


def test_a_key_that_may_be_gone_after_a_power_cut_is_not_kept(tmp_path, monkeypatch):
    def fails(folder):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "sync_folder", fails)
    with pytest.raises(StartError, match="Input/output error"):
        Secure(tmp_path, "127.0.0.1", 5555).keep_keys()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_start_left_of_its_key_goes_at_the_next(tmp_path, secure):
    left = tmp_path / "data" / f".{SERVER_KEY}.0123456789abcdef.new"
    left.write_text("secret")
    Secure(tmp_path / "data", "127.0.0.1", 5555).take_up(nobody)
    assert not left.exists()


def test_who_is_admitted_is_admitted_at_the_next_start(tmp_path, secure):
    secure.admit("alice", KEY)
    again = Secure(tmp_path / "data", "127.0.0.1", 5555)
    assert again.origin(KEY, "10.0.0.1") is None  # Before it is taken up.
    again.take_up(nobody)
    assert again.origin(KEY, "10.0.0.1").name == "alice"


@pytest.mark.parametrize("admitted", [True, False])
def test_a_key_that_is_made_anew_is_told_to_who_had_members(tmp_path, secure, caplog, admitted):
    if admitted:
        secure.admit("alice", KEY)
    again = Secure(tmp_path / "data", "127.0.0.1", 5555)
    again.take_up(nobody)
    assert caplog.text == ""
    (tmp_path / "data" / SERVER_KEY).unlink()
    Secure(tmp_path / "data", "127.0.0.1", 5555).take_up(nobody)
    assert ("was gone and is made anew" in caplog.text) is admitted


def test_an_invitation_tells_where_the_broker_is_its_key_and_its_end(secure, monkeypatch):
    now = [1_000_000]
    monkeypatch.setattr(secure_module, "_now", lambda: now[0])
    assert secure.invite("alice", KEY, 60) == {
        "host": "127.0.0.1",
        "port": 5555,
        "server_key": key_text(secure.keys.public),
        "expires": 1_060_000,
    }
    assert secure.origin(KEY, "10.0.0.1").invited
    now[0] += 60_000
    assert secure.origin(KEY, "10.0.0.1") is None


def test_all_keys_of_a_user_are_taken_back_or_one(secure):
    secure.admit("alice", KEY)
    assert secure.revoke("alice", None) == [KEY]
    secure.admit("alice", KEY)
    assert secure.revoke(WRITTEN, KEY) == [KEY]
    assert secure.catch_up() == ""
    for who, key in (("alice", None), (WRITTEN, KEY)):
        with pytest.raises(NotAdmitted, match=f"'{who}' is not admitted"):
            secure.revoke(who, key)


@pytest.mark.parametrize("who", ["alice", WRITTEN])
def test_who_is_banned_is_nobody_though_they_are_admitted(secure, who):
    sanctions = Sanctions()
    secure.take_up(sanctions.ban_on)
    secure.admit("alice", KEY)
    secure.invite("alice", b"i" * 32, 60)
    secure.admit("bob", b"b" * 32)
    sanctions.impose(Sanction(Kind.BAN, who, 0))
    assert secure.keys_of("alice") == [KEY]
    assert secure.origin(KEY, "10.0.0.1") is None
    assert (secure.origin(b"i" * 32, "10.0.0.1") is None) == (who == "alice")
    assert secure.origin(b"b" * 32, "10.0.0.1").name == "bob"
    sanctions.lift(Kind.BAN, who)
    assert secure.origin(KEY, "10.0.0.1").name == "alice"


def test_the_brokers_own_user_is_told_of_a_ban_and_does_not_keep_it_from_starting(secure):
    sanctions = Sanctions()
    secure.take_up(sanctions.ban_on)
    sanctions.impose(Sanction(Kind.BAN, key_text(secure.owner.public), 0))
    assert secure.origin(secure.owner.public, "127.0.0.1").key == secure.owner.public


def test_what_cannot_be_stored_is_told_and_does_not_hold(secure, monkeypatch, caplog):
    def fail(folder, roll):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(secure_module, "store_members", fail)
    for _ in range(2):
        with pytest.raises(NotAdmitted, match=r"cannot store it in .*: No space left on device"):
            secure.admit("alice", KEY)
    assert secure.origin(KEY, "10.0.0.1") is None
    (record,) = caplog.records
    assert re.fullmatch(
        r"members path=.*/members\.json cannot be stored: No space left on device",
        record.getMessage(),
    )


def test_a_key_is_taken_back_at_once_though_that_cannot_be_stored(tmp_path, secure, monkeypatch):
    def fail(folder, roll):
        raise OSError(28, "No space left on device")

    secure.admit("alice", KEY)
    with monkeypatch.context() as full:
        full.setattr(secure_module, "store_members", fail)
        assert secure.revoke("alice", None) == [KEY]
        assert secure.origin(KEY, "10.0.0.1") is None
        assert secure.behind
        assert secure.catch_up() == (
            f"the broker cannot store it in {tmp_path / 'data'}: No space left on device"
        )
    assert secure.catch_up() == ""
    assert not secure.behind
    again = Secure(tmp_path / "data", "127.0.0.1", 5555)
    again.take_up(nobody)
    assert again.origin(KEY, "10.0.0.1") is None


def test_without_a_folder_it_admits_until_it_stops():
    secure = Secure(None, "127.0.0.1", 5555)
    secure.take_up(nobody)
    secure.admit("alice", KEY)
    assert secure.origin(KEY, "10.0.0.1").name == "alice"
    assert [one["name"] for one in secure.listed(False, "", 9)] == ["alice"]
    assert secure.revoke("alice", None) == [KEY]
    assert secure.catch_up() == ""


def test_a_broken_list_keeps_it_from_starting(tmp_path):
    secure = Secure(tmp_path, "127.0.0.1", 5555)
    secure_module.store_members(tmp_path, Roll((Member("alice", KEY, 1),)))
    (tmp_path / "members.json").write_text("{")
    with pytest.raises(StartError, match="broken"):
        secure.take_up(nobody)


def test_a_folder_that_cannot_be_had_is_told_in_words(tmp_path):
    file = tmp_path / "file"
    file.touch()
    secure = Secure(file / "below", "127.0.0.1", 5555)
    with pytest.raises(StartError, match=r"data folder .* cannot be used: Not a directory"):
        secure.take_up(nobody)
