from __future__ import annotations

import inspect

import pytest

from chatbroker.wire import errors
from chatbroker.wire.errors import (
    BadFrame,
    BadName,
    BadText,
    Code,
    InvalidInput,
    TooLong,
    UnknownKind,
    VersionMismatch,
    WireError,
)
from chatbroker.wire.limits import MAX_NAME


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (BadFrame, Code.BAD_FRAME),
        (UnknownKind, Code.UNKNOWN_KIND),
        (VersionMismatch, Code.VERSION),
        (BadName, Code.BAD_NAME),
        (BadText, Code.BAD_FRAME),
        (TooLong, Code.TOO_LONG),
    ],
)
def test_an_error_knows_what_to_answer(raised, code):
    assert raised("words").code is code


def test_a_peers_fault_is_never_taken_for_the_callers():
    assert not issubclass(WireError, ValueError)
    assert not issubclass(InvalidInput, WireError)
    assert issubclass(InvalidInput, ValueError)


def test_the_tree_in_the_docstring_is_complete():
    defined = [
        name
        for name, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, Exception)
    ]
    assert defined
    for name in defined:
        assert name in errors.__doc__


def test_a_code_travels_as_a_short_word():
    for code in Code:
        assert str(code) == code.value
        assert code.value.replace("_", "").isalpha()
        assert code.value == code.value.lower()
        assert len(code.value) <= MAX_NAME


def test_no_two_codes_share_a_word():
    assert len({code.value for code in Code}) == len(Code.__members__)
