"""Every block of the README and of docs/cli.md that a shell can run, run as it is printed."""

from __future__ import annotations

import re
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIME = re.compile(r"\d\d:\d\d:\d\d")

ELSEWHERE = {
    ("README.md", "make run"): "make test is what CI runs; make run needs the network",
    ("README.md", ".venv/bin/chat join alice"): "tests/end_to_end/test_terminal.py",
    ("README.md", "chatbroker run --secure"): "tests/end_to_end/test_secure.py, in namespaces",
    ("README.md", "$ chat accept"): "tests/end_to_end/test_secure.py, in namespaces",
    ("docs/cli.md", "eval"): "tests/end_to_end/test_completion.py",
    ("docs/cli.md", "mkdir -p"): "tests/end_to_end/test_completion.py",
    ("docs/cli.md", "make man"): "tests/command/test_manual.py",
    ("docs/cli.md", "/opt/chatbroker"): "tests/command/test_manual.py",
}
"""Blocks that are not run here, and where what they show is tested."""

BLOCKS = [
    (document, text)
    for document in ("README.md", "docs/cli.md")
    for text in re.findall(r"```(?:sh|console)\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
]


def block(document, beginning):
    """The block of *document* that begins so."""
    found = [text for where, text in BLOCKS if where == document and text.startswith(beginning)]
    assert len(found) == 1, f"{document} has {len(found)} blocks that begin with {beginning!r}"
    return found[0]


def typed(text):
    """What is typed on a console, behind the ``$``."""
    return "\n".join(re.findall(r"^\$ (.*)$", text, re.M))


def shown(text):
    """What a console shows of it, line by line; in which order stdout and stderr come nobody
    can tell."""
    return sorted(TIME.sub("T", line) for line in text.splitlines() if not line.startswith("$ "))


def test_every_block_is_run_here_or_tested_elsewhere():
    run = re.findall(r'block\("([^"]+)", "([^"]+)"\)', Path(__file__).read_text())
    for document, text in BLOCKS:
        known = [k for k in [*run, *ELSEWHERE] if k[0] == document and text.startswith(k[1])]
        assert known, (
            f"no test runs this block of {document}; write one in tests/end_to_end/"
            f"test_recipes.py, or say in ELSEWHERE there where it is tested:\n{text}"
        )
    for where in ELSEWHERE.values():
        assert not where.startswith("tests/") or (ROOT / where.partition(",")[0]).exists()


def heard(client):
    """What a client got to hear until now; between what is said to all and to one there is no
    order."""
    assert client.sync()
    return sorted(event.text for event in client.receive_many(0) if hasattr(event, "text"))


def test_two_terminals_and_a_script(shell, broker):
    with broker.client("bob") as bob:
        done = shell.script(block("README.md", "export PATH"), at=broker)
        assert (done.status, done.err) == (0, "")
        assert shown(done.out) == [
            *("* online: bob, carol", "[T] carol -> bob: hi", "[T] carol: hello"),
        ]
        assert heard(bob) == ["hello", "hi"]
    refused = block("README.md", "$ printf 'send nobody")
    done = shell.script(typed(refused), at=broker)
    assert done.status == 6
    assert shown(done.out + done.err) == shown(refused)


def test_who_is_away_gets_it_later(shell, broker):
    assert shell.run("join", "bob", at=broker).status == 0
    away = block("README.md", "$ chat send bob")
    done = shell.script(typed(away), at=broker)
    assert (done.status, shown(done.out + done.err)) == (0, shown(away))
    assert shell.run("echo", "the release is out", "--as", "carol", at=broker).status == 0
    done = shell.script(block("README.md", "chat history --as bob"), at=broker)
    assert (done.status, done.err) == (0, "")
    private, public = done.out.splitlines()
    assert TIME.sub("T", private) == "[T] carol -> bob: the build is green"
    assert '"from":"carol","text":"the release is out"' in public


def test_announcing_and_waiting(shell, broker, tmp_path):
    logger = tmp_path / "logger"
    logger.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/logged\n')
    logger.chmod(0o755)
    announce = f"PATH={tmp_path}:$PATH\n" + block("README.md", "chat echo --as backup")
    with broker.client("bob") as bob:
        assert shell.script(announce, at=broker).status == 0
        assert heard(bob)[0].startswith("backup done: 20")
    assert not (tmp_path / "logged").exists()
    nobody = f"export CHAT_BROKER=tcp://127.0.0.1:1 CHAT_TIMEOUT=0.1\n{announce}"
    assert shell.script(nobody).status == 0
    assert (tmp_path / "logged").read_text() == "nobody was told\n"

    wait = block("README.md", "answer=$(chat listen")
    waiting = shell.start("bash", "-c", f'{wait}\necho "$? <$answer>"', at=broker)
    waiting.says("chat: listening")
    assert shell.run("echo", "not this", at=broker).status == 0
    assert shell.run("send", "deploy", "  go $HOME  ", at=broker).status == 0
    assert waiting.finish().out == "0 <  go $HOME  >\n"
    none = wait.replace("--for 60", "--for 0.1")
    assert shell.script(f"{none}\necho $?", at=broker).out == "8\n"


def test_a_log_that_is_followed(shell, broker, tmp_path):
    log = tmp_path / "app.log"
    log.write_text("before\n")
    with broker.client("bob") as bob:
        follow = block("README.md", "tail -n 0 -F app.log")
        shell.start("bash", "-c", f"cd {tmp_path}; {follow}", at=broker)

        def says(line):
            # tail may not have looked at the end of the file yet: said until it is heard.
            for _ in range(100):
                with log.open("a") as file:
                    file.write(f"{line}\n")
                for event in bob.events(0.3):
                    if getattr(event, "text", "") == line:
                        return event.sender
            raise AssertionError(f"{line} was not heard")

        assert says("first") == "app-log"
        log.rename(tmp_path / "app.log.1")  # As logrotate does.
        log.write_text("")
        assert says("second") == "app-log"


def test_acting_on_every_message(shell, broker, tmp_path):
    handle = tmp_path / "handle"
    handle.write_text('#!/bin/sh\necho "$CHAT_MESSAGE_FROM said $(cat)" >> handled\n')
    handle.chmod(0o755)
    notify = tmp_path / "notify-send"
    notify.write_text('#!/bin/sh\necho "$1: $(cat)" >> notified\n')
    notify.chmod(0o755)
    if shutil.which("jq") is None:
        # What the recipe asks of it: the texts of what is said to everyone.
        jq = tmp_path / "jq"
        jq.write_text(
            "#!/usr/bin/env python3\nimport json, sys\nfor line in sys.stdin:\n"
            "    if (event := json.loads(line))['type'] == 'broadcast':\n"
            "        print(event['text'], flush=True)\n"
        )
        jq.chmod(0o755)
    acting, printing = block("README.md", "chat listen --as bot").splitlines()
    notifying, answering = block("docs/cli.md", "chat listen --as bob --only direct").splitlines()
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
    waiting = shell.start("bash", "-c", block("README.md", "chat send bob --wait"), at=broker)
    with broker.client("bob") as bob:
        event = next(e for e in bob.events(30) if hasattr(e, "text"))
        assert event.text == "the build is green"
    assert waiting.finish() == (0, "", "")


def test_several_brokers_and_looking_after_one(shell, tmp_path):
    script = block("README.md", "chatbroker run --port 6000 &")
    # Ports that are free here, not those of the recipe.
    script = script.replace("6000", "$first").replace("7000", "$second")
    first, second = _free_pair(), _free_pair()
    pick = f"export first={first} second={second} CHATBROKER_DATA={tmp_path}/data\n"
    script = script.replace("kill", "chat join bob --port $first < /dev/null\nkill")
    done = shell.script(f"{pick}{script}wait")
    assert (done.status, done.out.count("chatbroker ready at")) == (0, 2), done
    # Here of a broker that is stopped; of one that runs they do the same
    # (tests/end_to_end/test_data_commands.py).
    (folder,) = [
        path for path in (tmp_path / "data").glob("broker-*") if b"only here" in _all_in(path)
    ]
    care = block("README.md", "chatbroker check").replace("/var/backups", str(tmp_path))
    done = shell.script(f"export CHATBROKER_DATA_DIR={folder}\nset -e\n{care}")
    assert done.status == 0, done
    assert done.err.startswith("chatbroker: to restore it, ")
    assert (tmp_path / "chat.db").exists()
    assert re.search(r"^bob ", done.out, re.M)


def _free_pair():
    """A port that is free, and the one after it too; each time others."""
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
            socket.create_server(("127.0.0.1", port + 1)).close()
            return port


def _all_in(folder):
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize(
    ("script", "out"),
    [
        # A text is what the shell hands over, whatever is in it.
        ("""x=$'two\\nlines'; chat echo -- "$x" "-n" '*' "it's" '"q"'""", ""),
        ("chat echo one && chat echo two || echo not this", ""),
        ("chat send nobody x 2>/dev/null && echo not this || echo refused", "refused\n"),
        ("chat echo a & one=$!; chat send nobody b 2>/dev/null & two=$!; "
         "wait $one; echo $?; wait $two; echo $?", "0\n6\n"),
        ("timeout 1 chat listen 2>/dev/null; echo $?", "124\n"),
        (r"printf 'a\0b c\0' | xargs -0 -n1 chat echo; echo $?", "0\n"),
        ("set -o pipefail; chat info | head -n 0; echo $?", "0\n"),
    ],
)  # fmt: skip
def test_the_shell_and_the_program_understand_each_other(shell, broker, script, out):
    with broker.client("bob") as bob:
        done = shell.script(script, at=broker)
        assert (done.status, done.out) == (0, out)
        expected = {
            "x=$'two": ['two\nlines -n * it\'s "q"'],
            "chat echo one": ["one", "two"],
            "chat echo a": ["a"],
            "printf": ["a", "b c"],
        }
        texts = next((v for k, v in expected.items() if script.startswith(k)), [])
        assert heard(bob) == texts
