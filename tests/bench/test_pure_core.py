"""The core without sockets is measured as the edge drives it, and stores what is said."""

from __future__ import annotations

import pytest

from bench import pure_core
from chatbroker.broker.memory_journal import MemoryJournal

FRAMES = 256
"""Several of each sender, and in one turn."""


@pytest.mark.parametrize("a_frame", [1, 100])
@pytest.mark.parametrize(
    ("work", "events"), [(pure_core.direct, 2), (pure_core.lone, 2), (pure_core.echo, 1)]
)
def test_all_that_is_said_is_stored(work, events, a_frame, monkeypatch):
    journals = []

    def journal():
        journals.append(MemoryJournal())
        return journals[-1]

    monkeypatch.setattr(pure_core, "MemoryJournal", journal)
    assert work(FRAMES * a_frame, a_frame) > 0
    assert [one.messages for one in journals] == [events * FRAMES * a_frame]


@pytest.mark.parametrize("a_frame", [1, 100])
def test_frames_are_decoded(a_frame):
    assert pure_core.decode(FRAMES * a_frame, a_frame) > 0
