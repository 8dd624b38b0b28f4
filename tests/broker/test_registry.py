from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.broker.allowance import Allowance
from chatbroker.broker.journal import Kept
from chatbroker.broker.members import nobody_in_particular
from chatbroker.broker.origin import Origin
from chatbroker.broker.refusals import Contested
from chatbroker.broker.registry import Change, Registry
from chatbroker.broker.session import Session, State
from chatbroker.broker.user import Settings
from chatbroker.wire.limits import EPOCH_LENGTH, ID_LENGTH, MAX_USERS, VERSION
from chatbroker.wire.messages import Follow, Hello, Refused, Start, User

SETTINGS = Settings(pub_port=5556, lease=15.0, grace=3.0, forget=3600.0)


class Office:
    """A registry, and what it did to the logs."""

    def __init__(self, **chosen: float) -> None:
        self._dropped: list[str] = []
        self.given: list[bytes] = []
        self._asked = 0
        settings = SETTINGS._replace(**chosen)
        self.registry = Registry(
            settings, self._fresh, Kept(b"", 0, {}, (), ()), nobody_in_particular()
        )

    def _fresh(self, length: int) -> bytes:
        self.given.append(len(self.given).to_bytes(length, "big"))
        return self.given[-1]

    @property
    def dropped(self) -> list[str]:
        """The logs that were to be forgotten so far."""
        self._dropped += self.registry.take_commit([], durable=True).dropped
        return self._dropped

    def asks(
        self,
        name: str,
        session: int | None = None,
        credential: bytes = b"",
        exclusive: bool = False,
        claim: bool = False,
        replaces: int = 0,
        follows: Iterable[str] = ("direct",),
        time: int = 0,
        attempt: int = 1,
    ) -> Session | Refused | Contested:
        """A HELLO, by default of a session that was not there before."""
        if session is None:
            self._asked += 1
            session = 1000 + self._asked
        logs = tuple(Follow(log, b"", Start.NOW, 0) for log in follows)
        hello = Hello(
            VERSION,
            name,
            session.to_bytes(ID_LENGTH, "big"),
            credential,
            attempt,
            exclusive,
            claim,
            replaces.to_bytes(ID_LENGTH, "big") if replaces else b"",
            logs,
        )
        return self.registry.admit(hello, Origin(), time)

    def joins(self, name: str, expires: float = 15.0, spoke: bool = True, **how: object) -> Session:
        """A session that was let in; there is something to come back for, if it spoke."""
        session = self.asks(name, **how)
        assert type(session) is Session, session
        session.expires = expires
        self.registry.due = min(self.registry.due, expires)
        session.cseq = session.cseq or int(spoke)
        return session

    def on(self) -> list[str]:
        return [user.name for user in self.registry.page("")[0]]


@pytest.fixture
def office_with() -> Callable[..., Office]:
    return Office


@pytest.fixture
def office() -> Office:
    return Office()


# --- coming -------------------------------------------------------------------------------


def test_a_new_name_gets_a_credential_and_a_mailbox(office):
    alice = office.joins("alice")
    assert alice.state is State.LIVE
    assert alice.user.name == "alice"
    assert len(alice.user.credential) == ID_LENGTH
    assert len(alice.user.mailbox.epoch) == EPOCH_LENGTH
    assert len(set(office.given)) == len(office.given) == 2


def test_a_credential_of_an_earlier_time_is_taken_for_a_free_name(office):
    assert office.joins("alice", credential=b"k" * ID_LENGTH).user.credential == b"k" * ID_LENGTH


def test_a_name_is_kept_in_its_canonical_form(office):
    assert office.joins("Alice").user.name == "alice"
    assert office.on() == ["alice"]


def test_no_name_is_an_observer(office):
    observer = office.joins("")
    assert observer.user is None
    assert office.on() == []


@pytest.mark.parametrize("name", ["_alice", "al ice", "álice", "a\n"])
def test_a_bad_name_is_refused(office, name):
    refused = office.asks(name)
    assert type(refused) is Refused
    assert refused.code == "bad_name"


def test_a_name_in_use_is_contested_by_another(office):
    alice = office.joins("alice")
    for credential in (b"", b"x" * ID_LENGTH):
        contested = office.asks("ALICE", credential=credential)
        assert type(contested) is Contested
        assert contested.holders == [alice]
        assert contested.refusal == Refused("name_taken", "name 'alice' is taken")


def test_who_was_refused_leaves_no_trace(office):
    office.joins("alice")
    office.registry.take_changes()
    office.asks("alice")
    office.asks("not a name")
    assert len(office.registry.sessions) == 1
    assert office.registry.take_changes() == []


def test_the_credential_opens_a_second_session(office):
    alice = office.joins("alice")
    second = office.joins("alice", credential=alice.user.credential)
    assert second is not alice
    assert second.user is alice.user
    assert alice.user.sessions == {alice, second}


def test_of_two_exclusive_sessions_the_second_is_refused(office):
    alice = office.joins("alice", exclusive=True)
    contested = office.asks("alice", credential=alice.user.credential, exclusive=True)
    assert type(contested) is Contested
    assert contested.holders == [alice]
    assert contested.refusal.code == "already_joined"


def test_an_exclusive_session_bears_others_that_are_not(office):
    alice = office.joins("alice", exclusive=True)
    key = alice.user.credential
    office.joins("alice", credential=key)
    office.registry.leave(alice, 0)
    office.joins("alice", credential=key, exclusive=True)


def test_the_same_session_is_found_again(office):
    alice = office.joins("alice", session=7)
    again = office.joins("alice", session=7)
    assert again is alice
    assert len(office.registry.sessions) == 1


def test_a_session_belongs_to_its_name(office):
    office.joins("alice", session=7)
    for name in ("bob", ""):
        refused = office.asks(name, session=7)
        assert type(refused) is Refused
        assert refused.code == "not_allowed"
    office.joins("", session=8)
    assert office.asks("bob", session=8).code == "not_allowed"
    assert office.on() == ["alice"]


def test_there_are_so_many_sessions_and_no_more(office_with):
    office = office_with(most_sessions=2)
    alice = office.joins("alice", session=1)
    office.joins("", session=2)
    assert office.asks("bob").code == "broker_full"
    assert office.joins("alice", session=1) is alice
    office.registry.leave(alice, 0)
    office.joins("bob")


def test_a_lapsed_session_takes_no_place(office_with):
    office = office_with(most_sessions=1)
    office.joins("alice", expires=15.0)
    office.registry.expire(15.0, 0, 0)
    office.joins("bob")


# --- going --------------------------------------------------------------------------------


def test_who_left_by_a_clock_that_was_ahead_is_stored_with_the_right_time(office):
    office.registry.leave(office.joins("alice", claim=True), 10**9)
    (stored,) = office.registry.take_commit([], durable=True).users
    assert stored.seen == 10**9
    office.registry.expire(1.0, 1000, 1000)
    (stored,) = office.registry.take_commit([], durable=True).users
    assert stored.seen == 1000
    office.registry.expire(2.0, 1001, 1001)
    assert office.registry.take_commit([], durable=True).users == []


def test_who_says_goodbye_frees_the_name_at_once(office):
    alice = office.joins("alice")
    office.registry.leave(alice, 0)
    assert alice.state is State.ENDED
    assert office.on() == []
    assert office.joins("alice").user is not alice.user


def test_the_mailbox_goes_with_the_last_session(office):
    alice = office.joins("alice")
    second = office.joins("alice", credential=alice.user.credential)
    office.registry.leave(second, 0)
    assert office.dropped == []
    office.registry.leave(alice, 0)
    assert office.dropped == [alice.user.mailbox.key]
    assert office.registry.users == {}


def test_an_observer_goes_without_a_trace(office):
    office.registry.leave(office.joins(""), 0)
    assert office.registry.sessions == {}
    assert office.dropped == []


def test_a_silent_session_lapses_when_its_lease_is_over(office):
    alice = office.joins("alice", expires=15.0)
    assert office.registry.expire(14.9, 0, 0) == []
    assert office.registry.expire(15.0, 0, 0) == [alice]
    assert alice.state is State.LAPSED
    assert office.registry.expire(16.0, 0, 0) == []


def test_a_lost_session_keeps_its_name_for_the_grace(office):
    alice = office.joins("alice", expires=115.0)
    office.registry.lost(alice, clock=100.0)
    assert alice.state is State.GONE
    assert type(office.asks("alice")) is Contested
    assert office.registry.expire(102.9, 0, 0) == []
    assert office.registry.expire(103.0, 0, 0) == [alice]
    assert type(office.asks("alice")) is Session


def test_being_lost_never_prolongs_a_lease(office):
    alice = office.joins("alice", expires=101.0)
    office.registry.lost(alice, clock=100.0)
    assert alice.expires == 101.0


def test_a_lapsed_session_comes_back(office):
    alice = office.joins("alice", session=7, expires=15.0)
    alice.cseq = 5
    office.registry.expire(15.0, 0, 0)
    again = office.joins("alice", session=7, expires=35.0)
    assert again is alice
    assert (again.state, again.cseq) == (State.LIVE, 5)
    assert office.registry.expire(20.0, 0, 0) == []


def test_a_lapsed_session_is_forgotten_after_an_hour(office):
    alice = office.joins("alice", session=7, expires=15.0)
    office.registry.expire(15.0, 0, 0)
    office.registry.expire(15.0 + 3599.0, 0, 0)
    assert alice.state is State.LAPSED
    office.registry.expire(15.0 + 3600.0, 0, 0)
    assert alice.state is State.ENDED
    assert office.registry.sessions == {}
    assert office.dropped == [alice.user.mailbox.key]
    assert office.joins("alice", session=7) is not alice


def test_who_came_back_is_not_forgotten_on_the_former_date(office):
    alice = office.joins("alice", session=7, expires=15.0)
    office.registry.expire(15.0, 0, 0)
    office.joins("alice", session=7, expires=5000.0)
    office.registry.expire(4000.0, 0, 0)
    assert alice.state is State.LIVE
    office.registry.expire(5000.0, 0, 0)
    office.registry.expire(5000.0 + 3599.0, 0, 0)
    assert alice.state is State.LAPSED


def test_so_many_lapsed_sessions_are_kept_and_the_oldest_go_first(office_with):
    office = office_with(most_lapsed=2)
    people = [office.joins(name, expires=when) for name, when in (("a", 1), ("b", 2), ("c", 3))]
    for clock in (1.0, 2.0, 3.0):
        office.registry.expire(clock, 0, 0)
    assert [session.state for session in people] == [State.ENDED, State.LAPSED, State.LAPSED]


def test_the_name_of_a_lapsed_user_goes_to_the_next_who_asks(office):
    alice = office.joins("alice", session=7, expires=15.0)
    second = office.joins("alice", credential=alice.user.credential, expires=15.0)
    office.registry.expire(15.0, 0, 0)
    successor = office.joins("alice", credential=b"x" * ID_LENGTH)
    assert successor.user is not alice.user
    assert successor.user.mailbox.epoch != alice.user.mailbox.epoch
    assert successor.user.mailbox.key != alice.user.mailbox.key
    assert alice.state is second.state is State.ENDED
    assert office.dropped == [alice.user.mailbox.key]
    # The former owner comes back, and is somebody else now.
    assert type(office.asks("alice", session=7, credential=alice.user.credential)) is Contested


def test_the_owner_of_a_lapsed_name_gets_it_back_with_the_mailbox(office):
    alice = office.joins("alice", expires=15.0)
    office.registry.expire(15.0, 0, 0)
    again = office.joins("alice", credential=alice.user.credential)
    assert again.user is alice.user
    assert office.dropped == []


def test_who_never_spoke_and_has_no_mailbox_is_forgotten_at_once(office):
    alice = office.joins("alice", spoke=False, follows=("echo",))
    observer = office.joins("", spoke=False, follows=("echo",))
    assert set(office.registry.expire(15.0, 0, 0)) == {alice, observer}
    assert alice.state is observer.state is State.ENDED
    assert office.registry.sessions == {}
    assert office.dropped == [alice.user.mailbox.key]


def test_who_spoke_or_has_a_mailbox_is_kept(office):
    alice = office.joins("alice", spoke=False, follows=("direct",))
    bob = office.joins("bob", spoke=True, follows=())
    office.registry.expire(15.0, 0, 0)
    assert alice.state is bob.state is State.LAPSED


# --- one exclusive session ----------------------------------------------------------------


def test_a_known_session_does_not_come_back_beside_an_exclusive_one(office):
    alice = office.joins("alice", session=7, exclusive=True)
    office.registry.expire(15.0, 0, 0)
    key = alice.user.credential
    second = office.joins("alice", credential=key, exclusive=True, expires=99.0)
    contested = office.asks("alice", session=7, exclusive=True)
    assert type(contested) is Contested
    assert contested.holders == [second]
    assert contested.refusal.code == "already_joined"
    assert alice.state is State.LAPSED
    office.joins("alice", session=7, exclusive=False)


def test_an_exclusive_session_does_not_bar_itself(office):
    alice = office.joins("alice", session=7, exclusive=True)
    assert office.joins("alice", session=7, exclusive=True) is alice


def test_a_session_does_not_become_exclusive_beside_another(office):
    alice = office.joins("alice", exclusive=True)
    key = alice.user.credential
    office.joins("alice", session=8, credential=key)
    assert type(office.asks("alice", session=8, credential=key, exclusive=True)) is Contested
    office.registry.leave(alice, 0)
    office.joins("alice", session=8, credential=key, exclusive=True)


def test_a_session_that_is_gone_bars_its_own_user_from_nothing(office):
    alice = office.joins("alice", session=7, exclusive=True)
    office.registry.lost(alice, clock=0.0)
    key = alice.user.credential
    second = office.joins("alice", credential=key, exclusive=True)
    assert second.user is alice.user
    assert type(office.asks("alice", session=7, exclusive=True)) is Contested
    # But it still bars everybody else.
    office.registry.leave(second, 0)
    assert type(office.asks("alice")) is Contested


# --- who is on ----------------------------------------------------------------------------


def test_who_follows_their_mailbox_is_on(office):
    office.joins("alice", follows=("echo", "direct"))
    office.joins("bob", follows=("echo",))
    office.joins("carol", follows=())
    assert office.on() == ["alice"]
    assert office.registry.take_changes() == [Change(True, "alice")]


def test_a_user_with_two_sessions_comes_and_leaves_once(office):
    alice = office.joins("alice")
    second = office.joins("alice", credential=alice.user.credential)
    office.registry.leave(alice, 0)
    assert office.registry.take_changes() == [Change(True, "alice")]
    office.registry.leave(second, 0)
    assert office.registry.take_changes() == [Change(False, "alice")]
    assert office.registry.take_changes() == []


def test_a_one_shot_session_announces_nobody(office):
    alice = office.joins("alice")
    office.registry.take_changes()
    office.registry.leave(office.joins("alice", credential=alice.user.credential, follows=()), 0)
    assert office.registry.take_changes() == []
    assert office.on() == ["alice"]


def test_who_waits_for_the_grace_is_still_on(office):
    alice = office.joins("alice", expires=15.0)
    office.registry.lost(alice, clock=0.0)
    assert office.on() == ["alice"]
    office.registry.expire(3.0, 0, 0)
    assert office.on() == []


def test_the_time_of_coming_stays_until_the_user_left(office):
    alice = office.joins("alice", session=7, time=100)
    office.joins("alice", session=7, time=200)
    office.joins("alice", credential=alice.user.credential, time=300)
    assert office.registry.page("") == ([User("alice", 100)], False)
    for session in list(alice.user.sessions):
        office.registry.leave(session, 0)
    office.joins("alice", time=400)
    assert office.registry.page("") == ([User("alice", 400)], False)


def test_who_lapsed_and_came_back_is_on_since_then(office):
    office.joins("alice", session=7, time=100)
    office.registry.expire(15.0, 0, 0)
    office.joins("alice", session=7, time=200)
    assert office.registry.page("") == ([User("alice", 200)], False)


def test_who_stops_to_follow_the_mailbox_is_off(office):
    office.joins("alice", session=7)
    office.registry.take_changes()
    office.joins("alice", session=7, follows=())
    assert office.registry.take_changes() == [Change(False, "alice")]
    assert office.on() == []


@pytest.mark.parametrize(
    ("before", "changes", "told"),
    [
        (False, [True], [True]),
        (False, [True, False], []),
        (False, [True, False, True], [True]),
        (False, [True, False] * 3, []),
        (True, [False], [False]),
        (True, [False, True], [False, True]),
        (True, [False, True] * 3, [False, True]),
        (True, [False, True, False], [False]),
    ],
)
def test_of_who_came_and_left_in_one_turn_nothing_is_told(office, before, changes, told):
    def follow(on: bool) -> None:
        office.joins("alice", session=7, follows=("direct",) if on else ())

    follow(before)
    office.registry.take_changes()
    for on in changes:
        follow(on)
    assert office.registry.take_changes() == [Change(on, "alice") for on in told]


def test_users_are_listed_in_the_order_of_their_names(office):
    for name in ("bob", "9", "al", "a.b", "alice"):
        office.joins(name)
    assert office.on() == ["9", "a.b", "al", "alice", "bob"]


def test_a_page_goes_on_after_the_last_name_of_the_one_before(office):
    names = [f"user{number:04}" for number in range(MAX_USERS * 2 + 1)]
    for name in reversed(names):
        office.joins(name)
    first, more = office.registry.page("")
    assert more
    second, more = office.registry.page(first[-1].name)
    assert more
    third, more = office.registry.page(second[-1].name)
    assert not more
    assert [user.name for user in first + second + third] == names
    assert office.registry.page(names[-1]) == ([], False)


def test_exactly_one_full_page_has_no_next(office):
    for number in range(MAX_USERS):
        office.joins(f"user{number:04}")
    users, more = office.registry.page("")
    assert (len(users), more) == (MAX_USERS, False)


def test_a_page_may_begin_after_somebody_who_left(office):
    for name in ("alice", "carol"):
        office.joins(name)
    assert [user.name for user in office.registry.page("bob")[0]] == ["carol"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["join", "lose", "leave", "wait"]),
            st.sampled_from(["alice", "bob", ""]),
            st.integers(1, 3),
            st.sampled_from([(), ("direct",)]),
        ),
        max_size=40,
    )
)
def test_whatever_happens_the_list_is_who_holds_a_name_and_follows_a_mailbox(steps):
    """The books of the registry agree with each other after every step."""
    office, clock, announced = Office(forget=60.0), 0.0, set()
    registry = office.registry
    for what, name, number, follows in steps:
        id = number.to_bytes(ID_LENGTH, "big")
        session = registry.sessions.get(id)
        match what:
            case "join":
                outcome = office.asks(name, number, follows=follows)
                if type(outcome) is Session:
                    outcome.expires = clock + 15.0
            case "lose" if session is not None and session.state is State.LIVE:
                registry.lost(session, clock)
            case "leave" if session is not None and session.state is State.LIVE:
                registry.leave(session, 0)
            case "wait":
                clock += number * 10.0
                registry.expire(clock, 0, 0)
        for on, changed in registry.take_changes():
            assert (changed in announced) is not on
            announced ^= {changed}
        on = {
            session.user.name
            for session in registry.sessions.values()
            if session.user and session.holding and "direct" in session.follows
        }
        assert set(office.on()) == on == announced
        for session in registry.sessions.values():
            assert session.state is not State.ENDED
            assert session.user is None or registry.users[session.user.name] is session.user
        for user in registry.users.values():
            assert user.sessions
            assert len({s.user for s in user.sessions}) == 1


def test_a_user_has_no_more_sessions_than_can_be_looked_at():
    office = Office()
    first = office.joins("alice")
    owner = first.user.credential
    for _ in range(Allowance().sessions - 1):
        office.joins("alice", credential=owner)
    refused = office.asks("alice", credential=owner)
    assert type(refused) is Refused
    assert refused.code == "broker_full"


def test_who_has_more_sessions_than_may_be_by_now_keeps_them():
    """The limit was lowered while they were on."""
    office = Office()
    first = office.joins("alice", session=7)
    owner = first.user.credential
    others = [office.joins("alice", credential=owner) for _ in range(2)]
    office.registry.adjust(allowance=Allowance(sessions=1))
    assert office.joins("alice", session=7, credential=owner) is first
    assert first.user.sessions == {first, *others}
    assert office.asks("alice", credential=owner).code == "broker_full"


def test_who_left_nothing_is_forgotten_before_who_left_something():
    """Anybody can come and go ten thousand times; that must not cost others their mail."""
    office = Office(most_lapsed=2)
    spoke = office.joins("alice", expires=1.0)
    has_mail = office.joins("bob", expires=1.0, spoke=False)
    has_mail.user.mailbox.head = 3
    crowd = [office.joins(f"guest{number}", expires=1.0, spoke=False) for number in range(5)]
    office.registry.expire(2.0, 0, 0)
    left = set(office.registry.sessions.values())
    assert left == {spoke, has_mail}
    assert not {guest.id for guest in crowd} & office.registry.sessions.keys()


def test_who_left_nothing_and_came_back_is_not_forgotten():
    office = Office(most_lapsed=2)
    back = office.joins("alice", session=7, expires=1.0, spoke=False)
    office.registry.expire(1.0, 0, 0)
    owner = back.user.credential
    office.joins("alice", session=7, credential=owner, expires=99.0, spoke=False)
    crowd = [office.joins(name, expires=2.0) for name in ("bob", "carol", "dave")]
    office.registry.expire(2.0, 0, 0)
    assert back.state is State.LIVE
    assert set(office.registry.sessions.values()) == {back, *crowd[1:]}


@pytest.mark.parametrize("mail", ["head", "pending"])
def test_whose_mail_came_after_the_lapse_left_something(mail):
    """Another session of the user was on; or it came in the turn in which the lease ran out."""
    office = Office(most_lapsed=1)
    alice = office.joins("alice", expires=1.0, spoke=False)
    office.registry.expire(2.0, 0, 0)
    if mail == "head":
        alice.user.mailbox.head = 1
    else:
        alice.user.mailbox.pending.append((b"an event", 1))
    guest = office.joins("guest", expires=1.0, spoke=False)
    office.registry.expire(3.0, 0, 0)
    assert {*office.registry.sessions.values()} == {alice}
    assert guest.id not in office.registry.sessions


def test_if_all_left_something_the_oldest_goes():
    office = Office(most_lapsed=2)
    first, *others = [office.joins(name, expires=1.0) for name in ("alice", "bob", "carol")]
    office.registry.expire(2.0, 0, 0)
    assert set(office.registry.sessions.values()) == set(others)
    assert first.id not in office.registry.sessions


def test_of_too_many_lapsed_sessions_the_oldest_is_forgotten():
    office = Office()
    first = office.joins("alice", expires=0.5)
    owner = first.user.credential
    for _ in range(Allowance().sessions - 1):
        office.joins("alice", credential=owner, expires=1.0)
    office.registry.expire(2.0, 0, 0)
    assert len(first.user.sessions) == Allowance().sessions
    office.joins("alice", credential=owner)
    assert len(first.user.sessions) == Allowance().sessions
    assert first not in first.user.sessions
