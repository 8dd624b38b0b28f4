"""Many lines through a pipe: all of them, once, in order, whatever happens to connections."""

from __future__ import annotations

import json

import pytest

LINES = 20_000
NUMBERS = "".join([f"{n}\n" for n in range(1, LINES + 1)])


@pytest.fixture
def listener(shell):
    """Starts ``chat listen`` and waits until it misses nothing."""

    def start(at, *args):
        listener = shell.chat("listen", *args, at=at)
        listener.says("^chat: listening$")
        return listener

    return start


def first_wrong(text):
    """The first line of *text* that is not the next number, or what is missing at its end."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line != str(number):
            return f"{line} in place of {number}"
    return None if len(lines) == LINES else f"only {len(lines)} lines"


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_arrives_once_and_in_order(shell, broker, listener):
    hears = listener(broker, "--count", str(LINES), "--format", "{text}")
    sent = shell.script(f"seq {LINES} | chat echo --lines --as counter", at=broker)
    assert sent == (0, "", "")
    heard = hears.wait()
    assert heard.status == 0
    assert first_wrong(heard.out) is None


def test_a_user_gets_every_line_once_and_in_order(shell, broker, listener):
    hears = listener(broker, "--as", "bob", "--count", str(LINES), "--format", "{text}")
    sent = shell.script(f"seq {LINES} | chat send bob --lines --as counter", at=broker)
    assert sent == (0, "", "")
    heard = hears.wait()
    assert heard.status == 0
    assert first_wrong(heard.out) is None


@pytest.mark.parametrize("command", [["echo"], ["send", "bob"]])
def test_connections_that_are_cut_lose_and_double_nothing(
    shell, chatbrokers, proxies, listener, command
):
    # Long enough that nobody is gone for good while a busy machine makes them wait.
    broker = chatbrokers.start("--lease", "60", "--grace", "30")
    proxy = proxies(broker, cut_at=(30_000, 90_000, 150_000))
    hears = listener(proxy.address, "--as", "bob", "--count", str(LINES), "--format", "{text}")
    sent = shell.run(*command, "--lines", "--as", "counter", input=NUMBERS, at=proxy.address)
    hears.shows(f"^{LINES}$")
    assert proxy.cuts == 3
    assert sent.status == 0
    assert first_wrong(hears.out) is None
    heard = hears.wait()
    assert heard.status == 0
    assert "reconnecting" in heard.err + sent.err
    assert "chat: connected again" in heard.err + sent.err


def test_a_broker_that_is_killed_and_comes_back_costs_no_acknowledged_line(
    shell, chatbrokers, listener
):
    first = chatbrokers.start()
    hears = listener(first, "--as", "bob", "--json")
    sender = shell.chat(
        "echo", "--lines", "--as", "counter", "--reconnect", "30", "--json", at=first
    )
    sender.type(*map(str, range(1, 101)))
    sender.shows_lines(100)
    hears.shows('"text":"100"')
    first.kill()
    sender.type(*map(str, range(101, 201)))
    hears.says("reconnecting")
    second = chatbrokers.start(port=first.port, pub_port=first.pub_port)
    sender.type(*map(str, range(201, 301)))
    sent = sender.finish()
    assert sent.status == 0
    assert records(sent.out) == [{"type": "accepted", "line": n} for n in range(1, 301)]
    assert "reconnecting" in sent.err
    assert "chat: connected again" in sent.err
    hears.shows('"text":"300"')
    hears.signal(15)
    heard = hears.wait()
    assert heard.status == 0
    assert "reconnecting" in heard.err
    assert "chat: connected again" in heard.err
    told = [r for r in records(heard.out) if r["type"] != "joined"]
    texts = [r["text"] for r in told if r["type"] == "broadcast"]
    assert texts == [str(n) for n in range(1, 301)]
    # The logs are others than before, and nobody can say what was lost with the old ones.
    missed = [(r["log"], r["count"]) for r in told if r["type"] == "missed"]
    assert sorted(missed) == [("direct", None), ("echo", None)]
    assert told[100]["type"] == "missed"
    # The new broker numbers anew.
    assert [r["seq"] for r in told[102:]] == list(range(1, 201))
    assert second.log() == ""


def test_a_broker_killed_under_load_costs_only_what_it_alone_had(shell, chatbrokers, listener):
    first = chatbrokers.start()
    hears = listener(first, "--json")
    sender = shell.chat(
        "echo", "--lines", "--as", "counter", "--reconnect", "30", "--json", at=first
    )
    sender.feed(NUMBERS[: len(NUMBERS) // 2].encode())
    hears.shows_lines(500)
    first.kill()
    sender.says("reconnecting")
    acknowledged = sender.out.count("accepted")
    second = chatbrokers.start(port=first.port, pub_port=first.pub_port)
    sender.feed(NUMBERS[len(NUMBERS) // 2 :].encode())
    sent = sender.finish()
    assert sent.status == 0
    hears.shows(f'"text":"{LINES}"')
    hears.signal(15)
    told = records(hears.wait().out)
    at = next(n for n, record in enumerate(told) if record["type"] == "missed")
    before = [int(record["text"]) for record in told[:at]]
    after = [int(record["text"]) for record in told[at + 1 :]]
    assert before == list(range(1, len(before) + 1))
    assert after == list(range(after[0], LINES + 1))
    # What the first broker stored and had not acknowledged yet is sent again to the second.
    assert after[0] > acknowledged
    # All that the second broker acknowledged is all that it has.
    kept = shell.run(
        "listen", "--since", "all", "--count", str(len(after)), "--format", "{text}", at=second
    )
    assert [int(line) for line in kept.out.splitlines()] == after


def test_a_broker_that_stops_in_good_order_costs_and_doubles_no_line(shell, chatbrokers, listener):
    first = chatbrokers.start()
    hears = listener(first, "--json")
    sender = shell.chat("echo", "--lines", "--as", "counter", at=first)
    sender.feed(NUMBERS[: len(NUMBERS) // 2].encode())
    hears.shows_lines(500)
    assert first.stop() == 0
    chatbrokers.start(port=first.port, pub_port=first.pub_port)
    sender.feed(NUMBERS[len(NUMBERS) // 2 :].encode())
    assert sender.finish().status == 0
    hears.shows(f'"text":"{LINES}"')
    texts = [record["text"] for record in records(hears.out) if record["type"] == "broadcast"]
    # What was stored was acknowledged and pushed before it stopped; the rest is sent again.
    assert first_wrong("\n".join(texts)) is None


def test_line_mode_goes_on_after_a_restart(shell, chatbrokers):
    first = chatbrokers.start()
    alice = shell.chat("join", "alice", at=first)
    alice.type("echo before")
    alice.shows("alice: before")
    first.kill()
    alice.says("reconnecting")
    alice.type("echo meanwhile", "info")
    chatbrokers.start(port=first.port, pub_port=first.pub_port)
    alice.shows("online: alice")
    alice.type("echo after")
    alice.shows("alice: after")
    said = alice.finish()
    assert said.status == 0
    assert said.out.count("alice: meanwhile") == 1
    assert "* echo: the broker has a new history; messages may have been missed" in said.out
    assert "chat: connected again" in said.err


@pytest.mark.parametrize(
    "command", [["echo", "--lines", "--as", "alice"], ["join", "alice"]], ids=["echo", "join"]
)
def test_without_a_restart_nothing_under_way_is_unreachable(shell, chatbrokers, command):
    broker = chatbrokers.start()
    sender = shell.chat(*command, "--reconnect", "0.5", "--json", at=broker)
    sender.type("echo hello")
    sender.shows('"accepted"')
    broker.kill()
    assert sender.wait().status == 3


@pytest.mark.parametrize(
    "command", [["echo", "--lines", "--as", "alice"], ["join", "alice"]], ids=["echo", "join"]
)
def test_without_a_restart_something_under_way_is_unknown(shell, chatbrokers, command, eventually):
    broker = chatbrokers.start()
    sender = shell.chat(*command, "--reconnect", "0.5", "--json", at=broker)
    sender.type("echo hello")
    sender.shows('"accepted"')
    broker.signal(19)
    sender.type("echo one more")
    eventually(lambda: pending(broker.port), "the line was not sent")
    broker.kill()
    ended = sender.wait()
    assert ended.status == 7
    assert ended.out.count("accepted") == 1
    assert "not acknowledged" in ended.err


def pending(port):
    """Bytes that wait to be read by whoever listens on *port*, or were never taken."""
    total = 0
    with open("/proc/net/tcp") as table:
        for line in list(table)[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                total += int(fields[4].partition(":")[2], 16)
    return total
