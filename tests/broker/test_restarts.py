"""What comes back when a broker is started again on a journal that lasts.

The journal here keeps all in memory, as one on disk would; what it promises beside that is
in its own tests.
"""

from __future__ import annotations

import pytest
from claimants import asks, presence
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbroker.broker.core import Broker
from chatbroker.broker.former import Former
from chatbroker.broker.journal import CannotStore, Commit, Kept, SessionRecord
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.user import Settings
from chatbroker.wire.messages import (
    Ack,
    Bye,
    Cursor,
    Farewell,
    Follow,
    Info,
    Ping,
    Pong,
    Refusal,
    Run,
    Send,
    Start,
    Welcome,
)

KEY, OTHER_KEY = b"alice's own key!", b"mallory's key 16"
LEASE, GRACE, FORGET = 15.0, 3.0, 3600.0
UNREAD = Follow("direct", b"", Start.UNREAD, 0)


class LastingJournal(MemoryJournal):
    """Keeps users and sessions too, and looks closely at what it is given."""

    durable = True

    def __init__(self) -> None:
        super().__init__()
        self.epoch = b""
        self.time = 0
        self.heads: dict[str, int] = {}
        self.users: dict[str, object] = {}
        self.sessions: dict[bytes, SessionRecord] = {}
        self.full = False
        self.former: dict[str, Former] = {}

    def load(self, fresh: bytes) -> Kept:
        self.epoch = self.epoch or fresh
        users, sessions = tuple(self.users.values()), tuple(self.sessions.values())
        return Kept(self.epoch, self.time, dict(self.heads), users, sessions, self.former)

    def goes_back(self) -> None:
        """To what it is now, after all that is still to come: its logs begin another life."""
        lives = {"echo": self.epoch} | {user.log: user.epoch for user in self.users.values()}
        self.former = {log: Former(e, self.heads.get(log, 0)) for log, e in lives.items()}
        self.epoch = self.epoch[::-1]
        for name, user in self.users.items():
            self.users[name] = user._replace(epoch=user.epoch[::-1])

    def commit(self, commit: Commit) -> None:
        if self.full:
            raise CannotStore("disk full")
        super().commit(commit)
        for id in commit.ended:
            self.sessions.pop(id, None)
        for name in commit.gone:
            self.users.pop(name, None)
            self.sessions = {i: s for i, s in self.sessions.items() if s.user != name}
        for log in commit.dropped:
            self.heads.pop(log, None)
        for user in commit.users:
            assert user.log not in {u.log for u in self.users.values() if u.name != user.name}
            self.users[user.name] = user
        for session in commit.sessions:
            assert session.user in self.users
            self.sessions[session.id] = whole = session.over(self.sessions.get(session.id))
            assert whole.outcomes is not None
        for row in commit.rows:
            assert row.log == "echo" or row.log in {user.log for user in self.users.values()}
            assert row.prev == self.heads.get(row.log, 0) < row.first
            self.heads[row.log] = row.last
            self.time = max(self.time, row.time)


@pytest.fixture
def lasting(world_with):
    """A world whose broker can be started again."""
    return world_with(LastingJournal())


def restarts(world, down: float = 1.0, **chosen: float) -> None:
    """The broker is killed, and started again after *down* seconds."""
    for peer in world.peers.values():
        peer.reachable = False
    world.broker = Broker(Settings(pub_port=5556, **chosen), world.journal, world.fresh)
    world.now += down
    world.wall += round(down * 1000)
    world.published.clear()


def on(world) -> list[str]:
    """Who is on, as an observer hears it."""
    return [user.name for user in world.joins("").says(Info(1, ""))[0].users]


# --- a session goes on --------------------------------------------------------------------


def test_a_session_goes_on_as_if_only_the_connection_had_been_lost(lasting):
    alice = lasting.joins("alice", credential=KEY)
    alice.echoes("one")
    restarts(lasting)
    again = lasting.returns(alice, credential=KEY)
    before, after = alice.welcome, again.welcome
    assert again.resumed
    assert (after.born, after.cseq, after.epoch) == (before.born, 1, before.epoch)
    assert after.credential == KEY
    assert again.epoch("direct") == alice.epoch("direct")
    assert again.echoes("two").of(Ack) == [Ack(1, 2, ())]
    assert lasting.hears(b"echo\0")[0].prev == 1


def test_the_credential_that_the_broker_gave_is_good_after_a_restart(lasting):
    alice = lasting.joins("alice")
    key = alice.welcome.credential
    restarts(lasting)
    assert lasting.returns(alice, credential=key).welcome.credential == key
    assert lasting.joins("alice", credential=key).welcome.credential == key


def test_a_session_that_never_heard_its_credential_gets_one_that_is_good(lasting):
    alice = lasting.connects()
    alice.posts(alice.hello("alice"))
    lasting.turn()
    alice.frames.clear()  # The WELCOME is lost with the connection.
    restarts(lasting)
    key = lasting.returns(alice).welcome.credential
    assert len(key) == 16
    assert lasting.joins("alice", credential=key).welcome.credential == key
    restarts(lasting)
    assert lasting.joins("alice", credential=key).welcome.credential == key


def test_a_session_that_names_a_wrong_credential_gets_one_that_is_good(lasting):
    alice = lasting.joins("alice", credential=KEY)
    restarts(lasting)
    key = lasting.returns(alice, credential=OTHER_KEY).welcome.credential
    assert key not in (b"", OTHER_KEY)
    assert lasting.joins("alice", credential=key).welcome.credential == key


def test_no_credential_is_stored(lasting):
    alice = lasting.joins("alice", credential=KEY, claim=True)
    bob = lasting.joins("bob")
    alice.sends("bob", "hi")
    stored = repr((lasting.journal.users, lasting.journal.sessions))
    assert repr(KEY)[2:-1] not in stored
    assert repr(bob.welcome.credential)[2:-1] not in stored


def test_outcomes_are_told_again_after_a_restart(lasting):
    alice, bob = lasting.joins("alice", credential=KEY, claim=True), lasting.joins("bob")
    alice.says(Bye())
    commands = [
        *(bob.send("alice", "one"), bob.send("nobody", "two"), bob.send("nobody", "three")),
        *(bob.echo("four"), bob.send("alice", "five")),
    ]
    (outcome,) = bob.says(*commands).of(Ack)
    assert outcome == Ack(
        *(0, 5, (Refusal(2, 3, "no_such_user", "no such user"),)), (Run(1, 1), Run(5, 5))
    )
    restarts(lasting)
    again = lasting.returns(bob, credential=bob.welcome.credential)
    assert again.says(*commands).of(Ack) == [outcome]
    assert lasting.hears(b"echo\0") == []
    assert again.pings(resolved=4).of(Ack) == [Ack(4, 5, (), (Run(5, 5),))]


def test_what_was_not_told_is_told_after_a_restart(lasting):
    """It was stored, and the broker was killed before it could say so."""
    alice = lasting.joins("alice", credential=KEY)
    command = alice.echo("one")
    alice.posts(command)
    lasting.begin()
    lasting.receive()
    lasting.broker.commit()
    restarts(lasting)
    again = lasting.returns(alice, credential=KEY)
    assert again.welcome.cseq == 1
    assert again.says(command).of(Ack) == [Ack(0, 1, ())]
    assert lasting.journal.heads["echo"] == 1


def test_what_was_not_stored_is_carried_out_after_a_restart(lasting):
    alice = lasting.joins("alice", credential=KEY)
    command = alice.echo("one")
    lasting.journal.full = True
    alice.says(command)
    lasting.journal.full = False
    restarts(lasting)
    again = lasting.returns(alice, credential=KEY)
    assert again.welcome.cseq == 0
    assert again.says(command).of(Ack) == [Ack(0, 1, ())]
    assert lasting.journal.heads["echo"] == 1


def test_who_said_goodbye_does_not_come_back(lasting):
    alice = lasting.joins("alice", credential=KEY)
    alice.echoes("one")
    alice.says(Bye())
    restarts(lasting)
    again = lasting.connects()
    again.name, again.session = "alice", alice.session
    again.joins(credential=OTHER_KEY)
    assert not again.resumed
    assert again.welcome.cseq == 0
    assert again.epoch("direct") != alice.epoch("direct")


def test_an_observer_is_a_new_session(lasting):
    observer = lasting.joins("")
    restarts(lasting)
    again = lasting.returns(observer)
    assert not again.resumed
    assert again.welcome.epoch == observer.welcome.epoch
    assert lasting.journal.sessions == {}


def test_a_session_that_lapsed_comes_back_with_what_it_said(lasting):
    alice = lasting.joins("alice", credential=KEY)
    command = alice.send("nobody", "one")
    alice.says(command)
    lasting.passes(LEASE + 1.0)
    restarts(lasting)
    assert presence(lasting) == []
    lasting.turn()
    assert on(lasting) == []
    again = lasting.returns(alice, credential=KEY)
    assert again.resumed
    assert again.says(command).codes == ["no_such_user"]


def test_a_session_that_lapsed_is_forgotten_in_the_end(lasting):
    alice = lasting.joins("alice", credential=KEY)
    alice.echoes("one")
    lasting.passes(LEASE + 1.0)
    restarts(lasting)
    lasting.passes(FORGET + 1.0)
    assert lasting.journal.sessions == {}
    assert lasting.journal.users == {}
    restarts(lasting)
    assert not lasting.returns(alice, credential=KEY).resumed


def test_who_left_nothing_is_forgotten_first_also_after_a_restart(world_with):
    lasting = world_with(LastingJournal(), most_lapsed=4)
    alice = lasting.joins("alice", credential=KEY)
    alice.echoes("one")
    for number in range(3):
        lasting.joins(f"empty{number}")
    lasting.passes(LEASE + 1.0)
    restarts(lasting, most_lapsed=4)
    for number in range(3):
        lasting.joins(f"late{number}").echoes("one")
    lasting.passes(LEASE + 1.0)
    assert len(lasting.journal.sessions) == 4
    assert "empty0" not in lasting.journal.users
    assert lasting.returns(alice, credential=KEY).resumed


def test_a_session_known_to_be_dead_before_a_restart_is_over_after_it(lasting):
    dead = lasting.joins("alice", credential=KEY, exclusive=True)
    restarts(lasting)
    heir = lasting.joins("alice", credential=KEY, exclusive=True, replaces=dead.session)
    assert list(lasting.journal.sessions) == [heir.session]
    restarts(lasting)
    assert lasting.returns(heir, credential=KEY, exclusive=True).resumed
    assert list(lasting.journal.sessions) == [heir.session]


def test_an_exclusive_session_is_exclusive_after_a_restart_when_it_is_back(lasting):
    alice = lasting.joins("alice", credential=KEY, exclusive=True)
    restarts(lasting)
    lasting.returns(alice, credential=KEY, exclusive=True)
    assert [m.code for m in asks(lasting, credential=KEY, exclusive=True)] == ["already_joined"]


def test_an_owner_need_not_wait_for_a_session_that_may_come_back(lasting):
    lasting.joins("alice", credential=KEY, exclusive=True)
    restarts(lasting)
    assert type(asks(lasting, credential=KEY, exclusive=True)[0]) is Welcome


# --- names --------------------------------------------------------------------------------


def test_a_claimed_name_is_its_users_after_a_restart(lasting):
    alice = lasting.joins("alice", credential=KEY, claim=True)
    alice.says(Bye())
    restarts(lasting)
    assert [m.code for m in asks(lasting)] == ["name_claimed"]
    assert [m.code for m in asks(lasting, credential=OTHER_KEY)] == ["name_claimed"]
    again = lasting.joins("alice", credential=KEY)
    assert again.epoch("direct") == alice.epoch("direct")


def test_a_claimed_name_is_taken_while_its_user_may_come_back(lasting):
    lasting.joins("alice", credential=KEY, claim=True)
    restarts(lasting)
    assert [m.code for m in asks(lasting)] == ["name_taken"]
    lasting.passes(LEASE + 1.0)
    assert [m.code for m in asks(lasting)] == ["name_claimed"]


def test_a_borrowed_name_waits_a_lease_for_its_user_after_a_restart(lasting):
    alice = lasting.joins("alice", credential=KEY)
    restarts(lasting)
    lasting.passes(LEASE - 1.0)
    heir = lasting.connects()
    heir.joins("alice")
    again = lasting.returns(alice, credential=KEY)
    assert again.resumed
    lasting.turn()
    assert heir.hears().codes == ["name_taken"]


def test_a_borrowed_name_is_free_when_its_user_does_not_return(lasting):
    alice = lasting.joins("alice", credential=KEY)
    restarts(lasting)
    lasting.passes(LEASE + 1.0)
    assert asks(lasting)[0].name == "alice"
    assert [m.code for m in asks(lasting, credential=KEY)] == ["name_taken"]
    assert alice.session not in lasting.journal.sessions


def test_a_released_name_is_free_after_a_restart(lasting):
    lasting.joins("alice", credential=KEY, claim=True)
    lasting.broker.hand.release("alice")
    lasting.turn()
    restarts(lasting)
    assert lasting.journal.users == lasting.journal.sessions == {}
    assert asks(lasting)[0].name == "alice"


def test_a_name_that_changed_hands_is_the_next_ones_after_a_restart(lasting):
    first = lasting.joins("alice", credential=KEY, claim=True)
    lasting.begin()
    lasting.broker.hand.release("alice")
    second = lasting.connects()
    second.posts(second.hello("alice", credential=OTHER_KEY, claim=True))
    lasting.receive()
    lasting.ends_turn()
    assert second.hears().of(Welcome)
    restarts(lasting)
    assert [m.code for m in asks(lasting, credential=KEY)] == ["name_taken"]
    again = lasting.returns(second, credential=OTHER_KEY)
    assert again.resumed
    assert again.epoch("direct") != first.epoch("direct")


def test_a_session_id_that_ended_and_began_again_in_one_turn_is_kept(lasting):
    alice = lasting.joins("alice", credential=KEY)
    alice.posts(Bye())
    alice.posts(alice.hello(credential=KEY))
    lasting.turn()
    assert alice.hears().of(Farewell)
    restarts(lasting)
    again = lasting.returns(alice, credential=KEY)
    assert again.welcome.born == 2


# --- claims lapse -------------------------------------------------------------------------


TTL = 600.0


def claimed(lasting, name):
    return lasting.joins(name, credential=KEY, claim=True, follows=())


def test_the_time_away_counts_while_the_broker_is_down(world_with):
    lasting = world_with(LastingJournal(), claim_ttl=TTL)
    claimed(lasting, "alice").says(Bye())
    restarts(lasting, down=TTL - 10.0, claim_ttl=TTL)
    lasting.turn()
    assert [m.code for m in asks(lasting)] == ["name_claimed"]
    lasting.passes(20.0)
    assert type(asks(lasting)[0]) is Welcome


def test_who_was_here_when_the_broker_went_is_away_from_when_they_did_not_return(world_with):
    lasting = world_with(LastingJournal(), claim_ttl=TTL)
    claimed(lasting, "alice")
    restarts(lasting, down=2 * TTL, claim_ttl=TTL)
    lasting.passes(LEASE + TTL - 10.0)
    assert [m.code for m in asks(lasting)] == ["name_claimed"]
    lasting.passes(20.0)
    assert type(asks(lasting)[0]) is Welcome


def test_who_left_first_is_forgotten_first_after_a_restart(world_with):
    lasting = world_with(LastingJournal(), claim_ttl=TTL)
    peers = {name: claimed(lasting, name) for name in ("alice", "bob", "carol", "dave")}
    for name in ("carol", "alice", "dave", "bob"):
        peers.pop(name).says(Bye())
        lasting.passes(100.0, alive=peers.values())
    restarts(lasting, claim_ttl=TTL)
    gone = []
    for _ in range(60):
        lasting.passes(10.0)
        gone += [
            name
            for name in ("alice", "bob", "carol", "dave")
            if name not in lasting.journal.users and name not in gone
        ]
    assert gone == ["carol", "alice", "dave", "bob"]


def test_the_mail_goes_with_the_claim_for_good(world_with):
    lasting = world_with(LastingJournal(), claim_ttl=TTL)
    claimed(lasting, "alice").says(Bye())
    bob = lasting.joins("bob")
    bob.sends("alice", "secret")
    restarts(lasting, down=TTL + 10.0, claim_ttl=TTL)
    lasting.passes(LEASE + 1.0)
    assert [log for log in lasting.journal.heads if "alice" in log] == []
    restarts(lasting, claim_ttl=TTL)
    again = lasting.joins("alice", credential=KEY, follows=(UNREAD,))
    assert again.welcome.readings[0].head == 0


def test_claims_take_as_much_room_after_a_restart(world_with):
    lasting = world_with(LastingJournal(), most_claims=1)
    claimed(lasting, "alice").says(Bye())
    restarts(lasting, most_claims=1)
    assert lasting.connects().joins("bob", claim=True).codes == ["broker_full"]
    lasting.broker.hand.release("alice")
    lasting.turn()
    lasting.joins("bob", claim=True)


# --- mail ---------------------------------------------------------------------------------


def test_mail_for_who_is_away_is_unread_after_a_restart(lasting):
    alice, bob = lasting.joins("alice", credential=KEY, claim=True), lasting.joins("bob")
    bob.sends("alice", "one")
    alice.says(Ping(1, 0, 0, (Cursor("direct", alice.epoch("direct"), 1),)), Bye())
    bob.sends("alice", "two")
    restarts(lasting)
    again = lasting.joins("alice", credential=KEY, follows=(UNREAD,))
    assert (again.welcome.readings[0].start, again.welcome.readings[0].head) == (1, 2)
    assert again.fetches("direct", after=1).texts == ["two"]


def test_who_comes_hears_whether_the_data_had_another_life(lasting):
    before = lasting.joins("alice").welcome
    assert before.former == b""
    restarts(lasting)
    assert lasting.joins("bob").welcome.former == b""
    lasting.journal.goes_back()
    restarts(lasting)
    after = lasting.joins("carol").welcome
    assert (after.epoch != before.epoch, after.former) == (True, before.epoch)


def test_whoever_comes_back_to_data_that_went_back_goes_on_where_these_end(lasting):
    alice, bob = lasting.joins("alice", credential=KEY, claim=True), lasting.joins("bob")
    for text in ("one", "two"):
        bob.sends("alice", text)
        bob.echoes(text)
    seen = [Follow(log, alice.epoch(log), Start.AFTER, 7) for log in ("direct", "echo")]
    cursor = Cursor("direct", alice.epoch("direct"), 7)  # Five of each came, and are no more.
    lasting.journal.goes_back()
    restarts(lasting)
    bob = lasting.joins("carol")
    bob.sends("alice", "new")
    bob.echoes("new")
    again = lasting.returns(alice, credential=KEY, follows=seen)
    assert [(r.log, r.start, r.head) for r in again.welcome.readings] == [
        ("direct", 2, 3),
        ("echo", 2, 3),
    ]
    assert again.welcome.readings[0].epoch != cursor.epoch
    assert lasting.journal.users["alice"].read == 0
    assert again.says(Ping(1, 0, 0, (cursor,))).of(Pong)
    assert lasting.journal.users["alice"].read == 2


def test_how_far_a_user_has_read_is_stored_before_it_is_confirmed(lasting):
    alice, bob = lasting.joins("alice", credential=KEY, claim=True), lasting.joins("bob")
    bob.sends("alice", "one")
    lasting.journal.full = True
    heard = alice.pings(read=1)
    assert heard.of(Pong) == []
    assert lasting.journal.users["alice"].read == 0
    lasting.journal.full = False
    lasting.turn()
    assert alice.hears().of(Pong)
    assert lasting.journal.users["alice"].read == 1


def test_a_ping_that_confirms_nothing_new_stores_nothing(lasting):
    alice = lasting.joins("alice", credential=KEY)
    alice.sends("alice", "note")
    alice.pings(read=1)
    lasting.journal.full = True  # Whoever stores now is held up.
    assert alice.pings(read=1).of(Pong)
    assert alice.pings(read=0).of(Pong)
    assert alice.says(Info(1, ""))[0].users


def test_mail_to_who_has_a_lease_to_return_is_not_told_as_away(lasting):
    alice, bob = lasting.joins("alice", credential=KEY, claim=True), lasting.joins("bob")
    restarts(lasting)
    again = lasting.returns(bob, credential=bob.welcome.credential)
    assert again.sends("alice", "one").of(Ack) == [Ack(0, 1, ())]
    lasting.passes(LEASE + 1.0, alive=[again])
    assert again.sends("alice", "two").of(Ack)[0].away == (Run(2, 2),)
    back = lasting.returns(alice, credential=KEY, follows=(UNREAD,))
    assert back.fetches("direct").texts == ["one", "two"]


def test_positions_count_on_in_every_log(lasting):
    alice, bob = lasting.joins("alice", credential=KEY), lasting.joins("bob")
    alice.says(alice.echo("one"), alice.send("bob", "one"))
    restarts(lasting)
    a = lasting.returns(alice, credential=KEY)
    b = lasting.returns(bob, credential=bob.welcome.credential)
    for reading in (*a.welcome.readings, *b.welcome.readings):
        assert reading.head == 1
    a.says(a.echo("two"), a.send("bob", "two"))
    assert b.fetches("echo").texts == ["one", "two"]
    assert b.fetches("direct", after=1).texts == ["two"]


# --- presence -----------------------------------------------------------------------------


def test_nobody_is_taken_to_have_left_because_the_broker_was_started_again(lasting):
    alice, bob = lasting.joins("alice", credential=KEY), lasting.joins("bob")
    lasting.notes.clear()
    restarts(lasting)
    assert on(lasting) == ["alice", "bob"]
    back = [
        lasting.returns(alice, credential=KEY),
        lasting.returns(bob, credential=bob.welcome.credential),
    ]
    lasting.passes(LEASE + 5.0, alive=back)
    assert presence(lasting) == []
    assert lasting.notes == []
    assert on(lasting) == ["alice", "bob"]


def test_who_does_not_return_has_left(lasting):
    alice, bob = lasting.joins("alice", credential=KEY), lasting.joins("bob")
    restarts(lasting)
    back = lasting.returns(alice, credential=KEY)
    lasting.passes(LEASE - 1.0, alive=[back])
    assert on(lasting) == ["alice", "bob"]
    lasting.passes(2.0, alive=[back])
    assert presence(lasting) == [("bob", False)]
    assert on(lasting) == ["alice"]
    assert bob.session in lasting.journal.sessions


def test_who_only_sent_is_not_on_after_a_restart(lasting):
    lasting.joins("alice", credential=KEY, follows=())
    restarts(lasting)
    assert on(lasting) == []
    lasting.passes(LEASE + 1.0)
    assert presence(lasting) == []


def test_who_comes_back_without_the_mailbox_has_left(lasting):
    alice = lasting.joins("alice", credential=KEY)
    restarts(lasting)
    lasting.returns(alice, credential=KEY, follows=())
    assert presence(lasting) == [("alice", False)]


# --- time ---------------------------------------------------------------------------------


def test_stamps_do_not_fall_over_a_restart(lasting):
    alice = lasting.joins("alice", credential=KEY)
    alice.echoes("before")
    (before,) = lasting.hears(b"echo\0")
    restarts(lasting)
    lasting.wall -= 3_600_000
    again = lasting.returns(alice, credential=KEY)
    again.echoes("after")
    (after,) = lasting.hears(b"echo\0")
    assert after.events[0].time >= before.events[0].time
    assert lasting.broker.clock.behind > 3_500_000


# --- whatever happens ---------------------------------------------------------------------


def test_a_second_restart_changes_nothing_more(lasting):
    alice, bob = lasting.joins("alice", credential=KEY, claim=True), lasting.joins("bob")
    alice.sends("nobody", "one")
    bob.sends("alice", "two")
    alice.says(Bye())
    before = dict(lasting.journal.users), dict(lasting.journal.sessions)
    for _ in range(3):
        restarts(lasting)
        lasting.turn()
    assert (lasting.journal.users, lasting.journal.sessions) == before


def test_a_broker_that_forgets_stores_neither_users_nor_sessions(world_with):
    journal = LastingJournal()
    journal.durable = False
    world = world_with(journal)
    alice = world.joins("alice", credential=KEY, claim=True)
    alice.says(Ping(1, 0, 0, ()), Bye())
    assert journal.users == journal.sessions == {}


few = st.integers(0, 2)
names = st.sampled_from(["alice", "alice", "alice", "bob", ""])
steps = st.one_of(
    st.builds(
        lambda who, **how: ("hello", who, how),
        few,
        name=names,
        session=few,
        credential=st.sampled_from([KEY, KEY, KEY, OTHER_KEY, b""]),
        exclusive=st.booleans(),
        claim=st.booleans(),
        replaces=st.none() | few,
        follows=st.sampled_from([(), ("direct",), ("echo",), ("echo", "direct")]),
    ),
    st.tuples(st.just("bye"), few),
    st.tuples(st.just("lost"), few),
    st.tuples(st.just("sends"), few, names),
    st.tuples(st.just("reads"), few, few),
    st.tuples(st.just("passes"), st.sampled_from([0.1, GRACE + 1.0, LEASE + 1.0])),
    st.tuples(st.just("sleeps"), st.sampled_from([FORGET, TTL])),
    st.tuples(st.just("released"), names),
    st.tuples(st.just("full"), st.booleans()),
    st.tuples(st.just("restarts"), st.sampled_from([1.0, TTL + 1.0])),
)


def take(world, step) -> None:
    """One thing happens."""
    peers = list(world.peers.values())[-3:]
    bound = world.broker._door.bound

    def id_of(number: int) -> bytes:
        return b"the session no.%d" % number

    match step:
        case ("hello", who, how):
            dead = how["replaces"]
            how = how | {
                "session": id_of(how["session"]),
                "replaces": b"" if dead is None else id_of(dead),
            }
            peers[who].posts(peers[who].hello(**how))
        case ("bye", who):
            peers[who].posts(Bye())
        case ("lost", who):
            peers[who].reachable = False
            world.broker.lost(peers[who].identity)
            world.connects()
        case ("sends", who, to):
            session = bound.get(peers[who].identity)
            peers[who].posts(Send(session.cseq + 1 if session else 1, to, ("hi",)))
        case ("reads", who, position):
            session = bound.get(peers[who].identity)
            if session is not None and session.user is not None:
                cursor = Cursor("direct", session.user.mailbox.epoch, position)
                peers[who].posts(Ping(1, 0, 0, (cursor,)))
        case ("passes", seconds):
            world.passes(seconds)
        case ("sleeps", seconds):
            for _ in range(40):
                world.turn(after=0.5)
            world.wall += round(seconds * 1000)
        case ("released", name):
            world.broker.hand.release(name)
        case ("full", is_full):
            world.journal.full = is_full
        case ("restarts", down):
            restarts(world, down, claim_ttl=TTL)
            for _ in range(3):
                world.connects()


def stored(world) -> bool:
    """Whether the journal has what the broker knows."""
    registry = world.broker._registry
    users = {name: user.record() for name, user in registry.users.items()}
    sessions = {id: s.record() for id, s in registry.sessions.items() if s.user is not None}
    heads = {user.mailbox.key: user.mailbox.head for user in registry.users.values()}
    kept = {log: head for log, head in world.journal.heads.items() if log != "echo"}
    assert world.journal.users == users
    assert world.journal.sessions == sessions
    assert kept == {log: head for log, head in heads.items() if head}
    return True


@given(happens=st.lists(st.tuples(steps, st.booleans()), min_size=10, max_size=40))
@settings(max_examples=200)
def test_whatever_happens_what_is_stored_is_what_the_broker_knows(world_with, happens):
    lasting = world_with(LastingJournal(), claim_ttl=TTL)
    for _ in range(3):
        lasting.connects()
    for step, at_once in happens:
        take(lasting, step)
        if at_once:
            continue  # The next thing happens in the same turn.
        if lasting.broker.held:
            lasting.turn()  # That turn's commit was made before what happened now.
        lasting.turn()
        for peer in lasting.peers.values():
            peer.hears()
        assert lasting.broker.held or stored(lasting)
    lasting.journal.full = False
    lasting.turn()
    lasting.turn()
    assert stored(lasting)
    before = lasting.broker._registry
    restarts(lasting, claim_ttl=TTL)
    after = lasting.broker._registry
    assert stored(lasting)
    # Of those who left in the same turn, either may be the first.
    assert [user.seen for user in after._absent] == [user.seen for user in before._absent]
    assert {user.name for user in after._absent} == {user.name for user in before._absent}
    assert after.page("")[0] == [
        u._replace(since=lasting.broker.clock.time) for u in before.page("")[0]
    ]
