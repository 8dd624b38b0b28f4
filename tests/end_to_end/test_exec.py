"""``chat listen --exec``: every message is handled, whatever ends the listener."""

from __future__ import annotations

import os
import signal
import sys

HANDLER = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
text = sys.stdin.read()
print(text, end="", file=open("{log}", "a"))
if text.startswith("waits"):
    open("{gate}").read()
"""


def test_what_was_not_handled_is_handled_by_the_next(shell, broker, tmp_path, eventually):
    gate, log = tmp_path / "gate", tmp_path / "log"
    os.mkfifo(gate)
    handler = tmp_path / "handler.py"
    handler.write_text(HANDLER.format(log=log, gate=gate))

    def listen(command=f"{sys.executable} -IS '{handler}'", *more):
        options = ("--as", "bob", "--only", "direct", "--exec", command)
        program = shell.chat("listen", *options, *more, at=broker)
        program.says("listening")
        return program

    def handled():
        return log.read_text().split() if log.exists() else []

    first = listen()
    with broker.client("alice") as alice:
        for text in ("one", "waits", "waits-too", "last"):
            alice.send("bob", text)
        eventually(lambda: handled() == ["one", "waits"])
        first.kill()

        # What was read half a second before is handled once more, perhaps.
        log.unlink()
        second = listen()
        eventually(lambda: handled() in (["waits"], ["one", "waits"]))
        os.killpg(second.pid, signal.SIGINT)  # As Ctrl-C does: the command gets it as well.
        ended = second.wait()
        assert (ended.status, ended.err) == (130, "chat: listening\n\n")

        log.unlink()
        third = listen()
        eventually(lambda: handled() == ["waits"])
        gate.write_text("go\n")
        eventually(lambda: handled() == ["waits", "waits-too"])
        third.signal(signal.SIGTERM)  # The listener alone: what runs is let finish.
        gate.write_text("go\n")
        assert third.wait().status == 0
        assert handled() == ["waits", "waits-too"]

        answers = 'chat send "$CHAT_MESSAGE_FROM" "you said $CHAT_MESSAGE_TEXT"; cat; exit 3'
        ended = listen(answers, "--shell", "--count", "1").wait()
        assert (ended.status, ended.out) == (1, "last\n")
        assert ended.err == "chat: listening\nchat: exec: message 4: exit status 3\n"
        assert alice.sync(15)
        heard = [event for event in alice.receive_many(0) if getattr(event, "sender", "") == "bob"]
        assert [event.text for event in heard] == ["you said last"]
