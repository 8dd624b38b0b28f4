"""The exit statuses are a contract with scripts: their numbers never change."""

from __future__ import annotations

from chatbroker.command.status import Status


def test_the_numbers_are_those_of_the_contract():
    assert {status.name: status.value for status in Status} == {
        "DONE": 0,
        "FAILURE": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "NAME_REFUSED": 4,
        "NOT_AUTHORISED": 5,
        "REFUSED": 6,
        "UNKNOWN": 7,
        "OUT_OF_TIME": 8,
        "INTERRUPTED": 130,
    }


def test_a_status_is_a_number_for_exit():
    assert isinstance(Status.REFUSED, int)
