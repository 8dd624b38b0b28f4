"""The lives that logs had before, as they are stored."""

from __future__ import annotations

import json

import pytest

from chatbroker.broker.former import Former, pack_former, unpack_former


@pytest.mark.parametrize("former", [{}, {"echo": Former(b"epoch-01", 7), "@a:1": Former(b"x", 0)}])
def test_it_comes_back(former):
    assert unpack_former(pack_former(former)) == former


def test_of_nothing_there_is_none():
    assert unpack_former(b"") == {}


@pytest.mark.parametrize(
    "value",
    [
        *([], 7, {"echo": 7}, {"echo": ["0102"]}, {"echo": ["0102", 1, 2]}, {"echo": [7, 1]}),
        *({"echo": ["010", 1]}, {"echo": ["0102", True]}, {"echo": ["0102", "1"]}),
    ],
)
def test_what_is_no_such_is_told(value):
    with pytest.raises(ValueError, match="not the lives that logs had before"):
        unpack_former(json.dumps(value).encode())


def test_what_is_no_json_is_told():
    with pytest.raises(ValueError, match="not the lives that logs had before"):
        unpack_former(b"{")
