"""Which keys a person is used to."""

from __future__ import annotations

import pytest

from chatbroker.client.terminal.inputrc import vi_keys


@pytest.mark.parametrize(
    ("text", "vi"),
    [
        ("", False),
        ("set editing-mode vi\n", True),
        ("  SET  Editing-Mode  VI \n", True),
        ("set editing-mode vi\nset editing-mode emacs\n", False),
        ("# set editing-mode vi\n", False),
        ("$if Bash\nset editing-mode vi\n$endif\n", False),
        ("$if Bash\n$if mode=vi\n$endif\n$endif\nset editing-mode vi\n", True),
        ("set editing-mode vim\n", False),
        ("\xff\nset editing-mode vi\n", True),
    ],
)
def test_what_the_file_asks_for(tmp_path, monkeypatch, text, vi):
    path = tmp_path / "inputrc"
    path.write_text(text, encoding="latin-1")
    monkeypatch.setenv("INPUTRC", str(path))
    assert vi_keys() == vi


def test_the_file_in_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv("INPUTRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".inputrc").write_text("set editing-mode vi\n")
    assert vi_keys()


def test_a_file_that_is_not_there_asks_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("INPUTRC", str(tmp_path / "none"))
    assert not vi_keys()
