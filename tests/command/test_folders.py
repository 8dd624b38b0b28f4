"""Where both commands keep things."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from chatbroker.command.folders import data_folder as find


def test_the_variable_names_the_folder(data_folder):
    assert find() == data_folder


def test_without_it_the_platform_does(monkeypatch):
    monkeypatch.setenv("CHATBROKER_DATA", "")
    assert isinstance(find(), Path)
    assert find().name == "chatbroker"


def test_the_library_is_loaded_when_it_is_needed():
    code = "import sys, chatbroker.command.folders; sys.exit('platformdirs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
