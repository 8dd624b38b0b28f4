"""What an operator asks of a secure broker."""

from __future__ import annotations

import pytest

from chatbroker.broker import secure as secure_module
from chatbroker.broker.config import StartError
from chatbroker.broker.gate import KeyPair
from chatbroker.broker.members import Member, Roll
from chatbroker.broker.secure import Secure
from chatbroker.wire.keys import key_text, parse_key

KEY = b"k" * 32


@pytest.fixture
def secure(tmp_path):
    made = Secure(tmp_path / "data")
    made.take_up()
    return made


@pytest.fixture
def asks(secure):
    dismissed = []

    def ask(**request):
        return secure.carry_out(request, dismissed.append)

    ask.dismissed = dismissed
    return ask


def test_its_keys_and_its_own_users_stay_the_same(tmp_path, secure):
    again = Secure(tmp_path / "data")
    assert (again.keys, again.owner) == (secure.keys, secure.owner)
    assert Secure(None).keys != Secure(None).keys
    local = again.local("127.0.0.1", 17)
    assert KeyPair.of(parse_key(local.secret)) == secure.owner
    assert parse_key(local.server_key) == secure.keys.public


def test_who_is_admitted_is_admitted_at_the_next_start(tmp_path, secure, asks):
    assert asks(do="admit", name="Alice", key=key_text(KEY))["ok"]
    again = Secure(tmp_path / "data")
    assert again.origin(KEY, "10.0.0.1") is None  # Before it is taken up.
    again.take_up()
    assert again.origin(KEY, "10.0.0.1").name == "alice"


def test_an_invitation_tells_the_brokers_key_and_its_end(secure, asks, monkeypatch):
    now = [1_000_000]
    monkeypatch.setattr(secure_module, "_now", lambda: now[0])
    answer = asks(do="invite", name="alice", key=key_text(KEY), seconds=60)
    expected = {"ok": True, "server_key": key_text(secure.keys.public), "expires": 1_060_000}
    assert answer == expected
    assert secure.origin(KEY, "10.0.0.1").invited
    now[0] += 60_000
    assert secure.origin(KEY, "10.0.0.1") is None


def test_who_is_taken_back_is_dismissed(asks):
    asks(do="admit", name="alice", key=key_text(KEY))
    assert asks(do="revoke", name="alice") == {"ok": True, "revoked": 1}
    asks(do="admit", name="alice", key=key_text(KEY))
    assert asks(do="revoke", key=key_text(KEY))["ok"]
    assert asks.dismissed == [[KEY], [KEY]]
    assert not asks(do="revoke", name="alice")["ok"]
    assert not asks(do="revoke", key=key_text(KEY))["ok"]
    assert len(asks.dismissed) == 2


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "invite"},
        {"do": "invite", "name": "alice", "key": key_text(KEY)},
        {"do": "invite", "name": "alice", "key": key_text(KEY), "seconds": 0},
        {"do": "invite", "name": "alice", "key": key_text(KEY), "seconds": 1e300},
        {"do": "invite", "name": "alice", "key": key_text(KEY), "seconds": float("nan")},
        {"do": "invite", "name": "alice", "key": key_text(KEY), "seconds": "60"},
        {"do": "admit", "name": "alice"},
        {"do": "admit", "name": "alice", "key": "short"},
        {"do": "admit", "name": "alice", "key": [1]},
        {"do": "admit", "name": ".", "key": key_text(KEY)},
        {"do": "admit", "name": 1, "key": key_text(KEY)},
        {"do": "revoke"},
        {"do": "revoke", "key": None},
    ],
)
def test_a_bad_request_is_refused_in_words(secure, asks, request_):
    answer = asks(**request_)
    assert answer["ok"] is False
    assert answer["words"]
    assert secure.origin(KEY, "10.0.0.1") is None


@pytest.mark.parametrize("do", ["release", None, "nonsense", 1, ["invite"], {}])
def test_what_else_is_asked_is_somebody_elses_affair(secure, do):
    assert secure.carry_out({"do": do}, print) is None


def test_what_cannot_be_stored_is_told_and_does_not_hold(secure, asks, monkeypatch):
    def fail(folder, roll):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(secure_module, "store_members", fail)
    answer = asks(do="admit", name="alice", key=key_text(KEY))
    assert answer == {"ok": False, "words": "the broker cannot store it: No space left on device"}
    assert secure.origin(KEY, "10.0.0.1") is None


def test_without_a_folder_it_admits_until_it_stops():
    secure = Secure(None)
    secure.take_up()
    secure.carry_out({"do": "admit", "name": "alice", "key": key_text(KEY)}, print)
    assert secure.origin(KEY, "10.0.0.1").name == "alice"


def test_a_broken_list_keeps_it_from_starting(tmp_path):
    secure = Secure(tmp_path)
    secure_module.store_members(tmp_path, Roll((Member("alice", KEY, 1),)))
    (tmp_path / "members.json").write_text("{")
    with pytest.raises(StartError, match="broken"):
        secure.take_up()
