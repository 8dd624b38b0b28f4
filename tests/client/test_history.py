"""What was said before, through a real broker."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from itertools import product

import pytest

from chatbroker.broker.database import FILE
from chatbroker.client import Client, Direct, Missed
from chatbroker.client import history as history_module
from chatbroker.client.errors import NewHistory
from chatbroker.client.history import History, between, containing
from chatbroker.testing.brokers import BrokerProcess


@pytest.fixture(scope="module")
def house():
    """A broker where alice, bob and carol have talked."""
    with BrokerProcess() as broker:
        alice, bob, carol = (broker.client(name) for name in ("alice", "bob", "carol"))
        for number in range(1, 6):
            alice.echo(f"to all {number}")
            alice.send("bob", f"to bob {number}")
            carol.send("alice", f"from carol {number}")
        with alice.pipeline() as pipe:
            for number in range(6, 3001):
                pipe.echo(f"to all {number}")
        bob.echo("The End")
        yield broker, alice


@pytest.fixture
def history(house) -> History:
    return History(house[1])


def texts(events) -> list[str]:
    return [event.text for event in events]


def messages(events):
    return [event for event in events if not isinstance(event, Missed)]


def test_a_log_is_read_from_its_beginning_to_its_end(history):
    said = [*history.walk("echo")]
    assert [event.seq for event in said] == [*range(1, 3002)]
    assert texts(said)[:2] == ["to all 1", "to all 2"]
    assert history.head("echo") == 3001
    assert history.head("direct") == 10


def test_a_walk_has_two_ends(history):
    assert texts(history.walk("echo", 2, 4)) == ["to all 3", "to all 4"]
    assert texts(history.walk("echo", 3000)) == ["The End"]
    assert texts(history.walk("echo", 4, 2)) == []
    assert texts(history.walk("echo", 10**9)) == []


def test_the_newest_are_found_from_the_end(history):
    assert texts(history.newest("echo", 2)) == ["to all 3000", "The End"]
    assert texts(history.newest("echo", 1, containing("ALL 7"))) == ["to all 799"]
    assert len(history.newest("echo", 10**6)) == 3001
    assert history.newest("echo", 3, containing("never")) == []
    assert texts(history.newest("echo", 2, after=2999)) == ["to all 3000", "The End"]
    assert texts(history.older("echo", 2, upto=2)[0]) == ["to all 1", "to all 2"]


def test_no_more_is_read_than_it_takes_to_find_them(history, monkeypatch):
    walk, read = History.walk, []

    def walks(history, log, after=0, upto=None):
        read.append((after, upto))
        return walk(history, log, after, upto)

    monkeypatch.setattr(History, "walk", walks)
    most = 3001 - history_module.FIRST_WINDOW
    assert len(history.newest("echo", 2)) == 2
    assert read == [(most, 3001)]
    assert len(history.newest("echo", 2000)) == 2000
    assert read[1:] == [(1001, 3001)]


def test_what_is_private_is_found_by_the_partner(history):
    assert texts(history.newest("direct", 2, between("bob", "alice"))) == ["to bob 4", "to bob 5"]
    found = [e for e in history.walk("direct") if between("carol", "alice")(e)]
    assert {(e.sender, e.to) for e in found} == {("carol", "alice")}


def test_what_one_said_to_oneself_is_that_alone():
    said = [Direct(n, n, one, to, "x") for n, (one, to) in enumerate(product("ab", "ab"))]
    assert [(e.sender, e.to) for e in said if between("a", "a")(e)] == [("a", "a")]
    assert len([e for e in said if between("b", "a")(e)]) == 2


def test_logs_are_merged_by_time_and_keep_their_order(history):
    walks = [history.walk("echo", 0, 5), history.walk("direct")]
    merged = [*history.merged(walks)]
    assert len(merged) == 15
    assert [e.time for e in merged] == sorted(e.time for e in merged)
    assert [e.seq for e in merged if isinstance(e, Direct)] == [*range(1, 11)]


def test_a_time_is_a_position(history):
    said = [*history.walk("echo")]
    for event in (said[0], said[5], said[1500], said[-1]):
        before = [e.seq for e in said if e.time < event.time]
        assert history.position_at("echo", event.time) == (before[-1] if before else 0)
    assert history.position_at("echo", said[-1].time + 1) == 3001
    assert history.position_at("echo", 0) == 0


def test_nobody_sees_the_mailbox_of_another(house):
    broker, _ = house
    with Client("mallory", broker.address, hear=False) as mallory:
        assert [*History(mallory).walk("direct")] == []
    with Client(None, broker.address, hear=False) as nobody, pytest.raises(NewHistory):
        list(History(nobody).walk("direct"))


def test_what_is_looked_at_is_not_read(house):
    broker, _ = house
    alice, bob = broker.client("alice2"), broker.client("bob2")
    alice.send("bob2", "unread")
    with Client("bob2", broker.address, credential=bob.credential, hear=False) as looker:
        assert texts(History(looker).walk("direct")) == ["unread"]
    bob.close()
    assert alice.send


def test_a_walk_survives_the_end_of_its_reader(history):
    walk = history.walk("echo")
    assert next(walk).seq == 1
    walk.close()
    assert next(history.walk("echo")).seq == 1


def test_a_log_that_was_lost_is_not_mixed_with_its_successor(chatbrokers):
    broker = chatbrokers.start()
    alice = broker.client("alice", hear=False)  # What is pushed late may be the end of the walk.
    with alice.pipeline() as pipe:
        for _ in range(40):
            pipe.echo("x" * 16_000)
    walk = History(alice).walk("echo")
    assert next(walk).seq == 1
    broker.kill()
    chatbrokers.start(port=broker.port, pub_port=broker.pub_port)
    with pytest.raises(NewHistory, match="has another history by now"):
        list(walk)


def test_what_is_read_in_several_steps_is_of_one_history(chatbrokers):
    broker = chatbrokers.start()
    alice = broker.client("alice", hear=False)
    alice.echo("before")
    for step in (
        lambda history: history.newest("echo", 1),
        lambda history: [*history.walk("echo")],
        lambda history: history.position_at("echo", 0),
        lambda history: history.head("echo"),
    ):
        history = History(alice)
        assert history.head("echo") == 1
        broker.kill()
        broker = chatbrokers.start(port=broker.port, pub_port=broker.pub_port)
        with pytest.raises(NewHistory):
            step(history)
        alice.echo("after")
        # Who knows of it may begin anew.
        assert texts(history.walk("echo")) == ["after"]


def test_what_is_read_in_part_is_of_one_history_with_what_is_read_then(chatbrokers):
    broker = chatbrokers.start()
    alice = broker.client("alice", hear=False)
    alice.echo("before")
    history = History(alice)
    walk = history.walk("echo")
    assert next(walk).text == "before"
    walk.close()
    broker.kill()
    chatbrokers.start(port=broker.port, pub_port=broker.pub_port)
    with pytest.raises(NewHistory):
        list(history.walk("echo"))


def test_what_is_read_of_several_logs_is_of_one_history(chatbrokers, monkeypatch):
    broker = chatbrokers.start()
    alice = broker.client("alice", hear=False)
    history = History(alice)
    head = History.head

    def restarts(history, log):
        found = head(history, log)
        if log == "echo":
            monkeypatch.undo()
            broker.kill()
            chatbrokers.start(port=broker.port, pub_port=broker.pub_port)
        return found

    monkeypatch.setattr(History, "head", restarts)
    with pytest.raises(NewHistory):
        history.hold(["echo", "direct"])
    history.hold(["echo", "direct"])
    assert [*history.walk("echo"), *history.walk("direct")] == []


def test_what_is_no_longer_kept_is_told(tmp_path, chatbrokers, monkeypatch):
    broker = chatbrokers.start("--keep-bytes", "1MB", data_dir=tmp_path / "data")
    alice = broker.client("alice")
    with alice.pipeline() as pipe:
        for _ in range(200):
            pipe.echo(os.urandom(8000).hex())
    while not isinstance(next(History(alice).walk("echo")), Missed):
        alice.users()  # The broker makes room between its turns.
    broker.stop()
    # And no more of it from here on.
    history = History(chatbrokers.start(data_dir=tmp_path / "data").client("bob"))
    said = [*history.walk("echo")]
    assert said[0].lost == said[1].seq - 1
    assert said[-1].seq == 200
    assert history.newest("echo", 2)[-1].seq == 200
    walks = []
    monkeypatch.setattr(
        history, "walk", lambda *where: walks.append(where) or History.walk(history, *where)
    )
    monkeypatch.setattr(history_module, "FIRST_WINDOW", 1)
    monkeypatch.setattr(history_module, "MOST_WINDOW", 5)
    found, before = history.older("echo", 9, containing("nowhere"))
    # All that is lost is told, and not what was of it in the last window.
    assert (found, before) == ([Missed("echo", said[0].lost)], 0)
    # What is lost is asked for once, and not in each window before it.
    assert walks[-1][1] <= said[0].lost < walks[-1][2]
    monkeypatch.undo()
    assert len(history.newest("echo", 200)) <= 200
    assert history.position_at("echo", 1) >= said[0].lost


@pytest.fixture
def damaged(tmp_path, chatbrokers):
    """A broker of which some of what alice said is damaged: each tenth of 100 messages."""
    data = tmp_path / "data"
    broker = chatbrokers.start(data_dir=data)
    alice = broker.client("alice")
    for number in range(1, 101):
        alice.echo(f"to all {number}")
    broker.stop()
    with closing(sqlite3.connect(data / FILE)) as db, db:
        db.execute("UPDATE bodies SET data=zeroblob(length(data)) WHERE id % 10 = 0")
    return chatbrokers.start(data_dir=data)


def test_what_lies_before_something_that_is_damaged_is_found(damaged, monkeypatch):
    history = History(damaged.client("bob"))
    whole = [f"to all {number}" for number in range(1, 101) if number % 10]
    for window in (1, 3, 10, 500):
        monkeypatch.setattr(history_module, "FIRST_WINDOW", window)
        monkeypatch.setattr(history_module, "MOST_WINDOW", window)
        for count in (1, 9, 10, 89, 90):
            found, before = history.older("echo", count)
            assert texts(messages(found)) == whole[-count:]
            # All that is missing among them is told.
            lost = sum([event.lost for event in found if isinstance(event, Missed)])
            assert messages(found)[0].seq == 101 - count - lost
            more, _ = history.older("echo", 1, upto=before)
            assert texts(messages(more)) == whole[:-count][-1:]
        found = history.newest("echo", 1, containing("ALL 7"))
        assert texts(messages(found)) == ["to all 79"]
        found = history.newest("echo", 1, lambda event: event.seq == 1)
        assert texts(messages(found)) == ["to all 1"]


def test_the_time_of_what_is_damaged_is_between_those_beside_it(damaged):
    history = History(damaged.client("bob"))
    said = messages(history.walk("echo"))
    for event in said:
        position = history.position_at("echo", event.time)
        found = [*history.walk("echo", position)]
        later = [one for one in said if one.time >= event.time]
        assert messages(found) == later
        lost = sum([one.lost for one in found if isinstance(one, Missed)])
        assert lost + len(later) == 100 - position
        # What is damaged may be as late as what is after it, and is told.
        assert position % 10 or not position
    assert history.position_at("echo", said[-1].time + 1) == 99
    assert [type(event) for event in history.walk("echo", 99)] == [Missed]


@pytest.mark.parametrize(
    "damage", ["id > 0", "id BETWEEN 3 AND 97", "id < 40 OR id > 60", "id % 2"]
)
def test_what_is_missing_is_told_once_whatever_is_looked_through_at_a_time(
    damaged, chatbrokers, tmp_path, monkeypatch, damage
):
    damaged.stop()
    with closing(sqlite3.connect(tmp_path / "data" / FILE)) as db, db:
        db.execute(f"UPDATE bodies SET data=zeroblob(length(data)) WHERE {damage}")
    history = History(chatbrokers.start(data_dir=tmp_path / "data").client("bob"))
    whole = [*history.walk("echo")]
    for window in (1, 3, 10, 500):
        monkeypatch.setattr(history_module, "FIRST_WINDOW", window)
        monkeypatch.setattr(history_module, "MOST_WINDOW", window)
        for count in (1, 30, 100):
            found, before = history.older("echo", count)
            lost = sum([event.lost for event in found if isinstance(event, Missed)])
            assert messages(found) == messages(whole)[-count:]
            first = messages(found)[0].seq if messages(found) else 1
            assert lost + len(messages(found)) == 100 - before
            assert before in (0, first - 1)
