"""The edge of the broker, on real sockets in this process."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time

import pytest
import zmq

from chatbroker.broker import core as core_module
from chatbroker.broker import intake as intake_module
from chatbroker.broker import memory as memory_module
from chatbroker.broker import server as server_module
from chatbroker.broker import sockets
from chatbroker.broker.effects import Deliver, Publish
from chatbroker.broker.journal import CannotStore, Commit
from chatbroker.broker.log import Row
from chatbroker.broker.memory import JUMP
from chatbroker.broker.portion import A_FRAME, Portion
from chatbroker.broker.session import State
from chatbroker.broker.sockets import FRAMES_WAITING
from chatbroker.broker.watch import LOOK_EVERY
from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.limits import MAX_FETCH, MAX_FRAME, VERSION, WINDOW
from chatbroker.wire.messages import (
    Ack,
    Batch,
    Echo,
    Error,
    Fetch,
    Fetched,
    Hello,
    Info,
    Notice,
    Ping,
    Pong,
    Refused,
    Users,
    Welcome,
)
from serving import WITHIN


def test_a_conversation(running, peers):
    server = running()
    alice, bob = peers(server), peers(server)
    alice.joins("alice")
    bob.joins("bob")
    alice.says(Echo(1, ("hi",)), Ping(1, 1, 0, ()))
    assert alice.hears(Ack) == Ack(0, 1, ())
    assert alice.hears(Pong).ref == 1
    alice.says(Info(2, ""))
    assert [user.name for user in alice.hears(Users).users] == ["alice", "bob"]


def test_whoever_subscribes_is_greeted_and_hears_only_that_topic(running, peers, context):
    server = running()
    alice = peers(server)
    alice.joins("alice")
    with context.socket(zmq.SUB) as sub:
        sub.setsockopt(zmq.SUBSCRIBE, b"greeting\0")
        sub.setsockopt(zmq.SUBSCRIBE, b"echo\0")
        sub.connect(server.pub_address)
        assert sub.poll(WITHIN * 1000)
        assert sub.recv_multipart() == [b"greeting\0"]
        cseq = 0
        while not sub.poll(20):  # PUB takes the subscription a moment after its greeting.
            cseq += 1
            assert cseq < 500
            alice.says(Echo(cseq, ("hi",)))
        topic, frame = sub.recv_multipart()
        assert topic == b"echo\0"
        (batch,) = Decoder(FROM_BROKER).decode(frame)
        assert batch.events[0].text == "hi"


def test_while_subscribers_keep_the_publisher_others_are_served(running, peers):
    """Also of what is said to everyone: they are told of it, and fetch it."""
    server = running()
    alice, bob = peers(server), peers(server)
    alice.joins("alice")
    readings = {one.log: one for one in bob.joins("bob", ("direct", "echo")).readings}
    busy, over = threading.Event(), threading.Event()

    def turn(poller):
        busy.set()
        over.wait(WITHIN)

    server._publisher._turn = turn
    try:
        assert busy.wait(WITHIN)
        alice.says(Echo(1, ("hi",)), Ping(1, 1, 0, ()))
        assert alice.hears(Ack) == Ack(0, 1, ())
        while True:
            pong = bob.hears(Pong)  # It asked for none.
            if any((head.log, head.position) == ("echo", 1) for head in pong.heads):
                break
        bob.says(Fetch(1, "echo", readings["echo"].epoch, 0, MAX_FETCH))
        assert [event.text for event in bob.hears(Batch).events] == ["hi"]
        assert not alice.heard(Pong)[1:]  # It does not follow the public log.
    finally:
        del server._publisher._turn
        over.set()


def test_many_frames_of_one_turn_and_the_next_are_all_taken(running, peers, monkeypatch):
    monkeypatch.setattr(Portion, "at", lambda self, now: WINDOW // 4 * A_FRAME)
    alice = peers(running())
    alice.joins("alice")
    for cseq in range(1, WINDOW + 1):
        alice.says(Echo(cseq, ("hi",)))
    upto = 0
    while upto < WINDOW:
        ack = alice.hears(Ack)
        assert ack.after == upto
        upto = ack.upto


def test_what_is_said_is_on_its_way_before_acks_are_put_together(running, peers, monkeypatch):
    server = running()
    alice = peers(server)
    alice.joins("alice")
    done, perform, acknowledge = [], server._perform, server._core.acknowledge

    def performs(effects):
        done.extend([type(effect) for effect in effects])
        perform(effects)

    monkeypatch.setattr(server, "_perform", performs)
    monkeypatch.setattr(
        server._core, "acknowledge", lambda: (done.append("acknowledges"), acknowledge())[1]
    )
    alice.says(Echo(1, ("hi",)))
    assert alice.hears(Ack) == Ack(0, 1, ())
    told = done.index(Publish)
    assert done[told : told + 3] == [Publish, "acknowledges", Deliver]


def test_much_that_is_asked_for_at_once_is_answered_in_several_turns(running, peers, monkeypatch):
    """Hundreds of observers that come back at once would have the broker collect hundreds of
    mebibytes in one turn."""
    most = 2 * MAX_FETCH
    monkeypatch.setattr(core_module, "ENOUGH_REPLIES", most)
    server = running()
    alice = peers(server)
    alice.joins("alice")
    for cseq in range(1, 41):
        alice.says(Echo(cseq, ("x" * 16_000,)))
    while alice.hears(Ack).upto < 40:
        pass
    observers = [peers(server) for _ in range(12)]
    epochs = [observer.joins("", follows=("echo",)).readings[0].epoch for observer in observers]

    held, turns = threading.Lock(), []
    begin, drain = server._begin, server._intake.drain

    def begins_when_all_have_asked():
        with held:
            begin()

    def drains(*how):
        drained = drain(*how)
        turns.append((drained, server._core._out.replies))
        return drained

    server._begin, server._intake.drain = begins_when_all_have_asked, drains
    end = time.monotonic() + WITHIN
    while not any(not drained and size > most for drained, size in turns):
        assert time.monotonic() < end, "no turn was ended"
        with held:
            for observer, epoch in zip(observers, epochs, strict=True):
                observer.says(Fetch(1, "echo", epoch, 0, MAX_FETCH))
        for observer in observers:
            observer.hears(Fetched)
            batches = observer.heard(Batch)
            assert [batch.first for batch in batches] == [*range(1, len(batches) + 1)]
            assert sum(len(batch.events[0].text) for batch in batches) > MAX_FETCH - 17_000
    # The last answer that is begun is finished.
    assert max(size for _, size in turns) < most + MAX_FETCH + 1000


def test_who_sent_on_while_nothing_could_be_stored_is_heard_then(running, peers, monkeypatch):
    """What waits then is for the broker to take, and is not held against the client."""
    server = running()
    alice = peers(server)
    alice.joins("alice")
    full = True
    commit = server._journal.commit

    def commits(what):
        if full:
            raise CannotStore("disk full")
        commit(what)

    monkeypatch.setattr(server._journal, "commit", commits)
    for cseq in range(1, 1000, 4):  # All that the window allows.
        alice.says(Echo(cseq, ("x" * (MAX_FRAME // 4 - 20),) * 4))
    known = server._intake._watch._known
    most = (FRAMES_WAITING - 2) * MAX_FRAME
    until(lambda: any(seen.read > most for seen in [*known.values()]))
    full = False
    while alice.hears(Ack).upto < 1000:
        pass
    assert not server.counts.cut_off.total()


def until(condition):
    end = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def test_a_broker_that_cannot_store_sleeps_though_something_waits(running, peers, monkeypatch):
    monkeypatch.setattr(core_module, "RETRY", 0.01)
    server = running()
    alice = peers(server)
    alice.joins("alice")
    commit, turn, look = server._journal.commit, server._turn, server._look
    waits, looks = [], []

    def fails(what):
        raise CannotStore("disk full")

    def turns(ready):
        if server._core.held and server._router.poll(0):
            waits.append(server._router in ready)
        return turn(ready)

    def looks_at_once():
        looks.append(server._core.held)
        return look()

    server._turn, server._look = turns, looks_at_once
    monkeypatch.setattr(server._journal, "commit", fails)
    alice.says(Echo(1, ("stored later",)))
    assert alice.hears(Notice).code == "cannot_store"
    alice.says(Echo(2, ("waits",)))
    until(lambda: len(waits) >= 3)
    monkeypatch.setattr(server._journal, "commit", commit)
    while alice.hears(Ack).upto < 2:
        pass
    assert not any(waits)
    assert not any(looks)


def test_what_a_connection_left_behind_is_not_looked_at(servers, peers, monkeypatch):
    """It comes frame by frame when its sender has gone; nobody would hear an answer."""
    server = servers()
    alice = peers(server)
    looked_at = []
    monkeypatch.setattr(server._core, "receive", lambda identity, *_: looked_at.append(identity))
    alice.says(Info(1, ""), Info(2, ""))
    until(lambda: server._intake.drain() and looked_at)
    server._intake.lost(looked_at[0])
    alice.says(Info(3, ""))
    bob = peers(server)
    bob.says(Info(1, ""))
    until(lambda: server._intake.drain() and len({*looked_at}) == 2)
    for _ in range(20):
        server._intake.drain()
    assert looked_at.count(looked_at[0]) == 1


def test_what_a_connection_left_waiting_is_not_looked_at(servers, peers, monkeypatch):
    """It was taken, and was to be handed on in a later turn."""
    server = servers()
    looked_at = []
    monkeypatch.setattr(server._core, "receive", lambda identity, *_: looked_at.append(identity))
    monkeypatch.setattr(type(server._core), "full", True)
    alice = peers(server)
    alice.says(Info(1, ""))
    waiting = server._intake._waiting
    until(lambda: not server._intake.drain() and waiting)
    (identity,) = waiting
    server._intake.lost(identity)
    monkeypatch.setattr(type(server._core), "full", False)
    bob = peers(server)
    bob.says(Info(1, ""))
    until(lambda: server._intake.drain() and looked_at)
    assert identity not in looked_at


def test_whose_connection_has_ended_is_soon_known_to_be_gone(running, peers):
    """Long before a lease runs out that is as long as it has to be among thousands."""
    server = running(lease=0.5, heartbeat=0.1)
    alice, bob = peers(server), peers(server)
    alice.joins("alice")
    bob.joins("bob")
    users, bound = server._core._registry.users, server._core._door.bound
    until(lambda: all(name in users and users[name].on for name in ("alice", "bob")))
    for session in bound.values():
        session.lease, session.expires = 500.0, 500.0
    alice.socket.close(linger=0)
    until(lambda: not users["alice"].on)
    assert users["bob"].on
    assert bob.serves()


def test_what_a_connection_said_last_counts_though_it_has_ended(servers, peers):
    server = servers()
    alice = peers(server)
    alice.says(Hello(VERSION, "alice", b"session of alice", b"", 1, False, False, b"", ()))
    intake, core = server._intake, server._core
    until(lambda: intake.drain() and core._door.bound)
    ((identity, session),) = core._door.bound.items()
    caller = intake._connections.callers[identity]
    alice.says(Echo(1, ("goodbye",)))
    alice.socket.close(linger=1000)
    until(lambda: not caller.stands)
    now = time.monotonic()
    intake.tidy(now)
    session.expires = 500.0
    intake.tidy(now)
    assert session.expires == 500.0  # What it said may be waiting.
    until(lambda: intake.drain() and session.cseq)
    session.expires = 500.0
    intake.tidy(now + 1)
    assert session.expires <= core.clock.attended + server._config.lease
    assert session.state is State.LIVE
    assert identity not in intake._connections.callers


def test_only_so_many_that_ended_wait_until_all_was_taken(servers, monkeypatch):
    """There may always be more to take: what is kept of them has a bound."""
    monkeypatch.setattr(intake_module, "MOST_GONE", 3)
    server = servers()
    intake, callers = server._intake, server._intake._connections.callers
    gone = [b"\0abc" + bytes([number]) for number in range(5)]
    callers.update(dict.fromkeys(gone, intake_module.GONE))
    monkeypatch.setattr(intake._connections, "tidy", lambda now: gone)
    told = []
    monkeypatch.setattr(server._core, "ended", told.append)
    intake._watch.drained = 0.0
    intake.tidy(time.monotonic())
    assert told == gone[:2]
    assert [*callers] == gone[2:]


def test_so_many_that_are_gone_are_remembered_and_none_with_an_id_of_its_own(servers, monkeypatch):
    monkeypatch.setattr(intake_module, "MOST_GONE", 3)
    server = servers()
    for number in range(10):
        server._intake.lost(b"\0abc" + bytes([number]))
        server._intake.lost(b"own-%d" % number)  # The next one of that name is answered again.
    assert [*server._intake._gone] == [b"\0abc" + bytes([number]) for number in (7, 8, 9)]


def test_all_were_heard_when_there_were_as_many_frames_as_connections(servers):
    server = servers()
    server._descriptors.used = 10
    server._intake._drained = False
    server._intake._heard = 10
    assert not server._intake.all_heard()
    server._intake._heard = 11
    assert server._intake.all_heard()
    assert not server._intake.all_heard()  # Another round begins.
    server._intake.drain(ready=False)
    assert server._intake.all_heard()


def test_silence_counts_only_when_all_were_heard(servers, peers, monkeypatch):
    """What would end it may be waiting."""
    server = servers(lease=0.5, heartbeat=0.1)
    alice = peers(server)
    alice.says(Hello(VERSION, "alice", b"session of alice", b"", 1, False, False, b"", ()))
    bound, now = server._core._door.bound, [time.monotonic()]
    until(lambda: server._turn([server._router]) and bound)
    monkeypatch.setattr(server_module.time, "monotonic", lambda: now[0])

    def is_on_after_turns(all_heard):
        monkeypatch.setattr(server._intake, "all_heard", lambda: all_heard)
        for _ in range(10):
            now[0] += 0.5
            server._turn([])
        return bool(bound)

    assert is_on_after_turns(all_heard=False)
    assert not is_on_after_turns(all_heard=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the watch is Linux's")
def test_growth_that_the_journal_explains_raises_no_alarm(servers, monkeypatch):
    server = servers()
    held = [0]
    monkeypatch.setattr(memory_module, "held_by", lambda statm: held[0])
    row = Row("echo", 0, 1, 1, 0, b"x" * 2 * JUMP)
    now = time.monotonic()
    worked = itertools.count(1000.0, 1000.0)  # Seconds: ZeroMQ's thread is busy.
    monkeypatch.setattr(memory_module.time, "process_time", lambda: next(worked))
    server._intake.watch(now, True)
    server._journal.commit(Commit(rows=[row]))
    held[0] += server._journal.size
    server._intake.watch(now + 1000, True)
    assert server._intake.pause == LOOK_EVERY
    held[0] += 2 * JUMP
    server._intake.watch(now + 2000, True)
    assert server._intake.pause < LOOK_EVERY


def test_a_flood_does_not_keep_the_dead_alive(running, peers, monkeypatch):
    """There is always another frame waiting; and yet each connection has its turn."""
    monkeypatch.setattr(Portion, "at", lambda self, now: 2 * A_FRAME)
    server = running(lease=0.3, heartbeat=0.1)
    alice, mallory = peers(server), peers(server)
    alice.joins("alice")
    mallory.joins("mallory")
    ping = Encoder().encode(Ping(1, 0, 0, ()))
    deadline = time.monotonic() + WITHIN
    users = server._core._registry.users
    while users["alice"].on:
        assert time.monotonic() < deadline, "the dead still hold their names"
        for _ in range(50):
            mallory.socket.send(ping)
        while mallory.socket.poll(0):
            mallory.socket.recv()


@pytest.mark.parametrize(
    "parts",
    [
        [b"", b"body"],
        [b"one", b"two"],
        [b""] * 10,
        [Encoder().encode(Info(1, "")), Encoder().encode(Info(2, ""))],
    ],
    ids=["like a REQ", "two", "ten", "two good ones"],
)
def test_a_message_of_several_parts_is_refused_and_costs_nobody_else(running, peers, parts):
    server = running()
    bad, alice = peers(server), peers(server)
    alice.joins("alice")
    bad.socket.send_multipart(parts)
    error = bad.hears(Error)
    assert (error.code, error.words) == ("bad_frame", "a message is one part")
    assert alice.serves()
    bad.joins("bob")  # Its next message is looked at by itself.


@pytest.mark.parametrize("identity", [b"alice", b"\1own-", b"x", b"longer than five", b"abcde"])
def test_an_own_routing_id_is_refused_and_costs_nobody_else(running, peers, identity):
    server = running()
    bad, alice = peers(server, identity), peers(server)
    alice.joins("alice")
    bad.says(Info(1, ""))
    assert bad.hears(Error).code == "bad_identity"
    assert alice.serves()


def test_the_second_of_two_with_one_routing_id_takes_nothing_from_the_first(running, peers):
    server = running()
    alice = peers(server)
    alice.joins("alice")
    first = peers(server, b"same!")
    first.says(Info(1, ""))
    assert first.hears(Error).code == "bad_identity"
    # Only now, or either may be the first.
    second = peers(server, b"same!")
    second.says(Info(1, ""))
    assert alice.serves()
    first.says(Info(2, ""))
    assert first.hears(Error).code == "bad_identity"


@pytest.mark.parametrize(
    "frame", [b"", b"\xc1", b"hello", os.urandom(1000), b"\x93" * 60_000, b"\x91\x63"]
)
def test_garbage_gets_a_code_and_costs_nobody_else(running, peers, frame):
    server = running()
    bad, alice = peers(server), peers(server)
    alice.joins("alice")
    bad.socket.send(frame)
    assert bad.hears(Error).code in ("bad_frame", "unknown_kind")
    assert alice.serves()


def test_a_frame_that_is_too_long_ends_its_connection_alone(running, peers):
    server = running()
    bad, alice = peers(server), peers(server)
    alice.joins("alice")
    bad.joins("bob")
    bad.socket.send(b"x" * (MAX_FRAME + 1))
    assert alice.serves()


def test_a_full_peer_is_skipped_and_costs_nobody_else(running, peers, monkeypatch):
    """It asks for much and reads nothing."""
    monkeypatch.setitem(sockets.ROUTER_OPTIONS, zmq.LINGER, 0)  # In the end it does not matter.
    server = running()
    greedy = peers(server, RCVHWM=1, RCVBUF=4096)
    alice = peers(server)
    alice.joins("alice")
    for cseq in range(1, 33):
        alice.says(Echo(cseq, ("x" * 16_000,)))
    while alice.hears(Ack).upto < 32:
        pass
    welcome = greedy.joins("greedy", follows=("echo",))
    epoch = welcome.readings[0].epoch
    end = time.monotonic() + WITHIN
    while not server.counts.skipped:
        assert time.monotonic() < end, "nothing was skipped"
        greedy.says(Fetch(1, "echo", epoch, 0, MAX_FETCH))
        assert alice.serves()
    assert alice.serves()
    server.stop()
    server.thread.join(WITHIN)
    assert not server.thread.is_alive()


def test_a_peer_that_is_gone_is_noticed_by_whoever_wants_its_name(running, peers):
    server = running(grace=0.0)
    gone, alice = peers(server), peers(server)
    gone.joins("alice")
    gone.socket.close()
    end = time.monotonic() + WITHIN
    while True:
        assert time.monotonic() < end, "the name was not given"
        alice.says(Hello(VERSION, "alice", b"another session.", b"", 1, False, False, b"", ()))
        try:
            alice.hears(Welcome, within=0.2)
            break
        except AssertionError:
            continue


def test_no_new_sessions_when_descriptors_run_out(running, peers, monkeypatch):
    server = running()
    alice, bob = peers(server), peers(server)
    alice.joins("alice")
    monkeypatch.setattr(server._descriptors, "enough", lambda: False)
    until(lambda: alice.serves() and not server._core._door.accepting)
    bob.says(Hello(VERSION, "bob", b"session of bob..", b"", 1, False, False, b"", ()))
    assert bob.hears(Refused).code == "broker_full"
    assert alice.serves()


def test_a_stall_is_told(servers, caplog, monkeypatch):
    server = servers()
    now = [1000.0]
    monkeypatch.setattr(server_module.time, "monotonic", lambda: now[0])
    server._begin()
    now[0] += 30.0
    server._begin()
    assert "stalled seconds=" in caplog.text


def test_a_clock_that_steps_back_is_told_and_so_is_its_catching_up(servers, caplog, monkeypatch):
    server = servers()
    wall = [1_800_000_000_000]
    monkeypatch.setattr(server_module.time, "time_ns", lambda: wall[0] * 1_000_000)
    server._begin()
    server._tidy()
    wall[0] -= 3_600_000
    for _ in range(3):
        server._begin()
        server._tidy()
    assert caplog.text.count("the system's clock stepped back") == 1
    assert "clock behind=3600 s" in caplog.text
    assert server._core.clock.time == 1_800_000_000_000
    wall[0] += 3_650_000
    server._begin()
    server._tidy()
    assert "messages get the system's time again" in caplog.text
    assert server._core.clock.time == wall[0]
