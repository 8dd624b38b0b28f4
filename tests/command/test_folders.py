"""Where both commands keep things."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chatbroker.client.access import kept_names, known_brokers
from chatbroker.client.address import parse_address
from chatbroker.client.errors import IdentityError
from chatbroker.client.identity import Identity
from chatbroker.command.folders import data_folder as find
from chatbroker.command.folders import file_name
from chatbroker.command.local import read_local


def test_the_variable_names_the_folder(data_folder):
    assert find() == data_folder


def test_without_it_the_platform_does(monkeypatch):
    monkeypatch.setenv("CHATBROKER_DATA", "")
    assert isinstance(find(), Path)
    assert find().name == "chatbroker"


def test_without_a_home_there_is_a_place_where_nothing_is_and_nothing_can_be_made(monkeypatch):
    def nobody_home(*args, **options):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setenv("CHATBROKER_DATA", "")
    monkeypatch.setattr("platformdirs.user_data_path", nobody_home)
    address = parse_address("tcp://127.0.0.1:5555")
    assert known_brokers() == kept_names(address) == []
    assert read_local("127.0.0.1", 5555) is None
    with pytest.raises(OSError, match=str(find())):
        find().mkdir(parents=True)
    with pytest.raises(IdentityError, match="set CHATBROKER_DATA to a folder"):
        Identity.of("tcp://127.0.0.1:5555", "alice")


def test_the_library_is_loaded_when_it_is_needed():
    code = "import sys, chatbroker.command.folders; sys.exit('platformdirs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_spellings_of_one_address_have_one_file_and_no_host_leaves_the_folder():
    assert file_name("127.0.0.1", 5555) == "127.0.0.1_5555"
    assert file_name("0:0::1", 5555) == file_name("::1", 5555) == "%3A%3A1_5555"
    assert file_name("LocalHost", 5555) == "127.0.0.1_5555"
    assert file_name("Example.ORG", 1) == "example.org_1"
    assert file_name("../x", 1) == "..%2Fx_1"
