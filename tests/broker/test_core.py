"""The turn: receive, commit, then tell; and what the broker makes of frames.

Who may join is in test_door.py, who lapses in test_door_leases.py, what they say in
test_core_commands.py, what they read in test_core_reading.py, and what they cannot do to each
other in test_core_hostile.py.
"""

from __future__ import annotations

import pytest
from journals import FullJournal

from chatbroker.broker.effects import Deliver, Note, Publish
from chatbroker.broker.journal import CannotStore, Commit, JournalError
from chatbroker.broker.log import Row
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.wire.codec import Encoder
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import MAX_FRAME, VERSION
from chatbroker.wire.messages import (
    Ack,
    Batch,
    Bye,
    Echo,
    Error,
    Farewell,
    Info,
    Notice,
    Ping,
    Pong,
    Presence,
    Refused,
    Users,
    Welcome,
)


class WatchedJournal(MemoryJournal):
    """Remembers what was asked of it, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[Row]] = []
        self.broken: Exception | None = None

    def commit(self, commit: Commit) -> None:
        if self.broken:
            raise self.broken
        self.commits.append(list(commit.rows))
        super().commit(commit)


@pytest.fixture
def watched(world_with):
    """A world whose journal is watched."""
    return world_with(WatchedJournal())


# --- commit, then tell --------------------------------------------------------------------


def test_when_nothing_is_said_nothing_is_done(watched):
    watched.joins("alice")
    for all_heard in (True, False):
        watched.turn(all_heard=all_heard)
        assert watched.effects == []
    assert watched.journal.commits == []


def test_what_is_said_in_a_turn_is_stored_when_the_turn_ends(watched):
    alice = watched.joins("alice")
    watched.begin()
    watched.broker.receive(alice.identity, Encoder().encode(alice.echo("hello")))
    assert watched.journal.commits == []
    watched.ends_turn()
    assert [row.log for row in watched.journal.commits[0]] == ["echo"]


def test_a_turn_is_committed_once_however_many_speak(watched):
    people = watched.crowd(5)
    watched.journal.commits.clear()
    for peer in people:
        peer.posts(peer.echo("to all"))
        peer.posts(peer.send("user0000", "to one"), peer.echo("to all again"))
    watched.turn()
    assert len(watched.journal.commits) == 1
    logs = [row.log for row in watched.journal.commits[0]]
    assert logs.count("echo") == 1
    assert len(logs) == 1 + len(people)
    assert all(peer.hears().of(Ack) == [Ack(0, 3, ())] for peer in people)


def test_if_the_journal_fails_nobody_hears_of_what_was_said(watched):
    alice, bob = watched.joins("alice"), watched.joins("bob")
    watched.hears(b"presence\0")
    watched.journal.broken = JournalError("corrupt")
    alice.posts(alice.send("bob", "lost"), alice.echo("lost as well"))
    with pytest.raises(JournalError, match="corrupt"):
        watched.turn()
    assert alice.hears() == []
    assert bob.hears() == []
    assert watched.published == []


def full(watched):
    watched.published.clear()
    watched.journal.broken = CannotStore("disk full")


def test_what_happens_while_a_turn_is_held_is_none_of_its(watched):
    """An operator may ban somebody then, and the journal has the turn in its hands."""
    alice = watched.joins("alice")
    watched.joins("bob")
    full(watched)
    alice.posts(alice.send("bob", "later"))
    watched.turn()
    held = watched.broker._unstored.commit
    before = [list(part) for part in held]
    watched.broker.hand.kick("bob", Code.BANNED, "too loud")
    assert [list(part) for part in held] == before
    watched.journal.broken = None
    watched.turn()
    assert alice.hears().of(Ack) == [Ack(0, 1, ())]


def test_what_cannot_be_stored_is_told_to_nobody_until_it_is(watched):
    alice, bob = watched.joins("alice"), watched.joins("bob")
    watched.published.clear()
    full(watched)
    alice.posts(alice.send("bob", "later"), alice.echo("later as well"), Info(1, ""))
    watched.turn()
    assert watched.broker.held
    assert alice.hears().codes == bob.hears().codes == ["cannot_store"]
    assert watched.published == []
    watched.journal.broken = None
    watched.turn()
    assert not watched.broker.held
    heard = alice.hears()
    assert heard.of(Ack) == [Ack(0, 2, ())]
    assert heard.of(Users)
    assert heard.codes == ["storing"]
    assert bob.hears().texts == ["later"]
    assert watched.hears(b"echo\0").texts == ["later as well"]
    assert [len(rows) for rows in watched.journal.commits] == [3]


def test_who_is_expelled_while_nothing_can_be_stored_is_out_at_once(watched):
    alice, bob = watched.joins("alice"), watched.joins("bob")
    full(watched)
    alice.posts(alice.send("bob", "hi"))
    watched.turn()
    assert watched.broker.held
    assert watched.broker.hand.expel([bob.identity], Code.NOT_ALLOWED, "out") == 1
    assert watched.broker.hand.survey().on == 1
    bob.hears()
    for _ in range(5):  # Until everyone is told again.
        watched.turn(1)
    assert alice.hears().codes == ["cannot_store"] * 2
    assert bob.hears() == []
    watched.journal.broken = None
    watched.turn()
    watched.turn()
    assert alice.hears().of(Ack) == [Ack(0, 1, ())]
    assert bob.hears().of(Farewell) == [Farewell("not_allowed", "out")]
    assert alice.sends("bob", "again").of(Ack)[0].refused[0].code == "no_such_user"


def test_what_is_done_while_a_turn_is_held_is_not_told_with_it(watched):
    """It is stored with the next one, which may have to wait as well."""
    alice, bob = watched.joins("alice"), watched.joins("bob")
    full(watched)
    alice.posts(alice.echo("hi"))
    watched.turn()
    assert watched.broker.hand.expel([bob.identity], Code.NOT_ALLOWED, "out") == 1
    bob.hears()
    watched.journal.broken = None
    watched.turn()
    assert bob.hears() == []
    full(watched)
    alice.posts(alice.echo("again"))
    watched.turn()
    assert watched.broker.held
    assert bob.hears() == []
    watched.journal.broken = None
    watched.turn()
    assert bob.hears() == [Farewell("not_allowed", "out")]


def test_nobody_is_acknowledged_what_is_not_stored_yet(watched):
    alice = watched.joins("alice")
    alice.posts(alice.echo("hi"))
    watched.begin()
    watched.receive()
    assert watched.broker.acknowledge() == []
    watched.ends_turn()
    assert alice.hears().of(Ack) == [Ack(0, 1, ())]
    assert watched.broker.acknowledge() == []


def test_while_nothing_can_be_stored_everyone_is_told_now_and_then(watched):
    alice = watched.joins("alice")
    full(watched)
    alice.posts(alice.echo("later"))
    watched.turn()
    told = alice.hears().of(Notice)
    for _ in range(40):
        watched.turn(after=0.5)
    told += alice.hears().of(Notice)
    assert 4 <= len(told) <= 7
    assert {notice.words for notice in told} == {
        "the broker cannot store messages (disk full); what is sent waits"
    }


def test_nobody_lapses_while_nothing_can_be_stored(watched):
    alice = watched.joins("alice")
    full(watched)
    alice.posts(alice.echo("later"))
    for _ in range(100):
        watched.turn(after=1.0)
    watched.journal.broken = None
    watched.turn()
    assert Ack(0, 1, ()) in alice.hears()


def test_while_nothing_can_be_stored_nobody_is_heard_in_vain(watched):
    """What a turn that waits has to tell comes behind the word that it can be stored again."""
    alice = watched.joins("alice")
    full(watched)
    newcomer, stranger = watched.connects(), watched.connects()
    newcomer.posts(newcomer.hello("carol"))
    alice.posts(alice.echo("later"), Ping(1, 1, 0, ()))
    stranger.posts(Info(1, ""))
    watched.turn()
    assert alice.hears().codes == newcomer.hears().codes == ["cannot_store"]
    assert stranger.hears() == []
    watched.journal.broken = None
    watched.turn()
    assert [type(message) for message in alice.hears()] == [Notice, Pong, Ack]
    assert [type(message) for message in newcomer.hears()] == [Notice, Welcome]
    assert stranger.hears().codes == ["no_session"]


def test_who_leaves_in_a_turn_that_waits_hears_so_when_it_is_stored(watched):
    alice, bob = watched.joins("alice"), watched.joins("bob")
    full(watched)
    bob.posts(bob.echo("later"))
    alice.posts(Bye())
    watched.turn()
    assert alice.hears() == []
    watched.journal.broken = None
    watched.turn()
    assert alice.hears().codes == ["left"]
    assert ("left", {"user": "alice"}) in watched.notes


def test_who_is_lost_while_nothing_can_be_stored_is_gone_after_it(watched):
    alice, bob = watched.joins("alice"), watched.joins("bob")
    full(watched)
    bob.posts(bob.echo("later"))
    watched.turn()
    alice.reachable = False
    for _ in range(10):
        watched.turn(after=1.0)
    watched.journal.broken = None
    watched.turn()
    watched.turn(after=0.5)
    assert [user.name for user in bob.says(Info(1, ""))[-1].users] == ["bob"]


def test_a_name_is_released_while_nothing_can_be_stored(watched):
    alice, bob = watched.joins("alice"), watched.joins("bob")
    full(watched)
    bob.posts(bob.send("alice", "later"))
    watched.turn()
    alice.hears()
    assert watched.broker.hand.release("alice")
    watched.turn()
    assert alice.hears() == []
    watched.journal.broken = None
    watched.turn()
    watched.turn()
    assert alice.hears().codes == ["kicked"]
    assert bob.hears().of(Ack) == [Ack(0, 1, ())]
    assert watched.joins("alice").welcome.readings[1].head == 0


def test_another_reason_is_told_at_once_and_in_the_log(watched):
    alice = watched.joins("alice")
    full(watched)
    alice.posts(alice.echo("later"))
    watched.turn()
    watched.journal.broken = CannotStore("locked by another process")
    watched.turn()
    assert ["disk full" in n.words for n in alice.hears().of(Notice)] == [True, False]
    assert [fields for what, fields in watched.notes if what == "cannot_store"] == [
        {"because": "disk full"},
        {"because": "locked by another process"},
    ]
    watched.journal.broken = None
    watched.turn()
    assert ("storing_again", {}) in watched.notes


@pytest.mark.parametrize("why", ["x" * 5000, "\N{GRINNING FACE}" * 1000, "a/\udcff/b"])
def test_a_reason_of_any_length_fits_what_clients_take(watched, why):
    alice = watched.joins("alice")
    watched.journal.broken = CannotStore(why)
    alice.posts(alice.echo("later"))
    watched.turn()
    assert alice.hears().codes == ["cannot_store"]


def test_what_cannot_be_tidied_waits(watched):
    class Untidy:
        def __init__(self) -> None:
            self.times = []
            full, another = "disk full", "another"
            self.answers = [True, False, True, full, False, full, another, True, another, another]

        def __call__(self, time):
            self.times.append(time)
            answer = self.answers.pop(0)
            if isinstance(answer, str):
                raise CannotStore(answer)
            return answer

    watched.journal.tidy = untidy = Untidy()
    idle = watched.broker.pause
    watched.turn()
    for pause in (0.0, idle, 0.0, idle, idle, idle, idle, 0.0, idle):
        watched.tidies()
        assert watched.broker.pause == pause
    assert untidy.times == [watched.wall] * 9
    watched.passes(11.0)
    watched.tidies()
    # Once for each reason, and again if there was none for a while.
    told = [note["because"] for what, note in watched.notes if what == "cannot_tidy"]
    assert told == ["disk full", "another", "another"]


def test_what_could_not_be_tidied_is_no_news_when_it_can_be_stored_again(watched):
    def tidy(time):
        raise CannotStore("disk full")

    alice = watched.joins("alice")
    watched.notes.clear()
    watched.journal.tidy = tidy
    watched.tidies()
    full(watched)
    alice.echoes("later")
    watched.journal.broken = None
    watched.turn()
    told = [what for what, _ in watched.notes]
    assert told == ["cannot_tidy", "cannot_store", "storing_again"]


def test_nothing_is_tidied_while_nothing_can_be_stored(watched):
    tidied = []
    watched.journal.tidy = tidied.append
    alice = watched.joins("alice")
    full(watched)
    alice.posts(alice.echo("later"))
    watched.turn()
    watched.broker.tidy()
    assert tidied == []
    watched.journal.broken = None
    watched.turn()
    watched.broker.tidy()
    assert tidied == [watched.wall]


def test_a_broker_that_stops_while_nothing_can_be_stored_acknowledges_nothing(watched):
    alice = watched.joins("alice")
    full(watched)
    alice.posts(alice.echo("lost"))
    watched.turn()
    alice.hears()
    watched.shuts_down()
    heard = alice.hears()
    assert heard.of(Ack) == []
    assert heard.of(Farewell)


def test_a_journal_that_is_broken_ends_the_turn(watched):
    alice = watched.joins("alice")
    watched.journal.broken = JournalError("corrupt")
    alice.posts(alice.echo("lost"))
    with pytest.raises(JournalError, match="corrupt"):
        watched.turn()
    assert alice.hears() == []


def test_both_mailboxes_of_a_message_are_in_one_commit(watched):
    alice = watched.joins("alice")
    watched.joins("bob")
    alice.sends("bob", "hello")
    (commit,) = watched.journal.commits
    assert len({row.log for row in commit}) == 2
    assert len({row.body for row in commit}) == 1


def test_everyone_hears_before_the_speaker_is_told_that_they_do(world):
    alice = world.joins("alice")
    alice.echoes("hello")
    assert [type(effect) for effect in world.effects] == [Publish, Deliver]


def test_a_refused_command_needs_no_journal(watched):
    alice = watched.joins("alice")
    watched.journal.broken = JournalError("corrupt")
    assert alice.sends("nobody", "hello").codes == ["no_such_user"]


# --- frames -------------------------------------------------------------------------------


def test_a_turn_is_answered_in_one_frame_and_complaints_in_another_behind_it(world):
    alice = world.joins("alice")
    note, gap = alice.send("alice", "note to self"), Echo(99, ("a gap",))
    alice.posts(note, Ping(1, 1, 0, ()), gap, Info(2, ""), alice.echo("to all"))
    alice.posts(Info(3, ""))
    world.turn()
    told = [list(map(type, world.decoder.decode(frame))) for frame in alice.frames]
    assert told == [[Pong, Users, Users, Batch, Ack], [Error]]
    heard = alice.hears()
    assert heard.of(Ack) == [Ack(0, 2, ())]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "bad_frame"),
        (b"\xc1", "bad_frame"),
        (b"GET / HTTP/1.1\r\n\r\n", "bad_frame"),
        (b"\x93\x03\x01", "bad_frame"),
        (b"\0" * (MAX_FRAME + 1), "bad_frame"),
        (b"\x91\x0f", "unknown_kind"),
    ],
)
def test_a_bad_frame_gets_a_coded_answer_and_changes_nothing(world, frame, code):
    alice = world.joins("alice")
    stranger = world.connects()
    for peer in (alice, stranger):
        (error,) = peer.says(frame)
        assert (type(error), error.code, error.ref) == (Error, code, 0)
    assert alice.echoes("still here").of(Ack) == [Ack(0, 1, ())]


def test_nothing_of_a_bad_frame_is_carried_out(world):
    alice = world.joins("alice")
    assert alice.says(alice.echo("one"), b"\xc1").codes == ["bad_frame"]
    assert world.hears(b"echo\0") == []
    assert alice.pings().codes == ["out_of_order"]


@pytest.mark.parametrize(
    ("version", "words"),
    [(VERSION - 1, "upgrade your client"), (VERSION + 1, "upgrade the broker")],
)
def test_another_version_is_refused_in_words_that_say_which_side_to_upgrade(world, version, words):
    stranger = world.connects()
    (refused,) = stranger.says(stranger.hello("alice")._replace(version=version))
    assert type(refused) is Refused
    assert refused.code == "version"
    assert words in refused.words
    assert stranger.says(Info(1, "")).codes == ["no_session"]


def test_who_has_not_said_hello_is_told_so_once_a_frame(world):
    stranger = world.connects()
    frame = (stranger.echo("one"), stranger.send("bob", "two"), Ping(1, 2, 0, ()), Info(1, ""))
    assert stranger.says(*frame) == [Error("no_session", "say HELLO first", 0)]
    stranger.posts(*frame)
    stranger.posts(*frame)
    world.turn()
    assert stranger.hears().codes == ["no_session", "no_session"]


def test_hello_and_commands_may_share_a_frame(world):
    alice = world.connects()
    heard = alice.says(alice.hello("alice"), alice.echo("one"), alice.echo("two"))
    assert [type(message) for message in heard] == [Welcome, Ack]
    assert heard.of(Ack) == [Ack(0, 2, ())]


def test_what_follows_a_goodbye_in_a_frame_has_no_session(world):
    alice = world.joins("alice")
    heard = alice.says(Bye(), alice.echo("one"), alice.echo("two"))
    assert heard.codes == ["left", "no_session"]
    assert world.hears(b"echo\0") == []


def test_the_edge_may_reject_what_is_no_frame_at_all(world):
    alice = world.joins("alice")
    world.begin()
    world.broker.reject(alice.identity, Code.BAD_FRAME, "a message is one part")
    world.ends_turn()
    assert alice.hears() == [Error("bad_frame", "a message is one part", 0)]


# --- time ---------------------------------------------------------------------------------


def stamps(world) -> list[int]:
    return [event.time for batch in world.hears(b"echo\0") for event in batch.events]


def test_an_event_is_stamped_with_the_time_of_its_turn(world):
    alice = world.joins("alice")
    alice.says(alice.echo("one"), alice.echo("two"))
    assert stamps(world) == [world.wall, world.wall]


def test_when_the_wall_clock_steps_back_the_stamps_do_not(world):
    alice = world.joins("alice")
    alice.echoes("before")
    latest = world.wall
    world.wall -= 3_600_000
    alice.echoes("after")
    bob = world.joins("bob")
    assert stamps(world) == [latest, latest]
    assert {user.since for user in bob.says(Info(1, ""))[0].users} == {latest - 10, latest}
    world.wall = latest + 5000
    alice.echoes("later")
    assert stamps(world) == [latest + 5010]


def test_a_stall_is_reported_to_who_begins_the_turn(world):
    assert world.broker.begin(1000.0, 0) == 0
    assert world.broker.begin(1000.5, 0) == 0
    assert world.broker.begin(1031.5, 0) == pytest.approx(30.0)
    assert world.broker.begin(1000.0, 0) == 0


def test_the_next_turn_is_sooner_while_somebody_waits_for_a_name(world):
    world.joins("alice")
    idle = world.broker.pause
    world.connects().joins("alice")
    assert 0 < world.broker.pause < idle <= 1.0
    world.turn()
    assert world.broker.pause == idle


# --- stopping -----------------------------------------------------------------------------


def test_at_the_end_everyone_is_acknowledged_and_then_told_goodbye(watched):
    alice, bob, observer = watched.joins("alice"), watched.joins("bob"), watched.joins("")
    alice.posts(alice.send("bob", "last words"))
    watched.begin()
    watched.receive()
    watched.shuts_down()
    goodbye = Farewell("shutting_down", "the broker is shutting down")
    assert [type(message) for message in alice.hears()] == [Batch, Ack, Farewell]
    heard = bob.hears()
    assert heard.texts == ["last words"]
    assert heard[-1] == goodbye
    assert observer.hears() == [goodbye]
    assert len(watched.journal.commits) == 1


def test_at_the_end_nobody_is_acknowledged_what_could_not_be_stored(watched):
    """Not even who was sent away meanwhile, and hears before that what became of all."""
    alice, bob = watched.joins("alice"), watched.joins("bob")
    full(watched)
    alice.posts(alice.echo("never stored"))
    watched.turn()
    watched.broker.hand.kick("alice", Code.BANNED, "too loud")
    alice.hears()
    watched.begin()
    watched.shuts_down()
    assert alice.hears() == []
    assert bob.hears().codes == ["cannot_store", "shutting_down"]


def test_what_waited_to_be_stored_is_acknowledged_at_the_end_if_it_can_be_stored(world_with):
    world = world_with(FullJournal())
    alice = world.joins("alice")
    world.journal.full = True
    assert alice.says(Echo(1, ("waits",))).codes == ["cannot_store"]
    world.journal.full = False
    world.perform(world.broker.shutdown())
    heard = alice.hears()
    assert heard.of(Ack) == [Ack(0, 1)]
    assert heard.codes == ["storing", "shutting_down"]


def test_at_the_end_who_is_not_there_is_told_nothing(world):
    alice, bob = world.joins("alice"), world.joins("bob")
    world.loses(alice)
    bob.says(Bye())
    world.begin()
    effects = world.broker.shutdown()
    assert [effect for effect in effects if type(effect) is Deliver] == []


def test_if_the_journal_fails_at_the_end_nobody_is_acknowledged(watched):
    alice = watched.joins("alice")
    alice.posts(alice.echo("lost"))
    watched.begin()
    watched.receive()
    watched.journal.broken = JournalError("corrupt")
    with pytest.raises(JournalError, match="corrupt"):
        watched.broker.shutdown()
    assert alice.hears() == []


def test_what_is_too_old_is_reckoned_by_a_clock_that_was_not_just_set(watched, monkeypatch):
    times = []
    monkeypatch.setattr(watched.journal, "tidy", lambda time: times.append(time) and False)
    watched.turn()
    watched.broker.tidy()
    watched.wall += 30 * 86_400_000
    watched.turn()
    watched.broker.tidy()
    first, second = times
    assert 0 <= second - first < 1000


# --- what goes into the broker's own log --------------------------------------------------


def test_the_brokers_log_says_who_came_and_left_and_no_text(world):
    alice = world.joins("alice")
    alice.echoes("a secret")
    alice.sends("alice", "a secret")
    alice.says(Bye())
    assert world.notes == [("joined", {"user": "alice"}), ("left", {"user": "alice"})]


def test_everyone_is_told_who_came_and_left(world):
    alice = world.joins("alice")
    joined = world.wall
    alice.says(Bye())
    presence = world.hears(b"presence\0")
    assert presence == [Presence(True, "alice", joined), Presence(False, "alice", world.wall)]
    assert Note("left", {"user": "alice"}) in world.effects
