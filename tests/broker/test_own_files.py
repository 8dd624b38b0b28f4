"""Which files are a broker's, by where they are."""

from __future__ import annotations

import pytest

from chatbroker.broker.config import StartError
from chatbroker.broker.control import SOCKET
from chatbroker.broker.database import FILE
from chatbroker.broker.folder import DataFolder
from chatbroker.broker.kept_file import SANCTIONS
from chatbroker.broker.keyring import MEMBERS, SERVER_KEY
from chatbroker.broker.own_files import is_a_brokers, require_data


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", SANCTIONS, SOCKET])
def test_what_has_such_a_name_is_a_brokers_where_one_served(tmp_path, name):
    file = tmp_path / name
    assert not is_a_brokers(file)
    # Copies of all that may be kept, such as in a folder for backups, make no data folder.
    for kept in (FILE, SANCTIONS):
        (tmp_path / kept).touch()
    assert not is_a_brokers(file)
    # Nor does a lock that others hold while they make copies.
    (tmp_path / "lock").touch()
    assert not is_a_brokers(file)
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").mkdir()
    assert not is_a_brokers(file)
    (tmp_path / "lock").rmdir()
    DataFolder(tmp_path).close()
    assert is_a_brokers(file)
    assert not is_a_brokers(tmp_path / "copy.db")
    assert not is_a_brokers(tmp_path / "nowhere" / name)


@pytest.mark.parametrize("name", [FILE, SANCTIONS, MEMBERS, SERVER_KEY])
def test_a_folder_with_something_that_a_broker_keeps_is_its_data_folder(tmp_path, name):
    with pytest.raises(StartError, match="there is no data folder at"):
        require_data(tmp_path / "nowhere")
    (tmp_path / "lock").touch()
    with pytest.raises(StartError, match="is no broker's data folder; give the broker's --port"):
        require_data(tmp_path)
    (tmp_path / name).touch()
    require_data(tmp_path)
