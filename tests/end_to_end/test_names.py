"""A name belongs to one user: a clash is refused, and a dead owner is not waited for long."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest


@pytest.fixture
def stranger(tmp_path):
    """The environment of somebody else, who has other credentials."""
    return {"CHATBROKER_DATA": str(tmp_path / "stranger")}


def test_of_two_at_the_same_instant_exactly_one_gets_in(shell, broker, eventually):
    both = [shell.chat("join", "alice", at=broker) for _ in "12"]
    eventually(lambda: not all(alice.running for alice in both), "nobody was refused")
    refused, joined = sorted(both, key=lambda alice: alice.running)
    assert refused.wait().status == 4
    joined.type("echo it is me")
    joined.shows("alice: it is me")
    assert joined.finish().status == 0


def test_a_second_alice_is_refused_in_words(shell, broker, stranger):
    first = shell.chat("join", "alice", at=broker)
    first.type("info")
    first.shows("online: alice")
    taken = (
        f"chat: name 'alice' is taken on {broker.address}; "
        "choose another, or see who is on with 'chat info'\n"
    )
    others = [
        shell.run(*command, at=broker, env=stranger)
        for command in (
            ["join", "alice"],
            ["join", "ALICE"],
            ["echo", "hi", "--as", "alice"],
            ["listen", "--as", "alice"],
        )
    ]
    assert others == [(4, "", taken)] * 4
    first.type("echo still here")
    first.shows("still here")
    assert first.finish().status == 0


def test_alice_is_alice_in_every_terminal(shell, broker):
    first = shell.chat("join", "alice", at=broker)
    first.type("info")
    first.shows("online: alice")
    again = shell.run("join", "Alice", at=broker)
    words = f"chat: 'alice' is already joined on {broker.address}; --attach shares it\n"
    assert again == (4, "", words)
    beside = shell.chat("join", "alice", "--attach", at=broker)
    beside.type("info")
    beside.shows("online: alice")
    listener = shell.chat("listen", "--as", "alice", "--count", "1", at=broker)
    listener.says("listening")
    assert shell.run("send", "alice", "a note", "--as", "alice", at=broker).status == 0
    for alice in (first, beside):
        alice.shows("alice -> alice: a note")
        assert alice.finish().status == 0
    assert "alice -> alice: a note" in listener.wait().out


def test_who_is_at_another_broker_is_not_joined_at_this_one(shell, broker, chatbrokers):
    first = shell.chat("join", "alice", at=broker)
    first.type("info")
    first.shows("online: alice")
    assert shell.run("join", "alice", at=chatbrokers.start()).status == 0
    assert first.finish().status == 0


def test_a_killed_join_leaves_no_lock(shell, broker):
    first = shell.chat("join", "alice", at=broker)
    first.type("info")
    first.shows("online: alice")
    first.kill()
    assert shell.run("join", "alice", input="echo again\n", at=broker).status == 0


def test_a_copy_of_the_folder_evicts_nobody(shell, broker, tmp_path):
    first = shell.chat("join", "alice", at=broker)
    first.type("info")
    first.shows("online: alice")
    home, copy = Path(shell.env["CHATBROKER_DATA"]), tmp_path / "copy"
    shutil.copytree(home / "identities", copy / "identities")
    copied = shell.run("join", "alice", at=broker, env={"CHATBROKER_DATA": str(copy)})
    words = f"chat: 'alice' is already joined on {broker.address}; --attach shares it\n"
    assert copied == (4, "", words)
    first.type("echo still here")
    first.shows("still here")
    assert first.finish().status == 0


def test_the_heir_of_a_killed_join_takes_over_at_once_also_in_a_folder_that_was_moved(
    shell, chatbrokers, tmp_path
):
    broker = chatbrokers.start("--grace", "3600", "--lease", "3600")
    home, moved = Path(shell.env["CHATBROKER_DATA"]), tmp_path / "moved"
    for folder in (home, home, moved):
        if folder is moved:
            home.rename(moved)
        alice = shell.chat("join", "alice", at=broker, env={"CHATBROKER_DATA": str(folder)})
        alice.type("info")
        alice.shows("online: alice")
        alice.kill()


def test_a_home_that_cannot_be_written_is_told_of(shell, broker, tmp_path):
    (tmp_path / "file").write_text("")
    variables = {"CHATBROKER_DATA": str(tmp_path / "file")}
    refused = shell.run("join", "alice", at=broker, env=variables)
    assert (refused.status, refused.out) == (1, "")
    assert refused.err.startswith(f"chat: cannot keep the identity in {tmp_path / 'file'}/")
    assert "set CHATBROKER_DATA to a folder" in refused.err
    # Who needs no name of their own needs no folder.
    assert shell.run("echo", "hi", at=broker, env=variables).status == 0
    assert shell.run("info", at=broker, env=variables).status == 0


def test_the_name_of_someone_who_left_is_free_at_once(shell, chatbrokers):
    broker = chatbrokers.start("--grace", "3600", "--lease", "3600")
    for _ in "12":
        assert shell.run("join", "alice", input="echo hello\n", at=broker).status == 0


def test_the_name_of_someone_who_was_killed_is_free_after_the_grace(shell, broker):
    first = shell.chat("join", "alice", at=broker)
    first.type("echo hello")
    first.shows("hello")
    first.kill()
    again = shell.run("join", "alice", input="info\n", at=broker)
    assert (again.status, again.out, again.err) == (0, "* online: alice\n", "")


def test_a_stopped_owner_keeps_the_name_and_goes_on(shell, broker, stranger):
    first = shell.chat("join", "alice", at=broker)
    first.type("echo hello")
    first.shows("hello")
    first.signal(signal.SIGSTOP)
    for _ in range(100):
        refused = shell.run("join", "alice", at=broker, env=stranger)
        assert refused.status == 4
        if "is claimed by somebody who is away" in refused.err:
            break  # The lease is over.
        assert "name 'alice' is taken" in refused.err
    else:
        raise AssertionError("the silent owner is still taken to be here")
    assert shell.run("send", "alice", "when you can", at=broker).status == 0
    first.signal(signal.SIGCONT)
    first.shows("-> alice: when you can")
    first.type("echo back")
    first.shows("alice: back")
    assert first.finish().status == 0


def test_a_name_that_is_none_is_refused(shell, broker):
    refused = shell.run_all(
        ["join", "not a name"],
        ["join", ""],
        ["join", "a" * 33],
        ["echo", "hi", "--as", "_x"],
        ["listen", "--as", "zoë"],
        at=broker,
    )
    assert [r.status for r in refused] == [4] * 5
    for r in refused:
        assert r.err.startswith("chat: not a valid name: ")
        assert r.err.count("\n") == 1


def test_one_shot_senders_without_a_name_never_collide(shell, broker):
    listener = shell.chat("listen", "--count", "4", "--format", "{from}", at=broker)
    listener.says("listening")
    sent = shell.run_all(*[["echo", "hi"]] * 4, at=broker, env={"LOGNAME": "R. User"})
    assert [s.status for s in sent] == [0] * 4
    names = listener.wait().out.splitlines()
    assert len(set(names)) == 4
    assert all(name.startswith("r.user-") for name in names)
