"""The audit log: its lines, floods, a full disk, rotation."""

from __future__ import annotations

import errno
import json
import logging
import os

import pytest

from chatbroker.broker import audit as module
from chatbroker.broker.audit import FILE, MOST, Audit, note_once
from chatbroker.broker.clock import TurnClock

NOON = 1_700_000_000_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / FILE


@pytest.fixture
def clock():
    return TurnClock(NOON)


@pytest.fixture
def audit(path, clock):
    made = Audit(path, clock)
    yield made
    made.close()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_decision_is_one_object_a_line(audit, path):
    audit.note("kick", by=7, user="bob", reason="two\nlines \u202e", sessions=1)
    assert path.read_text().count("\n") == 1
    assert lines(path) == [
        {
            "time": "2023-11-14T22:13:20.000Z",
            "event": "kick",
            "by": 7,
            "user": "bob",
            "reason": "two\nlines \u202e",
            "sessions": 1,
        }
    ]


def test_only_its_owner_may_read_it(audit, path):
    before = os.umask(0)
    try:
        audit.reopen()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_is_appended_to(path, clock):
    for user in ("alice", "bob"):
        one = Audit(path, clock)
        one.note("kick", user=user)
        one.close()
    assert [line["user"] for line in lines(path)] == ["alice", "bob"]


def test_decisions_are_in_the_log_too(path, clock, caplog):
    with caplog.at_level(logging.INFO, "chatbroker"):
        Audit(None, clock).note("kick", by=7, user="bob", reason='he said "no"')
    assert caplog.messages == [r'kick by=7 user=bob reason="he said \"no\""']
    assert not path.exists()


# --- floods -------------------------------------------------------------------------------


def begin(audit, clock, seconds):
    """Another turn, *seconds* after noon."""
    clock.begin(seconds, NOON + round(1000 * seconds))
    audit.tidy()


def test_a_flood_is_summed_up(audit, clock, path):
    begin(audit, clock, 0.0)
    for _ in range(1000):
        audit.note("refused", code="banned", user="bob")
    assert len(lines(path)) == MOST
    begin(audit, clock, 0.9)
    assert len(lines(path)) == MOST
    begin(audit, clock, 1.0)
    summed = {"event": "refused", "code": "banned", "suppressed": 1000 - MOST}
    assert lines(path)[MOST:] == [{"time": "2023-11-14T22:13:21.000Z", **summed}]
    begin(audit, clock, 2.0)
    assert len(lines(path)) == MOST + 1


def test_a_flood_that_goes_on_makes_some_lines_a_second(audit, clock, path):
    for second in range(10):
        begin(audit, clock, second)
        for _ in range(100):
            audit.note("refused", code="banned")
    audit.close()
    found = lines(path)
    assert len(found) == 10 * (MOST + 1)
    told = sum(line.get("suppressed", 1) for line in found)
    assert told == 1000


def test_one_flood_does_not_hide_what_else_is_decided(audit, path):
    for _ in range(1000):
        audit.note("refused", code="banned")
    audit.note("refused", code="name_taken")
    audit.note("kick", user="bob")
    assert [line.get("code") for line in lines(path)[MOST:]] == ["name_taken", None]


def test_the_log_is_not_flooded_either(audit, caplog):
    with caplog.at_level(logging.INFO, "chatbroker"):
        for _ in range(1000):
            audit.note("refused", code="banned")
        audit.close()
    assert len(caplog.messages) == MOST + 1
    assert caplog.messages[-1] == f"refused code=banned suppressed={1000 - MOST}"


def test_what_was_suppressed_is_told_when_it_ends(audit, path):
    for _ in range(MOST + 5):
        audit.note("refused", code="banned")
    audit.close()
    assert lines(path)[-1]["suppressed"] == 5
    audit.close()
    assert len(lines(path)) == MOST + 1


# --- the file -----------------------------------------------------------------------------


def test_after_a_rotation_it_goes_on_in_a_new_file(audit, path):
    audit.note("kick", user="alice")
    old = path.rename(path.with_suffix(".1"))
    audit.note("kick", user="bob")
    audit.reopen()
    audit.note("kick", user="carol")
    assert [line["user"] for line in lines(old)] == ["alice", "bob"]
    assert [line["user"] for line in lines(path)] == ["carol"]


def test_a_file_that_cannot_be_opened_stops_nobody(tmp_path, clock, caplog):
    audit = Audit(tmp_path / "none" / FILE, clock)
    audit.note("kick", user="bob")
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        f"audit path={tmp_path / 'none' / FILE} cannot be written: No such file or directory"
    ]
    (tmp_path / "none").mkdir()
    audit.reopen()
    audit.note("kick", user="carol")
    assert [line["user"] for line in lines(tmp_path / "none" / FILE)] == ["carol"]
    audit.close()


def test_a_pipe_holds_nobody_up(path, clock, caplog):
    os.mkfifo(path)
    audit = Audit(path, clock)
    audit.note("kick", by=7)
    assert f"audit path={path} cannot be written: No such device or address" in caplog.text
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    audit.reopen()
    for _ in range(2000):
        audit._write("kick", {"reason": "x" * 100})
    assert caplog.text.count("cannot be written") == 2
    os.close(reader)
    audit.close()


def test_a_torn_line_stays_apart_when_the_same_file_is_opened_again(audit, path, monkeypatch):
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", lambda file, data: write(file, data[:9]))
        audit.note("kick", user="alice")
    audit.reopen()
    audit.note("kick", user="bob")
    torn, whole = path.read_text().splitlines()
    assert len(torn) == 9
    assert json.loads(whole)["user"] == "bob"


def test_where_no_new_file_can_be_opened_it_goes_on_in_the_one_before(audit, path, monkeypatch):
    def fail(*asked):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "open", fail)
        audit.reopen()
    audit.note("kick", user="alice")
    assert [line["user"] for line in lines(path)] == ["alice"]


def test_a_full_disk_is_said_once_and_tears_no_other_line(audit, path, monkeypatch, caplog):
    write = os.write

    def fail(file, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    audit.note("kick", user="alice")
    monkeypatch.setattr(module.os, "write", lambda file, data: write(file, data[:9]))
    audit.note("kick", user="bob")
    monkeypatch.setattr(module.os, "write", fail)
    audit.note("kick", user="carol")
    monkeypatch.setattr(module.os, "write", write)
    audit.note("kick", user="dave")
    torn = path.read_text().splitlines()
    assert torn[1] == '{"time": '
    assert [json.loads(torn[i])["user"] for i in (0, 2)] == ["alice", "dave"]
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warned == [f"audit path={path} cannot be written: it is full"]


def test_what_is_decided_without_a_broker_is_written_with_who_it_was(path):
    note_once(path.parent, "release", user="bob")
    note_once(path.parent, "ban", user="bob", by=7)
    assert [line["by"] for line in lines(path)] == [os.getuid(), 7]
    assert all(line["time"] > "2023" for line in lines(path))
