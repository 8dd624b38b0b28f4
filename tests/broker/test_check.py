from __future__ import annotations

import sqlite3
from pathlib import Path

import msgpack
import pytest
from journals import take

from chatbroker.broker import sqlite_journal, tail
from chatbroker.broker.check import MOST_FAULTS, check_journal, journal_at
from chatbroker.broker.cutting import ROW_COST
from chatbroker.broker.database import FILE, VERSION
from chatbroker.broker.journal import Commit, JournalError, SessionRecord, UserRecord
from chatbroker.broker.log import Row
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.wire.batch import pack_events
from chatbroker.wire.messages import Event

PLENTY = 1 << 40


def body(*texts: str, time: int = 1) -> bytes:
    return b"".join([pack_events([Event(time, "bob", "", text)]) for text in texts])


def user(name: str, **fields: object) -> UserRecord:
    record = UserRecord(name, b"p" * 32, b"mail-001", f"@{name}:1", True, 0, 1, 2)
    return record._replace(**fields)


def session(id: int, name: str) -> SessionRecord:
    return SessionRecord(id.to_bytes(16, "big"), name, 1, 5, b"", True, True, True)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def journal(path):
    journal = SqliteJournal(path)
    journal.load(b"epoch-01")
    yield journal
    journal.close()


def fill(journal: SqliteJournal) -> None:
    """Two users, a conversation and a public log: three messages, one of them in two places."""
    shared = pack_events([Event(7, "bob", "alice", "hi")])
    take(
        journal,
        Commit(
            users=[user("alice", read=1), user("bob")],
            sessions=[session(1, "alice"), session(2, "bob")],
            rows=[Row("echo", 0, 1, 2, 5, body("one", "two"))],
        ),
    )
    rows = [Row("@alice:1", 0, 1, 1, 7, shared), Row("@bob:1", 0, 1, 1, 7, shared)]
    take(journal, Commit(rows=rows))


def faults(path: Path) -> list[str]:
    return check_journal(path).faults


folded = pytest.mark.parametrize("fold", [True, False], ids=["folded", "in the tail"])


@folded
def test_a_whole_journal_is_summed_up(journal, path, fold):
    fill(journal)
    if fold:
        journal._fold()
    report = check_journal(path)
    assert report.faults == []
    summary = report.summary
    assert summary.bytes > 0
    assert summary._replace(bytes=0) == (3, 3, 2, 2, 0, 5, 7)


@folded
def test_a_message_counts_once_however_it_is_stored(journal, path, fold):
    """Mailboxes in which not all of a turn is the same have it twice."""
    there, back = Event(1, "alice", "bob", "hi"), Event(1, "bob", "alice", "hi")
    own, gone = Event(1, "alice", "alice", "note"), Event(1, "alice", "carol", "are you there?")
    both = pack_events([there, back])
    alices = pack_events([there, back, own, gone])
    take(
        journal,
        Commit(
            users=[user("alice"), user("bob")],
            rows=[
                Row("echo", 0, 1, 2, 1, body("one", "two")),
                Row("@alice:1", 0, 1, 4, 1, alices),
                Row("@bob:1", 0, 1, 2, 1, both),
                Row("@alice:1", 4, 5, 2, 1, both),
                Row("@bob:1", 2, 3, 2, 1, both),
            ],
        ),
    )
    if fold:
        journal._fold()
    report = check_journal(path)
    assert report.faults == []
    assert report.summary.messages == 2 + 2 + 2 + 2
    take(journal, Commit(gone=["bob"], dropped=["@bob:1"]))
    # What is left of the conversation: all of it, in her mailbox.
    assert check_journal(path).summary.messages == 2 + 6


def test_an_empty_journal_is_whole(journal, path):
    report = check_journal(path)
    assert report.faults == []
    assert report.summary._replace(bytes=0) == (0, 0, 0, 0, 0, 0, 0)


def test_what_is_not_folded_goes_on_after_what_is(journal, path):
    fill(journal)
    journal._fold()
    take(journal, Commit(rows=[Row("echo", 2, 3, 1, 9, body("three"))]))
    report = check_journal(path)
    assert (report.faults, report.summary.messages, report.summary.newest) == ([], 4, 9)


def test_a_fold_is_whole_after_each_of_its_parts(journal, path, monkeypatch):
    monkeypatch.setattr(tail, "MOST_ROWS", 1)
    monkeypatch.setattr(sqlite_journal, "A_PART", 1)
    fill(journal)
    summary = check_journal(path).summary
    more = True
    while more:
        more = journal._fold_some()
        report = check_journal(path)
        assert (report.faults, report.summary._replace(bytes=0)) == ([], summary._replace(bytes=0))


@pytest.mark.parametrize(
    ("refs", "data"), [(1, "data"), (3, "data"), (2, "x'00'"), (2, "CAST(data || 'x' AS BLOB)")]
)
def test_a_body_that_is_another_in_its_record_is_a_fault(journal, path, refs, data):
    fill(journal)
    (record,) = [one for one in journal._tail.bodies.values() if one[1] == 2]
    insert = f"INSERT INTO bodies(id, refs, data) SELECT ?, {refs}, {data} FROM (SELECT ? AS data)"
    journal._db.execute(insert, (record[0], record[2]))
    assert any(f"body {record[0]}: " in fault for fault in faults(path))


def test_a_folded_row_whose_body_is_in_a_record_only_is_a_fault(journal, path):
    take(journal, Commit(rows=[Row("echo", 0, 1, 1, 5, body("one"))]))
    insert = "INSERT INTO rows VALUES(1 << 40 | 1, 0, 1, 5, 1)"
    update = f"UPDATE logs SET head=1, size={ROW_COST + len(body('one'))}, oldest=5, newest=5"
    journal._db.executescript(f"{insert}; {update}")
    assert faults(path) == ["log 1: body 1 of a row is in a record only"]


@folded
def test_a_dropped_log_is_no_fault_while_its_rows_are_there(journal, path, fold):
    fill(journal)
    take(journal, Commit(gone=["bob"], dropped=["@bob:1"]))
    if fold:
        journal._fold()
    report = check_journal(path)
    assert report.faults == []
    assert report.summary[1:4] == (2, 1, 1)
    while journal.tidy(10):
        assert faults(path) == []


def test_what_retention_took_is_no_fault(path):
    journal = SqliteJournal(path, keep=10)
    journal.load(b"epoch-01")
    fill(journal)
    take(journal, Commit(rows=[Row("echo", 2, 3, 1, 99, body("three"))]))
    while journal.tidy(100):
        assert faults(path) == []
    assert check_journal(path).summary.messages == 1
    journal.close()


# --- faults -------------------------------------------------------------------------------


def test_a_body_of_more_events_than_a_reader_takes_is_a_fault(journal, path):
    take(journal, Commit(rows=[Row("echo", 0, 1, 4097, 9, body(*["long enough"] * 4097))]))
    assert faults(path) == ["body 1: 4097 events, and readers take 4096"]


SPOILED = [
    ("DELETE FROM rows WHERE id & 0xff = 1 AND id >> 40 = 1", "log echo: head 2, and the rows"),
    ("UPDATE rows SET prev=1 WHERE id >> 40 = 1", "log echo: a row of 2 events from 1 on says"),
    ("UPDATE rows SET events=3 WHERE id >> 40 = 1", "body 1: 2 events, and 3 for log 1"),
    ("UPDATE rows SET events=0 WHERE id >> 40 = 1", "log echo: a row of 0 events"),
    ("UPDATE rows SET time=4 WHERE id >> 40 = 1", "log echo: times 5 to 5: 4 to 4 found"),
    ("UPDATE rows SET body=99 WHERE id >> 40 = 1", "log 1: body 99 of a row is missing"),
    ("UPDATE rows SET body=99 WHERE id >> 40 = 1", "body 1: no row has it"),
    ("UPDATE rows SET id = id + (7 << 50)", "there is no log"),
    ("UPDATE bodies SET refs=1 WHERE id=2", "body 2: 2 rows have it, and it says 1"),
    ("UPDATE bodies SET data=x'c1' WHERE id=1", "body 1: not msgpack"),
    ("UPDATE bodies SET data=x'01' WHERE id=1", "body 1: an event is an array"),
    ("UPDATE bodies SET data=x'94010203' WHERE id=1", "body 1: the last event is cut short"),
    (
        "UPDATE bodies SET data = CAST(replace(data, 'one', 'won') AS BLOB)",
        "body 1: it is not what was stored",
    ),
    ("UPDATE bodies SET crc = crc + 1 WHERE id=2", "body 2: it is not what was stored"),
    ("DELETE FROM bodies WHERE id=2", "log 2: body 2 of a row is missing"),
    ("DELETE FROM bodies WHERE id=1", "log 1: body 1 of a row is missing"),
    ("UPDATE logs SET head=9 WHERE key='echo'", "log echo: head 9, and the rows end at 2"),
    ("UPDATE logs SET lost=1 WHERE key='echo'", "log echo: positions 1 to 1 are there twice"),
    ("UPDATE logs SET size=1 WHERE key='echo'", "log echo: size 1, and its rows take"),
    ("UPDATE users SET log='@bob:1'", "has the mailbox of"),
    ("UPDATE users SET read=2", "user alice: has read more than there is"),
    ("UPDATE logs SET dropped=1 WHERE key='@bob:1'", "user bob: the mailbox is to go"),
    ("DELETE FROM users WHERE name='bob'", "there is no user bob"),
    ("UPDATE logs SET head='nine'", "table logs: 3 of its lines have a field of a wrong type"),
    ("DROP TABLE sessions", "the tables are not those of a journal"),
    ("INSERT INTO turns VALUES(1, x'c1')", "not the record of a turn"),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILED, ids=[spoil for spoil, _ in SPOILED])
def test_a_fault_is_found_and_told(journal, path, spoil, words):
    fill(journal)
    journal._fold()
    journal._db.execute(spoil)
    found = faults(path)
    assert any(words in fault for fault in found), found


def test_faults_of_the_tail_are_found(journal, path):
    fill(journal)
    large = body(*"x" * 500)
    rows = [Row(log, 1, 2, 500, 8, large) for log in ("@alice:1", "@bob:1")]
    take(journal, Commit(rows=rows))
    journal._db.execute("DELETE FROM logs WHERE key='echo'")
    journal._db.execute("DELETE FROM bodies WHERE id=3")
    found = faults(path)
    assert "turns: a row is of log 1, which is not there" in found
    assert "log 2: body 3 of a row is missing" in found


def test_what_a_record_holds_of_bodies_is_looked_at(journal, path):
    take(journal, Commit(rows=[Row("echo", 0, 1, 1, 5, body("one"))]))
    turn = (), (), (), (), (), [(1, 1, 2, 1, 5, 2), (1, 2, 3, 1, 5, 3)], [(2, 2, body("a", "b"))]
    journal._db.execute("INSERT INTO turns VALUES(2, ?)", (msgpack.packb(turn),))
    found = faults(path)
    assert "body 2: 2 events, and 1 for log 1" in found
    assert "body 2: 1 rows have it, and it says 2" in found
    assert "log 1: body 3 of a row is missing" in found


def test_a_missing_turn_is_found(journal, path):
    fill(journal)
    take(journal, Commit(rows=[Row("echo", 2, 3, 1, 9, body("three"))]))
    journal._db.execute("DELETE FROM turns WHERE id=2")
    assert "turns: a turn is missing between the first and the last" in faults(path)


def test_a_hole_and_a_time_that_falls_are_told_with_positions(journal, path):
    rows = [Row("echo", n, n + 1, 1, n, body(str(n))) for n in range(5)]
    take(journal, Commit(rows=rows))
    journal._fold()
    journal._db.execute("DELETE FROM rows WHERE prev=2")
    journal._db.execute("UPDATE rows SET time=0 WHERE prev=3")
    found = faults(path)
    assert "log echo: positions 3 to 3 are missing" in found
    assert "log echo: the time falls at position 4" in found


def test_many_faults_are_counted_and_some_are_told(journal, path):
    take(journal, Commit(rows=[Row("echo", n, n + 1, 1, n, body(str(n))) for n in range(50)]))
    journal._fold()
    journal._db.execute("UPDATE bodies SET refs=9")
    report = check_journal(path)
    assert (len(report.faults), report.count) == (MOST_FAULTS, 50)


def test_damage_below_the_tables_is_told(journal, path):
    take(journal, Commit(rows=[Row("echo", n, n + 1, 1, n, body("x" * 500)) for n in range(200)]))
    journal.close()
    raw = bytearray(path.read_bytes())
    for at in range(8192, len(raw), 8192):
        raw[at : at + 100] = b"\xff" * 100
    path.write_bytes(raw)
    assert faults(path)[0].startswith("the file is damaged: ")


# --- what cannot be checked ---------------------------------------------------------------


def test_what_is_not_there_is_told_in_words(tmp_path):
    with pytest.raises(JournalError, match="there is no journal at"):
        check_journal(tmp_path / "nowhere")
    with pytest.raises(JournalError, match=r"cannot open .*: Is a directory"):
        check_journal(tmp_path)


def test_what_is_no_database_is_told_in_words(path):
    path.write_bytes(b"words" * 5000)
    with pytest.raises(JournalError, match="it is no database"):
        check_journal(path)


def test_another_database_is_told_in_words(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t(x)")
    db.close()
    with pytest.raises(JournalError, match="holds no journal"):
        check_journal(path)


def test_a_later_version_is_told_in_words(journal, path):
    journal._db.execute(f"PRAGMA user_version={VERSION + 1}")
    with pytest.raises(JournalError, match=f"is of version {VERSION + 1}, and this chatbroker"):
        check_journal(path)


def test_a_path_is_a_folder_or_a_file(tmp_path, path):
    with pytest.raises(JournalError, match=f"there is no journal at {path}"):
        journal_at(tmp_path, FILE)
    path.write_bytes(b"")
    assert journal_at(tmp_path, FILE) == journal_at(path, FILE) == path
    with pytest.raises(JournalError, match="there is no journal at"):
        journal_at(tmp_path / "nowhere", FILE)
