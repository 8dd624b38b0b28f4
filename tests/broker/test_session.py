from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.broker.log import Log
from chatbroker.broker.session import (
    HOLDING,
    RUN_SIZE,
    TRANSITIONS,
    WORDS,
    Happening,
    Session,
    State,
)
from chatbroker.broker.user import User
from chatbroker.wire.codec import Encoder
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import MAX_RUNS, WINDOW
from chatbroker.wire.messages import Ack, Follow, Refusal, Run, Start


@pytest.fixture
def session() -> Session:
    return Session(b"0123456789abcdef", None)


def refuse(session: Session) -> None:
    session.cseq += 1
    session.refuse(session.cseq, session.cseq, Code.NO_SUCH_USER)


def accept(session: Session, count: int = 1) -> None:
    session.cseq += count


def refused(first: int, last: int | None = None) -> Refusal:
    return Refusal(first, last or first, "no_such_user", "no such user")


def numbers(runs: Iterable[Refusal | Run]) -> list[int]:
    """The commands in *runs*, one by one."""
    return [cseq for run in runs for cseq in range(run.first, run.last + 1)]


def told(session: Session) -> list[Ack]:
    return list(session.acks())


# --- its life -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("happenings", "state"),
    [
        ([], State.LIVE),
        ([Happening.HELLO], State.LIVE),
        ([Happening.LOST], State.GONE),
        ([Happening.LOST, Happening.HELLO], State.LIVE),
        ([Happening.EXPIRED], State.LAPSED),
        ([Happening.LOST, Happening.EXPIRED], State.LAPSED),
        ([Happening.EXPIRED, Happening.HELLO], State.LIVE),
        ([Happening.EXPIRED, Happening.FORGOTTEN], State.ENDED),
        ([Happening.BYE], State.ENDED),
    ],
)
def test_a_session_lives_by_the_table(session, happenings, state):
    for happening in happenings:
        session.happen(happening)
    assert session.state is state


@pytest.mark.parametrize(
    ("state", "happening"),
    [pair for pair in itertools.product(State, Happening) if pair not in TRANSITIONS],
)
def test_what_the_table_lacks_is_a_bug_of_the_brokers(session, state, happening):
    session.state = state
    with pytest.raises(KeyError):
        session.happen(happening)


def test_nothing_comes_after_the_end():
    assert not [state for state, _ in TRANSITIONS if state is State.ENDED]


def test_a_session_holds_its_name_until_it_lapses(session):
    assert session.holding
    session.happen(Happening.LOST)
    assert session.holding
    session.happen(Happening.EXPIRED)
    assert not session.holding
    assert frozenset({State.LIVE, State.GONE}) == HOLDING


def test_a_session_is_shown_without_its_secret(session):
    accept(session, 3)
    assert repr(session) == "<Session of an observer, LIVE, cseq 3>"


def test_a_session_is_worth_keeping_once_it_spoke(session):
    assert not session.worth_keeping
    refuse(session)
    assert session.worth_keeping


def test_a_session_is_worth_keeping_if_it_follows_a_mailbox(session):
    session.follows = {"echo": Follow("echo", b"", Start.NOW, 0)}
    assert not session.worth_keeping
    session.follows["direct"] = Follow("direct", b"", Start.NOW, 0)
    assert session.worth_keeping


# --- what it is told ----------------------------------------------------------------------


def test_what_was_accepted_is_acknowledged_up_to_the_last_number(session):
    accept(session, 3)
    assert told(session) == [Ack(0, 3, ())]
    accept(session, 2)
    assert told(session) == [Ack(3, 5, ())]


def test_what_was_refused_is_named_in_the_ack(session):
    accept(session)
    refuse(session)
    accept(session)
    assert told(session) == [Ack(0, 3, (refused(2),))]


def test_several_may_be_refused_at_once(session):
    accept(session, 5)
    session.refuse(2, 2, Code.TOO_LONG)
    session.refuse(4, 4, Code.TOO_LONG)
    session.refuse(5, 5, Code.TOO_LONG)
    (ack,) = told(session)
    assert [refusal[:2] for refusal in ack.refused] == [(2, 2), (4, 5)]
    assert {refusal.code for refusal in ack.refused} == {"too_long"}


@pytest.mark.parametrize("code", WORDS)
def test_the_words_of_a_refusal_are_those_of_its_code(session, code):
    session.cseq += 1
    session.refuse(1, 1, code)
    (ack,) = told(session)
    assert ack.refused == (Refusal(1, 1, code.value, WORDS[code]),)


def test_a_thousand_refusals_share_their_words(session):
    for _ in range(WINDOW):
        refuse(session)
    words = {id(refusal.words) for ack in told(session) for refusal in ack.refused}
    assert len(words) == 1


def test_a_refusal_is_told_once_unless_it_is_asked_for(session):
    refuse(session)
    told(session)
    accept(session)
    assert told(session) == [Ack(1, 2, ())]
    assert session.repeat_from(0)
    assert told(session) == [Ack(0, 2, (refused(1),))]


def test_who_knows_all_is_told_nothing(session):
    accept(session, 5)
    told(session)
    assert not session.repeat_from(5)
    assert not session.repeat_from(500)


def test_who_knows_a_part_is_told_the_rest(session):
    for _ in range(4):
        refuse(session)
    told(session)
    assert session.repeat_from(2)
    assert told(session) == [Ack(2, 4, (refused(3, 4),))]


def test_who_claims_to_know_too_much_is_still_told_what_it_was_not(session):
    accept(session, 3)
    assert session.repeat_from(1000)
    assert told(session) == [Ack(0, 3, ())]


def refuse_in_turns(session: Session, count: int) -> None:
    """*count* refusals, no two of which make a run."""
    for number in range(count):
        session.cseq += 1
        code = (Code.NO_SUCH_USER, Code.TOO_LONG)[number % 2]
        session.refuse(session.cseq, session.cseq, code)


@pytest.mark.parametrize("count", [MAX_RUNS, MAX_RUNS + 1, 3 * MAX_RUNS, WINDOW])
def test_many_refusals_are_told_in_a_chain_of_acks(session, count):
    refuse_in_turns(session, count)
    chain = told(session)
    assert len(chain) == -(-count // MAX_RUNS)
    assert [ack.after for ack in chain] == [0, *[ack.upto for ack in chain[:-1]]]
    assert chain[-1].upto == count
    assert [n for ack in chain for n in numbers(ack.refused)] == [*range(1, count + 1)]
    for ack in chain:
        assert len(ack.refused) <= MAX_RUNS
        assert all(ack.after < number <= ack.upto for number in numbers(ack.refused))


def test_what_follows_the_last_refusal_is_in_the_last_ack_of_the_chain(session):
    refuse_in_turns(session, MAX_RUNS + 1)
    accept(session, 50)
    first, last = told(session)
    assert (first.after, first.upto) == (0, MAX_RUNS)
    assert (last.after, last.upto) == (MAX_RUNS, MAX_RUNS + 51)


def test_refusals_for_one_reason_are_one_run(session):
    for _ in range(500):
        refuse(session)
    assert told(session) == [Ack(0, 500, (refused(1, 500),))]


def test_a_run_is_told_from_where_the_client_does_not_know_it(session):
    for _ in range(10):
        refuse(session)
    told(session)
    session.repeat_from(4)
    assert told(session) == [Ack(4, 10, (refused(5, 10),))]


def test_what_waits_for_somebody_who_is_away_is_told_apart(session):
    accept(session)
    session.cseq += 3
    session.note_away(2, 3)
    session.refuse(4, 4, Code.TOO_LONG)
    (ack,) = told(session)
    assert (ack.after, ack.upto, ack.away) == (0, 4, (Run(2, 3),))
    assert numbers(ack.refused) == [4]


def test_outcomes_are_kept_for_a_window_of_commands(session):
    for _ in range(3):
        refuse_in_turns(session, WINDOW)
        told(session)
    session.repeat_from(0)
    chain = told(session)
    assert chain[0].after == 2 * WINDOW
    assert sum(len(numbers(ack.refused)) for ack in chain) == WINDOW


def test_no_more_than_a_window_of_outcomes_is_remembered(session):
    refuse_in_turns(session, 2 * WINDOW)
    assert session.outcomes_size <= RUN_SIZE * (WINDOW + 1)
    assert sum(len(numbers(ack.refused)) for ack in told(session)) <= WINDOW


@pytest.mark.parametrize("count", [1, 64, WINDOW // 2])
def test_what_outcomes_take_is_not_reckoned_too_low(session, count):
    """The longest words, in numbers of the greatest length."""
    session.cseq = session.told = 1 << 60
    longest = max(WORDS, key=lambda code: len(code.value + WORDS[code]))
    for _ in range(count):
        session.cseq += 2
        session.refuse(session.cseq, session.cseq, longest)
    reckoned = session.outcomes_size
    took = sum(len(Encoder().encode(ack)) for ack in told(session))
    assert 0.9 * (reckoned - RUN_SIZE) < took <= reckoned


@pytest.mark.parametrize("refuse_many", [refuse_in_turns, None])
def test_who_overruns_the_window_is_never_told_that_a_refused_command_was_stored(
    session, refuse_many
):
    if refuse_many is not None:
        refuse_many(session, WINDOW + 10)
    else:
        for _ in range(WINDOW + 10):
            refuse(session)
    chain = told(session)
    named = {number for ack in chain for number in numbers(ack.refused)}
    resolved = {cseq for ack in chain for cseq in range(ack.after + 1, ack.upto + 1)}
    assert resolved <= named


# --- over a restart -----------------------------------------------------------------------


def test_a_session_comes_back_with_its_outcomes():
    user = User("alice", b"", Log("@alice", b"mail-000"))
    session = Session(b"0123456789abcdef", user, born=7)
    session.exclusive = True
    session.follows = {"direct": Follow("direct", b"", Start.NOW, 0)}
    accept(session, 2)
    refuse(session)
    session.cseq += 1
    session.note_away(4, 4)
    again = Session.restored(session.record(), user)
    assert (again.id, again.born, again.cseq, again.exclusive) == (session.id, 7, 4, True)
    assert again.state is State.GONE
    assert list(again.follows) == ["direct"]
    again.repeat_from(0)
    assert told(again) == told(session)


def test_outcomes_are_stored_once():
    user = User("alice", b"", Log("@alice", b"mail-000"))
    session = Session(b"0123456789abcdef", user)
    assert session.news() == session.record()  # None yet; but there may be some of its id.
    accept(session, 2)
    assert session.news() == session.record()._replace(outcomes=b"", whole=False)
    refuse(session)
    for again in (session, Session.restored(session.record(), user)):
        again.news()
        stored = again.record()
        for away in (True, False):
            again.cseq += 1
            if away:
                again.note_away(again.cseq, again.cseq)
            news = again.news()
            assert (news.whole, len(news.outcomes)) == (False, 17 * away)
            stored = news.over(stored)
            assert stored == again.record()


@given(chances=st.randoms(use_true_random=False), records=st.integers(1, 30))
def test_what_is_stored_bit_by_bit_is_the_session(chances, records):
    """Also if some of it is stored again, from anywhere on, as after a crash."""
    user = User("alice", b"", Log("@alice", b"mail-000"))
    session = Session(b"0123456789abcdef", user)
    news = []
    stored = None
    for _ in range(records):
        for _ in range(chances.randrange(4)):
            first = session.cseq + 1
            session.cseq += chances.choice([1, 1, 2, WINDOW // 3])
            if chances.random() < 0.4:
                session.refuse(first, session.cseq, chances.choice([*WORDS]))
            elif chances.random() < 0.5:
                session.note_away(first, session.cseq)
        news.append(session.news())
        stored = news[-1].over(stored)
    assert stored == session.record()
    for one in news[chances.randrange(records) :]:
        stored = one.over(stored)
    assert stored == session.record()


def test_a_session_that_lapsed_comes_back_lapsed():
    user = User("alice", b"", Log("@alice", b"mail-000"))
    session = Session(b"0123456789abcdef", user)
    session.happen(Happening.EXPIRED)
    assert Session.restored(session.record(), user).state is State.LAPSED


@given(
    st.lists(
        st.tuples(st.sampled_from(["accept", "refuse", "tell", "ask"]), st.integers(0, 400)),
        max_size=30,
    )
)
def test_a_client_that_keeps_to_the_window_learns_every_outcome(steps):
    session = Session(b"0123456789abcdef", None)
    truth: dict[int, bool] = {}
    known: dict[int, bool] = {}
    resolved = 0

    def hear() -> None:
        nonlocal resolved
        for ack in session.acks():
            if ack.after > resolved:
                continue  # A hole: to be asked for.
            bad = numbers(ack.refused)
            for cseq in range(resolved + 1, ack.upto + 1):
                known[cseq] = cseq not in bad
            resolved = max(resolved, ack.upto)

    for what, number in steps:
        match what:
            case "accept" | "refuse":
                for _ in range(min(number, WINDOW - (session.cseq - resolved))):
                    accept(session) if what == "accept" else refuse(session)
                    truth[session.cseq] = what == "accept"
            case "tell" if number % 2 and session.told < session.cseq:
                list(session.acks())  # Lost on the way.
            case "tell" if session.told < session.cseq:
                hear()
            case "ask" if session.repeat_from(resolved):
                hear()
    if session.repeat_from(resolved):
        hear()
    assert known == truth
