"""Commands that were given together, and what became of each."""

from __future__ import annotations

from chatbroker.client.commands import Commands, Note, Outcome, Ticket

ACCEPTED, REFUSED, PENDING = Outcome.ACCEPTED, Outcome.REFUSED, Outcome.PENDING


def given(*outcomes):
    commands = Commands("bob", [str(number) for number in range(len(outcomes))])
    commands.resolve(0, len(outcomes), outcomes)
    return commands


def test_nothing_is_known_of_what_was_just_given():
    commands = Commands(None, ["a", "b"])
    assert commands.known() == 0
    assert not commands.plain(range(2))
    assert [Ticket(commands, at).outcome for at in range(2)] == [PENDING] * 2


def test_a_ticket_is_a_view_of_one_of_them():
    commands = given(ACCEPTED, REFUSED, PENDING)
    commands.notes[1] = Note(False, "no_such_user", "no such user: bob")
    accepted, refused, pending = (Ticket(commands, at) for at in range(3))
    assert (accepted.to, accepted.text, accepted.done, accepted.plain) == ("bob", "0", True, True)
    assert (refused.code, refused.words) == ("no_such_user", "no such user: bob")
    assert (refused.done, refused.plain) == (True, False)
    assert (pending.done, pending.code, pending.words, pending.away) == (False, "", "", False)


def test_two_tickets_of_a_command_are_one():
    commands, other = given(PENDING, PENDING), given(PENDING)
    assert Ticket(commands, 1) == Ticket(commands, 1)
    assert len({Ticket(commands, 0), Ticket(commands, 0), Ticket(commands, 1)}) == 2
    assert Ticket(commands) != Ticket(commands, 1)
    assert Ticket(commands) != Ticket(other)
    assert Ticket(commands) != "0"


def test_what_is_known_ends_where_something_is_not():
    commands = given(ACCEPTED, REFUSED, PENDING, ACCEPTED)
    assert (commands.known(), commands.known(1), commands.known(3)) == (2, 2, 4)
    assert given(ACCEPTED).known() == 1


def test_what_the_broker_has_and_nothing_is_to_be_told_of_is_plain():
    commands = given(ACCEPTED, ACCEPTED, REFUSED, ACCEPTED, PENDING)
    commands.notes[3] = Note(True, "", "")
    assert commands.plain(range(2))
    for start, stop in ((1, 3), (3, 4), (4, 5), (0, 5)):
        assert not commands.plain(range(start, stop))
    assert [Ticket(commands, at).plain for at in range(5)] == [True, True, False, False, False]


def test_what_was_withdrawn_was_never_sent_although_what_follows_it_was():
    commands = given(ACCEPTED, Outcome.UNSENT, ACCEPTED, PENDING)
    commands.sent = 3
    assert [Ticket(commands, at).sent for at in range(4)] == [True, False, True, False]
