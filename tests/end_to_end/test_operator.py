"""``chatbroker status``, ``kick``, ``ban``, ``mute``, ``announce``, SIGHUP: with real processes."""

from __future__ import annotations

import json
import os
import re
import resource
import signal

import pytest

from chatbroker.command import VERSION
from chatbroker.testing.brokers import BrokerProcess


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "d"


@pytest.fixture
def serve(shell, folder):
    """Starts a broker on the folder; the program."""

    def start(*options, **more):
        command = ["chatbroker", "run", "--port", "0", "--pub-port", "0", *options]
        program = shell.start(*command, "--data-dir", str(folder), **more)
        program.shows("ready")
        program.address = program.out.split()[-1]
        return program

    return start


@pytest.fixture
def operate(shell, folder):
    """Runs ``chatbroker`` on the folder."""

    def run(*args):
        return shell.start("chatbroker", *args, "--data-dir", str(folder)).finish()

    return run


def ends(program):
    program.signal(signal.SIGTERM)
    ended = program.wait()
    assert ended.status == 0
    return ended


def audited(folder):
    return [json.loads(line) for line in (folder / "audit.log").read_text().splitlines()]


# --- kick, ban, mute ----------------------------------------------------------------------


def test_who_is_kicked_ends_with_5_and_comes_back(shell, serve, operate):
    broker = serve()
    bob = shell.chat("listen", "--as", "bob", at=broker.address)
    bob.says("listening")
    assert operate("kick", "Bob", "--reason", "too loud") == (0, "", "")
    ended = bob.wait()
    assert ended.status == 5
    words = f"'bob' was kicked by the broker's operator (too loud) on {broker.address}"
    assert ended.err.splitlines()[-1] == f"chat: {words}; you may come back"
    refused = operate("kick", "bob")
    assert refused == (6, "", "chatbroker: nobody is on as 'bob'; 'chat info' tells who is\n")
    assert shell.run("join", "bob", input="echo back\n", at=broker.address).status == 0
    ends(broker)


@pytest.mark.parametrize("command", [["echo", "--lines", "--as", "bob"], ["join", "bob"]])
def test_of_many_lines_a_kick_leaves_no_outcome_untold_that_is_known(
    shell, serve, operate, command
):
    broker = serve()
    verb = "" if command[0] == "echo" else "echo "
    script = f"yes '{verb}x' | chat {' '.join(command)} --json"
    lines = shell.start("bash", "-o", "pipefail", "-c", script, at=broker.address)
    lines.shows('"line":300}')
    assert operate("kick", "bob") == (0, "", "")
    ended = lines.wait()
    assert ended.status in (5, 7)
    assert "'bob' was kicked by the broker's operator" in ended.err
    records = [json.loads(line) for line in ended.out.splitlines()]
    accepted = [record["line"] for record in records if record.get("type") == "accepted"]
    assert accepted == [*range(1, len(accepted) + 1)]
    if unknown := re.search(r"^chat: line (\d+) was", ended.err, re.M):
        assert int(unknown[1]) == len(accepted) + 1
    else:
        assert ended.status == 5  # Nothing was under way.
    ends(broker)


def test_a_ban_holds_until_it_is_lifted_whether_or_not_a_broker_runs(shell, serve, operate, folder):
    broker = serve()
    lines = shell.chat("join", "bob", at=broker.address)
    lines.feed(b"echo hi\n")
    lines.shows("bob: hi")
    assert operate("ban", "bob", "--reason", "spam") == (0, "", "")
    assert lines.finish().status == 5
    lift = "the broker's operator can lift that"
    banned = f"chat: 'bob' is banned (spam) on {broker.address}; {lift}\n"
    for command in (
        ["join", "bob"],
        ["send", "bob", "hi", "--as", "BOB"],
        ["listen", "--as", "bob"],
        ["history", "--as", "bob"],
    ):
        assert shell.run(*command, at=broker.address)[::2] == (5, banned), command
    ends(broker)

    listed = operate("bans")
    assert (listed.status, listed.err) == (0, "")
    assert listed.out.startswith("ban  bob  since 20")
    assert listed.out.endswith("  spam\n")
    assert operate("mute", "alice") == (0, "", "")
    found = [json.loads(line) for line in operate("bans", "--json").out.splitlines()]
    assert [(one["kind"], one["name"], one["reason"]) for one in found] == [
        ("ban", "bob", "spam"),
        ("mute", "alice", ""),
    ]

    # On the same port: who one is, is kept by address.
    broker = serve("--port", broker.address.rpartition(":")[2])
    assert shell.run("join", "bob", at=broker.address).status == 5
    assert shell.run("echo", "hi", "--as", "alice", at=broker.address).status == 6
    assert operate("unban", "bob") == (0, "", "")
    words = "chatbroker: 'bob' is not banned; 'chatbroker bans' tells who is\n"
    assert operate("unban", "bob") == (6, "", words)
    assert shell.run("join", "bob", at=broker.address).status == 0
    ends(broker)
    assert operate("unmute", "alice") == (0, "", "")
    assert operate("bans") == (0, "", "")
    assert (folder / "sanctions.json").stat().st_mode & 0o777 == 0o600
    assert (folder / "audit.log").stat().st_mode & 0o777 == 0o600
    refused = [line for line in audited(folder) if line["event"] == "refused"]
    assert {(line["code"], line["user"], line["address"]) for line in refused} == {
        ("banned", "bob", "127.0.0.1")
    }
    assert {line["by"] for line in audited(folder) if "by" in line} == {os.getuid()}


def test_who_is_muted_is_told_and_refused_by_line(shell, serve, operate):
    broker = serve()
    lines = shell.chat("join", "alice", at=broker.address)
    lines.feed(b"echo one\n")
    lines.shows("alice: one")
    assert operate("mute", "alice", "--for", "10m", "--reason", "loud") == (0, "", "")
    lines.says(r"chat: 'alice' is muted until 20.*Z \(loud\)")
    lines.feed(b"echo two\nsend alice three\ninfo\n")
    ended = lines.finish()
    assert ended.status == 6
    for line in (2, 3):
        assert f"chat: line {line}: you are muted by the broker's operator\n" in ended.err
    assert "two" not in ended.out
    assert "* online: alice" in ended.out
    as_json = shell.run("echo", "hi", "--as", "alice", "--json", at=broker.address)
    assert as_json.status == 6
    assert json.loads(as_json.out)["code"] == "muted"
    assert re.search(r"^chat: 'alice' is muted until 20.*Z \(loud\)$", as_json.err, re.M)
    assert operate("unmute", "alice").status == 0
    assert shell.run("echo", "hi", "--as", "alice", at=broker.address).status == 0
    ends(broker)


def test_a_mute_is_over_at_its_time(shell, serve, operate, eventually):
    broker = serve()
    assert operate("mute", "alice", "--for", "200ms").status == 0
    eventually(lambda: operate("bans").out == "", "the mute was not over")
    assert shell.run("echo", "hi", "--as", "alice", at=broker.address).status == 0
    ends(broker)


def test_an_announcement_is_told_to_everybody_and_cannot_write_to_their_terminals(
    shell, serve, operate, folder
):
    broker = serve()
    lines = shell.chat("join", "alice", at=broker.address)
    listens = shell.chat("listen", "--json", at=broker.address)
    listens.says("listening")
    lines.feed(b"info\n")
    lines.shows("online: alice")
    assert operate("announce", "back", "in \x1b[31m five") == (0, "", "")
    for program in (lines, listens):
        program.says(r"^chat: announcement: back in \\x1b\[31m five$")
    script = f"date +'it is %Y' | chatbroker announce - --data-dir {folder}"
    assert shell.script(script) == (0, "", "")
    lines.says(r"^chat: announcement: it is 20\d\d$")
    assert listens.out == ""
    ends(broker)


# --- status -------------------------------------------------------------------------------


def test_status_is_shown_as_lines_as_json_and_again_and_again(shell, serve, operate, folder):
    broker = serve()
    assert shell.run("echo", "hi", "--as", "alice", at=broker.address).status == 0
    shown = operate("status")
    assert (shown.status, shown.err) == (0, "")
    assert f"broker:      {broker.address} (plain), chatbroker " in shown.out
    assert "users:       0 on, 1 known, 1 claimed\n" in shown.out
    found = json.loads(operate("status", "--json").out)
    assert (found["address"], found["messages"]["total"]) == (broker.address, 1)
    here = ("--data-dir", str(folder))
    watching = shell.start("chatbroker", "status", "--watch", "--json", *here)
    watching.shows_lines(2)
    watching.signal(signal.SIGINT)
    ended = watching.wait()
    assert ended.status == 130
    assert all(json.loads(line)["address"] == broker.address for line in ended.out.splitlines())
    blocks = shell.start("chatbroker", "status", "--watch", *here)
    blocks.shows("^$", times=2)
    assert "\x1b" not in blocks.out
    ends(broker)
    ended = blocks.wait()
    assert ended.status == 1
    assert "no broker runs at" in ended.err


def test_on_a_terminal_status_is_watched_in_place(shell, serve, folder):
    broker = serve()
    near, far = os.openpty()
    try:
        where = os.ttyname(far)
        command = f"exec chatbroker status --watch --data-dir {folder} > {where}"
        watching = shell.start("bash", "-c", command)
        shown = b""
        while shown.count(b"\x1b[H\x1b[2Jbroker: ") < 2:
            shown += os.read(near, 4096)
        watching.signal(signal.SIGINT)
        assert watching.wait().status == 130
    finally:
        os.close(near)
        os.close(far)
    ends(broker)


def test_a_broker_in_memory_has_a_hand_and_leaves_no_trace(shell, tmp_path):
    home = tmp_path / "home"
    env = {"CHATBROKER_DATA": str(home)}
    command = ["chatbroker", "run", "--memory", "--port", "0", "--pub-port", "0"]
    broker = shell.start(*command, env=env)
    broker.shows("ready")
    address = broker.out.split()[-1]
    here = ("--port", address.rpartition(":")[2])

    def operate(*args):
        return shell.start("chatbroker", *args, *here, env=env).finish()

    nobody = "nobody has the name 'bob' so far; the ban holds for whoever comes with it"
    assert operate("ban", "bob") == (0, "", f"chatbroker: {nobody}\n")
    assert shell.run("join", "bob", at=address, env=env).status == 5
    assert json.loads(operate("status", "--json").out)["memory"] is True
    folder = home / f"broker-{here[1]}"
    assert sorted(os.listdir(folder)) == ["control", "lock"]
    words = "the broker there keeps everything in memory, and has nothing to read or copy"
    for command in (["names", "list"], ["check"], ["backup", str(tmp_path / "copy")]):
        none = f"chatbroker: there is no journal at {folder / 'journal.db'}: {words}\n"
        assert operate(*command) == (1, "", none)
    assert ends(broker).err == ""
    assert not folder.exists()
    gone = operate("status")
    assert gone[:2] == (1, "")
    assert gone.err.startswith(f"chatbroker: no broker runs at {folder}; start it, or give")


def test_brokers_of_tests_are_reached_by_their_environment(shell):
    with BrokerProcess() as broker:
        here = ("--port", str(broker.port))
        env = {"CHATBROKER_DATA": broker.env["CHATBROKER_DATA"]}
        found = shell.start("chatbroker", "status", "--json", *here, env=env).finish()
        assert json.loads(found.out)["address"] == broker.address


def test_what_is_warned_of_without_a_broker_is_said_by_the_command(operate, serve, folder):
    ends(serve())
    folder.chmod(0o755)
    (folder / "audit.log").unlink()
    (folder / "audit.log").mkdir()
    ended = operate("ban", "bob")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err.splitlines() == [
        f"chatbroker: folder path={folder} is open to others; chmod 700 would close it",
        f"chatbroker: audit path={folder / 'audit.log'} cannot be written: Is a directory",
    ]


# --- what is wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        (["status"], 1, "no broker runs at {folder}"),
        (["kick", "bob"], 1, "no broker runs at {folder}"),
        (["announce", "hi"], 1, "no broker runs at {folder}"),
        (["ban", "bob"], 1, "there is no data folder at {folder}"),
        (["bans"], 1, "there is no data folder at {folder}"),
        (["ban", "bob", "--for", "soon"], 2, "--for: 'soon' is no duration such as"),
        (["mute", "bob", "--for", "0s"], 2, "--for: '0s' is no duration such as"),
        (["ban"], 2, "Missing argument 'NAME|KEY'"),
        (["announce"], 2, "Missing argument 'TEXT...'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_told_in_one_line(operate, folder, command, status, words):
    ended = operate(*command)
    assert (ended.status, ended.out, ended.err.count("\n")) == (status, "", 1)
    assert ended.err.startswith(f"chatbroker: {words.format(folder=folder)}")
    assert not folder.exists()


@pytest.mark.parametrize("command", ["kick", "ban", "unban", "mute", "unmute"])
def test_a_name_that_is_none_is_refused(serve, operate, command):
    broker = serve()
    refused = operate(command, "no name")
    assert (refused.status, refused.out) == (6, "")
    assert refused.err.startswith("chatbroker: not a valid name: 'no name'; ")
    ends(broker)


def test_a_reason_or_a_text_that_cannot_be_told_is_refused(serve, operate):
    broker = serve()
    for command in (["ban", "bob", "--reason", "a\nb"], ["announce", "x" * 1025]):
        refused = operate(*command)
        assert (refused.status, refused.err.count("\n")) == (6, 1)
    assert operate("bans").out == ""
    ends(broker)


# --- no descriptors left ------------------------------------------------------------------


@pytest.fixture
def grants(serve):
    """A broker, and what has it open so many files more and no others; None: as many as before."""
    broker = serve("--metrics-port", "0")
    before = resource.prlimit(broker.pid, resource.RLIMIT_NOFILE)

    def grant(more):
        used = {int(name) for name in os.listdir(f"/proc/{broker.pid}/fd")}
        soft = before[0] if more is None else max(used) + 1 + more
        resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (soft, before[1]))

    return broker, grant


def test_a_broker_without_descriptors_tells_how_it_is_and_lives(grants, operate, eventually):
    broker, grant = grants
    grant(1)  # For the operator's own word.
    found = operate("status", "--json")
    assert (found.status, json.loads(found.out)["version"]) == (0, VERSION)
    grant(None)
    assert operate("status").status == 0
    assert ends(broker).err.count("\n") == 1  # Where metrics are.


def test_the_audit_goes_on_where_no_new_file_can_be_opened(grants, operate, folder, eventually):
    broker, grant = grants
    assert operate("ban", "mallory").status == 0
    grant(0)
    broker.signal(signal.SIGHUP)
    broker.says("Too many open files")
    grant(None)
    assert operate("ban", "trudy").status == 0
    assert [line["user"] for line in audited(folder) if line["event"] == "ban"] == [
        "mallory",
        "trudy",
    ]
    ends(broker)


# --- SIGHUP -------------------------------------------------------------------------------


def test_sighup_reads_the_config_file_again(shell, serve, operate, folder, tmp_path, eventually):
    config = tmp_path / "config.toml"
    config.write_text('[chatbroker.run]\nkeep = "7d"\n')
    env = {"CHATBROKER_CONFIG": str(config)}
    broker = serve("--claim-ttl", "5d", env=env)

    def limits():
        return json.loads(operate("status", "--json").out)["limits"]

    assert limits()["keep"] == 7 * 86400
    config.write_text(
        '[chatbroker.run]\nkeep = "8d"\nkeep-bytes = "unlimited"\nclaim-ttl = "9d"\n'
        'sync = "off"\nverbose = true\nlog-format = "json"\n'
        '[chatbroker.run.limit]\ntext = 20\nmessages = "7/9"\n'
    )
    broker.signal(signal.SIGHUP)
    eventually(lambda: limits()["keep"] == 8 * 86400, "the file was not read again")
    found = limits()
    # What the command line says comes before the file.
    assert (found["keep_bytes"], found["claim_ttl"], found["sync"]) == (None, 5 * 86400, "full")
    assert (found["text"], found["messages"]) == (20, {"per_second": 7, "burst": 9})
    assert shell.run("echo", "x" * 20, at=broker.address).status == 0
    assert shell.run("echo", "x" * 21, at=broker.address).status == 6
    (line,) = [line for line in audited(folder) if line["event"] == "reread"]
    assert line["changed"] == ["keep", "keep-bytes", "limit", "verbose", "log-format"]
    assert line["needs_restart"] == ["sync"]
    broker.says('"waiting": "sync"')
    lines = [json.loads(line) for line in broker.err.splitlines()]
    assert {one["event"] for one in lines} == {"reread"}
    assert [one["waiting"] for one in lines if one["level"] == "warning"] == ["sync"]

    config.write_text("[chatbroker.run]\nkept = 1\n")
    broker.signal(signal.SIGHUP)
    broker.says("reread of=config failed, what was stays: .*has no option 'kept'")
    config.write_text("[chatbroker.run]\nverbose = 1\n")
    broker.signal(signal.SIGHUP)
    broker.says("reread of=config failed, what was stays: .*verbose wants true or false, not 1")
    assert limits() == found

    (folder / "audit.log").rename(folder / "audit.log.1")
    config.unlink()
    broker.signal(signal.SIGHUP)
    broker.says(r"reread of=config failed, what was stays: .*config.toml is gone; an empty file")
    assert limits() == found
    config.touch()
    broker.signal(signal.SIGHUP)
    eventually(lambda: limits()["keep"] == 30 * 86400, "the defaults do not hold")
    assert audited(folder)[-1]["event"] == "reread"
    ends(broker)


def test_sighup_names_only_what_changed(shell, tmp_path):
    config = tmp_path / "config.toml"
    config.touch()
    env = {"CHATBROKER_CONFIG": str(config)}
    broker = shell.start("chatbroker", "run", "--port", "0", "--memory", "-v", env=env)
    broker.shows("ready")
    broker.signal(signal.SIGHUP)
    broker.says(r'reread changed="\[\]" needs_restart="\[\]"')
    config.write_text(
        "[chatbroker.run]\nsync = 'off'\nready-file = 'there'\nmetrics-port = 9000\n"
        "metrics-host = '::1'\n[chatbroker.run.limit]\nmessages = 1000\n"
    )
    broker.signal(signal.SIGHUP)
    waiting = ["sync", "metrics-host", "metrics-port", "ready-file"]
    broker.says(rf"""changed="\['limit'\]" needs_restart="{re.escape(str(waiting))}""")
    broker.says(f"reread waiting={','.join(waiting)}: a restart makes it hold")
    ends(broker)


def test_a_broker_whose_terminal_was_closed_ends(shell, serve):
    near, far = os.openpty()
    broker = serve(stdin=far)
    os.close(far)
    broker.signal(signal.SIGHUP)
    assert shell.run("echo", "hi", at=broker.address).status == 0
    os.close(near)
    broker.signal(signal.SIGHUP)
    assert broker.wait().status == 0


def test_lines_of_the_log_are_objects(shell, serve):
    broker = serve("-v", "--log-format", "json")
    assert shell.run("join", "alice", at=broker.address).status == 0
    lines = [json.loads(line) for line in ends(broker).err.splitlines()]
    assert [line["user"] for line in lines if line["event"] == "joined"] == ["alice"]
    assert lines[-1]["event"] == "stopped"
    assert all({"time", "level", "event", "message"} <= set(line) for line in lines)
