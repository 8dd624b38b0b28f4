"""The recipes of README.md, docs/cli.md and examples/README.md do what is told of them.

Those of docs/operations.md are in test_recipes_of_operators.py.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import urllib.request
from pathlib import Path

from end_to_end.recipes import (
    COMMANDS,
    ROOT,
    TIME,
    Document,
    free_pair,
    heard,
    shown,
    stand_in,
    typed,
)

README = Document(
    "README.md",
    elsewhere={"make run": "tests/test_docs.py::test_the_readme_opens_with_the_two_commands"},
)
CLI = Document(
    "docs/cli.md",
    elsewhere={
        "eval": "tests/end_to_end/test_completion.py::test_a_shell_offers_who_is_on",
        "make man": "tests/command/test_manual.py::test_roff_has_nothing_to_say",
    },
)
EXAMPLES = Document("examples/README.md")


def test_every_block_is_run():
    source = Path(__file__).read_text()
    for name, document in (("README", README), ("CLI", CLI), ("EXAMPLES", EXAMPLES)):
        run = re.findall(rf'\b{name}\.block\(\s*"(.+?)"\s*\)', source)
        document.require_tests(__file__, run)


def test_two_terminals_and_a_script(shell, broker, tmp_path):
    (tmp_path / ".venv").symlink_to(COMMANDS.parent)
    with broker.client("bob") as bob:
        join = README.block(".venv/bin/chat join alice").rstrip()
        done = shell.script(f"cd {tmp_path}; {join} <<< info", at=broker)
        assert done == (0, "* online: alice, bob\n", "")
        script = README.block("export PATH")
        done = shell.script(f"cd {tmp_path}; PATH=/usr/bin:/bin; {script}", at=broker)
        assert (done.status, done.err) == (0, "")
        assert shown(done.out) == [
            *("* online: bob, carol", "[T] carol -> bob: hi", "[T] carol: hello"),
        ]
        assert heard(bob) == ["hello", "hi"]
    refused = README.block("$ printf 'send nobody")
    done = shell.script(typed(refused), at=broker)
    assert done.status == 6
    assert shown(done.out + done.err) == shown(refused)


def test_who_is_away_gets_it_later(shell, broker):
    assert shell.run("join", "bob", at=broker).status == 0
    away = README.block("$ chat send bob")
    done = shell.script(typed(away), at=broker)
    assert (done.status, shown(done.out + done.err)) == (0, shown(away))
    assert shell.run("echo", "the release is out", "--as", "carol", at=broker).status == 0
    done = shell.script(README.block("chat history --as bob"), at=broker)
    assert (done.status, done.err) == (0, "")
    private, public = done.out.splitlines()
    assert TIME.sub("T", private) == "[T] carol -> bob: the build is green"
    assert '"from":"carol","text":"the release is out"' in public


def test_announcing_and_waiting(shell, broker, tmp_path):
    stand_in(tmp_path, "logger", f'#!/bin/sh\necho "$@" > {tmp_path}/logged\n')
    announce = f"PATH={tmp_path}:$PATH\n" + README.block("chat echo --as backup")
    with broker.client("bob") as bob:
        assert shell.script(announce, at=broker) == (0, "", "")
        assert heard(bob)[0].startswith("backup done: 20")
    assert not (tmp_path / "logged").exists()
    nobody = f"export CHAT_BROKER=tcp://127.0.0.1:1 CHAT_TIMEOUT=0.1\n{announce}"
    done = shell.script(nobody)
    assert (done.status, done.out) == (0, "")
    assert done.err.startswith("chat: no broker answers at tcp://127.0.0.1:1; ")
    assert (tmp_path / "logged").read_text() == "nobody was told\n"

    wait = README.block("answer=$(chat listen")
    waiting = shell.start("bash", "-c", f'{wait}\necho "$? <$answer>"', at=broker)
    waiting.says("chat: listening")
    assert shell.run("echo", "not this", at=broker).status == 0
    assert shell.run("send", "deploy", "  go $HOME  ", at=broker).status == 0
    assert waiting.finish().out == "0 <  go $HOME  >\n"
    none = wait.replace("--for 60", "--for 0.1")
    assert shell.script(f"{none}\necho $?", at=broker).out == "8\n"


def followed(log, line, client):
    """Who says a line that is written to the file *log*."""
    # Who follows it may not have looked at its end yet: written until it is heard.
    for _ in range(100):
        with log.open("a") as file:
            file.write(f"{line}\n")
        for event in client.events(0.3):
            if getattr(event, "text", "") == line:
                return event.sender
    raise AssertionError(f"{line} was not heard")


def test_a_log_that_is_followed(shell, broker, tmp_path):
    log = tmp_path / "app.log"
    log.write_text("before\n")
    with broker.client("bob") as bob:
        follow = README.block("tail -n 0 -F app.log")
        shell.start("bash", "-c", f"cd {tmp_path}; {follow}", at=broker)
        assert followed(log, "first", bob) == "app-log"
        log.rename(tmp_path / "app.log.1")  # As logrotate does.
        log.write_text("")
        assert followed(log, "second", bob) == "app-log"


def test_acting_on_every_message(shell, broker, tmp_path):
    stand_in(tmp_path, "handle", '#!/bin/sh\necho "$CHAT_MESSAGE_FROM said $(cat)" >> handled\n')
    stand_in(tmp_path, "notify-send", '#!/bin/sh\necho "$1: $(cat)" >> notified\n')
    if shutil.which("jq") is None:
        # What the recipe asks of it: the texts of what is said to everyone.
        stand_in(
            tmp_path,
            "jq",
            "#!/usr/bin/env python3\nimport json, sys\nfor line in sys.stdin:\n"
            "    if (event := json.loads(line))['type'] == 'broadcast':\n"
            "        print(event['text'], flush=True)\n",
        )
    acting = README.block("chat listen --as bot").rstrip()
    printing = README.block("chat listen --json").rstrip()
    notifying, answering = CLI.block("chat listen --as bob --only direct").splitlines()
    programs = [
        shell.start("bash", "-c", f"cd {tmp_path}; PATH=$PWD:$PATH; exec {line}", at=broker)
        for line in (acting, notifying, answering.replace("--as bot", "--as shouter"))
    ]
    programs.append(shell.start("bash", "-c", f"PATH={tmp_path}:$PATH; {printing}", at=broker))
    for program in programs:
        program.says("chat: listening")
    with broker.client("alice") as alice:
        alice.send("bot", "one $(touch evil)")
        alice.send("bob", "two")
        alice.send("shouter", "three")
        alice.echo("four")
        answer = next(e for e in alice.events(30) if getattr(e, "sender", "") == "shouter")
        assert answer.text == "THREE"
        programs[3].shows("^four$")
        for name, line in (("handled", "alice said one $(touch evil)"), ("notified", "chat: two")):
            for _ in alice.events(0.05):
                continue
            path = tmp_path / name
            while not path.exists() or not path.read_text().endswith("\n"):
                alice.receive(0.05)
            assert path.read_text() == f"{line}\n"
    assert not (tmp_path / "evil").exists()


def test_waiting_for_somebody(shell, broker):
    waiting = shell.start("bash", "-c", README.block("chat send bob --wait"), at=broker)
    with broker.client("bob") as bob:
        event = next(e for e in bob.events(30) if hasattr(e, "text"))
        assert event.text == "the build is green"
    assert waiting.finish() == (0, "", "")


def test_several_brokers_and_looking_after_one(shell, tmp_path):
    script = README.block("chatbroker run --port 6000 &")
    # Ports that are free here, not those of the recipe.
    script = script.replace("6000", "$first").replace("7000", "$second")
    first, second = free_pair(), free_pair()
    pick = f"export first={first} second={second} CHATBROKER_DATA={tmp_path}/data\n"
    script = script.replace("kill", "chat join bob --port $first < /dev/null\nkill")
    done = shell.script(f"{pick}{script}wait")
    assert (done.status, done.out.count("chatbroker ready at")) == (0, 2), done
    # Here of a broker that is stopped; of one that runs they do the same
    # (tests/end_to_end/test_data_commands.py).
    (folder,) = [
        path for path in (tmp_path / "data").glob("broker-*") if b"only here" in _all_in(path)
    ]
    care = README.block("chatbroker check").replace("/var/backups", str(tmp_path))
    done = shell.script(f"export CHATBROKER_DATA_DIR={folder}\nset -e\n{care}")
    assert done.status == 0, done
    assert done.err == ""
    assert (tmp_path / "chat.db").exists()
    assert re.search(r"^bob ", done.out, re.M)


def test_beyond_one_machine(shell, tmp_path):
    """As the README tells it, but to this machine; of two machines tells test_secure.py."""
    port = free_pair()
    here, there = (
        {"CHATBROKER_PORT": str(port), "CHATBROKER_DATA": str(tmp_path / name)}
        for name in ("here", "there")
    )
    serve, invite = README.block("chatbroker run --secure").splitlines()
    serve = serve.replace("0.0.0.0", "127.0.0.1")
    broker = shell.start("bash", "-c", f"exec {serve}", env=here)
    broker.shows("^chatbroker ready at ")
    invited = shell.start("bash", "-c", invite, env=here).finish()
    assert invited.status == 0
    console = README.block("$ chat accept").replace("192.168.1.20:5555", f"127.0.0.1:{port}")
    # "bttdzn…" stands for a longer key.
    assert re.fullmatch(
        re.sub(r"\w{6}…", r"[a-z2-7]{20,}", re.escape(typed(console))) + "\n", invited.out
    )
    # The line is pasted as it is printed, and so is the next one.
    accepted = shell.start("bash", "-c", invited.out, env=there).finish()
    assert (accepted.status, shown(accepted.out + accepted.err)) == (0, shown(console))
    following = accepted.err.removeprefix("chat: next: ").strip()
    joined = shell.start("bash", "-c", f"{following} <<< info", env=there).finish()
    assert joined == (0, "* online: alice\n", "")


def test_pages_and_completion_are_put_into_ones_home(shell, tmp_path):
    pages = CLI.block("/opt/chatbroker").replace("/opt/chatbroker/bin", str(COMMANDS))
    script = "set -e\n" + CLI.block("mkdir -p") + pages
    script += "cd ~/.local/share; . bash-completion/completions/chat; complete -p chat; ls man/man1"
    done = shell.start("bash", "-c", script, env={"HOME": str(tmp_path)}).finish()
    assert (done.status, done.err) == (0, "")
    assert {
        *("complete -o nosort -F _chat_completion chat", "chat.1", "chat-send.1"),
        *("chatbroker.1", "chatbroker-run.1"),
    } <= {*done.out.splitlines()}


def _all_in(folder):
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


# --- examples/README.md -------------------------------------------------------------------


def test_the_examples_run_as_they_are_told_of(shell, broker, tmp_path, eventually):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    stand_in(tmp_path, "make", '#!/bin/sh\necho "made: $*"; exit 3\n')
    stand_in(tmp_path, "journalctl", "#!/bin/sh\necho fine; echo 'an Error'\n")
    alert = {"status": "firing", "labels": {"alertname": "Up"}}
    posted = json.dumps({"version": "4", "alerts": [alert]})
    (tmp_path / "notification.json").write_text(posted)
    (tmp_path / "app.log").write_text("ERROR before\n")
    port = free_pair()

    def start(text):
        text = text.replace("/var/log/app.log", "app.log").replace(":9099", f":{port}")
        return shell.start("bash", "-c", f"cd {tmp_path}; PATH=$PWD:$PATH; {text}", at=broker)

    follow, journal = EXAMPLES.block("python examples/log_tailer.py").splitlines()
    bot = start("exec " + EXAMPLES.block("python examples/echo_bot.py"))
    relay = start("exec " + EXAMPLES.block("python examples/alert_relay.py --as alerts --listen"))
    tailer = start(f"exec {follow}")
    relay.says(f"listening on http://127.0.0.1:{port}$")
    tailer.says("following app.log$")
    with broker.client("bob") as bob:
        build = start(EXAMPLES.block("python examples/ci_announcer.py")).finish()
        assert (build.status, build.out, build.err) == (3, "made: test\n", "")
        once = EXAMPLES.block("python examples/alert_relay.py --as alerts --to bob")
        assert start(once).finish() == (0, "", "")
        assert start(journal).finish() == (0, "", "")
        url = f"http://127.0.0.1:{port}/"
        request = urllib.request.Request(url, posted.encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        assert [re.sub(r"\(.*\)", "(T)", text) for text in heard(bob)] == [
            *("FAILED: nightly tests, exit status 3 (T)", "FIRING Up", "FIRING Up", "an Error"),
            *("started: nightly tests", "| made: test"),
        ]
        assert followed(tmp_path / "app.log", "an ERROR", bob) == "web"
        eventually(lambda: "bot" in [user.name for user in bob.users()])
        bob.send("bot", "hi")
        assert "you said: hi" in [getattr(bob.receive(30), "text", "") for _ in range(2)]
    for program in (bot, relay, tailer):
        program.signal(signal.SIGTERM)
        assert program.wait().status == 0
