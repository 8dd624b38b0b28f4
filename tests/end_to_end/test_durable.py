"""What is acknowledged is on disk: a broker that was killed and started again has it all."""

from __future__ import annotations

import json
import resource
import shutil
import time

import pytest


def texts(out: str) -> list[str]:
    """What was said, of lines as `chat` prints them."""
    return [line.split(": ", 1)[1] for line in out.splitlines() if line.startswith("[")]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def broker(chatbrokers, folder):
    return chatbrokers.start(data_dir=folder)


@pytest.fixture
def again(chatbrokers, folder):
    """Starts another broker on the data and the ports of one that is gone."""

    def start(broker, *options):
        return chatbrokers.start(
            *options, port=broker.port, pub_port=broker.pub_port, data_dir=folder
        )

    return start


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_broker_that_is_started_again_knows_everybody_and_everything(shell, broker, again, how):
    bob = shell.chat("listen", "--as", "bob", "--only", "direct", "--count", "3", at=broker)
    bob.says("listening")
    alice = shell.chat("join", "alice", at=broker)
    alice.type("send bob one")
    alice.shows("-> bob: one")
    getattr(broker, how)()
    alice.type("send bob two")
    broker = again(broker)
    alice.shows("-> bob: two")
    alice.type("send bob three")
    done = alice.finish()
    assert done.status == 0
    assert "missed" not in done.err
    heard = bob.wait()
    assert heard.status == 0
    assert texts(heard.out) == ["one", "two", "three"]


def test_mail_waits_through_a_crash_of_the_broker_and_of_its_reader(shell, broker, again):
    assert shell.run("join", "bob", at=broker).status == 0
    assert shell.run("send", "bob", "when you come", "--as", "alice", at=broker).status == 0
    broker.kill()
    broker = again(broker)
    listener = shell.chat("listen", "--as", "bob", at=broker)
    listener.shows("alice -> bob: when you come")
    listener.says("listening")
    listener.kill()
    broker.kill()
    broker = again(broker)
    taken = shell.run("listen", "--as", "bob", "--since", "all", "--count", "1", at=broker)
    assert "when you come" in taken.out


def test_a_name_is_its_owners_over_a_restart(shell, broker, again, tmp_path):
    assert shell.run("join", "alice", at=broker).status == 0
    broker.kill()
    broker = again(broker)
    stranger = {"CHATBROKER_DATA": str(tmp_path / "stranger")}
    refused = shell.run("echo", "it is me", "--as", "alice", at=broker, env=stranger)
    assert refused.status == 4
    assert "name 'alice' is claimed" in refused.err
    assert shell.run("echo", "it is me", "--as", "alice", at=broker).status == 0


def test_a_second_broker_on_the_same_data_is_refused_in_words(shell, broker, folder):
    second = shell.start("chatbroker", "run", "--port", "0", "--data-dir", str(folder)).finish()
    assert second.status == 1
    assert second.err == (
        f"chatbroker: data folder {folder} is in use by another broker (pid {broker.pid}); "
        "stop it, or give another with --data-dir\n"
    )


@pytest.mark.parametrize("way", ["a link to the journal", "a lock that was removed"])
def test_nor_is_a_second_one_that_comes_another_way(shell, broker, folder, tmp_path, way):
    other = folder
    if way == "a link to the journal":
        other = tmp_path / "other"
        other.mkdir(mode=0o700)
        (other / "journal.db").symlink_to(folder / "journal.db")
    else:
        (folder / "lock").unlink()
    second = shell.start("chatbroker", "run", "--port", "0", "--data-dir", str(other)).finish()
    assert (second.status, second.err) == (
        1,
        f"chatbroker: {other / 'journal.db'} is in use by another broker; "
        "stop it, or give another --data-dir\n",
    )
    assert shell.run("echo", "hi", "--as", "alice", at=broker).status == 0


def test_nothing_is_acknowledged_when_the_journal_was_removed(shell, broker, folder):
    sender = shell.chat("join", "alice", at=broker)
    sender.type("echo before")
    sender.shows("alice: before")
    away = folder.with_name("away")
    folder.rename(away)
    time.sleep(0.1)  # That is looked for each 20 ms.
    sender.type("echo after")
    sender.says(rf"the broker cannot store messages \({folder / 'journal.db'} is gone")
    assert "alice: after" not in sender.out
    away.rename(folder)
    sender.says("the broker can store messages again")
    sender.shows("alice: after")
    assert sender.finish().status == 0
    assert broker.stop() == 0
    assert shell.start("chatbroker", "check", "--data-dir", str(folder)).finish().status == 0


def test_while_the_disk_is_full_senders_wait_and_are_told(shell, broker, folder):
    """A limit on the size of files stands for a disk without space."""
    sender = shell.chat("join", "alice", at=broker)
    sender.type("echo before")
    sender.shows("alice: before")
    size = max(file.stat().st_size for file in folder.iterdir())
    before = resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (size, -1))
    for number in range(2000):
        sender.type(f"echo {number} {'x' * 500}")
    sender.says("the broker cannot store messages")
    shown = sender.out.count("alice: ")
    assert shown < 2000
    new = shell.run("echo", "hi", "--as", "bob", "--timeout", "2", at=broker)
    assert new.status == 3
    assert f"no broker answers at {broker.address}, though something is there" in new.err
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, before)
    sender.says("the broker can store messages again")
    done = sender.finish()
    assert done.status == 0
    numbers = [text.split()[0] for text in texts(done.out)]
    assert numbers == ["before", *map(str, range(2000))]
    listed = shell.run("listen", "--since", "all", "--count", "2001", at=broker)
    assert listed.status == 0


def test_a_sender_that_is_ahead_of_data_that_were_put_back_goes_on(shell, broker, again, folder):
    """A folder that was copied by hand has the epoch of the data; only the numbers of commands
    tell that they went back, and those of messages to who reads."""
    reader = shell.chat("listen", "--json", "--count", "4", at=broker)
    reader.says("listening")
    sender = shell.chat("join", "alice", at=broker)
    sender.type("echo one")
    sender.shows("alice: one")
    broker.stop()
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    broker = again(broker)
    # It may hear what is published before that, and to it the second restart would be the same one.
    reader.says("connected again")
    sender.type("echo two", "echo three")
    sender.shows("alice: three")
    reader.shows('"three"')
    # The acknowledgement goes another way than the broadcast, and this answer follows it.
    sender.type("info")
    sender.shows("online: alice")
    broker.kill()
    shutil.rmtree(folder)
    copy.rename(folder)
    broker = again(broker)
    reader.says("connected again", times=2)
    sender.type("echo four")
    assert sender.finish().status == 0
    listed = shell.run("listen", "--since", "all", "--count", "2", at=broker)
    assert texts(listed.out) == ["one", "four"]
    heard = [json.loads(line) for line in reader.wait().out.splitlines()]
    told = [one.get("text") or one["reason"] for one in heard if one["type"] != "notice"]
    assert told == ["one", "two", "three", "new_history", "four"]
