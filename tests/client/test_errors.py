"""The exceptions of a client, and which of them a refusal becomes."""

from __future__ import annotations

import inspect

import pytest

from chatbroker.client import errors
from chatbroker.client.errors import (
    ClientError,
    NameRefused,
    NotAuthorised,
    ProtocolError,
    Unreachable,
    UsageError,
    session_error,
)
from chatbroker.wire.errors import Code

BROKER = "tcp://127.0.0.1:5555"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.BAD_NAME, NameRefused),
        (Code.NAME_TAKEN, NameRefused),
        (Code.ALREADY_JOINED, NameRefused),
        (Code.NOT_ALLOWED, NotAuthorised),
        (Code.BANNED, NotAuthorised),
        (Code.KICKED, NotAuthorised),
        (Code.BROKER_FULL, Unreachable),
        (Code.CANNOT_STORE, ClientError),
        (Code.VERSION, ProtocolError),
        (Code.REPLACED, ProtocolError),
        (Code.BAD_FRAME, ProtocolError),
    ],
)
def test_a_refusal_becomes_the_exception_that_fits(code, kind):
    error = session_error(code.value, "words", BROKER)
    assert type(error) is kind
    assert "words" in str(error)


@pytest.mark.parametrize("code", list(Code))
def test_every_code_becomes_an_exception_of_the_clients(code):
    assert isinstance(session_error(code.value, "words", BROKER), ClientError)


def test_a_code_of_a_later_version_becomes_one_too():
    assert isinstance(session_error("quota", "words", BROKER), ClientError)


def test_whatever_a_broker_has_against_a_name_is_about_the_name():
    for code in ("name_claimed", "name_of_a_later_version"):
        error = session_error(code, "name 'alice' is claimed", BROKER)
        assert type(error) is NameRefused
        assert str(error) == f"name 'alice' is claimed on {BROKER}"


def test_a_taken_name_says_where():
    error = session_error("name_taken", "name 'alice' is taken", BROKER)
    assert str(error) == f"name 'alice' is taken on {BROKER}"
    assert error.code == "name_taken"


def test_a_bad_name_is_bad_everywhere():
    assert BROKER not in str(session_error("bad_name", "not a valid name", BROKER))


def test_the_tree_in_the_docstring_is_the_tree():
    kinds = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ClientError)
    }
    assert all(name in errors.__doc__ for name in kinds)
    assert all(issubclass(getattr(errors, name), ClientError) for name in kinds)
    assert issubclass(UsageError, ValueError)
