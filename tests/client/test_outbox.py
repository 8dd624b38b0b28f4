"""The outbox against examples, and against a broker that carries out each number once."""

from __future__ import annotations

from math import inf

import msgpack
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tickets import one

from chatbroker.client.commands import Commands, Outcome, Ticket
from chatbroker.client.outbox import Outbox
from chatbroker.wire.limits import MAX_FRAME, MAX_INT, MAX_RUNS, MAX_TEXT, MAX_TEXTS
from chatbroker.wire.messages import Ack, Kind, Limits, Refusal, Run

PLENTY = 1 << 30


def put(outbox, *texts):
    """Each is given by itself."""
    tickets = [one(None, text) for text in texts]
    for ticket in tickets:
        outbox.put(ticket.commands)
    return tickets


def put_together(outbox, *texts):
    commands = Commands(None, texts)
    outbox.put(commands)
    return [Ticket(commands, at) for at in range(len(texts))]


def sends(outbox, window=1000, size=PLENTY):
    """The numbers and texts that go out now."""
    said = [msgpack.unpackb(packed) for packed in outbox.due(window, size, 0.0)]
    return [(cseq, text) for _, first, *_, texts in said for cseq, text in enumerate(texts, first)]


def outcomes(tickets):
    return [ticket.outcome for ticket in tickets]


@pytest.fixture
def outbox():
    return Outbox()


def test_commands_are_numbered_from_one_in_order(outbox):
    put(outbox, "a", "b")
    assert sends(outbox) == [(1, "a"), (2, "b")]
    put(outbox, "c")
    assert sends(outbox) == [(3, "c")]
    assert outbox.sent == 3


def test_a_command_to_one_user_is_a_send(outbox):
    outbox.put(Commands("bob", ["hi"]))
    (packed,) = outbox.due(1, PLENTY, 0.0)
    assert msgpack.unpackb(packed) == [Kind.SEND, 1, "bob", ["hi"]]


def test_what_goes_the_same_way_shares_a_message(outbox):
    for to in ("bob", "bob", None, None, None, "bob", "carol"):
        outbox.put(Commands(to, ["hi"]))
    assert [msgpack.unpackb(packed) for packed in outbox.due(10, PLENTY, 0.0)] == [
        [Kind.SEND, 1, "bob", ["hi", "hi"]],
        [Kind.ECHO, 3, ["hi", "hi", "hi"]],
        [Kind.SEND, 6, "bob", ["hi"]],
        [Kind.SEND, 7, "carol", ["hi"]],
    ]


def test_a_message_has_no_more_texts_than_it_may(outbox):
    put(outbox, *["x"] * (MAX_TEXTS + 1))
    assert [len(msgpack.unpackb(packed)[2]) for packed in outbox.due(1024, PLENTY, 0.0)] == [
        MAX_TEXTS,
        1,
    ]


def paced(outbox, messages=(0, 0), sizes=(0, 0)):
    outbox.pace.keep_to(Limits(65536, 16384, 1024, 1 << 20, *messages, *sizes))


def test_no_more_goes_out_than_the_pace_allows(outbox):
    put(outbox, *"abcdefghij")
    paced(outbox, (10, 6))
    assert len(sends(outbox)) in (3, 4)  # An empty bucket is not in debt, if it is quite so.
    sends(outbox)
    assert sends(outbox) == []
    assert outbox.sent == 4
    assert 0 < outbox.held_until <= 0.1


def test_bytes_are_paced_too(outbox):
    put(outbox, *["x" * 100] * 10)
    paced(outbox, sizes=(1000, 1000))
    first = len(sends(outbox))
    assert 7 <= first <= 8
    assert sends(outbox) in ([], [(first + 1, "x" * 100)])
    assert sends(outbox) == []
    assert 0 < outbox.held_until < 0.2


def test_what_waits_for_acknowledgements_is_not_held_by_the_pace(outbox):
    put(outbox, "a", "b")
    assert len(sends(outbox, window=1)) == 1
    assert sends(outbox, window=1) == []
    assert outbox.held_until == inf


def test_a_held_outbox_says_until_when(outbox):
    put(outbox, "a")
    outbox.pace.hold(5.0)
    assert sends(outbox) == []
    assert outbox.held_until == 5.0
    assert [*outbox.due(1000, PLENTY, 5.0)]
    assert outbox.held_until == inf


@pytest.mark.parametrize("text", ["x" * MAX_TEXT, "é" * (MAX_TEXT // 2), "🙂" * (MAX_TEXT // 4)])
def test_what_is_due_at_a_time_fits_a_frame(outbox, text):
    put(outbox, *[text] * 20)
    rounds = 0
    while due := list(outbox.due(1024, MAX_FRAME // 2, 0.0)):
        assert sum(map(len, due)) < MAX_FRAME - 1000
        rounds += 1
    assert 1 < rounds <= 20


def test_the_window_holds_back(outbox):
    put(outbox, *"abcde")
    assert len(sends(outbox, window=2)) == 2
    assert sends(outbox, window=2) == []
    outbox.acknowledge(Ack(0, 1, ()))
    assert sends(outbox, window=2) == [(3, "c")]
    assert len(outbox) == 4


def test_a_frames_worth_goes_out_at_a_time_and_at_least_one(outbox):
    put(outbox, *["x" * MAX_TEXT] * 5)
    assert len(sends(outbox, size=2 * MAX_TEXT)) == 2
    assert len(sends(outbox, size=1)) == 1
    assert len(sends(outbox)) == 2


def test_it_tells_when_there_is_something_to_send_at_once(outbox):
    assert outbox.put(Commands(None, ["first"]))
    sends(outbox)
    # What is under way wakes the sender anyway when it is resolved.
    assert not outbox.put(Commands(None, ["x"] * (MAX_TEXTS - 1)))
    assert outbox.put(Commands(None, ["a message is full"]))
    assert not outbox.put(Commands(None, ["and the sender knows"]))


def test_acks_chain(outbox):
    tickets = put(outbox, *"abcd")
    sends(outbox)
    assert outbox.acknowledge(Ack(0, 1, ()))
    assert outcomes(tickets) == [Outcome.ACCEPTED] + [Outcome.PENDING] * 3
    assert outbox.acknowledge(Ack(1, 4, ()))
    assert outcomes(tickets) == [Outcome.ACCEPTED] * 4
    assert outbox.resolved == 4
    assert not outbox.uncertain


def test_an_ack_after_a_hole_resolves_nothing(outbox):
    tickets = put(outbox, *"abc")
    sends(outbox)
    assert not outbox.acknowledge(Ack(1, 3, (Refusal(2, 2, "no_such_user", "no"),)))
    assert outcomes(tickets) == [Outcome.PENDING] * 3
    assert outbox.acknowledge(Ack(0, 3, (Refusal(2, 2, "no_such_user", "no"),)))
    assert outcomes(tickets) == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]


def test_a_repeated_ack_counts_once(outbox):
    tickets = put(outbox, *"abc")
    sends(outbox)
    outbox.acknowledge(Ack(0, 2, ()))
    assert outbox.acknowledge(Ack(0, 2, (Refusal(1, 1, "no_such_user", "no"),)))
    assert outbox.acknowledge(Ack(0, 1, ()))
    assert outcomes(tickets) == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.PENDING]
    assert outbox.resolved == 2


def test_refusals_keep_their_reason(outbox):
    (ticket,) = put(outbox, "a")
    sends(outbox)
    outbox.acknowledge(Ack(0, 1, (Refusal(1, 1, "too_long", "too long: 5 bytes"),)))
    assert (ticket.outcome, ticket.code, ticket.words) == (
        Outcome.REFUSED,
        "too_long",
        "too long: 5 bytes",
    )


def test_who_was_not_there_is_named_in_the_words(outbox):
    """The broker does not repeat the name: it keeps a thousand outcomes for each session."""
    tickets = [one("bob", "hi"), one("carol", "hi"), one("bob", "x" * (MAX_TEXT + 1))]
    for ticket in tickets:
        outbox.put(ticket.commands)
    sends(outbox)
    nobody = ("no_such_user", "no such user")
    refusals = (Refusal(1, 2, *nobody), Refusal(3, 3, "too_long", "too long"))
    outbox.acknowledge(Ack(0, 3, refusals))
    assert [ticket.words for ticket in tickets] == [
        "no such user: bob",
        "no such user: carol",
        "too long",
    ]


def test_a_refused_broadcast_names_nobody(outbox):
    (ticket,) = put(outbox, "a")
    sends(outbox)
    outbox.acknowledge(Ack(0, 1, (Refusal(1, 1, "no_such_user", "odd"),)))
    assert ticket.words == "odd"


def away(tickets):
    return [ticket.text for ticket in tickets if ticket.away]


def refused(tickets):
    return [ticket.text for ticket in tickets if ticket.outcome is Outcome.REFUSED]


NO = ("no_such_user", "no such user")


def test_a_run_of_refusals_refuses_each_of_them(outbox):
    tickets = put(outbox, *"abcdef")
    sends(outbox)
    outbox.acknowledge(Ack(0, 6, (Refusal(2, 3, *NO), Refusal(5, 5, "too_long", "too long"))))
    assert refused(tickets) == ["b", "c", "e"]
    assert [ticket.code for ticket in tickets][1:5] == [NO[0], NO[0], "", "too_long"]


def test_what_waits_for_who_is_away_is_accepted(outbox):
    tickets = put(outbox, *"abcdef")
    sends(outbox)
    outbox.acknowledge(Ack(0, 6, (Refusal(3, 3, *NO),), (Run(1, 2), Run(5, 5))))
    assert away(tickets) == ["a", "b", "e"]
    assert refused(tickets) == ["c"]
    assert [ticket.outcome for ticket in tickets].count(Outcome.ACCEPTED) == 5


def test_what_is_refused_waits_for_nobody(outbox):
    """No broker says both of one command; if one does, the worse is true."""
    tickets = put(outbox, "a", "b")
    sends(outbox)
    outbox.acknowledge(Ack(0, 2, (Refusal(1, 1, *NO),), (Run(1, 2),)))
    assert refused(tickets) == ["a"]
    assert away(tickets) == ["b"]


def test_a_run_is_taken_from_where_it_is_not_known_yet(outbox):
    tickets = put(outbox, *"abcdef")
    sends(outbox)
    outbox.acknowledge(Ack(0, 2, ()))
    outbox.acknowledge(Ack(0, 5, (Refusal(1, 3, *NO),), (Run(2, 4),)))
    assert refused(tickets) == ["c"]
    assert away(tickets) == ["d"]
    assert outbox.resolved == 5


def test_a_run_past_what_the_ack_covers_says_nothing_of_it(outbox):
    tickets = put(outbox, *"abcd")
    sends(outbox)
    outbox.acknowledge(Ack(0, 2, (Refusal(2, 4, *NO),), (Run(3, 4),)))
    outbox.acknowledge(Ack(2, 4, ()))
    assert refused(tickets) == ["b"]
    assert away(tickets) == []


def test_runs_in_an_ack_after_a_hole_say_nothing(outbox):
    tickets = put(outbox, *"abcd")
    sends(outbox)
    assert not outbox.acknowledge(Ack(1, 4, (Refusal(2, 2, *NO),), (Run(3, 3),)))
    assert outbox.acknowledge(Ack(0, 4, ()))
    assert refused(tickets) == away(tickets) == []


@pytest.mark.parametrize("run", [(5, 2), (9, 9), (1, MAX_INT), (MAX_INT, MAX_INT)])
def test_odd_runs_cost_nothing_and_concern_only_what_was_sent(outbox, run):
    tickets = put(outbox, *"abc")
    sends(outbox)
    outbox.acknowledge(Ack(0, 3, (Refusal(*run, *NO),) * MAX_RUNS, (Run(*run),) * MAX_RUNS))
    assert all(ticket.done for ticket in tickets)
    assert refused(tickets) == (list("abc") if run == (1, MAX_INT) else [])


def test_a_run_over_the_end_of_a_connection_is_for_the_same_commands(outbox):
    tickets = put(outbox, *"abcd")
    sends(outbox, window=3)
    outbox.rewind()
    outbox.acknowledge(Ack(0, 3, (Refusal(1, 1, *NO),), (Run(2, 3),)))
    assert refused(tickets) == ["a"]
    assert away(tickets) == ["b", "c"]
    assert sends(outbox) == [(4, "d")]


def test_a_broadcast_waits_for_nobody_unless_the_broker_says_so(outbox):
    (ticket,) = put(outbox, "a")
    assert not ticket.away
    sends(outbox)
    outbox.acknowledge(Ack(0, 1, ()))
    assert not ticket.away


def test_an_ack_of_what_was_never_sent_resolves_no_more_than_was(outbox):
    tickets = put(outbox, *"abc")
    sends(outbox, window=1)
    outbox.acknowledge(Ack(0, 1 << 60, ()))
    assert outcomes(tickets) == [Outcome.ACCEPTED, Outcome.PENDING, Outcome.PENDING]
    assert sends(outbox) == [(2, "b"), (3, "c")]


def test_after_a_rewind_the_same_numbers_go_out_again(outbox):
    tickets = put(outbox, *"abc")
    sends(outbox)
    outbox.acknowledge(Ack(0, 1, ()))
    outbox.rewind()
    put(outbox, "d")
    assert outbox.sent == 1
    assert sends(outbox) == [(2, "b"), (3, "c"), (4, "d")]
    assert outcomes(tickets)[1:] == [Outcome.PENDING] * 2


@pytest.mark.parametrize(("expected", "again"), [(2, "bc"), (3, "c"), (4, ""), (9, ""), (1, "abc")])
def test_a_rewind_to_a_number_keeps_what_is_before_it_under_way(outbox, expected, again):
    put(outbox, *"abc")
    sends(outbox)
    outbox.rewind(expected)
    assert "".join(text for _, text in sends(outbox)) == again


def test_an_ack_for_an_earlier_connection_resolves_what_waits_to_be_sent_again(outbox):
    tickets = put(outbox, *"abc")
    sends(outbox, window=2)
    outbox.rewind()
    outbox.acknowledge(Ack(0, 2, ()))
    assert outcomes(tickets) == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.PENDING]
    assert sends(outbox) == [(3, "c")]


def test_a_new_session_counts_from_one(outbox):
    put(outbox, *"abc")
    sends(outbox)
    outbox.acknowledge(Ack(0, 1, ()))
    outbox.restart(0, forgotten=False)
    assert outbox.resolved == 0
    assert sends(outbox) == [(1, "b"), (2, "c")]


def test_an_ack_of_what_a_new_session_was_not_sent_yet_resolves_nothing(outbox):
    tickets = put(outbox, *"abc")
    sends(outbox)
    outbox.restart(0, forgotten=False)
    outbox.acknowledge(Ack(0, 3, ()))
    assert outcomes(tickets) == [Outcome.PENDING] * 3
    assert sends(outbox) == [(1, "a"), (2, "b"), (3, "c")]


def test_a_forgotten_session_leaves_what_was_sent_unknown_and_sends_the_rest(outbox):
    tickets = put(outbox, *"abc")
    sends(outbox, window=2)
    outbox.restart(0, forgotten=True)
    assert outcomes(tickets) == [Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.PENDING]
    assert not outbox.uncertain
    assert sends(outbox) == [(1, "c")]


def test_what_was_never_sent_can_be_taken_back(outbox):
    first, middle, last = put(outbox, *"abc")
    sends(outbox, window=1)
    assert outbox.withdraw(middle)
    assert middle.outcome is Outcome.UNSENT
    assert sends(outbox) == [(2, "c")]
    outbox.acknowledge(Ack(0, 2, ()))
    assert outcomes([first, last]) == [Outcome.ACCEPTED] * 2


def test_what_was_sent_cannot_be_taken_back_not_even_after_a_rewind(outbox):
    (ticket,) = put(outbox, "a")
    sends(outbox)
    assert not outbox.withdraw(ticket)
    outbox.rewind()
    assert not outbox.withdraw(ticket)
    assert ticket.outcome is Outcome.PENDING
    outbox.acknowledge(Ack(0, 1, ()))
    assert not outbox.withdraw(ticket)


def test_abandoning_tells_what_was_sent_from_what_was_not(outbox):
    tickets = put(outbox, *"abc")
    sends(outbox, window=1)
    outbox.rewind()
    outbox.abandon()
    assert outcomes(tickets) == [Outcome.UNKNOWN, Outcome.UNSENT, Outcome.UNSENT]
    assert len(outbox) == 0
    assert not outbox.uncertain


# --- texts that were given together ----------------------------------------------------------


def test_what_was_given_together_is_numbered_one_by_one_and_goes_out_in_parts(outbox):
    tickets = put_together(outbox, *"abcde")
    assert sends(outbox, window=2) == [(1, "a"), (2, "b")]
    outbox.acknowledge(Ack(0, 1, ()))
    assert sends(outbox, window=3) == [(3, "c"), (4, "d")]
    assert outcomes(tickets) == [Outcome.ACCEPTED] + [Outcome.PENDING] * 4
    assert [ticket.sent for ticket in tickets] == [True] * 4 + [False]
    assert (len(outbox), outbox.sent, outbox.resolved) == (4, 4, 1)


def test_what_was_given_apart_and_goes_the_same_way_shares_a_message(outbox):
    put_together(outbox, *"ab")
    put(outbox, "c")
    put_together(outbox, *"de")
    (packed,) = outbox.due(10, PLENTY, 0.0)
    assert msgpack.unpackb(packed)[1:] == [1, ["a", "b", "c", "d", "e"]]


def test_an_ack_reaches_over_what_was_given_together_and_apart(outbox):
    together, apart = put_together(outbox, *"abc"), put(outbox, *"de")
    sends(outbox)
    outbox.acknowledge(Ack(0, 4, (Refusal(3, 4, *NO),), (Run(2, 3),)))
    accepted, refused = Outcome.ACCEPTED, Outcome.REFUSED
    assert outcomes(together + apart) == [accepted, accepted, refused, refused, Outcome.PENDING]
    assert [ticket.away for ticket in together] == [False, True, False]
    assert [ticket.code for ticket in together + apart] == ["", "", NO[0], NO[0], ""]


def test_a_rewind_cuts_what_was_given_together(outbox):
    put_together(outbox, *"abcd")
    sends(outbox)
    outbox.acknowledge(Ack(0, 1, ()))
    outbox.rewind(3)
    assert (outbox.sent, len(outbox)) == (2, 3)
    assert sends(outbox) == [(3, "c"), (4, "d")]


def test_what_a_rewind_leaves_under_way_of_those_given_together_is_resolved(outbox):
    tickets = put_together(outbox, *"abcde")
    sends(outbox)
    outbox.rewind(3)
    assert outbox.acknowledge(Ack(0, 2, ()))
    assert outcomes(tickets) == [Outcome.ACCEPTED] * 2 + [Outcome.PENDING] * 3
    assert sends(outbox) == [(3, "c"), (4, "d"), (5, "e")]


def test_one_of_those_given_together_can_be_taken_back(outbox):
    for at, parts in ((0, [3]), (2, [2, 1]), (3, [3])):
        tickets = put_together(outbox, *"abcd")
        begun = outbox.sent
        assert outbox.withdraw(tickets[at])
        assert [part.size for part in outbox._waiting.parts] == parts
        assert [text for _, text in sends(outbox)] == [t for t in "abcd" if t != "abcd"[at]]
        outbox.acknowledge(Ack(begun, begun + 3, ()))
        assert tickets.pop(at).outcome is Outcome.UNSENT
        assert outcomes(tickets) == [Outcome.ACCEPTED] * 3


def test_the_first_that_was_not_sent_can_be_taken_back_after_a_rewind(outbox):
    """What was sent and what was not are parts that adjoin each other."""
    tickets = put_together(outbox, *"abcd")
    sends(outbox, window=2)
    outbox.rewind()
    assert outbox.withdraw(tickets[2])
    assert len(outbox) == 3
    assert sends(outbox) == [(1, "a"), (2, "b"), (3, "d")]
    outbox.acknowledge(Ack(0, 3, ()))
    assert outcomes(tickets) == [Outcome.ACCEPTED] * 2 + [Outcome.UNSENT, Outcome.ACCEPTED]


def test_of_what_was_given_together_some_may_be_sent_when_it_is_abandoned(outbox):
    tickets = put_together(outbox, *"abc")
    sends(outbox, window=2)
    outbox.abandon()
    assert outcomes(tickets) == [Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.UNSENT]


def test_a_forgotten_session_leaves_what_was_sent_of_those_given_together_unknown(outbox):
    tickets = put_together(outbox, *"abc")
    sends(outbox, window=2)
    outbox.restart(7, forgotten=True)
    assert outcomes(tickets) == [Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.PENDING]
    assert sends(outbox) == [(8, "c")]


def test_the_pace_cuts_what_was_given_together(outbox):
    put_together(outbox, *"abcdefghij")
    paced(outbox, (10, 6))
    first = len(sends(outbox))
    assert first in (3, 4)
    sends(outbox)
    assert outbox.sent == 4
    assert len(outbox) == 10


def test_what_was_ever_sent_stays_so_although_fewer_are_sent_again(outbox):
    """Or a broker that forgot the session would get them twice."""
    tickets = put_together(outbox, *"abcdefghij")
    sends(outbox, window=8)
    outbox.rewind()
    sends(outbox, window=3)
    outbox.restart(0, forgotten=True)
    assert outcomes(tickets) == [Outcome.UNKNOWN] * 8 + [Outcome.PENDING] * 2
    assert sends(outbox) == [(1, "i"), (2, "j")]


def test_what_was_sent_is_uncertain_also_while_no_connection_stands(outbox):
    put_together(outbox, "a", "b")
    assert not outbox.uncertain
    sends(outbox, window=1)
    outbox.rewind()
    assert outbox.uncertain


def test_nothing_to_somebody_else_divides_no_message(outbox):
    put(outbox, "a")
    outbox.put(Commands("bob", ()))
    put(outbox, "b")
    (packed,) = outbox.due(10, PLENTY, 0.0)
    assert msgpack.unpackb(packed)[1:] == [1, ["a", "b"]]


def test_a_message_has_no_more_texts_than_it_may_whoever_gave_them(outbox):
    for _ in range(2):
        put_together(outbox, *["x"] * 200)
    due = [msgpack.unpackb(packed)[2] for packed in outbox.due(1024, PLENTY, 0.0)]
    assert [len(texts) for texts in due] == [MAX_TEXTS, 400 - MAX_TEXTS]


def test_what_is_to_be_said_of_a_command_is_there_before_its_outcome(outbox):
    """Others look without a lock."""

    class Watched(Commands):
        def resolve(self, start, stop, outcomes):
            assert {1, 2, 3} <= self.notes.keys()
            assert [*outcomes] == [Outcome.ACCEPTED] * 2 + [Outcome.REFUSED] * 2
            assert self.outcomes == [Outcome.PENDING] * 4
            super().resolve(start, stop, outcomes)

    commands = Watched(None, "abcd")
    outbox.put(commands)
    sends(outbox)
    outbox.acknowledge(Ack(0, 4, (Refusal(3, 4, *NO),), (Run(2, 2),)))
    assert commands.known() == 4


def test_of_nothing_nothing_is_sent(outbox):
    put_together(outbox)
    assert (len(outbox), sends(outbox)) == (0, [])


def is_refused(ticket):
    return int(ticket.text) % 3 == 0 or int(ticket.text) % 7 < 2


def is_for_the_absent(ticket):
    return int(ticket.text) % 5 < 3


def runs(numbers):
    """*numbers* as first and last of each stretch without a gap."""
    found = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


class OutboxMachine(RuleBasedStateMachine):
    """An outbox, and a broker that loses frames and acknowledgements at will.

    The broker carries out the next number only.  Whatever happens between them, what the
    outbox calls accepted is what the broker stored, in order, and once.
    """

    def __init__(self):
        super().__init__()
        self.outbox = Outbox()
        self.tickets = []
        self.stored = []
        """Tickets carried out or refused, over all sessions."""
        self.refused = {}
        self.absent = {}
        """Those that wait for who is away."""
        self.cseq = 0
        self.forgotten_upto = 0
        self.on_the_way = []
        self.connection = []

    @initialize(window=st.integers(1, 5))
    def begin(self, window):
        self.window = window

    @rule(count=st.integers(1, 4))
    def submits(self, count):
        first = len(self.tickets)
        texts = [str(number) for number in range(first, first + count)]
        self.tickets += put_together(self.outbox, *texts)

    @rule(size=st.integers(1, 20))
    def sends(self, size):
        self.connection += sends(self.outbox, self.window, size)

    @rule(most=st.integers(0, 6))
    def broker_reads(self, most):
        read, self.connection = self.connection[:most], self.connection[most:]
        gap = False
        for cseq, text in read:
            if cseq == self.cseq + 1:
                self.cseq = cseq
                ticket = self.tickets[int(text)]
                self.stored.append(ticket)
                if is_refused(ticket):
                    self.refused[cseq] = ticket
                elif is_for_the_absent(ticket):
                    self.absent[cseq] = ticket
            elif cseq > self.cseq:
                gap = True
        if gap:
            self.outbox.rewind(self.cseq + 1)

    @rule(lost=st.integers(0, 3))
    def some_frames_are_lost(self, lost):
        del self.connection[:lost]

    @rule(data=st.data())
    def broker_acknowledges(self, data):
        after = data.draw(st.integers(0, self.cseq))
        upto = data.draw(st.integers(after, self.cseq))
        hole = after > self.outbox.resolved
        assert self.outbox.acknowledge(self.ack(after, upto)) is not hole

    def ack(self, after, upto):
        covered = range(after + 1, upto + 1)
        refused, absent = runs(self.refused.keys() & covered), runs(self.absent.keys() & covered)
        refusals = [Refusal(*run, "code", "words") for run in refused]
        return Ack(after, upto, tuple(refusals), tuple([Run(*run) for run in absent]))

    @rule()
    def connection_is_lost(self):
        self.connection.clear()
        self.outbox.rewind()

    def _new_session(self, forgotten):
        self.connection.clear()
        self.outbox.restart(0, forgotten)
        self.cseq = 0
        self.refused.clear()
        self.absent.clear()

    @rule()
    def broker_forgets_the_session(self):
        self._new_session(forgotten=True)

    @rule()
    def broker_is_replaced_by_an_empty_one(self):
        # What the former one stored and did not acknowledge is stored again by the new one.
        pending = {ticket for ticket in self.tickets if not ticket.done}
        self.stored = [ticket for ticket in self.stored if ticket not in pending]
        self._new_session(forgotten=False)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def withdraws(self, data):
        ticket = data.draw(st.sampled_from(self.tickets))
        was_done = ticket.done
        if self.outbox.withdraw(ticket):
            assert not was_done
            assert ticket.outcome is Outcome.UNSENT

    @invariant()
    def what_is_resolved_is_what_the_broker_did(self):
        stored = set(map(id, self.stored))
        refused = {id(ticket) for ticket in self.stored if is_refused(ticket)}
        for ticket in self.tickets:
            if ticket.outcome is Outcome.ACCEPTED:
                assert id(ticket) in stored
                assert id(ticket) not in refused
                assert ticket.away is is_for_the_absent(ticket)
            elif ticket.outcome is Outcome.REFUSED:
                assert id(ticket) in refused
            elif ticket.outcome is Outcome.UNSENT:
                assert id(ticket) not in stored

    @invariant()
    def nothing_is_doubled_or_reordered(self):
        numbers = [int(ticket.text) for ticket in self.stored]
        assert numbers == sorted(set(numbers))

    @invariant()
    def the_length_is_what_is_pending(self):
        assert len(self.outbox) == sum(not ticket.done for ticket in self.tickets)

    @invariant()
    def no_more_than_the_window_is_under_way(self):
        assert self.outbox.sent - self.outbox.resolved <= self.window

    def teardown(self):
        """A quiet connection at last: everything gets an outcome, in order."""
        self.connection_is_lost()
        for _ in range(len(self.tickets) + 1):
            self.connection += sends(self.outbox, self.window)
            self.broker_reads(most=len(self.connection))
            self.outbox.acknowledge(self.ack(0, self.cseq))
        assert all(ticket.done for ticket in self.tickets)
        self.what_is_resolved_is_what_the_broker_did()
        self.nothing_is_doubled_or_reordered()


TestOutboxModel = OutboxMachine.TestCase
TestOutboxModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
