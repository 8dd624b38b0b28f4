"""Whatever moment a broker dies at: what it had stored is there, and nothing is there by half.

Some points of each scenario in a normal run; all of them with CHATBROKER_TORTURE=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

import crash_points
from chatbroker.broker.check import check_journal
from chatbroker.broker.database import FILE, PAGE
from chatbroker.broker.journal import JournalError
from chatbroker.broker.sqlite_journal import SqliteJournal
from crash_points import BEFORE, EPOCH, SCENARIOS, Model, opened, turns

TORTURE = bool(os.environ.get("CHATBROKER_TORTURE"))
POINTS = 6
"""Of each scenario, spread through it."""

HEADER, FRAME = 32, 24 + PAGE
"""Bytes: of the header of a write-ahead log, and of a page in it (sqlite.org/fileformat2.html)."""


def crash(folder: Path, scenario: str, *points: int) -> str:
    command = [sys.executable, crash_points.__file__]
    folder.mkdir(exist_ok=True)
    ended = subprocess.run(
        [*command, str(folder), scenario, *map(str, points)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return ended.stdout


def models(count: int) -> list[Model]:
    """What is stored after 0, 1, … *count* commits."""
    found = []
    for number in range(count + 1):
        model = Model()
        for commit in islice(turns(), number):
            model.apply(commit)
        found.append(model)
    return found


def look(path: Path, ends: bool = False) -> tuple[list[int], SqliteJournal]:
    """Opens what is left; after how many commits it may be, and the journal.  *ends*: of each log
    the newest may be all."""
    # It may have died before there was one.
    with suppress(JournalError):
        assert check_journal(path).faults == []
    journal = SqliteJournal(path)
    kept = journal.load(b"epoch-02")
    assert check_journal(path).faults == []
    all = models(BEFORE + 3)
    found = [n for n, model in enumerate(all) if model.matches(journal, kept, ends)]
    if found != [0]:
        assert kept.epoch == EPOCH
    return found, journal


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_broker_that_dies_leaves_whole_commits(tmp_path, scenario):
    steps = int(crash(tmp_path / "count", scenario, 0))
    points = range(1, steps + 1, 1 if TORTURE else max(steps // POINTS, 1))
    crash(tmp_path / "die", scenario, *points)
    for point in points:
        place = tmp_path / "die" / str(point)
        done = len((place / "done").read_text().splitlines())
        found, journal = look(place / FILE, ends=scenario in ("tidy", "cut"))
        # What is loose, or of a log that was dropped, goes on to go.
        while journal.tidy(1):
            continue
        assert check_journal(place / FILE).faults == []
        journal.close()
        assert found, f"died at {point} of {steps}: what is left is of no commit"
        assert done <= found[0] <= done + (scenario in ("commit", "parts", "cut")), point


# --- power --------------------------------------------------------------------------------


def power_lost(tmp_path: Path, restart: bool) -> tuple[Path, list[int], int]:
    """Files as they were after some commits: their folder, the length of the write-ahead log
    after each commit, and how many commits are in the database itself."""
    path = tmp_path / "whole" / FILE
    path.parent.mkdir()
    journal = opened(path)
    commits = turns()
    before = 0
    if restart:
        # The log begins again at its start, and what is old in it is past the end.
        for commit in islice(commits, 3):
            journal.commit(commit)
        before = 3
        journal._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    wal = Path(f"{path}-wal")
    old = wal.read_bytes()
    ends = []
    for commit in islice(commits, BEFORE + 3 - before):
        journal.commit(commit)
        ends.append(end_of(old, wal.read_bytes()))
    kept = tmp_path / "kept"
    kept.mkdir()
    shutil.copy(path, kept)
    shutil.copy(wal, kept)
    journal.close()
    return kept, ends, before


def end_of(old: bytes, new: bytes) -> int:
    """Where what was written since *old* ends: its salts are those of the header."""
    end = HEADER
    while end < len(new) and new[end + 8 : end + 16] == new[16:24]:
        end += FRAME
    return end


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("garbage", [b"", b"\xff" * 5000, "torn"], ids=["cut", "noise", "torn"])
def test_a_power_cut_leaves_a_beginning_of_the_commits(tmp_path, restart, garbage):
    kept, ends, before = power_lost(tmp_path, restart)
    wal = (kept / f"{FILE}-wal").read_bytes()
    start = 0 if restart else ends[0]
    boundaries = [at for at in range(HEADER, ends[-1] + 1, FRAME) if at >= start]
    around = (-1, 0, 1) if not TORTURE else (-FRAME // 2, -9, -1, 0, 1, 9, 25, FRAME // 2)
    cuts = sorted({at + by for at in boundaries for by in around if 0 <= at + by <= len(wal)})
    if not TORTURE:
        cuts = cuts[:: 1 + len(cuts) // 40]
    for cut in cuts:
        place = tmp_path / f"cut-{cut}"
        place.mkdir()
        shutil.copy(kept / FILE, place)
        # Torn: nothing after the cut is what was written.
        tail = bytes([byte ^ 0xFF for byte in wal[cut:]]) if garbage == "torn" else garbage
        (place / f"{FILE}-wal").write_bytes(wal[:cut] + tail)
        found, journal = look(place / FILE)
        journal.close()
        shutil.rmtree(place)
        assert found == [before + sum(end <= cut for end in ends)], cut
