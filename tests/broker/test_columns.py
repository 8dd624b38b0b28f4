from __future__ import annotations

from chatbroker.broker.columns import aligned


def test_columns_stand_below_each_other_and_nothing_trails():
    rows = [("al", "held now", "3 unread"), ("alexandra", "last seen then", "0 unread")]
    assert [*aligned(rows)] == [
        "al         held now        3 unread",
        "alexandra  last seen then  0 unread",
    ]
    assert [*aligned([("a", "long"), ("bcd", "")])] == ["a    long", "bcd"]


def test_a_column_without_a_word_is_left_out_and_a_cell_is_not():
    assert [*aligned([("a", "", "x"), ("b", "", "y")])] == ["a  x", "b  y"]
    assert [*aligned([("a", "", "x"), ("b", "until then", "y")])] == [
        "a              x",
        "b  until then  y",
    ]


def test_nothing_is_no_line():
    assert [*aligned([])] == []
