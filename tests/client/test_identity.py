"""Who a user is at a broker, kept in a file."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from chatbroker.client.errors import IdentityError, NameRefused, UsageError
from chatbroker.client.identity import Identity

BROKER = "tcp://127.0.0.1:5555"
SESSION = b"session-of-alice"

pytestmark = pytest.mark.usefixtures("data_folder")


def alice(broker=BROKER):
    return Identity.of(broker, "alice")


def mode(path):
    return path.stat().st_mode & 0o777


def elsewhere(code, **variables):
    """What *code* prints, run by another process; ``alice`` is the identity."""
    prelude = f"from chatbroker.client.identity import Identity\nBROKER = {BROKER!r}\n"
    alice = "alice = Identity.of(BROKER, 'alice')\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + alice + code],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()


# --- the file -----------------------------------------------------------------------------


def test_a_new_identity_is_kept_where_only_its_owner_can_read_it(data_folder):
    identity = alice()
    path = data_folder / "identities" / "127.0.0.1_5555" / "alice"
    assert identity.path == path
    assert len(identity.credential) == 16
    assert identity.previous == b""
    assert json.loads(path.read_text()) == {"credential": identity.credential.hex(), "session": ""}
    assert mode(path) == 0o600
    folders = (path.parent, path.parent.parent, path.parent.parent.parent)
    assert [mode(folder) for folder in folders] == [0o700] * 3
    assert [entry.name for entry in path.parent.iterdir()] == ["alice"]


def test_the_same_user_at_the_same_broker_is_the_same_one():
    assert alice().credential == alice().credential
    assert Identity.of(BROKER, "Alice").credential == alice().credential
    assert Identity.of(BROKER, "bob").credential != alice().credential
    assert alice("tcp://127.0.0.1:5556").credential != alice().credential


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:05555"),
        ("tcp://localhost:5555", "tcp://LOCALHOST:5555"),
        ("tcp://localhost:5555", "tcp://127.0.0.1:5555"),
        ("tcp://Chat.Example:5555", "tcp://chat.example:5555"),
        ("tcp://[::1]:5555", "tcp://[0:0:0:0:0:0:0:1]:5555"),
        ("tcp://[FE80::1%1]:5555", "tcp://[fe80::1%1]:5555"),
    ],
)
def test_two_spellings_of_an_address_are_one_broker(one, other):
    assert alice(one).path == alice(other).path


@pytest.mark.parametrize("host", ["[::1]", "[fe80::1%1]", "..", ".", "a\\b", "häuser", "~"])
def test_a_host_is_safe_in_the_name_of_a_folder(data_folder, host):
    path = alice(f"tcp://{host}:1").path
    assert path.parent.parent == data_folder / "identities"
    assert re.fullmatch(r"[A-Za-z0-9_.~%-]+_1", path.parent.name)


def test_an_address_or_a_name_that_is_none_is_refused():
    with pytest.raises(UsageError):
        Identity.of("nonsense", "alice")
    with pytest.raises(NameRefused) as refused:
        Identity.of(BROKER, "../alice")
    assert refused.value.code == "bad_name"


def test_many_that_begin_at_once_are_one_user(data_folder):
    command = (
        "import sys; from chatbroker.client.identity import Identity; sys.stdin.readline();"
        f"print(Identity.of({BROKER!r}, 'alice').credential.hex())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert found == {alice().credential.hex()}


def test_who_is_second_to_create_it_takes_what_the_first_made(monkeypatch):
    from chatbroker.client import identity as module

    first = alice()
    monkeypatch.setattr(module, "_read", _once_missing(module._read))
    assert alice().credential == first.credential
    assert [entry.name for entry in first.path.parent.iterdir()] == ["alice"]


def _once_missing(read):
    answers = iter([lambda path: None])
    return lambda path: next(answers, read)(path)


# --- what goes wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"credential": "00", "session": ""}',
        '{"credential": 7, "session": ""}',
        '{"credential": "%s"}' % ("0" * 32),
        '{"credential": "%s", "session": "0"}' % ("0" * 32),
        '{"credential": "%s", "session": "00"}' % ("0" * 32),
        "\xff",
        "[" * 100_000,
    ],
)
def test_a_broken_file_is_an_error_and_stays(text):
    path = alice().path
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(IdentityError, match="broken; put a copy of it in its place") as error:
        alice()
    assert str(path) in str(error.value)
    assert path.read_bytes() == text.encode("latin-1")


def test_a_file_that_cannot_be_read_is_an_error():
    path = alice().path
    path.unlink()
    path.mkdir()
    with pytest.raises(IdentityError, match=r"cannot read the identity of 'alice' in .*readable"):
        alice()


def test_a_pipe_in_its_place_is_not_waited_for():
    identity = alice()
    identity.path.unlink()
    os.mkfifo(identity.path)
    words = "cannot read the identity of 'alice' in .*: it is no regular file"
    for ask in (alice, identity.lock, lambda: Identity.kept(BROKER, "alice")):
        with pytest.raises(IdentityError, match=words):
            ask()


def test_one_that_is_elsewhere_is_kept_there(tmp_path):
    identity = alice()
    kept = identity.path.rename(tmp_path / "kept")
    identity.path.symlink_to(kept)
    identity.lock()
    identity.remember(SESSION)
    identity.unlock()
    assert json.loads(kept.read_text())["session"] == SESSION.hex()
    assert identity.path.is_symlink()


def test_none_is_made_where_a_link_leads_nowhere():
    """What is there when it is mounted has the credential."""
    path = alice().path
    path.unlink()
    path.symlink_to(path.parent / "mount" / "alice")
    with pytest.raises(IdentityError, match=r"cannot read .*alice: a link there leads nowhere"):
        alice()
    assert os.listdir(path.parent) == ["alice"]


def test_a_folder_that_cannot_be_made_says_how_to_go_on(data_folder):
    data_folder.write_text("a file")
    with pytest.raises(IdentityError, match="set CHATBROKER_DATA to a folder") as error:
        alice()
    assert str(data_folder) in str(error.value)


def test_a_disk_that_takes_no_more_leaves_nothing_behind(monkeypatch):
    identity = alice()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IdentityError, match="No space left on device"):
        Identity.of(BROKER, "bob")
    assert identity.lock()
    with pytest.raises(IdentityError, match="No space left on device"):
        identity.remember(SESSION)
    identity.unlock()
    assert sorted(entry.name for entry in identity.path.parent.iterdir()) == [
        ".alice.lock",
        "alice",
    ]
    assert alice().credential == identity.credential


def test_a_file_that_is_there_is_enough_to_read():
    identity = alice()
    identity.path.parent.chmod(0o500)
    try:
        assert alice().credential == identity.credential
    finally:
        identity.path.parent.chmod(0o700)


# --- the lock -----------------------------------------------------------------------------


def test_of_two_only_one_gets_the_lock():
    first, second = alice(), alice()
    assert first.lock()
    assert first.lock()  # It has it already.
    assert first.locked
    assert not second.lock()
    assert not second.locked
    assert elsewhere("print(alice.lock())") == "False"
    assert Identity.of(BROKER, "bob").lock()
    first.unlock()
    assert second.lock()
    second.unlock()
    second.unlock()


def test_a_process_that_ends_gives_the_lock_back_and_tells_its_session():
    code = "print(alice.lock()); alice.remember(b'session-of-alice'); import os; os._exit(9)"
    with pytest.raises(subprocess.CalledProcessError):
        elsewhere(code)
    identity = alice()
    assert identity.previous == SESSION
    assert identity.lock()
    identity.unlock()


def test_what_happened_before_the_lock_was_got_counts():
    early = alice()
    elsewhere("alice.lock(); alice.remember(b'session-of-alice')")
    assert early.previous == b""
    assert early.lock()
    assert early.previous == SESSION
    early.unlock()


def test_who_unlocks_it_lets_others_lock_it_although_a_child_has_its_files_open():
    first = alice()
    assert first.lock()
    child = os.fork()
    if not child:
        try:
            signal.pause()
        finally:
            os._exit(0)
    try:
        first.unlock()
        assert alice().lock()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_is_remembered_is_for_the_next():
    identity = alice()
    assert identity.lock()
    identity.remember(SESSION)
    assert identity.previous == b""
    assert not alice().lock()  # Replacing the file does not give the lock away.
    identity.unlock()
    assert alice().previous == SESSION
    assert alice().credential == identity.credential
    assert mode(identity.path) == 0o600


def test_a_copy_does_not_know_of_any_session_that_it_is_over(data_folder, tmp_path, monkeypatch):
    """It has a lock of its own, which does not tell whether the owner of the other is there."""
    identity = alice()
    assert identity.lock()
    identity.remember(SESSION)
    shutil.copytree(data_folder, tmp_path / "copy")
    monkeypatch.setenv("CHATBROKER_DATA", str(tmp_path / "copy"))
    copy = alice()
    assert copy.lock()
    assert (copy.credential, copy.previous) == (identity.credential, b"")
    copy.remember(SESSION)
    copy.unlock()
    assert copy.lock()
    assert copy.previous == SESSION
    copy.unlock()
    identity.unlock()


def test_who_removes_a_lock_that_is_held_does_not_know_of_its_session_that_it_is_over():
    identity, other = alice(), alice()
    assert identity.lock()
    identity.remember(SESSION)
    (lock,) = identity.path.parent.glob(".*.lock")
    lock.unlink()
    assert other.lock()
    assert other.previous == b""
    other.unlock()
    identity.unlock()


def test_a_folder_that_was_moved_knows_whose_session_is_over(data_folder, tmp_path, monkeypatch):
    elsewhere("alice.lock(); alice.remember(b'session-of-alice')")
    data_folder.rename(tmp_path / "moved")
    monkeypatch.setenv("CHATBROKER_DATA", str(tmp_path / "moved"))
    identity = alice()
    assert identity.lock()
    assert identity.previous == SESSION
    identity.keep_keys(bytes(range(32)))
    identity.unlock()
    assert identity.lock()
    assert identity.previous == SESSION
    identity.unlock()


def test_a_file_that_does_not_say_which_lock_was_held_is_taken_up_without_its_session():
    identity = alice()
    found = {"credential": identity.credential.hex(), "session": SESSION.hex()}
    identity.path.write_text(json.dumps(found))
    assert identity.lock()
    assert (identity.credential.hex(), identity.previous) == (found["credential"], b"")
    identity.unlock()


def test_only_who_has_the_lock_may_say_who_joined():
    with pytest.raises(UsageError):
        alice().remember(SESSION)


def test_only_who_has_the_lock_may_take_or_change_the_key():
    """Or of two that enrol at once, one would be let in by a key that is kept nowhere."""
    identity = alice()
    for change in (identity.take_key, identity.keep_keys):
        with pytest.raises(UsageError):
            change(bytes(32))
    assert identity.key == alice().key == b""


def test_two_keys_are_kept_until_it_is_known_which_is_admitted():
    one, two, three = [bytes(range(first, first + 32)) for first in range(3)]
    identity = alice()
    assert identity.lock()
    identity.keep_keys(one, two, three)
    identity.remember(SESSION)
    assert (alice().key, alice().spare, alice().spare_for) == (one, two, three)
    by_two = identity.by(two)
    assert (by_two.key, by_two.spare, by_two.credential) == (two, b"", identity.credential)
    identity.keep_keys(two)
    assert (alice().key, alice().spare) == (two, b"")
    identity.keep_keys(b"", one)
    assert identity.take_key(two) == two
    assert (alice().key, alice().spare) == (two, one)
    assert identity.take_key(one) == two
    identity.unlock()


def test_an_identity_that_was_removed_is_made_anew_under_the_lock():
    identity = alice()
    identity.path.unlink()
    assert identity.lock()
    assert identity.credential == alice().credential
    identity.unlock()


def test_a_file_that_broke_meanwhile_gives_no_lock():
    identity = alice()
    identity.path.write_text("{")
    with pytest.raises(IdentityError):
        identity.lock()
    identity.path.unlink()
    assert alice().lock()
