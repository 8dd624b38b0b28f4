from __future__ import annotations

from typing import NamedTuple

import pytest

from chatbroker.wire.errors import BadFrame
from chatbroker.wire.limits import MAX_DEPTH, MAX_INT
from chatbroker.wire.shape import array, binary, boolean, check_depth, integer, record, string


class Pair(NamedTuple):
    number: int
    word: str


pair = record(Pair, integer, string(5))


def nested(depth: int) -> tuple:
    """*depth* arrays, each in the one before."""
    made: tuple = ()
    for _ in range(depth - 1):
        made = (made,)
    return made


@pytest.mark.parametrize("value", [0, 1, 2**32, MAX_INT])
def test_an_integer_is_taken(value):
    assert integer(value) == value


@pytest.mark.parametrize("value", [-1, MAX_INT + 1, 2**64 - 1, True, False, 1.0, "1", b"1", None])
def test_what_is_no_integer_from_0_to_the_largest_is_refused(value):
    with pytest.raises(BadFrame, match="integer"):
        integer(value)


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_taken(value):
    assert boolean(value) is value


@pytest.mark.parametrize("value", [0, 1, None, "true", ()])
def test_what_is_no_boolean_is_refused(value):
    with pytest.raises(BadFrame, match="boolean"):
        boolean(value)


@pytest.mark.parametrize("value", ["", "12345", "1é34", "é€", "🙂x"])
def test_a_string_within_its_bytes_is_taken(value):
    assert string(5)(value) == value


@pytest.mark.parametrize("value", ["123456", "1234é", "ééé", "🙂xx"])
def test_a_string_counts_bytes_and_not_characters(value):
    with pytest.raises(BadFrame, match="longer than 5 bytes"):
        string(5)(value)


@pytest.mark.parametrize("value", [b"bytes", 1, None, ("a",)])
def test_what_is_no_string_is_refused(value):
    with pytest.raises(BadFrame, match="string"):
        string(5)(value)


def test_bytes_have_one_of_the_given_lengths():
    check = binary(0, 8)
    assert check(b"") == b""
    assert check(b"12345678") == b"12345678"
    for value in (b"1", b"1234567", b"123456789", "12345678", None, 8):
        with pytest.raises(BadFrame, match="0 or 8 bytes"):
            check(value)


def test_a_record_is_its_fields_in_order():
    assert pair((1, "one")) == Pair(1, "one")
    assert type(pair((1, "one"))) is Pair


@pytest.mark.parametrize("value", [(), (1,), [1, "one"], "1o", 5, None, {}])
def test_what_is_no_record_is_refused(value):
    with pytest.raises(BadFrame):
        pair(value)


@pytest.mark.parametrize("value", [("1", "one"), (1, "longer"), (1, 1), (True, "one")])
def test_each_field_of_a_record_is_checked(value):
    with pytest.raises(BadFrame):
        pair(value)


def test_what_trails_a_record_is_of_a_later_version_and_ignored():
    assert pair((1, "one", "more", None, (1, (2,)))) == Pair(1, "one")


@pytest.mark.parametrize("around", [1, 2, 3])
def test_what_trails_a_record_is_bounded_in_depth(around):
    check = record(Pair, integer, string(5), around=around)
    assert check((1, "one", nested(MAX_DEPTH - around))) == Pair(1, "one")
    with pytest.raises(BadFrame, match="nested"):
        check((1, "one", nested(MAX_DEPTH - around + 1)))


def test_an_array_holds_so_many_and_no_more():
    check = array(3, integer)
    assert check(()) == ()
    assert check((1, 2, 3)) == (1, 2, 3)
    with pytest.raises(BadFrame, match="at most 3"):
        check((1, 2, 3, 4))


@pytest.mark.parametrize("value", [[1], "1", 1, None, (1, "2"), (True,)])
def test_each_element_of_an_array_is_checked(value):
    with pytest.raises(BadFrame):
        array(3, integer)(value)


def test_nesting_is_counted_from_where_one_is():
    check_depth(("flat", 1, None), MAX_DEPTH)
    check_depth((nested(3),), MAX_DEPTH - 3)
    with pytest.raises(BadFrame, match=f"deeper than {MAX_DEPTH}"):
        check_depth((nested(3),), MAX_DEPTH - 2)


def test_the_deepest_nesting_does_not_exhaust_the_checker():
    with pytest.raises(BadFrame):
        check_depth((nested(100_000),), 2)
