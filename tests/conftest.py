"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where identities and data are kept: not in the home of whoever runs the tests."""
    folder = tmp_path / "data"
    monkeypatch.setenv("CHATBROKER_DATA", str(folder))
    return folder
