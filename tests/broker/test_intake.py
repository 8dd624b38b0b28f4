"""What comes in, on real sockets: whose it is, in a secure broker."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import zmq
from intakes import ALICE, BOB, A, B, Heard, Queue, Said, reused_descriptor, secure_server, waiting

from chatbroker.broker import intake as intake_module
from chatbroker.broker.intake import GOODBYE, MOST_SECONDS, SLICE
from chatbroker.broker.portion import A_FRAME, LEAST
from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import VERSION
from chatbroker.wire.messages import Echo, Farewell, Hello, Info, Welcome

WITHIN = 15.0


@pytest.fixture
def server():
    with secure_server() as server:
        yield server


@pytest.fixture
def reused():
    with reused_descriptor() as descriptor:
        yield descriptor


@pytest.fixture
def running(server):
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server
    server.stop()
    thread.join(WITHIN)


@pytest.fixture
def connect(server, context):
    def make(keys, kind=zmq.DEALER, identity=b""):
        sock = context.socket(kind)
        sock.setsockopt(zmq.CURVE_SERVERKEY, server._secure.keys.public)
        sock.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        sock.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        if identity:
            sock.setsockopt(zmq.ROUTING_ID, identity)
        if kind == zmq.SUB:
            sock.subscribe(b"greeting\0")
        sock.connect(server.address if kind == zmq.DEALER else server.pub_address)
        return sock

    return make


def hello(name):
    return Encoder().encode(
        Hello(VERSION, name, name.encode().ljust(16, b"-"), b"", 1, False, False, b"", ())
    )


def hears(sock, kind):
    decode = Decoder(FROM_BROKER).decode
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        if sock.poll(100):
            for message in decode(sock.recv()):
                if type(message) is kind:
                    return message
    pytest.fail(f"no {kind.__name__} came")


def test_each_connection_has_the_origin_of_its_key(running, connect):
    for name, keys in (("alice", ALICE), ("bob", BOB)):
        sock = connect(keys)
        sock.send(hello(name))
        assert hears(sock, Welcome).name == name
    until = time.monotonic() + WITHIN
    # For a moment one is taken out, to see whether it stands.
    while len(met := [*running._intake._connections.callers.values()]) < 2:
        assert time.monotonic() < until
    origins = {caller.origin.name: caller.origin for caller in met}
    assert {name: o.key for name, o in origins.items()} == {
        "alice": ALICE.public,
        "bob": BOB.public,
    }
    assert {o.address for o in origins.values()} == {"127.0.0.1"}


def test_a_connection_may_be_quiet_for_four_of_the_longest_leases_that_sessions_have(server):
    heartbeats = server._core._door._heartbeats
    for longest, quiet in ((15.0, 60.0), (135.0, 540.0), (15.0, 60.0)):
        heartbeats.longest = longest
        server._intake.watch(time.monotonic(), True)
        assert server._intake._watch.quiet == quiet


def reachable(server, identity):
    try:
        server._router.send_multipart([identity, b""], zmq.NOBLOCK)
    except zmq.ZMQError as error:
        return error.errno != zmq.EHOSTUNREACH  # Not so where there only is no room.
    return True


def test_a_frame_under_anothers_routing_id_is_not_anothers(server, connect, monkeypatch):
    """libzmq lets a peer plant an id.  With a key of its own it still speaks for itself."""
    said = []
    monkeypatch.setattr(
        server._core, "receive", lambda identity, frame, origin: said.append(origin.name)
    )
    lost = []
    monkeypatch.setattr(server._core, "lost", lost.append)
    alice = connect(ALICE, identity=b"planted")
    alice.send(b"one")
    end = time.monotonic() + WITHIN
    monkeypatch.setattr(intake_module, "is_own", lambda identity: False)
    while len(said) < 1 and time.monotonic() < end:
        server._gate.hear()
        server._intake.drain()
    alice.close()
    # Until it is gone, the second of a routing id gets no answer at all.
    while reachable(server, b"planted"):
        assert time.monotonic() < end
        server._router.poll(10)
    # It may be on its way out still; then this one gets no answer ever, and another is to try.
    while len(said) < 2:
        assert time.monotonic() < end
        bob = connect(BOB, identity=b"planted")
        bob.send(b"two")
        another = time.monotonic() + 1.0
        while len(said) < 2 and time.monotonic() < another:
            server._gate.hear()
            server._intake.drain()
            server._router.poll(10)
        bob.close(linger=0)
    assert said == ["alice", "bob"]
    assert lost == [b"planted"]


@pytest.mark.parametrize("first", ["bob", "alice"])
def test_a_frame_of_a_connection_that_is_gone_is_not_of_who_has_its_descriptor(
    server, monkeypatch, reused, first
):
    """Nor is what that one says of the former: whichever comes first."""
    said = []
    monkeypatch.setattr(
        server._core, "receive", lambda identity, frame, origin: said.append((frame, origin.name))
    )
    who = {"alice": (b"\0aaaa", ALICE), "bob": (b"\0bbbb", BOB)}
    order = [first, *who.keys() - {first}] * 2
    frames = []
    for name in order:
        identity, keys = who[name]
        frames += [identity, Said(keys, reused, name.encode())]
    monkeypatch.setattr(server._intake, "_router", Queue(frames))
    assert server._intake.drain()
    assert sorted(said) == sorted([(name.encode(), name) for name in order])


@pytest.mark.parametrize("keys", [ALICE, BOB], ids=["alice", "bob"])
def test_a_subscription_of_a_connection_that_is_gone_is_not_of_who_has_its_descriptor(
    server, monkeypatch, reused, keys
):
    """So the key of who came last is found when it is taken back."""
    former = BOB if keys is ALICE else ALICE
    frames = [Said(one, reused, b"\1greeting\0") for one in (former, keys)]
    monkeypatch.setattr(server._publisher, "take", lambda: frames)
    server._intake.hear_subscribers()
    connections = server._intake._connections
    assert list(connections.subscribers_of([keys.public])) == [reused]
    assert not connections.subscribers_of([former.public])


def test_who_subscribes_lacks_nothing_of_what_was_published_before(server, monkeypatch, reused):
    """Nor does who has the descriptor of one that is gone."""
    subscribers = server._intake._connections.subscribers
    for keys, published in ((ALICE, 1000), (BOB, 3000)):
        server._intake.slow.published = published
        frames = [Said(keys, reused, b"\1greeting\0")]
        monkeypatch.setattr(server._publisher, "take", frames.copy)
        server._intake.hear_subscribers()
        assert subscribers[reused].given == published
    server._intake.slow.published = 5000
    server._intake.hear_subscribers()
    assert subscribers[reused].given == 3000


def test_who_subscribes_when_the_key_was_taken_back_hears_no_more(server, monkeypatch):
    """It was admitted at the handshake, and nobody knew the connection when the key went."""
    ends = socket.socketpair()
    ends[1].settimeout(WITHIN)
    frames = [Said(ALICE, ends[0].fileno(), b"\1echo\0")]
    monkeypatch.setattr(server._publisher, "take", lambda: frames)
    keys = server._core._members.revoke("alice")
    assert server._intake.part_with(keys) == []
    server._intake.hear_subscribers()
    assert ends[1].recv(1) == b""
    assert server._intake.connected == (0, 0)
    for end in ends:
        end.close()


def test_who_speaks_first_when_the_key_was_taken_back_is_told_so_and_goes(server, monkeypatch):
    heard = Heard(server, monkeypatch)
    ends = socket.socketpair()
    ends[1].settimeout(WITHIN)
    waiting(server, monkeypatch, ends[0].fileno(), ("alice", A, b"1"))
    server._core._members.revoke("alice")
    server._intake.drain()
    ((code, words),) = heard.alone
    assert code == Code.NOT_ALLOWED
    assert "admitted no more" in words
    server._intake.tidy(time.monotonic() + GOODBYE)
    assert ends[1].recv(1) == b""
    for end in ends:
        end.close()


def test_what_a_dismissed_key_says_is_not_heard_and_its_connections_end(
    running, connect, monkeypatch
):
    alice, listener, bob = connect(ALICE), connect(ALICE, zmq.SUB), connect(BOB)
    alice.send(hello("alice"))
    hears(alice, Welcome)
    bob.send(hello("bob"))
    hears(bob, Welcome)
    assert listener.poll(WITHIN * 1000)
    gone = [s.get_monitor_socket(zmq.EVENT_DISCONNECTED) for s in (alice, listener)]
    heard = []
    receive = running._core.receive

    def watched(identity, frame, origin):
        heard.append(origin.name)
        receive(identity, frame, origin)

    monkeypatch.setattr(running._core, "receive", watched)
    begin = running._begin

    def revoked():
        monkeypatch.setattr(running, "_begin", begin)
        begin()
        keys = running._core._members.revoke("alice")
        parted = running._intake.part_with(keys)
        running._core.hand.expel(parted, Code.NOT_ALLOWED, "no more")
        alice.send(Encoder().encode(Echo(1, ("too late",))))

    monkeypatch.setattr(running, "_begin", revoked)
    bob.send(Encoder().encode(Info(1, "")))
    assert hears(alice, Farewell).code == "not_allowed"
    for monitor in gone:
        assert monitor.poll(WITHIN * 1000)
    for sock in (alice, listener):
        sock.disable_monitor()
    assert "alice" not in heard
    assert running._core._echo.head == 0


# --- what one connection said is taken in together ------------------------------------------


def test_what_connections_said_in_turn_is_taken_in_by_connection(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch)
    said = [("alice", A, b"1"), ("bob", B, b"x"), ("alice", A, b"2")]
    waiting(server, monkeypatch, reused, *said)
    assert server._intake.drain()
    assert heard.together == [("alice", [b"1", b"2"])]
    assert heard.alone == [("bob", b"x")]


def test_what_cannot_be_taken_in_together_is_taken_one_by_one(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch, together=False)
    waiting(server, monkeypatch, reused, *[("alice", A, b"%d" % n) for n in range(5)])
    assert server._intake.drain()
    assert heard.alone == [("alice", b"%d" % n) for n in range(5)]


def test_commands_that_are_too_many_for_a_turn_go_on_in_the_next(server, monkeypatch, reused):
    """As each may be to somebody else."""
    heard = Heard(server, monkeypatch)
    heard.most = 2
    waiting(server, monkeypatch, reused, *[("alice", A, b"%d" % n) for n in range(5)])
    assert not server._intake.drain()
    server._intake._router.add(A, Said(ALICE, reused, b"5"), B, Said(BOB, reused, b"x"))
    while server._intake._waiting:
        heard.full = False
        server._intake.drain()
    assert [frames for _, frames in heard.together] == [[b"0", b"1"], [b"2", b"3"], [b"4"]]
    assert heard.bytes == [5, 0, 0]  # Each is paid for once.
    assert heard.alone == [("bob", b"x"), ("alice", b"5")]


def test_what_is_left_of_many_commands_counts_for_its_part(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch)
    heard.most = 25
    waiting(server, monkeypatch, reused, *[("alice", A, b"x")] * 100)
    server._intake.drain()
    assert server._intake._waiting.size == 75 * A_FRAME
    server._intake._router.add(A, Said(ALICE, reused, bytes(1000)))
    heard.full, heard.most = False, 15
    server._intake.drain()
    assert server._intake._waiting.size == 60 * A_FRAME + 1000


def test_who_was_heard_in_the_last_turn_and_has_more_comes_after_the_others(
    server, monkeypatch, reused
):
    heard = Heard(server, monkeypatch, together=False)
    heard.enough = 1  # So that there is one frame in a turn.
    waiting(server, monkeypatch, reused, *[("alice", A, b"%d" % n) for n in range(4)])
    server._intake.drain()
    server._intake._router.add(B, Said(BOB, reused, b"a"), B, Said(BOB, reused, b"b"))
    while server._intake._waiting:
        heard.full = False
        server._intake.drain()
    assert [name for name, _ in heard.alone] == ["alice", "bob", "alice", "bob", "alice", "alice"]


def test_who_leaves_is_heard_before_who_comes_whatever_the_order_that_they_are_taken_in(
    server, monkeypatch, reused
):
    """Or mail that the one was shown is unread, and shown to the other again."""
    heard = Heard(server, monkeypatch, together=False)
    heard.enough = 1  # So that some is left for the next turn.
    monkeypatch.setattr(server._core, "expects", {B}.__contains__)
    waiting(server, monkeypatch, reused, ("alice", A, b"HELLO"), ("bob", B, b"BYE"))
    server._intake.drain()
    assert heard.alone == [("bob", b"BYE")]
    # Who came then is not put off again.
    server._intake._router.add(B, Said(BOB, reused, b"more"))
    heard.full = False
    server._intake.drain()
    assert heard.alone[1:] == [("alice", b"HELLO")]


def test_what_is_more_than_a_turns_worth_waits_for_the_next(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch, together=False)
    waiting(server, monkeypatch, reused, *[("alice", A, b"%d" % n) for n in range(3)])
    heard.enough = 1
    for number in range(3):
        heard.full = False
        assert server._intake.drain() is (number == 2)
        assert heard.alone == [("alice", b"%d" % n) for n in range(number + 1)]


def test_nothing_is_handed_on_while_the_core_has_enough_to_do(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch, full=True)
    waiting(server, monkeypatch, reused, ("alice", A, b"1"), ("bob", B, b"2"))
    assert not server._intake.drain()
    assert heard.alone == []
    heard.full = False
    assert server._intake.drain()
    assert heard.alone == [("alice", b"1"), ("bob", b"2")]


LITTLE = -(-LEAST // (A_FRAME + 1))
"""How many frames of a byte are the least that is taken at once."""


def test_no_more_is_taken_at_once_than_a_portion(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch)
    waiting(server, monkeypatch, reused, *[("alice", A, b"x")] * (2 * LITTLE + 1))
    monkeypatch.setattr(server._intake._portion, "at", lambda now: LEAST)
    assert not server._intake.drain()
    assert not server._intake.drain()
    assert server._intake.drain()
    assert [len(frames) for _, frames in heard.together] == [LITTLE, LITTLE]
    assert len(heard.alone) == 1


@pytest.fixture
def at_a_time(monkeypatch):
    """A clock for the intake that only goes on when a frame is heard: by *seconds* for each."""

    def begin(heard, seconds):
        now = [time.monotonic()]
        receive = heard._receive

        def slow(identity, frame, origin):
            now[0] += seconds
            receive(identity, frame, origin)

        heard.clock = now
        monkeypatch.setattr(intake_module.time, "monotonic", lambda: now[0])
        return slow

    return begin


def test_who_has_said_much_does_not_keep_others_from_being_heard(
    server, monkeypatch, reused, at_a_time
):
    """What was left over of the turn before waits, and so do those who come meanwhile: each is
    heard for a moment in its turn."""
    heard = Heard(server, monkeypatch, together=False)
    monkeypatch.setattr(server._core, "receive", at_a_time(heard, SLICE))
    waiting(server, monkeypatch, reused, *[("alice", A, b"%d" % n) for n in range(40)])
    assert not server._intake.drain()
    first = len(heard.alone)
    assert 0 < first < 40
    server._intake._router.add(B, Said(BOB, reused, b"hi"))
    while ("bob", b"hi") not in heard.alone:
        assert not server._intake.drain()
    assert len(heard.alone) <= first + 4
    while server._intake._waiting:
        server._intake.drain()
    assert [frame for name, frame in heard.alone if name == "alice"] == [
        b"%d" % n for n in range(40)
    ]


def test_who_was_not_heard_when_a_turns_time_was_over_is_heard_in_the_next(
    server, monkeypatch, reused, at_a_time
):
    heard = Heard(server, monkeypatch, together=False)
    monkeypatch.setattr(server._core, "receive", at_a_time(heard, 2 * MOST_SECONDS))
    waiting(server, monkeypatch, reused, ("alice", A, b"1"), ("bob", B, b"2"))
    assert not server._intake.drain()
    assert heard.alone == [("alice", b"1")]
    assert server._intake.drain()
    assert heard.alone == [("alice", b"1"), ("bob", b"2")]


def test_no_more_is_taken_when_much_is_left_over(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch, together=False, full=True)
    monkeypatch.setattr(intake_module, "MOST_LEFT", 1000)
    waiting(server, monkeypatch, reused, ("alice", A, b"x" * 1000))
    server._intake.drain()
    server._intake._router.add(B, Said(BOB, reused, b"hi"))
    server._intake.drain()
    assert len(server._intake._router)
    heard.full = False
    server._intake.drain()
    server._intake.drain()
    assert [name for name, _ in heard.alone] == ["alice", "bob"]


def test_what_was_seen_to_be_no_commands_is_not_looked_at_again(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch, together=False)
    looks = []
    monkeypatch.setattr(server._core, "commands_in", lambda said: looks.append(said) or [])
    heard.enough = 2
    waiting(server, monkeypatch, reused, *[("alice", A, b"x")] * 7)
    for _ in range(4):
        heard.full = False
        server._intake.drain()
    assert len(heard.alone) == 7
    assert len(looks) == 1


def test_what_is_left_over_is_counted_as_said_once(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch, together=False)
    heard.enough = 2
    waiting(server, monkeypatch, reused, *[("alice", A, b"xx")] * 5)
    intake = server._intake
    for number in range(3):
        heard.full = False
        intake.drain()
        caller = intake._connections.callers[A]
        assert (caller.frames, caller.taken) == (5 + number, (5 + number) * 4)
        intake._router.add(A, Said(ALICE, reused, b"xx"))


def test_all_were_heard_when_of_each_that_waited_some_was(server, monkeypatch, reused):
    """What comes meanwhile may be left over again and again, and is of no matter."""
    heard = Heard(server, monkeypatch, together=False)
    heard.enough = 2
    waiting(server, monkeypatch, reused, *[("alice", A, b"x")] * 2, *[("bob", B, b"y")] * 9)
    intake = server._intake
    server._descriptors.used = 10
    intake.drain()
    assert not intake.all_heard()  # Nothing of bob's was handed on yet,
    intake._router.add(A, Said(ALICE, reused, b"x"))
    heard.full = False
    intake.drain()
    assert intake._waiting
    assert intake.all_heard()  # and here some of it.
    assert not intake.all_heard()


def test_each_message_that_is_taken_is_counted_once(server, monkeypatch, reused):
    Heard(server, monkeypatch)
    waiting(server, monkeypatch, reused, *[("alice", A, b"x")] * 5)
    intake, counted = server._intake, []
    monkeypatch.setattr(intake._portion, "at", lambda now: 2 * A_FRAME)
    while not intake.drain():
        counted.append(intake._heard)
    assert [*counted, intake._heard] == [2, 4, 5]


def test_frames_under_one_routing_id_are_not_put_together_over_two_keys(
    server, monkeypatch, reused
):
    heard = Heard(server, monkeypatch)
    said = [("alice", A, b"1"), ("alice", A, b"2"), ("bob", A, b"x"), ("bob", A, b"y")]
    waiting(server, monkeypatch, reused, *said)
    assert server._intake.drain()
    assert heard.together == [("alice", [b"1", b"2"]), ("bob", [b"x", b"y"])]


def test_what_waits_is_not_heard_of_a_key_that_was_taken_back(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch, full=True)
    waiting(server, monkeypatch, reused, ("alice", A, b"1"), ("bob", B, b"2"))
    assert not server._intake.drain()
    assert server._intake.part_with([ALICE.public]) == [A]
    heard.full = False
    server._intake.drain()
    assert heard.alone == [("bob", b"2")]


def test_every_byte_that_is_handed_on_is_counted_as_taken(server, monkeypatch, reused):
    Heard(server, monkeypatch)
    said = [b"x" * 255, b"x" * 256, b"x"]
    waiting(server, monkeypatch, reused, *[("alice", A, data) for data in said])
    assert server._intake.drain()
    caller = server._intake._connections.callers[A]
    assert (caller.frames, caller.taken) == (3, 255 + 2 + 256 + 9 + 1 + 2)


def test_what_waits_for_the_next_turn_is_taken_out_of_its_connection(server, monkeypatch, reused):
    """Else the watch would take it for something that ZeroMQ holds, beside all that waits there."""
    heard = Heard(server, monkeypatch, together=False, full=True)
    waiting(server, monkeypatch, reused, ("alice", A, b"1"), ("alice", A, b"2"))
    server._intake.drain()
    caller = server._intake._connections.callers[A]
    assert (caller.frames, caller.taken) == (2, 6)
    heard.full = False
    server._intake.drain()
    assert (caller.frames, caller.taken) == (2, 6)


def test_who_waits_to_be_handed_on_was_not_heard(server, monkeypatch, reused):
    """However much another said meanwhile: what waits may end a silence."""
    heard = Heard(server, monkeypatch, together=False)
    heard.enough = 4
    server._descriptors.used = 3
    waiting(server, monkeypatch, reused, *[("alice", A, b"x")] * 4, ("bob", B, b"ping"))
    server._intake.drain()
    assert not server._intake.all_heard()
    assert ("bob", b"ping") not in heard.alone
    heard.full = False
    server._intake.drain()
    assert server._intake.all_heard()


def test_messages_of_several_parts_do_not_keep_the_dead_alive(server, monkeypatch, reused):
    """There may always be another of them, and each is one that its connection had to say."""
    Heard(server, monkeypatch)
    server._descriptors.used = 3
    waiting(server, monkeypatch, reused, *[("alice", A, b"1", b"2")] * 4)
    server._intake.drain()
    assert server._intake.all_heard()


def test_no_further_message_of_several_parts_is_taken_out_when_a_turns_time_is_over(
    server, monkeypatch, reused
):
    """Each may have thousands of parts, and a thousand of them may wait."""
    Heard(server, monkeypatch)
    monkeypatch.setattr(intake_module, "MOST_SECONDS", 0)
    waiting(server, monkeypatch, reused, *[("alice", A, b"1", b"2")] * 4)
    server._intake.drain()
    assert len(server._intake._router) == 3 * 3  # The id, and two parts.


@pytest.mark.parametrize(("parts", "times"), [(20, 0), (21, 1), (2000, 1)])
def test_the_sender_of_more_than_20_parts_is_cut_off_once(
    server, monkeypatch, reused, parts, times
):
    Heard(server, monkeypatch)
    cuts = []
    monkeypatch.setattr(server._intake._watch, "cut", lambda caller, why: cuts.append(why))
    waiting(server, monkeypatch, reused, ("alice", A, *[b"x"] * parts))
    while not server._intake.drain():
        pass
    assert cuts == ["a message had many parts"] * times


def test_a_message_of_several_parts_is_refused_in_its_place(server, monkeypatch, reused):
    heard = Heard(server, monkeypatch)
    waiting(
        server,
        monkeypatch,
        reused,
        ("alice", A, b"1"),
        ("alice", A, b"2", b"3"),
        ("alice", A, b"4"),
    )
    assert server._intake.drain()
    refused = Code.BAD_FRAME, "a message is one part"
    assert heard.alone == [("alice", b"1"), refused, ("alice", b"4")]
    assert not heard.together
    caller = server._intake._connections.callers[A]
    assert (caller.frames, caller.taken) == (3, 12)


def test_what_waits_of_a_key_is_not_joined_by_what_another_says_under_its_id(
    server, monkeypatch, reused
):
    """Also if it is so much that it fills the turn."""
    heard = Heard(server, monkeypatch, together=False)
    heard.enough = 1
    said = [("alice", A, b"1"), ("alice", A, b"2"), ("bob", A, b"x")]
    waiting(server, monkeypatch, reused, *said)
    while not server._intake.drain():
        heard.full = False
    assert heard.alone == [("alice", b"1"), ("alice", b"2"), ("bob", b"x")]
