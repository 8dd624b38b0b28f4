"""``chatbroker check``, ``backup`` and ``names``, while a broker runs and after."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys

import pytest

from chatbroker.broker import cli_data


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "d"


@pytest.fixture
def serve(shell, folder):
    """Starts a broker on the folder; the program, and where it serves."""

    def start(port="0"):
        command = ["chatbroker", "run", "--port", port, "--pub-port", "0"]
        program = shell.start(*command, "--data-dir", str(folder))
        program.shows("ready")
        return program, program.out.split()[-1]

    return start


@pytest.fixture
def broker_command(shell):
    def run(*args):
        return shell.start("chatbroker", *args).finish()

    return run


def ends(program):
    program.signal(signal.SIGTERM)
    ended = program.wait()
    assert (ended.status, ended.err) == (0, "")


def test_the_data_are_looked_after_while_the_broker_runs_and_after(
    shell, serve, broker_command, folder, tmp_path
):
    here = ("--data-dir", str(folder))
    program, address = serve()
    for name in ("alice", "bob"):
        assert shell.run("join", name, input="echo hi\n", at=address).status == 0
    assert shell.run("send", "bob", "for later", "--as", "alice", at=address).status == 0

    whole = broker_command("check", *here)
    assert (whole.status, whole.err) == (0, "")
    assert whole.out.startswith(f"{folder / 'journal.db'}: whole; 3 messages in 3 logs, from 20")
    assert "; 2 users, " in whole.out
    listed = broker_command("names", "list", *here, "--json")
    claims = [json.loads(line) for line in listed.out.splitlines()]
    assert [(claim["name"], claim["unread"], claim["held"]) for claim in claims] == [
        ("alice", claims[0]["unread"], False),
        ("bob", 1, False),
    ]
    text = broker_command("names", "list", *here).out.splitlines()
    assert text[1].startswith("bob    last seen 20")
    assert text[1].endswith("Z  1 unread")

    copy = tmp_path / "copy"
    saved = broker_command("backup", str(copy), *here)
    assert saved == (0, "", "")
    again = broker_command("backup", str(copy), *here)
    assert (again.status, again.out) == (1, "")
    assert again.err == f"chatbroker: {copy} is there already; --force replaces it\n"
    assert broker_command("backup", str(copy), *here, "--force").status == 0
    assert broker_command("check", str(copy)).status == 0

    assert broker_command("names", "release", "BOB", *here) == (0, "", "")
    words = "nobody has the name 'bob'; 'chatbroker names list' tells which there are"
    unknown = (6, "", f"chatbroker: {words}\n")
    assert broker_command("names", "release", "bob", *here) == unknown
    assert shell.run("send", "bob", "who?", "--as", "alice", at=address).status == 6
    ends(program)

    # Without a broker it is the same.
    assert broker_command("names", "release", "bob", *here) == unknown
    assert broker_command("names", "release", "alice", *here) == (0, "", "")
    assert broker_command("names", "list", *here) == (0, "", "")
    assert broker_command("check", *here).status == 0

    for left in folder.glob("journal.db*"):
        left.unlink()
    shutil.copy(copy, folder / "journal.db")
    # On the same port: who one is, is kept by address.
    program, address = serve(address.rpartition(":")[2])
    heard = shell.run("join", "bob", input="", at=address)
    assert "alice -> bob: for later" in heard.out
    ends(program)
    assert broker_command("check", *here).status == 0


def test_no_file_of_a_broker_is_replaced_by_a_backup(
    shell, serve, broker_command, folder, tmp_path
):
    other = tmp_path / "other"
    command = ["chatbroker", "run", "--port", "0", "--pub-port", "0", "--data-dir", str(other)]
    shell.start(*command, "--secure").shows("ready")
    assert broker_command("invite", "alice", "--data-dir", str(other)).status == 0
    assert broker_command("ban", "bob", "--data-dir", str(other)).status == 0
    serve()
    assert {"journal.db-wal", "server.key", "members.json", "sanctions.json"} <= {
        *os.listdir(other)
    }
    for own in [*folder.iterdir(), *other.iterdir()]:
        for place in (own, folder / own.name):
            found = broker_command("backup", "--force", str(place), "--data-dir", str(folder))
            words = f"chatbroker: {place} is the broker's own file; give another\n"
            assert found == (1, "", words)
    assert broker_command("check", str(other)).status == 0
    assert broker_command("backup", "--force", str(folder / "copy"), "--data-dir", str(folder)) == (
        0,
        "",
        "",
    )


def test_faults_are_told_a_line_each(serve, broker_command, folder):
    program, _ = serve()
    ends(program)
    path = folder / "journal.db"
    path.write_bytes(path.read_bytes()[:8192])
    found = broker_command("check", str(folder))
    assert (found.status, found.out) == (1, "")
    assert found.err
    assert all(line.startswith("chatbroker: ") for line in found.err.splitlines())


def test_how_to_restore_a_backup_is_told_to_a_person(serve, folder, tmp_path, monkeypatch, capsys):
    program, _ = serve()
    ends(program)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.chdir(tmp_path)
    cli_data.backup.main(["copy", "--data-dir", str(folder)], standalone_mode=False)
    words = f"to restore it, stop the broker, remove {folder}/journal.db* and copy copy to"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        (["check", "{nowhere}"], 1, "there is no journal at {nowhere}"),
        (["check", "--data-dir", "{nowhere}"], 1, "there is no journal at {nowhere}"),
        (["check", "{file}"], 1, "cannot use {file}: it is no database\n"),
        (["check", "x", "--data-dir", "y"], 2, "give PATH or --data-dir, not both"),
        (["check", "x", "--port", "5555"], 2, "give PATH or --port, not both"),
        (["check", ""], 2, "Invalid value for '[PATH]': it is empty; give a path"),
        (["names", "list", "--data-dir", ""], 2, "Invalid value for '--data-dir': it is empty"),
        (["run", "--data-dir", ""], 2, "Invalid value for '--data-dir': it is empty; give a pa"),
        (["backup", "x", "--data-dir", "{nowhere}"], 1, "there is no journal at {nowhere}"),
        (["backup", "-", "--force"], 2, "a backup is a file, and is not written to stdout"),
        (["names", "list", "--data-dir", "{nowhere}"], 1, "there is no journal at {nowhere}"),
        (["names", "release", "bob", "--data-dir", "{nowhere}"], 1, "there is no journal at"),
        (["names", "release", "no name", "--data-dir", "{nowhere}"], 6, "not a valid name"),
        (["names"], 2, "Missing command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_told_in_one_line(broker_command, tmp_path, command, status, words):
    (tmp_path / "file").write_bytes(b"words" * 5000)
    places = {"nowhere": tmp_path / "nowhere", "file": tmp_path / "file"}
    ended = broker_command(*[word.format(**places) for word in command])
    assert (ended.status, ended.out, ended.err.count("\n")) == (status, "", 1)
    assert ended.err.startswith(f"chatbroker: {words.format(**places)}")
    assert not (tmp_path / "nowhere").exists()
