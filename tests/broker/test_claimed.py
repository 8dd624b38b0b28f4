from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatbroker.broker import claimed
from chatbroker.broker.audit import FILE as AUDIT
from chatbroker.broker.check import check_journal
from chatbroker.broker.claimed import Claim, claims, release
from chatbroker.broker.config import StartError
from chatbroker.broker.database import FILE
from chatbroker.broker.folder import DataFolder
from chatbroker.broker.journal import Commit, JournalError, SessionRecord, UserRecord
from chatbroker.broker.log import Row
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.batch import pack_events
from chatbroker.wire.messages import Event

EPOCH = b"epoch-01"


def user(name: str, **fields: object) -> UserRecord:
    record = UserRecord(name, b"p" * 32, b"mail-001", f"@{name}:1", True, 0, 1, 2)
    return record._replace(**fields)


def session(id: int, name: str, holding: bool) -> SessionRecord:
    return SessionRecord(id.to_bytes(16, "big"), name, 1, 5, b"", True, True, holding)


def mail(name: str, count: int) -> list[Row]:
    body = pack_events([Event(1, "bob", name, "hi")])
    return [Row(f"@{name}:1", n, n + 1, 1, n * 100_000, body) for n in range(count)]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def filled(path):
    """A journal of five users, of whom the last did not claim their name."""
    journal = SqliteJournal(path, keep=100_000)
    journal.load(EPOCH)
    users = [user("dave", seen=9), user("carol"), user("bob", read=2), user("alice", read=3)]
    people = [session(1, "alice", True), session(2, "bob", False), session(3, "erin", True)]
    rows = [*mail("alice", 5), *mail("bob", 5), *mail("erin", 5)]
    journal.commit(Commit(users=[*users, user("erin", claimed=False)], sessions=people, rows=rows))
    yield journal
    journal.close()


CLAIMS = [
    Claim("alice", 2, 2, True),
    Claim("bob", 2, 3, False),
    Claim("carol", 2, 0, False),
    Claim("dave", 9, 0, False),
]


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "in the tail"])
def test_claims_are_listed_while_the_journal_is_written_to(filled, path, fold):
    if fold:
        filled._fold()
    serving = DataFolder(path.parent)
    assert claims(path) == CLAIMS
    serving.close()


def test_where_no_broker_serves_nobody_holds_a_name(filled, path, monkeypatch):
    """A session whose broker was killed is stored as it was; so it is in a copy."""
    nobody = [claim._replace(held=False) for claim in CLAIMS]
    assert claims(path) == nobody
    DataFolder(path.parent).close()
    assert claims(path) == nobody

    def refuse(folder):
        raise StartError("the file system takes no writing")

    monkeypatch.setattr(claimed, "in_use", refuse)
    assert claims(path) == nobody


def test_mail_that_retention_took_is_not_unread(filled, path):
    while filled.tidy(500_000):
        continue
    assert [claim.unread for claim in claims(path)[:2]] == [1, 1]


def test_a_name_is_released_where_no_broker_serves(filled, path):
    filled.close()
    assert release(path.parent, "bob", EPOCH) == ""
    assert [claim.name for claim in claims(path)] == ["alice", "carol", "dave"]
    assert check_journal(path).faults == []
    # The lock is free again, and it is done once.
    assert release(path.parent, "bob", EPOCH) == (
        "nobody has the name 'bob'; 'chatbroker names list' tells which there are"
    )
    DataFolder(path.parent).close()


def test_that_a_name_was_released_without_a_broker_is_in_the_audit_log(filled, path):
    filled.close()
    assert release(path.parent, "nobody", EPOCH)
    assert release(path.parent, "bob", EPOCH) == ""
    (line,) = (path.parent / AUDIT).read_text().splitlines()
    told = json.loads(line)
    assert (told["event"], told["user"]) == ("release", "bob")


def test_no_name_is_released_in_a_journal_that_is_in_use(filled, path, tmp_path):
    """By a broker that came another way, or whose folder lost its lock."""
    filled.close()
    other = DataFolder(tmp_path / "other")
    other.hold(path)
    with pytest.raises(StartError, match="is in use by another broker"):
        release(path.parent, "bob", EPOCH)
    other.close()
    assert release(path.parent, "bob", EPOCH) == ""


def test_nothing_is_made_where_nothing_is(tmp_path):
    with pytest.raises(JournalError, match="there is no journal at"):
        release(tmp_path / "nowhere", "bob", EPOCH)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(JournalError, match="there is no journal at"):
        claims(tmp_path / FILE)
