"""An operator at a real server: asked over its socket, rereading, what is written down."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from contextlib import closing, suppress
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
import zmq
from click.testing import CliRunner

from chatbroker.broker import office as module
from chatbroker.broker import opening
from chatbroker.broker import secure as secure_module
from chatbroker.broker import server as server_module
from chatbroker.broker.audit import FILE as AUDIT
from chatbroker.broker.audit import MOST
from chatbroker.broker.cli_members import members
from chatbroker.broker.config import Config, StartError
from chatbroker.broker.control import SOCKET, ask
from chatbroker.broker.database import FILE
from chatbroker.broker.folder import LOCK, DataFolder, folder_of, in_use
from chatbroker.broker.journal import CannotStore
from chatbroker.broker.kept_file import SANCTIONS
from chatbroker.broker.keyring import MEMBERS
from chatbroker.broker.office import put
from chatbroker.broker.operator import PAGE
from chatbroker.broker.origin import Origin
from chatbroker.broker.sanctions import LATEST
from chatbroker.broker.server import Server
from chatbroker.client import Client, Direct, NotAuthorised, Notice, Refused
from chatbroker.wire.codec import FROM_BROKER, Decoder, Encoder
from chatbroker.wire.limits import VERSION
from chatbroker.wire.messages import Hello

WITHIN = 15.0


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "d"


@pytest.fixture
def serve(folder, monkeypatch):
    """Starts a server in a thread."""
    monkeypatch.setattr(server_module, "READ_GOODBYE", 0.02)
    started = []

    def start(config=None, open_journal=opening.open_journal, read_config=None):
        made = queue.SimpleQueue()

        def run():
            # A database belongs to the thread that opened it.
            wanted = config or Config(port=0, data_dir=folder)
            server = Server(wanted, open_journal, read_config=read_config)
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
        ends(server)


def ends(server):
    server.stop()
    server.thread.join(WITHIN)
    assert not server.thread.is_alive()


def audited(folder):
    return [json.loads(line) for line in (folder / AUDIT).read_text().splitlines()]


def bans_of(folder):
    return ask(folder, do="bans", kind="ban", after="")["listed"]


def client_of(server, name="alice", **options):
    return Client(name, server.address, timeout=WITHIN, **options)


def eventually(met):
    until = time.monotonic() + WITHIN
    while not met():
        assert time.monotonic() < until
        time.sleep(0.01)


# --- status -------------------------------------------------------------------------------


def test_how_it_is_can_be_asked(serve, folder):
    server = serve()
    with client_of(server) as alice, client_of(server, "bob") as bob:
        alice.echo("hi")
        alice.send("bob", "hi")
        # What bob has not taken is unread.
        found = ask(folder, do="status")["status"]
        assert found["users"] == {"known": 2, "on": 2, "claimed": 0}
        assert found["sessions"] == {"live": 2, "gone": 0, "lapsed": 0}
        assert found["connections"]["clients"] == 2
        assert found["messages"]["total"] == 2
        assert found["frames"]["total"] > 0
        assert found["unread"]["largest"] == [{"user": "bob", "unread": 1}]
        assert found["journal"]["messages"] == 3
        assert found["journal"]["bytes"] > 0
        assert (found["address"], found["secure"], found["memory"]) == (
            server.address,
            False,
            False,
        )
        assert found["descriptors"]["limit"] > 0
        assert next(e for e in bob.events(WITHIN) if isinstance(e, Direct)).text == "hi"


def test_while_nothing_can_be_stored_it_tells_why_and_announces(serve, folder):
    failing = threading.Event()

    def opens(config, port):
        journal = opening.open_journal(config, port)
        commit = journal.commit

        def commits(commit_):
            if failing.is_set() and commit_.rows:
                raise CannotStore("the disk is full")
            commit(commit_)

        journal.commit = commits
        return journal

    server = serve(open_journal=opens)
    with client_of(server) as alice:
        alice.echo("hi")
        failing.set()
        waits = threading.Thread(target=lambda: alice.echo("waits", timeout=WITHIN), daemon=True)
        waits.start()
        assert any(isinstance(e, Notice) for e in alice.events(WITHIN))
        assert ask(folder, do="status")["status"]["held"] == "the disk is full"
        assert ask(folder, do="announce", words="we are at it") == {"ok": True, "sessions": 1}
        assert any(getattr(e, "words", "") == "we are at it" for e in alice.events(WITHIN))
        refused = ask(folder, do="ban", name="alice")
        assert refused == {
            "ok": False,
            "words": "the broker can store nothing now; 'chatbroker status' says why",
        }
        failing.clear()
        waits.join(WITHIN)
    assert ask(folder, do="status")["status"]["held"] is None


def test_a_broker_in_memory_is_asked_and_forgets(serve, data_folder):
    server = serve(Config(port=0, memory=True))
    folder = folder_of(server.port)
    assert ask(folder, do="status")["status"]["memory"] is True
    assert put(folder, {"do": "ban", "name": "bob"}) == {"ok": True, "sessions": 0, "known": False}
    with pytest.raises(NotAuthorised, match="'bob' is banned"):
        client_of(server, "bob")
    assert {path.name for path in folder.iterdir()} == {"lock", "control"}
    ends(server)
    assert not folder.exists()
    with pytest.raises(StartError, match="there is no data folder at"):
        put(folder, {"do": "unban", "name": "bob"})
    with pytest.raises(StartError, match="no broker runs at"):
        put(folder, {"do": "status"})


def test_who_is_admitted_to_a_broker_in_memory_is_listed(serve, data_folder):
    server = serve(Config(port=0, memory=True, secure=True))
    folder = folder_of(server.port)
    put(folder, {"do": "admit", "name": "bob", "key": "a" * 52})
    put(folder, {"do": "invite", "name": "al", "key": "b" * 51 + "a", "seconds": 60})
    found = CliRunner().invoke(members, ["--port", str(server.port), "--json"])
    listed = [json.loads(line) for line in found.output.splitlines()]
    assert [(one["type"], one["name"]) for one in listed] == [
        ("member", "bob"),
        ("invitation", "al"),
    ]


def test_two_brokers_in_memory_do_not_meet(serve, data_folder):
    one, other = serve(Config(port=0, memory=True)), serve(Config(port=0, memory=True))
    put(folder_of(one.port), {"do": "ban", "name": "bob"})
    with client_of(other, "bob"):
        assert ask(folder_of(other.port), do="bans", kind="ban", after="")["listed"] == []


def test_a_key_is_taken_back_while_the_disk_is_full_and_that_is_kept_later(
    serve, folder, data_folder, monkeypatch
):
    monkeypatch.setattr(module, "CATCH_UP", 0.01)
    server = serve(Config(port=0, data_dir=folder, secure=True))
    put(folder, {"do": "admit", "name": "bob", "key": "a" * 52})
    store = secure_module.store_members
    full = threading.Event()
    full.set()

    def stores(*kept):
        if full.is_set():
            raise OSError(28, "No space left on device")
        store(*kept)

    monkeypatch.setattr(secure_module, "store_members", stores)
    for _ in range(2):
        answer = put(folder, {"do": "revoke", "name": "bob"})
        assert (answer["revoked"], "No space left" in answer["unkept"]) == (1, True)
    assert put(folder, {"do": "members", "invited": False, "after": ""})["listed"] == []
    assert "bob" in (folder / MEMBERS).read_text()
    full.clear()
    eventually(lambda: "bob" not in (folder / MEMBERS).read_text())
    ends(server)


def test_who_asks_again_for_what_could_not_be_kept_has_it_kept(serve, folder, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    server = serve(Config(port=0, data_dir=folder, secure=True))
    server._office._catch_up_at = inf  # It does not come first.
    put(folder, {"do": "admit", "name": "bob", "key": "a" * 52})
    revoke = {"do": "revoke", "name": "bob"}
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fail)
        for _ in range(2):
            assert "No space left" in put(folder, revoke)["unkept"]
    assert put(folder, revoke) == {"ok": True, "revoked": 1, "unkept": ""}
    assert "bob" not in (folder / MEMBERS).read_text()
    assert "'bob' is not admitted" in put(folder, revoke)["words"]


def test_what_could_not_be_kept_is_tried_again_after_a_while_only(folder, monkeypatch):
    server = Server(Config(port=0, data_dir=folder, secure=True))
    office, begun, tried = server._office, time.monotonic(), []
    server._secure.admit("bob", b"k" * 32)

    def fails(*kept):
        tried.append(after)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(secure_module, "store_members", fails)
    server._secure.revoke("bob", None)
    with closing(server):
        for after in (0.0, 0.1, 0.5, 0.9, 1.1, 1.5, 2.0, 2.2):
            server._core.begin(begun + after * module.CATCH_UP, 0)
            office.tidy()
        assert tried == [0.0, 1.1, 2.2]


@pytest.mark.parametrize("link", [False, True])
def test_what_is_asked_for_is_not_kept_in_another_folder(serve, tmp_path, monkeypatch, link):
    """Whom that keeps out would be in again when the right one is back."""
    monkeypatch.setattr(module, "CATCH_UP", 0.01)
    data, other, named = tmp_path / "v1", tmp_path / "v2", tmp_path / "named"
    for folder in (data, other):
        folder.mkdir(mode=0o700)

    def lead_to(folder):
        if link:
            named.unlink(missing_ok=True)
            named.symlink_to(folder)
        else:
            if named.exists():
                named.rename(other if folder is data else data)
            folder.rename(named)

    lead_to(data)
    server = serve(Config(port=0, data_dir=named, secure=True))
    put(named, {"do": "admit", "name": "bob", "key": "a" * 52})
    put(named, {"do": "ban", "name": "eve"})
    kept = [(named / name).read_text() for name in (MEMBERS, SANCTIONS)]
    lead_to(other)
    (named / SANCTIONS).write_text('{"sanctions": []}')
    why = f"{named} was replaced while it was in use"
    invite = {"do": "invite", "name": "al", "key": "q" * 52, "seconds": 60}
    for refused in (invite, {"do": "ban", "name": "zed"}, {"do": "unban", "name": "eve"}):
        answer = put(data, refused)
        assert (answer["ok"], why in answer["words"]) == (False, True)
    answer = put(data, {"do": "revoke", "name": "bob"})
    assert (answer["revoked"], why in answer["unkept"]) == (1, True)
    # Nor is anything taken up from there.
    reread(server, data)
    assert [one["name"] for one in bans_of(data)] == ["eve"]
    assert [(data / name).read_text() for name in (MEMBERS, SANCTIONS)] == kept
    assert not (named / MEMBERS).exists()
    assert "eve" not in (named / SANCTIONS).read_text()
    lead_to(data)
    eventually(lambda: "bob" not in (named / MEMBERS).read_text())
    assert put(named, {"do": "ban", "name": "zed"})["ok"]
    ends(server)


# --- who is met ---------------------------------------------------------------------------


def test_bans_and_mutes_outlive_the_broker(serve, folder):
    server = serve()
    put(folder, {"do": "ban", "name": "bob", "reason": "spam"})
    put(folder, {"do": "mute", "name": "alice"})
    put(folder, {"do": "ban", "name": "carol"})
    ends(server)
    put(folder, {"do": "unban", "name": "carol"})
    # Whether dora was ever here it does not say: it does not look.
    assert put(folder, {"do": "mute", "name": "dora"}) == {"ok": True}
    server = serve()
    with pytest.raises(NotAuthorised, match=r"'bob' is banned \(spam\)"):
        client_of(server, "bob")
    with client_of(server, "carol") as carol, client_of(server) as alice:
        carol.echo("hi")
        with pytest.raises(Refused) as refused:
            alice.echo("hi")
        assert refused.value.code == "muted"
    assert [(line["event"], line.get("by")) for line in audited(folder)][:4] == [
        ("ban", os.getuid()),
        ("mute", os.getuid()),
        ("ban", os.getuid()),
        ("unban", os.getuid()),
    ]


@pytest.mark.parametrize("other", [[], ["lock"], ["notes.txt"]], ids=str)
@pytest.mark.parametrize("do", ["ban", "bans", "unmute"])
def test_a_folder_that_is_no_brokers_is_told_and_stays_as_it_was(folder, other, do):
    folder.mkdir(mode=0o700)
    for name in other:
        (folder / name).write_text("of another program")
    with pytest.raises(StartError, match=f"{folder} is no broker's data folder; give the broker's"):
        put(folder, {"do": do, "name": "bob", "kind": "ban", "after": ""})
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [
        (name, "of another program") for name in other
    ]


@pytest.mark.parametrize("name", [FILE, SANCTIONS])
def test_data_that_were_put_back_may_be_looked_after_before_the_first_start(folder, name):
    folder.mkdir(mode=0o700)
    (folder / name).touch()
    assert put(folder, {"do": "bans", "kind": "ban", "after": ""})["listed"] == []
    assert put(folder, {"do": "ban", "name": "bob"})["ok"]


def test_the_longest_page_of_bans_goes_through_the_socket(serve, folder):
    folder.mkdir(mode=0o700)
    entries = [
        {"kind": "ban", "who": f"{n:032}", "since": 0, "until": LATEST, "reason": "ü" * 100}
        for n in range(PAGE)
    ]
    (folder / SANCTIONS).write_text(json.dumps({"sanctions": entries}))
    serve()
    answer = ask(folder, do="bans", kind="ban", after="")
    assert (len(answer["listed"]), answer["more"]) == (PAGE, True)
    assert ask(folder, do="bans", kind="ban", after="z")["listed"] == []


def test_a_ban_is_over_at_its_time(serve, folder):
    server = serve()
    put(folder, {"do": "ban", "name": "bob", "seconds": 0.001})
    with client_of(server) as alice:
        alice.echo("hi")
    with client_of(server, "bob") as bob:
        bob.echo("hi")
    ends(server)
    over = [line for line in audited(folder) if line["event"] == "expired"]
    assert [(line["kind"], line["user"]) for line in over] == [("ban", "bob")]


@pytest.fixture
def ahead(monkeypatch):
    """By how many milliseconds the broker's wall clock is ahead: a list of one."""
    by = [0]
    wall = SimpleNamespace(
        monotonic=time.monotonic, time_ns=lambda: time.time_ns() + by[0] * 1_000_000
    )
    monkeypatch.setattr(server_module, "time", wall)
    return by


def test_a_ban_that_was_over_by_a_wrong_clock_only_holds_again_when_it_is_right(
    serve, folder, ahead
):
    server = serve()
    put(folder, {"do": "ban", "name": "bob", "seconds": 3600})
    put(folder, {"do": "mute", "name": "carol", "seconds": 3600})
    ahead[0] = 7_200_000
    eventually(lambda: not bans_of(folder))
    with client_of(server, "bob") as bob, client_of(server, "carol") as carol:
        carol.echo("hi")
        # What else is changed meanwhile does not forget them.
        put(folder, {"do": "ban", "name": "eve"})
        ahead[0] = 0
        with pytest.raises(NotAuthorised, match="'bob' is banned until"):
            list(bob.events(WITHIN))
        next(event for event in carol.events(WITHIN) if "muted" in getattr(event, "words", ""))
        with pytest.raises(Refused, match="muted"):
            carol.echo("hi")
    assert [one["name"] for one in bans_of(folder)] == ["bob", "eve"]
    reread(server)
    assert [one["name"] for one in bans_of(folder)] == ["bob", "eve"]
    told = [(line["event"], line.get("user")) for line in audited(folder)]
    assert told[2:4] == [("expired", "bob"), ("expired", "carol")]
    assert [one for one in told if one[0] == "resumed"] == [
        ("resumed", "bob"),
        ("resumed", "carol"),
    ]


def test_who_is_kicked_ends_and_comes_back(serve, folder):
    server = serve()
    with client_of(server, "bob") as bob:
        put(folder, {"do": "kick", "name": "bob", "reason": "loud"})
        with pytest.raises(NotAuthorised, match=r"'bob' was kicked .*\(loud\) on tcp://"):
            list(bob.events(WITHIN))
    with client_of(server, "bob") as bob:
        bob.echo("hi")


def test_a_banned_key_ends_whom_it_admitted(serve, folder):
    server = serve()
    with client_of(server) as alice, client_of(server, "bob") as bob:
        alice.echo("hi")
        bob.echo("hi")
        named = {s.identity: s.user.name for s in server._core._registry.live()}
        # As where keys admit.
        for identity, caller in server._intake._connections.callers.items():
            if named[identity] == "bob":
                caller.origin = Origin("127.0.0.1", key=bytes(32))
        put(folder, {"do": "ban", "name": "a" * 52, "reason": "spam"})
        with pytest.raises(NotAuthorised, match=r"this key is banned \(spam\)"):
            list(bob.events(WITHIN))
        alice.echo("still here")


def test_who_is_cut_off_is_written_down(serve, folder):
    server = serve()
    with zmq.Context() as context, context.socket(zmq.XSUB) as hostile:
        hostile.connect(server.pub_address)
        for number in range(20):
            hostile.send(b"no subscription %d" % number)
        eventually(lambda: (folder / AUDIT).read_text())
    (line,) = audited(folder)
    assert (line["event"], line["address"]) == ("cut_off", "127.0.0.1")
    assert server.counts.cut_off["subscriptions"] == 1


def test_a_broker_whose_lock_was_removed_is_found_all_the_same(serve, folder):
    """Else a ban would be written down, and nobody banned."""
    server = serve()
    (folder / LOCK).unlink()
    put(folder, {"do": "ban", "name": "bob"})
    with pytest.raises(NotAuthorised):
        client_of(server, "bob")
    DataFolder(folder).close()  # As does somebody who thinks that there is none.
    put(folder, {"do": "unban", "name": "bob"})
    client_of(server, "bob").close()
    assert in_use(folder)
    ends(server)
    assert not in_use(folder)


def test_nothing_is_done_beside_a_broker_that_cannot_be_asked(serve, folder):
    """It would not hear of it, and write its own list over it."""
    server = serve()
    (folder / LOCK).unlink()
    (folder / SOCKET).unlink()
    with pytest.raises(StartError, match=r"journal\.db is in use by another broker"):
        put(folder, {"do": "ban", "name": "bob"})
    assert not (folder / SANCTIONS).exists()
    ends(server)
    assert put(folder, {"do": "ban", "name": "bob"})["ok"]
    serve()


def test_bans_are_not_lifted_because_their_file_was_lost(serve, folder):
    server = serve()
    put(folder, {"do": "ban", "name": "bob"})
    (folder / SANCTIONS).unlink()
    reread(server)
    assert audited(folder)[-1]["of"] == "sanctions"
    assert [one["name"] for one in bans_of(folder)] == ["bob"]
    put(folder, {"do": "unban", "name": "bob"})
    (folder / SANCTIONS).unlink()
    reread(server)
    assert [line["event"] for line in audited(folder)].count("reread_failed") == 1


def test_a_broken_list_of_bans_keeps_the_broker_from_starting(folder):
    folder.mkdir(mode=0o700)
    (folder / SANCTIONS).write_text("{}")
    with pytest.raises(StartError, match="it has no list of sanctions; mend it or remove it"):
        Server(Config(port=0, data_dir=folder))
    (folder / SANCTIONS).unlink()
    Server(Config(port=0, data_dir=folder)).close()


def test_a_broken_list_is_not_written_over_without_a_broker(folder):
    folder.mkdir(mode=0o700)
    (folder / SANCTIONS).write_text("{}")
    with pytest.raises(StartError, match="it has no list of sanctions"):
        put(folder, {"do": "ban", "name": "bob"})
    assert (folder / SANCTIONS).read_text() == "{}"


@pytest.fixture
def another_users():
    """A data folder of somebody else's, where they can get at it, and nothing but root can."""
    with TemporaryDirectory() as place:
        os.chmod(place, 0o711)
        folder = Path(place, "data")
        folder.mkdir(mode=0o700)
        (folder / FILE).touch()
        for path in (folder, folder / FILE):
            os.chown(path, 4321, 4322)
        yield folder


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root writes in all folders")


@only_root
@pytest.mark.parametrize("name", [LOCK, SANCTIONS])
def test_root_writes_nothing_where_a_link_of_the_folders_owner_leads(another_users, name):
    target = another_users.parent / "roots"
    target.write_text('{"sanctions": []}')
    target.chmod(0o644)
    (another_users / name).symlink_to(target)
    os.chown(another_users / name, 4321, 4322, follow_symlinks=False)
    before = target.read_text()
    answer = {}
    with suppress(StartError):
        answer = put(another_users, {"do": "ban", "name": "bob"})
    assert not answer.get("ok")
    assert target.read_text() == before
    assert os.geteuid() == os.getegid() == 0


@only_root
def test_what_root_does_without_a_broker_lets_its_user_start_it_again(another_users):
    folder = another_users
    for do in ("ban", "mute"):
        assert put(folder, {"do": do, "name": "bob"})["ok"]
    found = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()}
    assert found == dict.fromkeys((AUDIT, FILE, LOCK, SANCTIONS), (4321, 4322))


def test_a_flood_of_refusals_makes_few_lines(serve, folder):
    server = serve()
    put(folder, {"do": "ban", "name": "bob"})
    many = 500
    encode, decode = Encoder().encode, Decoder(FROM_BROKER).decode
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(server.address)
        for number in range(many):
            session = number.to_bytes(16, "big")
            dealer.send(encode(Hello(VERSION, "bob", session, b"", 1, False, False, b"", ())))
        answers = 0
        while answers < many:
            assert dealer.poll(WITHIN * 1000)
            answers += len(decode(dealer.recv()))
    ends(server)
    refused = [line for line in audited(folder) if line["event"] == "refused"]
    assert sum(line.get("suppressed", 1) for line in refused) == many
    seconds = sum("suppressed" in line for line in refused)
    assert len(refused) <= (seconds + 1) * (MOST + 1)
    assert all(line["code"] == "banned" for line in refused)


# --- rereading ----------------------------------------------------------------------------


def reread(server, folder=None):
    """As by SIGHUP, which only a main thread hears; returns when it is done.

    *folder*: where its data are, if that is not where they were."""
    server.reread = True
    server._wake_writer.send(b"\0")
    ask(folder or server._folder, do="status")


def test_settings_are_read_again(serve, folder):
    wanted = [Config(port=0, data_dir=folder, keep=7.0, sync="off")]
    server = serve(read_config=lambda: wanted[0])
    reread(server)
    found = ask(folder, do="status")["status"]["limits"]
    assert (found["keep"], found["sync"]) == (7.0, "full")
    last = audited(folder)[-1]
    assert (last["event"], last["changed"], last["needs_restart"]) == (
        "reread",
        ["keep"],
        ["sync"],
    )


def test_what_is_read_before_the_first_turn_is_written_down_with_its_time(folder, monkeypatch):
    monkeypatch.setattr(server_module, "READ_GOODBYE", 0.02)
    config = Config(port=0, data_dir=folder)

    def read():
        server.stop()
        return config

    server = Server(config, read_config=read)
    server.reread = True
    server.run()
    (line,) = audited(folder)
    assert (line["event"], line["time"] > "2023") == ("reread", True)


def test_what_cannot_be_read_changes_nothing(serve, folder, caplog):
    def fail():
        raise StartError("[chatbroker.run] has no option 'x'")

    server = serve(read_config=fail)
    put(folder, {"do": "ban", "name": "bob"})
    (folder / SANCTIONS).write_text("{}")
    reread(server)
    assert "reread of=config failed, what was stays: [chatbroker.run] has no" in caplog.text
    assert "reread of=sanctions failed" in caplog.text
    assert [line["of"] for line in audited(folder)[1:]] == ["config", "sanctions"]
    with pytest.raises(NotAuthorised):
        client_of(server, "bob")


def test_what_nobody_foresaw_of_the_config_file_ends_no_broker(serve, folder, caplog):
    def fail():
        raise OverflowError("cannot convert\nthat")

    server = serve(read_config=fail)
    with client_of(server) as alice:
        reread(server)
        words = r"OverflowError('cannot convert\nthat')"
        assert f"reread of=config failed, what was stays: {words}" in caplog.text
        assert (audited(folder)[-1]["event"], audited(folder)[-1]["of"]) == (
            "reread_failed",
            "config",
        )
        alice.echo("still here")


def test_bans_that_were_written_by_hand_hold(serve, folder):
    server = serve()
    entry = {"kind": "ban", "who": "bob", "since": 0}
    (folder / SANCTIONS).write_text(json.dumps({"sanctions": [entry]}))
    with client_of(server, "bob") as bob:
        reread(server)
        with pytest.raises(NotAuthorised, match="'bob' is banned"):
            list(bob.events(WITHIN))
    with pytest.raises(NotAuthorised):
        client_of(server, "bob")


def test_bans_that_are_over_do_not_come_back(serve, folder):
    """Nobody writes their file for that."""
    entry = {"kind": "ban", "who": "bob", "since": 0, "until": 1}
    folder.mkdir(mode=0o700)
    (folder / SANCTIONS).write_text(json.dumps({"sanctions": [entry]}))
    server = serve()
    with client_of(server, "bob") as bob:
        reread(server)
        bob.echo("still here")
    assert "expired" not in [line["event"] for line in audited(folder)]


def test_what_retention_keeps_is_what_was_read_last(serve, folder):
    wanted = [Config(port=0, data_dir=folder, keep_bytes=5)]
    server = serve(read_config=lambda: wanted[0])
    with client_of(server, hear=False) as alice:
        for _ in range(5):
            alice.echo("x" * 1000)
        assert ask(folder, do="status")["status"]["journal"]["bytes"] > 5000
        reread(server)
        alice.echo("y")
        eventually(lambda: ask(folder, do="status")["status"]["journal"]["bytes"] < 500)


def test_the_audit_log_goes_on_in_a_new_file(serve, folder):
    server = serve()
    put(folder, {"do": "ban", "name": "bob"})
    (folder / AUDIT).rename(folder / "audit.1")
    reread(server)
    put(folder, {"do": "unban", "name": "bob"})
    assert [line["event"] for line in audited(folder)] == ["unban"]


def test_no_broker_is_asked_that_is_not_there(folder, monkeypatch):
    monkeypatch.setattr(module, "stand_in", None)
    folder.mkdir(mode=0o700)
    for do in ("status", "kick", "announce"):
        with pytest.raises(StartError, match=f"no broker runs at {folder}"):
            put(folder, {"do": do})
