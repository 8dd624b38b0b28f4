"""Descriptors that are left."""

from __future__ import annotations

import errno
import resource
import socket

import pytest

from chatbroker.command.spare import descriptors_needed


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


@pytest.mark.parametrize(("granted", "missing"), [(5, None), (4, 1), (0, 5)])
def test_it_tells_the_limit_by_which_there_are_as_many_and_keeps_none(
    monkeypatch, granted, missing
):
    made = grants(monkeypatch, granted)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert descriptors_needed(5) == (0 if missing is None else limit + missing)
    assert [one.fileno() for one in made] == [-1] * granted


def test_it_tells_too_when_the_whole_system_has_no_more(monkeypatch):
    made = grants(monkeypatch, 4, errno.ENFILE)
    assert descriptors_needed(5) == 5
    assert [one.fileno() for one in made] == [-1] * 4


def test_another_failure_is_not_taken_for_that(monkeypatch):
    made = grants(monkeypatch, 2, errno.EPERM)
    with pytest.raises(PermissionError):
        descriptors_needed(5)
    assert [one.fileno() for one in made] == [-1] * 2
