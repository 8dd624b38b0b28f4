"""A secure broker: who is invited gets in, and nobody else."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
import zmq
import zmq.utils.z85

from chatbroker.client import Client
from chatbroker.testing.brokers import BrokerProcess
from chatbroker.wire.keys import key_text, parse_key

PATIENCE = 30.0


@pytest.fixture
def data(tmp_path):
    """Where the broker keeps its data."""
    return tmp_path / "broker"


def owned(broker, shell, monkeypatch):
    """Whoever runs commands, and this process, is the broker's own user."""
    shell.env["CHATBROKER_DATA"] = broker.env["CHATBROKER_DATA"]
    monkeypatch.setenv("CHATBROKER_DATA", broker.env["CHATBROKER_DATA"])


@pytest.fixture
def secure(data, fast_leases, shell, monkeypatch):
    with BrokerProcess("--secure", "-v", *fast_leases, data_dir=data) as broker:
        owned(broker, shell, monkeypatch)
        yield broker


@pytest.fixture
def far(tmp_path):
    """The environment of somebody on another machine."""
    return {"CHATBROKER_DATA": str(tmp_path / "far")}


@pytest.fixture
def operator(shell, data):
    """Runs ``chatbroker`` as the broker's operator."""

    def run(*args):
        return shell.start("chatbroker", *args, "--data-dir", str(data)).finish()

    return run


@pytest.fixture
def invite(operator):
    """An invitation, as the invited are given it."""

    def make(name, *options):
        status, out, _err = operator("invite", name, *options)
        assert status == 0
        return re.fullmatch(r"chat accept '(chat://[^']*)'\n", out)[1]

    return make


def chat_address(broker):
    return broker.address.replace("tcp://", "chat://")


def test_the_brokers_own_user_needs_no_step_at_all(shell, secure):
    alice = shell.chat("join", "alice", at=secure)
    alice.type("info")
    alice.shows("online: alice")
    assert shell.run("echo", "from cron", at=secure) == (0, "", "")
    assert shell.run("send", "alice", "hi", "--as", "bob", at=secure) == (0, "", "")
    alice.shows(r"from cron$")
    alice.shows(r"bob -> alice: hi$")
    assert alice.finish().status == 0
    again = shell.run("listen", "--since", "all", "--count", "1", at=chat_address(secure))
    assert again.status == 0
    assert "from cron" in again.out


def test_who_is_invited_accepts_and_is_in(shell, secure, far, invite):
    address = chat_address(secure)
    line = invite("Alice")
    accepted = shell.run("accept", line, env=far)
    assert accepted.status == 0
    assert accepted.out == f"you are alice at {address}\n"
    assert accepted.err == f"chat: next: chat join alice --broker {address}\n"
    assert shell.run("whoami", at=address, env=far) == (0, "alice\n", "")
    # By then no name need be given, and no other can be.
    assert shell.run("echo", "hello", at=address, env=far).status == 0
    heard = shell.run("listen", "--since", "all", "--count", "1", at=secure)
    assert heard.out.endswith(" alice: hello\n")
    other = shell.run("echo", "hello", "--as", "bob", at=address, env=far)
    assert (other.status, other.out) == (5, "")
    assert "there is no key of 'bob' for the secure broker" in other.err


def test_who_accepts_what_the_broker_cannot_store_may_try_again(shell, secure, data, far, invite):
    line, kept = invite("alice"), data / "members.json"
    kept.rename(data / "kept")
    kept.mkdir()
    refused = shell.run("accept", line, env=far)
    assert (refused.status, refused.out) == (1, "")
    words = "the key cannot be stored now on chat://"
    assert refused.err.startswith(f"chat: {words}")
    assert str(data) not in refused.err
    kept.rmdir()
    assert shell.run("accept", line, env=far).status == 0


@pytest.mark.parametrize(("options", "hinted"), [((), True), (("--host", "10.0.0.7"), False)])
def test_an_invitation_that_is_of_use_here_only_says_so(secure, operator, options, hinted):
    ended = operator("invite", "alice", *options)
    assert ended.status == 0
    assert ("only this machine reaches 127.0.0.1; run it with --host" in ended.err) is hinted
    assert ("@10.0.0.7:" in ended.out) is not hinted


def test_an_operator_is_told_that_a_name_is_somebodys(shell, secure, operator):
    shell.run("echo", "hi", "--as", "alice", at=secure)
    warning = "alice is somebody's here already: by this key they are the same user"
    assert warning in operator("invite", "alice").err
    assert warning not in operator("invite", "bob").err


def test_an_invitation_is_good_once(shell, secure, far, invite, tmp_path):
    line = invite("alice")
    assert shell.run("accept", "-", input=f"{line}\n", env=far).status == 0
    assert shell.run("accept", line, env=far).status == 0  # Whose it is may say it again.
    thief = shell.run("accept", line, env={"CHATBROKER_DATA": str(tmp_path / "thief")})
    assert (thief.status, thief.out) == (5, "")
    assert "another invitation is needed: this one was used, or is out of date" in thief.err
    # No key in vain is left, which would stand in the way of another name.
    (identity,) = (tmp_path / "thief").rglob("alice")
    assert "key" not in json.loads(identity.read_text())


def test_an_invitation_that_is_out_of_date_lets_nobody_in(shell, secure, far, invite, eventually):
    line = invite("alice", "--for", "1ms")
    refused = shell.run("accept", line, env=far)
    assert refused.status == 5
    assert "out of date" in refused.err


def test_of_two_who_accept_at_the_same_instant_one_gets_in(shell, secure, invite, tmp_path):
    line = invite("alice")
    envs = [{"CHATBROKER_DATA": str(tmp_path / name)} for name in ("one", "two")]
    both = [shell.chat("accept", line, env=env) for env in envs]
    ended = [program.finish() for program in both]
    assert sorted(end.status for end in ended) == [0, 5], ended


@pytest.mark.parametrize(
    "command",
    [["join", "alice"], ["send", "alice", "hi"], ["echo", "hi"], ["info"], ["listen"], ["history"]],
    ids=lambda command: command[0],
)
def test_everyone_else_is_refused_in_words(shell, secure, far, command):
    ended = shell.run(*command, at=secure, env=far)
    assert (ended.status, ended.out) == (5, "")
    assert ended.err == (
        "chat: an invitation, for 'chat accept', or its whole address if your key is admitted, "
        "is needed to get in to the secure broker "
        f"on {secure.address}\n"
    )
    with_key = f"{chat_address(secure)}/{key_text(bytes(32))}"
    ended = shell.run(*command, at=with_key, env=far)
    assert (ended.status, ended.out) == (5, "")
    assert "there is no key for" in ended.err or "there is no key of 'alice' for" in ended.err


def test_a_broker_that_proves_another_key_is_told(shell, secure, far, invite):
    line = invite("alice")
    other = re.sub(r"/[^/]*$", f"/{key_text(b'k' * 32)}", line)
    ended = shell.run("accept", other, env=far)
    assert (ended.status, ended.out) == (5, "")
    assert "is not proved by the broker" in ended.err
    # It was not believed: the right invitation is good still.
    assert shell.run("accept", line, env=far).status == 0


def test_a_plain_broker_in_a_secure_ones_place_is_told(shell, secure, far, invite):
    line = invite("alice")
    assert shell.run("accept", line, env=far).status == 0
    port, pub_port = secure.port, secure.pub_port
    secure.stop()
    with BrokerProcess(port=port, pub_port=pub_port):
        for address in (chat_address(secure), secure.address):
            ended = shell.run("echo", "a secret", at=address, env=far)
            assert ended.status == 5
            assert f"nothing is encrypted or proved by the plain broker on {address}" in ended.err
        assert shell.run("echo", "hi", at=secure).status == 0  # Its own user knows no key.


def test_keygen_and_admit_do_without_a_secret_that_travels(shell, secure, far, operator, data):
    server_key = json.loads((data / "server.key").read_text())
    assert "secret" in server_key
    address = chat_address(secure)
    made = shell.run("keygen", "alice", at=address, env=far)
    assert made.status == 0
    key = made.out.strip()
    assert shell.run("keygen", "alice", at=address, env=far).out == made.out
    admitted = operator("admit", "alice", key)
    assert admitted.status == 0
    whole = f"{address}/{admitted.err.strip().rpartition('/')[2]}"
    assert shell.run("whoami", "--as", "alice", at=whole, env=far) == (0, "alice\n", "")
    told = json.loads(shell.run("whoami", "--json", at=whole, env=far).out)
    assert told == {"type": "you", "name": "alice", "broker": address, "key": key}
    taken = operator("admit", "bob", key)
    assert (taken.status, taken.out) == (6, "")
    assert "that of 'alice'" in taken.err


def test_who_is_admitted_is_listed(secure, operator, shell, far, invite):
    line = invite("alice")
    invite("bob")
    shell.run("accept", line, env=far)
    members = [json.loads(line) for line in operator("members", "--json").out.splitlines()]
    assert [(one["type"], one["name"]) for one in members] == [
        ("member", "alice"),
        ("invitation", "bob"),
    ]
    assert re.fullmatch(
        r"alice  \w{52}  since \S+Z\nbob    \w{52}  invited, until \S+Z\n",
        operator("members").out,
    )


def test_a_key_that_is_taken_back_ends_at_once(shell, secure, far, invite, operator, eventually):
    address = chat_address(secure)
    shell.run("accept", invite("alice"), env=far)
    joined = shell.chat("join", "alice", "--stay", at=address, env=far)
    joined.type("info")
    joined.shows("online: alice")
    listening = shell.chat("listen", at=address, env=far)
    listening.says("listening")
    assert operator("revoke", "alice") == (0, "", "")
    for program in (joined, listening):
        ended = program.wait()
        assert ended.status == 5
        assert "admitted no more" in ended.err or "not admitted" in ended.err
    assert shell.run("whoami", "--as", "alice", at=address, env=far).status == 5
    assert operator("revoke", "alice").status == 6
    # The name is nobody else's for that.
    squatter = shell.run("echo", "hi", "--as", "alice", at=secure)
    assert squatter.status == 4


def test_an_invitation_after_a_key_was_taken_back_admits_another_one(
    shell, secure, far, invite, operator, tmp_path
):
    """Somebody may have a copy of the former."""
    address = chat_address(secure)
    used = invite("alice")
    shell.run("accept", used, env=far)
    thief = {"CHATBROKER_DATA": str(tmp_path / "thief")}
    shutil.copytree(far["CHATBROKER_DATA"], thief["CHATBROKER_DATA"])
    (identity,) = (tmp_path / "far").rglob("alice")
    former = identity.read_text()
    operator("revoke", "alice")
    refused = shell.run("accept", used, env=far)
    assert (refused.status, identity.read_text()) == (5, former)
    assert shell.run("accept", invite("alice"), env=far).status == 0
    assert shell.run("whoami", at=address, env=far) == (0, "alice\n", "")
    assert shell.run("whoami", "--as", "alice", at=address, env=thief).status == 5


def test_who_is_banned_does_not_listen_without_a_name(
    shell, secure, far, invite, operator, tmp_path
):
    address = chat_address(secure)
    shell.run("accept", invite("alice"), env=far)
    listening = shell.chat("listen", at=address, env=far)
    listening.says("listening")
    assert operator("ban", "alice", "--reason", "spam") == (0, "", "")
    ended = listening.wait()
    assert (ended.status, ended.out) == (5, "")
    assert "'alice' is banned (spam)" in ended.err
    kept_out = shell.run("listen", at=address, env=far)
    assert kept_out.status == 5
    assert "is not admitted, or no more (or its user is banned), on chat://" in kept_out.err
    invited = shell.run("accept", invite("alice"), env=far | {"CHATBROKER_DATA": str(tmp_path)})
    assert invited.status == 5
    assert "this one was used, or is out of date (or its user is banned), on" in invited.err
    assert operator("unban", "alice") == (0, "", "")
    assert shell.run("whoami", at=address, env=far) == (0, "alice\n", "")


def subscribers(operator):
    return json.loads(operator("status", "--json").out)["connections"]["subscribers"]


def test_subscriptions_of_a_key_that_is_taken_back_end(secure, data, operator, eventually):
    """Of a peer that keeps its SUB and never asks anything again."""
    with zmq.Context() as context:
        public, secret = zmq.curve_keypair()
        raw = zmq.utils.z85.decode(public)
        known = operator("admit", "alice", key_text(raw)).err.strip().rpartition("/")[2]
        sub = context.socket(zmq.SUB)
        with sub, sub.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
            sub.setsockopt(zmq.CURVE_SERVERKEY, parse_key(known))
            sub.curve_publickey, sub.curve_secretkey = public, secret
            sub.setsockopt(zmq.LINGER, 0)
            sub.subscribe(b"echo\0")
            sub.subscribe(b"greeting\0")
            sub.connect(secure.pub_address)
            assert sub.poll(PATIENCE * 1000)
            # Else it would be cut off for its silence, and not for its key.
            eventually(lambda: subscribers(operator) == 1, "it did not subscribe")
            assert operator("revoke", key_text(raw)).status == 0
            assert subscribers(operator) == 0
            assert monitor.poll(PATIENCE * 1000)
            sub.disable_monitor()
            with Client("bob", secure.address) as bob:
                bob.echo("not for alice")
            while sub.poll(300):
                assert sub.recv_multipart() == [b"greeting\0"]


@contextmanager
def goes_on(joined, broker, data, fast_leases):
    """A join stays while *broker* is killed and started again; the new one."""
    port, pub_port = broker.port, broker.pub_port
    joined.type("echo before")
    joined.shows("alice: before")
    broker.kill()
    with BrokerProcess(
        "--secure", *fast_leases, data_dir=data, port=port, pub_port=pub_port
    ) as again:
        joined.type("echo after")
        joined.shows("alice: after")
        assert joined.finish().status == 0
        yield again


def test_a_restart_changes_nothing(shell, data, fast_leases, far, monkeypatch):
    with BrokerProcess("--secure", *fast_leases, data_dir=data) as broker:
        owned(broker, shell, monkeypatch)
        own = Client("olga", broker.address, reconnect=PATIENCE)
        status = shell.start("chatbroker", "invite", "alice", "--data-dir", str(data)).finish()
        line = status.out.split("'")[1]
        shell.run("accept", line, env=far)
        joined = shell.chat("join", "alice", at=chat_address(broker), env=far)
        with goes_on(joined, broker, data, fast_leases) as again:
            own.echo("mine")
            own.close()
            assert shell.run("accept", line, at=again, env=far).status == 0


def test_the_brokers_own_user_has_their_name_and_mail_after_a_restart(
    shell, data, fast_leases, monkeypatch
):
    """Also when a session of theirs stayed through it, and went on."""
    with BrokerProcess("--secure", *fast_leases, data_dir=data) as broker:
        owned(broker, shell, monkeypatch)
        joined = shell.chat("join", "alice", at=broker)
        with goes_on(joined, broker, data, fast_leases) as again:
            assert shell.run("send", "alice", "mail", "--as", "bob", at=again).status == 0
            back = shell.run("join", "alice", at=again)
            assert (back.status, back.err) == (0, "")
            assert back.out.endswith("bob -> alice: mail\n")


@pytest.mark.parametrize("served_before", [True, False])
def test_a_command_of_the_brokers_own_user_waits_until_it_serves(
    shell, data, monkeypatch, eventually, tmp_path, served_before
):
    shell.env["CHATBROKER_DATA"] = str(tmp_path / "home")
    run = ("chatbroker", "run", "--secure", "--data-dir", str(data), "--pub-port", "0")
    port = "0"
    if served_before:
        broker = shell.start(*run, "--port", port)
        broker.shows("ready")
        broker.signal(signal.SIGTERM)
        port = re.search(r":(\d+)$", broker.wait().out.strip())[1]
    else:
        with BrokerProcess() as other:
            port = str(other.port)
    address = f"tcp://127.0.0.1:{port}"
    patience = ("--timeout", str(PATIENCE))
    waiting = shell.chat("echo", "--as", "bob", *patience, "hi", at=address)
    # Its socket is there, and what was to be found of the broker was looked for.
    eventually(lambda: len(os.listdir(f"/proc/{waiting.pid}/task")) > 1, "it did not connect")
    shell.start(*run, "--port", port).shows("ready")
    assert waiting.wait() == (0, "", "")


def test_nothing_travels_in_the_clear(secure, proxies, shell, far, invite):
    """What crosses the network holds neither texts nor names nor tokens."""
    line = invite("alice")
    proxy = proxies(secure)
    proxy.seen = seen = bytearray()
    through = line.replace("127.0.0.1", proxy.HOST)
    assert shell.run("accept", through, env=far).status == 0
    address = f"chat://{proxy.HOST}:{secure.port}"
    assert shell.run("echo", "a very secret text", at=address, env=far).status == 0
    assert len(seen) > 2000
    assert b"CURVE" in seen
    for secret in (b"very secret", b"alice", line.split(":")[2].split("@")[0].encode()):
        assert secret not in seen


# --- the safe default ---------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*"])
def test_a_plain_broker_is_not_for_other_machines(shell, host):
    ended = shell.start("chatbroker", "run", "--memory", "--port", "0", "--host", host).finish()
    assert (ended.status, ended.out) == (2, "")
    assert "give --secure, or --insecure if that is meant" in ended.err


def test_unless_somebody_insists_and_then_it_warns(shell):
    broker = shell.start(
        "chatbroker", "run", "--memory", "--port", "0", "--host", "0.0.0.0", "--insecure"
    )
    broker.shows("ready at tcp://0.0.0.0:")
    broker.says("WARNING insecure host=0.0.0.0: everyone there comes in, nothing is encrypted")
    broker.signal(signal.SIGTERM)
    assert broker.wait().status == 0


def test_secure_and_insecure_exclude_each_other(shell):
    ended = shell.start("chatbroker", "run", "--secure", "--insecure", "--memory").finish()
    assert ended.status == 2


def test_a_file_for_the_own_user_goes_with_the_broker(shell, data, tmp_path, eventually):
    env = {"CHATBROKER_DATA": str(tmp_path / "home")}
    run = tmp_path / "home" / "run"
    command = ("chatbroker", "run", "--secure", "--port", "0", "--data-dir", str(data))
    broker = shell.start(*command, env=env)
    broker.shows("ready")
    (left,) = run.iterdir()
    assert left.stat().st_mode & 0o777 == 0o600
    broker.signal(signal.SIGTERM)
    assert broker.wait().status == 0
    assert not [*run.iterdir()]
    # Of one that was killed, the next one on its port takes it away, if it is plain.
    broker = shell.start(*command, env=env)
    broker.shows("ready")
    (left,) = run.iterdir()
    broker.kill()
    assert left.exists()
    host, _, port = left.stem.rpartition("_")
    assert host == "127.0.0.1"
    free = ("--port", port, "--pub-port", "0")
    plain = shell.start("chatbroker", "run", "--memory", *free, env=env)
    plain.shows("ready")
    assert not left.exists()


def test_an_operator_is_told_when_nothing_runs(shell, data, operator):
    ended = operator("invite", "alice")
    assert (ended.status, ended.out) == (1, "")
    assert "no broker serves from" in ended.err


def test_a_plain_broker_invites_nobody(shell, data, operator):
    with BrokerProcess(data_dir=data):
        ended = operator("invite", "alice")
        assert (ended.status, ended.out) == (6, "")
        assert "the broker is not a secure one; start it with --secure" in ended.err


# --- two machines -------------------------------------------------------------------------


def _ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, timeout=PATIENCE)


@pytest.fixture
def two_machines():
    """Two network namespaces that reach each other; their names and the first one's address."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("making network namespaces takes root, and Debian's iproute2")
    tag = f"{os.getpid() % 100000:05d}"
    one, two = f"chat{tag}a", f"chat{tag}b"
    made = []
    try:
        for name in (one, two):
            try:
                _ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
            made.append(name)
        _ip(
            "link",
            "add",
            f"v{tag}a",
            "netns",
            one,
            "type",
            "veth",
            "peer",
            f"v{tag}b",
            "netns",
            two,
        )
        for name, end, address in ((one, "a", "10.97.0.1/24"), (two, "b", "10.97.0.2/24")):
            _ip("-n", name, "addr", "add", address, "dev", f"v{tag}{end}")
            _ip("-n", name, "link", "set", f"v{tag}{end}", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield one, two, "10.97.0.1"
    finally:
        for name in made:
            _ip("netns", "del", name)


def test_two_machines_are_set_up_as_the_readme_tells(shell, two_machines, data, far, tmp_path):
    here, there, address = two_machines
    begun = time.monotonic()
    on_one = ("ip", "netns", "exec", here)
    on_two = ("ip", "netns", "exec", there)
    broker = shell.start(
        *on_one,
        *("chatbroker", "run", "--secure", "--host", "0.0.0.0", "--data-dir", str(data)),
    )
    broker.shows("chatbroker ready at tcp://0.0.0.0:5555")
    invited = shell.start(
        *on_one, "chatbroker", "invite", "alice", "--host", address, "--data-dir", str(data)
    ).finish()
    assert invited.status == 0
    # The line is pasted as it is printed.
    accepted = shell.start(*on_two, "bash", "-c", invited.out, env=far).finish()
    assert accepted.status == 0
    assert accepted.out == f"you are alice at chat://{address}:5555\n"
    join = accepted.err.removeprefix("chat: next: ").strip()
    alice = shell.start(*on_two, "bash", "-c", f"exec {join}", env=far)
    alice.type("echo hello from afar")
    alice.shows("alice: hello from afar")
    heard = shell.start(*on_one, "chat", "listen", "--since", "all", "--count", "1").finish()
    assert heard.status == 0
    assert "alice: hello from afar" in heard.out
    print(f"two machines were set up in {time.monotonic() - begun:.1f} s")
    stranger = {"CHATBROKER_DATA": str(tmp_path / "stranger")}
    for broker_address in (f"tcp://{address}:5555", f"chat://{address}:5555"):
        ended = shell.start(
            *on_two, "chat", "info", "--broker", broker_address, env=stranger
        ).finish()
        assert (ended.status, ended.out) == (5, "")
    assert alice.finish().status == 0
