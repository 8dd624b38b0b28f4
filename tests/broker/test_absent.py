"""Why there is no journal: the wrong place, or a broker that keeps everything in memory."""

from __future__ import annotations

import pytest

from chatbroker.broker import absent as module
from chatbroker.broker.absent import no_journal
from chatbroker.broker.backup import back_up
from chatbroker.broker.check import journal_at
from chatbroker.broker.claimed import claims, release
from chatbroker.broker.config import StartError
from chatbroker.broker.database import FILE
from chatbroker.broker.folder import DataFolder
from chatbroker.broker.journal import JournalError

IN_MEMORY = ": the broker there keeps everything in memory, and has nothing to read or copy"
ELSEWHERE = "; give the broker's --port, or its --data-dir"


@pytest.fixture
def broker(monkeypatch, tmp_path):
    """A broker that serves from the folder, and how it answers: the status it tells, or an
    error."""
    told = {"memory": True}

    def ask(folder, **request):
        assert (folder, request) == (tmp_path, {"do": "status"})
        if "error" in told:
            raise StartError("the broker does not answer")
        return {"ok": True, "status": told}

    monkeypatch.setattr(module, "ask", ask)
    folder = DataFolder(tmp_path)
    yield told
    folder.close()


@pytest.mark.parametrize(
    "look",
    [
        lambda folder: claims(folder / FILE),
        lambda folder: back_up(folder / FILE, folder / "copy"),
        lambda folder: journal_at(folder, FILE),
    ],
    ids=["names list", "backup", "check"],
)
def test_whoever_looks_into_the_folder_of_a_broker_in_memory_is_told_so(broker, tmp_path, look):
    with pytest.raises(JournalError) as told:
        look(tmp_path)
    assert str(told.value) == f"there is no journal at {tmp_path / FILE}{IN_MEMORY}"


@pytest.mark.parametrize(
    "status",
    [{"memory": False}, {"error": True}],
    ids=["one whose journal was moved away", "one that does not answer"],
)
def test_of_another_broker_that_runs_nothing_is_claimed(broker, tmp_path, status):
    broker |= status
    assert str(no_journal(tmp_path / FILE)).endswith(ELSEWHERE)


def test_where_no_broker_runs_another_place_is_to_be_given(tmp_path):
    words = f"there is no journal at {tmp_path / FILE}{ELSEWHERE}"
    with pytest.raises(JournalError) as told:
        release(tmp_path, "bob", b"epoch-01")
    assert str(told.value) == words
    assert str(no_journal(tmp_path / "nowhere" / FILE)).endswith(ELSEWHERE)
