from __future__ import annotations

import pytest

from chatbroker.broker.log import Log
from chatbroker.broker.turn import A_ROUTE, Route, Turn
from chatbroker.broker.user import User, proof_of
from chatbroker.wire.batch import pack_runs, unpack_events
from chatbroker.wire.messages import Event

NOW = 1_700_000_000_000


@pytest.fixture
def echo() -> Log:
    return Log("echo", b"echo-000")


@pytest.fixture
def turn(echo) -> Turn:
    return Turn(echo)


def person(name: str) -> User:
    return User(name, proof_of(b"secret"), Log(f"@{name}", b"mail-000"))


def say(route: Route, text: str) -> None:
    for run in pack_runs(route.head, [text]):
        for pending in route.pending:
            pending.append(run)


def read(body: bytes) -> list[Event | None]:
    return list(unpack_events(body))


def test_a_turn_in_which_nothing_is_said_has_nothing_to_store(turn):
    assert turn.take(NOW) == []


def test_a_broadcast_goes_into_the_public_log(turn, echo):
    say(turn.route(person("alice"), None, None, NOW), "hello")
    ((log, owner, (row,)),) = turn.take(NOW)
    assert (log, owner) == (echo, None)
    assert (row.log, row.time) == ("echo", NOW)
    assert read(row.body) == [Event(NOW, "alice", "", "hello")]


def test_a_direct_message_goes_into_both_mailboxes(turn):
    alice, bob = person("alice"), person("bob")
    say(turn.route(alice, "bob", bob, NOW), "hello")
    taken = turn.take(NOW)
    assert {(log.key, owner.name) for log, owner, _ in taken} == {
        ("@alice", "alice"),
        ("@bob", "bob"),
    }
    for _, _, (row,) in taken:
        assert read(row.body) == [Event(NOW, "alice", "bob", "hello")]


def test_a_conversation_of_one_turn_is_joined_once_for_both_mailboxes(turn):
    alice, bob, carol = person("alice"), person("bob"), person("carol")
    there, back = turn.route(alice, "bob", bob, NOW), turn.route(bob, "alice", alice, NOW)
    for number in range(9):
        say(there if number % 2 else back, "x" * 4000)
    say(turn.route(carol, "carol", carol, NOW), "a")
    say(turn.route(carol, "carol", carol, NOW), "b")
    taken = {log.key: rows for log, _, rows in turn.take(NOW)}
    assert len(taken["@alice"]) == len(taken["@bob"]) == 3
    for one, other in zip(taken["@alice"], taken["@bob"], strict=True):
        assert one.body is other.body
    assert [event.text for event in read(taken["@carol"][0].body)] == ["a", "b"]


def test_what_two_mailboxes_have_alike_is_one_object_as_far_as_it_goes(turn):
    alice, bob, carol = person("alice"), person("bob"), person("carol")
    route = turn.route(alice, "bob", bob, NOW)
    for _ in range(8):
        say(route, "x" * 5000)
    say(turn.route(bob, "carol", carol, NOW), "y")
    taken = {log.key: rows for log, _, rows in turn.take(NOW)}
    assert [row.events for row in taken["@bob"]] == [3, 3, 3]
    pairs = list(zip(taken["@alice"], taken["@bob"], strict=True))
    assert [one.body is other.body for one, other in pairs] == [True, True, False]


def test_mailboxes_in_which_not_all_is_the_same_have_each_what_is_theirs(turn):
    alice, bob, carol = person("alice"), person("bob"), person("carol")
    say(turn.route(alice, "bob", bob, NOW), "one")
    say(turn.route(bob, "carol", carol, NOW), "two")
    say(turn.route(alice, "bob", bob, NOW), "three")
    found = {
        log.key: [event.text for row in rows for event in read(row.body)]
        for log, _, rows in turn.take(NOW)
    }
    assert found == {
        "@alice": ["one", "three"],
        "@bob": ["one", "two", "three"],
        "@carol": ["two"],
    }


def test_a_message_to_oneself_goes_into_the_mailbox_once(turn):
    alice = person("alice")
    say(turn.route(alice, "alice", alice, NOW), "note to self")
    ((log, owner, (row,)),) = turn.take(NOW)
    assert (log, owner, row.events) == (alice.mailbox, alice, 1)


def test_an_event_names_the_recipient_and_not_what_was_typed(turn):
    say(turn.route(person("alice"), "BOB", person("bob"), NOW), "hello")
    _, _, (row,) = turn.take(NOW)[0]
    assert read(row.body) == [Event(NOW, "alice", "bob", "hello")]


def test_all_that_was_said_on_any_route_is_in_order(turn):
    alice, bob = person("alice"), person("bob")
    there, back = turn.route(alice, "bob", bob, NOW), turn.route(bob, "alice", alice, NOW)
    for number in range(4):
        say(back if number % 2 else there, str(number))
    for _, _, (row,) in turn.take(NOW):
        assert [event.text for event in read(row.body)] == ["0", "1", "2", "3"]


def test_a_route_is_found_again_by_who_and_whom(turn):
    alice, bob = person("alice"), person("bob")
    direct, broadcast = turn.route(alice, "bob", bob, NOW), turn.route(alice, None, None, NOW)
    assert turn.routes[alice, "bob"] is direct
    assert turn.routes[alice, None] is broadcast
    assert (bob, "alice") not in turn.routes


def test_when_somebody_came_or_went_no_route_is_trusted_and_nothing_is_forgotten(turn):
    alice, bob = person("alice"), person("bob")
    say(turn.route(alice, "bob", bob, NOW), "hello")
    turn.forget_routes()
    assert turn.routes == {}
    assert len(turn.take(NOW)) == 2


def test_a_turn_leaves_nothing_to_the_next(turn):
    alice = person("alice")
    say(turn.route(alice, None, None, NOW), "hello")
    turn.take(NOW)
    assert turn.routes == {}
    assert turn.take(NOW) == []
    say(turn.route(alice, None, None, NOW + 5), "again")
    ((_, _, (row,)),) = turn.take(NOW + 5)
    assert (row.prev, row.time) == (1, NOW + 5)
    assert read(row.body) == [Event(NOW + 5, "alice", "", "again")]


def test_the_mailbox_of_one_who_left_for_good_is_not_stored(turn):
    alice, bob = person("alice"), person("bob")
    say(turn.route(alice, "bob", bob, NOW), "goodbye")
    alice.gone = True
    assert [owner.name for _, owner, _ in turn.take(NOW)] == ["bob"]


def test_who_got_mail_in_one_turn_may_get_nothing_but_own_copies_in_the_next(turn):
    alice, bob = person("alice"), person("bob")
    say(turn.route(bob, "alice", alice, NOW), "hello")
    turn.take(NOW)
    assert turn.own == [(bob, 0, 1)]
    say(turn.route(alice, "bob", bob, NOW), "hello yourself")
    turn.take(NOW)
    assert turn.own == [(alice, 1, 2)]


def test_own_copies_reach_to_the_last_row_of_them(turn):
    alice, bob = person("alice"), person("bob")
    route = turn.route(alice, "bob", bob, NOW)
    for _ in range(8):
        say(route, "x" * 5000)
    taken = {log.key: rows for log, _, rows in turn.take(NOW)}
    assert len(taken["@alice"]) > 1
    assert turn.own == [(alice, 0, 8)]


def test_what_was_too_long_is_counted_in_its_turn_and_in_no_other(turn):
    turn.events, turn.too_long = 3, 2
    assert turn.messages == 1
    turn.take(NOW)
    turn.events = 1
    assert turn.messages == 1


def test_what_was_joined_in_a_turn_is_forgotten_with_it(turn):
    """It is known by the ids of objects, which others have later."""
    alice, bob = person("alice"), person("bob")
    for text in ("one", "two"):
        say(turn.route(alice, "bob", bob, NOW), text)
    bodies = [row.body for _, _, rows in turn.take(NOW) for row in rows]
    assert len(bodies) == 2
    assert bodies[0] is bodies[1]
    assert turn._joined == {}


def test_a_message_that_goes_another_way_is_as_much_to_do_as_many_that_go_the_same(turn):
    alice, bob = person("alice"), person("bob")
    turn.events += 2
    assert turn.work == 2
    turn.route(alice, "bob", bob, NOW)
    turn.route(alice, None, None, NOW)
    assert turn.work == 2 + 2 * A_ROUTE
    turn.forget_routes()  # What they take is done all the same.
    assert turn.work == 2 + 2 * A_ROUTE
    turn.take(NOW)
    assert turn.work == 0
