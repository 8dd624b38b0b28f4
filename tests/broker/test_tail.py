"""What is put together of turns that are not folded yet."""

from __future__ import annotations

import msgpack
import pytest
from journals import row, store, take, user

from chatbroker.broker.folding import Fold
from chatbroker.broker.journal import Commit, SessionRecord, UserRecord
from chatbroker.broker.retention import KeptLog
from chatbroker.broker.runs import pack
from chatbroker.broker.stored import MAX_NUMBER
from chatbroker.broker.tail import UNKNOWN, Tail, pack_turn, still_kept, unpack_turn
from chatbroker.wire.limits import MAX_INT

FIRST, GREW, SECOND = ((1, 1, 1), (1, 2, 1), (3, 3, 2))


def session(id: bytes, name: str) -> SessionRecord:
    return SessionRecord(id, name, 1, 5, b"", False, True, True)


def test_who_is_gone_is_gone_with_the_sessions_they_had_then():
    tail = Tail()
    tail.add(Commit(sessions=[session(b"1", "alice"), session(b"2", "alice")]))
    tail.add(Commit(ended=[b"1"], sessions=[session(b"1", "bob"), session(b"2", "alice")]))
    tail.add(Commit(gone=["alice"], sessions=[session(b"3", "alice")]))
    bobs, alices = session(b"1", "bob"), session(b"3", "alice")
    assert tail.sessions == {b"1": bobs, b"2": None, b"3": alices}
    tail.add(Commit(gone=["bob", "alice", "nobody"]))
    assert tail.sessions == {b"1": None, b"2": None, b"3": None}


def test_a_session_may_pass_from_one_to_another():
    tail = Tail()
    tail.add(Commit(sessions=[session(b"1", "alice")]))
    tail.add(Commit(sessions=[session(b"1", "bob")]))
    tail.add(Commit(gone=["alice"]))
    assert tail.sessions == {b"1": session(b"1", "bob")}
    tail.add(Commit(gone=["bob"]))
    assert tail.sessions == {b"1": None}


def said(cseq: int, *since: tuple[int, int, int]) -> SessionRecord:
    """One that has more outcomes than before."""
    return session(b"1", "alice")._replace(cseq=cseq, outcomes=pack(since), whole=False)


def test_outcomes_come_behind_those_of_before():
    tail = Tail()
    tail.add(Commit(sessions=[said(1, FIRST)]))
    tail.add(Commit(sessions=[said(2, GREW)]))
    tail.add(Commit(sessions=[said(5)]))
    assert tail.sessions == {b"1": said(5, GREW)}  # The tables have what was before.
    tail.add(Commit(sessions=[said(6)._replace(whole=True)]))
    tail.add(Commit(sessions=[said(7, SECOND)]))
    assert tail.sessions == {b"1": said(7, SECOND)._replace(whole=True)}


def test_what_the_tables_have_of_a_session_comes_before_and_has_to_be_there():
    tail = Tail()
    tail.add(Commit(sessions=[said(3, SECOND)]))
    kept = {b"1": said(2, GREW)._replace(whole=True)}
    tail.overlay({}, kept)
    assert kept == {b"1": said(3, GREW, SECOND)._replace(whole=True)}
    with pytest.raises(ValueError, match="it is damaged"):
        tail.overlay({}, {})


class Watched(dict):
    """Counts how often something of it is looked at."""

    looks = 0

    def __getitem__(self, key):
        self.looks += 1
        return super().__getitem__(key)

    def items(self):
        self.looks += len(self)
        return super().items()


def test_many_may_go_at_once_whoever_else_is_there():
    tail = Tail()
    tail.sessions = Watched()
    tail.add(Commit(sessions=[session(b"%d" % n, f"user-{n % 50}") for n in range(1000)]))
    tail.add(Commit(gone=[f"once-{n}" for n in range(2000)]))
    assert tail.sessions.looks == 0
    tail.add(Commit(gone=["user-7"]))
    assert tail.sessions.looks <= 20
    assert [n for n in range(1000) if tail.sessions[b"%d" % n] is None] == list(range(7, 1000, 50))


def test_nothing_is_left_of_sessions_that_are_folded_or_over():
    tail = Tail()
    tail.add(Commit(sessions=[session(b"1", "alice"), session(b"2", "bob"), session(b"3", "bob")]))
    tail.add(Commit(ended=[b"1"]))
    tail.drop_changes([b"1", b"2", b"3"])
    assert (tail.sessions, tail._of) == ({}, {})


def test_the_turns_that_came_during_a_fold_are_counted_with_what_their_records_take(journal):
    store(journal, row("@a", 1), row("@b", 1))
    fold = Fold(journal._tail, journal._retention, journal._next_turn, a_part=1)
    journal._fold_part(fold)
    store(journal, row("@c", 1))
    while journal._folding is fold:
        journal._fold_part(fold)
    left = journal._db.execute("SELECT count(*), sum(length(data)) FROM turns").fetchone()
    assert (journal._tail.turns, journal._tail.records) == left
    assert left[0] == 1


# --- as it is stored ----------------------------------------------------------------------

USER = UserRecord("alice", b"p" * 32, b"epoch--1", "@alice", True, 1, 2, 3)
ROWS = [(1, 0, 1, 1, 1700, 9), (2, 5, 6, 1, 1700, 9)]
BODIES = [(9, 2, b"packed", 2**32 - 1)]
SESSIONS = [session(b"2", "alice"), said(3, GREW, SECOND)]
WHOLE = [[b"1"], ["bob"], ["@bob"], [USER], SESSIONS, ROWS, BODIES]


def test_a_turn_is_stored_as_it_was():
    assert [*unpack_turn(pack_turn(Commit(*WHOLE[:5]), ROWS, BODIES))] == WHOLE


def test_the_numbers_of_a_session_may_be_as_large_as_clients_may_choose_them(opened):
    largest = session(b"1" * 16, "alice")._replace(born=MAX_INT, cseq=MAX_INT)
    take(opened(), Commit(users=[user("alice")], sessions=[largest]))
    # From the record of the turn, and then from the table.
    for _ in range(2):
        assert list(opened(crash=True).kept.sessions) == [largest]


def test_a_record_of_before_checksums_is_of_bodies_that_have_none():
    older = [*WHOLE[:4], [tuple(SESSIONS[0])[:-1]], ROWS, [(9, 2, b"packed")]]
    turn = unpack_turn(msgpack.packb(older))
    assert turn.bodies == [(9, 2, b"packed", UNKNOWN)]
    assert turn.sessions == SESSIONS[:1]
    assert unpack_turn(pack_turn(Commit(), [], turn.bodies)).bodies == turn.bodies


def test_what_a_log_has_lost_is_not_kept_of_a_turn():
    turn = unpack_turn(pack_turn(Commit(*WHOLE[:5]), ROWS, BODIES))
    first, second = KeptLog(1, "echo"), KeptLog(2, "@alice")
    logs = {1: first, 2: second}
    assert still_kept(turn, logs) == turn
    second.lost = 5
    assert still_kept(turn, logs) == turn
    second.lost = 6
    assert still_kept(turn, logs) == turn._replace(
        rows=ROWS[:1], bodies=[(9, 1, b"packed", 2**32 - 1)]
    )
    first.lost = 1
    assert still_kept(turn, logs) == turn._replace(rows=[], bodies=[])
    # What is of no log is for others to find.
    assert still_kept(turn, {1: first}).rows == ROWS[1:]


@pytest.mark.parametrize("wrong", [{}, [], None, 1.5])
@pytest.mark.parametrize("part", range(7))
def test_a_damaged_record_is_a_value_error(part, wrong):
    """Not the TypeError of somebody who looks up a name that is a map."""
    for damaged in ([wrong], [[wrong, *WHOLE[part][0][1:]]]):
        record = [*WHOLE[:part], damaged, *WHOLE[part + 1 :]]
        with pytest.raises(ValueError, match="not the record of a turn"):
            unpack_turn(msgpack.packb(record))


@pytest.mark.parametrize(
    ("part", "number"),
    [(part, n) for part in (3, 5, 6) for n in (-1, MAX_NUMBER + 1, 2**63)] + [(4, -1), (4, 2**63)],
)
def test_a_number_that_the_tables_have_no_room_for_is_a_value_error(part, number):
    for at, field in enumerate(WHOLE[part][0]):
        if type(field) is int and (part, at, number) != (6, 3, UNKNOWN):
            damaged = [*WHOLE[part][0]]
            damaged[at] = number
            record = [*WHOLE[:part], [damaged], *WHOLE[part + 1 :]]
            with pytest.raises(ValueError, match="not the record of a turn: a number from 0"):
                unpack_turn(msgpack.packb(record))
