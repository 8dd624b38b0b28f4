"""What an operator asks of a running broker: a real server, its socket in a data folder."""

from __future__ import annotations

import errno
import json
import logging
import os
import queue
import random
import socket
import threading
import time
from pathlib import Path

import pytest

from chatbroker.broker import control, opening
from chatbroker.broker import server as server_module
from chatbroker.broker.check import check_journal
from chatbroker.broker.config import Config, StartError
from chatbroker.broker.control import MOST_BYTES, MOST_VISITORS, SOCKET, Desk, ask, listens
from chatbroker.broker.database import FILE
from chatbroker.broker.folder import folder_of
from chatbroker.broker.journal import CannotStore
from chatbroker.broker.server import Server
from chatbroker.client import Client, NotAuthorised

WITHIN = 15.0
NOBODY = "nobody has the name 'bob'; 'chatbroker names list' tells which there are"
OTHER_VERSION = "this broker cannot do that; is it of another version than this command?"
UNKNOWN = {"ok": False, "words": NOBODY}
NO_OBJECT = {"ok": False, "words": "a request is a JSON object"}


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "d"


@pytest.fixture
def serve(folder, monkeypatch):
    """Starts a server on *folder* in a thread."""
    monkeypatch.setattr(server_module, "READ_GOODBYE", 0.02)
    started = []

    def start(open_journal=opening.open_journal) -> Server:
        made: queue.SimpleQueue[Server] = queue.SimpleQueue()

        def run() -> None:
            # A database belongs to the thread that opened it.
            server = Server(Config(port=0, data_dir=folder), open_journal)
            made.put(server)
            server.run()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        server = made.get(timeout=WITHIN)
        server.thread = thread
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()
        server.thread.join(WITHIN)
        assert not server.thread.is_alive()


@pytest.fixture
def server(serve) -> Server:
    return serve()


@pytest.fixture
def visit(folder):
    """Connects to the server's socket by hand."""
    made = []

    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.append(sock)
        # Without a timeout: with one it fails at once when too many are waiting.
        sock.connect(str(folder / SOCKET))
        sock.settimeout(WITHIN)
        return sock

    yield connect
    for sock in made:
        sock.close()


def says(sock: socket.socket, data: bytes) -> bytes:
    """What comes back, until the server hangs up."""
    answer = b""
    try:
        sock.sendall(data)
        while some := sock.recv(4096):
            answer += some
    except (ConnectionResetError, BrokenPipeError):
        pass  # It hung up with something unread.
    return answer


def test_a_name_is_released_and_its_sessions_end(server, folder):
    with Client("alice", server.address, timeout=WITHIN) as alice:
        alice.echo("hi")
        assert ask(folder, do="release", name="Alice") == {"ok": True}
        with pytest.raises(NotAuthorised, match="was released by the broker's operator"):
            list(alice.events(WITHIN))
    assert ask(folder, do="release", name="alice")["ok"] is False
    assert check_journal(folder / FILE).summary.users == 0


def test_it_is_stored_when_it_is_answered(server, folder):
    with Client("alice", server.address, timeout=WITHIN) as alice:
        alice.echo("hi")
        assert check_journal(folder / FILE).summary.users == 1
        assert ask(folder, do="release", name="alice") == {"ok": True}
    report = check_journal(folder / FILE)
    assert (report.faults, report.summary.users) == ([], 0)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"do": "release", "name": "bob"}, NOBODY),
        ({"do": "release", "name": "no name"}, "not a valid name: 'no name'"),
        ({"do": "release", "name": ""}, "not a valid name: ''"),
        ({"do": "dance", "name": "bob"}, OTHER_VERSION),
        ({"name": "bob"}, OTHER_VERSION),
        ({}, OTHER_VERSION),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(server, folder, request_, words):
    answer = ask(folder, **request_)
    assert answer["ok"] is False
    assert answer["words"].startswith(words)


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"words\n",
        b"[]\n",
        b'"release"\n',
        b"null\n",
        b"\xff\xfe\n",
        b"\x00\n",
        b"9" * 5000 + b"\n",
        b"[" * 60_000 + b"\n",
        b'{"a":' * 10_000 + b"\n",
        b'{"do":"release"}\n{"do":"release"}\n',
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_request_is_refused(server, folder, visit, data):
    assert json.loads(says(visit(), data)) == NO_OBJECT
    assert ask(folder, do="release", name="bob") == UNKNOWN


@pytest.mark.parametrize("name", [7, None, [], {}, True, "\ud800", "x" * 10_000])
def test_a_name_that_is_none_is_refused(server, folder, visit, name):
    request = json.dumps({"do": "release", "name": name}).encode() + b"\n"
    assert json.loads(says(visit(), request))["ok"] is False
    assert ask(folder, do="release", name="bob") == UNKNOWN


def test_a_request_without_end_is_cut_off(server, folder, visit):
    assert says(visit(), b"x" * (2 * MOST_BYTES)) == b""
    assert ask(folder, do="release", name="bob") == UNKNOWN


def test_half_a_request_is_no_request(server, folder, visit):
    half = visit()
    half.sendall(b'{"do": "release", "name": ')
    assert ask(folder, do="release", name="bob") == UNKNOWN
    # The other half may come later.
    assert json.loads(says(half, b'"bob"}\n')) == UNKNOWN
    gone = visit()
    gone.sendall(b'{"do"')
    gone.close()
    assert ask(folder, do="release", name="bob") == UNKNOWN


def test_visitors_who_do_not_read_or_are_gone_are_not_waited_for(server, folder, visit):
    for _ in range(3 * MOST_VISITORS):
        silent = visit()
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        silent.sendall(b'{"do": "release", "name": "bob"}\n')
        gone = visit()
        gone.sendall(b'{"do": "release", "name": "bob"}\n')
        gone.close()
    assert ask(folder, do="release", name="bob") == UNKNOWN


def test_a_crowd_that_says_nothing_keeps_nobody_out(server, folder, visit):
    crowd = []
    for _ in range(3):
        crowd += [visit() for _ in range(MOST_VISITORS)]
        assert ask(folder, do="release", name="bob") == UNKNOWN
    # Who came first had to go.
    assert says(crowd[0], b"{}\n") == b""
    assert json.loads(says(crowd[-1], b'{"do":"release","name":"bob"}\n')) == UNKNOWN


def test_the_first_goes_for_one_too_many_and_no_other(server, folder, visit):
    crowd = [visit() for _ in range(MOST_VISITORS)]
    assert ask(folder, do="release", name="bob") == UNKNOWN
    assert says(crowd[0], b"{}\n") == b""
    assert json.loads(says(crowd[1], b'{"do":"release","name":"bob"}\n')) == UNKNOWN


def test_garbage_does_not_keep_users_from_talking(server, folder, visit):
    chance = random.Random(7)
    with Client("alice", server.address, timeout=WITHIN) as alice:
        for _ in range(100):
            visitor = visit()
            visitor.sendall(chance.randbytes(chance.randrange(1, 5000)))
            if chance.random() < 0.5:
                visitor.close()
        alice.echo("still here", timeout=WITHIN)
    assert ask(folder, do="release", name="bob") == UNKNOWN


@pytest.fixture
def failing():
    """Set while the journal can store nothing."""
    return threading.Event()


@pytest.fixture
def fails(failing, serve):
    """A broker whose journal fails."""

    def open_failing(config, port):
        journal = opening.open_journal(config, port)
        commit = journal.commit

        def maybe(turn):
            if failing.is_set() and any(turn):
                raise CannotStore("the disk is full")
            commit(turn)

        journal.commit = maybe
        return journal

    return serve(open_failing)


def test_what_was_asked_for_and_cannot_be_stored_yet_is_answered_when_it_is(fails, failing, folder):
    told = []
    with Client("alice", fails.address, timeout=WITHIN) as alice:
        alice.echo("hi")
        failing.set()
        asks = threading.Thread(target=lambda: told.append(ask(folder, do="release", name="alice")))
        asks.start()
        until = time.monotonic() + WITHIN
        while not fails._core.held:
            assert time.monotonic() < until
            time.sleep(0.001)
        assert told == []
        failing.clear()
        asks.join(WITHIN)
        assert told == [{"ok": True}]


def test_while_nothing_can_be_stored_it_is_refused_at_once(fails, failing, folder):
    with Client("alice", fails.address, timeout=WITHIN) as alice:
        alice.echo("hi")
        failing.set()
        waits = threading.Thread(target=lambda: alice.echo("waits", timeout=WITHIN), daemon=True)
        waits.start()
        assert any("cannot store" in getattr(event, "words", "") for event in alice.events(WITHIN))
        told = ask(folder, do="release", name="alice")
        assert told == {
            "ok": False,
            "words": "the broker can store nothing now; 'chatbroker status' says why",
        }
        failing.clear()
        waits.join(WITHIN)
        assert ask(folder, do="release", name="alice") == {"ok": True}


# --- the socket ---------------------------------------------------------------------------


def test_the_socket_is_its_owners_and_goes_with_the_broker(serve, folder):
    server = serve()
    assert (folder / SOCKET).stat().st_mode & 0o777 == 0o600
    server.stop()
    server.thread.join(WITHIN)
    assert not (folder / SOCKET).exists()
    with pytest.raises(StartError, match=r"does not answer: No such file or directory"):
        ask(folder, do="release", name="bob")


def test_what_a_killed_broker_left_is_replaced(serve, folder):
    folder.mkdir(mode=0o700)
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(folder / SOCKET))
    left.close()
    with pytest.raises(StartError, match="does not answer: Connection refused"):
        ask(folder, do="release", name="bob")
    serve()
    assert ask(folder, do="release", name="bob") == UNKNOWN


def test_a_path_that_is_too_long_for_a_socket_is_no_reason_not_to_serve(tmp_path, caplog):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with caplog.at_level(logging.WARNING, "chatbroker"):
        desk = Desk(folder, lambda sock: None, lambda sock: None)
    assert "cannot be opened" in caplog.text
    with pytest.raises(StartError, match="too long for a socket; give the broker, and here, a"):
        ask(folder, do="status")
    desk.hear(lambda request, by: {})
    desk.tell()
    desk.close()


def test_a_broker_whose_folder_was_moved_leaves_anothers_socket(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    first = Desk(folder, lambda sock: None, lambda sock: None)
    folder.rename(tmp_path / "away")
    folder.mkdir()
    second = Desk(folder, lambda sock: None, lambda sock: None)
    first.close()
    assert listens(folder)
    second.close()
    assert not (folder / SOCKET).exists()


def test_a_broker_in_memory_is_met_in_the_folder_of_its_port_and_leaves_nothing(data_folder):
    server = Server(Config(port=0, memory=True))
    folder = folder_of(server.port)
    assert folder.parent == data_folder
    assert {path.name for path in folder.iterdir()} == {"lock", SOCKET}
    server.close()
    assert list(data_folder.iterdir()) == []


def test_a_broker_in_memory_leaves_what_is_anothers(data_folder):
    server = Server(Config(port=0, memory=True))
    folder = folder_of(server.port)
    (folder / FILE).write_text("data")
    server.close()
    assert [path.name for path in folder.iterdir()] == [FILE]


@pytest.mark.parametrize("place", ["/dev/null/x", "~/x"])
def test_a_broker_in_memory_without_a_folder_serves_all_the_same(place, monkeypatch, caplog):
    monkeypatch.setenv("CHATBROKER_DATA", place)
    with caplog.at_level(logging.WARNING, "chatbroker"):
        server = Server(Config(port=0, memory=True))
    assert "no operator is heard" in caplog.text
    assert "--memory" not in caplog.text
    server.close()
    assert not Path("~").exists()


def test_an_answer_that_is_none_is_told_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "PATIENCE", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen()
        with pytest.raises(StartError, match="does not answer: timed out; it may be done, or not"):
            ask(tmp_path, do="release", name="bob")


def test_a_broker_that_ends_over_a_request_is_told_in_words(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen()

        def hangs_up():
            visitor, _ = listener.accept()
            visitor.recv(4096)
            visitor.close()

        hanging = threading.Thread(target=hangs_up)
        hanging.start()
        with pytest.raises(StartError, match="does not answer: it ended meanwhile; it may be done"):
            ask(tmp_path, do="kick", name="bob")
        hanging.join()


@pytest.fixture
def desk(folder):
    folder.mkdir()
    watched: set[socket.socket] = set()
    desk = Desk(folder, watched.add, watched.remove)
    yield desk
    desk.close()
    assert watched == set()


def test_what_is_asked_for_by_who_has_given_up_is_left_undone(desk, folder, monkeypatch):
    """The broker was stopped, or waited for its disk: it must not be done once more, or against
    what was told."""
    monkeypatch.setattr(control, "PATIENCE", 0.05)
    done = []

    def carry_out(request, by):
        done.append(request)
        return {"ok": True}

    for _ in range(2):
        with pytest.raises(StartError):
            ask(folder, do="announce", words="at nine")
    desk.hear(carry_out)
    desk.tell()
    assert done == []


def test_who_only_says_no_more_is_answered(desk, visit):
    asker = visit()
    asker.sendall(b'{"do": "announce"}\n')
    asker.shutdown(socket.SHUT_WR)
    desk.hear(lambda request, by: {"ok": True, **request})
    desk.tell()
    assert json.loads(asker.recv(4096)) == {"ok": True, "do": "announce"}


def test_who_finds_no_descriptor_wakes_the_loop_no_more_for_a_moment(folder, visit, monkeypatch):
    folder.mkdir()
    watched = []
    desk = Desk(folder, watched.append, watched.remove)
    (listener,) = watched
    waiting = visit()

    def refused(sock):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", refused)
        desk.hear(lambda request, by: {})
        assert watched == []
        # A turn for somebody who is here already looks again.
        desk.hear(lambda request, by: {})
        assert watched == []
        desk.tidy()
        assert watched == [listener]
    waiting.sendall(b'{"do":"status"}\n')
    desk.hear(lambda request, by: {"ok": True}, at_once=True)
    assert json.loads(waiting.recv(4096)) == {"ok": True}
    desk.close()


def test_it_closes_while_there_is_no_descriptor(folder, visit, monkeypatch):
    folder.mkdir()
    watched: set[socket.socket] = set()
    desk = Desk(folder, watched.add, watched.remove)
    visit()

    def refused(sock):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", refused)
        desk.hear(lambda request, by: {})
    desk.close()
    assert watched == set()
    assert not (folder / SOCKET).exists()


def test_all_sockets_are_closed_with_the_desk(folder, visit):
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    folder.mkdir()
    watched: set[socket.socket] = set()
    desk = Desk(folder, watched.add, watched.remove)
    silent, asked = visit(), visit()
    asked.sendall(b"{}\n")
    desk.hear(lambda request, by: {"ok": True})
    desk.close()
    assert watched == set()
    assert (silent.recv(1), asked.recv(1)) == (b"", b"")
    silent.close()
    asked.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
