"""Descriptors that are left."""

from __future__ import annotations

import errno
import socket

import pytest

from chatbroker.command.spare import spare_descriptors


def grants(monkeypatch, count, number=errno.EMFILE):
    """The system grants so many more; gives the sockets."""
    made = []
    plain = socket.socket

    def granted():
        if len(made) == count:
            raise OSError(number, "no more")
        made.append(plain())
        return made[-1]

    monkeypatch.setattr(socket, "socket", granted)
    return made


@pytest.mark.parametrize(("granted", "enough"), [(5, True), (4, False), (0, False)])
def test_it_tells_whether_there_are_as_many_and_keeps_none(monkeypatch, granted, enough):
    made = grants(monkeypatch, granted)
    assert spare_descriptors(5) is enough
    assert [one.fileno() for one in made] == [-1] * granted


def test_it_tells_too_when_the_whole_system_has_no_more(monkeypatch):
    made = grants(monkeypatch, 4, errno.ENFILE)
    assert not spare_descriptors(5)
    assert [one.fileno() for one in made] == [-1] * 4


def test_another_failure_is_not_taken_for_that(monkeypatch):
    made = grants(monkeypatch, 2, errno.EPERM)
    with pytest.raises(PermissionError):
        spare_descriptors(5)
    assert [one.fileno() for one in made] == [-1] * 2
