"""Commands at a broker with low limits: they take longer, and end as ever."""

from __future__ import annotations

import json
from datetime import datetime

RATE, BURST, LINES = 2000, 500, 3000
NUMBERS = [str(number) for number in range(1, LINES + 1)]


def history(shell, broker, *args):
    told = shell.run("history", "--json", *args, at=broker)
    assert told.status == 0
    return [json.loads(line) for line in told.out.splitlines()]


def seconds(events):
    """From the first to the last of *events*, by the broker's clock."""
    first, last = [datetime.fromisoformat(events[number]["time"]) for number in (0, -1)]
    return (last - first).total_seconds()


def test_lines_wait_for_the_rate_and_are_all_there(shell, chatbrokers):
    broker = chatbrokers.start("--limit", f"messages={RATE}/{BURST}")
    sent = shell.script(f"seq {LINES} | chat echo --lines --as alice", at=broker)
    assert sent == (0, "", "")
    said = history(shell, broker)
    assert [event["text"] for event in said] == NUMBERS
    # What a turn brings over the burst is not held back: at most a frame or two of it.
    assert seconds(said) > (LINES - BURST) / RATE / 2


def test_bytes_have_a_rate_too(shell, chatbrokers):
    broker = chatbrokers.start("--limit", "bytes=200kB/50kB")
    sent = shell.script(
        "for n in $(seq 300); do printf '%01000d\\n' $n; done | chat echo --lines --as alice",
        at=broker,
    )
    assert sent == (0, "", "")
    said = history(shell, broker)
    assert [int(event["text"]) for event in said] == list(range(1, 301))
    assert seconds(said) > 250 / 200 / 2


def test_two_sessions_of_a_user_share_a_rate(shell, chatbrokers):
    broker = chatbrokers.start("--limit", f"messages={RATE}/{BURST}")
    assert shell.run("echo", "hi", "--as", "alice", at=broker).status == 0
    half = LINES // 2
    both = [
        shell.chat("send", "alice", "--lines", "--as", "alice", "--json", at=broker)
        for _ in range(2)
    ]
    for which, program in zip("ab", both, strict=True):
        program.feed("".join([f"{which} {number}\n" for number in range(half)]).encode())
    for program in both:
        ended = program.finish()
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.count('"accepted"') == half
    said = history(shell, broker, "--as", "alice", "--only", "direct")
    for which in "ab":
        texts = [event["text"] for event in said if event["text"].startswith(which)]
        assert texts == [f"{which} {number}" for number in range(half)]
    assert seconds(said) > (LINES - BURST) / RATE / 2


def test_who_is_over_a_rate_slows_nobody_else(shell, chatbrokers):
    broker = chatbrokers.start("--limit", "messages=10/10")
    flooder = shell.chat("echo", "--lines", "--as", "flooder", "--json", at=broker)
    flooder.feed("".join([f"{number}\n" for number in range(5000)]).encode())
    flooder.shows_lines(5)
    polite = shell.run_all(*[["echo", "hi", "--as", f"user{n}"] for n in range(5)], at=broker)
    assert [(ended.status, ended.err) for ended in polite] == [(0, "")] * 5
    assert shell.run("info", at=broker).status == 0
    assert flooder.running


def test_line_mode_only_gets_slower(shell, chatbrokers):
    broker = chatbrokers.start("--limit", "messages=100/10", "--limit", "history=200kB/20kB")
    lines = "".join([f"echo {number}\n" for number in range(50)]) + "info\n"
    joined = shell.run("join", "alice", input=lines, at=broker)
    assert (joined.status, joined.err) == (0, "")
    heard = [line for line in joined.out.splitlines() if not line.startswith("*")]
    assert [line.rpartition(" ")[2] for line in heard] == [str(number) for number in range(50)]


def test_many_that_come_at_once_get_in_one_after_the_other(shell, chatbrokers):
    broker = chatbrokers.start("--limit", "joins=300/2")
    ended = shell.run_all(*[["echo", str(number)] for number in range(8)], at=broker)
    assert [e.status for e in ended] == [0] * 8


def test_who_is_put_off_for_too_long_hears_why(shell, chatbrokers):
    broker = chatbrokers.start("--limit", "joins=1/1")
    assert shell.run("echo", "a", at=broker).status == 0
    assert shell.run("echo", "b", at=broker).status == 0
    ended = shell.run("echo", "c", "--timeout", "0.5", at=broker)
    words = f"too many new sessions from one address in a short time on {broker.address}"
    assert (ended.status, ended.err) == (3, f"chat: {words}; try again later\n")


def test_a_line_that_is_too_long_for_the_broker_is_6(shell, chatbrokers):
    broker = chatbrokers.start("--limit", "text=5")
    sent = shell.run("echo", "--lines", input="12345\n123456\n1\n", at=broker)
    assert sent.status == 6
    assert sent.err == "chat: line 2: too long: 6 bytes, and 5 are allowed\n"
    assert [event["text"] for event in history(shell, broker)] == ["12345", "1"]


def test_limits_may_stand_in_the_config_file_and_in_a_variable(shell, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("[chatbroker.run.limit]\nmessages = 0\n")
    told = shell.start(
        "chatbroker", "run", "--memory", "--port", "0", env={"CHATBROKER_CONFIG": str(config)}
    ).finish()
    assert told.status == 2
    assert "'messages=0': from 1 to" in told.err
    told = shell.start(
        "chatbroker", "run", "--memory", env={"CHATBROKER_LIMIT": "messages=1 text=20000"}
    ).finish()
    assert told.status == 2
    assert "'text=20000': from 1 to 16384" in told.err
