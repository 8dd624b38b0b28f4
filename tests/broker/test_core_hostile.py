"""One bad client costs the others nothing, and what the broker holds for it is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.broker import core, door, outgoing
from chatbroker.broker.answers import MOST_ASKED
from chatbroker.broker.check import check_journal
from chatbroker.broker.core import ENOUGH_EVENTS
from chatbroker.broker.door import MOST_WAITING_FOR_NAME, PROBE_HOLDS
from chatbroker.broker.effects import Deliver
from chatbroker.broker.registry import Registry
from chatbroker.broker.sqlite_journal import SqliteJournal
from chatbroker.broker.turn import A_ROUTE
from chatbroker.broker.user import Settings
from chatbroker.wire.codec import Encoder
from chatbroker.wire.limits import (
    MAX_FETCH,
    MAX_FRAME,
    MAX_INT,
    MAX_MESSAGES,
    MAX_TEXTS,
    PUSH_WINDOW,
    VERSION,
    WINDOW,
)
from chatbroker.wire.messages import (
    Ack,
    Bye,
    Cursor,
    Echo,
    Fetch,
    Fetched,
    Follow,
    Hello,
    Info,
    Ping,
    Pong,
    Refused,
    Send,
    Start,
    Users,
    Welcome,
)

encode = Encoder().encode


def full_of(message) -> bytes:
    """A frame of nothing but *message*, as often as a client may say it at once."""
    packed = encode(message)
    return packed * min(MAX_FRAME // len(packed), MAX_MESSAGES)


def told(world, peer) -> int:
    """How many bytes the last turn had for *peer*."""
    return sum(
        len(effect.frame)
        for effect in world.effects
        if type(effect) is Deliver and effect.identity == peer.identity
    )


# --- whatever a client says ---------------------------------------------------------------


def test_whatever_numbers_a_client_chooses_the_broker_starts_again_on_them(world_with, tmp_path):
    """One that the records of turns could not have would keep it from starting after a crash."""
    for number in (2**53, 2**62, 2**62 + 1, MAX_INT - 1, MAX_INT):
        path = tmp_path / f"{number}.db"
        journal = SqliteJournal(path)
        world = world_with(journal)
        follows = [Follow("echo", b"", Start.AFTER, number), Follow("direct", b"", Start.NOW, 0)]
        alice = world.connects()
        assert alice.joins("alice", attempt=number, claim=True, follows=follows).of(Welcome)
        assert alice.says(Echo(1, ("said",)), Send(2, "alice", ("to myself",))).of(Ack)
        epoch = alice.welcome.readings[1].epoch
        alice.says(
            Ping(number, 2, 2, (Cursor("direct", epoch, number),), number),
            Fetch(number, "echo", b"", number, number),
            Info(number, ""),
        )
        alice.says(Echo(number, ("far ahead",)), Send(number, "alice", ("as well",)))
        journal._db.close()  # As after kill -9: nothing is folded.
        assert check_journal(path).faults == []
        again = SqliteJournal(path)
        kept = again.load(b"epoch-02")
        again.close()
        assert [(user.name, user.read) for user in kept.users] == [("alice", 1)]
        assert [session.born for session in kept.sessions] == [number]


names = st.sampled_from(["", "alice", "bob", "mallory", "not a name"])
sessions = st.sampled_from([b"mallory's first.", b"mallory's second", b"session" + bytes(9)])
numbers = st.integers(0, 5) | st.just(2**63 - 1)
logs = st.sampled_from(["echo", "direct", "@alice", ""])
epochs = st.sampled_from([bytes(8), b"\0" * 7 + b"\1", b"\0" * 7 + b"\2", b"long ago"])
anything = st.one_of(
    st.builds(
        Hello,
        st.sampled_from([VERSION, VERSION, VERSION, VERSION + 1]),
        names,
        sessions,
        st.sampled_from([b"", b"a guess of alice"]),
        st.integers(1, 3),
        st.booleans(),
        st.booleans(),
        st.just(b"") | sessions,
        st.lists(
            st.builds(Follow, logs, st.just(b"") | epochs, st.sampled_from(Start), numbers),
            max_size=3,
            unique_by=lambda follow: follow.log,
        ).map(tuple),
    ),
    st.builds(Send, st.integers(1, 4), names, st.sampled_from(["", "x" * 17_000])),
    st.builds(Echo, st.integers(1, 4), st.sampled_from(["", "x" * 17_000])),
    st.builds(Info, numbers, names),
    st.builds(Fetch, numbers, logs, epochs, numbers, numbers),
    st.builds(
        Ping,
        numbers,
        numbers,
        numbers,
        st.lists(st.builds(Cursor, logs, epochs, numbers), max_size=2).map(tuple),
        numbers,
    ),
    st.just(Bye()),
    st.binary(max_size=20),
)
doings = st.one_of(
    st.tuples(st.integers(0, 2), st.lists(anything, min_size=1, max_size=4)),
    st.sampled_from(["turn", "time", "lost"]),
)


@given(steps=st.lists(doings, max_size=25))
def test_whatever_others_do_alice_and_bob_talk_as_ever(world_with, steps):
    """Three hostile connections, and two users who notice nothing but a probe."""
    world = world_with(lease=15.0)
    alice, bob = world.joins("alice"), world.joins("bob")
    hostile = [world.connects() for _ in range(3)]
    for said, step in enumerate(steps, 1):
        match step:
            case "turn":
                world.turn()
            case "time":
                world.passes(5.0, alive=[alice, bob])
            case "lost":
                world.loses(hostile[said % 3])
                hostile[said % 3].reachable = True
            case (who, messages):
                if sum(len(m if type(m) is bytes else encode(m)) for m in messages) < MAX_FRAME:
                    hostile[who].posts(*messages)
        # Mallory may write to them, as anybody may.
        alice.hears()
        bob.hears()
        heard = alice.sends("bob", f"number {said}")
        assert heard.of(Ack) == [Ack(said - 1, said, ())]
        assert [type(m) for m in heard if type(m).__name__ not in ("Batch", "Ack", "Pong")] == []
        assert f"number {said}" in bob.hears().texts
    for peer in hostile:
        peer.hears()  # That is, everything decodes.


@given(frames=st.lists(st.binary(max_size=60), max_size=10))
def test_no_bytes_stop_the_broker(world_with, frames):
    world = world_with()
    stranger = world.connects()
    for frame in frames:
        assert len(stranger.says(frame)) >= 1
    world.joins("alice")


# --- one frame, and what it makes the broker do -------------------------------------------


@pytest.fixture
def busy(world):
    """A world with many users and a long public log."""
    people = world.crowd(100)
    for _ in range(10):
        people[0].says(*[people[0].echo("x" * 5000) for _ in range(12)])
    return world


@pytest.mark.parametrize("ask", ["INFO", "FETCH", "PING", "ECHO"])
def test_a_flood_of_questions_gets_a_bounded_answer(busy, ask):
    # An observer's ECHO is not allowed, and the answer is many times as long.
    mallory = busy.joins("" if ask == "ECHO" else "mallory")
    # A turn reads hundreds of frames.  So few are enough to show it.
    message, frames = {
        "INFO": (Info(1, ""), 2),
        "FETCH": (Fetch(1, "echo", mallory.epoch("echo"), 0, MAX_FETCH), 1),
        "PING": (Ping(1, 0, 0, ()), 40),
        "ECHO": (Echo(1, ("",)), 40),
    }[ask]
    for _ in range(frames):
        mallory.posts(full_of(message))
    busy.turn()
    assert "bad_frame" not in mallory.hears().codes
    assert 0 < told(busy, mallory) <= 2 * PUSH_WINDOW


def test_a_flood_of_info_does_not_have_the_list_made_for_nothing(busy, monkeypatch):
    pages = []
    page = Registry.page
    monkeypatch.setattr(Registry, "page", lambda *call: pages.append(1) or page(*call))
    observer = busy.joins("")
    observer.says(full_of(Info(1, "")))
    assert len(pages) == MOST_ASKED


def test_of_a_flood_of_small_questions_a_few_are_answered_in_a_turn(busy):
    """However short the answers are: each takes the broker longer than to read the question."""
    mallory, alice = busy.joins("mallory"), busy.joins("alice")
    for _ in range(2):
        mallory.posts(full_of(Fetch(1, "echo", b"", 0, 0)))
        mallory.posts(encode(Info(2, "")))
        alice.posts(encode(Fetch(3, "echo", b"", 0, 0)) + encode(Info(4, "")))
        busy.turn()
        assert len(mallory.hears().of(Fetched)) == MOST_ASKED
        heard = alice.hears()
        assert (len(heard.of(Fetched)), len(heard.of(Users))) == (1, 1)


def test_no_answer_is_looked_for_that_would_not_be_told(busy, monkeypatch):
    alice = busy.joins("alice")
    monkeypatch.setattr(outgoing, "MOST_REPLIES", 10_000)
    looked = []
    fetch = busy.journal.fetch
    monkeypatch.setattr(busy.journal, "fetch", lambda *asked: looked.append(asked) or fetch(*asked))
    alice.says(encode(Fetch(1, "echo", b"", 0, 30_000)) * MOST_ASKED)
    assert len(looked) == 1
    assert alice.says(Info(2, "")).of(Users)


def test_who_was_told_too_much_in_one_turn_hears_again_in_the_next(busy):
    alice = busy.joins("alice")
    alice.posts(encode(Fetch(1, "echo", alice.epoch("echo"), 0, MAX_FETCH)) * 100)
    alice.posts(Ping(1, 0, 0, ()))
    busy.turn()
    assert not alice.hears().of(Pong)
    assert alice.pings().of(Pong)


def test_who_was_told_too_much_in_one_turn_hears_all_the_same_what_became_of_commands(busy):
    alice = busy.joins("alice")
    alice.posts(encode(Fetch(1, "echo", alice.epoch("echo"), 0, MAX_FETCH)) * 100)
    alice.posts(alice.echo("one"))
    busy.turn()
    assert alice.hears().of(Ack) == [Ack(0, 1, ())]


def test_a_flood_of_messages_does_not_cost_its_recipient_an_answer(world):
    alice, mallory = world.joins("alice"), world.joins("mallory")
    for _ in range(20):
        mallory.posts(*[mallory.send("alice", "x" * 15_000) for _ in range(4)])
    heard = alice.echoes("one")
    assert heard.of(Ack) == [Ack(0, 1, ())]


def test_a_frame_of_more_messages_than_may_be_is_refused_as_a_whole(world):
    alice = world.joins("alice")
    assert alice.says(encode(Echo(1, ("",))) + encode(Bye()) * MAX_MESSAGES).codes == ["bad_frame"]
    assert alice.says(encode(Echo(1, ("",)))).of(Ack) == [Ack(0, 1, ())]


def test_a_turn_is_full_of_outcomes_that_are_to_be_told_again(world, monkeypatch):
    alice = world.joins("alice")
    # Refused and accepted in turns, so that no two refusals share a run.
    alice.says(*[alice.send("nobody", "") if n % 2 else alice.echo("") for n in range(WINDOW)])
    monkeypatch.setattr(core, "ENOUGH_REPLIES", 50_000)
    asks = encode(Ping(1, WINDOW, 0, ()))
    for _ in range(10):
        world.broker.receive(alice.identity, asks)
    assert world.broker.full


def test_a_crowd_that_spells_a_name_in_many_ways_is_one_crowd(world):
    alice = world.joins("alice")
    world.loses(alice)
    spellings = [
        "alice",
        "Alice",
        "aLICE",
        "ALice",
        "alICE",
        "ALICE",
        "aliCE",
        "AlIcE",
        "alicE",
        "ALIce",
    ]
    crowd = [world.connects() for _ in spellings]
    for peer, name in zip(crowd, spellings, strict=True):
        peer.posts(peer.hello(name))
    world.turn()
    refused = [peer for peer in crowd if peer.hears().codes == ["name_taken"]]
    assert len(refused) == len(spellings) - MOST_WAITING_FOR_NAME


def test_an_owner_is_not_refused_because_strangers_wait(world):
    alice = world.joins("alice", exclusive=True)
    alice.reachable = False
    crowd, again = [world.connects() for _ in range(20)], world.connects()
    for peer in crowd:
        peer.posts(peer.hello("alice"))
    again.posts(again.hello("alice", credential=alice.welcome.credential, exclusive=True))
    world.turn()
    world.turn()
    assert again.hears().of(Welcome)


def test_an_owner_waits_although_as_many_strangers_wait_as_may(world, monkeypatch):
    monkeypatch.setattr(door, "MOST_WAITING", 5)
    monkeypatch.setattr(door, "MOST_OWNERS_WAITING", 1)  # Beside those.
    bob, alice = world.joins("bob"), world.joins("alice", exclusive=True)
    alice.reachable = bob.reachable = False
    crowd = [world.connects() for _ in range(6)]
    for peer in crowd:
        peer.posts(peer.hello("bob"))
    world.turn()
    assert [peer.hears().codes for peer in crowd] == [[]] * 5 + [["name_taken"]]
    first, second = world.connects(), world.connects()
    for owner in (first, second):
        owner.posts(owner.hello("alice", credential=alice.welcome.credential, exclusive=True))
    world.turn()
    assert second.hears().codes == ["already_joined"]  # They are bounded, too.
    world.turn()
    assert first.hears().of(Welcome)


def test_a_turn_is_full_when_a_frame_of_empty_texts_was_taken(world):
    alice, broker = world.joins("alice"), world.broker
    texts = ("",) * MAX_TEXTS
    last = (ENOUGH_EVENTS - A_ROUTE) // MAX_TEXTS
    for number in range(last + 1):
        assert not broker.full
        broker.receive(alice.identity, encode(Echo(1 + MAX_TEXTS * number, texts)))
    assert broker.full
    world.turn()
    assert alice.hears().of(Ack)[-1].upto == MAX_TEXTS * (last + 1)
    assert not broker.full


def test_a_turn_is_full_of_messages_to_as_many_users_as_are_a_commit(world):
    alice, broker = world.joins("alice"), world.broker
    many = ENOUGH_EVENTS // A_ROUTE
    for number in range(many):
        world.joins(f"u{number}")
    sent = 0
    while not broker.full:
        broker.receive(alice.identity, encode(alice.send(f"u{sent}", "x")))
        sent += 1
    assert 0.9 * many < sent < many


def test_a_flood_before_hello_gets_one_answer_a_frame(world):
    stranger = world.connects()
    for message in (Info(1, ""), Echo(1, ("",)), Ping(1, 0, 0, ())):
        assert stranger.says(full_of(message)).codes == ["no_session"]


def test_a_flood_of_commands_is_answered_in_a_few_acks(world):
    alice = world.joins("alice")
    heard = alice.says(*[alice.send("nobody", "") for _ in range(1000)])
    assert len(heard) <= 10
    # Of duplicates, all that is known is told again, once.
    alice.says(full_of(Echo(1, ("",))))
    assert told(world, alice) < MAX_FRAME


def test_a_flood_of_gaps_gets_one_answer_a_turn(world):
    alice = world.joins("alice")
    alice.posts(full_of(Echo(9, ("",))))
    alice.posts(full_of(Send(7, "alice", ("",))))
    world.turn()
    assert alice.hears().codes == ["out_of_order"]


def test_a_flood_for_a_name_probes_its_holder_once_a_turn(world):
    alice, mallory = world.joins("alice"), world.connects()
    for number in range(100):
        mallory.posts(mallory.hello("alice", session=number.to_bytes(16, "big")))
    world.turn()
    assert len(alice.hears().of(Pong)) == 1


def test_a_flood_for_a_name_is_no_flood_for_its_holder(world):
    """Turns are as short as what there is to do in them."""
    alice, mallory = world.joins("alice"), world.connects()
    for number in range(1000):
        mallory.posts(mallory.hello("alice", session=number.to_bytes(16, "big")))
        world.passes(0.001)
    assert len(alice.hears().of(Pong)) <= 1 + 1000 * 0.001 / PROBE_HOLDS + 4
    assert "name_taken" in mallory.hears().codes


@pytest.mark.parametrize("name", ["", "mallory"])
def test_one_connection_cannot_take_all_sessions(world_with, name):
    world = world_with(most_sessions=50)
    mallory = world.connects()
    key = b"mallory's secret"
    for number in range(100):
        mallory.posts(
            mallory.hello(name, session=number.to_bytes(16, "big"), credential=key, follows=())
        )
    world.turn()
    assert world.connects().joins("bob").of(Welcome)


def test_one_connection_cannot_make_the_broker_forget_others(world_with):
    world = world_with(most_lapsed=50)
    alice, mallory = world.joins("alice"), world.connects()
    alice.echoes("one")
    world.passes(16.0)
    for number in range(100):
        mallory.posts(mallory.hello("", session=number.to_bytes(16, "big")))
    world.passes(20.0)
    (welcome,) = alice.joins()
    assert (alice.resumed, welcome.cseq) == (True, 1)


def test_only_so_many_wait_for_a_name_and_the_rest_are_refused(world):
    alice = world.joins("alice")
    world.loses(alice)
    crowd = [world.connects() for _ in range(100)]
    for peer in crowd:
        peer.posts(peer.hello("alice"))
    world.turn()
    refused = [peer for peer in crowd if peer.hears().codes == ["name_taken"]]
    assert len(refused) == 100 - MOST_WAITING_FOR_NAME
    assert world.returns(alice).resumed


def test_a_crowd_that_waits_for_a_name_keeps_nobody_from_another(world, monkeypatch):
    monkeypatch.setattr(door, "MOST_WAITING", 2 * MOST_WAITING_FOR_NAME)
    alice, bob = world.joins("alice"), world.joins("bob")
    world.loses(alice)
    world.loses(bob)
    for peer in [world.connects() for _ in range(100)]:
        peer.posts(peer.hello("alice"))
    heir = world.connects()
    heir.posts(heir.hello("bob"))
    world.passes(Settings(1).grace + 1.0)
    assert heir.hears().of(Welcome)


def test_so_many_wait_for_all_names_together(world, monkeypatch):
    monkeypatch.setattr(door, "MOST_WAITING", 1)
    lost = world.joins("alice"), world.joins("bob")
    for peer in lost:
        world.loses(peer)
    first, second = world.connects(), world.connects()
    first.posts(first.hello("alice"))
    second.posts(second.hello("bob"))
    world.turn()
    assert first.hears() == []
    assert second.hears().codes == ["name_taken"]


def test_a_name_is_not_taken_by_asking_often(world):
    alice, mallory = world.joins("alice"), world.connects()
    for _ in range(50):
        mallory.posts(mallory.hello("alice"))
        world.passes(1.0, alive=[alice])
    assert {type(message) for message in mallory.hears()} <= {Refused, Pong}
    assert alice.echoes("still me").of(Ack) == [Ack(0, 1, ())]


# --- what it may not see ------------------------------------------------------------------


@pytest.mark.parametrize("log", ["direct", "@alice", "@alice:", "mallory"])
def test_no_log_but_ones_own_can_be_followed_or_fetched(world, log):
    alice, bob, mallory = world.joins("alice"), world.joins("bob"), world.joins("mallory")
    alice.sends("bob", "secret")
    epochs = [alice.epoch("direct"), bob.epoch("direct"), alice.epoch("echo"), bytes(8)]
    follows = [Follow(log, epoch, Start.AFTER, 0) for epoch in epochs]
    for epoch, follow in zip(epochs, follows, strict=True):
        assert mallory.joins(follows=(follow,)).texts == []
        assert mallory.says(Fetch(1, log, epoch, 0, MAX_FETCH)).codes == ["no_such_log"]
        alice.sends("bob", "another secret")
        assert mallory.hears() == []


def test_a_connection_learns_nothing_of_another_ones_identity_or_secret(world):
    alice, mallory = world.joins("alice"), world.joins("mallory")
    alice.hears()
    world.turn()
    mallory.posts(Info(1, ""), mallory.send("alice", "hi"), *[mallory.hello("alice")] * 2)
    world.turn()
    seen = b"".join(mallory.frames) + b"".join(
        effect.frame for effect in world.effects if effect.frame
    )
    for secret in (alice.identity, alice.session, alice.welcome.credential):
        assert secret not in seen
