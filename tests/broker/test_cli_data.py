"""What the commands that look after the data print."""

from __future__ import annotations

import json
import shutil

import pytest
from journals import EPOCH, row, session, take, user

from chatbroker.broker import cli_data
from chatbroker.broker.check import MOST_FAULTS
from chatbroker.broker.database import FILE
from chatbroker.broker.folder import DataFolder
from chatbroker.broker.journal import Commit, JournalError
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.command.status import Status
from chatbroker.wire.batch import pack_events
from chatbroker.wire.messages import Event


@pytest.fixture
def journal(tmp_path):
    journal = SqliteJournal(tmp_path / FILE)
    journal.load(EPOCH)
    yield journal
    journal.close()


@pytest.fixture
def run(capsys):
    """Runs a command; its status, and what it said on stdout and stderr."""

    def run(command, *args):
        status = command.main([str(arg) for arg in args], standalone_mode=False)
        return (status, *capsys.readouterr())

    return run


def say(journal, *times):
    said = [(time, pack_events([Event(time, "bob", "", "hi")])) for time in times]
    take(journal, Commit(rows=[row("echo", n, 1, *one) for n, one in enumerate(said, 1)]))


def test_what_is_whole_is_summed_up_for_a_script(run, journal, tmp_path):
    say(journal, 1_000, 62_500)
    take(journal, Commit(users=[user("alice")], sessions=[session(1, "alice")]))
    status, out, err = run(cli_data.check, tmp_path, "--json")
    told = json.loads(out)
    assert (status, err, told.pop("path")) == (Status.DONE, "", str(tmp_path / FILE))
    assert told.pop("bytes") > 0
    assert told == {
        "faults": 0,
        "messages": 2,
        "logs": 1,
        "users": 1,
        "sessions": 1,
        "oldest": "1970-01-01T00:00:01.000Z",
        "newest": "1970-01-01T00:01:02.500Z",
    }


def test_where_nothing_was_said_there_is_no_first_nor_last_time(run, journal, tmp_path):
    told = json.loads(run(cli_data.check, tmp_path, "--json")[1])
    assert (told["messages"], told["oldest"], told["newest"]) == (0, None, None)
    _, out, _ = run(cli_data.check, tmp_path)
    assert out.startswith(f"{tmp_path / FILE}: whole; 0 messages in 0 logs; 0 users, 0 sessions; ")


@pytest.mark.parametrize("more", [0, 1, 30])
def test_of_many_faults_some_are_told_and_how_many_more_there_are(run, journal, tmp_path, more):
    say(journal, *range(1, MOST_FAULTS + more + 1))
    journal._fold()
    journal._db.execute("UPDATE bodies SET refs=9")
    rest = [f"chatbroker: {tmp_path / FILE}: {more} more faults"] if more else []
    for options in ((), ("--json",)):
        status, out, err = run(cli_data.check, tmp_path, *options)
        lines = err.splitlines()
        assert (status, lines[MOST_FAULTS:]) == (Status.FAILURE, rest)
        assert all(line.startswith(f"chatbroker: {tmp_path / FILE}: ") for line in lines)
        assert [json.loads(line)["faults"] for line in out.splitlines()] == (
            [MOST_FAULTS + more] if options else []
        )


def test_what_to_do_about_it_is_told_of_the_brokers_own_file_only(run, tmp_path):
    (tmp_path / FILE).write_bytes(b"words" * 5000)
    shutil.copy(tmp_path / FILE, tmp_path / "copy")
    with pytest.raises(JournalError, match="no database; put a backup in its place"):
        run(cli_data.check, "--data-dir", tmp_path)
    with pytest.raises(JournalError, match=r"no database$"):
        run(cli_data.check, tmp_path / "copy")


def test_of_a_claimed_name_it_is_told_whether_it_is_held_or_when_it_was(run, journal, tmp_path):
    users = [user("alice"), user("bob", seen=62_500)]
    take(journal, Commit(users=users, sessions=[session(1, "alice")]))
    here = ("--data-dir", tmp_path)
    serving = DataFolder(tmp_path)
    status, out, _ = run(cli_data.list_names, *here)
    assert (status, [line.split("  ", 1) for line in out.splitlines()]) == (
        Status.DONE,
        [
            ["alice", "held now                            0 unread"],
            ["bob", "  last seen 1970-01-01T00:01:02.500Z  0 unread"],
        ],
    )
    _, out, _ = run(cli_data.list_names, *here, "--json")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"name": "alice", "seen": "1970-01-01T00:00:00.002Z", "unread": 0, "held": True},
        {"name": "bob", "seen": "1970-01-01T00:01:02.500Z", "unread": 0, "held": False},
    ]
    serving.close()
