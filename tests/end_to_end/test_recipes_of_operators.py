"""The recipes of docs/operations.md do what is told of them, as far as no systemd is needed."""

from __future__ import annotations

import re
import shutil

import pytest
import zmq
from end_to_end.recipes import COMMANDS, Document, free_pair, stand_in

OPERATIONS = Document(
    "docs/operations.md",
    elsewhere={
        "curl -s http://127.0.0.1:9464/healthz": "tests/end_to_end/test_metrics.py"
        "::test_a_broker_that_cannot_store_is_not_well"
    },
    not_run={
        "sudo python3 -m venv": "installs for the whole machine, from a registry",
        "sudo useradd": "makes a user and a service of systemd; test_contrib.py has the unit read",
        "systemctl status": "nothing but systemd's own commands",
    },
)

SYSTEMCTL = """#!/bin/bash
# What the recipes ask of systemd, for one broker.
cd "$(dirname "$0")" || exit
case "$*" in
"start chatbroker")
    chatbroker run --data-dir ../data --port $PORT --metrics-port $METRICS --ready-file ready \\
        >log 2>&1 </dev/null &
    until test -e ready; do kill -0 $! || exit; sleep 0.02; done ;;
"stop chatbroker")
    pid=$("$0" show -P MainPID chatbroker); kill "$pid"
    # Until it is gone, or nothing but its parent's to wait for.
    while test -e "/proc/$pid/exe"; do sleep 0.02; done ;;
"show -P MainPID chatbroker") sed 's/.*"pid": \\([0-9]*\\).*/\\1/' ready ;;
*) echo "systemctl: not here: $*" >&2; exit 1 ;;
esac
"""

SUDO = """#!/bin/bash
if test "$1" = -u; then shift 2; fi
exec "$@"
"""

SHOWN = {
    "sudo ls -l": r"^-rw------- .* journal\.db$",
    "sudo /opt/chatbroker/bin/python": r"^CHATBROKER-RUN\(1\) ",
    "sudo -u chatbroker /opt/chatbroker/bin/chatbroker check": r"^\S+/journal\.db: whole; 1 mess",
    "sudo -u chatbroker /opt/chatbroker/bin/chatbroker backup": r"^\S+/backups/chat\.db: whole; 1 ",
    "curl -s http://127.0.0.1:9464/metrics | grep ^chatbroker_\n": (
        r"^chatbroker_messages_total 1\.0$(?s:.)*^HTTP/1\.[01] 200 OK\s(?s:.)*^ok$"
    ),
    "curl -sf --max-time 5": r"\A\Z",
    "grep 'open files'": r"^Max open files +\d+ .*\nchatbroker_descriptors_\w+ \d",
    "df -h": r"^\S+\t\S+/data$",
    "install -d -m 700 saved": r"^\S+/saved/journal\.db: whole; 1 mess",
    "P=$(systemctl": r"^ *\d+ +\S+ +\S+ .*chatbroker run --data-dir",
    "curl -s http://127.0.0.1:9464/metrics | grep -E '^chatbroker_commit": (
        r"^chatbroker_commit_seconds_sum \d.*\n(?s:.)*^top - .*"
    ),
    "curl -s http://127.0.0.1:9464/metrics | grep -E '^chatbroker_(frames": (
        r'^chatbroker_frames_sent_total{to="all"} \d(?s:.)*^chatbroker_fetches_total \d'
    ),
    "curl -s http://127.0.0.1:9464/metrics | grep ^chatbroker_cut_off": (
        r'^chatbroker_cut_off_total{reason="subscriptions"} [1-9](?s:.)*"event": "cut_off"'
    ),
    "curl -s http://127.0.0.1:9464/metrics | grep -E '^chatbroker_(journal": (
        r"^chatbroker_messages_missed_total 0(?s:.)*^chatbroker_journal_bytes [1-9]"
    ),
}
"""What blocks show of a broker to which one message was said, in this order."""

SAID = {
    "curl -s http://127.0.0.1:9464/metrics | grep -E '^chatbroker_commit": (
        r"\nreal\t\S+\nuser\t\S+\nsys\t\S+\n"
    ),
}
"""What they say on stderr; all others nothing."""


def test_every_block_is_run():
    restore, copy = "sudo systemctl stop", "sudo install -d -m 700"
    OPERATIONS.require_tests(__file__, [*SHOWN, restore, copy])


def test_looking_after_a_service(shell, tmp_path, eventually):
    if missing := [name for name in ("curl", "ps", "top") if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    port, metrics = free_pair(), free_pair()
    stand_ins, data = tmp_path / "bin", tmp_path / "data"
    for folder in (stand_ins, data, tmp_path / "backups"):
        folder.mkdir(0o700)
    stand_in(stand_ins, "systemctl", SYSTEMCTL)
    stand_in(stand_ins, "sudo", SUDO)
    for name, shows in (("ss", "nobody is connected"), ("man", "CHATBROKER-RUN(1) ")):
        if shutil.which(name) is None:
            stand_in(stand_ins, name, f"#!/bin/sh\necho '{shows}'\n")
    here = {
        "/opt/chatbroker/bin": str(COMMANDS),
        "/var/lib/chatbroker": str(data),
        "/var/backups/chatbroker": str(tmp_path / "backups"),
        "/usr/local/share/man": str(tmp_path / "man"),
        "saved": str(tmp_path / "saved"),
        ":9464": f":{metrics}",
        ":5555": f":{port}",
        "-o chatbroker -g chatbroker ": "",  # There is no such user here.
        "sudo cat /proc/$P/stack": "",  # Nor may everybody see that.
        "top -H": "top -b -n 1 -H",  # It wants a terminal otherwise.
    }
    env = {
        "PORT": str(port),
        "METRICS": str(metrics),
        "CHAT_PORT": str(port),
        "MANPATH": str(tmp_path / "man"),
        "PATH": f"{stand_ins}:{shell.env['PATH']}",
        "COLUMNS": "400",  # Nothing is cut off.
        "no_proxy": "*",
    }

    def run(text):
        for word, other in here.items():
            text = text.replace(word, other)
        return shell.start("bash", "-o", "pipefail", "-c", text, env=env).finish()

    assert run("systemctl start chatbroker; chat echo kept --as alice") == (0, "", "")
    listener = shell.chat("listen", "--json", env=env)
    listener.says("listening")
    # One that is cut off, for subscribing to more than there is.
    with zmq.Context() as context, context.socket(zmq.SUB) as greedy:
        greedy.linger = 0
        greedy.reconnect_ivl = -1
        greedy.connect(f"tcp://127.0.0.1:{port + 1}")
        for topic in range(100):
            greedy.subscribe(f"{topic}")
        eventually(lambda: '"cut_off"' in (data / "audit.log").read_text())
    for beginning, wanted in SHOWN.items():
        done = run(OPERATIONS.block(beginning))
        assert done.status == 0, (beginning, done)
        assert re.search(wanted, done.out, re.MULTILINE), (beginning, done.out)
        assert re.fullmatch(SAID.get(beginning, ""), done.err), (beginning, done.err)
    # Each file in the folder is told of.
    assert {path.name for path in data.iterdir()} <= {*re.findall(r"`(.+?)`", OPERATIONS.text)}

    assert run("chat echo 'after the backup' --as alice") == (0, "", "")
    assert run(OPERATIONS.block("sudo systemctl stop")) == (0, "", "")
    listener.shows('"reason":"new_history"')
    # It goes on where the copy ends: what was said before it began to listen is no news.
    assert run("chat echo 'the next' --as alice") == (0, "", "")
    listener.shows("the next")
    assert "kept" not in listener.out
    assert listener.out.count("after the backup") == 1
    shown = run("chat history --format '{from}: {text}'")
    assert shown.out.startswith("alice: kept\n")
    assert "after" not in shown.out
    assert run(OPERATIONS.block("sudo install -d -m 700")) == (0, "", "")
    assert run(f"chatbroker check {tmp_path}/backups/damaged/journal.db").status == 0
    ended = run("systemctl stop chatbroker\n" + OPERATIONS.block("curl -sf --max-time 5"))
    assert ended == (0, "chatbroker is not well\n", "")
