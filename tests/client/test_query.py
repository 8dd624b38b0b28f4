"""Asking who is on, page by page."""

from __future__ import annotations

from chatbroker.client.query import Query
from chatbroker.wire.messages import Info, User, Users

ALICE, BOB, CAROL = (User(name, 0) for name in ("alice", "bob", "carol"))


def test_each_page_is_asked_for_after_the_last_name_of_the_one_before():
    query = Query(7)
    assert query.ask(5.0) == Info(7, "")
    assert query.ask_again == 5.0
    query.take(Users(7, (ALICE, BOB), True))
    assert (query.ask_again, query.done) == (0.0, False)
    assert query.ask(9.0) == Info(7, "bob")
    query.take(Users(7, (CAROL,), False))
    assert (query.users, query.done) == ([ALICE, BOB, CAROL], True)


def test_a_page_that_comes_twice_counts_once():
    query = Query(7)
    for _ in range(2):
        query.ask(5.0)
        query.take(Users(7, (ALICE, BOB), True))
    assert query.users == [ALICE, BOB]
    assert query.ask_again == 5.0  # The second told nothing new.


def test_when_nobody_is_on_the_answer_is_whole():
    query = Query(7)
    query.take(Users(7, (), False))
    assert (query.users, query.done) == ([], True)
